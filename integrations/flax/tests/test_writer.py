"""The writer by the methods of clu's MetricWriter and of flax's SummaryWriter."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from streamvis.server.run import ServerThread
from streamvis_flax import StreamvisFlush, StreamvisHook, StreamvisWriter

Stored = Callable[..., dict[str, dict[str, Any]]]
Said = Callable[[], list[str]]


def installed(name: str) -> Path:
    """The file of an installed module, which needs not be importable."""
    package, _, rest = name.partition(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], *rest.split(".")).with_suffix(".py")


@pytest.mark.parametrize(
    ("module", "name"),
    [("clu.metric_writers.interface", "MetricWriter"), ("flax.metrics.tensorboard", "SummaryWriter")],
)
def test_it_has_every_method_of_what_it_stands_in_for(module: str, name: str) -> None:
    """With the same arguments in the same order: a program changes the line that makes it."""
    tree = ast.parse(installed(module).read_text())
    original = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name)
    methods = [node for node in original.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert methods
    for method in methods:
        ours = list(inspect.signature(getattr(StreamvisWriter, method.name)).parameters)
        theirs = [argument.arg for argument in [*method.args.args, *method.args.kwonlyargs]]
        assert ours[: len(theirs)] == theirs, method.name


def test_scalars_of_both_interfaces(make: Any, stored: Stored, said: Said) -> None:
    """The same topics, whichever method wrote them; twice at one step is stored twice and said once."""
    writer = make(kind=StreamvisWriter)
    writer.write_scalars(1, {"train/loss": jnp.float32(0.5), "val/loss": 2})
    writer.scalar("train/loss", np.float64(0.25), 2)
    writer.scalar("train/loss", 0.25, 2)
    writer.write_summaries(3, {"pair": np.array([1.0, 2.0])}, metadata=b"any")
    writer.write("single", jnp.ones(()), 3)
    writer.close()
    found = stored()
    assert {name: (columns["step"], columns["value"]) for name, columns in found.items()} == {
        "train/loss": ([1, 2, 2], [0.5, 0.25, 0.25]),
        "val/loss": ([1], [2.0]),
        "pair": ([3], [1.0]),
        "pair#1": ([3], [2.0]),
        "single": ([3], [1.0]),
    }
    assert set(found["train/loss"]) == {"step", "value", "epoch", "time"}
    assert ["written twice" in message for message in said()] == [True]


def test_images_sounds_and_clouds_are_columns(make: Any, stored: Stored) -> None:
    """Pixels upright, a channel each; samples by second; points by axis; each image, sound and cloud an index."""
    writer = make(kind=StreamvisWriter)
    grey = np.arange(12, dtype=np.uint8).reshape(2, 2, 3, 1)
    writer.write_images(5, {"grey": grey, "colour": jnp.ones((2, 2, 3))})
    writer.image("one", np.ones((4, 4)), 6)
    writer.image("many", np.ones((9, 2, 2)), 6, max_outputs=2)
    writer.write_audios(5, {"stereo": np.arange(8.0).reshape(1, 4, 2)}, sample_rate=4)
    writer.audio("mono", jnp.zeros((5, 4, 1)), 6)
    writer.write_pointcloud(5, {"cloud": np.arange(6.0).reshape(1, 2, 3)})
    writer.flush(10)
    found = stored()
    first = found["grey"]
    assert (first["x"], first["y"], first["value"]) == ([0, 1, 2, 0, 1, 2], [1, 1, 1, 0, 0, 0], [0, 1, 2, 3, 4, 5])
    assert first["step"] == [5] * 6
    assert found["grey#1"]["value"] == [6, 7, 8, 9, 10, 11]
    assert set(found["colour"]) == {"x", "y", "red", "green", "blue", "step"}
    assert len(found["one"]["value"]) == 16
    assert [name for name in found if name.startswith("many")] == ["many", "many#1"]
    assert (found["stereo"]["second"], found["stereo#1"]["value"]) == ([0, 0.25, 0.5, 0.75], [1, 3, 5, 7])
    assert [name for name in found if name.startswith("mono")] == ["mono", "mono#1", "mono#2"]
    assert (found["cloud"]["x"], found["cloud"]["z"]) == ([0, 3], [2, 5])


def test_what_cannot_be_stored_is_said_once(make: Any, stored: Stored, said: Said) -> None:
    """Videos and odd shapes warn, and nothing reaches the training loop."""
    writer = make(kind=StreamvisWriter)
    for step in range(2):
        writer.write_videos(step, {"film": np.zeros((1, 2, 4, 4, 3))})
        writer.write_images(step, {"odd": np.zeros((1, 2, 2, 7))})
        writer.write_audios(step, {"flat": np.zeros(5)}, sample_rate=1)
        writer.write_pointcloud(step, {"wide": np.zeros((2, 5, 9))})
        writer.write_scalars(step, {"words": "many", "loss": 1.0})
        writer.write_histograms(step, {"text": "none"})
    writer.flush(10)
    assert stored().keys() == {"loss"}
    assert sorted(message.split()[2] if message.startswith("cannot") else message.split()[0] for message in said()) == [
        "film",
        "flat",
        "odd",
        "text",
        "wide",
        "words",
    ]


def test_histograms_of_both_interfaces(make: Any, stored: Stored) -> None:
    """Computed on the device, with as many bins as asked for."""
    writer = make(kind=StreamvisWriter)
    values = np.array([0.0, 1.0, 1.0, 4.0])
    writer.write_histograms(1, {"a": jnp.asarray(values), "b": values}, num_buckets={"a": 4})
    writer.histogram("c", [[1, 2], [3, 4]], 2, bins=2)
    writer.flush(10)
    found = stored()
    assert (found["a"]["value"], found["a"]["count"]) == ([0.5, 1.5, 2.5, 3.5], [1, 2, 0, 1])
    assert (len(found["b"]["value"]), sum(found["b"]["count"])) == (64, 4)
    assert (found["c"]["count"], found["c"]["step"]) == ([2, 2], [2, 2])


def test_texts_and_hyperparameters_are_config(make: Any, config: Callable[[], Any]) -> None:
    """The last text of each name, with its step; hyperparameters of any kind."""
    writer = make(kind=StreamvisWriter)
    writer.write_hparams({"lr": 0.5, "layers": (1, 2)})
    writer.hparams({"activation": jnp.tanh})
    writer.write_texts(1, {"sample": "once"})
    writer.text("sample", b"twice", 2)
    writer.flush(10)
    assert config() == {
        "lr": 0.5,
        "layers": [1, 2],
        "activation": "jax.numpy.tanh",
        "texts": {"sample": {"step": 2, "text": "twice"}},
    }


CLU = """
import sys
from unittest.mock import MagicMock

sys.modules["clu.metric_writers.summary_writer"] = MagicMock()  # the writer of clu that needs TensorFlow
from clu import metric_writers, periodic_actions, values
import numpy as np
from streamvis_flax import StreamvisWriter

writer = StreamvisWriter("run", sys.argv[1], spool_dir=sys.argv[2])
assert isinstance(writer, metric_writers.MetricWriter)
several = metric_writers.AsyncMultiWriter([metric_writers.LoggingWriter(), writer])
report = periodic_actions.ReportProgress(writer=several, every_steps=2, num_train_steps=4)
with metric_writers.ensure_flushes(several):
    for step in range(5):
        metric_writers.write_values(several, step, {
            "loss": values.Scalar(0.5 * step),
            "weights": values.Histogram(np.arange(5.0), num_buckets=5),
            "image": values.Image(np.ones((2, 2, 1))),
            "note": values.Text("words"),
        })
        report(step)
several.close()
"""


def test_clu_drives_it(server: ServerThread, stored: Stored, config: Callable[[], Any], tmp_path: Path) -> None:
    """Its AsyncMultiWriter, write_values and ReportProgress, for real; only its own TensorFlow writer is not there."""
    ran = subprocess.run(
        [sys.executable, "-c", CLU, server.uri, tmp_path / "spool"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = stored()
    assert (found["loss"]["step"], found["loss"]["value"]) == ([0, 1, 2, 3, 4], [0, 0.5, 1, 1.5, 2])
    assert found["weights"]["count"] == [1] * 25
    assert found["steps_per_sec"]["step"] == [2, 4]
    assert len(found["image"]["value"]) == 20
    assert config()["texts"] == {"note": {"step": 4, "text": "words"}}


def test_hooks_act_now_and_then(make: Any, stored: Stored) -> None:
    """By steps, by seconds and on given steps, in the shape of clu's PeriodicAction; the first call never acts."""
    callback = make(flush_every=60.0)
    hooks = {
        "steps": StreamvisHook(callback, lambda step: {"steps": step}, every_steps=3),
        "seconds": StreamvisHook(callback, lambda step: {"seconds": step}, every_secs=2.5),
        "given": StreamvisHook(callback, lambda step: {"given": step}, on_steps=[0, 4]),
    }
    flush = StreamvisFlush(callback, on_steps=[9])
    acted = {name: [step for step in range(10) if hook(step, 1.0 * step)] for name, hook in hooks.items()}
    assert acted == {"steps": [3, 6, 9], "seconds": [3, 6, 9], "given": [4]}
    assert stored() == {}
    assert [flush(step) for step in range(8, 10)] == [False, True]
    assert {name: columns["step"] for name, columns in stored().items()} == acted
