"""The points that the process holds: one store for all tabs, packed, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from streamvis import Block, Topic, Update

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

GROWTH = 1.5


class Column:
    """Rows of equal length that grow along the point axis; one row stands for all as long as it may."""

    def __init__(self, values: Array) -> None:
        self._values = values
        self._length = values.shape[1]

    @property
    def values(self) -> Array:
        """Shape (k or 1, length)."""
        return self._values[:, : self._length]

    @property
    def nbytes(self) -> int:
        """What is allocated."""
        return self._values.nbytes

    def append(self, values: Array) -> None:
        """Adds points: shape (k or 1, n)."""
        rows = max(self._values.shape[0], values.shape[0])
        length = self._length + values.shape[1]
        dtype = np.result_type(self._values.dtype, values.dtype)
        if (rows, dtype) != (self._values.shape[0], self._values.dtype) or length > self._values.shape[1]:
            room = np.empty((rows, max(int(length * GROWTH), 8)), dtype)
            room[:, : self._length] = self.values
            self._values = room
        self._values[:, self._length : length] = values
        self._length = length


class Run:
    """The points of neighbouring indexes that were always written together."""

    def __init__(self, block: Block) -> None:
        self.index = block.index
        self.count, self.length = block.shape
        self._columns = {name: Column(_wide(values, self.length)) for name, values in block.columns.items()}

    @property
    def indexes(self) -> range:
        """Which indexes of the topic these are."""
        return range(self.index, self.index + self.count)

    @property
    def nbytes(self) -> int:
        """What is allocated."""
        return sum(column.nbytes for column in self._columns.values())

    def append(self, block: Block) -> None:
        """Adds points of the same indexes."""
        points = block.shape[1]
        for name, values in block.columns.items():
            self._columns[name].append(_wide(values, points))
        self.length += points

    def block(self, topic: int) -> Block:
        """All points."""
        return Block(topic, self.index, {name: column.values for name, column in self._columns.items()})


def _wide(values: Array, points: int) -> Array:
    return values if values.shape[1] == points else np.broadcast_to(values, (values.shape[0], points))


class _TopicPoints:
    """Runs whose indexes do not overlap."""

    def __init__(self) -> None:
        self.runs: dict[tuple[int, int], Run] = {}

    def append(self, block: Block) -> None:
        key = (block.index, block.shape[0])
        if key in self.runs:
            self.runs[key].append(block)
            return
        indexes = range(block.index, block.index + block.shape[0])
        overlapping = [
            run for run in self.runs.values() if run.index < indexes.stop and indexes.start < run.indexes.stop
        ]
        if not overlapping:
            self.runs[key] = Run(block)
            return
        for run in overlapping:
            del self.runs[run.index, run.count]
        for piece in [single for run in overlapping for single in _singles(run.block(block.topic))] + _singles(block):
            key = (piece.index, 1)
            if key in self.runs:
                self.runs[key].append(piece)
            else:
                self.runs[key] = Run(piece)


def _singles(block: Block) -> list[Block]:
    """The block as blocks of one index each."""
    return [
        Block(block.topic, index, {name: values[np.newaxis] for name, values in columns.items()})
        for index, columns in block.series()
    ]


class SeriesStore:
    """Topics, configs and the points of those topics that were asked for."""

    def __init__(self) -> None:
        self.topics: dict[int, Topic] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}
        self._points: dict[int, _TopicPoints] = {}

    @property
    def nbytes(self) -> int:
        """What all points take."""
        return sum(run.nbytes for points in self._points.values() for run in points.runs.values())

    def note(self, update: Update) -> None:
        """Takes in the topics and configs of an update; its blocks are added one by one."""
        for topic in update.topics:
            if topic.deleted:
                self.topics.pop(topic.id, None)
                self._points.pop(topic.id, None)
            else:
                self.topics[topic.id] = topic
        for config in update.configs:
            self.configs[config.scope] = config.values

    def add(self, block: Block) -> None:
        """Takes in points."""
        self._points.setdefault(block.topic, _TopicPoints()).append(block)

    def forget(self, topic: int) -> None:
        """Drops the points of a topic, which stays known."""
        self._points.pop(topic, None)

    def blocks(self, topic: int) -> Iterator[Block]:
        """The points of a topic, by index."""
        points = self._points.get(topic)
        if points:
            for run in sorted(points.runs.values(), key=lambda run: run.index):
                yield run.block(topic)

    def series_count(self, topic: int) -> int:
        """How many indexes have points."""
        points = self._points.get(topic)
        return sum(run.count for run in points.runs.values()) if points else 0
