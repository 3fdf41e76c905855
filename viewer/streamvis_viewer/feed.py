"""The process's one subscription, on a thread of its own, which comes back by itself when the server was away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from streamvis import Blocks, Query, StreamvisError, Subscription, Topic, Update
from streamvis.errors import ConflictError

TopicName: TypeAlias = tuple[str, str]

CATALOG = 1
FIRST_RETRY = 0.1
LAST_RETRY = 5.0


class Listener(Protocol):
    """Is told on the feed's thread, in order."""

    def updated(self, updates: list[Update]) -> None:
        """A consistent page."""

    def connected(self) -> None:
        """The catalog is complete: what is known is what the server has."""

    def away(self, reason: str) -> None:
        """The server does not answer; what is known stays."""


@dataclass(slots=True)
class _Interest:
    query: Query
    live: bool = False


class Feed:
    """Always carries the catalog, and the points of the topics that were added."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Subscription]], listener: Listener) -> None:
        self._connect = connect
        self._listener = listener
        self._interests: dict[int, _Interest] = {}
        self._next = CATALOG + 1
        self._known: dict[int, Topic] = {}
        self._live: set[TopicName] = set()
        self._live_topics: dict[int, bool] = {}  # what `_live` says of topics that were asked about
        self._open: Subscription | None = None
        self._ready = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamvis-feed", daemon=True)

    def start(self) -> None:
        """Begins; the listener hears of everything else."""
        self._thread.start()

    def add(self, topics: Iterable[TopicName]) -> int:
        """Wants the points of these topics, which no other interest has; returns the interest's number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            interest = self._interests[number] = _Interest(Query(topics=tuple(sorted(topics))))
            if self._open and self._ready:
                self._open.add(number, interest.query)
        return number

    def drop(self, number: int) -> None:
        """Wants these topics no more."""
        with self._lock:
            self._interests.pop(number, None)
            self._count_live()
            if self._open and self._ready:
                self._open.drop(number)

    def close(self) -> None:
        """Ends the stream and the thread."""
        self._closed.set()
        with self._lock:
            if self._open:
                self._open.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        delay = FIRST_RETRY
        while not self._closed.is_set():
            try:
                with self._connect() as subscription:
                    self._attach(subscription)
                    self._follow(subscription)
            except ConflictError:  # the server's data was replaced under our cursors
                self._start_over()
            except StreamvisError as error:
                self._listener.away(str(error))
            delay = FIRST_RETRY if self._ready else min(2 * delay, LAST_RETRY)
            self._detach()
            self._closed.wait(delay)

    def _attach(self, subscription: Subscription) -> None:
        subscription.add(CATALOG, Query(catalog_only=True))
        with self._lock:
            self._open = subscription
        if self._closed.is_set():
            subscription.close()

    def _detach(self) -> None:
        with self._lock:
            self._open, self._ready = None, False
            for interest in self._interests.values():
                interest.live = False
            self._count_live()

    def _follow(self, subscription: Subscription) -> None:
        catalog: dict[int, Topic] = {}
        page: list[Update] = []  # applied whole, so that what is known always stands at a cursor
        for received in subscription:
            if self._ready:
                self._note(received.topics)
            else:
                catalog.update((topic.id, topic) for topic in received.topics if not topic.deleted)
            update = self._wanted(received)
            page.append(update)
            if update.cursor and update.interest == CATALOG:
                self._listener.updated([self._forgotten(catalog), *page])
                self._note(catalog.values())
                self._resume(subscription)
                self._listener.connected()
                page = []
            elif update.cursor:
                self._advance(subscription, update.interest)
                self._listener.updated(page)
                page = []

    def _wanted(self, update: Update) -> Update:
        """Without points that were under way when their interest was dropped: a later first page brings them again."""
        if not update.blocks:
            return update
        blocks = Blocks.of(update.blocks)
        with self._lock:
            if update.interest:
                wanted = blocks if update.interest in self._interests else Blocks()
            else:
                wanted = blocks.only(self._is_live)
        return update if len(wanted) == len(blocks) else replace(update, blocks=wanted)

    def _is_live(self, topic: int) -> bool:
        if topic not in self._live_topics:
            known = self._known.get(topic)
            self._live_topics[topic] = known is not None and (known.scope, known.name) in self._live
        return self._live_topics[topic]

    def _count_live(self) -> None:
        self._live = {name for interest in self._interests.values() if interest.live for name in interest.query.topics}
        self._live_topics.clear()

    def _note(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            self._live_topics.pop(topic.id, None)
            if topic.deleted:
                self._known.pop(topic.id, None)
            else:
                self._known[topic.id] = topic

    def _forgotten(self, catalog: dict[int, Topic]) -> Update:
        """Deletes what a complete catalog no longer has."""
        gone = [topic for topic in self._known.values() if catalog.get(topic.id) != topic]
        self._note(replace(topic, deleted=True) for topic in gone)
        return Update(tuple(replace(topic, deleted=True) for topic in gone), (), (), b"", 0)

    def _resume(self, subscription: Subscription) -> None:
        with self._lock:
            self._ready = True
            for number, interest in self._interests.items():
                subscription.add(number, interest.query)

    def _advance(self, subscription: Subscription, first_page: int) -> None:
        with self._lock:
            for number, interest in self._interests.items():
                interest.live |= number == first_page
                if interest.live:
                    interest.query = replace(interest.query, cursor=subscription.cursor(number))
            if first_page:
                self._count_live()

    def _start_over(self) -> None:
        self._listener.updated([self._forgotten({})])
        with self._lock:
            for interest in self._interests.values():
                interest.query = replace(interest.query, cursor=b"")
