"""What a flush makes of the writes that it takes out: moved from their devices, in order, in few blocks.

Every series keeps the order of its writes, which are of different layouts; series have none among each other. What a
device does not give is counted, and costs nothing else.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from streamvis.arrays import ArrayAdapter
from streamvis.arrays.groups import Group
from streamvis.columns import Array, Block, join
from streamvis.rows import SMALL_BYTES, Piece, Rows

MANY_RUNS = 8
"""Runs for each layout after which writes that alternate between layouts are put into one, if it holds their values."""

MAX_FLOAT_INT = 2**53
"""Up to here float64 holds every int."""

Unreadable: TypeAlias = dict[int, tuple[int, str]]
"""By topic: the points that could not be moved from their device, and why."""


@dataclass(slots=True, eq=False)
class _Run:
    """Snapshots of one group on their way to the host: each readable column, and which of the snapshots those are."""

    group: Group
    snapshots: Sequence[Any]
    columns: dict[str, Array] = field(default_factory=dict)
    readable: Array = field(default_factory=lambda: np.zeros(0, int))
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Source:
    """Blocks-to-be of one span of a topic: ticks in order, and what makes a block of a run of them."""

    span: tuple[int, int]
    ticks: Array
    block: Callable[[int, int], Block]


@dataclass(frozen=True, slots=True)
class Drained:
    """What a flush found: blocks by topic in the order of their writes, and how many writes and points they hold."""

    blocks: list[Block]
    writes: int
    points: int
    unreadable: Unreadable = field(default_factory=dict)


class Moved:
    """Writes on the host: rows with their records, and pieces. To make it moves their snapshots, in few transfers."""

    def __init__(self, rows: Sequence[tuple[Rows, Array]], pieces: Sequence[Piece]) -> None:
        self._rows = [(one, records, _row_runs(one, records)) for one, records in rows]
        self._pieces = [(piece, _piece_runs(piece)) for piece in pieces]
        of_rows, of_pieces = (runs for *_, runs in self._rows), (runs for _, runs in self._pieces)
        _move([run for runs in (*of_rows, *of_pieces) for run in runs])

    def drained(self) -> Drained:
        """All of it in blocks, as few as keep the order of writes within every series."""
        unreadable: Unreadable = {}
        sources = [
            *((rows.topic, _rows_source(rows, records, runs, unreadable)) for rows, records, runs in self._rows),
            *((piece.topic, _piece_source(piece, runs, unreadable)) for piece, runs in self._pieces),
        ]
        by_topic: dict[int, list[_Source]] = {}
        for topic, source in sources:
            if source is not None:
                by_topic.setdefault(topic, []).append(source)
        blocks = [block for topic in sorted(by_topic) for block in _in_order(by_topic[topic])]
        writes = sum(len(records) for _, records, _ in self._rows) + len(self._pieces)
        return Drained(blocks, writes, sum(block.points for block in blocks), unreadable)


def _row_runs(rows: Rows, records: Array) -> list[_Run]:
    if not rows.groups:
        return []
    taken = [rows.snapshots.pop(tick) for tick in records["f0"].tolist()]
    return [_Run(group, [of[place] for of in taken]) for place, group in enumerate(rows.groups)]


def _piece_runs(piece: Piece) -> list[_Run]:
    return [_Run(group, [snapshot]) for group, snapshot in zip(piece.groups, piece.snapshots, strict=True)]


def _move(runs: Sequence[_Run]) -> None:
    """Fills in what the runs hold, moved to the host together, adapter by adapter."""
    by_adapter: dict[int, list[_Run]] = {}
    for run in runs:
        by_adapter.setdefault(id(run.group.adapter), []).append(run)
    for mine in by_adapter.values():
        _read(mine[0].group.adapter, mine)


def _read(adapter: ArrayAdapter, runs: Sequence[_Run]) -> None:
    """Moves runs together; should that fail, ever smaller parts of them, so that only what is unreadable is lost."""
    try:
        arrays = adapter.transfer([run.snapshots for run in runs])
        found = [dict(run.group.columns(array, len(run.snapshots))) for run, array in zip(runs, arrays, strict=True)]
    except Exception as error:  # noqa: BLE001 - a device fails as it likes: what it does not give is counted and named
        _read_apart(adapter, runs, error)
        return
    for run, columns in zip(runs, found, strict=True):
        run.columns, run.readable = columns, np.arange(len(run.snapshots))


def _read_apart(adapter: ArrayAdapter, runs: Sequence[_Run], error: Exception) -> None:
    if len(runs) > 1:
        for run in runs:
            _read(adapter, [run])
        return
    (run,) = runs
    half = len(run.snapshots) // 2
    if not half:
        run.reason = f"{type(error).__name__}: {error}"
        return
    first, last = _Run(run.group, run.snapshots[:half]), _Run(run.group, run.snapshots[half:])
    _read(adapter, [first])
    _read(adapter, [last])
    parts = [part.columns for part in (first, last) if part.columns]
    run.columns = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
    run.readable = np.concatenate([first.readable, last.readable + half])
    run.reason = first.reason or last.reason


def _rows_source(rows: Rows, records: Array, runs: Sequence[_Run], unreadable: Unreadable) -> _Source | None:
    moved = {name: array for run in runs for name, array in run.columns.items()}
    if any(len(run.readable) < len(records) for run in runs):
        kept = functools.reduce(np.intersect1d, [run.readable for run in runs])
        _count(unreadable, rows.topic, (len(records) - len(kept)) * math.prod(rows.shape), runs)
        if not len(kept):
            return None
        records = records[kept]
        moved = {
            name: array[np.searchsorted(run.readable, kept)] for run in runs for name, array in run.columns.items()
        }

    def block(first: int, last: int) -> Block:
        return rows.block(records[first:last], {name: array[first:last] for name, array in moved.items()})

    # Two threads may append in another order than they took their ticks; each thread's own order is what counts.
    return _Source(rows.span, np.maximum.accumulate(records["f0"]), block)


def _piece_source(piece: Piece, runs: Sequence[_Run], unreadable: Unreadable) -> _Source | None:
    if not all(len(run.readable) for run in runs):
        _count(unreadable, piece.topic, math.prod(piece.shape), runs)
        return None
    moved = {name: array for run in runs for name, array in run.columns.items()}
    columns = {
        name: (piece.host[name] if name in piece.host else moved[name]).reshape(shape)
        for name, shape in sorted(piece.shapes.items())
    }
    block = Block(piece.topic, piece.index, columns)
    return _Source(piece.span, np.array([piece.tick]), lambda _first, _last: block)


def _count(unreadable: Unreadable, topic: int, points: int, runs: Sequence[_Run]) -> None:
    reason = next(run.reason for run in runs if run.reason)
    unreadable[topic] = unreadable.get(topic, (0, ""))[0] + points, reason


def _in_order(sources: Sequence[_Source]) -> Iterator[Block]:
    """Blocks of one topic. Only sources that share an index have an order to keep among them."""
    for group in _overlapping(sources):
        if len(group) == 1:
            yield group[0].block(0, len(group[0].ticks))
        else:
            yield from _merge(group)


def _overlapping(sources: Sequence[_Source]) -> Iterator[list[_Source]]:
    group: list[_Source] = []
    end = -1
    for source in sorted(sources, key=lambda source: source.span):
        if group and source.span[0] >= end:
            yield group
            group = []
        group.append(source)
        end = max(end, source.span[1])
    yield group


def _merge(group: Sequence[_Source]) -> Iterator[Block]:
    """Runs of each source between the writes of the others, by tick; small alike neighbours become one block."""
    ticks = np.concatenate([source.ticks for source in group])
    owner = np.repeat(np.arange(len(group)), [len(source.ticks) for source in group])
    order = np.argsort(ticks, kind="stable")
    owner = owner[order]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    woven = _woven(group, order) if len(starts) > MANY_RUNS * len(group) else None
    if woven is not None:
        yield woven
        return
    done = [0] * len(group)
    alike: list[Block] = []
    for first, last in itertools.pairwise((*starts.tolist(), len(owner))):
        place = int(owner[first])
        block = group[place].block(done[place], done[place] + last - first)
        done[place] += last - first
        if alike and not _joinable(alike[-1], block):
            yield join(alike)
            alike = []
        alike.append(block)
    yield join(alike)


def _woven(group: Sequence[_Source], order: Array) -> Block | None:
    """One block of the writes of all, if they differ in their dtypes alone and one holds the values of each column."""
    blocks = [source.block(0, len(source.ticks)) for source in group]
    first = blocks[0]
    n = first.shape[1] // len(group[0].ticks)
    columns = {}
    for name, values in first.columns.items():
        parts = [block.columns[name] for block in blocks]
        shapes = [(values.shape[0], n * len(source.ticks)) for source in group]
        if [part.shape for part in parts] != shapes or not _exact_together(parts):
            return None
        writes = np.concatenate(parts, axis=1).reshape(values.shape[0], -1, n)
        columns[name] = writes[:, order].reshape(values.shape[0], -1)
    if any(block.index != first.index for block in blocks):
        return None
    return Block(first.topic, first.index, columns)


def _exact_together(parts: Sequence[Array]) -> bool:
    """Whether numpy's common dtype of the parts, which readers get, holds every value."""
    if np.result_type(*parts).kind != "f":
        return True
    return all(part.dtype != np.int64 or np.abs(part).max() <= MAX_FLOAT_INT for part in parts)


def _joinable(one: Block, other: Block) -> bool:
    return (
        one.index == other.index
        and one.shape[0] == other.shape[0]
        and max(one.nbytes, other.nbytes) <= SMALL_BYTES
        and all(values.dtype == other.columns[name].dtype for name, values in one.columns.items())
    )
