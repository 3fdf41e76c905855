"""Compaction: which neighbouring blocks become one, and how; pure.

Blocks of one (topic, index, k) form levels: FAN_OUT neighbours of one level become one block of the next, until it is
full, so that a point is written again O(log n) times. What is left of a topic that rests is then merged by size. A
merged block takes the number of its last part and keeps the (number, points) of all: what lies between any two numbers
can still be cut out of it.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np

from streamvis.codec import EncodedBlock, column_count, decode, decode_joined, dtypes, encode, point_size
from streamvis.columns import Array, Block
from streamvis.errors import MalformedError

FAN_OUT = 8
FULL_COLUMN = 1 << 20
"""Bytes of a column, before compression, from which a block is left as it is."""
FULL_COLUMNS = 4
"""Columns that count for that: a block with many is full earlier, so that no step takes long."""
DENSE_COLUMN = 1 << 16
"""Bytes of a column from which it is compressed, though it will be merged again."""
REST_SECONDS = 4.0
"""When a topic has gained no block for so long, what is left of it is merged without waiting for FAN_OUT blocks."""
REST_GROWTH = 2
"""Then a block is merged with the later ones unless it is more than so many times as large as they are together."""

MERGE_BLOCKS = 512
"""Of more blocks, those of lower levels are merged first, so that no step takes long."""
STEP_BLOCKS = 512
STEP_BYTES = 1 << 20
"""About what is merged in one transaction."""
STEP_READS = 32
"""How often a step reads headers."""
HEADERS = 1024

_PARTS = struct.Struct(">QII")
_PART_COLUMNS = ("gap", "points")


class Header(NamedTuple):
    """What planning needs to know of a stored block; a tuple, because sweeps read many."""

    seq: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a header
    k: int
    n: int
    level: int
    columns: bytes


@dataclass(frozen=True, slots=True)
class Merge:
    """Blocks, by their numbers in order, that become one of that level."""

    seqs: tuple[int, ...]
    level: int
    size: int
    dense: bool


class Planner:
    """Finds the merges among the blocks of one topic, which it is given in the order of their numbers.

    A merge may take the result of one before it: they are to be made in order, all or none after the first that fails.
    """

    def __init__(self, damaged: Iterable[int] = ()) -> None:
        self.merges: deque[Merge] = deque()
        self._damaged = set(damaged)
        self._runs: dict[tuple[int, int], list[_Piece]] = {}
        self._keys: list[tuple[int, int]] = []  # of the runs, sorted; their indexes do not overlap

    @property
    def waiting(self) -> list[int]:
        """Numbers of the blocks that may be merged with later ones."""
        return [piece.seq for run in self._runs.values() for piece in run]

    def add(self, header: Header) -> None:
        """Takes the next block."""
        seq, index, k, n, level, columns = header
        key = index, k
        run = self._runs.get(key)
        if run is None:
            run = self._open(key)
        elif run and run[-1].columns != columns and dtypes(run[-1].columns) != dtypes(columns):
            self._close(run)
        size = k * n * point_size(columns)
        if size >= full_size(columns) or seq in self._damaged:
            self._close(run)
        else:
            run.append(_Piece(seq, level, size, columns, (seq,)))
            self._raise(run)

    def finish(self, resting: bool) -> None:
        """No block is left. Of a resting topic there will be none for long, so fewer blocks are worth a merge."""
        for run in self._runs.values():
            if run and resting:
                start = _worth_a_merge(run)
                run[start:] = [self._merge(run[start:], max(piece.level for piece in run[start:]))]
            run[:] = [self._made(piece, dense=resting) for piece in run]

    def _open(self, key: tuple[int, int]) -> list[_Piece]:
        """A run; those of other shapes that share an index with it end, because points of an index stay in order."""
        index, k = key
        first = bisect_left(self._keys, key)
        if first and sum(self._keys[first - 1]) > index:
            first -= 1
        last = first
        while last < len(self._keys) and self._keys[last][0] < index + k:
            self._close(self._runs.pop(self._keys[last]))
            last += 1
        self._keys[first:last] = [key]
        return self._runs.setdefault(key, [])

    def _raise(self, run: list[_Piece]) -> None:
        full = full_size(run[-1].columns)
        while run:
            start, level, size = len(run), run[-1].level, 0
            while start and run[start - 1].level <= level and size < full:
                start -= 1
                size += run[start].size
            if len(run) - start < (2 if size >= full else FAN_OUT):
                return
            run[start:] = [self._merge(run[start:], level + 1)]
            if size >= full:
                self._made(run.pop())
                self._close(run)

    def _close(self, run: list[_Piece]) -> None:
        """Ends a run that cannot grow any more: what is left of it becomes as few blocks as can be."""
        while run:
            stop = size = 0
            while stop < len(run) and size < full_size(run[0].columns):
                size += run[stop].size
                stop += 1
            self._made(self._merge(run[:stop], max(piece.level for piece in run[:stop])), dense=True)
            del run[:stop]

    def _merge(self, pieces: Sequence[_Piece], level: int) -> _Piece:
        if sum(len(piece.seqs) for piece in pieces) > MERGE_BLOCKS:
            pieces = [self._made(piece) for piece in pieces]
        size, seqs = sum(piece.size for piece in pieces), tuple(chain.from_iterable(piece.seqs for piece in pieces))
        return pieces[-1]._replace(level=level, size=size, seqs=seqs)

    def _made(self, piece: _Piece, *, dense: bool = False) -> _Piece:
        """The piece as one stored block."""
        if len(piece.seqs) > 1:
            dense |= piece.size >= DENSE_COLUMN * column_count(piece.columns)
            self.merges.append(Merge(piece.seqs, piece.level, piece.size, dense))
        return piece._replace(seqs=(piece.seq,))


class _Piece(NamedTuple):
    """A block that is stored, or is to be merged of several that are. `size`: bytes of its points uncompressed."""

    seq: int
    level: int
    size: int
    columns: bytes
    seqs: tuple[int, ...]


@lru_cache(maxsize=1024)
def full_size(columns: bytes) -> int:
    """The size, in bytes before compression, from which a block of such columns does not grow any more."""
    return FULL_COLUMN * min(column_count(columns), FULL_COLUMNS)


def _worth_a_merge(run: Sequence[_Piece]) -> int:
    """Where the blocks begin that become one when a topic rests: so that none is merged again for a little growth."""
    start, later = len(run), 0
    while start and (not later or run[start - 1].size <= REST_GROWTH * later):
        start -= 1
        later += run[start].size
    return start


class Sweep:
    """One pass over a topic's blocks, from a number on."""

    def __init__(self, topic: int, position: int, damaged: Iterable[int], *, resting: bool = False) -> None:
        self.topic = topic
        self.position = position
        self.ended = False
        self.planner = Planner(damaged)
        self._resting = resting

    def feed(self, headers: Sequence[Header]) -> None:
        """Takes the HEADERS blocks after `position`, or fewer: then there are no more."""
        for header in headers:
            self.planner.add(header)
            self.position = header.seq
        if len(headers) < HEADERS:
            self.ended = True
            self.planner.finish(self._resting)


class Step:
    """Merges, of one sweep or several, that make one small transaction."""

    def __init__(self) -> None:
        self.merges: list[Merge] = []
        self.topics: dict[int, None] = {}
        self.reads = 0
        self._blocks = self._size = 0

    def take(self, sweep: Sweep) -> None:
        """Takes what there is room for of the sweep's merges, in their order."""
        merges = sweep.planner.merges
        while merges and self._has_room(merges[0]):
            self.merges.append(merges.popleft())
            self.topics[sweep.topic] = None
            self._blocks += len(self.merges[-1].seqs)
            self._size += self.merges[-1].size

    def _has_room(self, merge: Merge) -> bool:
        return not self.merges or (
            self._blocks + len(merge.seqs) <= STEP_BLOCKS and self._size + merge.size <= STEP_BYTES
        )


class Agenda:
    """Which topics have gained enough blocks to be swept, or rest, and where each sweep begins."""

    def __init__(self) -> None:
        self.current: Sweep | None = None
        self._damaged: set[int] = set()
        self._fresh: Counter[int] = Counter()
        self._waiting: dict[int, int] = {}
        self._floors: dict[int, int] = {}
        self._since = math.inf  # when the current sweep was due
        self._due: dict[int, float] = {}
        self._touched: dict[int, float] = {}  # since when topics with small blocks rest, the longest first

    def note(self, blocks: Mapping[int, int], now: float) -> None:
        """Counts new blocks. A topic is due when they are many beside those that a sweep would look at again."""
        for topic, count in blocks.items():
            self._fresh[topic] += count
            if self._fresh[topic] >= max(FAN_OUT, self._waiting.get(topic, 0) // 4):
                self._due.setdefault(topic, now)
            self._touched.pop(topic, None)
            self._touched[topic] = now

    def wait(self, now: float) -> float:
        """Seconds until a sweep is due; below 0.0: since when; infinity: none will be before the next blocks."""
        rested = next(iter(self._touched.values()), math.inf) + REST_SECONDS
        return min(self._since, next(iter(self._due.values()), math.inf), rested) - now

    def sweep(self, now: float) -> Sweep | None:
        """The sweep that is under way, or the next."""
        if self.current is None and self._due:
            topic = next(iter(self._due))
            self._begin(topic, self._due[topic], resting=False)
        while self.current is None and self._touched and self.wait(now) <= 0.0:
            topic = next(iter(self._touched))
            touched = self._touched.pop(topic)
            if self._waiting.get(topic, 1) + self._fresh[topic] > 1:
                self._begin(topic, touched + REST_SECONDS, resting=True)
        return self.current

    def _begin(self, topic: int, since: float, *, resting: bool) -> None:
        self._due.pop(topic, None)
        self._fresh.pop(topic, None)
        self._since = since
        self.current = Sweep(topic, self._floors.get(topic, 0), self._damaged, resting=resting)

    def finish(self, sweep: Sweep) -> None:
        """Ends a sweep: full blocks at the beginning are not looked at again."""
        waiting = sweep.planner.waiting
        self._waiting[sweep.topic] = len(waiting)
        self._floors[sweep.topic] = min(waiting, default=sweep.position + 1) - 1
        self._end()

    def _end(self) -> None:
        self.current, self._since = None, math.inf

    def abandon(self, topics: Iterable[int], now: float, damaged: int | None = None) -> None:
        """Begins these topics anew: their later merges would rely on one that failed. A damaged block is left alone."""
        if damaged is not None:
            self._damaged.add(damaged)
        self._end()
        for topic in topics:
            self._floors.pop(topic, None)
            self._waiting.pop(topic, None)
            self._due.setdefault(topic, now)


class Stored(NamedTuple):
    """A block with its number, and its parts if it was merged."""

    seq: int
    parts: bytes | None
    block: EncodedBlock


class StaleError(Exception):
    """Blocks that were to be merged are not there any more."""


class DamagedError(Exception):
    """A stored block cannot be read."""

    def __init__(self, stored: Stored, reason: MalformedError) -> None:
        super().__init__(str(reason))
        self.seq = stored.seq
        self.topic = stored.block.topic


def merge(stored: Sequence[Stored], *, dense: bool = True) -> Stored:
    """One block in the place of several, which are in order. Raises DamagedError for one whose CRC does not match."""
    numbers, points = _parts_of_all(stored)
    block = encode(_joined(stored), dense=dense)
    return Stored(stored[-1].seq, pack_parts(numbers, points), block)


def _joined(stored: Sequence[Stored]) -> Block:
    blocks = [one.block for one in stored]
    names = _names(blocks[0])
    try:
        return decode_joined(blocks, names)
    except MalformedError:
        for one in stored:
            try:
                decode(one.block, names)
            except MalformedError as error:
                raise DamagedError(one, error) from error
        raise


def _names(block: EncodedBlock) -> Sequence[str]:
    """Names for the columns, which keep their order."""
    return [str(place) for place in range(column_count(block.columns))]


def _parts_of_all(stored: Sequence[Stored]) -> tuple[Array, Array]:
    numbers, points = list[Array](), list[Array]()
    for merged, group in groupby(stored, lambda one: one.parts is not None):
        if merged:
            for found in map(_parts_of, group):
                numbers.append(found[0])
                points.append(found[1])
        else:
            ends = np.array([(one.seq, one.block.n) for one in group], "<i8").T
            numbers.append(ends[0])
            points.append(ends[1])
    return np.concatenate(numbers), np.concatenate(points)


def _parts_of(stored: Stored) -> tuple[Array, Array]:
    try:
        return unpack_parts(stored.parts or b"")
    except MalformedError as error:
        raise DamagedError(stored, error) from error


def pack_parts(numbers: Array, points: Array) -> bytes:
    """The parts' numbers, ascending, and points; begins with the first number so that databases compare it as bytes."""
    gaps = np.diff(numbers, prepend=numbers[0] - 1)
    block = encode(Block(0, 0, dict(zip(_PART_COLUMNS, (gaps[None], points[None]), strict=True))), dense=True)
    return _PARTS.pack(int(numbers[0]), len(numbers), block.crc) + block.columns + block.payload


def unpack_parts(parts: bytes) -> tuple[Array, Array]:
    """Numbers and points of the parts. Raises MalformedError when they are damaged."""
    if len(parts) < _PARTS.size + 16:
        raise MalformedError(f"parts of a block have {len(parts)} bytes; expected at least {_PARTS.size + 16}")
    first, count, crc = _PARTS.unpack_from(parts)
    columns, payload = parts[_PARTS.size : _PARTS.size + 16], parts[_PARTS.size + 16 :]
    gaps, points = decode(EncodedBlock(0, 0, 1, count, columns, payload, crc), _PART_COLUMNS).columns.values()
    return first - 1 + np.cumsum(np.broadcast_to(gaps, (1, count))), np.broadcast_to(points, (1, count))[0]


def parts_upto(n: int, seq: int, parts: bytes | None, upto: int) -> tuple[Array, Array]:
    """Numbers and points of those parts of a stored block that are not beyond a number."""
    if parts is None:
        return np.array([seq]), np.array([n])
    numbers, points = unpack_parts(parts)
    last = np.searchsorted(numbers, upto, side="right")
    return numbers[:last], points[:last]


def parts_bound(upto: int) -> bytes:
    """Parts that begin after that number are not below this, compared as bytes."""
    return (upto + 1).to_bytes(8, "big")


def clip(stored: Stored, after: int, upto: int) -> EncodedBlock | None:
    """What a block holds of after < number <= upto, or None. Raises MalformedError if it must cut a damaged one."""
    if stored.parts is None:
        return stored.block if after < stored.seq <= upto else None
    numbers, points = unpack_parts(stored.parts)
    first, last = np.searchsorted(numbers, [after, upto], side="right")
    if first == last:
        return None
    if last - first == len(numbers):
        return stored.block
    ends = np.concatenate([[0], np.cumsum(points)])
    return encode(_cut(decode(stored.block, _names(stored.block)), ends[first], ends[last]))


def _cut(block: Block, start: int, stop: int) -> Block:
    _, n = block.shape
    columns = {name: np.broadcast_to(values, (len(values), n))[:, start:stop] for name, values in block.columns.items()}
    return Block(block.topic, block.index, columns)
