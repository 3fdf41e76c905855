"""Values that are copied together and then written one by one: the metrics of a step, each of which is a topic.

A copy of eight scalars costs little more than that of one, and so does moving it. `Together` makes the copies; its
parts stand for the values in writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamvis.arrays import Adapters, Form
from streamvis.arrays.groups import Group, groups_of, snapshots
from streamvis.columns import Array
from streamvis.errors import DtypeError


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A value's place in every snapshot of a group."""

    group: Group
    name: str
    form: Form
    """The value's own, and that of a part that needs a group to itself."""


class Part:
    """One value of a snapshot. Nobody else writes to it, so that it is its own copy."""

    __slots__ = ("slot", "snapshot")

    def __init__(self, slot: Slot, snapshot: Any) -> None:
        self.slot = slot
        self.snapshot = snapshot


@dataclass(frozen=True, slots=True, eq=False)
class _Like:
    """How values like those of an earlier call are copied."""

    kinds: list[type]
    groups: tuple[Group, ...]
    slots: list[tuple[int, int, Slot]]
    """For each part the place of its value, the number of its group, and its slot."""

    def copied(self, names: Sequence[str], kinds: list[type], values: Sequence[Any]) -> list[Any] | None:
        """The values and parts; None unless they are alike."""
        if kinds != self.kinds:
            return None
        found = list(values)
        if not self.groups:
            return found
        try:
            taken = snapshots(self.groups, dict(zip(names, values, strict=True)))
        except DtypeError:
            return None
        if taken is None:
            return None
        for place, number, slot in self.slots:
            found[place] = Part(slot, taken[number])
        return found


class Together:
    """Copies values by as few calls as there are places where they live."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        self._known: dict[tuple[str, ...], _Like] = {}

    def copied(self, names: tuple[str, ...], values: Sequence[Any]) -> list[Any]:
        """The values, with parts in the place of those that could be copied with others; the rest is as it was.

        The names are all different. It is quick for values that are like those of the same names before. Never waits
        for a device.
        """
        kinds = [type(value) for value in values]
        known = self._known.get(names)
        found = known.copied(names, kinds, values) if known is not None else None
        if found is None:
            known = self._known[names] = self._like(names, kinds, values)
            found = known.copied(names, kinds, values)
        return list(values) if found is None else found

    def _like(self, names: Sequence[str], kinds: list[type], values: Sequence[Any]) -> _Like:
        forms = {}
        for name, value in zip(names, values, strict=True):
            try:
                adapter = self._adapters.of(type(value))
                if adapter is not None:
                    forms[name] = adapter, adapter.describe(value)
            except DtypeError:
                continue  # its own write will say so
        groups = tuple(group for group in groups_of(forms) if len(group.forms) > 1)
        places = {name: place for place, name in enumerate(names)}
        slots = [
            (places[name], number, Slot(group, name, replace(form, place=None)))
            for number, group in enumerate(groups)
            for name, form in group.forms.items()
        ]
        return _Like(kinds, groups, slots)


class PartAdapter:
    """Parts as values of a write: an ArrayAdapter that leaves everything to those of their snapshots."""

    name = "part"
    transfers = 0
    """Counted by the others."""

    def accepts(self, kind: type) -> bool:
        """Whether it is a part."""
        return kind is Part

    def describe(self, value: Part) -> Form:
        """See ArrayAdapter."""
        return value.slot.form

    def copier(self, forms: Sequence[Form]) -> Callable[[Sequence[Part]], Part | None]:
        """See ArrayAdapter."""
        (form,) = forms

        def copy(values: Sequence[Part]) -> Part | None:
            (part,) = values
            return part if part.slot.form == form else None

        return copy

    def transfer(self, runs: Sequence[Sequence[Part]]) -> list[Array]:
        """See ArrayAdapter. Each snapshot is moved once, whatever the number of its parts that wait."""
        parts = list(itertools.chain.from_iterable(runs))
        wanted: dict[Group, dict[int, Any]] = {part.slot.group: {} for part in parts}
        for part in parts:
            wanted[part.slot.group][id(part.snapshot)] = part.snapshot
        columns = _moved({group: list(of.values()) for group, of in wanted.items()})
        places = {key: place for of in wanted.values() for place, key in enumerate(of)}

        def cut(slot: Slot, of: Sequence[Part]) -> Array:
            rows: Array = columns[slot.group][slot.name][[places[id(part.snapshot)] for part in of]]
            return rows

        return [
            np.concatenate([cut(slot, list(of)) for slot, of in itertools.groupby(run, lambda part: part.slot)])
            for run in runs
        ]


def _moved(snapshots_of: Mapping[Group, Sequence[Any]]) -> dict[Group, dict[str, Array]]:
    """The columns of each group's snapshots, those of one adapter moved together."""
    by_adapter: dict[int, list[Group]] = {}
    for group in snapshots_of:
        by_adapter.setdefault(id(group.adapter), []).append(group)
    return {
        group: dict(group.columns(array, len(snapshots_of[group])))
        for groups in by_adapter.values()
        for group, array in zip(
            groups, groups[0].adapter.transfer([snapshots_of[group] for group in groups]), strict=True
        )
    }
