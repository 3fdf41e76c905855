"""One subscriber: its views, caught up from the store one after the other, then fed from the live commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import aclosing
from dataclasses import replace
from itertools import takewhile
from typing import Any, TypeVar

from streamvis.errors import UsageError
from streamvis.records import Change, pack_cursor
from streamvis.server.broadcast import Broadcast
from streamvis.server.views import MESSAGE_BYTES, View, live
from streamvis.storage.base import Commit, Store

MAX_INTERESTS = 4096
READ_THREADS = 4

_T = TypeVar("_T")


class Readers:
    """Threads that read the store, so that the event loop never waits for a disk."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(READ_THREADS, "streamvis-read")
        self._running: set[Future[Any]] = set()

    def call(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """What the function returns."""
        future = self._threads.submit(function, *arguments)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return asyncio.wrap_future(future, loop=self._loop)

    async def ahead(self, items: Iterator[_T]) -> AsyncGenerator[_T, None]:
        """The items of a blocking iterator, each read while the one before is being sent."""
        coming = self.call(next, items, None)
        try:
            while (item := await coming) is not None:
                coming = self.call(next, items, None)
                yield item
        finally:
            # What is being read is not waited for, as nobody will get it.
            if not coming.cancel() and not coming.cancelled():
                coming.exception()

    def close(self, seconds: float) -> None:
        """Returns when no read is running, or after so many seconds; what runs on ends when the store is closed."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        wait(tuple(self._running), seconds)


class Subscription:
    """The interests of one stream. Keeps positions only: what is not sent yet stays in the ring or in the store."""

    def __init__(self, store: Store, broadcast: Broadcast, readers: Readers, wake: asyncio.Event) -> None:
        self._store = store
        self._broadcast = broadcast
        self._readers = readers
        self._wake = wake
        self._views: dict[int, View] = {}
        self._position = broadcast.end

    @property
    def interests(self) -> int:
        """How many there are."""
        return len(self._views)

    @property
    def lag(self) -> float:
        """How many seconds ago the oldest commit that was not sent yet was made; 0.0 if all were."""
        return self._broadcast.age(self._position)

    def add(self, number: int, view: View) -> None:
        """Adds an interest, or starts it over. Raises UsageError for too many."""
        self.drop(number)
        if len(self._views) >= MAX_INTERESTS:
            raise UsageError(f"one subscription holds at most {MAX_INTERESTS} interests; drop some first")
        self._views[number] = view
        self._wake.set()

    def drop(self, number: int) -> None:
        """Forgets an interest, if there is one of that number."""
        self._views.pop(number, None)

    async def changes(self, check: Callable[[], None]) -> AsyncGenerator[Change, None]:
        """Everything for the interests, which come and go meanwhile. `check` raises when the stream is to end."""
        while True:
            self._wake.clear()
            check()
            new = next((number for number, view in self._views.items() if not view.started), None)
            commits = self._unread()
            if new is not None:
                source = self._first_page(new)
            elif commits is None:
                source = self._catch_up()
            elif commits:
                for change in live(tuple(self._views.values()), commits, self._store.timeline):
                    yield change
                self._position += len(commits)
                continue
            else:
                await self._wake.wait()
                continue
            async with aclosing(source):
                async for change in source:
                    yield change
                    check()

    def _unread(self) -> list[Commit] | None:
        """Live commits; None if only the store has what is next: out of the ring, or a topic that was restored."""
        commits = self._broadcast.read(self._position, MESSAGE_BYTES)
        if not commits:
            return commits
        views = self._views.values()
        return list(takewhile(lambda commit: not any(v.is_reloaded_by(commit) for v in views), commits)) or None

    async def _first_page(self, number: int) -> AsyncGenerator[Change, None]:
        view = self._views[number]
        async with aclosing(self._missed(number, view)) as changes:
            async for change in changes:
                yield replace(change, interest=number)
        if self._views.get(number) is view:
            yield Change(cursor=self._cursor(view.seq), interest=number)

    async def _catch_up(self) -> AsyncGenerator[Change, None]:
        """What the ring has not. The position is taken first: a commit may then come twice, and views know that."""
        self._position = self._broadcast.end
        for number, view in tuple(self._views.items()):
            async with aclosing(self._missed(number, view)) as changes:
                async for change in changes:
                    yield change
        started = [view.seq for view in self._views.values() if view.started]
        if started:
            yield Change(cursor=self._cursor(min(started)))

    async def _missed(self, number: int, view: View) -> AsyncGenerator[Change, None]:
        """What the store has for a view, unless it is dropped or started over meanwhile."""
        async with aclosing(self._readers.ahead(view.catch_up(self._store))) as changes:
            async for change in changes:
                if self._views.get(number) is not view:
                    return
                yield change

    def _cursor(self, seq: int) -> bytes:
        return pack_cursor({self._store.timeline: seq})
