"""What one viewer process knows: the schema, what exists, and the points that its pages show, kept up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from streamvis import Client, Subscription, Update
from streamvis_viewer.addresses import check_grpc_uri
from streamvis_viewer.catalog import Catalog
from streamvis_viewer.feed import Feed
from streamvis_viewer.inference import infer
from streamvis_viewer.layout import Page, parse
from streamvis_viewer.notes import Columns, differ
from streamvis_viewer.schema import Plot, Schema
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.tabs import Views
from streamvis_viewer.watch import SchemaFile

_SETTLE_SECONDS = 2.0
_WATCH_SECONDS = 0.5


class Live:
    """Made and used on the event loop's thread; the feed calls it on its own."""

    def __init__(self, grpc_uri: str, file: SchemaFile | None) -> None:
        """Begins with `start`. Raises UsageError."""
        check_grpc_uri(grpc_uri)
        self.grpc_uri = grpc_uri
        self.catalog = Catalog()
        self.store = SeriesStore()
        self._feed = Feed(lambda: _subscription(grpc_uri), self)
        self.views = Views(self.store, self._feed, describe=self._describe)
        self._file = file
        self._columns = Columns(self.catalog)
        self._inferred = -1, Schema()
        self._heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follows the data server and the schema's file from now on."""
        self._feed.start()
        self._watching = self._loop.create_task(self._watch())

    async def settle(self) -> None:
        """Returns when it is known what the data server holds, or that it is away, or after a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), _SETTLE_SECONDS)

    async def close(self) -> None:
        """Follows nothing any more."""
        if self._watching:
            self._watching.cancel()
        await asyncio.to_thread(self._feed.close)  # whose thread may be waiting for this loop

    # ---- the feed's thread

    def updated(self, updates: list[Update]) -> None:
        """Waits until the page is taken in, so that a busy viewer slows the stream down instead of piling up."""
        self._on_loop(lambda: self._take_in(updates))

    def connected(self) -> None:
        """Pages show that points are live."""
        self._on_loop(lambda: self._note_server("live"))

    def away(self, reason: str) -> None:
        """Pages show that the server is away."""
        self._on_loop(lambda: self._note_server("away", reason))

    def _on_loop(self, call: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                call()
            finally:
                done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result()

    def _take_in(self, updates: list[Update]) -> None:
        self.catalog.take(updates)
        self.views.apply(updates)

    def _note_server(self, state: str, reason: str = "") -> None:
        self.views.note_server(state, reason)
        self._heard.set()

    # ---- the schema

    async def _watch(self) -> None:
        while self._file:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._file.refresh():
                self.views.wake()

    def schema(self) -> Schema:
        """The schema's plots, or what the data suggests."""
        if self._file:
            return self._file.schema
        version, inferred = self._inferred
        if version != self.catalog.shapes_version:
            version, inferred = self._inferred = self.catalog.shapes_version, infer(self.catalog.examples)
        return inferred

    def read_query(self, query: Mapping[str, list[str]]) -> tuple[Page, Mapping[str, Plot]]:
        """The page of a URL's query, with the schema's plots. Raises UrlError."""
        schema = self.schema()
        return parse(query, schema), schema.plots

    # ---- what pages are told

    @property
    def _error(self) -> str:
        return self._file.error if self._file else ""

    def state(self) -> dict[str, Any]:
        """Of the data server and of the schema."""
        return {"server": self.views.server, "schema": {"source": self.schema().source, "error": self._error}}

    def _describe(self, page: Page, plots: Mapping[str, Plot]) -> dict[str, Any]:
        """Of its schema, and of what there is to choose from."""
        return {
            "schema": {"error": self._error, "changed": differ(page, plots, self.schema().plots)},
            "configs": self.catalog.config_keys,
            **self._columns.of(page, plots),
        }


@contextmanager
def _subscription(grpc_uri: str) -> Iterator[Subscription]:
    with Client(grpc_uri) as client, client.subscribe() as subscription:
        yield subscription
