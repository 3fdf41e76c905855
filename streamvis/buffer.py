"""What was written and not yet flushed.

Small writes become typed rows of their layout; large arrays wait as pieces, those on devices as snapshots. Every write
has a tick, its number, so that a flush puts writes of different layouts back in order. Any thread may write, also from
a signal handler in the midst of a write; one thread drains.
"""

from __future__ import annotations

import itertools
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamvis.arrays import Adapters, ArrayAdapter, Form, host_array
from streamvis.arrays.groups import Group, groups_of, snapshots
from streamvis.arrays.parts import Part, PartAdapter, Together
from streamvis.columns import MAX_COLUMNS, MAX_INDEX, MAX_INT, Array, as_column, common_shape, misfit
from streamvis.drain import Drained, Moved
from streamvis.errors import ColumnsError, DtypeError, UsageError
from streamvis.puts import REFUSED, Put, put_for
from streamvis.rows import SMALL_BYTES, Piece, Rows

HIGH_WATER = 1 << 20
"""Bytes of one layout's rows that are flushed without waiting for the interval; of pieces, four times as many."""

MANY_SNAPSHOTS = 4096
"""Snapshots that are flushed without waiting for the interval: each is an object on a device."""

MAX_NAME_BYTES = 4096
_TEXT = f"a string of 1 to {MAX_NAME_BYTES} bytes in UTF-8, without NUL characters"


class Buffer:
    """The writes of one logger. `puts` take the usual write, by name or (name, first index not 0); `add` every other.

    While `attention` is asked for there are no puts, so that every writer finds that out at no cost to the others. A
    put that gives HIGH_WATER or more asks for a flush. `drained_bytes` are those of the last drain, and of one under
    way, until whoever drains says that they have gone.
    """

    def __init__(self, adapters: Adapters | None = None, early_device_bytes: int = 16 << 20) -> None:
        self._puts: dict[str | tuple[str, int], Put] = {}
        self.puts = self._puts
        self._puts_of_kinds: dict[tuple[Any, ...], Put] = {}
        self._ticks = itertools.count()
        self.topics: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.drained_bytes = 0
        self.piece_bytes = 0
        self.device_bytes = 0  # these three lose updates among threads; the next drain mends them
        self._snapshots = 0
        self._early_device_bytes = early_device_bytes
        self._adapters = adapters or Adapters()
        self._adapters.know(Part, PartAdapter())
        self.together = Together(self._adapters).copied
        self._layouts: dict[tuple[Any, ...], Rows] = {}
        self._pieces: deque[Piece] = deque()
        self._handles = itertools.count(1)

    def add(self, name: str, start_index: int, columns: Mapping[str, Any]) -> int:
        """Takes one write of any kind, and gives what a put would give, or 0.

        Raises ColumnsError, DtypeError or UsageError, and then holds nothing of it.
        """
        _check_call(name, start_index, 1, columns)  # before anything takes it for a key
        size = self._add_as_before(name, start_index, columns)
        if size != REFUSED:
            return size
        try:
            if all(_is_scalar(type(value)) for value in columns.values()):
                self._add_scalars(name, start_index, columns)
            else:
                self._add_arrays(name, start_index, columns)
        except (ColumnsError, DtypeError) as error:
            raise type(error)(f"write({name!r:.80}): {error}") from error
        return 0

    def _add_as_before(self, name: str, start_index: int, columns: Mapping[str, Any]) -> int:
        """Tries the put that took values of these types last, for programs whose numbers are now ints, now floats."""
        put = self._puts_of_kinds.get(_kinds(name, start_index, columns))
        if put is None:
            return REFUSED
        try:
            size = put(columns)
        except (TypeError, ValueError, struct.error):
            return REFUSED  # what follows says why
        if size != REFUSED:
            self._puts[_key(name, start_index)] = put
        return size

    @property
    def attention(self) -> bool:
        """Whether writers have to see first what is the matter."""
        return self.puts is not self._puts

    @attention.setter
    def attention(self, wanted: bool) -> None:
        self.puts = {} if wanted else self._puts

    @property
    def early(self) -> bool:
        """Whether so much waits that it should not wait for the interval."""
        return (
            self.piece_bytes >= 4 * HIGH_WATER
            or self.device_bytes >= self._early_device_bytes
            or self._snapshots >= MANY_SNAPSHOTS
        )

    @property
    def transfers(self) -> int:
        """Copies from devices to the host so far."""
        return self._adapters.transfers

    def nbytes(self) -> int:
        """Bytes in the host's memory that wait to be drained."""
        rows = sum(len(rows.data) + rows.host_bytes * len(rows.snapshots) for rows in list(self._layouts.values()))
        return self.piece_bytes + rows

    def waiting(self) -> int:
        """Writes that wait to be drained."""
        return len(self._pieces) + sum(len(rows.data) // rows.dtype.itemsize for rows in list(self._layouts.values()))

    def drain(self) -> Drained:
        """Takes everything out, as blocks: as few as keep the order of writes within every series."""
        # Without it, a thread's write could come out before its earlier one, of a layout drained already.
        limit = next(self._ticks)
        taken = [(rows, rows.drain(limit)) for rows in list(self._layouts.values())]
        taken = [(rows, records) for rows, records in taken if len(records)]
        self.drained_bytes = sum(records.nbytes for _, records in taken)
        pieces = []
        while self._pieces and self._pieces[0].tick < limit:
            pieces.append(self._pieces.popleft())
        moved = Moved(taken, pieces)
        self._recount()
        self.drained_bytes += sum(piece.nbytes for piece in pieces)
        drained = moved.drained()
        self.drained_bytes = sum(block.nbytes for block in drained.blocks)
        return drained

    def _add_scalars(self, name: str, start_index: int, columns: Mapping[str, Any]) -> None:
        dtypes = {column: _scalar_dtype(column, value) for column, value in columns.items()}
        rows, _ = self._rows(name, start_index, dict.fromkeys(columns, (1, 1)), dtypes, {}, columns=columns)
        rows.data.extend(rows.pack(next(self._ticks), *columns.values()))
        self._offer_put(name, start_index, rows, columns)

    def _add_arrays(self, name: str, start_index: int, columns: Mapping[str, Any]) -> None:
        host, forms = self._described(columns)
        shapes = {
            column: _as_shape(column, host[column].shape if column in host else forms[column][1].shape)
            for column in columns
        }
        k, n = common_shape(shapes)
        nbytes = sum(array.nbytes for array in host.values()) + sum(form.nbytes for _, form in forms.values())
        if k * n == 0:
            self._topic(name, start_index, k, columns)
        elif nbytes <= SMALL_BYTES:
            dtypes = {column: array.dtype for column, array in host.items()}
            rows, taken = self._rows(name, start_index, shapes, dtypes, forms, columns=columns)
            rows.append(next(self._ticks), host.values(), taken)
            if taken:
                self._grown(rows)
            self._offer_put(name, start_index, rows, columns)
        else:
            groups = groups_of(forms)
            taken = _taken(groups, columns)
            topic = self._topic(name, start_index, k, columns)
            piece = Piece(next(self._ticks), topic, start_index, shapes, host, groups, taken)
            self._pieces.append(piece)
            self.piece_bytes += piece.nbytes
            self.device_bytes += piece.device_bytes

    def _described(self, columns: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, tuple[ArrayAdapter, Form]]]:
        """Copies of what lives on the host, and the forms of the rest."""
        host: dict[str, Array] = {}
        forms: dict[str, tuple[ArrayAdapter, Form]] = {}
        for column, value in columns.items():
            try:
                adapter = self._adapters.of(type(value))
                if adapter is None:
                    self._check_members(value)
                    host[column] = as_column(column, host_array(value))
                else:
                    forms[column] = adapter, adapter.describe(value)
            except DtypeError as error:
                raise _named(column, error) from error
        return host, forms

    def _check_members(self, value: Any) -> None:
        """Raises DtypeError for a list of devices' arrays, of each of which numpy would wait."""
        while isinstance(value, (list, tuple)) and value:
            value = value[0]
            adapter = None if isinstance(value, (list, tuple)) else self._adapters.of(type(value))
            if adapter is not None:
                raise DtypeError(f"is a list of {adapter.name} arrays: write their stack, an array of {adapter.name}")

    def _grown(self, rows: Rows) -> int:
        """Counts the snapshots of a new row; what its put answers."""
        self._snapshots += 1
        self.device_bytes += rows.device_bytes
        if self._snapshots >= MANY_SNAPSHOTS or self.device_bytes >= self._early_device_bytes:
            return HIGH_WATER
        return len(rows.data)

    def _recount(self) -> None:
        waiting, layouts = list(self._pieces), list(self._layouts.values())
        self.piece_bytes = sum(piece.nbytes for piece in waiting)
        on_devices = sum(rows.device_bytes * len(rows.snapshots) for rows in layouts)
        self.device_bytes = on_devices + sum(piece.device_bytes for piece in waiting)
        self._snapshots = sum(len(rows.snapshots) for rows in layouts)

    def _rows(  # noqa: PLR0913 - what a layout is known by, and the write
        self,
        name: str,
        index: int,
        shapes: Mapping[str, tuple[int, int]],
        dtypes: Mapping[str, np.dtype[Any]],
        forms: Mapping[str, tuple[ArrayAdapter, Form]],
        *,
        columns: Mapping[str, Any],
    ) -> tuple[Rows, tuple[Any, ...]]:
        """The rows of that layout, and the snapshots of this write. What it refuses declares nothing."""
        key = (name, index, *shapes.items(), *dtypes.items(), *(form for _, form in forms.values()))
        rows = self._layouts.get(key)
        groups = groups_of(forms) if rows is None else rows.groups
        taken = _taken(groups, columns)
        if rows is None:
            topic = self._topic(name, index, common_shape(shapes)[0], shapes)
            rows = self._layouts.setdefault(key, Rows.make(topic, index, shapes, dtypes, groups))
        return rows, taken

    def _offer_put(self, name: str, index: int, rows: Rows, columns: Mapping[str, Any]) -> None:
        put = put_for(rows, columns, self._ticks, self._grown)
        if put is not None:
            self._puts[_key(name, index)] = self._puts_of_kinds[_kinds(name, index, columns)] = put

    def _topic(self, name: str, index: int, k: int, names: Mapping[str, Any]) -> int:
        """The handle of that name, after checking that the write fits it."""
        _check_call(name, index, k, names)
        found = tuple(sorted(names))
        known = self.topics.get(name)
        if known is None:
            _check_columns(found)
            known = self.topics.setdefault(name, (next(self._handles), found))
        handle, expected = known
        if found != expected:
            raise ColumnsError(
                f"columns are {list(found)}; since its first write they are {list(expected)}: "
                "write these columns, or others under another name"
            )
        return handle


def _key(name: str, index: int) -> str | tuple[str, int]:
    return (name, index) if index != 0 else name


def _kinds(name: str, index: int, columns: Mapping[str, Any]) -> tuple[Any, ...]:
    return (name, index, *columns, *map(type, columns.values()))


def _taken(groups: Sequence[Group], columns: Mapping[str, Any]) -> tuple[Any, ...]:
    """The snapshots of a write. Raises DtypeError for one that is not what it said it was."""
    taken = snapshots(groups, columns)
    if taken is None:
        names = ", ".join(repr(name) for group in groups for name in group.forms)
        raise DtypeError(
            f"columns {names} changed while they were copied, or are of a kind that cannot be: write a plain copy"
        )
    return taken


def _named(column: str, error: DtypeError) -> DtypeError:
    """The error with its column, unless it says it already."""
    return error if str(error).startswith("column ") else DtypeError(f"column {column!r} {error}")


def _is_scalar(kind: type) -> bool:
    return issubclass(kind, (bool, int, float, np.generic))


def _scalar_dtype(column: str, value: Any) -> np.dtype[Any]:
    if isinstance(value, np.generic):
        return as_column(column, np.asarray(value)).dtype
    if isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
        raise DtypeError(misfit(column, value))
    return np.dtype("?" if isinstance(value, bool) else "<i8" if isinstance(value, int) else "<f8")


def check_text(what: str, text: Any) -> None:
    """Raises UsageError unless a store can keep the text as a scope or a name."""
    if not _is_text(text):
        raise UsageError(f"{what} is {text!r:.80}; expected {_TEXT}")


def _is_text(text: Any) -> bool:
    try:
        return isinstance(text, str) and 0 < len(text.encode()) <= MAX_NAME_BYTES and "\0" not in text
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _check_call(name: Any, index: Any, k: int, names: Mapping[str, Any]) -> None:
    check_text("name", name)
    if not isinstance(index, (int, np.integer)) or not 0 <= index <= MAX_INDEX - max(k, 1) + 1:
        raise UsageError(f"start_index of {name!r} is {index!r} for {k} indexes; expected an int from 0 to {MAX_INDEX}")
    if not names:
        raise ColumnsError(
            f"write({name!r:.80}): there are no columns; expected a keyword or more, as in x=step, y=loss"
        )
    if len(names) > MAX_COLUMNS:
        raise ColumnsError(
            f"write({name!r:.80}): there are {len(names)} columns; expected {MAX_COLUMNS} at most: "
            "write an array of shape (index, point), or several names"
        )


def _check_columns(names: Sequence[str]) -> None:
    """Raises ColumnsError unless a store can keep them."""
    for name in names:
        if not _is_text(name):
            raise ColumnsError(f"column {name!r:.80} has no name that can be kept; expected {_TEXT}")


def _as_shape(column: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) > 2:
        raise ColumnsError(f"column {column!r} has shape {shape}; expected rank 0, 1 or 2: (index, point)")
    k, n = (1,) * (2 - len(shape)) + tuple(shape)
    return int(k), int(n)
