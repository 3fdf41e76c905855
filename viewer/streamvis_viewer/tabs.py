"""All views and tabs of the process: asks the feed for what they show, and spreads what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamvis import Blocks, Topic, Update
from streamvis_viewer import frames
from streamvis_viewer.feed import CATALOG, Feed, TopicName
from streamvis_viewer.frames import Frame
from streamvis_viewer.layout import Cell, Page
from streamvis_viewer.looks import Look
from streamvis_viewer.notes import page_note
from streamvis_viewer.query import Problem, UrlError
from streamvis_viewer.schema import Plot
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.slots import Labels, Named
from streamvis_viewer.strips import Shown
from streamvis_viewer.view import Lens, Mark, View

STORE_BYTES = 2 << 30
"""What the points of all topics may take."""


Describe: TypeAlias = Callable[[Page, Mapping[str, Plot]], dict[str, Any]]
"""What else a page is told of what it shows."""


@dataclass(slots=True, eq=False)
class _Shared:
    view: View
    tabs: int = 0


class Views:
    """The views that tabs show, each once. For the event loop's thread only."""

    def __init__(
        self, store: SeriesStore, feed: Feed, store_bytes: int = STORE_BYTES, describe: Describe = lambda *_: {}
    ) -> None:
        self.describe = describe
        self._store = store
        self._feed = feed
        self._store_bytes = store_bytes
        self._shared: dict[Shown, _Shared] = {}
        self._interests: dict[int, set[TopicName]] = {}  # those that were shown longest ago first
        self._covered: dict[TopicName, int] = {}
        self._loaded: set[int] = set()
        self._too_large: set[int] = set()  # topics whose points are not kept
        self._tabs: set[asyncio.Event] = set()
        self._complete = False
        self._unsure = False
        self.server: dict[str, str] = {"state": "connecting"}

    # ---- what tabs ask

    def open(self, changed: asyncio.Event) -> None:
        """A tab has opened: `changed` is set when any view may have news, until `close`."""
        self._tabs.add(changed)

    def close(self, changed: asyncio.Event) -> None:
        """A tab has closed."""
        self._tabs.discard(changed)

    def show(self, wanted: Iterable[Shown]) -> list[View]:
        """The views that a tab shows, until it releases them."""
        views = [self._share(shown) for shown in wanted]
        self._unsure = True
        self._cover()
        return views

    def release(self, views: Iterable[View]) -> None:
        """A tab shows these no more."""
        for view in views:
            shared = self._shared[view.shown]
            shared.tabs -= 1
            if not shared.tabs:
                del self._shared[view.shown]
            for number in self._needs(view):
                self._interests[number] = self._interests.pop(number)
        self._evict()

    def _share(self, shown: Shown) -> View:
        if shown not in self._shared:
            view = View(shown, self._store)
            for topic in view.matching():
                view.take_topic(topic)
                self._leave_out_if_too_large(topic.id, [view])
            self._shared[shown] = _Shared(view)
        self._shared[shown].tabs += 1
        return self._shared[shown].view

    # ---- what the feed tells

    def apply(self, updates: Sequence[Update]) -> None:
        """Takes in a consistent page."""
        self._store.settle()
        for update in updates:
            self._take_in(update)
            if update.interest == CATALOG:
                self._complete = True
            elif update.interest:
                self._loaded.add(update.interest)
            self._unsure |= bool(update.topics or update.interest)
        self._evict()
        self._cover()
        self.wake()

    def note_server(self, state: str, reason: str = "") -> None:
        """The feed's connection, which every page shows."""
        self.server = {"state": state, "reason": reason}
        self.wake()

    @property
    def _all(self) -> list[View]:
        return [shared.view for shared in self._shared.values()]

    def _take_in(self, update: Update) -> None:
        views = self._all
        self._store.note(update)
        self._too_large.difference_update(topic.id for topic in update.topics if topic.deleted)
        for view in views:
            for topic in update.topics:
                view.take_topic(topic)
            if update.configs:
                view.take_configs()
        blocks = Blocks.of(update.blocks)
        if self._too_large:
            blocks = blocks.only(lambda topic: topic not in self._too_large)
        grown, cut = self._store.add(blocks)
        for view in views:
            view.take(grown, cut)

    def wake(self) -> None:
        """There may be news for every page."""
        for changed in self._tabs:
            changed.set()

    # ---- what is asked of the feed

    def _cover(self) -> None:
        """Asks for topics that are shown and not yet asked for; starts views whose topics have all arrived."""
        if not self._unsure:
            return
        self._unsure = False
        missing = {_name(topic) for view in self._all for topic in view.topics.values()} - self._covered.keys()
        if missing:
            number = self._feed.add(missing)
            self._interests[number] = missing
            self._covered.update(dict.fromkeys(missing, number))
        for view in self._all:
            if not view.ready and self._complete and self._needs(view) <= self._loaded:
                view.start()
                self.wake()

    def _needs(self, view: View) -> set[int]:
        return {self._covered[_name(topic)] for topic in view.topics.values() if _name(topic) in self._covered}

    def _evict(self) -> None:
        """While there are too many points, forgets topics: those shown longest ago, then the largest ones."""
        if self._store.nbytes <= self._store_bytes and not self._too_large:
            return
        shown = {number for view in self._all for number in self._needs(view)}
        for number in [number for number in self._interests if number not in shown]:
            if self._store.nbytes > self._store_bytes or self._lacks_points(number):
                self._drop(number)
        while self._store.nbytes > self._store_bytes:
            largest = max(self._store.held, key=self._store.size)
            self._too_large.add(largest)
            self._store.forget(largest)
            self._leave_out_if_too_large(largest, self._all)

    def _leave_out_if_too_large(self, topic: int, views: Iterable[View]) -> None:
        if topic in self._too_large:
            for view in views:
                view.leave_out(
                    topic, f"too many points: the viewer keeps {self._store_bytes >> 20} MiB; show fewer runs"
                )

    def _lacks_points(self, number: int) -> bool:
        known = self._store.topics
        return any(_name(known[topic]) in self._interests[number] for topic in self._too_large if topic in known)

    def _drop(self, number: int) -> None:
        self._feed.drop(number)
        names = self._interests.pop(number)
        self._loaded.discard(number)
        for name in names:
            del self._covered[name]
        for topic in [topic for topic in self._store.topics.values() if _name(topic) in names]:
            self._store.forget(topic.id)
            self._too_large.discard(topic.id)


def _name(topic: Topic) -> TopicName:
    return topic.scope, topic.name


@dataclass(slots=True, eq=False)
class _Shown:
    """What a tab has been sent of one plot."""

    view: View
    labels: Labels
    lens: Lens
    mark: Mark | None = None
    named: Named | None = None
    look: Look | None = None
    answered: int = 0
    """How many points there were when the look was answered; 0 when it was not."""

    def news(self, plot: int) -> list[Frame]:
        """What has changed."""
        news = self.view.news(plot, self.mark, self.lens)
        self.mark = news.mark
        if not news.mark:
            return []
        if news.base:
            self.named, self.answered = None, 0
        names = self.labels.news(plot, self.named)
        self.named = self.labels.mark()
        return [*news.base, *names, *news.rest, *self._detail(plot)]

    def _detail(self, plot: int) -> list[Frame]:
        if not self.look or self.answered >= self.view.points / _STALE:
            return []
        if self.answered and self.view.shown.thins != "density":
            return []  # the page adds new points to a detail by itself
        self.answered = self.view.points
        return [self.view.detail(plot, self.look, self.lens)]


_STALE = 1.02
"""By how much there must be more points for an image of them to be made anew."""


class Tab:
    """What one browser tab has been sent. It wakes `changed` when there may be more.

    A tab that `looks` can ask for the points of a window; one that does not gets more of them at once.
    """

    def __init__(self, views: Views, page: Page, plots: Mapping[str, Plot], looks: bool = True) -> None:
        self.changed = asyncio.Event()
        self._views = views
        self._looks = looks
        self._views.open(self.changed)
        self._page = page, plots
        self._shown = self._show(page, plots)
        self._status: dict[str, Any] = {}
        self._refused: Mapping[str, Any] | None = None

    def frames(self) -> list[Frame]:
        """What has changed since the last call."""
        news = [frame for number, shown in enumerate(self._shown) for frame in shown.news(number)]
        status = page_note(self._views.server, [shown.view for shown in self._shown])
        status |= self._views.describe(*self._page)
        status["refused"] = self._refused
        if status != self._status:
            self._status = status
            news.insert(0, frames.note(frames.PAGE, status))
        return [*news, frames.encode(frames.Op.TICK, frames.PAGE)] if news else []

    @property
    def ready(self) -> bool:
        """Whether everything that is shown has arrived."""
        return all(shown.view.ready for shown in self._shown)

    @property
    def thinned(self) -> dict[str, int]:
        """The plots of which it shows a part, and how many points they have."""
        cells = zip(self._page[0].cells, self._shown, strict=True)
        return {cell.plot: shown.view.points for cell, shown in cells if shown.view.thinned}

    def change(self, page: Page, plots: Mapping[str, Plot]) -> None:
        """Shows what another page asks for; what both show is not sent again. Raises UrlError for another layout."""
        if len(page.cells) != len(self._shown):
            raise UrlError([Problem("rows, cols", "another layout", "the one that this page has")], ())
        self._page = page, plots
        self._refused = None
        before, self._shown = self._shown, self._show(page, plots)
        self._views.release(shown.view for shown in before)
        for shown, old in zip(self._shown, before, strict=True):
            if shown.view is old.view:
                shown.mark, shown.look, shown.answered = old.mark, old.look, old.answered
                shown.named = old.named if shown.labels is old.labels else None
        self.changed.set()

    def refuse(self, reason: Mapping[str, Any]) -> None:
        """Says why it goes on to show what it shows, until it is changed."""
        self._refused = reason
        self.changed.set()

    def look(self, plot: int, look: Look) -> None:
        """The page asks for the points of a window."""
        if 0 <= plot < len(self._shown):
            self._shown[plot].look, self._shown[plot].answered = look, 0
            self.changed.set()

    def close(self) -> None:
        """Shows nothing any more."""
        self._views.close(self.changed)
        self._views.release(shown.view for shown in self._shown)

    def _show(self, page: Page, plots: Mapping[str, Plot]) -> list[_Shown]:
        wanted = [Shown.of(cell, page, plots[cell.plot]) for cell in page.cells]
        views = self._views.show(wanted)
        return [
            _Shown(
                view,
                view.labels(cell.color or plots[cell.plot].color.key_fun),
                self._lens(cell, page, plots[cell.plot]),
            )
            for view, cell in zip(views, page.cells, strict=True)
        ]

    def _lens(self, cell: Cell, page: Page, plot: Plot) -> Lens:
        if plot.glyph.thins != "extremes":
            return Lens()
        return Lens(cell.axes in {"xlog", "xylog"}, page.smooth, ample=not self._looks and plot.glyph.is_quick)
