"""Blocks joined into series: what `Client.fetch` and `Client.follow` return."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from streamvis.columns import Array, Block
from streamvis.errors import UsageError
from streamvis.records import Topic
from streamvis.tables import KEY, labels


class Points(Mapping[tuple[str, str, int], dict[str, Array]]):
    """Series by (scope, name, index), each a dict of 1-D arrays of equal length by column name.

    Topics are in the order of their declaration, indexes ascending. Arrays are read-only, because series may share
    them: copy one before changing it. `cursor` is where the next fetch goes on. In tables, a column that is called
    scope, name or index has a `_` behind it.
    """

    def __init__(self, series: Mapping[tuple[str, str, int], dict[str, Array]], cursor: bytes = b"") -> None:
        self._series = series
        self.cursor = cursor

    def __getitem__(self, key: tuple[str, str, int]) -> dict[str, Array]:
        return self._series[key]

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        return f"<Points: {len(self)} series>"

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row per point: scope, name, index and the columns, NaN where a series has none."""
        pandas = _library("pandas", "to_pandas")
        frames = [
            pandas.DataFrame({**dict(zip(KEY, key, strict=True)), **_labelled(columns)})
            for key, columns in self.items()
        ]
        return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=list(KEY))

    def to_arrow(self) -> Any:
        """A pyarrow.Table with a row per point: scope, name, index and the columns, null where a series has none."""
        arrow = _library("pyarrow", "to_arrow")
        tables = [
            arrow.table({**_key_columns(arrow, key, columns), **_labelled(columns)})
            for key, columns in self.items()
            if columns
        ]
        return arrow.concat_tables(tables, promote_options="permissive") if tables else arrow.table(_no_rows(arrow))

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Writes `to_arrow()` to a Parquet file."""
        _library("pyarrow", "to_parquet")
        importlib.import_module("pyarrow.parquet").write_table(self.to_arrow(), path)


def _labelled(columns: Mapping[str, Array]) -> dict[str, Array]:
    return {label: columns[column] for column, label in labels(columns).items()}


def _key_columns(arrow: Any, key: tuple[str, str, int], columns: Mapping[str, Array]) -> dict[str, Any]:
    scope, name, index = key
    length = len(next(iter(columns.values())))
    return {
        "scope": arrow.repeat(arrow.scalar(scope, arrow.string()), length),
        "name": arrow.repeat(arrow.scalar(name, arrow.string()), length),
        "index": arrow.repeat(arrow.scalar(index, arrow.int64()), length),
    }


def _no_rows(arrow: Any) -> dict[str, Any]:
    types = (arrow.string(), arrow.string(), arrow.int64())
    return {name: arrow.array([], kind) for name, kind in zip(KEY, types, strict=True)}


def _library(name: str, method: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"{method} needs {name}, which is not installed: pip install {name}") from None


class Collector:
    """Gathers topics and blocks in the order in which they arrive, and joins them into Points."""

    def __init__(self) -> None:
        self._topics: dict[int, Topic] = {}
        self._blocks: dict[int, list[Block]] = {}
        self._deleted: dict[tuple[str, str], None] = {}
        self._reloaded: dict[tuple[str, str], None] = {}
        self._tombstones: set[int] = set()

    def add(self, topics: Iterable[Topic], blocks: Iterable[Block]) -> None:
        """Adds what one message has: its topics come before its blocks."""
        for topic in topics:
            if topic.deleted:
                self._delete(topic)
            else:
                self._declare(topic)
        for block in blocks:
            self._blocks.setdefault(block.topic, []).append(block)

    def _delete(self, topic: Topic) -> None:
        self._topics.pop(topic.id, None)
        self._blocks.pop(topic.id, None)
        self._tombstones.add(topic.id)
        self._reloaded.pop((topic.scope, topic.name), None)
        self._deleted[topic.scope, topic.name] = None

    def _declare(self, topic: Topic) -> None:
        self._topics[topic.id] = topic
        if topic.id in self._tombstones:
            self._tombstones.discard(topic.id)
            self._deleted.pop((topic.scope, topic.name), None)
            self._reloaded[topic.scope, topic.name] = None

    def take(self, cursor: bytes) -> tuple[Points, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """The points since the last call, and the topics that were deleted and that were reloaded before them."""
        series = {}
        for topic_id in sorted(self._blocks):
            topic = self._topics[topic_id]
            for index, columns in sorted(join_series(self._blocks[topic_id]).items()):
                series[topic.scope, topic.name, index] = columns
        deleted, reloaded = tuple(self._deleted), tuple(self._reloaded)
        self._blocks, self._deleted, self._reloaded = {}, {}, {}
        self._tombstones.clear()
        return Points(series, cursor), deleted, reloaded


def join_series(blocks: Sequence[Block]) -> dict[int, dict[str, Array]]:
    """The series of one topic's blocks, in order. Columns without an index axis are shared by their series."""
    groups: dict[tuple[int, int], list[tuple[int, Block]]] = {}
    for block in blocks:
        k, n = block.shape
        groups.setdefault((block.index, k), []).append((n, block))
    if _overlap(groups):
        return _join_one_by_one(blocks)
    series: dict[int, dict[str, Array]] = {}
    for (first, k), members in groups.items():
        joined = {name: _join_column(name, members) for name in members[0][1].columns}
        for row in range(k):
            series[first + row] = {name: values[row if len(values) > 1 else 0] for name, values in joined.items()}
    return series


def _overlap(ranges: Iterable[tuple[int, int]]) -> bool:
    """Whether any of the ranges (first, size) share an index."""
    end = -1
    for first, size in sorted(ranges):
        if first < end:
            return True
        end = first + size
    return False


def _join_column(name: str, members: Sequence[tuple[int, Block]]) -> Array:
    """The column of blocks that cover the same indexes, as (k or 1, points)."""
    pieces = [(block.columns[name], n) for n, block in members]
    rows = max(len(values) for values, _ in pieces)
    return _joined([v if v.shape == (rows, n) else np.broadcast_to(v, (rows, n)) for v, n in pieces])


def _join_one_by_one(blocks: Iterable[Block]) -> dict[int, dict[str, Array]]:
    """The slow way, for blocks that cover different but overlapping indexes."""
    pieces: dict[int, list[dict[str, Array]]] = {}
    for block in blocks:
        for index, columns in block.series():
            pieces.setdefault(index, []).append(columns)
    return {
        index: {name: _joined([piece[name] for piece in parts]) for name in parts[0]} for index, parts in pieces.items()
    }


def _joined(arrays: Sequence[Array]) -> Array:
    """The arrays along their last axis, read-only."""
    whole = arrays[0].view() if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
    whole.flags.writeable = False
    return whole
