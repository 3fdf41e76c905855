"""Merging blocks, for good or for a reader, and cutting merged ones: pure.

A merged block takes the number of its last part and keeps the (number, points) of all: what lies between any two
numbers can still be cut out of it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from streamvis.codec import EncodedBlock, column_count, decode, decode_joined, dtypes, encode, point_size
from streamvis.columns import Array, Block
from streamvis.errors import MalformedError
from streamvis.storage.runs import Runs

SMALL_POINTS = 4096
"""Bytes of points, uncompressed, up to which blocks are put together for readers."""
JOINED_BYTES = 1 << 20
"""About how large they become."""

_PARTS = struct.Struct(">QII")
_PART_COLUMNS = ("gap", "points")


class Stored(NamedTuple):
    """A block with its number, and its parts if it was merged."""

    seq: int
    parts: bytes | None
    block: EncodedBlock


class DamagedError(Exception):
    """A stored block cannot be read."""

    def __init__(self, seq: int, topic: int, reason: MalformedError) -> None:
        super().__init__(str(reason))
        self.seq = seq
        self.topic = topic


def joined(blocks: Sequence[EncodedBlock]) -> list[EncodedBlock]:
    """The points of a topic's blocks with small neighbours put together, for readers, whom each block costs time.

    Those of each index stay in order. A damaged block comes as it is, with those that it would have joined.
    """
    if _is_one_run(blocks):
        return list(_as_few(blocks))
    done: list[EncodedBlock] = []
    runs = Runs[EncodedBlock](lambda run: done.extend(_as_few(run)))
    for block in blocks:
        run = runs.of(block.index, block.k)
        large = _nbytes(block) > SMALL_POINTS
        if run and (large or not _are_alike(run[-1].columns, block.columns)):
            done += _as_few(run)
            run.clear()
        (done if large else run).append(block)
    for run in runs.values():
        done += _as_few(run)
    return done


def _is_one_run(blocks: Sequence[EncodedBlock]) -> bool:
    """Whether they are small blocks of one index, as most series are: found out in a part of the time."""
    kinds = {(block.index, block.k, block.columns) for block in blocks}
    if len({(index, k, dtypes(columns)) for index, k, columns in kinds}) != 1:
        return False
    return _nbytes(blocks[0]._replace(n=max(block.n for block in blocks))) <= SMALL_POINTS


def _nbytes(block: EncodedBlock) -> int:
    """Bytes of the points uncompressed; of what cannot be read as many as can be."""
    try:
        return block.k * block.n * point_size(block.columns)
    except MalformedError:
        return sys.maxsize


def _are_alike(one: bytes, other: bytes) -> bool:
    return one == other or dtypes(one) == dtypes(other)


def _as_few(run: Sequence[EncodedBlock]) -> Iterator[EncodedBlock]:
    """The blocks of a run as one, or more where they unfold to much."""
    size = sum(block.n for block in run) * run[0].k * point_size(run[0].columns) if run else 0
    step = -(-len(run) // (1 + size // JOINED_BYTES)) or 1
    for start in range(0, len(run), step):
        piece = run[start : start + step]
        try:
            yield piece[0] if len(piece) == 1 else encode(decode_joined(piece, _names(piece[0])))
        except MalformedError:
            yield from piece


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
            _check(one, names)
        raise


def _check(stored: Stored, names: Sequence[str]) -> None:
    try:
        decode(stored.block, names)
    except MalformedError as error:
        raise DamagedError(stored.seq, stored.block.topic, error) from error


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
        raise DamagedError(stored.seq, stored.block.topic, error) from error


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


def _first_number(parts: bytes) -> int:
    """The number of the first part; of damaged parts any."""
    return int.from_bytes(parts[:8])


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
    if after < _first_number(stored.parts) and stored.seq <= upto:  # as most are: their parts need not be unpacked
        return stored.block
    numbers, points = unpack_parts(stored.parts)
    first, last = np.searchsorted(numbers, [after, upto], side="right")
    if first == last:
        return None
    ends = np.concatenate([[0], np.cumsum(points)])
    return encode(_cut(decode(stored.block, _names(stored.block)), ends[first], ends[last]))


def _cut(block: Block, start: int, stop: int) -> Block:
    _, n = block.shape
    columns = {name: np.broadcast_to(values, (len(values), n))[:, start:stop] for name, values in block.columns.items()}
    return Block(block.topic, block.index, columns)
