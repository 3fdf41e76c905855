"""A Flax training loop, logged to streamvis: python examples/flax_digits.py [GRPC_URI [EPOCHS]]."""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits

from streamvis_flax import StreamvisCallback


class Network(nn.Module):
    """A small network that tells handwritten digits apart."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits, shape (image, digit)."""
        return nn.Dense(10)(nn.relu(nn.Dense(64)(images)))


def evaluate(params: Any, state: TrainState, images: jax.Array, digits: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    """The loss, and all metrics."""
    logits = state.apply_fn({"params": params}, images)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, digits).mean()
    return loss, {"loss": loss, "accuracy": (logits.argmax(axis=1) == digits).mean()}


@jax.jit
def learn(state: TrainState, images: jax.Array, digits: jax.Array) -> tuple[TrainState, dict[str, Any]]:
    """One step; the metrics are those before it."""
    gradients, metrics = jax.grad(evaluate, has_aux=True)(state.params, state, images, digits)
    logged = {f"train/{name}": value for name, value in metrics.items()}
    return state.apply_gradients(grads=gradients), {**logged, "gradient/norm": optax.tree.norm(gradients)}


def main(grpc_uri: str | None = None, epochs: str = "30") -> None:
    """Trains; what differs from any other loop is the callback."""
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    network = Network()
    params = network.init(jax.random.key(0), images[:1])["params"]
    state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.sgd(0.05, momentum=0.9))
    with StreamvisCallback("flax", grpc_uri, delete_existing=True, statistics_every=1) as callback:
        callback.write_config({"hidden": 64, "learning_rate": 0.05})
        for epoch in range(int(epochs)):
            for batch in np.split(rng.permutation(order[300:])[:1470], 30):
                state, metrics = learn(state, images[batch], digits[batch])
                callback(state, metrics, epoch=epoch, params=state.params)
            _, metrics = evaluate(state.params, state, images[order[:300]], digits[order[:300]])
            callback(state, {f"val/{name}": value for name, value in metrics.items()}, epoch=epoch)


if __name__ == "__main__":
    main(*sys.argv[1:])
