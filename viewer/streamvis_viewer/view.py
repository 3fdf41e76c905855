"""What one plot shows, and what has changed since a tab was last told.

Views are shared by all tabs that show the same points. A view is a base and a log: the base is all points, thinned
where they are too many for a browser; the log is what came after. A tab that has seen the log up to a mark gets the
rest of it as a few frames, encoded once for all tabs at that mark; a tab without a usable mark gets the base as well.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from streamvis import Topic
from streamvis_viewer import lod, packed, patterns
from streamvis_viewer.frames import Array, Frame, Later, Op, encode, note
from streamvis_viewer.looks import Look, answer
from streamvis_viewer.packed import Points, Rows, Snapshot
from streamvis_viewer.schema import KeyPart
from streamvis_viewer.series import Grown, SeriesStore, settle
from streamvis_viewer.slots import Labels, Slots
from streamvis_viewer.strips import Shown, SplitError, Strip, Strips

WHOLE_POINTS = 1 << 21
"""Up to so many points a browser gets all of them; and it never holds many more."""

THINNED_POINTS = WHOLE_POINTS // 2
"""About what a thinned base has, and how many points may follow it until it is made anew."""

_CACHED = 4

_MOST_NEW = 1 << 14
"""So many pieces of news are kept for tabs that do not ask; then a view begins anew."""


@dataclass(frozen=True, slots=True)
class Lens:
    """What a thinned base depends on beside the points."""

    log_x: bool = False
    smooth: float = 0.0
    ample: bool = False
    """Whether a line keeps as many points as there is room for, not what a screen needs: nobody can look closer."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How much of a view a tab has been sent: which base, and how far into the logs."""

    base: int
    at: int
    cleared: int


class _Base:
    """All points of one moment."""

    def __init__(self, mark: Mark, logged: int, layout: dict[str, Any], make: Callable[[int], bytes]) -> None:
        self.mark = mark
        self.logged = logged
        """Points that had been logged."""
        self._layout = layout
        self._make = make
        self._made: dict[int, Later] = {}

    def frames(self, plot: int) -> list[Frame]:
        """The layout, and the points."""
        if plot not in self._made:
            self._made[plot] = Later(lambda: self._make(plot))
        return [note(plot, self._layout), self._made[plot]]


@dataclass(frozen=True, slots=True)
class News:
    """What a tab is told: a base, then, once it knows the names of the series, what came after."""

    base: list[Frame]
    rest: list[Frame]
    mark: Mark | None


class View:
    """The series of one plot. For the event loop's thread only; what it makes `Later` may be made on any."""

    def __init__(self, shown: Shown, store: SeriesStore) -> None:
        self.shown = shown
        self.topics: dict[int, Topic] = {}
        self.left_out: dict[int, str] = {}
        self.ready = False
        self.points = 0
        """Of all series, whatever a browser is sent of them."""
        self.gaps: Counter[str] = Counter()
        """Points that have no place in a plot, by what they lack: `nan`, `inf`."""
        self.thinned = False
        self._store = store
        self._in_scope = patterns.matcher(shown.scopes)
        self._has_name = patterns.matcher(shown.names)
        self._slots = Slots()
        self._strips = Strips(shown, self._slots)
        self._labels: WeakValueDictionary[tuple[KeyPart, ...], Labels] = WeakValueDictionary()
        self._of: Callable[[Mapping[str, Array]], tuple[Array, ...]] = itemgetter(*shown.packed)
        self._new: list[Grown] = []
        self._unseen = 0
        """Points of `_new`."""
        self._stale = False
        """Whether there was more than `_new` tells."""
        self._limits = self._no_limits()
        self._log = _Log()
        self._begun = False  # some tab was sent a base to which the log can be added
        self._numbers = itertools.count()
        self._base_number = 0  # of a base that is not thinned
        self._bases: dict[Lens, _Base] = {}
        self._whole_bases: WeakValueDictionary[int, _Base] = WeakValueDictionary()
        self._cache: OrderedDict[tuple[int, Mark, Mark], list[Frame]] = OrderedDict()

    # ---- what the store tells

    def start(self) -> None:
        """Everything that was asked for has arrived: shows it, oldest topics first."""
        self.ready = True
        self._begin()

    def matching(self) -> Iterable[Topic]:
        """The topics of the store that it asks for."""
        return [topic for topic in self._store.matching(self._in_scope) if self._has_name(topic.name)]

    def take_topic(self, topic: Topic) -> None:
        """A topic is new, or gone."""
        if topic.deleted:
            self.left_out.pop(topic.id, None)
            self._forget(topic.id)
        elif topic.id not in self.topics and self._in_scope(topic.scope) and self._has_name(topic.name):
            lacking = sorted(self.shown.needed - set(topic.columns))
            if lacking:
                self.left_out[topic.id] = f"no column {' or '.join(lacking)}"
            elif topic.id not in self.left_out:
                self.topics[topic.id] = topic
                self.take(map(Grown.whole, self._store.runs(topic.id)))

    def leave_out(self, topic: int, reason: str) -> None:
        """A topic that is shown here is shown no more."""
        if topic in self.topics:
            self._forget(topic)
            self.left_out[topic] = reason

    def take(self, grown: Iterable[Grown], cut: Collection[int] = ()) -> None:
        """There are new points, which are looked at when a tab asks; a topic that was cut lies in other runs now."""
        if not self.ready:
            return
        for each in grown:
            self._new.append(each)
            self._unseen += each.points
        much = self._unseen > WHOLE_POINTS or len(self._new) > _MOST_NEW
        self._stale |= much or any(topic in self.topics for topic in cut)
        if self._stale:
            self._new.clear()

    def take_configs(self) -> None:
        """Hyperparameters have changed: labels may have."""
        for labels in self._labels.values():
            labels.refresh()

    def _begin(self) -> None:
        """Begins anew with what the store has."""
        self._slots.begin()
        self._strips = Strips(self.shown, self._slots)
        self.points, self.gaps, self._limits = 0, Counter(), self._no_limits()
        self._rebase()
        self._new.clear()
        self._unseen, self._stale = 0, False
        runs = [run for topic in sorted(self.topics) for run in self._store.runs(topic)]
        settle(runs)
        self._look_at(map(Grown.whole, runs))

    def _no_limits(self) -> _Limits:
        last = len(self.shown.packed) - 1
        return _Limits(last + 1, (0, 1, last) if self.shown.sliders else (0, 1))

    def _rebase(self) -> None:
        """Every tab gets a base."""
        self._begun = False
        self._base_number = next(self._numbers)
        self._bases = {}
        self._log.clear()

    def _forget(self, topic: int) -> None:
        if self.topics.pop(topic, None) is None:
            return
        if not self.topics:
            self._begin()
            return
        self._drain()
        self._slots.forget(topic)
        self._strips.forget(topic)
        self.points, self.gaps = 0, Counter()
        for strip in self._strips:
            self._measure(self._columns(strip), len(strip.slots))
        if self.thinned and self.points <= THINNED_POINTS:
            self.thinned = False
            self._rebase()

    # ---- new points: from runs to the log

    def _drain(self) -> None:
        """Takes note of all new points."""
        if self._stale:
            self._begin()
        elif self._new:
            new, self._new, self._unseen = self._new, [], 0
            self._look_at(new)

    def _look_at(self, grown: Iterable[Grown]) -> None:
        refused: dict[int, str] = {}
        self._add([rows for each in grown for rows in self._rows(each, refused)])
        for topic, reason in refused.items():
            self.leave_out(topic, reason)

    def _add(self, new: Sequence[Rows]) -> None:
        count = sum(rows.points for rows in new)
        if count > WHOLE_POINTS or not self._begun:
            for rows in new:
                self._measure(rows.columns, len(rows.slots))
            points = None
        else:
            points = packed.whole(new, len(self.shown.packed))
            self._measure([values[np.newaxis] for values in points.columns], 1)
        outgrown = not self.thinned and self.points > WHOLE_POINTS
        self.thinned |= outgrown
        if self._limits.move() or count > WHOLE_POINTS or outgrown:
            self._rebase()
        elif points and points.total:
            self._note(points)

    def _rows(self, grown: Grown, refused: dict[int, str]) -> Iterator[Rows]:
        """The new points of what is shown; notes topics that would become too many series."""
        grown = grown.only(self.topics)
        if not grown.runs:
            return
        if self._strips.draws_runs(self.topics[grown.runs[0].topic]):  # they have the same columns
            slots = self._strips.slots(self.topics, grown.runs)
            yield Rows(slots, tuple(_side_by_side(values, len(slots)) for values in self._packed(grown.columns)))
            return
        for run in grown.runs:
            try:
                yield from map(self._untaken, self._strips.grow(self.topics[run.topic], run))
            except SplitError as error:
                refused[run.topic] = str(error)

    def _untaken(self, strip: Strip) -> Rows:
        begin, strip.taken = strip.taken, strip.run.length
        return Rows(strip.slots, tuple(values[:, begin:] for values in self._columns(strip)))

    def _columns(self, strip: Strip) -> tuple[Array, ...]:
        columns = {name: values[np.newaxis] for name, values in strip.run.columns().items()}
        return tuple(values[0] for values in self._packed(columns))

    def _packed(self, columns: Mapping[str, Array]) -> tuple[Array, ...]:
        """Those that are sent, of columns of shape (runs, count or 1, points)."""
        try:
            return self._of(columns)
        except KeyError:  # a topic without the column of a slider
            lacking = np.broadcast_to(np.nan, (1, 1, next(iter(columns.values())).shape[2]))
            return tuple(columns.get(name, lacking) for name in self.shown.packed)

    def _measure(self, columns: Sequence[Array], rows: int) -> None:
        """Takes note of points: arrays of shape (rows or 1, n)."""
        x, y = columns[:2]
        self.points += rows * x.shape[1]
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            nan = np.isnan(x) | np.isnan(y)
            infinite = (np.isinf(x) | np.isinf(y)) & ~nan
            each = rows // len(nan)
            self.gaps.update({"nan": int(nan.sum()) * each, "inf": int(infinite.sum()) * each})
        self._limits.widen(columns)

    def _note(self, points: Points) -> None:
        columns = packed.offsets(points.columns, self._limits.origin)
        self._log.append(Points(points.slots, points.counts, columns))
        for lens, base in list(self._bases.items()):
            if self._log.total - base.logged > THINNED_POINTS:
                del self._bases[lens]

    # ---- what tabs are told

    @property
    def series(self) -> int:
        """How many series are shown."""
        return self._slots.live

    @property
    def reasons(self) -> dict[str, int]:
        """Why topics that were asked for are left out, and how many."""
        return dict(Counter(self.left_out.values()))

    def labels(self, key: tuple[KeyPart, ...]) -> Labels:
        """The names of the series by a key function."""
        made = self._labels.get(key)
        if made is None:
            made = self._labels[key] = Labels(key, self._slots, self._store.configs)
        return made

    def news(self, plot: int, since: Mark | None, lens: Lens) -> News:
        """What brings a tab from a mark to the present; all lists are empty when it is there."""
        self._drain()
        if not self.ready:
            return News([], [], None)
        base = None
        if since is None or not self._reaches(since, lens):
            base = self._base(lens)
            since = base.mark
        now = Mark(since.base, self._log.end, len(self._slots.cleared))
        return News(base.frames(plot) if base else [], self._since(plot, since, now), now)

    def _reaches(self, mark: Mark, lens: Lens) -> bool:
        """Whether the log goes on from there."""
        base = self._bases.get(lens)
        number = (base.mark.base if base else None) if self.thinned else self._base_number
        return mark.base == number and mark.at >= self._log.start

    def _since(self, plot: int, since: Mark, now: Mark) -> list[Frame]:
        if since == now:
            return []
        key = (plot, since, now)
        if key not in self._cache:
            self._cache[key] = list(self._logged(plot, since, now))
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return self._cache[key]

    def _logged(self, plot: int, since: Mark, now: Mark) -> Iterator[bytes]:
        if now.at > since.at:
            points = packed.joined(self._log.since(since.at), len(self.shown.packed))
            yield encode(Op.APPEND, plot, points.slots, points.counts, *points.columns)
        if now.cleared > since.cleared:
            yield encode(Op.CLEAR, plot, np.array(self._slots.cleared[since.cleared :], "<u4"))
        if self.thinned:
            yield note(plot, {"points": self.points})

    def _base(self, lens: Lens) -> _Base:
        base = self._bases.get(lens) if self.thinned else self._whole_bases.get(self._base_number)
        if base is None or base.mark.at < self._log.start:
            number = next(self._numbers) if self.thinned else self._base_number
            self._begun = True
            mark = Mark(number, self._log.end, len(self._slots.cleared))
            budget = self._budget(lens.ample) if self.thinned else 0
            layout = self._layout(lens, budget)
            base = _Base(mark, self._log.total, layout, self._maker(lens, budget))
            if self.thinned:
                self._bases[lens] = base
            else:
                self._whole_bases[number] = base  # as long as some tab waits for it
        return base

    def _layout(self, lens: Lens, budget: int) -> dict[str, Any]:
        return {
            "layout": {
                "further": len(self.shown.columns) - 2,
                "sliders": self.shown.sliders,
                "smoothed": lens.smooth if budget else 0,
                "budget": budget,
                "thins": self.shown.thins,
            },
            "points": self.points,
        }

    def _budget(self, ample: bool) -> int:
        each = max(THINNED_POINTS // max(self.series, 1), packed.LEAST_POINTS)
        return each if ample else min(each, packed.MOST_POINTS)

    def _maker(self, lens: Lens, budget: int) -> Callable[[int], bytes]:
        """Makes the frame of a base: of the points of now, whenever it is called."""
        there = self._snapshot(self._strips, lens)
        every = -(-self.points // THINNED_POINTS)
        extremes, by_last = self.shown.thins == "extremes", bool(self.shown.sliders)

        def make(plot: int) -> bytes:
            if not budget:
                pieces = [packed.whole(there.rows, len(there.origin))]
            elif extremes:
                pieces = packed.lines(there.rows, lod.Window(lod.Span(log=lens.log_x), budget, budget), there.smooth)
            else:
                pieces = packed.sampled(there.rows, every, by_last)
            points = packed.joined(pieces, len(there.origin) + bool(there.smooth))
            return encode(Op.REPLACE, plot, *packed.arrays(points, there, there.origin))

        return make

    def detail(self, plot: int, look: Look, lens: Lens) -> Later:
        """What a look asks for: of the points of now, whenever it is made."""
        wanted = None if look.slots is None else frozenset(look.slots)
        strips = (strip for strip in self._strips if wanted is None or not wanted.isdisjoint(strip.slots.tolist()))
        return Later(partial(answer, plot, look, self.shown, self._snapshot(strips, lens)))

    def _snapshot(self, strips: Iterable[Strip], lens: Lens) -> Snapshot:
        x = self.shown.columns[0]
        rows = tuple(Rows(strip.slots, self._columns(strip), strip.run.column(x).ascends) for strip in strips)
        smooth = lens.smooth if self.thinned else 0.0
        return Snapshot(rows, len(self._slots.all), tuple(self._limits.origin), smooth)


def _side_by_side(values: Array, rows: int) -> Array:
    """Shape (runs, count or 1, points) as (rows or 1, points)."""
    runs, count, points = values.shape
    if runs > 1 and runs * count < rows:
        values = np.broadcast_to(values, (runs, rows // runs, points))
    return values.reshape(-1, points)


class _Limits:
    """The extent of all points, and the origin of what is sent, of each column."""

    def __init__(self, columns: int, moving: Sequence[int]) -> None:
        self._moving = moving
        self._low = dict.fromkeys(moving, np.inf)
        self._high = dict.fromkeys(moving, -np.inf)
        self.origin = [0.0] * columns

    def widen(self, columns: Sequence[Array]) -> None:
        """Takes in points."""
        for number in self._moving:
            values = columns[number]
            finite = values[np.isfinite(values)]
            if finite.size:
                self._low[number] = min(self._low[number], float(finite.min()))
                self._high[number] = max(self._high[number], float(finite.max()))

    def move(self) -> bool:
        """Whether another origin was due; rare, because the rule has a wide middle."""
        due = list(self.origin)
        for number in self._moving:
            due[number] = packed.origin_of(self._low[number], self._high[number], due[number])
        moved, self.origin = due != self.origin, due
        return moved


class _Log:
    """New points since a base, in the order in which they came; the oldest ones go."""

    def __init__(self) -> None:
        self._entries: deque[Points] = deque()
        self._points = 0
        self.start = 0
        self.total = 0
        """Points that were ever logged."""

    @property
    def end(self) -> int:
        """The number of the next entry."""
        return self.start + len(self._entries)

    def append(self, points: Points) -> None:
        """Logs points."""
        self._entries.append(points)
        self._points += points.total
        self.total += points.total
        while self._points > WHOLE_POINTS:
            self._points -= self._entries.popleft().total
            self.start += 1

    def since(self, number: int) -> list[Points]:
        """The entries from this number on."""
        return list(itertools.islice(self._entries, number - self.start, None))

    def clear(self) -> None:
        """Forgets all entries, not their numbers."""
        self.start, self._points = self.end, 0
        self._entries.clear()
