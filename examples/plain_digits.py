"""A plain numpy training loop, logged to streamvis: python examples/plain_digits.py [GRPC_URI [EPOCHS]]."""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits

from streamvis import DataLogger

BATCHES = 30
RATE = 0.2


def main(grpc_uri: str | None = None, epochs: str = "30") -> None:
    """Learns to tell handwritten digits apart, by softmax regression."""
    images, digits = load_digits(return_X_y=True)
    images = images / 16
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    training, validation = order[300:], order[:300]
    weights = np.zeros((64, 10))
    clock = np.exp(2j * np.pi * np.arange(10) / 10)  # each digit at its hour

    with DataLogger("plain", grpc_uri, delete_existing=True) as logger:
        logger.write_config({"model": "softmax regression", "learning_rate": RATE})
        for epoch in range(int(epochs)):
            for step, batch in enumerate(np.array_split(rng.permutation(training), BATCHES), epoch * BATCHES):
                p = probabilities(images[batch], weights)
                logger.write("train/loss", step=step, value=cross_entropy(p, digits[batch]))
                gradient = images[batch].T @ (p - np.eye(10)[digits[batch]]) / len(batch)
                logger.write("gradient/norm", step=step, value=np.linalg.norm(gradient))
                weights -= RATE * gradient

            step = (epoch + 1) * BATCHES
            p = probabilities(images[validation], weights)
            logger.write("val/loss", step=step, value=cross_entropy(p, digits[validation]))
            logger.write("val/accuracy", step=step, value=np.mean(p.argmax(axis=1) == digits[validation]))
            places = p @ clock
            for digit in range(10):  # an index for each digit, a cloud for each epoch
                cloud = places[digits[validation] == digit]
                logger.write("clock", start_index=digit, x=cloud.real, y=cloud.imag, t=epoch)


def probabilities(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of each digit, shape (image, digit)."""
    logits = images @ weights
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def cross_entropy(probabilities: np.ndarray, digits: np.ndarray) -> float:
    """Mean over the images, in nats."""
    return float(-np.log(probabilities[np.arange(len(digits)), digits]).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
