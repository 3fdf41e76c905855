"""Level of detail: fewer points that look the same on a screen. Pure numpy.

A line keeps the first lowest and the first highest point of each bucket of x, about two buckets to a pixel column (M4:
Jugel et al., VLDB 2014); a cloud keeps every so manieth point, or becomes an image of how many points lie where. All
points kept are points that were written, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_PIECE = 32
"""Points within which an extreme is looked for one by one."""

_STEP = 1 << 21
"""Elements that are handled at a time, so that temporary arrays stay small."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Points chosen from rows of equal length: row after row, in their order within each."""

    counts: Array
    """How many of each row."""

    at: Array
    """Their places within the rows; -1 is a gap that was not there."""

    exact: bool = True
    """Whether these are all points that were asked for."""

    def of(self, values: Array) -> Array:
        """What a column of shape (rows or 1, length) holds there, as shape (sum of counts,)."""
        if len(values) == 1:
            picked: Array = values[0, self.at]
        else:
            picked = values[np.repeat(np.arange(len(self.counts)), self.counts), self.at]
        if not self._gaps.any():
            return picked
        picked = picked.astype(np.result_type(picked, "f4"))
        picked[self._gaps] = np.nan
        return picked

    @property
    def _gaps(self) -> Array:
        return np.asarray(self.at < 0)


@dataclass(frozen=True, slots=True)
class Span:
    """A window along x, and whether its axis is logarithmic."""

    low: float = -np.inf
    high: float = np.inf
    log: bool = False

    def bounds(self, x: Array) -> tuple[int, int]:
        """The places of ascending x within the window, with one more on each side: the line goes on beyond it."""
        first = int(np.searchsorted(x, _key(x, self.low, np.ceil), "left"))
        last = int(np.searchsorted(x, _key(x, self.high, np.floor), "right"))
        if self.log:
            first = max(first, int(np.searchsorted(x, _key(x, 0, np.floor), "right")) + 1)
        return max(first - 1, 0), min(last + 1, len(x))

    def starts(self, x: Array, buckets: int) -> Array:
        """Where each of so many equally wide buckets begins in ascending x, those without points left out."""
        inner = np.arange(1, buckets)
        low, high = (float(end) for end in (max(x[0], self.low), min(x[-1], self.high)))
        if self.log and 0 < low < high:
            edges = low * (high / low) ** (inner / buckets)
        else:
            edges = low + (high - low) * (inner / buckets)
        found = np.searchsorted(x, _key(x, edges, np.ceil), "left")
        return np.unique(np.concatenate([[0], found[found < len(x)]]))


@dataclass(frozen=True, slots=True)
class Window:
    """What is wanted of each line: its points within a span, all of them up to `most`, else about `budget`."""

    span: Span
    budget: int
    most: int

    def starts(self, x: Array, columns: int) -> Array:
        """Where the buckets begin of which each of so many columns keeps two points."""
        return self.span.starts(x, max((self.budget - 2) // (2 * columns), 1))


def _key(x: Array, values: Any, rounded: Any) -> Any:
    """Values to search in x for, of x's own dtype: any other would convert all of x."""
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(values, x.dtype)
    limits = np.iinfo(x.dtype)
    most = limits.max if limits.bits < 64 else limits.max - 1023  # the largest that a float64 holds
    return np.clip(rounded(values), float(limits.min), float(most)).astype(x.dtype)


def line(x: Array, ys: Sequence[Array], ascends: bool, window: Window) -> Picks:
    """What a window wants of each line.

    x and each of ys have shape (rows or 1, n); every row of ys is a line. Where x does not ascend, buckets are of equal
    numbers of points, each with its extremes in x as well.
    """
    rows = max(map(len, (x, *ys)))
    if ascends and len(x) == 1:
        first, last = window.span.bounds(x[0])
        picks = _thinned(x[0, first:last], [y[:, first:last] for y in ys], rows, window)
        return replace(picks, at=picks.at + first)
    each = ((x[row % len(x)], [y[row % len(y)] for y in ys]) for row in range(rows))
    return _joined([_row(*columns, ascends, window) for columns in each])


def _row(x: Array, ys: Sequence[Array], ascends: bool, window: Window) -> Picks:
    if ascends:
        return line(x[np.newaxis], [y[np.newaxis] for y in ys], True, window)
    at = _visits(x, window.span)
    if len(at) > window.most:
        values = [np.where(at < 0, np.nan, column[at])[np.newaxis] for column in (x, *ys)]
        buckets = max((window.budget - 2) // (2 * len(values)), 1)
        starts = np.unique(np.linspace(0, len(at), buckets, endpoint=False).astype(np.int64))
        kept = _kept(values, 1, len(at), starts)
        return replace(kept, at=at[kept.at])
    return Picks(np.array([len(at)]), at)


def _visits(x: Array, span: Span) -> Array:
    """The places where a line is in the window, each visit with one more at both ends, and a gap between visits."""
    if span.low == -np.inf and span.high == np.inf:
        return np.arange(len(x))
    inside = (x >= span.low) & (x <= span.high)
    near = inside.copy()
    near[:-1] |= inside[1:]
    near[1:] |= inside[:-1]
    at = np.flatnonzero(near)
    return np.insert(at, np.flatnonzero(np.diff(at) > 1) + 1, -1)


def _thinned(x: Array, ys: Sequence[Array], rows: int, window: Window) -> Picks:
    length = len(x)
    if length <= window.most:
        return Picks(np.full(rows, length), np.tile(np.arange(length), rows))
    return _kept(ys, rows, length, window.starts(x, len(ys)))


def _kept(ys: Sequence[Array], rows: int, length: int, starts: Array) -> Picks:
    """The first and the last point of each row, and its extremes in each bucket."""
    step = max(1, _STEP // max(length, len(starts) * _PIECE))
    parts = []
    for begin in range(0, rows, step):
        count = min(step, rows - begin)
        found = [_extremes(y if len(y) == 1 else y[begin : begin + count], starts) for y in ys]
        ends = np.broadcast_to([0, length - 1], (count, 2))
        at = np.concatenate([ends, *(np.broadcast_to(f, (count, f.shape[1])) for f in found)], axis=1)
        at.sort(axis=1)
        new = np.diff(at, axis=1, prepend=-1) > 0
        parts.append(Picks(new.sum(axis=1), at[new], exact=False))
    return _joined(parts)


def _extremes(values: Array, starts: Array) -> Array:
    """(rows, 2 x buckets): where the lowest and the highest finite value of each bucket stand.

    A bucket without any is a gap and gives its first point; a gap within a bucket would be too narrow to see.
    """
    length = values.shape[1]
    pieces = _pieces(starts, length)
    sizes = np.diff(pieces, append=length)
    first = np.searchsorted(pieces, starts)
    places = []
    for extreme in (np.fmin, np.fmax):
        of_pieces = extreme.reduceat(values, pieces, axis=1)
        if np.isinf(of_pieces).any():
            return _extremes(np.where(np.isfinite(values), values, np.nan), starts)
        of_buckets = extreme.reduceat(of_pieces, first, axis=1)
        piece = _first(of_pieces == np.repeat(of_buckets, np.diff(first, append=len(pieces)), axis=1), first)
        at = pieces[piece][..., np.newaxis] + np.minimum(np.arange(sizes.max()), sizes[piece][..., np.newaxis] - 1)
        near = values[np.arange(len(values))[:, np.newaxis, np.newaxis], at]
        places.append(pieces[piece] + (near == of_buckets[..., np.newaxis]).argmax(axis=-1))
    return np.concatenate(places, axis=1)


def _pieces(starts: Array, length: int) -> Array:
    """Buckets cut into pieces: their starts."""
    if np.diff(starts, append=length).max() <= 2 * _PIECE:
        return starts
    both = np.concatenate([starts, np.arange(0, length, _PIECE)])
    both.sort(kind="stable")  # two ascending runs, merged
    return both[np.diff(both, prepend=-1) > 0]


def _first(wanted: Array, starts: Array) -> Array:
    """(rows, buckets): the first wanted place of each bucket, its first one when none is wanted."""
    count = wanted.shape[1]
    places = np.minimum.reduceat(np.where(wanted, np.arange(count), count), starts, axis=1)
    return np.where(places < count, places, starts)


def _joined(parts: Sequence[Picks]) -> Picks:
    return Picks(
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.at for part in parts]),
        all(part.exact for part in parts),
    )


def sample(columns: Sequence[Array], every: int, changes: Array | None = None) -> Picks:
    """Every so manieth point of each row, with its extremes in x and y, and the first after each change of a column.

    Columns have shape (rows or 1, n); the first two are x and y, `changes` is the column whose every run is kept.
    """
    rows, length = max(map(len, columns)), columns[0].shape[1]
    common = np.arange(0, length, every)
    parts = []
    for row in range(rows):
        own = (column[row % len(column)][np.newaxis] for column in columns[:2])
        kept = [common, *(_extremes(values, np.array([0]))[0] for values in own)]
        if changes is not None:
            values = changes[row % len(changes)]
            kept.append(np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1))
        at = np.unique(np.concatenate(kept))
        parts.append(Picks(np.array([len(at)]), at))
    return _joined(parts)


@dataclass(frozen=True, slots=True)
class Area:
    """A window of a plot: limits and kinds of both axes."""

    x: Span
    y: Span

    def inside(self, x: Array, y: Array) -> Array:
        """Which points lie in it."""
        return np.asarray((x >= self.x.low) & (x <= self.x.high) & (y >= self.y.low) & (y <= self.y.high))


def density(
    groups: Iterable[tuple[Sequence[int], Iterator[tuple[Array, Array]]]], area: Area, width: int, height: int
) -> Array:
    """An image, (height, width, rgba) with its first row on top, of how many points lie where.

    `groups` are colours, each with its points (x, y). The colour of a pixel is the mean of its points' colours, its
    opacity grows with the logarithm of their number.
    """
    total = np.zeros(width * height)
    mixed = np.zeros((3, width * height))
    for color, points in groups:
        counts = np.zeros(width * height)
        for x, y in points:
            counts += np.bincount(_cells(x, y, area, width, height), minlength=width * height)
        total += counts
        for channel in range(3):
            mixed[channel] += counts * color[channel]
    image = np.zeros((width * height, 4), "u1")
    inked = total > 0
    if inked.any():
        image[inked, :3] = np.rint(mixed[:, inked] / total[inked]).T
        strength = np.log1p(total[inked]) / np.log1p(total.max())
        image[inked, 3] = np.rint(255 * (_FAINTEST + (1 - _FAINTEST) * strength))
    return image.reshape(height, width, 4)


_FAINTEST = 0.25
"""The opacity of a lone point beside a great many."""


def _cells(x: Array, y: Array, area: Area, width: int, height: int) -> Array:
    """The numbers of the pixels of those points that lie in the area."""
    columns, rows = _places(x, area.x, width), _places(y, area.y, height)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    flat: Array = (height - 1 - rows[inside].astype(np.intp)) * width + columns[inside].astype(np.intp)
    return flat


def _places(values: Array, span: Span, count: int) -> Array:
    """On which of so many pixels values lie, as whole numbers; NaN where they have no place."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if span.log:
            low, high = np.log(span.low), np.log(span.high)
            return np.asarray(np.floor((np.log(values) - low) * (count / (high - low))))
        return np.asarray(np.floor((values - span.low) * (count / (span.high - span.low))))


def ema(values: Array, weight: float) -> Array:
    """Exponential moving averages along the last axis, free of the bias of their start, as TensorBoard's.

    Non-finite values stay what they are, and the average goes on behind them as if they were not there.
    """
    finite = np.isfinite(values)
    if finite.all():
        return _ema(values, weight)
    averaged = values.astype("f8")
    for row, known in zip(averaged, finite, strict=True):
        row[known] = _ema(row[np.newaxis, known], weight)[0]
    return averaged


def _ema(values: Array, weight: float) -> Array:
    """Of finite values."""
    rows, length = values.shape
    step = max(_CHUNK // max(rows, 1), 64)
    averaged = np.empty(values.shape)
    before = np.zeros((rows, 1))
    powers = weight ** np.arange(1, step + 1)
    for begin in range(0, length, step):
        sums = _decaying(values[:, begin : begin + step], weight)
        here = powers[: sums.shape[1]]
        sums += before * here
        before = sums[:, -1:]
        np.multiply(sums, (1 - weight) / (1 - here * weight**begin), out=averaged[:, begin : begin + step])
    return averaged


_CHUNK = 1 << 14
"""Values that are averaged at a time, so that they stay in the processor's cache."""


def _decaying(values: Array, weight: float) -> Array:
    """Sums up to each value, in which what came before counts `weight` times as much with every step.

    Over 1, 2, 4, … values by doubling (Hillis and Steele, 1986), as far back as float64 can tell.
    """
    sums: Array = values.astype("f8")
    distance, decay = 1, weight
    while distance < sums.shape[1] and decay > _NOTHING:
        sums[:, distance:] += decay * sums[:, :-distance]
        distance, decay = 2 * distance, decay * decay
    return sums


_NOTHING = 2.0**-60
