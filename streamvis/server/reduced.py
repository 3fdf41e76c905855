"""What is sent of a topic when a query reduces it: series go through in pieces, so that a long one costs little memory.

Pure, like `views`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TypeAlias

import numpy as np

from streamvis.codec import EncodedBlock, column_count, decode, dtypes, encode
from streamvis.columns import Array, Block, point_count
from streamvis.points import join_series
from streamvis.records import Topic
from streamvis.reduce import Reducer, Reduction, next_window
from streamvis.storage.base import Extent, Store
from streamvis.thinning import Course, Thinner

PIECE_VALUES = 1 << 18
"""About how many values, columns times points, are decoded and sent at a time."""


HELD_VALUES = 1 << 20
"""About how many values are held for a thinning; more are read twice."""

_Points: TypeAlias = tuple[int, dict[str, Array]]
"""An index and its next points, or the first."""


def reduced(store: Store, topic: Topic, after: int, upto: int, reduction: Reduction) -> Iterator[EncodedBlock | None]:
    """The topic's series, reduced, without what followed from their points up to `after`.

    None now and then, so that whoever iterates over a long series may do something else, or stop.
    """
    if reduction.max_points:
        found = _thinned(store, topic, after, upto, reduction)
    else:
        found = _reduced(store, topic, after, upto, reduction)
    for points in found:
        if points is None:
            yield None
        else:
            yield from _encoded(topic, *points)


def _reduced(store: Store, topic: Topic, after: int, upto: int, reduction: Reduction) -> Iterator[_Points | None]:
    """All steps but the thinning."""
    resume = _resume(store, topic.id, after, reduction)
    reducers: dict[int, Reducer] = {}
    for start, stop in ((resume.number, after), (after, upto)):
        for piece in _pieces(store.blocks(topic.id, start, stop), topic):
            if piece is None:
                yield None
                continue
            index, columns = piece
            if index not in reducers:
                reducers[index] = Reducer(reduction, resume.start(index))
            points = reducers[index].feed(columns)
            if start >= after and point_count(points):  # else it was sent before, or there is nothing to send
                yield index, points


def _thinned(store: Store, topic: Topic, after: int, upto: int, reduction: Reduction) -> Iterator[_Points | None]:
    """All steps; the last takes two rounds, the second over what is held or, if that would be much, read again."""
    courses: dict[int, Course] = {}
    held: list[_Points | None] = []
    values = 0
    for points in _reduced(store, topic, after, upto, reduction):
        if points is None:
            yield None
            continue
        index, columns = points
        courses.setdefault(index, Course(reduction.x)).feed(columns)
        values += point_count(columns) * len(columns)
        if values <= HELD_VALUES:
            held.append(points)
        else:
            held.clear()
    thinners = {index: Thinner(courses[index], reduction.max_points) for index in sorted(courses)}
    for points in held if values <= HELD_VALUES else _reduced(store, topic, after, upto, reduction):
        if points is None:
            yield None
        else:
            index, columns = points
            thinners[index].feed(columns)
    for index, thinner in thinners.items():
        if columns := thinner.finish():
            yield index, columns


@dataclass(frozen=True, slots=True)
class _Resume:
    """The number after which to read, for windows that are not complete yet, and how many points lie before it."""

    number: int
    groups: tuple[tuple[int, int, int], ...] = ()
    """(first index, k, points), by first index."""

    def start(self, index: int) -> int:
        """How many points of that index lie up to the number."""
        place = bisect_right(self.groups, index, key=lambda group: group[0]) - 1
        first, k, points = self.groups[place] if place >= 0 else (0, 0, 0)
        return points if index < first + k else 0


def _resume(store: Store, topic: int, after: int, reduction: Reduction) -> _Resume:
    """Where to begin to read. Points that a condition leaves out are counted by nobody, so then: at the beginning."""
    if not reduction.window or not after:
        return _Resume(after)
    if reduction.where:
        return _Resume(0)
    groups = _grouped(store.extents(topic, after))
    spans = sorted(groups)
    if any(first + k > other for (first, k), (other, _) in pairwise(spans)):
        return _Resume(0)
    window, stride = reduction.window, reduction.stride or reduction.window
    number = min((_held_from(*group, window, stride) for group in groups.values()), default=after)
    counts = {span: int(points[numbers <= number].sum()) for span, (numbers, points) in groups.items()}
    return _Resume(number, tuple((first, k, counts[first, k]) for first, k in spans))


def _grouped(extents: Iterable[Extent]) -> Mapping[tuple[int, int], tuple[Array, Array]]:
    """Numbers and points of the parts for each span of indexes."""
    parts: dict[tuple[int, int], list[Extent]] = {}
    for extent in extents:
        parts.setdefault((extent.index, extent.k), []).append(extent)
    return {
        span: (
            np.concatenate([extent.numbers for extent in group]),
            np.concatenate([extent.points for extent in group]),
        )
        for span, group in parts.items()
    }


def _held_from(numbers: Array, points: Array, window: int, stride: int) -> int:
    """The last number all of whose points, and of those before it, no window to come holds."""
    ends = np.cumsum(points)
    passed = int(np.searchsorted(ends, next_window(int(ends[-1]), window, stride), side="right"))
    return int(numbers[passed - 1]) if passed else 0


def _pieces(blocks: Iterable[EncodedBlock], topic: Topic) -> Iterator[tuple[int, dict[str, Array]] | None]:
    """An index and its next points at a time, of one dtype per column; None after about PIECE_VALUES."""
    for _, alike in groupby(blocks, key=lambda block: dtypes(block.columns)):
        for pile in _piles(alike):
            for index, columns in join_series([decode(block, topic.columns) for block in pile]).items():
                step = _step(columns)
                for start in range(0, point_count(columns), step):
                    yield index, {name: values[start : start + step] for name, values in columns.items()}
            yield None


def _piles(blocks: Iterable[EncodedBlock]) -> Iterator[list[EncodedBlock]]:
    pile: list[EncodedBlock] = []
    values = 0
    for block in blocks:
        pile.append(block)
        values += block.k * block.n * column_count(block.columns)
        if values >= PIECE_VALUES:
            yield pile
            pile, values = [], 0
    if pile:
        yield pile


def _encoded(topic: Topic, index: int, columns: Mapping[str, Array]) -> Iterator[EncodedBlock]:
    step = _step(columns)
    for start in range(0, point_count(columns), step):
        part = {name: values[np.newaxis, start : start + step] for name, values in columns.items()}
        yield encode(Block(topic.id, index, part))


def _step(columns: Mapping[str, Array]) -> int:
    """How many points are a piece."""
    return max(1, PIECE_VALUES // len(columns))
