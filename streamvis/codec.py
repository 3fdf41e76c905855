"""Blocks ⇄ bytes, always lossless.

A column travels as a header of 8 bytes — dtype, codec, axes (bit 0: it has the index axis, bit 1: the point axis), 0,
uint32 length — and as `length` bytes of the payload. Codecs: raw values; one constant; an arithmetic run (first value
and step); and, where there is time for it (`dense`), values in a narrower dtype that holds them all, or the bytes of
these or of their differences, shuffled and compressed. Values are compared as bits, so NaN payloads and -0.0 survive.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import numpy as np
import zstandard

from streamvis.columns import DTYPES, MAX_INDEX, Array, Block, Blocks, Stack, join
from streamvis.errors import MalformedError

MAX_BLOCK_POINTS = 1 << 24
"""Points of one block at most, so that a few bytes of a constant cannot ask for all memory."""

MAX_BLOCK_INDEXES = 1 << 16
"""Indexes of a new block at most: each is a series, which costs whoever lists or reads them."""

MAX_UNFOLDED_BYTES = 1 << 27
"""Bytes of a new block's points at most, once each column is spread over all of them: as much as joining may take."""

_HEADER = struct.Struct("<BBBxI")
_SHAPE = struct.Struct("<III")
_PLACES = {dtype: place for place, dtype in enumerate(DTYPES)}
_PIECE = 4096
_NARROWER = {
    "<f8": ("<f4",),
    "<i8": ("<i1", "<i2", "<i4"),
    "<i4": ("<i1", "<i2"),
}
_LEAST_COMPRESSED = 64
"""Bytes of a column that compression may make fewer; of less it hardly ever does."""
_LEAST_SAVED = 0.1
"""The part of its bytes that compression must save to be worth the time of every reader."""
_LEAST_SAVED_BY_DELTAS = 0.05
"""The part of the compressed bytes that differences must save, because adding them up takes as long as the rest."""
_SAMPLE_PIECES, _SAMPLE_PIECE = 16, 256
"""So many values tell whether differences save that."""


class Codec(IntEnum):
    """How a column's values are written. The numbers are kept once shipped."""

    RAW = 0
    CONSTANT = 1
    RUN = 2
    NARROW = 3
    """Values of a narrower dtype of the same kind, which the length tells."""
    SHUFFLED = 4
    """One byte, the size of a value, narrowed or not; then a zstd frame of all first bytes, all second bytes, …"""
    DELTA = 5
    """As SHUFFLED, but of the differences of the values' bits, read as integers that wrap around, in zigzag code."""


class EncodedBlock(NamedTuple):
    """A block as bytes: what travels and what is stored. `topic` as in Block; shape (k, n).

    A tuple, because millions are made: a frozen dataclass takes three times as long.
    """

    topic: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a block
    k: int
    n: int
    columns: bytes
    payload: bytes | memoryview
    crc: int

    @property
    def size(self) -> int:
        """Bytes of the header and the payload."""
        return len(self.columns) + len(self.payload)


def checksum(index: int, k: int, n: int, columns: bytes, payload: bytes | memoryview) -> int:
    """CRC-32 of everything that a reader of the block relies on."""
    return zlib.crc32(payload, _head_checksum(index, k, n, columns))


@lru_cache(maxsize=1024)
def _head_checksum(index: int, k: int, n: int, columns: bytes) -> int:
    return zlib.crc32(columns, zlib.crc32(_SHAPE.pack(index, k, n)))


def encode(block: Block, *, dense: bool = False) -> EncodedBlock:
    """The block as bytes, each column by the cheapest codec that gives it back exactly.

    `dense` takes about ten times as long to make large columns smaller.
    """
    k, n = block.shape
    headers: list[bytes] = []
    parts: list[memoryview] = []
    for values in block.columns.values():
        rows, points = values.shape
        codec, data = _encode_values(np.ascontiguousarray(values).reshape(-1))
        if dense and codec is Codec.RAW:
            codec, data = _encode_densely(data)
        headers.append(_HEADER.pack(_PLACES[values.dtype], codec, (rows != 1) | (points != 1) << 1, data.nbytes))
        parts.append(data.data)
    columns, payload = b"".join(headers), b"".join(parts)
    return EncodedBlock(block.topic, block.index, k, n, columns, payload, checksum(block.index, k, n, columns, payload))


def _encode_values(values: Array) -> tuple[Codec, Array]:
    size = values.size
    if size > 1:
        first, second, last = values.item(0), values.item(1), values.item(-1)
        if (first == second == last or first != first) and _is_constant(values):  # noqa: PLR0124 - only NaN is not itself
            return Codec.CONSTANT, values[:1]
        if size > 2 and _may_be_run(values.dtype, first, second, last, size):
            ends = _as_run(values)
            if ends is not None:
                return Codec.RUN, ends
    return Codec.RAW, values


def _encode_densely(values: Array) -> tuple[Codec, Array]:
    narrow = _narrowed(values)
    if narrow.nbytes >= _LEAST_COMPRESSED:
        codec, packed = _compressed(narrow)
        if packed.nbytes <= (1 - _LEAST_SAVED) * narrow.nbytes:
            return codec, packed
    return (Codec.RAW if narrow is values else Codec.NARROW), narrow


def _narrowed(values: Array) -> Array:
    """The values in the narrowest dtype that gives back every bit, NaN payloads too."""
    bits = f"<u{values.dtype.itemsize}"
    for code in _NARROWER.get(values.dtype.str, ()) if values.size else ():
        with np.errstate(all="ignore"):  # what overflows does not come back equal
            narrow = values.astype(code)
            if np.array_equal(narrow.astype(values.dtype).view(bits), values.view(bits)):
                return narrow
    return values


def _compressed(values: Array) -> tuple[Codec, Array]:
    """Their bytes, or those of their differences where these take clearly less room."""
    if values.dtype.kind == "b":
        return Codec.SHUFFLED, _shuffled(values)
    sample = _sample(values)
    plain, deltas = _shuffled(sample), _shuffled(_deltas(sample))
    smooth = deltas.nbytes <= (1 - _LEAST_SAVED_BY_DELTAS) * plain.nbytes
    codec = Codec.DELTA if smooth else Codec.SHUFFLED
    if sample is values:
        return codec, deltas if smooth else plain
    return codec, _shuffled(_deltas(values) if smooth else values)


def _sample(values: Array) -> Array:
    """Neighbours from all over the column; all of a short one."""
    if values.size <= _SAMPLE_PIECES * _SAMPLE_PIECE:
        return values
    pieces = values[: values.size - values.size % _SAMPLE_PIECES].reshape(_SAMPLE_PIECES, -1)
    return np.ascontiguousarray(pieces[:, :_SAMPLE_PIECE]).reshape(-1)


def _deltas(values: Array) -> Array:
    """Each value's bits less those of the one before it, in zigzag code: small, whatever the sign, for neighbours."""
    bits: Array = values.view(f"<u{values.itemsize}")
    deltas = bits.copy()
    deltas[1:] -= bits[:-1]
    signs = -(deltas >> (8 * deltas.itemsize - 1))
    deltas <<= 1
    deltas ^= signs
    return deltas


def _shuffled(values: Array) -> Array:
    width = values.dtype.itemsize
    planes = np.ascontiguousarray(values.view("u1").reshape(-1, width).T)
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=planes.size)
    pieces = [bytes([width])]
    for plane in planes:
        # Blocks of their own: signs and exponents beside random bits would be given up with them.
        pieces += compressor.compress(plane.data), compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return np.frombuffer(b"".join([*pieces, compressor.flush()]), "u1")


def _is_constant(values: Array) -> bool:
    one = values[:1].tobytes()
    return all(piece.tobytes() == one * len(piece) for _, piece in _pieces(values))


def _may_be_run(dtype: np.dtype[Any], first: float, second: float, last: float, size: int) -> bool:
    """Whether the last value is about where a run would end; sorts out most columns, and never a run."""
    if dtype.kind == "b":
        return False
    span = (second - first) * (size - 1)
    if dtype.kind == "i":
        return (first + span - last) % (1 << 8 * dtype.itemsize) == 0
    # Python computes in float64; float32 rounds more, and overflows sooner.
    return not math.isfinite(last) or abs(first + span - last) <= 1e-6 * (abs(first) + abs(span))


def _as_run(values: Array) -> Array | None:
    """First value and step, if they give back every bit."""
    with np.errstate(all="ignore"):  # an overflowing run does not equal the values, which is all that matters
        ends = values[:2].copy()
        ends[1:] -= ends[:1]
        for start, piece in _pieces(values):
            if _run(ends, start, start + len(piece)).tobytes() != piece.tobytes():
                return None
    return ends


def _pieces(values: Array) -> Iterator[tuple[int, Array]]:
    """The values in pieces that a processor's cache holds, each with its place."""
    for start in range(0, len(values), _PIECE):
        yield start, values[start : start + _PIECE]


def _run(ends: Array, start: int, stop: int) -> Array:
    """The values from place `start` to `stop` of the run first + step * place; integers wrap around."""
    values: Array = np.arange(start, stop, dtype=ends.dtype)
    values *= ends[1:]
    values += ends[:1]
    return values


def column_count(header: bytes) -> int:
    """How many columns a header describes."""
    return len(header) // _HEADER.size


def dtypes(header: bytes) -> bytes:
    """The numbers of the columns' dtypes."""
    return header[:: _HEADER.size]


@lru_cache(maxsize=1024)
def is_compressed(header: bytes) -> bool:
    """Whether there are columns that only unfolding them tells to be sound."""
    return any(codec >= Codec.SHUFFLED for codec in header[1 :: _HEADER.size])


@lru_cache(maxsize=1024)
def point_size(header: bytes) -> int:
    """Bytes of one point, uncompressed. Raises MalformedError for what is no header."""
    if not _are_bytes(header) or not header or len(header) % _HEADER.size:
        raise MalformedError(f"block header is {header!r:.60}; expected {_HEADER.size} bytes per column")
    return sum(map(_itemsize, dtypes(header)))


def _itemsize(dtype: int) -> int:
    if dtype >= len(DTYPES):
        raise MalformedError(f"unknown dtype {dtype}; expected 0 to {len(DTYPES) - 1}")
    return DTYPES[dtype].itemsize


def validate(block: EncodedBlock) -> None:
    """Raises MalformedError unless the block's numbers fit together, without touching the payload's values."""
    _, index, k, n, columns, payload, _ = block
    if k < 1 or index + k - 1 > MAX_INDEX:
        raise MalformedError(f"block has indexes {index} to {index + k - 1}; expected 0 to {MAX_INDEX}")
    _check_layout(k, n, columns, len(payload))


@lru_cache(maxsize=1024)  # blocks of one topic look alike, and this is most of what a small one costs
def _check_layout(k: int, n: int, columns: bytes, payload_size: int) -> None:
    if k * max(n, 1) > MAX_BLOCK_POINTS:
        raise MalformedError(f"block has {k} x {n} points; at most {MAX_BLOCK_POINTS} fit one block")
    if not columns or len(columns) % _HEADER.size:
        raise MalformedError(f"block header has {len(columns)} bytes; expected {_HEADER.size} per column")
    total = covered = 0
    for dtype, codec, axes, length in _HEADER.iter_unpack(columns):
        covered |= axes
        if not _fits(dtype, codec, length, _size(axes, k, n)):
            raise MalformedError(f"column of {k} x {n} points, codec {codec}, has {length} bytes")
        total += length
    if _size(covered, k, n) != k * n:
        raise MalformedError(f"block has {k} x {n} points, but its columns are not as long")
    if total != payload_size:
        raise MalformedError(f"block payload has {payload_size} bytes; its header says {total}")


def _size(axes: int, k: int, n: int) -> int:
    return (k if axes & 1 else 1) * (n if axes & 2 else 1)


def _fits(dtype: int, codec: int, length: int, size: int) -> bool:
    itemsize = _itemsize(dtype)
    if codec == Codec.RAW:
        return length == size * itemsize
    if codec == Codec.CONSTANT:
        return length == itemsize
    if codec == Codec.RUN and DTYPES[dtype].kind != "b":
        return length == 2 * itemsize
    if codec == Codec.NARROW and DTYPES[dtype].str in _NARROWER:
        return size > 0 and any(length == size * width for width in _narrower(DTYPES[dtype]))
    if codec == Codec.SHUFFLED or (codec == Codec.DELTA and DTYPES[dtype].kind != "b"):
        return size > 0 and 1 < length < size * itemsize
    raise MalformedError(f"unknown codec {codec} for dtype {DTYPES[dtype]}")


def _narrower(dtype: np.dtype[Any]) -> dict[int, np.dtype[Any]]:
    """The narrower dtypes that may hold values of this one, by their size."""
    narrower = map(np.dtype, _NARROWER.get(dtype.str, ()))
    return {narrow.itemsize: narrow for narrow in narrower}


def decode(block: EncodedBlock, names: Sequence[str]) -> Block:
    """The block's columns under their names. Raises MalformedError when it is damaged or does not fit the names.

    Arrays are read-only and may share memory with the payload; constants are not repeated in memory.
    """
    _check_whole(block, names)
    columns, offset = {}, 0
    for name, (dtype, codec, axes, length) in zip(names, _HEADER.iter_unpack(block.columns), strict=True):
        shape = (block.k if axes & 1 else 1, block.n if axes & 2 else 1)
        data = np.frombuffer(block.payload, "u1", length, offset)
        columns[name] = _decode_values(data, DTYPES[dtype], Codec(codec), shape)
        offset += length
    return Block(block.topic, block.index, columns)


def _check_whole(block: EncodedBlock, names: Sequence[str]) -> None:
    if not _are_bytes(block.columns, block.payload):
        raise MalformedError(f"block of topic {block.topic}, index {block.index} has no bytes where they should be")
    validate(block)
    if column_count(block.columns) != len(names):
        raise MalformedError(f"block has {column_count(block.columns)} columns; the topic has {len(names)}: {names}")
    if checksum(block.index, block.k, block.n, block.columns, block.payload) != block.crc:
        raise _damaged(block)


def _are_bytes(*values: object) -> bool:
    """Whether a database gave what was stored: one that is damaged may give anything."""
    return all(isinstance(value, bytes | memoryview) for value in values)


def _damaged(block: EncodedBlock) -> MalformedError:
    return MalformedError(f"block of topic {block.topic}, index {block.index} is damaged: its CRC does not match")


def decode_joined(blocks: Sequence[EncodedBlock], names: Sequence[str]) -> Block:
    """The points of blocks that have one topic, first index, k and dtypes, one after the other: `join` of them decoded.

    Small ones that are coded alike are decoded at once, which takes a tenth of the time. Raises MalformedError for
    damaged ones.
    """
    same = len({(block.n, block.columns) for block in blocks}) == 1
    alike = [blocks] if same else [tuple(group) for _, group in groupby(blocks, _likeness)]
    return join([decode(group[0], names) if len(group) == 1 else _decode_alike(group, names) for group in alike])


def _likeness(block: EncodedBlock) -> tuple[bytes, int]:
    """What is equal for blocks that can be decoded at once; rows of several indexes must be equally long for that."""
    return _codes(block.columns, block.n == 1), block.n if block.k > 1 else 0


@lru_cache(maxsize=4096)
def _codes(header: bytes, single: bool) -> bytes:
    """The columns' dtypes, codecs and axes. A single point lies on the axis of points as well as off it."""
    if len(header) % _HEADER.size:
        return header
    return b"".join(bytes(fields) for fields in _coded(header, single))


def _coded(header: bytes, single: bool) -> list[tuple[int, int, int]]:
    if len(header) % _HEADER.size:
        raise MalformedError(f"block header has {len(header)} bytes; expected {_HEADER.size} per column")
    return [(dtype, codec, axes | 2 * single) for dtype, codec, axes, _ in _HEADER.iter_unpack(header)]


def _decode_alike(blocks: Sequence[EncodedBlock], names: Sequence[str]) -> Block:
    first = blocks[0]
    coded = _coded(first.columns, first.n == 1)
    if any(codec > Codec.RUN for _, codec, _ in coded):
        return join([decode(block, names) for block in blocks])
    _check_all(blocks, names)
    counts = np.array([block.n for block in blocks])
    columns = {}
    for name, (dtype, codec, axes), data in zip(names, coded, _columns(blocks), strict=True):
        rows = first.k if axes & 1 else 1
        sizes = rows * counts if axes & 2 else np.full(len(blocks), rows)
        values = _spread(data.view(DTYPES[dtype]), Codec(codec), sizes)
        values = values.reshape(len(blocks), rows, -1).swapaxes(0, 1) if rows > 1 else values
        values = values.reshape(rows, -1)
        columns[name] = values if axes & 2 else np.repeat(values, counts, axis=1)
    return Block(first.topic, first.index, columns)


def _columns(blocks: Sequence[EncodedBlock]) -> Iterator[Array]:
    """The bytes of each column, those of all blocks one after the other."""
    lengths = [_lengths(block.columns) for block in blocks]
    if lengths.count(lengths[0]) == len(lengths):
        table = np.frombuffer(b"".join([block.payload for block in blocks]), "u1").reshape(len(blocks), -1)
        for start, length in zip(accumulate(lengths[0], initial=0), lengths[0], strict=False):
            yield np.ascontiguousarray(table[:, start : start + length]).reshape(-1)
        return
    starts = [0] * len(blocks)
    for column in zip(*lengths, strict=True):
        stops = [start + length for start, length in zip(starts, column, strict=True)]
        pieces = [b.payload[start:stop] for b, start, stop in zip(blocks, starts, stops, strict=True)]
        yield np.frombuffer(b"".join(pieces), "u1")
        starts = stops


@lru_cache(maxsize=4096)
def _lengths(header: bytes) -> tuple[int, ...]:
    """Bytes of the payload that each column takes."""
    return tuple(length for _, _, _, length in _HEADER.iter_unpack(header))


def _check_all(blocks: Sequence[EncodedBlock], names: Sequence[str]) -> None:
    """What `decode` checks, the CRC of what blocks have in common computed once."""
    if not {type(block.payload) for block in blocks} <= {bytes, memoryview}:
        raise MalformedError(f"blocks of topic {blocks[0].topic} have no bytes where they should be")
    heads: dict[tuple[int, bytes, int], int] = {}
    for block in blocks:
        _, index, k, n, columns, payload, crc = block
        head = heads.get((n, columns, len(payload)))
        if head is None:
            _check_whole(block, names)
            heads[n, columns, len(payload)] = _head_checksum(index, k, n, columns)
        elif zlib.crc32(payload, head) != crc:
            raise _damaged(block)


def _spread(values: Array, codec: Codec, sizes: Array) -> Array:
    """The values of blocks of those sizes from what each kept of them."""
    if codec is Codec.RAW:
        return values
    if codec is Codec.CONSTANT:
        return np.repeat(values, sizes)
    first, step = (np.repeat(end, sizes) for end in values.reshape(-1, 2).T)
    places = np.arange(len(first)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    with np.errstate(all="ignore"):  # of a damaged block
        run: Array = places.astype(values.dtype)
        run *= step
        run += first
    return run


_ALIKE_POINTS = 1024
"""Larger blocks are decoded one by one: there is nothing to gain."""


def decode_each(blocks: Sequence[EncodedBlock], names: Callable[[EncodedBlock], Sequence[str]]) -> Blocks:
    """`decode` of every block; `names` gives the names of a block's columns. Each topic's blocks keep their order.

    Small ones that are coded alike, as those of many topics that were flushed together, are decoded at once, which
    takes a tenth of the time. Raises MalformedError for a damaged one.
    """
    groups: list[tuple[Sequence[str], list[EncodedBlock]]] = []
    places: dict[tuple[Any, ...], int] = {}
    last: dict[int, int] = {}  # the group that holds a topic's latest block
    for block in blocks:
        topic, index, k, n, columns, payload, _ = block
        called = names(block)
        likeness = (called, index, k, n, columns, len(payload))
        place = places.get(likeness)
        if place is None or last.get(topic, 0) > place:
            place = places[likeness] = len(groups)
            groups.append((called, []))
        groups[place][1].append(block)
        last[topic] = place
    return Blocks(stack for called, group in groups for stack in _stacked(group, called))


def _stacked(blocks: Sequence[EncodedBlock], names: Sequence[str]) -> Iterable[Stack]:
    """Blocks that differ in their topics and payloads alone."""
    first = blocks[0]
    if len(blocks) == 1 or first.k * first.n > _ALIKE_POINTS or not _is_plain(first.columns):
        return [Stack.of(decode(block, names)) for block in blocks]
    _check_all(blocks, names)
    columns = {}
    coded = _coded(first.columns, single=False)
    for name, (dtype, codec, axes), data in zip(names, coded, _columns(blocks), strict=True):
        shape = (first.k if axes & 1 else 1, first.n if axes & 2 else 1)
        sizes = np.full(len(blocks), shape[0] * shape[1])
        values = _spread(data.view(DTYPES[dtype]), Codec(codec), sizes).reshape(len(blocks), *shape)
        values.flags.writeable = False
        columns[name] = values
    return [Stack([block.topic for block in blocks], first.index, columns)]


@lru_cache(maxsize=4096)
def _is_plain(header: bytes) -> bool:
    """Whether no column is narrowed or compressed."""
    return all(codec <= Codec.RUN for _, codec, _ in _coded(header, single=False))


def decode_into(block: EncodedBlock, names: Sequence[str], room: Callable[[str, np.dtype[Any]], Array]) -> None:
    """Decodes a block of one index to where it belongs: `room` gives, for each column, an array of its n values.

    They are contiguous. Raises MalformedError as `decode` does; what was written by then has no meaning.
    """
    _check_whole(block, names)
    offset = 0
    for name, (dtype, codec, axes, length) in zip(names, _HEADER.iter_unpack(block.columns), strict=True):
        values = room(name, DTYPES[dtype])
        data = np.frombuffer(block.payload, "u1", length, offset)
        if axes & 2 or block.n == 1:
            _fill(values, data, Codec(codec))
        else:  # one value for all points
            values[:] = _decode_values(data, DTYPES[dtype], Codec(codec), (1, 1))[0]
        offset += length


def _decode_values(data: Array, dtype: np.dtype[Any], codec: Codec, shape: tuple[int, int]) -> Array:
    if codec is Codec.RAW:
        values = data.view(dtype).reshape(shape)
        if not values.flags.aligned:
            values = values.copy()
            values.flags.writeable = False
        return values
    if codec is Codec.CONSTANT:
        return np.broadcast_to(data.view(dtype), shape)
    values = np.empty(shape, dtype)
    _fill(values.reshape(-1), data, codec)
    values.flags.writeable = False
    return values


def _fill(values: Array, data: Array, codec: Codec) -> None:
    """Writes what `data` holds into `values`, which are contiguous."""
    match codec:
        case Codec.RAW:
            values.view("u1")[:] = data
        case Codec.CONSTANT:
            values[:] = data.view(values.dtype)
        case Codec.RUN:
            with np.errstate(all="ignore"):  # of a damaged block
                for start, piece in _pieces(values):
                    piece[:] = _run(data.view(values.dtype), start, start + len(piece))
        case Codec.NARROW:
            _widen(values, data, data.size // values.size)
        case Codec.SHUFFLED | Codec.DELTA:
            _unshuffle(values, data, deltas=codec is Codec.DELTA)


def _widen(values: Array, data: Array, width: int) -> None:
    with np.errstate(all="ignore"):  # signalling NaN
        values[:] = data.view(_narrower(values.dtype)[width])


def _unshuffle(values: Array, data: Array, *, deltas: bool) -> None:
    width, size = int(data[0]), values.size
    if width != values.itemsize and width not in _narrower(values.dtype):
        raise MalformedError(f"column of dtype {values.dtype} was compressed as values of {width} bytes")
    try:
        # Its own word for the size is what would be allocated.
        if zstandard.get_frame_parameters(data[1:].data).content_size != size * width:
            raise MalformedError(f"compressed column does not hold {size} values of {width} bytes")
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(data[1:].data), "u1").reshape(width, size)
    except zstandard.ZstdError as error:
        raise MalformedError(f"compressed column cannot be read: {error}") from error
    shuffled = values.view("u1") if width == values.itemsize else np.empty(size * width, "u1")
    for place, plane in enumerate(planes):  # faster than a transposed copy
        shuffled.reshape(size, width)[:, place] = plane
    if deltas:
        _add_up(shuffled.view(f"<u{width}"))
    if width != values.itemsize:
        _widen(values, shuffled, width)


def _add_up(deltas: Array) -> None:
    """Undoes `_deltas`, in place."""
    signs = -(deltas & 1)
    deltas >>= 1
    deltas ^= signs
    np.cumsum(deltas, dtype=deltas.dtype, out=deltas)
