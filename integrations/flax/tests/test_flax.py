"""The Flax callback in real training loops, against a real data server."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamvis
from streamvis import Client
from streamvis.errors import UsageError
from streamvis.server.run import ServerThread, serving
from streamvis_flax import StreamvisCallback

EPOCHS, BATCHES = 2, 5

Fit = Callable[[Callable[..., None]], list[tuple[int, float, float]]]


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="make")
def _make(tmp_path: Path, server: ServerThread) -> Iterator[Callable[..., StreamvisCallback]]:
    """Callbacks with a spool of the test's own, which end with the test."""
    made = []

    def make(uri: str = server.uri, **options: Any) -> StreamvisCallback:
        callback = StreamvisCallback("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})
        made.append(callback)
        return callback

    yield make
    for callback in made:
        callback.stop()


def stored(server: ServerThread) -> dict[str, dict[str, Any]]:
    """All columns of each metric as lists."""
    with Client(server.uri) as client:
        return {
            name: {column: values.tolist() for column, values in columns.items()}
            for (_, name, _), columns in client.fetch("run").items()
        }


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What streamvis reported."""
    return [record.getMessage() for record in caplog.records if record.name == "streamvis"]


def batches() -> Iterator[tuple[int, Any, Any]]:
    """Epoch, images and digits of each batch."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images = (images[:1500] / 16).astype(np.float32)
    for epoch in range(EPOCHS):
        for images_of_batch, digits_of_batch in zip(
            np.split(images, BATCHES), np.split(digits[:1500], BATCHES), strict=True
        ):
            yield epoch, images_of_batch, digits_of_batch


def fit_linen(log: Callable[..., None]) -> list[tuple[int, float, float]]:
    """A TrainState whose old self is donated at each step; returns step, loss and epoch of each call."""
    import jax
    import optax
    from flax import linen as nn
    from flax.training.train_state import TrainState

    def loss_of(params: Any, state: TrainState, images: Any, digits: Any) -> Any:
        logits = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, digits).mean()

    @partial(jax.jit, donate_argnums=0)
    def learn(state: TrainState, images: Any, digits: Any) -> tuple[TrainState, Any]:
        loss, gradients = jax.value_and_grad(loss_of)(state.params, state, images, digits)
        return state.apply_gradients(grads=gradients), {"train/loss": loss}

    network = nn.Dense(10)
    params = network.init(jax.random.key(0), np.zeros((1, 64)))["params"]
    state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.sgd(0.1))
    given = []
    for epoch, images, digits in batches():
        state, metrics = learn(state, images, digits)
        log(state.step, metrics, epoch=epoch)
        given.append((int(state.step), float(metrics["train/loss"]), float(epoch)))
    return given


def fit_nnx(log: Callable[..., None]) -> list[tuple[int, float, float]]:
    """Modules and metrics that change in place; returns step, loss and epoch of each call."""
    import optax
    from flax import nnx

    @nnx.jit
    def learn(network: nnx.Linear, optimizer: Any, average: Any, images: Any, digits: Any) -> None:
        def loss_of(network: nnx.Linear) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(network(images), digits).mean()

        loss, gradients = nnx.value_and_grad(loss_of)(network)
        optimizer.update(network, gradients)
        average.update(values=loss)

    network = nnx.Linear(64, 10, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(network, optax.sgd(0.1), wrt=nnx.Param)
    average = nnx.MultiMetric(**{"train/loss": nnx.metrics.Average()})
    given = []
    for step, (epoch, images, digits) in enumerate(batches()):
        learn(network, optimizer, average, images, digits)
        metrics = average.compute()
        average.reset()
        log(step, {**metrics, "epoch": epoch})
        given.append((step, float(metrics["train/loss"]), float(epoch)))
    return given


@pytest.mark.parametrize("fit", [fit_linen, fit_nnx])
def test_a_fit_stores_every_value(fit: Fit, make: Any, server: ServerThread) -> None:
    """Each step of a jitted loop arrives with its exact value, its epoch and the time, and the loss falls."""
    began = time.time()
    with make() as callback:
        callback.write_config({"learning_rate": 0.1})
        given = fit(callback)
    loss = stored(server)["train/loss"]
    assert list(zip(loss["step"], loss["value"], loss["epoch"], strict=True)) == given
    assert len(given) == EPOCHS * BATCHES
    assert loss["value"][-1] < loss["value"][0]
    assert began <= loss["time"][0] <= loss["time"][-1] <= time.time()
    with Client(server.uri) as client:
        types = {column: values.dtype.name for column, values in client.fetch("run")["run", "train/loss", 0].items()}
        assert client.config("run") == {"learning_rate": 0.1}
    assert types == {"step": "int64", "value": "float64", "epoch": "float64", "time": "float64"}


def test_without_a_server_the_fit_ends_and_the_data_arrives_later(
    make: Any, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    """Points wait in the spool, nothing raises, and a server that starts later gets all of them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    callback = make(f"127.0.0.1:{port}")
    given = fit_linen(callback)
    callback.flush(10)
    assert ["are kept in" in message for message in said(caplog)] == [True]
    with serving("memory:", port) as server:
        wait_until(lambda: stored(server), 30)
        assert stored(server)["train/loss"]["value"] == [value for _, value, _ in given]


def test_numbers_of_every_kind(make: Any, server: ServerThread) -> None:
    """Python, numpy and jax scalars become float64; without an epoch the column is NaN."""
    import jax.numpy as jnp

    callback = make()
    values = {"a": 1, "b": np.float32(0.5), "c": jnp.asarray(0.25), "d": jnp.bfloat16(2), "e": math.inf, "f": True}
    callback(np.int64(2**40), values)
    callback.flush(10)
    found = stored(server)
    assert {name: columns["value"] for name, columns in found.items()} == {
        "a": [1.0],
        "b": [0.5],
        "c": [0.25],
        "d": [2.0],
        "e": [math.inf],
        "f": [1.0],
    }
    assert found["a"]["step"] == [2**40]
    assert np.isnan(found["a"]["epoch"]).all()


def test_mistakes_are_said_once_and_cost_no_other_point(
    make: Any, server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    """A metric that is no number warns once, also inside jit, and the others are logged."""
    import jax

    callback = make()
    for step in range(3):
        callback(step, {"words": "many", "vector": np.zeros(2), "loss": step})
        callback("first", {"lost": 1.0})
        jax.jit(lambda x, step=step: callback(step, {"traced": x}))(1.0)
    callback.write_config({1: 2})
    callback.flush(10)
    assert stored(server).keys() == {"loss"}
    assert stored(server)["loss"]["value"] == [0, 1, 2]
    assert sorted(message.split(" of ")[0] for message in said(caplog)) == [
        f"cannot log {what}" for what in ("hyperparameters", "metrics", "traced", "vector", "words")
    ]


def test_strict_raises(make: Any) -> None:
    """With strict=True mistakes reach the caller."""
    callback = make(strict=True)
    with pytest.raises(ValueError, match="could not convert string"):
        callback(1, {"words": "many"})
    with pytest.raises(UsageError, match="config key 1"):
        callback.write_config({1: 2})


def test_wrong_arguments_raise_before_the_loop() -> None:
    """The constructor refuses what cannot work."""
    with pytest.raises(UsageError, match="scope"):
        StreamvisCallback("")
    with pytest.raises(TypeError, match="flush_evry"):
        StreamvisCallback("run", flush_evry=1)


def test_other_processes_log_nothing(make: Any, server: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many processes that run the same program, the first logs."""
    import jax

    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with make() as callback:
        callback(1, {"loss": 1.0})
        callback.write_config({"lr": 1})
        callback.flush()
    assert stored(server) == {}


def test_created_by_name(server: ServerThread) -> None:
    """The entry point brings the adapter `flax`."""
    callback = streamvis.create("flax", scope="run", grpc_uri=server.uri)
    assert isinstance(callback, StreamvisCallback)
    assert callback.logger.scope == "run"


def test_listing_imports_no_framework() -> None:
    """The hooks and the package load neither JAX nor Flax, and a misspelt name is an error."""
    code = (
        "import sys, streamvis_flax.hooks as hooks; hooks.streamvis_adapters(); import streamvis_flax;"
        "assert 'StreamvisCallback' in dir(streamvis_flax) and not hasattr(streamvis_flax, 'StreamvisCalback');"
        "print([name for name in sys.modules if name.partition('.')[0] in ('jax', 'flax')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[]\n"
