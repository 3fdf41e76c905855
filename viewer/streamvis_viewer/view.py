"""What one plot shows: which series, in which slots, and what has changed since a tab was last told.

Views are shared by all tabs that show the same thing. A view is a log: a tab that has seen it up to a mark gets what
came after as a few frames, encoded once for all tabs at that mark; a tab without a usable mark gets everything.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from streamvis import Block, Topic
from streamvis_viewer import labels, patterns
from streamvis_viewer.frames import Op, encode, note
from streamvis_viewer.layout import Cell, Page
from streamvis_viewer.schema import Plot
from streamvis_viewer.series import SeriesStore

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

LOG_BYTES = 64 << 20
"""What the log keeps; a tab that is farther behind gets everything anew."""

MAX_SPLIT = 256
"""Distinct values of the columns that split one topic."""

_CACHED = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """One drawn series."""

    topic: Topic
    index: int
    values: tuple[float, ...] = ()
    """Of the columns that split the topic; those with a slider come first."""


@dataclass(frozen=True, slots=True)
class Points:
    """New points of some slots, concatenated, as offsets from the view's origin."""

    slots: Array
    counts: Array
    columns: tuple[Array, ...]

    @property
    def nbytes(self) -> int:
        """In memory, and about as much on the wire."""
        return self.slots.nbytes + self.counts.nbytes + sum(column.nbytes for column in self.columns)


@dataclass(frozen=True, slots=True)
class Mark:
    """How much of a view a tab has been sent."""

    generation: int
    points: int
    slots: int
    cleared: int
    labels: int
    colors: int


class View:
    """The series of one plot. For the event loop's thread only."""

    def __init__(self, cell: Cell, page: Page, plot: Plot, store: SeriesStore) -> None:
        self._store = store
        self._plot = plot
        self._key = cell.color or plot.color.key_fun
        self._palette = plot.color.palette
        self._columns = (*plot.columns[:2], *plot.sliders[:1])
        self._sliders = plot.sliders[1:]
        self._needed = plot.needed
        self._known = {*plot.needed, *plot.ignore, *page.ignore}
        self._log_axes = (cell.axes in {"xlog", "xylog"}, cell.axes in {"ylog", "xylog"})
        self._in_scope = patterns.matcher(page.scopes)
        self._has_name = patterns.matcher(cell.names)
        self.topics: dict[int, Topic] = {}
        self.left_out: dict[int, str] = {}
        self.ready = False
        self._generation = 0
        self._begin()

    def _begin(self) -> None:
        """Forgets all slots: every tab starts over."""
        self._generation += 1
        self._slots: list[Slot] = []
        self._slot_of: dict[tuple[int, int, tuple[float, ...]], int] = {}
        self._labels: list[int] = []
        self._label_numbers: dict[str, int] = {}
        self._log: list[Points] = []
        self._log_start = 0
        self._log_bytes = 0
        self._cleared: list[int] = []
        self._relabelled = 0
        self._recolored = 0
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)
        self._origin = np.zeros(2)
        self._rows: dict[tuple[int, int, int], Array] = {}
        self._split_values: dict[int, set[tuple[float, ...]]] = {}
        self._cache: OrderedDict[tuple[int, Mark | None, Mark], list[bytes]] = OrderedDict()

    # ---- what the store tells

    def start(self) -> None:
        """Everything that was asked for has arrived: shows it, oldest topics first."""
        self.ready = True
        self._restart()

    def take_topic(self, topic: Topic) -> bool:
        """Whether the topic is shown here."""
        if topic.deleted:
            self._forget(topic.id)
            return False
        if not (self._in_scope(topic.scope) and self._has_name(topic.name)):
            return False
        if topic.id in self.left_out:
            return False
        lacking = sorted(self._needed - set(topic.columns))
        if lacking:
            self.left_out[topic.id] = f"no column {' or '.join(lacking)}"
            return False
        if topic.id not in self.topics:
            self.topics[topic.id] = topic
            if self.ready:
                for block in self._store.blocks(topic.id):
                    self.take_block(block)
        return True

    def take_block(self, block: Block) -> None:
        """New points of a topic that is shown here."""
        if self.ready and block.topic in self.topics and block.points:
            self._widen(block)
            if not self._moved():
                self._append(self._points(block))

    def take_configs(self) -> None:
        """Hyperparameters have changed: labels may have."""
        if any(not isinstance(part, str) for part in self._key):
            self._relabel()

    def _forget(self, topic: int) -> None:
        self.left_out.pop(topic, None)
        if self.topics.pop(topic, None) is None:
            return
        if not self.topics:
            self._begin()
            return
        gone = [number for (owner, _, _), number in self._slot_of.items() if owner == topic]
        self._slot_of = {key: number for key, number in self._slot_of.items() if key[0] != topic}
        self._rows = {key: rows for key, rows in self._rows.items() if key[0] != topic}
        self._cleared += gone
        self._split_values.pop(topic, None)

    # ---- precision: float32 offsets from an origin that keeps what float64 distinguishes

    def _widen(self, block: Block) -> None:
        for axis, column in enumerate(self._columns[:2]):
            values = block.columns[column]
            finite = values[np.isfinite(values)]
            if finite.size:
                self._low[axis] = min(self._low[axis], float(finite.min()))
                self._high[axis] = max(self._high[axis], float(finite.max()))

    def _moved(self) -> bool:
        """Starts over when another origin is due; rare, because the rule has a wide middle."""
        due = [self._due(axis) for axis in (0, 1)]
        if due == list(self._origin):
            return False
        self._restart()
        return True

    def _due(self, axis: int) -> float:
        low, high, origin = float(self._low[axis]), float(self._high[axis]), float(self._origin[axis])
        if self._log_axes[axis] or not low <= high:
            return 0.0
        span, far = high - low, max(abs(low), abs(high))
        if origin:
            return origin if far > 64 * span else 0.0
        return low if far > 256 * span and (span or far >= 1 << 24) else 0.0

    def _restart(self) -> None:
        self._begin()
        blocks = [block for topic in sorted(self.topics) for block in self._store.blocks(topic) if block.points]
        for block in blocks:
            self._widen(block)
        self._origin = np.array([self._due(axis) for axis in (0, 1)])
        for block in blocks:
            self._assign(block)

    # ---- slots

    def _assign(self, block: Block) -> None:
        """Gives slots to the series of a block."""
        topic = self.topics.get(block.topic)
        if topic is None:
            return
        if self._splits(topic):
            self._points(block)
        else:
            self._row(topic, block.index, block.shape[0])

    def _row(self, topic: Topic, index: int, count: int) -> Array:
        """The slots of neighbouring indexes of a topic that is not split."""
        key = (topic.id, index, count)
        if key not in self._rows:
            numbers = [self._slot(topic, index + offset) for offset in range(count)]
            self._rows[key] = np.array(numbers, "<u4")
        return self._rows[key]

    def _points(self, block: Block) -> Points:
        topic = self.topics[block.topic]
        splits = self._splits(topic)
        pieces = list(self._split(topic, block, splits)) if splits else [self._whole(topic, block)]
        return _joined(pieces, len(self._columns))

    def _splits(self, topic: Topic) -> tuple[str, ...]:
        return (*self._sliders, *(column for column in topic.columns if column not in self._known))

    def _whole(self, topic: Topic, block: Block) -> Points:
        count, points = block.shape
        slots = self._row(topic, block.index, count)
        columns = tuple(
            np.broadcast_to(self._offsets(axis, block.columns[name]), (count, points)).reshape(-1)
            for axis, name in enumerate(self._columns)
        )
        return Points(slots, np.full(count, points, "<u4"), columns)

    def _split(self, topic: Topic, block: Block, splits: Sequence[str]) -> Iterator[Points]:
        for index, series in block.series():
            keys = np.stack([series[column].astype("f8") for column in splits], axis=1)
            found, which = np.unique(keys, axis=0, return_inverse=True)
            values = [tuple(map(float, value)) for value in found]
            taken = self._split_values.setdefault(topic.id, set())
            taken.update(values)
            if len(taken) > MAX_SPLIT:
                self._refuse(topic, splits)
                return
            for number, value in enumerate(values):
                chosen = which.reshape(-1) == number
                slot = self._slot(topic, index, value)
                columns = tuple(self._offsets(axis, series[name][chosen]) for axis, name in enumerate(self._columns))
                yield Points(np.array([slot], "<u4"), np.array([int(chosen.sum())], "<u4"), columns)

    def _refuse(self, topic: Topic, splits: Sequence[str]) -> None:
        self._forget(topic.id)
        self.left_out[topic.id] = f"more than {MAX_SPLIT} values of {', '.join(splits)}: ignore it or plot it"

    def _offsets(self, axis: int, values: Array) -> Array:
        origin = self._origin[axis] if axis < 2 else 0.0
        with np.errstate(over="ignore"):  # beyond float32 there is no place on a screen
            return (values - origin if origin else values).astype("<f4")

    def _slot(self, topic: Topic, index: int, values: tuple[float, ...] = ()) -> int:
        key = (topic.id, index, values)
        number = self._slot_of.get(key)
        if number is None:
            number = self._slot_of[key] = len(self._slots)
            slot = Slot(topic, index, values)
            self._slots.append(slot)
            self._labels.append(self._number(self._label(slot)))
        return number

    def _label(self, slot: Slot) -> str:
        text = labels.label(self._key, slot.topic, slot.index, self._store.configs.get(slot.topic.scope, {}))
        at = len(self._sliders)
        return labels.with_values(text, self._splits(slot.topic)[at:], slot.values[at:]) if slot.values[at:] else text

    def _number(self, label: str) -> int:
        number = self._label_numbers.setdefault(label, len(self._label_numbers))
        if number == len(self._label_numbers) - 1 and labels.is_scale(self._palette):
            self._recolored += 1
        return number

    def _relabel(self) -> None:
        before = list(self._label_numbers), self._labels
        self._label_numbers = {}
        self._labels = [self._number(self._label(slot)) for slot in self._slots]
        if (list(self._label_numbers), self._labels) != before:
            self._relabelled += 1
            self._recolored += 1

    # ---- what tabs are told

    def _append(self, points: Points) -> None:
        if not len(points.slots):
            return
        self._log.append(points)
        self._log_bytes += points.nbytes
        while self._log_bytes > LOG_BYTES:
            self._log_bytes -= self._log.pop(0).nbytes
            self._log_start += 1

    @property
    def mark(self) -> Mark:
        """Where the view stands now."""
        return Mark(
            self._generation,
            self._log_start + len(self._log),
            len(self._slots),
            len(self._cleared),
            self._relabelled,
            self._recolored,
        )

    @property
    def series(self) -> int:
        """How many series are shown."""
        return len(self._slot_of)

    @property
    def reasons(self) -> dict[str, int]:
        """Why topics that were asked for are left out, and how many."""
        return dict(Counter(self.left_out.values()))

    def frames(self, plot: int, since: Mark | None) -> list[bytes]:
        """What brings a tab from a mark to `mark`; empty when it is there."""
        if not self.ready or since == self.mark:
            return []
        key = (plot, since, self.mark)
        if key not in self._cache:
            lost = since is None or since.generation != self._generation or since.points < self._log_start
            self._cache[key] = list(self._all(plot) if since is None or lost else self._news(plot, since))
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return self._cache[key]

    def _all(self, plot: int) -> Iterator[bytes]:
        blocks = (block for topic in sorted(self.topics) for block in self._store.blocks(topic) if block.points)
        points = _in_order(_joined([self._points(block) for block in blocks], len(self._columns)), len(self._slots))
        yield self._series_note(plot, 0)
        yield encode(Op.REPLACE, plot, self._origin, points.counts, self._colors(0), *points.columns)

    def _news(self, plot: int, since: Mark) -> Iterator[bytes]:
        now = self.mark
        if now.slots > since.slots or now.labels > since.labels:
            yield self._series_note(plot, 0 if now.labels > since.labels else since.slots)
        if now.slots > since.slots:
            yield encode(Op.ADD, plot, self._colors(since.slots))
        if now.points > since.points:
            points = _joined(self._log[since.points - self._log_start :], len(self._columns))
            yield encode(Op.APPEND, plot, points.slots, points.counts, *points.columns)
        if now.cleared > since.cleared:
            yield encode(Op.CLEAR, plot, np.array(self._cleared[since.cleared :], "<u4"))
        if now.colors > since.colors:
            yield encode(Op.COLORS, plot, self._colors(0))

    def _colors(self, start: int) -> Array:
        return labels.colors(self._palette, self._labels[start:], len(self._label_numbers))

    def _series_note(self, plot: int, start: int) -> bytes:
        names = list(self._label_numbers)
        sliders = len(self._sliders)
        gone = set(self._cleared)
        rows = [
            None
            if at in gone
            else [slot.topic.scope, slot.topic.name, slot.index, names[self._labels[at]], slot.values[:sliders]]
            for at, slot in enumerate(self._slots[start:], start)
        ]
        return note(plot, {"start": start, "series": rows})


def _joined(pieces: Sequence[Points], columns: int) -> Points:
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return Points(np.empty(0, "<u4"), np.empty(0, "<u4"), tuple(np.empty(0, "<f4") for _ in range(columns)))
    return Points(
        np.concatenate([piece.slots for piece in pieces]),
        np.concatenate([piece.counts for piece in pieces]),
        tuple(np.concatenate([piece.columns[number] for piece in pieces]) for number in range(columns)),
    )


def _in_order(points: Points, slots: int) -> Points:
    """The points of every slot together, slot after slot; the order within a slot stays."""
    counts = np.bincount(points.slots, points.counts, slots).astype("<u4")
    if np.array_equal(points.slots, np.arange(slots)):
        return replace(points, counts=counts)
    order = np.argsort(np.repeat(points.slots, points.counts), kind="stable")
    return Points(np.arange(slots, dtype="<u4"), counts, tuple(column[order] for column in points.columns))
