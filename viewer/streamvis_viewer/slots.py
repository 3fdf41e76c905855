"""Which series a view draws, in which slots, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamvis import Topic
from streamvis_viewer import labels
from streamvis_viewer.frames import note
from streamvis_viewer.schema import KeyPart

Values: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One drawn series."""

    topic: Topic
    index: int
    sliders: Values = ()
    """Values of the columns of the sliders after the first; NaN where the topic has no such column."""
    parts: tuple[tuple[str, float], ...] = ()
    """Further columns that split the topic, with their values."""


class Slots:
    """All series of a view. A slot keeps its number, also when its topic is gone, until everything begins anew."""

    def __init__(self) -> None:
        self.all: list[Slot] = []
        self.cleared: list[int] = []
        """Those whose topics are gone, in the order in which they went."""
        self.generation = 0
        self._numbers: dict[tuple[int, int, Values, tuple[tuple[str, float], ...]], int] = {}

    @property
    def live(self) -> int:
        """How many series there are."""
        return len(self._numbers)

    def number(self, slot: Slot) -> int:
        """The slot's number, a new one when it is new."""
        key = (slot.topic.id, slot.index, slot.sliders, slot.parts)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.all)
            self.all.append(slot)
        return number

    def forget(self, topic: int) -> None:
        """A topic is gone."""
        self.cleared += [number for key, number in self._numbers.items() if key[0] == topic]
        self._numbers = {key: number for key, number in self._numbers.items() if key[0] != topic}

    def begin(self) -> None:
        """Begins anew, without slots."""
        self.all.clear()
        self.cleared.clear()
        self._numbers.clear()
        self.generation += 1


@dataclass(frozen=True, slots=True)
class Named:
    """How many series of a view a tab knows by name."""

    generation: int
    slots: int
    revision: int


class Labels:
    """What the series of a view are called, by one key function. An index says nothing where there is but one."""

    def __init__(self, key: Sequence[KeyPart], slots: Slots, configs: Mapping[str, Mapping[str, Any]]) -> None:
        self._key = key
        self._slots = slots
        self._configs = configs
        self._revision = 0
        self._generation = 0
        self._texts: list[str] = []
        self._indexed = False
        """Whether there is an index other than 0."""

    def refresh(self) -> None:
        """Hyperparameters have changed: names may have."""
        if any(not isinstance(part, str) for part in self._key):
            before, self._texts = self._texts, []
            self._catch_up()
            self._revision += before != self._texts[: len(before)]

    def mark(self) -> Named:
        """Where they stand now."""
        return Named(self._slots.generation, len(self._slots.all), self._revision)

    def news(self, plot: int, since: Named | None) -> list[bytes]:
        """What tells a tab the names of the series that it does not know."""
        if since == self.mark():
            return []
        self._catch_up()
        now = self.mark()
        same = since is not None and (since.generation, since.revision) == (now.generation, now.revision)
        return [self._note(plot, since.slots if since is not None and same else 0)]

    def _catch_up(self) -> None:
        if self._generation != self._slots.generation:
            self._generation, self._texts, self._indexed = self._slots.generation, [], False
        if not self._indexed and any(slot.index for slot in self._slots.all[len(self._texts) :]):
            self._revision += bool(self._texts)
            self._texts, self._indexed = [], True
        self._texts += [self._text(slot) for slot in self._slots.all[len(self._texts) :]]

    def _text(self, slot: Slot) -> str:
        config = self._configs.get(slot.topic.scope, {})
        key = self._key if self._indexed else labels.without_index(self._key)
        text = labels.label(key, slot.topic, slot.index, config)
        return labels.with_values(text, *zip(*slot.parts, strict=True)) if slot.parts else text

    def _note(self, plot: int, start: int) -> bytes:
        gone = set(self._slots.cleared)
        slots = enumerate(self._slots.all[start:], start)
        rows = [None if number in gone else self._row(number, slot) for number, slot in slots]
        return note(plot, {"start": start, "series": rows})

    def _row(self, number: int, slot: Slot) -> Collection[Any]:
        values = [value if math.isfinite(value) else None for value in slot.sliders]
        return [slot.topic.scope, slot.topic.name, slot.index, self._texts[number], values]
