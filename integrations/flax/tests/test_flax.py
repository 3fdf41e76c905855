"""The Flax callback in real training loops, against a real data server."""

from __future__ import annotations

import builtins
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import streamvis
import streamvis_flax
from streamvis import Client
from streamvis.errors import UsageError
from streamvis.server.run import ServerThread, serving
from streamvis.testing.loggers import unused_port
from streamvis_flax import StreamvisCallback

EPOCHS, BATCHES = 2, 5

Fit = Callable[[Callable[..., None]], list[tuple[int, float, float]]]
Stored = Callable[..., dict[str, dict[str, Any]]]
Said = Callable[[], list[str]]


def test_a_fit_stores_every_value(fit: Fit, make: Any, server: ServerThread, stored: Stored) -> None:
    """Each step of a jitted loop arrives with its exact value, its epoch and the time, and the loss falls."""
    began = time.time()
    with make() as callback:
        callback.write_config({"learning_rate": 0.1})
        given = fit(callback)
    loss = stored()["train/loss"]
    assert list(zip(loss["step"], loss["value"], loss["epoch"], strict=True)) == given
    assert len(given) == EPOCHS * BATCHES
    assert loss["value"][-1] < loss["value"][0]
    assert began <= loss["time"][0] <= loss["time"][-1] <= time.time()
    with Client(server.uri) as client:
        types = {column: values.dtype.name for column, values in client.fetch("run")["run", "train/loss", 0].items()}
        assert client.config("run") == {"learning_rate": 0.1}
    assert {types["epoch"], types["time"]} == {"float64"}


def test_statistics_of_parameters_and_gradients(fit: Fit, make: Any, stored: Stored) -> None:
    """Norms of all and of each array, and histograms, every few calls, whatever the API calls a parameter."""
    kept: list[Any] = []
    with make(statistics_every=4, histograms=True, bins=8) as callback:

        def log(step: Any, metrics: Any, **options: Any) -> None:
            from streamvis_flax.statistics import named_leaves

            kept.append({kind: named_leaves(options[kind]) for kind in ("params", "grads")})
            kept[-1] = {kind: {name: np.array(leaf) for name, leaf in tree.items()} for kind, tree in kept[-1].items()}
            callback(step, metrics, **options)

        given = fit(log)
    found = stored()
    assert {name for name in found if "histogram" not in name} == {
        "train/loss",
        *(f"{kind}/norm{name}" for kind in ("weight", "gradient") for name in ("", "/bias", "/kernel")),
    }
    for kind, tree in (("weight", "params"), ("gradient", "grads")):
        steps = found[f"{kind}/norm"]["step"]
        assert steps == [step for step, _, _ in given][::4]
        for place, (kernel, bias) in enumerate((leaves[tree]["kernel"], leaves[tree]["bias"]) for leaves in kept[::4]):
            both = np.concatenate([kernel.ravel(), bias.ravel()])
            assert found[f"{kind}/norm"]["value"][place] == pytest.approx(np.linalg.norm(both), rel=1e-5)
            assert found[f"{kind}/norm/kernel"]["value"][place] == pytest.approx(np.linalg.norm(kernel), rel=1e-5)
        histogram = found[f"{kind}/histogram/kernel"]
        assert histogram["step"] == [step for step in steps for _ in range(8)]
        expected, edges = np.histogram(kept[0][tree]["kernel"], 8)
        assert sum(histogram["count"][:8]) == 640
        assert np.abs(np.subtract(histogram["count"][:8], expected)).sum() <= 4  # values on an edge
        assert histogram["value"][:8] == pytest.approx(((edges[1:] + edges[:-1]) / 2).tolist(), rel=1e-4, abs=1e-6)


def test_statistics_of_odd_arrays(make: Any, stored: Stored) -> None:
    """Of complex arrays the moduli count, half precision counts as float32, integers have none; boxes are opened."""
    import jax.numpy as jnp
    from flax import linen as nn

    tree = {
        "wave": jnp.full(3, 3 + 4j),
        "half": jnp.full((100, 100), 300, jnp.bfloat16),
        "table": jnp.arange(3),
        "none": jnp.zeros(0),
        "boxed": nn.Partitioned(jnp.ones(4), ("model",)),
    }
    with make(histograms=True, bins=4) as callback:
        callback(1, {}, params=tree)
    found = stored()
    assert found["weight/norm/wave"]["value"] == pytest.approx([75**0.5])
    assert found["weight/histogram/wave"]["count"] == [0, 0, 3, 0]
    assert found["weight/norm/half"]["value"] == pytest.approx([300 * 100], rel=1e-2)
    assert found["weight/norm/boxed"]["value"] == [2]
    assert not any("table" in name or "none" in name or "boxed/" in name for name in found)


def test_nans_are_logged_while_jax_searches_for_them(make: Any, stored: Stored, said: Said) -> None:
    """`jax_debug_nans` is about the program's own functions: what they left behind is stored as it is."""
    import jax
    import jax.numpy as jnp

    loss, weight = jnp.asarray(np.nan), jnp.asarray([0, 1, np.nan])
    with jax.debug_nans(True), make(histograms=True, bins=2) as callback:
        callback(1, {"loss": loss}, params={"w": weight})
    found = stored()
    assert np.isnan(found["loss"]["value"] + found["weight/norm/w"]["value"]).all()
    assert found["weight/histogram/w"]["count"] == [1, 1]
    assert said() == []


def test_what_computes_metrics_may_be_given(make: Any, stored: Stored) -> None:
    """An nnx.MultiMetric is logged as it is at the call; what follows changes nothing."""
    from flax import nnx

    metrics = nnx.MultiMetric(loss=nnx.metrics.Average(), accuracy=nnx.metrics.Average("right"))
    callback = make(flush_every=60.0)
    for step in range(2):
        metrics.update(values=np.float32(step), right=np.float32(1))
        callback(step, metrics)
    metrics.reset()
    callback.flush(10)
    assert (stored()["loss"]["value"], stored()["accuracy"]["value"]) == ([0, 0.5], [1, 1])


def test_metrics_may_be_dataclasses_and_tuples_with_names(make: Any, stored: Stored) -> None:
    """As jitted functions return them."""
    import jax
    from flax import struct

    @struct.dataclass
    class Metrics:
        loss: jax.Array
        accuracy: float = 0.5

    class Pair(NamedTuple):
        loss: Any

    with make() as callback:
        callback(1, jax.jit(lambda: Metrics(jax.numpy.float32(2)))())
        callback(2, Pair(3.0))
    assert (stored()["loss"]["value"], stored()["accuracy"]["value"]) == ([2, 3], [0.5])


def test_only_some_calls_are_logged(make: Any, stored: Stored) -> None:
    """`every` counts calls: the step may be on a device."""
    with make(every=3) as callback:
        for step in range(7):
            callback(np.int32(step), {"loss": step})
    assert stored()["loss"]["step"] == [0, 3, 6]


def test_nothing_is_compiled_after_the_first_steps(make: Any, fit_linen: Fit, stored: Stored) -> None:
    """Compilations do not grow with the number of steps, of metrics, of flushes, or of statistics."""
    import jax
    from jax._src import monitoring

    compiled: list[str] = []

    def listen(event: str, _seconds: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    callback = make(statistics_every=1, histograms=True)
    counts = []

    def log(step: Any, metrics: Any, **options: Any) -> None:
        callback(step, metrics, **options)
        callback.flush(10)
        counts.append(len(compiled))

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit_linen(log)
    finally:
        monitoring.unregister_event_duration_listener(listen)
    assert counts[0] > 0
    assert counts[1:] == [counts[1]] * (EPOCHS * BATCHES - 1)
    assert len(stored()["gradient/norm/kernel"]["step"]) == EPOCHS * BATCHES


def test_no_call_waits_for_a_device(make: Any, fit_linen: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a fit no value of an array is asked for by us on the training thread."""
    import threading
    import traceback

    from jaxlib import _jax

    ours: list[str] = []
    training = threading.current_thread()
    for name in ("_value", "__array__", "__float__", "__int__", "__index__", "__bool__", "item", "tolist"):
        original = getattr(_jax.ArrayImpl, name)
        call = original.fget if isinstance(original, property) else original

        def spy(self: Any, *args: Any, _call: Any = call, _name: str = name, **options: Any) -> Any:
            frames = [frame.filename for frame in traceback.extract_stack()[:-1]]
            if threading.current_thread() is training and any("/streamvis" in frame for frame in frames[-6:]):
                ours.append(f"{_name}: {frames[-6:]}")
            return _call(self, *args, **options)

        monkeypatch.setattr(_jax.ArrayImpl, name, property(spy) if isinstance(original, property) else spy)
    callback = make(statistics_every=1, histograms=True, flush_every=60.0)
    fit_linen(callback)
    assert ours == []


def test_without_a_server_the_fit_ends_and_the_data_arrives_later(
    make: Any, fit_linen: Fit, stored: Stored, said: Said, wait_until: Callable[..., None]
) -> None:
    """Points wait in the spool, nothing raises, and a server that starts later gets all of them."""
    port = unused_port()
    callback = make(f"127.0.0.1:{port}")
    given = fit_linen(callback)
    callback.flush(10)
    assert ["are kept in" in message for message in said()] == [True]
    with serving("memory:", port) as server:
        wait_until(lambda: "train/loss" in stored(server), 30)
        assert stored(server)["train/loss"]["value"] == [value for _, value, _ in given]


def test_numbers_of_every_kind(make: Any, stored: Stored) -> None:
    """Python, numpy and jax scalars arrive as numbers; without an epoch the column is NaN; nested names are joined."""
    import jax.numpy as jnp

    callback = make()
    values = {"a": 1, "b": np.float32(0.5), "c": jnp.asarray(0.25), "d": jnp.bfloat16(2), "e": math.inf, "f": True}
    callback(np.int64(2**40), {**values, "val": {"loss": 3.0}})
    callback.flush(10)
    found = stored()
    assert {name: columns["value"] for name, columns in found.items()} == {
        "a": [1.0],
        "b": [0.5],
        "c": [0.25],
        "d": [2.0],
        "e": [math.inf],
        "f": [1.0],
        "val/loss": [3.0],
    }
    assert found["a"]["step"] == [2**40]
    assert np.isnan(found["a"]["epoch"]).all()


def test_steps_of_a_scan_and_members_of_an_ensemble(make: Any, stored: Stored) -> None:
    """An array of steps is a point each; a further, last axis is an index each."""
    import jax.numpy as jnp

    callback = make()
    steps = jnp.arange(3)
    callback(steps, {"scan": jnp.arange(3.0), "both": jnp.arange(6.0).reshape(3, 2)})
    callback(7, {"ensemble": jnp.arange(2.0)})
    callback.flush(10)
    assert {name: (columns["step"], columns["value"]) for name, columns in stored().items()} == {
        "scan": ([0, 1, 2], [0, 1, 2]),
        "both": ([0, 1, 2], [0, 2, 4]),
        "both#1": ([0, 1, 2], [1, 3, 5]),
        "ensemble": ([7], [0]),
        "ensemble#1": ([7], [1]),
    }


def test_donated_values_are_stored_as_they_were(make: Any, stored: Stored) -> None:
    """What is logged and then donated to the next step is stored as it was at the call."""
    import jax
    import jax.numpy as jnp

    grow = jax.jit(lambda x: x + 1, donate_argnums=0)
    callback = make(flush_every=60.0)
    large, small = jnp.zeros(10_000), jnp.zeros(())
    for step in range(3):
        callback.write_points("large", step=step, value=large)
        callback(step, {"small": small})
        large, small = grow(large), grow(small)
    callback.flush(10)
    assert stored()["small"]["value"] == [0, 1, 2]
    assert np.reshape(stored()["large"]["value"], (3, -1)).mean(axis=1).tolist() == [0, 1, 2]


def test_mistakes_are_said_once_and_cost_no_other_point(make: Any, stored: Stored, said: Said) -> None:
    """A metric that is no number warns once, also inside jit, and the others are logged."""
    import jax

    callback = make()
    for step in range(3):
        callback(step, {"words": "many", "cube": np.zeros((2, 2, 2)), "loss": step})
        callback("first", {"lost": 1.0})
        callback(step, {}, params={"w": "text"}, grads=7)
        jax.jit(lambda x, step=step: callback(step, {"traced": x}))(1.0)
    callback.write_config({1: 2, "odd": {3}})
    callback.write_config("nothing")
    callback.flush(10)
    found = stored()
    assert found["loss"]["value"] == [0, 1, 2]
    assert not found.keys() & {"words", "cube", "lost", "traced"}
    assert sorted(message.split(" of ")[0] for message in said()) == [
        *(f"cannot log {what}" for what in ("cube", "hyperparameters", "metrics", "traced", "words")),
        "hyperparameters",
    ]


def test_strict_raises(make: Any) -> None:
    """With strict=True mistakes reach the caller."""
    callback = make(strict=True)
    with pytest.raises(ValueError, match="could not convert string"):
        callback(1, {"words": "many"})
    with pytest.raises(UsageError, match="expected a dict"):
        callback.write_config("nothing")


def test_wrong_arguments_raise_before_the_loop() -> None:
    """The constructor refuses what cannot work."""
    with pytest.raises(UsageError, match="scope"):
        StreamvisCallback("")
    with pytest.raises(TypeError, match="flush_evry"):
        StreamvisCallback("run", flush_evry=1)
    with pytest.raises(UsageError, match="every is 0"):
        StreamvisCallback("run", every=0)
    with pytest.raises(UsageError, match="delete_existing"):
        StreamvisCallback("run", all_processes=True, delete_existing=True)


def test_other_processes_log_nothing(make: Any, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many processes that run the same program, the first logs."""
    import jax

    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with make() as callback:
        callback(1, {"loss": 1.0}, params={"w": np.zeros(2)})
        callback.write_points("cloud", x=1)
        callback.write_config({"lr": 1})
        callback.flush()
        assert callback.stats() == {}
    assert stored() == {}


def test_created_by_name(server: ServerThread) -> None:
    """The entry point brings the adapters of the callback and of the writer."""
    callback = streamvis.create("flax", scope="run", grpc_uri=server.uri)
    assert isinstance(callback, StreamvisCallback)
    assert callback.metrics.scope == "run"
    assert isinstance(streamvis.create("flax-writer", scope="run"), streamvis_flax.StreamvisWriter)


def test_listing_imports_no_framework() -> None:
    """The hooks and the package load neither JAX nor Flax, and a misspelt name is an error."""
    code = (
        "import sys; from streamvis import plugins; infos = plugins.default().infos(); import streamvis_flax;"
        "assert 'StreamvisCallback' in dir(streamvis_flax) and not hasattr(streamvis_flax, 'StreamvisCalback');"
        "print([info.adapters for info in infos if info.name == 'flax'],"
        "[name for name in sys.modules if name.partition('.')[0] in ('jax', 'flax')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[('flax', 'flax-writer')] []\n"


def test_without_the_framework_one_line_says_what_to_install() -> None:
    """Whether by its name or by that of its adapter."""
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import streamvis, streamvis_flax\n"
        "for make in (lambda: streamvis_flax.StreamvisCallback, lambda: streamvis.create('flax', scope='run')):\n"
        "    try: make()\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == (
        "ImportError jax is not installed: pip install jax\n"
        "PluginError 'streamvis_flax:StreamvisCallback' cannot be imported: jax is not installed: pip install jax\n"
    )


DEVICES = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from streamvis_flax import StreamvisCallback

mesh = Mesh(np.array(jax.devices()), ("data",))
split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
images = jax.device_put(np.arange(8.0, dtype=np.float32), split)
weight = jax.device_put(jnp.float32(1.0), whole)

@jax.jit
def learn(weight, images):
    loss, grad = jax.value_and_grad(lambda w: (w * images).sum())(weight)
    return weight - 0.1 * grad, {"loss": loss, "each": images * weight}

with StreamvisCallback("run", sys.argv[1], spool_dir=sys.argv[2], statistics_every=1) as callback:
    for step in range(3):
        weight, metrics = learn(weight, images)
        callback(step, {"loss": metrics["loss"]}, params={"w": weight, "split": images})
        callback.write_points("each", step=step, value=metrics["each"])
print(len(jax.devices()))
"""


@pytest.mark.slow
def test_arrays_on_several_devices_are_logged(server: ServerThread, stored: Stored, tmp_path: Path) -> None:
    """Replicated and sharded arrays of one process arrive whole, in their order."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", DEVICES, server.uri, tmp_path / "spool"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
    assert (ran.stdout, ran.returncode) == ("2\n", 0), ran.stderr
    found = stored()
    assert found["loss"]["value"] == pytest.approx([28 * weight for weight in (1, 1 - 2.8, 1 - 5.6)], rel=1e-5)
    assert found["each"]["value"][:8] == list(range(8))
    assert found["weight/norm/split"]["value"] == pytest.approx([np.linalg.norm(np.arange(8))] * 3)


PROCESSES = """
import sys
import jax
from streamvis_flax import StreamvisCallback

uri, spool, port, index, everyone = sys.argv[1:]
callback = StreamvisCallback("run", uri, spool_dir=spool, all_processes=everyone == "True")  # before jax knows
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(index))
with callback:
    for step in range(3):
        callback(step, {"loss": float(index)})
print(jax.process_index(), callback.active)
"""


@pytest.mark.slow
@pytest.mark.parametrize("everyone", [False, True])
def test_two_processes_log_once_or_each(server: ServerThread, stored: Stored, tmp_path: Path, everyone: bool) -> None:
    """Of one distributed program the first process logs; on demand all do, and a column says which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    arguments = [sys.executable, "-c", PROCESSES, server.uri, str(tmp_path / "spool"), port]
    programs = [
        subprocess.Popen([*arguments, str(index), str(everyone)], stdout=subprocess.PIPE, text=True, env=environment)
        for index in range(2)
    ]
    for index, program in enumerate(programs):
        assert program.communicate(timeout=100)[0] == f"{index} {everyone or index == 0}\n"
    loss = stored()["loss"]
    if everyone:
        assert sorted(zip(loss["step"], loss["process"], loss["value"], strict=True)) == [
            (step, process, process) for step in range(3) for process in range(2)
        ]
    else:
        assert (loss["step"], loss["value"]) == ([0, 1, 2], [0, 0, 0])
        assert "process" not in loss


@pytest.mark.parametrize(
    "values",
    [[0.0, 1.0, 2.0, 4.0], [3.0, 3.0], [1.0, np.nan, np.inf, 2.0, -np.inf], [np.nan], [3e38, -3e38]],
)
def test_histograms_are_those_of_numpy(values: list[float]) -> None:
    """Over the finite values, in bins of equal width, whatever the array's type and shape."""
    import jax.numpy as jnp

    from streamvis_flax.statistics import histograms

    finite = np.asarray([value for value in values if np.isfinite(value)])
    centres, counts = histograms({"w": jnp.asarray(values).reshape(1, -1)}, 4)["w"]
    if not len(finite):
        assert counts.tolist() == [0] * 4
        return
    expected, edges = np.histogram(finite, 4)
    assert counts.tolist() == expected.tolist()
    assert centres.tolist() == pytest.approx(((edges[1:] + edges[:-1]) / 2).tolist(), rel=1e-5)
    assert builtins.len(centres) == 4
