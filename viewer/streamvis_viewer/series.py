"""The points that the process holds: one store for all tabs, packed, in the order in which they were written."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from streamvis import Block, Blocks, Stack, Topic, Update

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

GROWTH = 1.5
_LEAST_ROOM = 8

_MOST_WAITING = 256
"""Larger pieces are put in their place at once."""

_ROUND = 16
"""After so many pages at most, all points are in their place."""


class Column:
    """Rows of equal length that grow along the point axis; one row stands for all as long as it may."""

    def __init__(self, values: Array) -> None:
        self._values = values
        self._length = int(values.shape[1])
        self._checked = 0
        self._ascends = True

    def __len__(self) -> int:
        """Points of each row."""
        return self._length

    @property
    def values(self) -> Array:
        """Shape (k or 1, length). What it shows never changes, whatever is appended later, on whatever thread."""
        return self._values[:, : self._length]

    @property
    def nbytes(self) -> int:
        """What is allocated."""
        return self._values.nbytes

    @property
    def ascends(self) -> bool:
        """Whether no row ever decreases, nor has a NaN; each point is looked at once."""
        if self._ascends and self._checked < self._length:
            new = self._values[:, max(self._checked - 1, 0) : self._length]
            # NaN compares false with its neighbours and itself
            self._ascends = bool((new[:, 1:] >= new[:, :-1]).all()) and not (new[:, :1] != new[:, :1]).any()
            self._checked = self._length
        return self._ascends

    def append(self, values: Array) -> int:
        """Adds points: shape (k or 1, n). Returns how many bytes were allocated for that."""
        held, begin = self._values, self._length
        end = begin + values.shape[1]
        if values.dtype != held.dtype or end > held.shape[1] or values.shape[0] > held.shape[0]:
            held, before = self._make_room(values, end), held.nbytes
            gained = held.nbytes - before
        else:
            gained = 0
        held[:, begin:end] = values
        self._length = end
        return gained

    def _make_room(self, values: Array, length: int) -> Array:
        rows = max(self._values.shape[0], values.shape[0])
        dtype = np.result_type(self._values.dtype, values.dtype)
        columns = self._values.shape[1]
        if length > columns:
            columns = max(int(length * GROWTH), _LEAST_ROOM)
        if (rows, columns, dtype) != (*self._values.shape, self._values.dtype):
            room = np.empty((rows, columns), dtype)
            room[:, : self._length] = self.values
            self._values = room
        return self._values


class Tally:
    """How many bytes some runs have allocated."""

    def __init__(self) -> None:
        self.nbytes = 0


class Run:
    """The points of neighbouring indexes of a topic, all equally many.

    What was appended last may wait, as it came, to be put in its place together with what follows: for many small
    pieces that is most of the work.
    """

    def __init__(
        self, topic: int, index: int, count: int, columns: Mapping[str, Array], tally: Tally | None = None
    ) -> None:
        self.topic = topic
        self.index = index
        self.count = count
        self._columns = {name: Column(values) for name, values in columns.items()}
        self.length = len(next(iter(self._columns.values())))
        """Points of each index."""
        self.waiting: list[tuple[Mapping[str, Array], int]] = []
        """Points that are not yet in their place: columns of many runs, and which row is of this one."""
        self._tally = tally or Tally()
        self._tally.nbytes += self.nbytes

    @property
    def end(self) -> int:
        """The first index beyond these."""
        return self.index + self.count

    @property
    def nbytes(self) -> int:
        """What is allocated for points in their place."""
        return sum(column.nbytes for column in self._columns.values())

    def place(self, name: str, values: Array) -> None:
        """Puts new points of a column in their place."""
        self._tally.nbytes += self._columns[name].append(values)

    def columns(self) -> dict[str, Array]:
        """All points: arrays of shape (count or 1, length), which later points leave as they are."""
        self._settle()
        return {name: column.values for name, column in self._columns.items()}

    def column(self, name: str) -> Column:
        """One column."""
        self._settle()
        return self._columns[name]

    def _settle(self) -> None:
        if self.waiting:
            settle((self,))

    def part(self, index: int, end: int) -> Run:
        """A run of its own for some of the indexes."""
        return Run(self.topic, index, end - index, _rows(self.columns(), self.index, index, end), self._tally)


def extend(runs: Sequence[Run], columns: Mapping[str, Array], points: int) -> None:
    """Adds so many points to all indexes of runs with equally many: arrays of shape (runs, count or 1, points)."""
    for row, run in enumerate(runs):
        run.waiting.append((columns, row))
        run.length += points
    if runs[0].count * points > _MOST_WAITING or len(runs[0].waiting) > _ROUND:
        settle(runs)


def settle(runs: Iterable[Run]) -> None:
    """Puts all points of these runs in their place; those that waited for the same pieces at once."""
    groups: dict[tuple[int, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple([id(columns) for columns, _ in run.waiting]), []).append(run)
    for alike in groups.values():
        pieces = [(each[0][0], [row for _, row in each]) for each in zip(*(run.waiting for run in alike), strict=True)]
        for name in pieces[0][0] if pieces else ():
            values = _joined([columns[name][rows] for columns, rows in pieces])
            for run, new in zip(alike, values, strict=True):
                run.place(name, new)
        for run in alike:
            run.waiting = []


def _joined(pieces: Sequence[Array]) -> Array:
    """Arrays of shape (runs, count or 1, points) along the axis of points."""
    if len(pieces) == 1:
        return pieces[0]
    if len({piece.shape[1] for piece in pieces}) > 1:
        rows = max(piece.shape[1] for piece in pieces)
        pieces = [np.broadcast_to(piece, (len(piece), rows, piece.shape[2])) for piece in pieces]
    return np.concatenate(pieces, axis=2)


def _rows(columns: Mapping[str, Array], first: int, index: int, end: int) -> dict[str, Array]:
    """Of columns whose rows belong to the indexes from `first` on, those of some indexes."""
    return {
        name: values if values.shape[0] == 1 else values[index - first : end - first]
        for name, values in columns.items()
    }


@dataclass(frozen=True, slots=True)
class Grown:
    """New points of runs side by side, which have equally many indexes, points and the same columns."""

    runs: Sequence[Run]
    columns: Mapping[str, Array]
    """Of shape (runs, count or 1, points)."""

    @property
    def points(self) -> int:
        """In all runs."""
        return len(self.runs) * self.runs[0].count * int(next(iter(self.columns.values())).shape[2])

    @classmethod
    def whole(cls, run: Run) -> Grown:
        """All points of a run."""
        return cls.of(run, run.columns())

    @classmethod
    def of(cls, run: Run, columns: Mapping[str, Array]) -> Grown:
        """Points of one run."""
        return cls((run,), {name: values[np.newaxis] for name, values in columns.items()})

    def only(self, topics: Container[int]) -> Grown:
        """The runs of these topics."""
        rows = [row for row, run in enumerate(self.runs) if run.topic in topics]
        if len(rows) == len(self.runs):
            return self
        return Grown([self.runs[row] for row in rows], {name: values[rows] for name, values in self.columns.items()})


def _wide(stack: Stack) -> tuple[Mapping[str, Array], int, int]:
    """Columns, each with all of its points; how many indexes and points every block has."""
    _, count, points = np.broadcast_shapes(*(values.shape for values in stack.columns.values()))
    columns = {
        name: values if values.shape[2] == points else np.broadcast_to(values, (*values.shape[:2], points))
        for name, values in stack.columns.items()
    }
    return columns, count, points


_Exact: TypeAlias = defaultdict[tuple[int, int], dict[int, Run]]
"""Runs by their first index and the one beyond them, then by topic."""


class _TopicPoints:
    """The runs of a topic, whose indexes do not overlap, in their order."""

    def __init__(self, topic: int, exact: _Exact, tally: Tally) -> None:
        self.runs: list[Run] = []
        self._topic = topic
        self._exact = exact
        self._tally = tally
        self._starts: list[int] = []

    @property
    def nbytes(self) -> int:
        """What is allocated."""
        return sum(run.nbytes for run in self.runs)

    def weave(self, index: int, end: int, columns: Mapping[str, Array]) -> tuple[list[Grown], bool]:
        """Adds points of indexes that no run has for itself: arrays of shape (count or 1, points).

        Returns what has grown, and whether other runs had to be cut for that.
        """
        points = next(iter(columns.values())).shape[1]
        low = max(bisect_right(self._starts, index) - 1, 0)
        high = bisect_left(self._starts, end)
        near = [part for run in self.runs[low:high] for part in _cut(run, (index, end))]
        within = [run for run in near if index < run.end and run.index < end]
        grown = [Grown.of(run, _rows(columns, index, run.index, run.end)) for run in within]
        for each in grown:
            extend(each.runs, each.columns, points)
        new = [
            Run(self._topic, first, last - first, _copied(_rows(columns, index, first, last)), self._tally)
            for first, last in _gaps(index, end, within)
        ]
        self._replace(low, high, sorted([*near, *new], key=lambda run: run.index))
        return [*grown, *map(Grown.whole, new)], len(near) > high - low

    def clear(self) -> None:
        """Drops all runs."""
        self._replace(0, len(self.runs), [])

    def _replace(self, low: int, high: int, runs: list[Run]) -> None:
        kept = set(runs)
        for run in self.runs[low:high]:
            del self._exact[run.index, run.end][self._topic]
            if run not in kept:
                self._tally.nbytes -= run.nbytes
        for run in runs:
            self._exact[run.index, run.end][self._topic] = run
        self.runs[low:high] = runs
        self._starts[low:high] = [run.index for run in runs]


def _copied(columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """Small columns for themselves, so that they do not keep those of other topics beside them in memory."""
    return {name: values.copy() if values.size <= _MOST_WAITING else values for name, values in columns.items()}


def _cut(run: Run, bounds: tuple[int, int]) -> Iterator[Run]:
    """The run, or its parts where one of these indexes lies within it."""
    inner = [bound for bound in bounds if run.index < bound < run.end]
    if not inner:
        yield run
        return
    for first, last in zip([run.index, *inner], [*inner, run.end], strict=True):
        yield run.part(first, last)


def _gaps(index: int, end: int, runs: list[Run]) -> Iterator[tuple[int, int]]:
    """The stretches of indexes that these runs leave out."""
    for run in runs:
        if index < run.index:
            yield index, run.index
        index = run.end
    if index < end:
        yield index, end


class SeriesStore:
    """Topics, configs and the points of those topics that were asked for."""

    def __init__(self) -> None:
        self.topics: dict[int, Topic] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}
        self._tally = Tally()
        self._waiting: dict[Run, None] = {}  # those whose points have waited longest first
        self._scopes: dict[str, dict[int, Topic]] = {}
        self._points: dict[int, _TopicPoints] = {}
        self._exact: _Exact = defaultdict(dict)

    def note(self, update: Update) -> None:
        """Takes in the topics and configs of an update; its blocks are added one by one."""
        for topic in update.topics:
            if topic.deleted:
                self._drop(topic)
            else:
                self.topics[topic.id] = topic
                self._scopes.setdefault(topic.scope, {})[topic.id] = topic
        for config in update.configs:
            self.configs[config.scope] = config.values

    def _drop(self, topic: Topic) -> None:
        self.forget(topic.id)
        if self.topics.pop(topic.id, None):
            del self._scopes[topic.scope][topic.id]
            if not self._scopes[topic.scope]:
                del self._scopes[topic.scope]

    def matching(self, in_scope: Callable[[str], bool]) -> Iterable[Topic]:
        """The topics of those scopes, oldest scopes first: as quick as there are scopes, however many topics."""
        return [topic for scope, topics in self._scopes.items() if in_scope(scope) for topic in topics.values()]

    @property
    def nbytes(self) -> int:
        """What all points take."""
        return self._tally.nbytes

    def add(self, blocks: Sequence[Block]) -> tuple[list[Grown], set[int]]:
        """Takes in points. Returns what has grown, and the topics whose runs were cut anew for that."""
        grown: list[Grown] = []
        cut: set[int] = set()
        for stack in Blocks.of(blocks).stacks:
            columns, count, points = _wide(stack)
            bounds = stack.index, stack.index + count
            exact = self._exact[bounds]
            if all(map(exact.__contains__, stack.topics)):
                known = [exact[topic] for topic in stack.topics]
                extend(known, columns, points)
                grown.append(Grown(known, columns))
                self._waiting.update(dict.fromkeys(known))
                continue
            for row, topic in enumerate(stack.topics):
                one = {name: values[row] for name, values in columns.items()}
                pieces, is_cut = self._points_of(topic).weave(*bounds, one)
                grown += pieces
                self._waiting.update((run, None) for piece in pieces for run in piece.runs)
                if is_cut:
                    cut.add(topic)
        return grown, cut

    def _points_of(self, topic: int) -> _TopicPoints:
        points = self._points.get(topic)
        if points is None:
            points = self._points[topic] = _TopicPoints(topic, self._exact, self._tally)
        return points

    def settle(self) -> None:
        """Puts some of the points that wait in their place; to be called now and then."""
        due = list(islice(self._waiting, -(-len(self._waiting) // _ROUND)))
        for run in due:
            del self._waiting[run]
        settle(due)

    def forget(self, topic: int) -> None:
        """Drops the points of a topic, which stays known."""
        points = self._points.pop(topic, None)
        if points:
            for run in points.runs:
                self._waiting.pop(run, None)
            points.clear()

    @property
    def held(self) -> Collection[int]:
        """Topics that have points."""
        return self._points.keys()

    def size(self, topic: int) -> int:
        """What the points of a topic take."""
        points = self._points.get(topic)
        return points.nbytes if points else 0

    def runs(self, topic: int) -> list[Run]:
        """The points of a topic, by index."""
        points = self._points.get(topic)
        return points.runs if points else []
