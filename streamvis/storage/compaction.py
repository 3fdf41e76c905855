"""Compaction: which neighbouring blocks become one; pure.

First, in the order of writing: small blocks lie on pages that they share with those of other topics, so a slice of all
that was written becomes one block per topic, index and k at once. Then, topic by topic: blocks of one (index, k) form
levels: FAN_OUT neighbours of one level become one block of the next, until it is full, so that a point is written again
O(log n) times. What is left of a topic that rests is merged by size.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from streamvis.codec import column_count, dtypes, point_size
from streamvis.errors import MalformedError
from streamvis.storage.runs import Runs

FAN_OUT = 8
FULL_COLUMN = 1 << 20
"""Bytes of a column, before compression, from which a block is left as it is."""
FULL_COLUMNS = 4
"""Columns that count for that: a block with many is full earlier, so that no step takes long."""
LARGE_PART = 32
"""Blocks that are at least such a part of a full one wait until they make one: no point of them is written twice."""
DENSE_COLUMN = 1 << 16
"""Bytes of a column from which it is compressed, though it will be merged again."""
REST_SECONDS = 4.0
"""When a topic has gained no block for so long, what is left of it is merged without waiting for FAN_OUT blocks."""
REST_GROWTH = 2
"""Then a block is merged with the later ones unless it is more than so many times as large as they are together."""

SMALL_BYTES = 4096
"""Blocks with a payload of up to so many bytes are merged in slices; larger ones topic by topic."""
SLICE_BLOCKS = 1024
"""In a slice of what was written; up to MOST_SLICE_BLOCKS where so many are of almost as many topics."""
MOST_SLICE_BLOCKS = 8192
SLICE_BYTES = 2 << 20
"""Bytes of small blocks in a slice at most."""

MERGE_BLOCKS = 512
"""Of more blocks, those of lower levels are merged first, so that no step takes long."""
STEP_BLOCKS = 512
STEP_BYTES = 1 << 20
"""About what is merged in one transaction."""
STEP_READS = 32
"""How often a step reads headers."""
HEADERS = 1024


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

    def __init__(self, damaged: Collection[int] = (), *, gathering: bool = False) -> None:
        """`gathering`: `gather` will end it, and make one block of each run."""
        self.merges: deque[Merge] = deque()
        self._damaged = damaged
        self._gathering = gathering
        self._runs = Runs[_Piece](self._close)

    @property
    def waiting(self) -> list[int]:
        """Numbers of the blocks that may be merged with later ones."""
        return [piece.seq for run in self._runs.values() for piece in run]

    def add(self, header: Header) -> None:
        """Takes the next block. Raises MalformedError for one that cannot be."""
        seq, index, k, n, level, columns = header
        if seq in self._damaged:
            self.bar(header)
            return
        if not (type(index) is type(k) is type(n) is type(level) is int):
            raise MalformedError(f"index, k, n and level are {index!r}, {k!r}, {n!r} and {level!r}; expected numbers")
        run = self._runs.of(index, k)
        if run and run[-1].columns != columns and dtypes(run[-1].columns) != dtypes(columns):
            self._close(run)
        size = k * n * point_size(columns)
        if size >= full_size(columns):
            self._close(run)
        else:
            run.append(_Piece(seq, level, size, columns, (seq,)))
            if not self._gathering:
                self._raise(run)

    def gather(self) -> None:
        """No block of the slice is left: each run becomes one block, which those of later slices join."""
        for run in self._runs.values():
            if run:
                run[:] = [self._made(self._merge(run, 1))]

    def finish(self, resting: bool) -> None:
        """No block is left. Of a resting topic there will be none for long, so fewer blocks are worth a merge."""
        for run in self._runs.values():
            if run and resting:
                start = _worth_a_merge(run)
                run[start:] = [self._merge(run[start:], max(piece.level for piece in run[start:]))]
            run[:] = [self._made(piece, dense=resting) for piece in run]

    def bar(self, header: Header) -> None:
        """Takes the next block, which is not to be merged now; of a damaged one not even the index may be known."""
        if type(header.index) is type(header.k) is int:
            self._close(self._runs.of(header.index, header.k))

    def _raise(self, run: list[_Piece]) -> None:
        full = full_size(run[-1].columns)
        while run:
            start, level, size = len(run), run[-1].level, 0
            while start and run[start - 1].level <= level and size < full:
                start -= 1
                size += run[start].size
            enough = FAN_OUT if run[-1].size * LARGE_PART < full else math.inf
            if len(run) - start < (2 if size >= full else enough):
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
            self._made(self._merge(run[:stop], max(piece.level for piece in run[:stop])), dense=not self._gathering)
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


class Slice:
    """Small blocks of all topics that were written one after the other, to be merged at once."""

    def __init__(self, damaged: Collection[int]) -> None:
        self.blocks = self.weight = self.size = 0
        self.topic = self.seq = 0
        """Of the block that was taken last, or could not be."""
        self._damaged = damaged
        self._planners: dict[int, Planner] = {}
        self._counts: Counter[int] = Counter()

    def add(self, topic: int, header: Header, payload_bytes: int) -> None:
        """Takes the next block. Raises MalformedError for one that cannot be."""
        self.topic, self.seq = topic, header.seq
        planner = self._planners.get(topic)
        if planner is None:
            planner = self._planners[topic] = Planner(self._damaged, gathering=True)
        if payload_bytes <= SMALL_BYTES:
            planner.add(header)
            self.size += header.k * header.n * point_size(header.columns)
        else:
            planner.bar(header)
        self.blocks += 1
        self.weight += weight(payload_bytes)
        self._counts[topic] += 1

    @property
    def full(self) -> bool:
        """Whether it is enough for one transaction."""
        return self.size >= SLICE_BYTES

    def finish(self) -> list[Merge]:
        """The merges, in order."""
        merges: list[Merge] = []
        for topic, planner in self._planners.items():
            planner.gather()
            merges += planner.merges
            self._counts[topic] -= sum(len(merge.seqs) - 1 for merge in planner.merges)
        return merges

    @property
    def left(self) -> Counter[int]:
        """How many blocks there are of each topic after the merges."""
        return self._counts


def weight(size: int) -> int:
    """What a block with a payload of that size adds to a backlog: the pages that it may touch."""
    return 1 + size // SMALL_BYTES


class Backlog:
    """What was written after the number `floor`, and has not been in a slice yet."""

    def __init__(self, floor: int, weight: int, now: float) -> None:
        self.floor = floor
        self.slice_blocks = SLICE_BLOCKS
        self._weight = weight
        self._written = now
        self._marks: deque[tuple[int, float]] = deque()  # (weight of all that was ever written, when)
        self._total = weight
        self._mark(now)

    def add(self, weight: int, now: float) -> None:
        """Something was written."""
        self._weight += weight
        self._total += weight
        self._written = now
        self._mark(now)

    def _mark(self, now: float) -> None:
        if self._total >= self._enough:
            self._marks.append((self._total, now))

    @property
    def _enough(self) -> int:
        """The total from which there is enough for a slice."""
        return self._total - self._weight + self.slice_blocks

    @property
    def due(self) -> float:
        """Since when there is enough for a slice, or when whatever there is is enough because no more has come."""
        if self._marks:
            return self._marks[0][1]
        return self._written + REST_SECONDS if self._weight else math.inf

    def passed(self, cut: Slice, *, ended: bool) -> None:
        """A slice is merged. `ended`: nothing was written after it."""
        self.floor = max(self.floor, cut.seq)
        self._weight = 0 if ended else max(0, self._weight - cut.weight)
        left = cut.left.total()
        if cut.blocks == self.slice_blocks:
            if left > cut.blocks // 4:
                self.slice_blocks = min(2 * self.slice_blocks, MOST_SLICE_BLOCKS)
            elif left < cut.blocks // 16:
                self.slice_blocks = max(self.slice_blocks // 2, SLICE_BLOCKS)
        while self._marks and (self._marks[0][0] < self._enough or not self._weight):
            self._marks.popleft()


class Sweep:
    """One pass over a topic's blocks, from a number on."""

    def __init__(self, topic: int, position: int, damaged: Collection[int], *, resting: bool = False) -> None:
        self.topic = topic
        self.position = position
        self.ended = False
        self.planner = Planner(damaged)
        self._resting = resting

    def feed(self, headers: Sequence[Header]) -> None:
        """Takes the HEADERS blocks after `position`, or fewer: then there are no more.

        Raises MalformedError for one, at `position` then, that cannot be.
        """
        for header in headers:
            self.position = header.seq
            self.planner.add(header)
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
    """What is to be merged next: a slice of the backlog, or blocks of a topic that has gained many, or rests."""

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.damaged: set[int] = set()
        self.current: Sweep | None = None
        self._fresh: Counter[int] = Counter()
        self._waiting: dict[int, int] = {}
        self._floors: dict[int, int] = {}
        self._since = math.inf  # when the current sweep was due
        # Ordered: a plain dict looks for its first key behind all those that were there before.
        self._due: OrderedDict[int, float] = OrderedDict()
        self._touched: OrderedDict[int, float] = (
            OrderedDict()
        )  # since when topics with small blocks rest, the longest first

    def note(self, blocks: Mapping[int, int], now: float) -> None:
        """Counts what slices left. A topic is due when they are many beside those that a sweep would look at again."""
        for topic, count in blocks.items():
            self._fresh[topic] += count
            if self._fresh[topic] >= max(FAN_OUT, self._waiting.get(topic, 0) // 4):
                self._due.setdefault(topic, now)
            self._touched.pop(topic, None)
            self._touched[topic] = now

    def wait(self, now: float) -> float:
        """Seconds until something is due; below 0.0: since when; infinity: none will be before the next blocks."""
        return min(self._sweep_due, self.backlog.due) - now

    def slice_is_next(self) -> bool:
        """Whether a slice has been due for longer than a sweep, or will be earlier."""
        return self.backlog.due <= self._sweep_due

    @property
    def _sweep_due(self) -> float:
        rested = next(iter(self._touched.values()), math.inf) + REST_SECONDS
        return min(self._since, next(iter(self._due.values()), math.inf), rested)

    def sweep(self, now: float) -> Sweep | None:
        """The sweep that is under way, or the next."""
        if self.current is None and self._due:
            topic = next(iter(self._due))
            self._begin(topic, self._due[topic], resting=False)
        while self.current is None and self._touched and self._sweep_due <= now:
            topic = next(iter(self._touched))
            touched = self._touched.pop(topic)
            if self._waiting.get(topic, 1) + self._fresh[topic] > 1:
                self._begin(topic, touched + REST_SECONDS, resting=True)
        return self.current

    def _begin(self, topic: int, since: float, *, resting: bool) -> None:
        self._due.pop(topic, None)
        self._fresh.pop(topic, None)
        self._since = since
        self.current = Sweep(topic, self._floors.get(topic, 0), self.damaged, resting=resting)

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
            self.damaged.add(damaged)
        self._end()
        for topic in topics:
            self._floors.pop(topic, None)
            self._waiting.pop(topic, None)
            self._due.setdefault(topic, now)


class StaleError(Exception):
    """Blocks that were to be merged are not there any more."""
