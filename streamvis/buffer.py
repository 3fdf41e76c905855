"""What was written and not yet flushed: typed rows per topic, grouped into blocks by a flush.

A write of scalars and small arrays becomes one packed row, appended to the bytes of its layout by a single call that
the interpreter does not interrupt: no lock, and no Python object per point that the garbage collector would walk. Every
row starts with a tick, the number of its write, so that a flush puts rows of different layouts back in order. Large
arrays wait as snapshots. Any thread may write, also from a signal handler in the midst of a write; one thread drains.
"""

from __future__ import annotations

import itertools
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from keyword import iskeyword
from typing import Any, TypeAlias

import numpy as np

from streamvis.arrays import ArrayAdapter, HostAdapter, adapter_for
from streamvis.columns import MAX_INDEX, Array, Block, as_column, common_shape, join
from streamvis.errors import ColumnsError, DtypeError, UsageError

Put: TypeAlias = Callable[..., int]
"""Takes columns by keyword and appends a row if their types are its layout's: the bytes that wait then, else -1.

Raises TypeError for other columns and struct.error for a number that does not fit.
"""

SMALL_BYTES = 2048
"""Arrays of one write that together take no more become a row."""

MAX_NAME_BYTES = 4096

_TICK = struct.Struct("<q")
_FORMATS = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|b1": "?"}


@dataclass(slots=True)
class Rows:
    """Writes of one layout: the same topic, first index, column order, dtypes and shapes."""

    topic: int
    index: int
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    dtype: np.dtype[Any]
    pack: Callable[..., bytes]
    data: bytearray = field(default_factory=bytearray)

    def drain(self, limit: int) -> Array:
        """Takes out the rows before tick `limit`. Writers may append meanwhile: their rows stay."""
        rows = np.frombuffer(bytes(self.data), self.dtype)
        count = int(np.searchsorted(np.maximum.accumulate(rows["f0"]), limit))
        del self.data[: count * self.dtype.itemsize]
        return rows[:count]

    def block(self, rows: Array) -> Block:
        """Rows of this layout as one block, each write's points after the one before."""
        n = np.broadcast_shapes(*self.shapes)[1]
        columns = {}
        for place, name in enumerate(self.names):
            values = rows[f"f{place + 1}"].transpose(1, 0, 2)
            if values.shape[2] < n:
                values = np.repeat(values, n, axis=2)
            columns[name] = np.ascontiguousarray(values).reshape(values.shape[0], -1)
        return Block(self.topic, self.index, {name: columns[name] for name in sorted(columns)})

    @property
    def span(self) -> tuple[int, int]:
        """The indexes [first, last + 1) that the rows fill."""
        return self.index, self.index + int(np.broadcast_shapes(*self.shapes)[0])


@dataclass(frozen=True, slots=True)
class Piece:
    """One write of large arrays: each column's adapter and snapshot."""

    tick: int
    topic: int
    index: int
    shape: tuple[int, int]
    nbytes: int
    columns: Mapping[str, tuple[ArrayAdapter, Any]]

    @property
    def span(self) -> tuple[int, int]:
        """The indexes [first, last + 1) that the piece fills."""
        return self.index, self.index + self.shape[0]


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


class Buffer:
    """The writes of one logger. `puts`, by name and first index, take the usual write; `add` takes every other.

    `attention` asks writers to call their logger's slow path before they write.
    """

    def __init__(self, adapters: Sequence[ArrayAdapter] = (HostAdapter(),)) -> None:
        self.attention = False
        self.puts: dict[tuple[str, int], Put] = {}
        self._tick: Callable[[], int] = itertools.count().__next__
        self.topics: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.piece_bytes = 0
        self._adapters = adapters
        self._layouts: dict[tuple[Any, ...], Rows] = {}
        self._pieces: deque[Piece] = deque()
        self._handles = itertools.count(1)

    def add(self, name: str, start_index: int, columns: Mapping[str, Any]) -> None:
        """Takes one write of any kind. Raises ColumnsError, DtypeError or UsageError, and then holds nothing of it."""
        if all(_is_scalar(type(value)) for value in columns.values()):
            self._add_scalars(name, start_index, columns)
        else:
            self._add_arrays(name, start_index, columns)

    def nbytes(self) -> int:
        """Bytes that wait to be drained."""
        return self.piece_bytes + sum(len(rows.data) for rows in list(self._layouts.values()))

    def waiting(self) -> int:
        """Writes that wait to be drained."""
        return len(self._pieces) + sum(len(rows.data) // rows.dtype.itemsize for rows in list(self._layouts.values()))

    def drain(self) -> Drained:
        """Takes everything out, as blocks: as few as keep the order of writes within every series."""
        by_topic: dict[int, list[_Source]] = {}
        writes = 0
        limit = self._tick()  # else a thread's write could come out before its earlier one, of a layout drained already
        for rows in list(self._layouts.values()):
            taken = rows.drain(limit)
            if len(taken):
                writes += len(taken)
                by_topic.setdefault(rows.topic, []).append(_rows_source(rows, taken))
        pieces = []
        while self._pieces and self._pieces[0].tick < limit:
            pieces.append(self._pieces.popleft())
        self.piece_bytes = sum(piece.nbytes for piece in list(self._pieces))
        for piece, block in zip(pieces, _transfer(pieces), strict=True):
            by_topic.setdefault(piece.topic, []).append(_piece_source(piece, block))
        blocks = [block for topic in sorted(by_topic) for block in _in_order(by_topic[topic])]
        return Drained(blocks, writes + len(pieces), sum(block.points for block in blocks))

    def _add_scalars(self, name: str, start_index: int, columns: Mapping[str, Any]) -> None:
        kinds = tuple(map(type, columns.values()))
        dtypes = tuple(_scalar_dtype(column, kind) for column, kind in zip(columns, kinds, strict=True))
        rows = self._layout(name, start_index, tuple(columns), dtypes, ((1, 1),) * len(dtypes))
        try:
            rows.data.extend(rows.pack(self._tick(), *columns.values()))
        except struct.error:
            raise _misfit(rows, columns) from None
        if all(map(_is_plain, columns)):
            self.puts[name, start_index] = _put_maker(tuple(columns))(rows, self._tick, *kinds)

    def _add_arrays(self, name: str, start_index: int, columns: Mapping[str, Any]) -> None:
        taken = {column: self._snapshot(column, value) for column, value in columns.items()}
        shapes = {column: _as_shape(column, snapshot.shape) for column, (_, snapshot) in taken.items()}
        shape = common_shape(shapes)
        if shape[0] * shape[1] == 0:
            self._topic(name, start_index, shape[0], columns)
            return
        nbytes = sum(snapshot.nbytes for _, snapshot in taken.values())
        if nbytes <= SMALL_BYTES and all(isinstance(snapshot, np.ndarray) for _, snapshot in taken.values()):
            arrays = {column: snapshot for column, (_, snapshot) in taken.items()}
            dtypes = tuple(array.dtype for array in arrays.values())
            rows = self._layout(name, start_index, tuple(arrays), dtypes, tuple(shapes.values()))
            rows.data.extend(b"".join((_TICK.pack(self._tick()), *(array.tobytes() for array in arrays.values()))))
            return
        topic = self._topic(name, start_index, shape[0], columns)
        self._pieces.append(Piece(self._tick(), topic, start_index, shape, nbytes, taken))
        self.piece_bytes += nbytes  # a lost update among threads is mended by the next drain

    def _snapshot(self, column: str, value: Any) -> tuple[ArrayAdapter, Any]:
        try:
            adapter = adapter_for(type(value), self._adapters)
            snapshot = adapter.snapshot(value)
        except DtypeError as error:
            raise DtypeError(f"column {column!r}: {error}") from error
        if isinstance(snapshot, np.ndarray):
            snapshot = as_column(column, snapshot)
        return adapter, snapshot

    def _layout(
        self,
        name: str,
        index: int,
        names: tuple[str, ...],
        dtypes: tuple[np.dtype[Any], ...],
        shapes: tuple[tuple[int, int], ...],
    ) -> Rows:
        key = (name, index, names, dtypes, shapes)
        rows = self._layouts.get(key)
        if rows is None:
            topic = self._topic(name, index, common_shape(dict(zip(names, shapes, strict=True)))[0], names)
            fields = [("<i8", ()), *((dtype.str, shape) for dtype, shape in zip(dtypes, shapes, strict=True))]
            record = np.dtype([(f"f{place}", dtype, shape) for place, (dtype, shape) in enumerate(fields)])
            pack = struct.Struct("<q" + "".join(_FORMATS[dtype.str] for dtype in dtypes)).pack
            rows = self._layouts.setdefault(key, Rows(topic, index, names, shapes, record, pack))
        return rows

    def _topic(self, name: str, index: int, k: int, names: Sequence[str] | Mapping[str, Any]) -> int:
        """The handle of that name, after checking that the write fits it."""
        _check_call(name, index, k, names)
        found = tuple(sorted(names))
        known = self.topics.get(name)
        if known is None:
            known = self.topics.setdefault(name, (next(self._handles), found))
        handle, expected = known
        if found != expected:
            raise ColumnsError(
                f"columns of {name!r} are {list(expected)} since its first write; this write has {list(found)}"
            )
        return handle


_PUT_MAKER = """
def make(_rows, _tick, {kinds}):
    _data, _extend, _pack, _len, _type = _rows.data, _rows.data.extend, _rows.pack, len, type
    def put(*, {columns}):
        if {checks}:
            _extend(_pack(_tick(), {columns}))
            return _len(_data)
        return -1
    return put
"""


@lru_cache(maxsize=1024)
def _put_maker(columns: tuple[str, ...]) -> Callable[..., Put]:
    """What makes the puts of these columns. Compiled, as dataclasses are: named parameters halve a write's cost."""
    text = _PUT_MAKER.format(
        columns=", ".join(columns),
        kinds=", ".join(f"_kind_{column}" for column in columns),
        checks=" and ".join(f"_type({column}) is _kind_{column}" for column in columns),
    )
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102 - of identifiers alone: see _is_plain
    maker: Callable[..., Put] = scope["make"]
    return maker


def _is_plain(column: str) -> bool:
    """Whether the column can be a parameter, beside the names that the function uses itself."""
    return column.isascii() and column.isidentifier() and not column.startswith("_") and not iskeyword(column)


def _misfit(rows: Rows, columns: Mapping[str, Any]) -> DtypeError:
    """The error that names the column whose value does not fit."""
    dtypes = [rows.dtype[place].base for place in range(1, len(columns) + 1)]
    (name, value), dtype = next(
        pair for pair in zip(columns.items(), dtypes, strict=True) if not _fits(pair[1], pair[0][1])
    )
    return DtypeError(f"column {name!r} holds {value}, which does not fit {dtype}")


def _fits(dtype: np.dtype[Any], value: Any) -> bool:
    info = np.iinfo(dtype) if dtype.kind == "i" else None
    return info is None or info.min <= value <= info.max


def _is_scalar(kind: type) -> bool:
    return issubclass(kind, (bool, int, float, np.generic))


def _scalar_dtype(column: str, kind: type) -> np.dtype[Any]:
    if issubclass(kind, np.generic):
        return as_column(column, np.zeros((), np.dtype(kind))).dtype
    return np.dtype("?" if issubclass(kind, bool) else "<i8" if issubclass(kind, int) else "<f8")


def _check_call(name: Any, index: Any, k: int, names: Sequence[str] | Mapping[str, Any]) -> None:
    if not isinstance(name, str) or not name or len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        raise UsageError(f"name is {name!r:.80}; expected a string of 1 to {MAX_NAME_BYTES} bytes")
    if not isinstance(index, (int, np.integer)) or not 0 <= index <= MAX_INDEX - max(k, 1) + 1:
        raise UsageError(f"start_index of {name!r} is {index!r} for {k} indexes; expected an int from 0 to {MAX_INDEX}")
    if not names:
        raise ColumnsError(f"write({name!r}) has no columns; expected at least one keyword, as in x=step, y=loss")


def _as_shape(column: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) > 2:
        raise ColumnsError(f"column {column!r} has shape {shape}; expected rank 0, 1 or 2: (index, point)")
    k, n = (1,) * (2 - len(shape)) + tuple(shape)
    return int(k), int(n)


def _rows_source(rows: Rows, taken: Array) -> _Source:
    # Two threads may append in another order than they took their ticks; each thread's own order is what counts.
    return _Source(rows.span, np.maximum.accumulate(taken["f0"]), lambda first, last: rows.block(taken[first:last]))


def _piece_source(piece: Piece, block: Block) -> _Source:
    return _Source(piece.span, np.array([piece.tick]), lambda _first, _last: block)


def _transfer(pieces: Sequence[Piece]) -> list[Block]:
    """Blocks of the pieces, moved to the host in one transfer per adapter."""
    waiting: dict[int, list[Any]] = {}
    for piece in pieces:
        for adapter, snapshot in piece.columns.values():
            waiting.setdefault(id(adapter), [adapter]).append(snapshot)
    moved = {key: iter(adapter.transfer(snapshots)) for key, (adapter, *snapshots) in waiting.items()}
    return [_piece_block(piece, moved) for piece in pieces]


def _piece_block(piece: Piece, moved: Mapping[int, Iterator[Array]]) -> Block:
    arrays = {name: as_column(name, next(moved[id(adapter)])) for name, (adapter, _) in piece.columns.items()}
    return Block(piece.topic, piece.index, {name: arrays[name] for name in sorted(arrays)})


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
    owner = owner[np.argsort(ticks, kind="stable")]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
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


def _joinable(one: Block, other: Block) -> bool:
    return (
        one.index == other.index
        and one.shape[0] == other.shape[0]
        and max(one.nbytes, other.nbytes) <= SMALL_BYTES
        and all(values.dtype == other.columns[name].dtype for name, values in one.columns.items())
    )
