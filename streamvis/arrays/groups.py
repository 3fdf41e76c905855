"""Columns of a write that live in one place on a device: copied by one call, moved together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamvis.arrays import ArrayAdapter, Form
from streamvis.columns import Array, as_storable

_ALLOCATION = 512  # bytes that a device's allocator gives at least


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Such columns."""

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
