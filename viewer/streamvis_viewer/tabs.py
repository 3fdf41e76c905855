"""All views and tabs of the process: asks the feed for what they show, and spreads what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamvis import Topic, Update
from streamvis_viewer import frames
from streamvis_viewer.feed import CATALOG, Feed, TopicName
from streamvis_viewer.layout import Cell, Page
from streamvis_viewer.schema import Plot
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.view import Mark, View

STORE_BYTES = 2 << 30
"""What the points of topics that no tab shows may take beside those that are shown."""


@dataclass(slots=True, eq=False)
class _Shared:
    view: View
    tabs: int = 0


class Views:
    """The views that tabs show, each once. For the event loop's thread only."""

    def __init__(self, store: SeriesStore, feed: Feed, store_bytes: int = STORE_BYTES) -> None:
        self._store = store
        self._feed = feed
        self._store_bytes = store_bytes
        self._shared: dict[str, _Shared] = {}
        self._interests: dict[int, set[TopicName]] = {}
        self._covered: dict[TopicName, int] = {}
        self._loaded: set[int] = set()
        self._tabs: set[asyncio.Event] = set()
        self._complete = False
        self._unsure = False
        self.server: dict[str, str] = {"state": "connecting"}

    # ---- what tabs ask

    def show(self, page: Page, plots: Mapping[str, Plot], changed: asyncio.Event) -> list[View]:
        """The views of a page's cells; `changed` is set when any may have news, until `hide`."""
        self._tabs.add(changed)
        views = [self._share(cell, page, plots[cell.plot]).view for cell in page.cells]
        self._unsure = True
        self._cover()
        return views

    def hide(self, views: Iterable[View], changed: asyncio.Event) -> None:
        """A tab has closed."""
        self._tabs.discard(changed)
        self.release(views)

    def release(self, views: Iterable[View]) -> None:
        """A tab shows these no more."""
        for view in views:
            key, shared = next((key, shared) for key, shared in self._shared.items() if shared.view is view)
            shared.tabs -= 1
            if not shared.tabs:
                del self._shared[key]
        self._evict()

    def _share(self, cell: Cell, page: Page, plot: Plot) -> _Shared:
        key = repr((plot, cell.names, cell.axes, cell.color, page.scopes, page.ignore))
        if key not in self._shared:
            self._shared[key] = _Shared(View(cell, page, plot, self._store))
            for topic in self._store.topics.values():
                self._shared[key].view.take_topic(topic)
        self._shared[key].tabs += 1
        return self._shared[key]

    # ---- what the feed tells

    def apply(self, updates: Sequence[Update]) -> None:
        """Takes in a consistent page."""
        for update in updates:
            self._take_in(update)
            if update.interest == CATALOG:
                self._complete = True
            elif update.interest:
                self._loaded.add(update.interest)
            self._unsure |= bool(update.topics or update.interest)
        self._cover()
        self._wake()

    def note_server(self, state: str, reason: str = "") -> None:
        """The feed's connection, which every page shows."""
        self.server = {"state": state, "reason": reason}
        self._wake()

    @property
    def _all(self) -> list[View]:
        return [shared.view for shared in self._shared.values()]

    def _take_in(self, update: Update) -> None:
        """Views follow the store step by step, because a view that begins anew reads all that the store has."""
        views = self._all
        self._store.note(update)
        for view in views:
            for topic in update.topics:
                view.take_topic(topic)
            if update.configs:
                view.take_configs()
        for block in update.blocks:
            self._store.add(block)
            for view in views:
                view.take_block(block)

    def _wake(self) -> None:
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
                self._wake()

    def _needs(self, view: View) -> set[int]:
        return {self._covered[_name(topic)] for topic in view.topics.values()}

    def _evict(self) -> None:
        """Forgets topics that no tab shows, those asked for longest ago first, while there are too many points."""
        shown = {number for view in self._all for number in self._needs(view)}
        for number in [number for number in self._interests if number not in shown]:
            if self._store.nbytes <= self._store_bytes:
                return
            self._feed.drop(number)
            names = self._interests.pop(number)
            self._loaded.discard(number)
            for name in names:
                del self._covered[name]
            for topic in [topic for topic in self._store.topics.values() if _name(topic) in names]:
                self._store.forget(topic.id)


def _name(topic: Topic) -> TopicName:
    return topic.scope, topic.name


class Tab:
    """What one browser tab has been sent."""

    def __init__(self, views: Views, page: Page, plots: Mapping[str, Plot]) -> None:
        self.changed = asyncio.Event()
        self._views = views
        self._shown = views.show(page, plots, self.changed)
        self._marks: list[Mark | None] = [None] * len(self._shown)
        self._status: dict[str, Any] = {}

    def frames(self) -> list[bytes]:
        """What has changed since the last call."""
        news: list[bytes] = []
        for number, view in enumerate(self._shown):
            news += view.frames(number, self._marks[number])
            if view.ready:
                self._marks[number] = view.mark
        status = self._current()
        if status != self._status:
            self._status = status
            news.insert(0, frames.note(frames.PAGE, status))
        return [*news, frames.encode(frames.Op.TICK, frames.PAGE)] if news else []

    def change(self, page: Page, plots: Mapping[str, Plot]) -> None:
        """Shows what another page asks for; what both show is not sent again. The page has as many plots as before."""
        before, self._shown = self._shown, self._views.show(page, plots, self.changed)
        self._views.release(before)
        pairs = zip(self._shown, before, self._marks, strict=True)
        self._marks = [mark if view is old else None for view, old, mark in pairs]
        self.changed.set()

    def close(self) -> None:
        """Shows nothing any more."""
        self._views.hide(self._shown, self.changed)

    def _current(self) -> dict[str, Any]:
        plots = [
            {"loading": not view.ready, "topics": len(view.topics), "left_out": view.reasons} for view in self._shown
        ]
        return {"server": self._views.server, "plots": plots}
