"""The points of a view's series as they are drawn: split by further columns, averaged over windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from streamvis import Topic
from streamvis.reduce import windowed_means
from streamvis_viewer.layout import Cell, Page
from streamvis_viewer.schema import Plot
from streamvis_viewer.series import Run, extend, settle
from streamvis_viewer.slots import Slot, Slots

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MAX_SPLIT = 256
"""Distinct values of the columns that split one topic."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a view draws, whatever it looks like: equal ones share a view."""

    scopes: str
    names: str
    columns: tuple[str, ...]
    """Drawn: horizontal, vertical, and what else the kind of drawing takes."""
    sliders: tuple[str, ...]
    needed: frozenset[str]
    """Columns without which a topic is left out."""
    ignored: frozenset[str]
    further: bool
    """Whether columns of which neither schema nor page says anything split a series."""
    thins: str
    window: int
    stride: int

    @classmethod
    def of(cls, cell: Cell, page: Page, plot: Plot) -> Shown:
        """What a cell of a page shows."""
        plot = plot.over(cell.x)
        further = (column for column in page.filter if column not in plot.drawn)
        return cls(
            scopes=page.scopes,
            names=cell.names,
            columns=plot.drawn,
            sliders=tuple(dict.fromkeys((*plot.sliders, *further))),
            needed=plot.needed,
            ignored=frozenset((*plot.ignore, *page.ignore)),
            further=plot.splits,
            thins=plot.glyph.thins,
            window=page.window,
            stride=page.stride or page.window,
        )

    @property
    def packed(self) -> tuple[str, ...]:
        """The columns that travel with the points: those drawn, and that of the first slider."""
        return (*self.columns, *self.sliders[:1])

    def splits(self, topic: Topic) -> tuple[str, ...]:
        """The topic's columns that split its series: those of further sliders first."""
        known = {*self.columns, *self.sliders, *self.ignored}
        further = (column for column in topic.columns if column not in known) if self.further else ()
        return (*(column for column in self.sliders[1:] if column in topic.columns), *further)


class SplitError(Exception):
    """A topic that would become too many series."""


class Strip:
    """Rows of a run and the slots in which they are drawn."""

    def __init__(self, run: Run, slots: Array) -> None:
        self.run = run
        self.slots = slots
        self.taken = 0
        """Points of each row that the view has taken note of, where the run is not one of the store."""


class Strips:
    """All strips of a view, which grow with the runs of the store."""

    def __init__(self, shown: Shown, slots: Slots) -> None:
        self._shown = shown
        self._slots = slots
        self._topics: dict[int, _TopicStrips] = {}
        self._slots_of: dict[Run, Array] = {}

    def __iter__(self) -> Iterator[Strip]:
        strips = [strip for topic in sorted(self._topics) for strip in self._topics[topic].drawn]
        settle(strip.run for strip in strips)
        return iter(strips)

    def draws_runs(self, topic: Topic) -> bool:
        """Whether the runs of a topic are drawn as they are, neither split nor averaged."""
        return not self._shown.window and not self._shown.splits(topic)

    def slots(self, topics: Mapping[int, Topic], runs: Sequence[Run]) -> Array:
        """The slots of runs that are drawn as they are, run after run."""
        known = self._slots_of
        try:
            found = [known[run] for run in runs]
        except KeyError:
            known.update((run, self._of(topics[run.topic]).whole(run).slots) for run in runs if run not in known)
            found = [known[run] for run in runs]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def grow(self, topic: Topic, run: Run) -> Iterable[Strip]:
        """The strips that hold the new points of a run that is split or averaged. Raises SplitError."""
        return self._of(topic).grow(run)

    def forget(self, topic: int) -> None:
        """A topic is gone."""
        strips = self._topics.pop(topic, None)
        for strip in strips.drawn if strips else ():
            self._slots_of.pop(strip.run, None)

    def _of(self, topic: Topic) -> _TopicStrips:
        strips = self._topics.get(topic.id)
        if strips is None:
            strips = self._topics[topic.id] = _TopicStrips(topic, self._shown, self._slots)
        return strips


class _TopicStrips:
    def __init__(self, topic: Topic, shown: Shown, slots: Slots) -> None:
        self._topic = topic
        self._slots = slots
        self._splits = shown.splits(topic)
        self._further = shown.sliders[1:]
        self._columns = shown.packed
        self._window, self._stride = shown.window, shown.stride
        self._cut_at: dict[Run, int] = {}  # the points of a run of the store that are in `_pieces`
        self._pieces: dict[int, Strip] = {}  # one for each slot
        self._values: set[tuple[float, ...]] = set()  # that split the topic
        self._wholes: dict[Run, Strip] = {}
        self._means: dict[Strip, Strip] = {}
        self._averaged: dict[Strip, int] = {}  # points of a strip that are in its strip of means

    @property
    def drawn(self) -> Iterable[Strip]:
        """In the order of their slots."""
        if self._window:
            return self._means.values()
        return self._pieces.values() if self._splits else self._wholes.values()

    def grow(self, run: Run) -> Iterable[Strip]:
        grown = self._cut(run) if self._splits else [self.whole(run)]
        return [self._mean(strip) for strip in grown] if self._window else grown

    # ---- a run as it is

    def whole(self, run: Run) -> Strip:
        strip = self._wholes.get(run)
        if strip is None:
            lacking = self._lacking()
            slots = [self._slots.number(Slot(self._topic, index, lacking)) for index in range(run.index, run.end)]
            strip = self._wholes[run] = Strip(run, np.array(slots, "<u4"))
        return strip

    def _lacking(self) -> tuple[float, ...]:
        return tuple(math.nan for _ in self._further)

    # ---- split by values

    def _cut(self, run: Run) -> Iterable[Strip]:
        begin = self._cut_at.get(run, 0)
        self._cut_at[run] = run.length
        new = {name: values[:, begin:] for name, values in run.columns().items()}
        grown: dict[Strip, None] = {}
        for row in range(run.count):
            series = {name: values[row % len(values)] for name, values in new.items()}
            grown.update(dict.fromkeys(self._pieces_of(run.index + row, series)))
        return grown

    def _pieces_of(self, index: int, series: Mapping[str, Array]) -> Iterator[Strip]:
        keys = np.stack([series[column].astype("f8") for column in self._splits], axis=1)
        found, which = np.unique(keys, axis=0, return_inverse=True)
        self._values.update(map(tuple, found.tolist()))
        if len(self._values) > MAX_SPLIT:
            raise SplitError(f"more than {MAX_SPLIT} values of {', '.join(self._splits)}: ignore it or plot it")
        for number, values in enumerate(found.tolist()):
            chosen = which.reshape(-1) == number
            part = {name: series[name][np.newaxis, chosen] for name in self._columns if name in series}
            yield self._piece(self._slots.number(self._slot(index, values)), part)

    def _slot(self, index: int, values: Sequence[float]) -> Slot:
        known = dict(zip(self._splits, (math.nan if math.isnan(value) else value for value in values), strict=True))
        parts = tuple((column, value) for column, value in known.items() if column not in self._further)
        return Slot(self._topic, index, tuple(known.get(column, math.nan) for column in self._further), parts)

    def _piece(self, slot: int, part: Mapping[str, Array]) -> Strip:
        strip = self._pieces.get(slot)
        if strip is not None:
            _append(strip.run, part)
            return strip
        strip = self._pieces[slot] = Strip(Run(self._topic.id, slot, 1, part), np.array([slot], "<u4"))
        return strip

    # ---- means of windows

    def _mean(self, strip: Strip) -> Strip:
        columns = strip.run.columns()
        columns = {name: columns[name] for name in self._columns if name in columns}
        means = windowed_means(columns, self._window, self._stride, self._averaged.get(strip, 0))
        self._averaged[strip] = strip.run.length
        made = self._means.get(strip)
        if made is None:
            made = self._means[strip] = Strip(Run(self._topic.id, strip.run.index, strip.run.count, means), strip.slots)
        else:
            _append(made.run, means)
        return made


def _append(run: Run, columns: Mapping[str, Array]) -> None:
    """Arrays of shape (count or 1, points)."""
    points = next(iter(columns.values())).shape[1]
    extend((run,), {name: values[np.newaxis] for name, values in columns.items()}, points)
