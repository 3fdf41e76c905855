"""The two forms in which writes wait: typed rows, of many writes of one layout, and pieces, of a large write each.

A small write becomes one packed row, appended to the bytes of its layout by a single operation that the interpreter
does not interrupt: no lock, and no Python object per point that the garbage collector would walk. Every row starts with
a tick, the number of its write. What lives on a device waits beside the rows as snapshots, found by tick: one per write
and group of columns that are copied together.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamvis.arrays.groups import Group
from streamvis.columns import Array, Block, common_shape

SMALL_BYTES = 2048
"""Arrays of one write that together take no more become a row."""

_TICK = struct.Struct("<q")
_FORMATS = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|b1": "?"}


class Shaped:
    """What writes of a first index and of columns of these shapes fill."""

    __slots__ = ()
    index: int
    shapes: Mapping[str, tuple[int, int]]

    @property
    def shape(self) -> tuple[int, int]:
        """(k, n) of one write."""
        return common_shape(self.shapes)

    @property
    def span(self) -> tuple[int, int]:
        """The indexes [first, last + 1)."""
        return self.index, self.index + self.shape[0]


@dataclass(slots=True, eq=False)
class Rows(Shaped):
    """Writes of one layout: the same topic, first index, column order, dtypes, shapes and groups."""

    topic: int
    index: int
    shapes: Mapping[str, tuple[int, int]]
    groups: tuple[Group, ...]
    dtype: np.dtype[Any]
    """A field for the tick, and one for each column on the host."""
    pack: Callable[..., bytes]
    """A row from a tick and each column on the host: its number, or the bytes of an array."""
    host_bytes: int = 0
    """What the snapshots of one row take in the host's memory."""
    device_bytes: int = 0
    data: bytearray = field(default_factory=bytearray)
    snapshots: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        topic: int,
        index: int,
        shapes: Mapping[str, tuple[int, int]],
        dtypes: Mapping[str, np.dtype[Any]],
        groups: tuple[Group, ...] = (),
    ) -> Rows:
        """Rows whose columns on the host have these dtypes."""
        fields = [("<i8", ()), *((dtypes[name].str, shapes[name]) for name in dtypes)]
        record = np.dtype([(f"f{place}", dtype, shape) for place, (dtype, shape) in enumerate(fields)])
        pack = struct.Struct("<q" + "".join(_format(dtypes[name], shapes[name]) for name in dtypes)).pack
        on_host, on_devices = sum(it.host_bytes for it in groups), sum(it.device_bytes for it in groups)
        return cls(topic, index, shapes, groups, record, pack, on_host, on_devices)

    @property
    def host_columns(self) -> list[str]:
        """The columns on the host, in the order of their fields."""
        held = {name for group in self.groups for name in group.forms}
        return [name for name in self.shapes if name not in held]

    def append(self, tick: int, host: Iterable[Array], taken: tuple[Any, ...]) -> None:
        """Adds a row of arrays of the layout's dtypes and shapes, and its snapshots."""
        row = b"".join((_TICK.pack(tick), *(array.tobytes() for array in host)))
        if taken:
            self.snapshots[tick] = taken  # first: whoever finds the row finds these
        self.data.extend(row)

    def drain(self, limit: int) -> Array:
        """Takes out the rows before tick `limit`. Writers may append meanwhile: their rows stay."""
        rows = np.frombuffer(bytes(self.data), self.dtype)
        count = int(np.searchsorted(np.maximum.accumulate(rows["f0"]), limit))
        del self.data[: count * self.dtype.itemsize]
        return rows[:count]

    def block(self, rows: Array, moved: Mapping[str, Array]) -> Block:
        """Rows of this layout as one block, each write's points after the one before."""
        n = self.shape[1]
        host = {name: rows[f"f{place}"] for place, name in enumerate(self.host_columns, 1)}
        columns = {}
        for name in sorted(self.shapes):
            values = host[name] if name in host else moved[name].reshape(len(rows), *self.shapes[name])
            values = values.transpose(1, 0, 2)
            if values.shape[2] < n:
                values = np.repeat(values, n, axis=2)
            columns[name] = np.ascontiguousarray(values).reshape(values.shape[0], -1)
        return Block(self.topic, self.index, columns)


@dataclass(frozen=True, slots=True, eq=False)
class Piece(Shaped):
    """One write of large arrays: copies on the host, snapshots on devices."""

    tick: int
    topic: int
    index: int
    shapes: Mapping[str, tuple[int, int]]
    host: Mapping[str, Array]
    groups: tuple[Group, ...]
    snapshots: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the host's memory."""
        arrays = sum(array.nbytes for array in self.host.values())
        return arrays + sum(group.host_bytes for group in self.groups)

    @property
    def device_bytes(self) -> int:
        """Bytes on devices."""
        return sum(group.device_bytes for group in self.groups)


def _format(dtype: np.dtype[Any], shape: tuple[int, int]) -> str:
    """How `struct` packs a column."""
    size = math.prod(shape)
    return _FORMATS[dtype.str] if size == 1 else f"{size * dtype.itemsize}s"
