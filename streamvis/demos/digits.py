"""A real training run to watch: a small network, in numpy, learns the handwritten digits that scikit-learn ships.

It logs the loss of every step, the loss and each digit's accuracy on held-out images, the learning rate, and once per
epoch where the network puts all images: its hidden activations, projected onto a plane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from streamvis.columns import Array

SCHEMA = Path(__file__).with_name("digits.yaml")
PAGE = "/?cols=loss,accuracy,rate;hidden&width=5,6&height=3,3,2,1"
"""The page that shows this run, with the plots of SCHEMA."""

CLASSES = 10


class Logger(Protocol):
    """What this run needs of a logger."""

    def write(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        """See DataLogger."""

    def write_config(self, values: dict[str, Any], /) -> None:
        """See DataLogger."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyperparameters of the run."""

    epochs: int = 100
    batch_size: int = 32
    hidden: int = 64
    learning_rate: float = 0.03
    warmup_steps: int = 100
    momentum: float = 0.9
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Data:
    """Images of shape (image, pixel) in 0…1 with their digits, and which of them the network learns from."""

    images: Array
    digits: Array
    training: Array
    validation: Array

    @classmethod
    def load(cls, held_out: float = 0.2) -> Data:
        """The 1,797 images of 8 by 8 pixels."""
        from sklearn.datasets import load_digits  # noqa: PLC0415 - scikit-learn comes with `streamvis[demo]`

        images, digits = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(images))
        cut = int(len(order) * held_out)
        return cls((images / 16).astype(np.float32), digits, training=order[cut:], validation=order[:cut])


@dataclass(slots=True)
class Network:
    """One hidden layer of rectified units, trained by stochastic gradient descent with momentum."""

    weights: list[Array]
    velocity: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        self.velocity = [np.zeros_like(weight) for weight in self.weights]

    @classmethod
    def random(cls, inputs: int, hidden: int, rng: np.random.Generator) -> Network:
        """He's initialisation (arXiv:1502.01852)."""
        first = rng.normal(0, math.sqrt(2 / inputs), (inputs, hidden))
        second = rng.normal(0, math.sqrt(2 / hidden), (hidden, CLASSES))
        weights = [first, np.zeros(hidden), second, np.zeros(CLASSES)]
        return cls([weight.astype(np.float32) for weight in weights])

    def hidden(self, images: Array) -> Array:
        """Activations of the hidden layer, shape (image, unit)."""
        activations: Array = np.maximum(images @ self.weights[0] + self.weights[1], 0)
        return activations

    def log_probabilities(self, hidden: Array) -> Array:
        """Of each digit, shape (image, digit)."""
        logits = hidden @ self.weights[2] + self.weights[3]
        logits -= logits.max(axis=1, keepdims=True)
        normalised: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return normalised

    def learn(self, images: Array, digits: Array, learning_rate: float, momentum: float) -> float:
        """One step; the loss before it."""
        hidden = self.hidden(images)
        log_probabilities = self.log_probabilities(hidden)
        error = (np.exp(log_probabilities) - np.eye(CLASSES, dtype=np.float32)[digits]) / len(digits)
        back = (error @ self.weights[2].T) * (hidden > 0)
        gradients = [images.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        moves = zip(self.velocity, gradients, strict=True)
        self.velocity = [momentum * velocity - learning_rate * gradient for velocity, gradient in moves]
        self.weights = [weight + velocity for weight, velocity in zip(self.weights, self.velocity, strict=True)]
        return cross_entropy(log_probabilities, digits)


def cross_entropy(log_probabilities: Array, digits: Array) -> float:
    """Mean over the images, in nats."""
    return float(-log_probabilities[np.arange(len(digits)), digits].mean())


def accuracy_by_digit(log_probabilities: Array, digits: Array) -> Array:
    """The share of each digit's images that is recognised, shape (10,)."""
    right = log_probabilities.argmax(axis=1) == digits
    shares: Array = np.bincount(digits, right, CLASSES) / np.maximum(np.bincount(digits, minlength=CLASSES), 1)
    return shares


def scheduled_rate(settings: Settings, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero (arXiv:1608.03983)."""
    warmup = min(1.0, (step + 1) / settings.warmup_steps)
    return settings.learning_rate * warmup * (1 + math.cos(math.pi * step / steps)) / 2


def project(activations: Array, previous: Array | None) -> Array:
    """The two principal components, shape (image, 2), turned and mirrored to lie as near as can be to the previous.

    Without that (orthogonal Procrustes), the cloud would flip at random from epoch to epoch.
    """
    centred = activations - activations.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    points: Array = centred @ axes[:2].T
    if previous is not None:
        left, _, right = np.linalg.svd(points.T @ previous)
        points = points @ (left @ right)
    return points


def train(logger: Logger, settings: Settings, data: Data) -> Iterator[int]:
    """Trains and logs; yields the number of each step, so that the caller sets the pace and may stop."""
    logger.write_config(asdict(settings))
    rng = np.random.default_rng(settings.seed)
    network = Network.random(data.images.shape[1], settings.hidden, rng)
    report = _Report(logger, data)
    batches = len(data.training) // settings.batch_size
    for epoch in range(settings.epochs):
        report.write(network, epoch, epoch * batches)
        for number, batch in enumerate(np.array_split(rng.permutation(data.training), batches)):
            step = epoch * batches + number
            rate = scheduled_rate(settings, step, settings.epochs * batches)
            loss = network.learn(data.images[batch], data.digits[batch], rate, settings.momentum)
            logger.write("train/loss", x=step, y=loss)
            logger.write("learning-rate", x=step, y=rate)
            yield step
    report.write(network, settings.epochs, settings.epochs * batches)


@dataclass(slots=True)
class _Report:
    """Logs how a network does, before the first epoch and after each."""

    logger: Logger
    data: Data
    points: Array | None = None

    def write(self, network: Network, epoch: int, step: int) -> None:
        hidden = network.hidden(self.data.images)
        self._write_validation(network.log_probabilities(hidden[self.data.validation]), step)
        self._write_cloud(hidden, epoch)

    def _write_validation(self, log_probabilities: Array, step: int) -> None:
        digits = self.data.digits[self.data.validation]
        self.logger.write("val/loss", x=step, y=cross_entropy(log_probabilities, digits))
        self.logger.write("val/accuracy", x=step, y=accuracy_by_digit(log_probabilities, digits)[:, np.newaxis])

    def _write_cloud(self, hidden: Array, epoch: int) -> None:
        self.points = project(hidden, self.points)
        for digit in range(CLASSES):
            xs, ys = self.points[self.data.digits == digit].T
            self.logger.write("hidden", start_index=digit, x=xs, y=ys, t=epoch)
