"""Fewer points of a series: those that meet conditions, windowed means, a range of x, each bucket's lowest and highest.

Pure numpy. docs/reading.md has the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamvis.columns import Array, point_count
from streamvis.errors import UsageError
from streamvis.thinning import thinned

_LIMITS = {"window": 2**24, "stride": 2**31 - 1, "max_points": 2**31 - 1}
"""A window is held in memory until it is complete."""


class Condition(NamedTuple):
    """What a column's value must be: low <= value <= high."""

    column: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """What is done to each series, in the order of the fields. 0, None and no conditions do nothing.

    Raises UsageError for numbers that mean nothing.
    """

    where: tuple[Condition, ...] = ()
    """Points that meet all of them are kept."""

    window: int = 0
    stride: int = 0
    """0: the window's size."""

    x: str = "x"
    """The column that `x_range` and `max_points` go by."""

    x_range: tuple[float, float] | None = None
    max_points: int = 0

    def __post_init__(self) -> None:
        for name, most in _LIMITS.items():
            number = getattr(self, name)
            if not 0 <= number <= most:
                raise UsageError(f"{name} is {number}; expected 1 to {most}")
        if self.stride and not self.window:
            raise UsageError(f"stride is {self.stride} without a window; expected both, or a window alone")
        if self.max_points == 1:
            raise UsageError("max_points is 1; expected 2 or more, as the first and the last point are kept")
        if self.x_range is not None and not self.x_range[0] <= self.x_range[1]:
            raise UsageError(f"x_range is {self.x_range}; expected the lower end, then the upper")
        for column, low, high in self.where:
            if not low <= high:
                raise UsageError(
                    f"where[{column!r}] is {(low, high)}; expected a number, or the lower end, then the upper"
                )

    def apply(self, columns: Mapping[str, Array], before: int = 0) -> dict[str, Array]:
        """What a reader that has had the first `before` points is still to get: columns of shape (points,)."""
        reducer = Reducer(self)
        reducer.feed({name: values[:before] for name, values in columns.items()})
        rest = reducer.feed({name: values[before:] for name, values in columns.items()})
        return thinned(rest, self.x, self.max_points) if self.max_points else rest


class Reducer:
    """Takes one series piece by piece through all steps but the thinning, which is a `Thinner`'s.

    What comes out does not depend on how the series is cut, unless into pieces of other dtypes: an end of a range is
    rounded to the dtype of the piece.
    """

    def __init__(self, reduction: Reduction, start: int = 0) -> None:
        """`start`: the number of the first point that it will be given; those before are in no window to come."""
        self._reduction = reduction
        self._windows = (
            Windows(reduction.window, reduction.stride or reduction.window, start) if reduction.window else None
        )

    def feed(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """What the next points, columns of shape (points,), give."""
        reduced = meeting(columns, self._reduction.where)
        if self._windows:
            reduced = self._windows.feed(reduced)
        if self._reduction.x_range is not None:
            reduced = within(reduced, self._reduction.x, *self._reduction.x_range)
        return reduced


class Windows:
    """The windowed means of one series that grows."""

    def __init__(self, window: int, stride: int, start: int = 0) -> None:
        """`start`: the number of the first point to come. Windows that begin before it are left out."""
        self._window = window
        self._stride = stride
        self._next = -(-start // stride) * stride  # where the next window begins
        self._number = start  # of the first point held
        self._held: list[dict[str, Array]] = []
        self._length = 0

    def feed(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """The means of the windows that the next points complete, as float64: see `windowed_means`."""
        self._held.append({name: values.astype("f8") for name, values in columns.items()})
        self._length += point_count(columns)
        if self._number + self._length < self._next + self._window:
            if self._number + self._length <= self._next:
                self._drop(self._length)
            return {name: np.empty(0) for name in columns}
        held = {name: np.concatenate([piece[name] for piece in self._held]) for name in columns}
        first = self._next - self._number
        count = _complete(self._length - first, self._window, self._stride)
        means = {name: _means(values, first, count, self._window, self._stride) for name, values in held.items()}
        self._next += count * self._stride
        kept = min(self._next - self._number, self._length)
        self._drop(kept)
        if self._length:
            self._held = [{name: values[kept:].copy() for name, values in held.items()}]
        return means

    def _drop(self, points: int) -> None:
        self._held = []
        self._number += points
        self._length -= points


def windowed_means(columns: Mapping[str, Array], window: int, stride: int, before: int = 0) -> dict[str, Array]:
    """Means of the points j·stride … j·stride + window - 1 for each j, as float64, of the windows that are complete.

    Points lie along the last axis. Without the windows that were complete after the first `before` points: a growing
    series only ever adds windows, and bit for bit those of a series that was read as a whole.
    """
    first = _complete(before, window, stride)
    count = _complete(point_count(columns), window, stride) - first
    return {name: _means(values, first * stride, count, window, stride) for name, values in columns.items()}


def next_window(points: int, window: int, stride: int) -> int:
    """The number of the point with which the first window begins that is not complete after so many points."""
    return _complete(points, window, stride) * stride


def _complete(points: int, window: int, stride: int) -> int:
    return 0 if points < window else (points - window) // stride + 1


def _means(values: Array, start: int, count: int, window: int, stride: int) -> Array:
    """Adds up spans of 1, 2, 4, … points and of them each window: rounding depends on its own points alone."""
    total = np.zeros((*values.shape[:-1], count))
    last = (count - 1) * stride
    spans = values[..., start : start + last + window].astype("f8")
    offset, size = 0, 1
    with np.errstate(all="ignore"):  # inf - inf is NaN, as in any mean
        while count and size <= window:
            if window & size:
                total += spans[..., offset : offset + last + 1 : stride]
                offset += size
            spans = spans[..., :-size] + spans[..., size:]
            size *= 2
        return total / window


def meeting(columns: Mapping[str, Array], conditions: Iterable[Condition]) -> dict[str, Array]:
    """The points that meet all the conditions; none of a series without the column of one."""
    kept = dict(columns)
    for column, low, high in conditions:
        kept = within(kept, column, low, high)
    return kept


def within(columns: Mapping[str, Array], x: str, low: float, high: float) -> dict[str, Array]:
    """The points with low <= x <= high; none of a series without that column."""
    if x not in columns:
        return {name: values[:0] for name, values in columns.items()}
    inside = _between(columns[x], low, high)
    return {name: values[inside] for name, values in columns.items()}


def _between(values: Array, low: float, high: float) -> Array:
    """Which values lie in the range: integers exactly, floats with its ends rounded to their dtype."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            inside: Array = (values >= values.dtype.type(low)) & (values <= values.dtype.type(high))
            return inside
    if values.dtype.kind == "b":
        values = values.view("i1")
    info = np.iinfo(values.dtype)
    if low > info.max or high < info.min:
        return np.zeros(len(values), bool)
    first = info.min if low <= info.min else math.ceil(low)
    last = info.max if high >= info.max else math.floor(high)
    return (values >= first) & (values <= last)
