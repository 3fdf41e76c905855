"""Moving shapes for the demos: a cloud of points that turns and breathes, and a few travelling waves."""

from __future__ import annotations

import numpy as np

from streamvis.columns import Array


class Cloud:
    """Points of three spirals that turn once and breathe three times within `num_steps` steps."""

    def __init__(self, num_points: int, num_steps: int) -> None:
        rng = np.random.default_rng(0)
        self._num_steps = max(num_steps, 1)
        self._radius = np.sqrt(rng.uniform(0.02, 1, num_points))
        arm = rng.integers(0, 3, num_points) * (2 * np.pi / 3)
        self._angle = arm + 3 * self._radius + rng.normal(0, 0.15, num_points)

    def step(self, step: int) -> Array:
        """The points at a step, shape (num_points, 2)."""
        turn = 2 * np.pi * step / self._num_steps
        radius = self._radius * (1 + 0.3 * np.sin(3 * turn))
        angle = self._angle + turn
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


class Sinusoidal:
    """Waves of rising frequency, one per group, of which each step brings the next `num_points` points."""

    def __init__(self, num_groups: int = 4, num_points: int = 10) -> None:
        self._frequency = np.arange(1, num_groups + 1)[:, np.newaxis] / 100
        self._ahead = np.arange(num_points)

    def step(self, step: int) -> tuple[Array, Array]:
        """(xs, ys) from this step on, of shapes (point,) and (group, point)."""
        xs = step + self._ahead
        return xs, np.sin(2 * np.pi * self._frequency * xs) / (100 * self._frequency)
