"""Typed columns over (index, point), with broadcasting kept lazy.

A column value is an array of shape (k or 1, n or 1): k indexes, n points. The columns of a block broadcast together to
(k, n), so a step of shape (1, 1) beside a cloud of shape (1, 10_000) stays one number. This file knows neither bytes
nor networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, overload

import numpy as np

from streamvis.errors import ColumnsError, DtypeError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

DTYPES: tuple[np.dtype[Any], ...] = tuple(np.dtype(code) for code in ("<f4", "<f8", "<i4", "<i8", "?"))
"""What a column can hold. A dtype's place here is its number on the wire."""

MAX_COLUMNS = 1024
"""Of one topic."""

MAX_INDEX = 2**31 - 1

MAX_INT = 2**63 - 1


def point_count(columns: Mapping[str, Array]) -> int:
    """How many points columns of equal length have, along their last axis."""
    return int(next(iter(columns.values())).shape[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Points of one topic: columns of shape (k or 1, n or 1) that broadcast to (k, n).

    `topic` is a writer's handle on its way to the server and the topic's id on its way to readers;
    `index` is the first of the k indexes. Column names are in sorted order.
    """

    topic: int
    index: int
    columns: Mapping[str, Array]

    @property
    def shape(self) -> tuple[int, int]:
        """(k, n): indexes and points."""
        return broadcast_shape(self.columns)

    @property
    def points(self) -> int:
        """Indexes times points."""
        k, n = self.shape
        return k * n

    @property
    def nbytes(self) -> int:
        """Bytes of the columns as they are kept, before broadcasting."""
        return sum(values.nbytes for values in self.columns.values())

    def series(self) -> Iterator[tuple[int, dict[str, Array]]]:
        """Each index with its columns, as arrays of shape (n,) that may share memory with the block."""
        shape = self.shape
        full = {name: np.broadcast_to(values, shape) for name, values in self.columns.items()}
        for row in range(shape[0]):
            yield self.index + row, {name: values[row] for name, values in full.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Blocks side by side that have one first index, one shape and the same columns."""

    topics: Sequence[int]
    """One of each block; a topic may be there several times, its blocks in their order."""

    index: int
    columns: Mapping[str, Array]
    """Of shape (blocks, k or 1, n or 1)."""

    @classmethod
    def of(cls, block: Block) -> Stack:
        """One block alone."""
        return cls((block.topic,), block.index, {name: values[np.newaxis] for name, values in block.columns.items()})

    def blocks(self) -> Iterator[Block]:
        """One by one, their arrays parts of these."""
        for topic, *arrays in zip(self.topics, *self.columns.values(), strict=True):
            yield Block(topic, self.index, dict(zip(self.columns, arrays, strict=True)))

    def only(self, wanted: Callable[[int], bool]) -> Stack:
        """The blocks of topics that are wanted."""
        rows = [row for row, topic in enumerate(self.topics) if wanted(topic)]
        if len(rows) == len(self.topics):
            return self
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Stack([self.topics[row] for row in rows], self.index, columns)


class Blocks(Sequence[Block]):
    """Blocks of many topics, those that are alike side by side. The order of each topic's is kept."""

    def __init__(self, stacks: Iterable[Stack] = ()) -> None:
        self.stacks = tuple(stacks)

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Blocks:
        """Any blocks, as they are."""
        return blocks if isinstance(blocks, Blocks) else cls(map(Stack.of, blocks))

    def only(self, wanted: Callable[[int], bool]) -> Blocks:
        """The blocks of topics that are wanted."""
        kept = (stack.only(wanted) for stack in self.stacks)
        return Blocks(stack for stack in kept if stack.topics)

    def __len__(self) -> int:
        return sum(len(stack.topics) for stack in self.stacks)

    def __iter__(self) -> Iterator[Block]:
        return chain.from_iterable(stack.blocks() for stack in self.stacks)

    @overload
    def __getitem__(self, place: int) -> Block: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Block]: ...

    def __getitem__(self, place: int | slice) -> Block | Sequence[Block]:
        return tuple(self)[place]


def broadcast_shape(columns: Mapping[str, Array]) -> tuple[int, int]:
    """(k, n) of columns that are 2-D already."""
    return common_shape({name: values.shape for name, values in columns.items()})


def common_shape(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """What 2-D shapes broadcast to; numpy's answer at a fifth of its price, which is paid for every write."""
    k = n = 1
    for rows, points in shapes.values():
        if (rows != k and 1 not in (rows, k)) or (points != n and 1 not in (points, n)):
            found = ", ".join(f"{name}: {shape}" for name, shape in shapes.items())
            raise ColumnsError(
                f"columns do not broadcast together to (index, point): {found}; expected one number of indexes and one "
                "of points, or 1 in their place"
            )
        k = rows if k == 1 else k
        n = points if n == 1 else n
    return k, n


def as_column(name: str, array: Array) -> Array:
    """The array as (k, n) of a dtype that can be stored; it may share memory with `array`.

    Rank 0 becomes (1, 1), rank 1 (1, n), rank 2 stays. float16 becomes float32, small ints int32, uint32 and uint64
    int64. Raises ColumnsError for a higher rank, DtypeError for other dtypes and for unsigned values that int64
    cannot hold.
    """
    if array.ndim > 2:
        raise ColumnsError(
            f"column {name!r} has rank {array.ndim}, shape {array.shape}; expected rank 0, 1 or 2: (index, point)"
        )
    return as_storable(name, array).reshape((1, 1) if array.ndim == 0 else (1, -1) if array.ndim == 1 else array.shape)


def as_storable(name: str, array: Array) -> Array:
    """The array in a dtype that can be stored, of any shape. Raises DtypeError; see `as_column`."""
    dtype = array.dtype
    if dtype in DTYPES:
        return array.astype(dtype.newbyteorder("<"), copy=False)
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return array.astype("<f4" if dtype.itemsize <= 4 else "<f8")
    if dtype.kind == "i" and dtype.itemsize <= 8:
        return array.astype("<i8" if dtype.itemsize == 8 else "<i4")
    if dtype.kind == "u" and dtype.itemsize <= 8:
        if dtype.itemsize == 8 and array.size and int(array.max()) > MAX_INT:
            raise DtypeError(misfit(name, int(array.max())))
        return array.astype("<i8" if dtype.itemsize >= 4 else "<i4")
    raise DtypeError(
        f"column {name!r} has dtype {dtype}, which cannot be stored; expected a real number or bool: "
        "float16/32/64, int8 to int64, uint8 to uint64, bool"
    )


def misfit(name: str, value: int) -> str:
    """What is said of an int that no column can hold."""
    found = value if value.bit_length() <= 256 else f"an int of {value.bit_length()} bits"
    return f"column {name!r} holds {found}, which does not fit int64: write it as a float"


def join(blocks: Sequence[Block]) -> Block:
    """Blocks of one topic, first index and k, one after the other along the point axis."""
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    names = tuple(first.columns)
    return Block(first.topic, first.index, {name: _join_column(name, blocks) for name in names})


def _join_column(name: str, blocks: Sequence[Block]) -> Array:
    pieces = [block.columns[name] for block in blocks]
    rows = max(piece.shape[0] for piece in pieces)
    spread = [np.broadcast_to(piece, (rows, block.shape[1])) for piece, block in zip(pieces, blocks, strict=True)]
    return np.concatenate(spread, axis=1)


def split(block: Block, max_bytes: int, max_points: int, max_indexes: int) -> Iterator[Block]:
    """The block in pieces of at most about `max_bytes` kept bytes, `max_points` points and `max_indexes` indexes.

    They are in order.
    """
    k, n = block.shape
    if k > max_indexes:
        for start in range(0, k, max_indexes):
            yield from split(_cut(block, 0, start, start + max_indexes), max_bytes, max_points, max_indexes)
        return
    if block.nbytes <= max_bytes and k * n <= max_points:
        yield block
        return
    axis, size = (1, n) if n > 1 else (0, k)
    parts = max(-(-block.nbytes // max_bytes), -(-k * n // max_points))
    step = max(1, size // parts)
    for start in range(0, size, step):
        piece = _cut(block, axis, start, start + step)
        if axis == 1 and k > 1 and step == 1:
            yield from split(piece, max_bytes, max_points, max_indexes)
        else:
            yield piece


def _cut(block: Block, axis: int, start: int, stop: int) -> Block:
    def cut(values: Array) -> Array:
        if values.shape[axis] == 1:
            return values
        return values[start:stop] if axis == 0 else values[:, start:stop]

    index = block.index + (start if axis == 0 else 0)
    return Block(block.topic, index, {name: cut(values) for name, values in block.columns.items()})
