"""Typed rows: what many writes of one layout become, and the quick way to append one.

A write becomes one packed row, appended to the bytes of its layout by a single call that the interpreter does not
interrupt: no lock, and no Python object per point that the garbage collector would walk. Every row starts with a tick,
the number of its write. What lives on a device waits beside the rows as snapshots, found by tick: one per write and
group of columns that are copied together.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from keyword import iskeyword
from typing import Any, TypeAlias

import numpy as np

from streamvis.arrays import ArrayAdapter, Form
from streamvis.columns import Array, Block, as_storable, common_shape

Put: TypeAlias = Callable[..., int]
"""Takes columns by keyword and appends a row if they are like its layout's: what `grown` says then, else -1.

Raises TypeError for other columns or what cannot be copied, and struct.error for a number that does not fit.
"""

_ALLOCATION = 512  # bytes that a device's allocator gives at least
_TICK = struct.Struct("<q")
_FORMATS = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|b1": "?"}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Columns of a write that live in one place on a device: copied by one call, moved together."""

    adapter: ArrayAdapter
    forms: Mapping[str, Form]
    copy: Callable[[Sequence[Any]], Any | None]

    @property
    def host_bytes(self) -> int:
        """What one snapshot takes in the host's memory."""
        return self._bytes(on_host=True)

    @property
    def device_bytes(self) -> int:
        """What one snapshot takes on another device."""
        taken = self._bytes(on_host=False)
        return max(taken, _ALLOCATION) if taken else 0

    def _bytes(self, *, on_host: bool) -> int:
        return sum(form.nbytes for form in self.forms.values() if form.on_host is on_host)

    def columns(self, moved: Array, count: int) -> Iterator[tuple[str, Array]]:
        """Each column of what so many snapshots became, as (snapshots, elements). Raises ValueError if it cannot be."""
        size = sum(math.prod(form.shape) for form in self.forms.values())
        if moved.shape[0] != count or moved.shape[1] < size:
            raise ValueError(f"transfer gave shape {moved.shape}; expected ({count}, {size})")
        start = 0
        for name, form in self.forms.items():
            size = math.prod(form.shape)
            yield name, as_storable(name, moved[:, start : start + size])
            start += size


def groups_of(forms: Mapping[str, tuple[ArrayAdapter, Form]]) -> tuple[Group, ...]:
    """The groups of columns on devices."""
    found: dict[Any, dict[str, tuple[ArrayAdapter, Form]]] = {}
    for name, (adapter, form) in forms.items():
        key = (id(adapter), form.place if form.place is not None else name)
        found.setdefault(key, {})[name] = adapter, form
    return tuple(_group(columns) for columns in found.values())


def _group(columns: Mapping[str, tuple[ArrayAdapter, Form]]) -> Group:
    adapter = next(adapter for adapter, _ in columns.values())
    forms = {name: form for name, (_, form) in columns.items()}
    return Group(adapter, forms, adapter.copier(tuple(forms.values())))


def snapshots(groups: Iterable[Group], values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """One snapshot per group; None when a value has another form than when the groups were made."""
    taken = tuple(group.copy([values[name] for name in group.forms]) for group in groups)
    return None if any(snapshot is None for snapshot in taken) else taken


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
    """A row from a tick and the numbers of the columns on the host."""
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
        pack = struct.Struct("<q" + "".join(_FORMATS[dtype.str] for dtype in dtypes.values())).pack
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


_NUMBERS = """
def make(_rows, _tick, _grown, {kinds}):
    _data, _extend, _pack, _len, _type = _rows.data, _rows.data.extend, _rows.pack, len, type
    def put(*, {columns}):
        if {checks}:
            _extend(_pack(_tick(), {columns}))
            return _len(_data)
        return -1
    return put
"""

_SNAPSHOTS = """
def make(_rows, _tick, _grown, {kinds}):
    _extend, _pack, _snapshots, _type = _rows.data.extend, _rows.pack, _rows.snapshots, type
    {copies} = [group.copy for group in _rows.groups]
    def put(*, {columns}):
        if {checks}:
            {takes}
            if {taken}:
                tick_ = _tick()
                row_ = _pack(tick_, {host})
                _snapshots[tick_] = {tuple},
                _extend(row_)
                return _grown(_rows)
        return -1
    return put
"""


def put_for(rows: Rows, kinds: Mapping[str, type], tick: Callable[[], int], grown: Callable[[Rows], int]) -> Put | None:
    """The quick way to append writes like the one that made the layout: values of these types, by these names."""
    if not all(map(_is_plain, kinds)):
        return None
    groups = tuple(tuple(group.forms) for group in rows.groups)
    return _maker(tuple(kinds), groups)(rows, tick, grown, *kinds.values())


@lru_cache(maxsize=1024)
def _maker(columns: tuple[str, ...], groups: tuple[tuple[str, ...], ...]) -> Callable[..., Put]:
    """What makes the puts of these columns. Compiled, as dataclasses are: named parameters halve a write's cost."""
    held = {name for names in groups for name in names}
    taken = [f"taken_{place}_" for place in range(len(groups))]
    copies = [f"_copy_{place}" for place in range(len(groups))]
    text = (_SNAPSHOTS if groups else _NUMBERS).format(
        columns=", ".join(columns),
        kinds=", ".join(f"_kind_{column}" for column in columns),
        checks=" and ".join(f"_type({column}) is _kind_{column}" for column in columns),
        host=", ".join(column for column in columns if column not in held),
        copies=", ".join(f"{copy}" for copy in copies) + ",",
        takes="; ".join(
            f"{into} = {copy}(({', '.join(names)},))" for into, copy, names in zip(taken, copies, groups, strict=True)
        ),
        taken=" and ".join(f"{into} is not None" for into in taken),
        tuple=", ".join(taken),
    )
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102 - of identifiers alone: see _is_plain
    maker: Callable[..., Put] = scope["make"]
    return maker


def _is_plain(column: str) -> bool:
    """Whether the column can be a parameter, beside the names that the function uses itself."""
    own = column.startswith("_") or column.endswith("_")
    return column.isascii() and column.isidentifier() and not own and not iskeyword(column)
