"""Points of many series side by side, as they travel: float32 offsets from an origin, slot after slot. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from streamvis_viewer import lod

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

LEAST_POINTS, MOST_POINTS = 64, 8192
"""What a series of a thinned base keeps: at least so many points, and at most as many as a screen can tell apart."""

RAW_POINTS = 1 << 16
"""What a series keeps where that is all that it has."""


class Rows(NamedTuple):
    """The points of some slots at one moment: columns x, y, … of shape (slots or 1, points), which never change."""

    slots: Array
    columns: tuple[Array, ...]
    ascends: bool = False
    """Whether it is known that x does, in every row."""

    @property
    def points(self) -> int:
        """In all rows."""
        return len(self.slots) * int(self.columns[0].shape[1])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The points of a view at one moment, and how they travel; it may be read on any thread."""

    rows: tuple[Rows, ...]
    slots: int
    """How many slots the view has, those without points among them."""
    origin: tuple[float, ...]
    """From which the values of each column are counted."""
    smooth: float
    """The weight of a moving average that is one more column; 0: none."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points of some slots: each slot's number and count, and the columns of all of them concatenated."""

    slots: Array
    counts: Array
    columns: tuple[Array, ...]
    exact: bool = True
    """Whether these are all that there are."""

    @property
    def total(self) -> int:
        """How many points there are."""
        return len(self.columns[0])


def whole(rows: Sequence[Rows], columns: int) -> Points:
    """All points of these rows; of none so many columns."""
    if not rows:
        return joined([], columns)
    slots, parts, _ = zip(*rows, strict=True)
    by_column: list[Sequence[Array]] = list(zip(*parts, strict=True))
    sizes = list(map(len, slots))
    counts = np.repeat(np.array([values.shape[1] for values in by_column[0]], "<u4"), sizes)
    if max(sizes) > 1:
        by_column = [list(map(_flat, values, sizes)) for values in by_column]
    return Points(np.concatenate(slots), counts, tuple(np.concatenate(values, axis=1)[0] for values in by_column))


def _flat(values: Array, rows: int) -> Array:
    """Row after row, as one."""
    return np.broadcast_to(values, (rows, values.shape[1])).reshape(1, -1)


def picked(rows: Rows, picks: lod.Picks) -> Points:
    """Those that were chosen."""
    return Points(rows.slots, picks.counts.astype("<u4"), tuple(map(picks.of, rows.columns)), picks.exact)


def joined(pieces: Sequence[Points], columns: int) -> Points:
    """One after the other; of none so many columns."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return Points(np.empty(0, "<u4"), np.empty(0, "<u4"), (np.empty(0, "<f4"),) * columns)
    return Points(
        np.concatenate([piece.slots for piece in pieces]),
        np.concatenate([piece.counts for piece in pieces]),
        tuple(np.concatenate(parts) for parts in zip(*(piece.columns for piece in pieces), strict=True)),
        all(piece.exact for piece in pieces),
    )


def in_order(points: Points, slots: int) -> Points:
    """The points of every slot together, slot after slot; the order within a slot stays."""
    counts = np.bincount(points.slots, points.counts, slots).astype("<u4")
    if np.array_equal(points.slots, np.arange(slots)):
        return replace(points, counts=counts)
    order = np.argsort(np.repeat(points.slots, points.counts), kind="stable")
    return Points(np.arange(slots, dtype="<u4"), counts, tuple(column[order] for column in points.columns))


def origin_of(low: float, high: float, before: float = 0.0) -> float:
    """From where float32 offsets tell apart what float64 does: 0 where they do so anyway.

    The rule has a wide middle, in which the origin `before` stays.
    """
    if not low <= high:
        return 0.0
    span, far = high - low, max(abs(low), abs(high))
    if before:
        return before if far > 64 * span else 0.0
    return low if far > 256 * span and (span or far >= 1 << 24) else 0.0


def offsets(columns: Iterable[Array], origin: Sequence[float]) -> tuple[Array, ...]:
    """The columns as they travel: each from its own origin."""
    return tuple(map(_offset, columns, origin))


def _offset(values: Array, origin: float) -> Array:
    with np.errstate(over="ignore"):  # beyond float32 there is no place on a screen
        return (values - origin if origin else values).astype("<f4")


def arrays(points: Points, there: Snapshot, origin: Sequence[float]) -> list[Array]:
    """Origin, counts and columns of the points of all slots.

    A moving average has the origin of y, and behind it comes the number of points of each slot, be they here or not.
    """
    ordered = in_order(points, there.slots)
    origin = [*origin, origin[1]] if there.smooth else origin
    packed = [np.array(origin), ordered.counts, *offsets(ordered.columns, origin)]
    return [*packed, _written(there)] if there.smooth else packed


def _written(there: Snapshot) -> Array:
    counts = np.zeros(there.slots, "<u4")
    for rows in there.rows:
        counts[rows.slots] = rows.columns[0].shape[1]
    return counts


def lines(rows: Iterable[Rows], window: lod.Window, smooth: float) -> list[Points]:
    """What a window wants of each line.

    With a weight to `smooth` by, there is one more column: the moving average of y, whose extremes are kept as well.
    """
    return [_line(part, window, smooth) for part in rows]


def _line(rows: Rows, window: lod.Window, smooth: float) -> Points:
    if not smooth:
        return picked(rows, lod.line(rows.columns[0], [rows.columns[1]], rows.ascends, window))
    near = _with_history(rows, window.span, smooth)
    average = lod.ema(near.columns[1], smooth)
    twice = replace(window, budget=2 * window.budget)
    picks = lod.line(near.columns[0], [near.columns[1], average], near.ascends, twice)
    return picked(near._replace(columns=(*near.columns, average)), picks)


def _with_history(rows: Rows, span: lod.Span, weight: float) -> Rows:
    """The rows from where on a moving average has forgotten what came before when it reaches the window."""
    x = rows.columns[0]
    if not rows.ascends or len(x) > 1:
        return rows
    first, last = span.bounds(x[0])
    begin = max(first - math.ceil(math.log(_FORGOTTEN) / math.log(weight)), 0)
    return rows._replace(columns=tuple(values[:, begin:last] for values in rows.columns))


_FORGOTTEN = 1e-9


def sampled(rows: Iterable[Rows], every: int, by_last: bool) -> list[Points]:
    """Every so manieth point of each series; `by_last`: also the first of equal neighbours in the last column."""
    return [picked(part, lod.sample(part.columns, every, part.columns[-1] if by_last else None)) for part in rows]
