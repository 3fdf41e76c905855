"""What a fetch brings, decoded straight into the arrays that it returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from streamvis.codec import EncodedBlock, decode, decode_into, dtypes
from streamvis.columns import Array, Block
from streamvis.errors import MalformedError
from streamvis.points import Points, join_series
from streamvis.records import Topic


class Assembly:
    """Gathers the topics and blocks of one fetch as they come."""

    def __init__(self) -> None:
        self._topics: dict[int, Topic] = {}
        self._points: dict[int, _TopicPoints] = {}

    def add(self, topics: Iterable[Topic], blocks: Iterable[EncodedBlock]) -> None:
        """Takes what one message has. Raises MalformedError for a block that is damaged, or whose topic is unknown."""
        for topic in topics:
            self._points.pop(topic.id, None)
            if topic.deleted:
                self._topics.pop(topic.id, None)
            else:
                self._topics[topic.id] = topic
        for block in blocks:
            points = self._points.get(block.topic)
            if points is None:
                points = self._points[block.topic] = _TopicPoints(self._columns(block))
            points.add(block)

    def _columns(self, block: EncodedBlock) -> Sequence[str]:
        if block.topic not in self._topics:
            raise MalformedError(f"the server sent a block of topic {block.topic} before the topic itself")
        return self._topics[block.topic].columns

    def points(self, cursor: bytes) -> Points:
        """All of it."""
        series = {}
        for id_, points in sorted(self._points.items()):
            topic = self._topics[id_]
            for index, columns in sorted(join_series(points.blocks()).items()):
                series[topic.scope, topic.name, index] = columns
        return Points(series, cursor)


class _TopicPoints:
    """One topic's points. Blocks of one index are appended to what there is of it; those of several are kept."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._blocks: list[Block] = []
        self._growing: dict[int, _Growing] = {}

    def add(self, block: EncodedBlock) -> None:
        if block.k > 1:
            for index in [index for index in self._growing if 0 <= index - block.index < block.k]:
                self._end(index)
            self._blocks.append(decode(block, self._names))
            return
        kinds = dtypes(block.columns)
        if block.index in self._growing and self._growing[block.index].kinds != kinds:
            self._end(block.index)
        if block.index not in self._growing:
            self._growing[block.index] = _Growing(kinds)
        self._growing[block.index].append(block, self._names)

    def _end(self, index: int) -> None:
        self._blocks.append(Block(0, index, self._growing.pop(index).columns()))

    def blocks(self) -> list[Block]:
        for index in list(self._growing):
            self._end(index)
        return self._blocks


_GROWTH = 8
"""How much room an array gets: memory that is never touched costs nothing, and all is copied once in eight times."""


class _Growing:
    """Points of one index and dtypes, in arrays with room for more."""

    def __init__(self, kinds: bytes) -> None:
        self.kinds = kinds
        self._length = 0
        self._room = 0
        self._columns: dict[str, Array] = {}

    def append(self, block: EncodedBlock, names: Sequence[str]) -> None:
        start, stop = self._length, self._length + block.n
        if stop > self._room:
            self._room = _GROWTH * stop
            self._columns = {name: self._moved(values) for name, values in self._columns.items()}

        def room(name: str, dtype: np.dtype[Any]) -> Array:
            if name not in self._columns:
                self._columns[name] = np.empty(self._room, dtype)
            return self._columns[name][start:stop]

        decode_into(block, names, room)
        self._length = stop

    def _moved(self, values: Array) -> Array:
        moved = np.empty(self._room, values.dtype)
        moved[: self._length] = values[: self._length]
        return moved

    def columns(self) -> dict[str, Array]:
        """Columns of shape (1, points)."""
        for values in self._columns.values():
            values.resize(self._length, refcheck=False)  # gives back what is left; nobody else has seen them
        return {name: values[np.newaxis] for name, values in self._columns.items()}
