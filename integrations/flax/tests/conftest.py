"""A real data server, callbacks that end with their test, and two training loops on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis.server.run import ServerThread

EPOCHS, BATCHES = 2, 5


@pytest.fixture(name="make")
def _make(tmp_path: Path, server: ServerThread) -> Iterator[Callable[..., Any]]:
    """Callbacks, or what else `kind` says, with a spool of the test's own, which end with the test."""
    from streamvis_flax import StreamvisCallback

    made = []

    def make(uri: str = server.uri, kind: Any = StreamvisCallback, **options: Any) -> Any:
        run = kind("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})
        made.append(run)
        return run

    yield make
    for run in made:
        run.stop()


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
    def learn(state: TrainState, images: Any, digits: Any) -> tuple[TrainState, Any, Any]:
        loss, gradients = jax.value_and_grad(loss_of)(state.params, state, images, digits)
        return state.apply_gradients(grads=gradients), {"train/loss": loss}, gradients

    network = nn.Dense(10)
    params = network.init(jax.random.key(0), np.zeros((1, 64)))["params"]
    state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.sgd(0.1))
    given = []
    for epoch, images, digits in batches():
        state, metrics, gradients = learn(state, images, digits)
        log(state, metrics, epoch=epoch, params=state.params, grads=gradients)
        given.append((int(state.step), float(metrics["train/loss"]), float(epoch)))
    return given


def fit_nnx(log: Callable[..., None]) -> list[tuple[int, float, float]]:
    """Modules, an optimizer and metrics that change in place; returns step, loss and epoch of each call."""
    import optax
    from flax import nnx

    @nnx.jit
    def learn(network: nnx.Linear, optimizer: Any, average: Any, images: Any, digits: Any) -> Any:
        def loss_of(network: nnx.Linear) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(network(images), digits).mean()

        loss, gradients = nnx.value_and_grad(loss_of)(network)
        optimizer.update(network, gradients)
        average.update(values=loss)
        return gradients

    network = nnx.Linear(64, 10, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(network, optax.sgd(0.1), wrt=nnx.Param)
    average = nnx.MultiMetric(**{"train/loss": nnx.metrics.Average()})
    given = []
    for epoch, images, digits in batches():
        gradients = learn(network, optimizer, average, images, digits)
        metrics = average.compute()
        average.reset()
        log(optimizer, {**metrics, "epoch": epoch}, params=network, grads=gradients)
        given.append((int(optimizer.step.get_value()), float(metrics["train/loss"]), float(epoch)))
    return given


@pytest.fixture(name="fit", params=[fit_linen, fit_nnx])
def _fit(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A fit with either API."""
    fit: Callable[..., Any] = request.param
    return fit


@pytest.fixture(name="fit_linen")
def _fit_linen() -> Callable[..., Any]:
    return fit_linen
