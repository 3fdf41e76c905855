"""Fewer points that show the same line: each bucket's lowest and highest, of a series that need not be held whole.

Pure numpy. docs/reading.md has the definition, which buckets of x make depend on where the series ends: so it goes
through twice, first to learn its course, then to be thinned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from streamvis.columns import Array, point_count


class Course:
    """What thinning has to know of a series first: how long it is, and from where to where x goes if it ascends."""

    def __init__(self, x: str) -> None:
        self.x = x
        self.length = 0
        self._ascends = True
        self._ends: tuple[Array, Array] | None = None  # the first x and the last, as they are

    def feed(self, columns: Mapping[str, Array]) -> None:
        """Takes the next points, columns of shape (points,)."""
        length = point_count(columns)
        if not length:
            return
        self.length += length
        if self._ascends and self.x in columns:
            x = columns[self.x]
            first, before = self._ends or (x[0], x[0])
            self._ascends = bool(x[0] >= before and np.all(x[1:] >= x[:-1]))
            self._ends = (first, x[-1])

    @property
    def ascends(self) -> bool:
        """Whether no x is lower than the one before, NaN or infinite."""
        return self._ascends and self._ends is not None and math.isfinite(self.span)

    @property
    def low(self) -> float:
        """The first x."""
        return float(self._ends[0]) if self._ends else 0.0

    @property
    def span(self) -> float:
        """How far the last x lies above the first."""
        return float(self._ends[1]) - self.low if self._ends else 0.0


class Thinner:
    """Thins one series of that course, piece by piece; it holds no more than the points that it keeps."""

    def __init__(self, course: Course, max_points: int) -> None:
        self._course = course
        self._max_points = max_points
        self._number = 0  # of the next point
        self._kept: list[dict[str, Array]] = []
        self._open: dict[str, Array] = {}  # what may stay of the bucket that the next point may lie in
        self._open_numbers = np.zeros(0, np.int64)

    def feed(self, columns: Mapping[str, Array]) -> None:
        """Takes the next points, columns of shape (points,)."""
        length = point_count(columns)
        if not length:
            return
        buckets = (self._max_points - 2) // (3 * (len(columns) - 1)) if len(columns) > 1 else 0
        if self._course.length <= self._max_points:
            self._kept.append(dict(columns))
        elif buckets and self._course.ascends:
            self._feed_buckets(columns, buckets)
        else:
            first, last = np.searchsorted(self._places, [self._number, self._number + length])
            self._keep(columns, self._places[first:last] - self._number)
        self._number += length

    def finish(self) -> dict[str, Array]:
        """The points that are left, after all were given."""
        kept = [*self._kept, self._open] if self._open else self._kept
        return {name: np.concatenate([piece[name] for piece in kept]) for name in kept[0]} if kept else {}

    @cached_property
    def _places(self) -> Array:
        """The points at equal distances, of more than there may be."""
        return np.unique(np.linspace(0, self._course.length - 1, self._max_points).round().astype(np.int64))

    def _keep(self, columns: Mapping[str, Array], places: Array) -> None:
        if len(places):
            self._kept.append({name: values[places] for name, values in columns.items()})

    def _feed_buckets(self, columns: Mapping[str, Array], buckets: int) -> None:
        """The extremes of an open bucket stand for it beside the points that follow: theirs are those of the whole."""
        numbers = np.concatenate([self._open_numbers, np.arange(self._number, self._number + point_count(columns))])
        if self._open:
            columns = {name: np.concatenate([self._open[name], values]) for name, values in columns.items()}
        starts = self._starts(columns[self._course.x], numbers, buckets)
        others = [values for name, values in columns.items() if name != self._course.x]
        ends = np.flatnonzero((numbers == 0) | (numbers == numbers[-1]))
        places = np.unique(np.concatenate([ends, *(_extremes(values, starts) for values in others)]))
        is_open = places >= starts[-1]
        self._keep(columns, places[~is_open])
        self._open = {name: values[places[is_open]] for name, values in columns.items()}
        self._open_numbers = numbers[places[is_open]]

    def _starts(self, x: Array, numbers: Array, buckets: int) -> Array:
        """Where each bucket that has points begins."""
        low, span, length = self._course.low, self._course.span, self._course.length
        part = (x.astype("f8") - low) / span if span else numbers / length
        bucket = np.minimum((part * buckets).astype(np.int64), buckets - 1)
        return np.flatnonzero(np.diff(bucket, prepend=-1))


def thinned(columns: Mapping[str, Array], x: str, max_points: int) -> dict[str, Array]:
    """At most `max_points` of the points, in their order, with the first and the last.

    Where x ascends: the first lowest, first highest and first NaN of every other column in each of equally wide buckets
    of x. Else, or when there is no room for that, points at equal distances in their order.
    """
    course = Course(x)
    course.feed(columns)
    thinner = Thinner(course, max_points)
    thinner.feed(columns)
    return thinner.finish() or dict(columns)


def _extremes(values: Array, starts: Array) -> Array:
    """The first lowest, first highest and first NaN point of each bucket."""
    nan = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    counts = np.diff(starts, append=len(values))
    found = [_firsts(nan, starts)]
    for extreme, never in ((np.minimum, np.inf), (np.maximum, -np.inf)):
        known = np.where(nan, values.dtype.type(never), values) if nan.any() else values
        found.append(_firsts((known == np.repeat(extreme.reduceat(known, starts), counts)) & ~nan, starts))
    return np.concatenate(found)


def _firsts(wanted: Array, starts: Array) -> Array:
    """The first wanted point of each bucket that has one."""
    points = np.flatnonzero(wanted)
    _, first = np.unique(np.searchsorted(starts, points, side="right"), return_index=True)
    return points[first]
