"""Compaction: which neighbouring blocks become one, and how; pure.

Blocks of one (topic, index, k) form levels: FAN_OUT neighbours of one level become one block of the next, until it is
full, so that a point is written again O(log n) times. A merged block takes the number of its last part and keeps the
(number, points) of all: what lies between any two numbers can still be cut out of it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamvis.codec import EncodedBlock, column_count, decode, dtypes, encode, point_size
from streamvis.columns import Array, Block, join
from streamvis.errors import MalformedError

FAN_OUT = 8
FULL_COLUMN = 1 << 20
"""Bytes of a column, before compression, from which a block is left as it is."""
FULL_COLUMNS = 4
"""Columns that count for that: a block with many is full earlier, so that no step takes long."""

STEP_BLOCKS = 128
STEP_BYTES = 1 << 20
"""About what is merged in one transaction."""
HEADERS = 1024

_PARTS = struct.Struct(">QII")
_PART_COLUMNS = ("gap", "points")


@dataclass(frozen=True, slots=True)
class Header:
    """What planning needs to know of a stored block."""

    seq: int
    index: int
    k: int
    n: int
    level: int
    columns: bytes

    @property
    def size(self) -> int:
        """Bytes of its points before compression."""
        return self.k * self.n * point_size(self.columns)

    @property
    def full_size(self) -> int:
        """The size from which a block of such columns does not grow any more."""
        return FULL_COLUMN * min(column_count(self.columns), FULL_COLUMNS)

    @property
    def full(self) -> bool:
        """Whether it is not to grow any more."""
        return self.size >= self.full_size


@dataclass(frozen=True, slots=True)
class Merge:
    """Blocks, by their numbers in order, that become one of that level."""

    seqs: tuple[int, ...]
    level: int
    size: int


class Planner:
    """Finds the merges among the blocks of one topic, which it is given in the order of their numbers.

    A merge may take the result of one before it: they are to be made in order, all or none after the first that fails.
    """

    def __init__(self, damaged: Iterable[int] = ()) -> None:
        self.merges: deque[Merge] = deque()
        self._damaged = set(damaged)
        self._runs: dict[tuple[int, int], list[Header]] = {}
        self._keys: list[tuple[int, int]] = []  # of the runs, sorted; their indexes do not overlap

    @property
    def waiting(self) -> list[int]:
        """Numbers of the blocks that may be merged with later ones."""
        return [header.seq for run in self._runs.values() for header in run]

    def add(self, header: Header) -> None:
        """Takes the next block."""
        key = header.index, header.k
        run = self._runs.get(key)
        if run is None:
            run = self._open(key)
        elif run and dtypes(run[-1].columns) != dtypes(header.columns):
            self._close(run)
        if header.full or header.seq in self._damaged:
            self._close(run)
        else:
            run.append(header)
            self._raise(run)

    def _open(self, key: tuple[int, int]) -> list[Header]:
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

    def _raise(self, run: list[Header]) -> None:
        while run:
            level, start, size = run[-1].level, len(run), 0
            while start and run[start - 1].level <= level and size < run[-1].full_size:
                start -= 1
                size += run[start].size
            if len(run) - start < (2 if size >= run[-1].full_size else FAN_OUT):
                return
            run[start:] = [self._merge(run[start:], level + 1)]
            if run[-1].full:
                run.pop()
                self._close(run)

    def _close(self, run: list[Header]) -> None:
        """Ends a run that cannot grow any more: what is left of it becomes as few blocks as can be."""
        while run:
            stop = size = 0
            while stop < len(run) and size < run[0].full_size:
                size += run[stop].size
                stop += 1
            if stop > 1:
                self._merge(run[:stop], max(header.level for header in run[:stop]))
            del run[:stop]

    def _merge(self, parts: Sequence[Header], level: int) -> Header:
        last = parts[-1]
        merged = replace(last, n=sum(part.n for part in parts), level=level)
        self.merges.append(Merge(tuple(part.seq for part in parts), level, merged.size))
        return merged


class Sweep:
    """One pass over a topic's blocks, from a number on."""

    def __init__(self, topic: int, position: int, damaged: Iterable[int]) -> None:
        self.topic = topic
        self.position = position
        self.ended = False
        self.planner = Planner(damaged)

    def feed(self, headers: Sequence[Header]) -> None:
        """Takes the HEADERS blocks after `position`, or fewer: then there are no more."""
        for header in headers:
            self.planner.add(header)
            self.position = header.seq
        self.ended = len(headers) < HEADERS

    def step(self) -> list[Merge]:
        """The next merges that make one small transaction."""
        merges, taken = self.planner.merges, list[Merge]()
        blocks = size = 0
        while merges and (not taken or (blocks < STEP_BLOCKS and size + merges[0].size <= STEP_BYTES)):
            taken.append(merges.popleft())
            blocks += len(taken[-1].seqs)
            size += taken[-1].size
        return taken


class Agenda:
    """Which topics have gained enough blocks to be swept, and where each sweep begins."""

    def __init__(self) -> None:
        self.current: Sweep | None = None
        self._damaged: set[int] = set()
        self._fresh: Counter[int] = Counter()
        self._waiting: dict[int, int] = {}
        self._floors: dict[int, int] = {}
        self._due: dict[int, None] = {}

    def note(self, blocks: Mapping[int, int]) -> None:
        """Counts new blocks. A topic is due when they are many beside those that a sweep would look at again."""
        for topic, count in blocks.items():
            self._fresh[topic] += count
            if self._fresh[topic] >= max(FAN_OUT, self._waiting.get(topic, 0) // 4):
                self._due[topic] = None

    def sweep(self) -> Sweep | None:
        """The sweep that is under way, or the next."""
        if self.current is None and self._due:
            topic = next(iter(self._due))
            del self._due[topic]
            self._fresh.pop(topic, None)
            self.current = Sweep(topic, self._floors.get(topic, 0), self._damaged)
        return self.current

    def finish(self, sweep: Sweep) -> None:
        """Ends a sweep: full blocks at the beginning are not looked at again."""
        waiting = sweep.planner.waiting
        self._waiting[sweep.topic] = len(waiting)
        self._floors[sweep.topic] = min(waiting, default=sweep.position + 1) - 1
        self.current = None

    def abandon(self, sweep: Sweep, damaged: int | None = None) -> None:
        """Gives up a sweep: its later merges would rely on one that failed. The next leaves the damaged block alone."""
        if damaged is not None:
            self._damaged.add(damaged)
        self._due[sweep.topic] = None
        self.current = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A block with its number, and its parts if it was merged."""

    seq: int
    parts: bytes | None
    block: EncodedBlock


class StaleError(Exception):
    """Blocks that were to be merged are not there any more."""


class DamagedError(Exception):
    """A stored block cannot be read."""

    def __init__(self, seq: int, reason: MalformedError) -> None:
        super().__init__(str(reason))
        self.seq = seq


def merge(stored: Sequence[Stored]) -> Stored:
    """One block in the place of several, which are in order. Raises DamagedError for one whose CRC does not match."""
    numbers, points = zip(*(_parts_of(one) for one in stored), strict=True)
    block = encode(join([_decoded(one) for one in stored]), dense=True)
    return Stored(stored[-1].seq, pack_parts(np.concatenate(numbers), np.concatenate(points)), block)


def _decoded(stored: Stored) -> Block:
    try:
        return decode(stored.block, _names(stored.block))
    except MalformedError as error:
        raise DamagedError(stored.seq, error) from error


def _names(block: EncodedBlock) -> Sequence[str]:
    """Names for the columns, which keep their order."""
    return [str(place) for place in range(column_count(block.columns))]


def _parts_of(stored: Stored) -> tuple[Array, Array]:
    if stored.parts is None:
        return np.array([stored.seq], "<i8"), np.array([stored.block.n], "<i8")
    try:
        return unpack_parts(stored.parts)
    except MalformedError as error:
        raise DamagedError(stored.seq, error) from error


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
