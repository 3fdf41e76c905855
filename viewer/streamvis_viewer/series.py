"""The points that the process holds: one store for all tabs, packed, in the order in which they were written."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from streamvis import Block, Topic, Update

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

GROWTH = 1.5
_LEAST_ROOM = 8


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


class Run:
    """The points of neighbouring indexes of a topic, all equally many."""

    def __init__(self, topic: int, index: int, count: int, columns: Mapping[str, Array]) -> None:
        self.topic = topic
        self.index = index
        self.count = count
        self._columns = {name: Column(values) for name, values in columns.items()}

    @property
    def end(self) -> int:
        """The first index beyond these."""
        return self.index + self.count

    @property
    def length(self) -> int:
        """Points of each index."""
        return len(next(iter(self._columns.values())))

    @property
    def nbytes(self) -> int:
        """What is allocated."""
        return sum(column.nbytes for column in self._columns.values())

    def append(self, columns: Mapping[str, Array]) -> int:
        """Adds points of all indexes, from arrays of shape (count or 1, n). Returns how many bytes were allocated."""
        held = self._columns
        return sum([held[name].append(values) for name, values in columns.items()])

    def columns(self) -> dict[str, Array]:
        """All points: arrays of shape (count or 1, length), which later points leave as they are."""
        return {name: column.values for name, column in self._columns.items()}

    def column(self, name: str) -> Column:
        """One column."""
        return self._columns[name]

    def part(self, index: int, end: int) -> Run:
        """A run of its own for some of the indexes."""
        return Run(self.topic, index, end - index, _rows(self.columns(), self.index, index, end))


def _rows(columns: Mapping[str, Array], first: int, index: int, end: int) -> dict[str, Array]:
    """Of columns whose rows belong to the indexes from `first` on, those of some indexes."""
    return {
        name: values if values.shape[0] == 1 else values[index - first : end - first]
        for name, values in columns.items()
    }


def _wide(columns: Mapping[str, Array], points: int) -> Mapping[str, Array]:
    """A block's columns, each with all of its points."""
    if all(values.shape[1] == points for values in columns.values()):
        return columns
    return {name: np.broadcast_to(values, (values.shape[0], points)) for name, values in columns.items()}


class _TopicPoints:
    """Runs whose indexes do not overlap, in their order."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.nbytes = 0
        """What is allocated."""
        self._starts: list[int] = []
        self._exact: dict[tuple[int, int], Run] = {}

    def append(self, block: Block) -> tuple[list[Run], bool]:
        """The runs that have grown, and whether other runs had to be cut for that."""
        count, points = block.shape
        index, end = block.index, block.index + count
        columns = _wide(block.columns, points)
        run = self._exact.get((index, end))
        if run is not None:
            self.nbytes += run.append(columns)
            return [run], False
        return self._weave(block.topic, index, end, columns)

    def _weave(self, topic: int, index: int, end: int, columns: Mapping[str, Array]) -> tuple[list[Run], bool]:
        """Adds points of indexes that no run has for itself."""
        low = max(bisect_right(self._starts, index) - 1, 0)
        high = bisect_left(self._starts, end)
        self.nbytes -= sum(run.nbytes for run in self.runs[low:high])
        near = [part for run in self.runs[low:high] for part in _cut(run, (index, end))]
        within = [run for run in near if index < run.end and run.index < end]
        for run in within:
            run.append(_rows(columns, index, run.index, run.end))
        new = [
            Run(topic, first, last - first, _rows(columns, index, first, last))
            for first, last in _gaps(index, end, within)
        ]
        cut = len(near) > high - low
        self._replace(low, high, sorted([*near, *new], key=lambda run: run.index))
        return [*within, *new], cut

    def _replace(self, low: int, high: int, runs: list[Run]) -> None:
        for run in self.runs[low:high]:
            del self._exact[run.index, run.end]
        self._exact.update(((run.index, run.end), run) for run in runs)
        self.nbytes += sum(run.nbytes for run in runs)
        self.runs[low:high] = runs
        self._starts[low:high] = [run.index for run in runs]


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
        self.nbytes = 0
        """What all points take."""
        self._scopes: dict[str, dict[int, Topic]] = {}
        self._points: dict[int, _TopicPoints] = {}

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

    def add(self, block: Block) -> tuple[list[Run], bool]:
        """Takes in points. Returns the runs that have them, and whether the topic's runs were cut anew for that."""
        points = self._points.get(block.topic)
        if points is None:
            points = self._points[block.topic] = _TopicPoints()
        before = points.nbytes
        grown, cut = points.append(block)
        self.nbytes += points.nbytes - before
        return grown, cut

    def forget(self, topic: int) -> None:
        """Drops the points of a topic, which stays known."""
        self.nbytes -= self.size(topic)
        self._points.pop(topic, None)

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
