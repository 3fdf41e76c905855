"""Blocks ⇄ bytes, always lossless.

A column travels as a header of 8 bytes — dtype, codec, axes (bit 0: it has the index axis, bit 1: the point axis), 0,
uint32 length — and as `length` bytes of the payload. Codecs: raw values; one constant; an arithmetic run (first value
and step). Values are compared as bits, so NaN payloads and -0.0 survive.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np

from streamvis.columns import DTYPES, MAX_INDEX, Array, Block
from streamvis.errors import MalformedError

MAX_BLOCK_POINTS = 1 << 24
"""Points of one block at most, so that a few bytes of a constant cannot ask for all memory."""

_HEADER = struct.Struct("<BBBxI")
_SHAPE = struct.Struct("<III")
_PLACES = {dtype: place for place, dtype in enumerate(DTYPES)}
_PIECE = 4096


class Codec(IntEnum):
    """How a column's values are written. The numbers are kept once shipped."""

    RAW = 0
    CONSTANT = 1
    RUN = 2


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """A block as bytes: what travels and what is stored. `topic` as in Block; shape (k, n)."""

    topic: int
    index: int
    k: int
    n: int
    columns: bytes
    payload: bytes
    crc: int

    @property
    def size(self) -> int:
        """Bytes of the header and the payload."""
        return len(self.columns) + len(self.payload)


def checksum(index: int, k: int, n: int, columns: bytes, payload: bytes) -> int:
    """CRC-32 of everything that a reader of the block relies on."""
    return zlib.crc32(payload, zlib.crc32(columns, zlib.crc32(_SHAPE.pack(index, k, n))))


def encode(block: Block) -> EncodedBlock:
    """The block as bytes, each column by the cheapest codec that gives it back exactly."""
    k, n = block.shape
    headers: list[bytes] = []
    parts: list[memoryview] = []
    for values in block.columns.values():
        rows, points = values.shape
        codec, data = _encode_values(np.ascontiguousarray(values).reshape(-1))
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


def validate(block: EncodedBlock) -> None:
    """Raises MalformedError unless the block's numbers fit together, without touching the payload's values."""
    if block.k < 1 or block.index + block.k - 1 > MAX_INDEX:
        raise MalformedError(
            f"block has indexes {block.index} to {block.index + block.k - 1}; expected 0 to {MAX_INDEX}"
        )
    if block.k * max(block.n, 1) > MAX_BLOCK_POINTS:
        raise MalformedError(f"block has {block.k} x {block.n} points; at most {MAX_BLOCK_POINTS} fit one block")
    _check_layout(block.k, block.n, block.columns, len(block.payload))


@lru_cache(maxsize=1024)  # blocks of one topic look alike, and this is most of what a small one costs
def _check_layout(k: int, n: int, columns: bytes, payload_size: int) -> None:
    if not columns or len(columns) % _HEADER.size:
        raise MalformedError(f"block header has {len(columns)} bytes; expected {_HEADER.size} per column")
    total = 0
    for dtype, codec, axes, length in _HEADER.iter_unpack(columns):
        if length != _expected_length(dtype, codec, _size(axes, k, n)):
            raise MalformedError(f"column of {k} x {n} points, codec {codec}, has {length} bytes")
        total += length
    if total != payload_size:
        raise MalformedError(f"block payload has {payload_size} bytes; its header says {total}")


def _size(axes: int, k: int, n: int) -> int:
    return (k if axes & 1 else 1) * (n if axes & 2 else 1)


def _expected_length(dtype: int, codec: int, size: int) -> int:
    if dtype >= len(DTYPES):
        raise MalformedError(f"unknown dtype {dtype}; expected 0 to {len(DTYPES) - 1}")
    itemsize = DTYPES[dtype].itemsize
    if codec == Codec.RAW:
        return size * itemsize
    if codec == Codec.CONSTANT:
        return itemsize
    if codec == Codec.RUN and DTYPES[dtype].kind != "b":
        return 2 * itemsize
    raise MalformedError(f"unknown codec {codec} for dtype {DTYPES[dtype]}")


def decode(block: EncodedBlock, names: Sequence[str]) -> Block:
    """The block's columns under their names. Raises MalformedError when it is damaged or does not fit the names.

    Arrays are read-only and may share memory with the payload; constants are not repeated in memory.
    """
    validate(block)
    if column_count(block.columns) != len(names):
        raise MalformedError(f"block has {column_count(block.columns)} columns; the topic has {len(names)}: {names}")
    if checksum(block.index, block.k, block.n, block.columns, block.payload) != block.crc:
        raise MalformedError(f"block of topic {block.topic}, index {block.index} is damaged: its CRC does not match")
    columns, offset = {}, 0
    for name, (dtype, codec, axes, length) in zip(names, _HEADER.iter_unpack(block.columns), strict=True):
        shape = (block.k if axes & 1 else 1, block.n if axes & 2 else 1)
        stored = np.frombuffer(block.payload, DTYPES[dtype], length // DTYPES[dtype].itemsize, offset)
        columns[name] = _decode_values(stored, Codec(codec), shape)
        offset += length
    return Block(block.topic, block.index, columns)


def _decode_values(stored: Array, codec: Codec, shape: tuple[int, int]) -> Array:
    if codec is Codec.CONSTANT:
        return np.broadcast_to(stored, shape)
    if codec is Codec.RUN:
        with np.errstate(all="ignore"):  # of a damaged block
            return _run(stored, 0, shape[0] * shape[1]).reshape(shape)
    return stored.reshape(shape)
