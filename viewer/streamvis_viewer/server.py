"""The viewer process: Bokeh's server with our pages, our websocket, and the feed."""

from __future__ import annotations

import asyncio
import errno
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.websocket import WebSocketHandler

from streamvis import Client, StreamvisError, Subscription, Update
from streamvis.errors import UsageError
from streamvis_viewer.access import Access, is_loopback
from streamvis_viewer.catalog import Catalog
from streamvis_viewer.feed import Feed
from streamvis_viewer.landing import CatalogHandler, LandingHandler, OpenHandler, ScopesHandler
from streamvis_viewer.layout import Page, parse
from streamvis_viewer.notes import FurtherColumns, differ
from streamvis_viewer.page import PlotHandler
from streamvis_viewer.schema import Plot, Schema, infer
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.socket import DataSocket
from streamvis_viewer.tabs import Views
from streamvis_viewer.watch import SchemaFile
from streamvis_viewer.web import WebApplication

_GRPC_URI = re.compile(r"unix:.+|[^\s/]+:\d+")
_WEB_URI = re.compile(r"(?:http://)?(\[[0-9a-fA-F:]+\]|[^:/\[\]\s]+):(\d{1,5})/?")
_PING_SECONDS = 30
_BACKLOG = 128
_GOING_AWAY = 1001
_SETTLE_SECONDS = 2.0
_WATCH_SECONDS = 0.5
_CLOSE_SECONDS = 1.0
_ORIGIN = re.compile(r"(?:https?://)?([A-Za-z0-9._-]+(?::\d{1,5})?)/?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How the pages are reached."""

    token: str = ""
    """What visitors must know; empty: nothing."""
    prefix: str = ""
    """What stands before every path, behind a reverse proxy."""
    origins: tuple[str, ...] = ()
    """Further hosts, perhaps with a port, under whose names pages are opened."""


class Viewer:
    """Everything that one viewer process holds. Made and used on the event loop's thread."""

    def __init__(
        self, web_uri: str, grpc_uri: str, schema: SchemaFile | None, options: WebOptions = WebOptions()
    ) -> None:
        """Listens, and begins to follow the data server. Raises UsageError and StreamvisError."""
        host, port = parse_web_uri(web_uri)
        prefix = parse_prefix(options.prefix)
        origins = [parse_origin(origin) for origin in options.origins]
        if not _GRPC_URI.fullmatch(grpc_uri):
            raise UsageError(f"found the data server's address {grpc_uri!r}; expected HOST:PORT or unix:PATH")
        self._file = schema
        self._loop = asyncio.get_running_loop()
        self._store = SeriesStore()
        self._feed = Feed(lambda: _subscription(grpc_uri), self)
        self._views = Views(self._store, self._feed, describe=self._describe)
        self._catalog = Catalog()
        self._columns = FurtherColumns(self._catalog)
        self._inferred = -1, Schema()
        self._heard = asyncio.Event()
        self._open_sockets: set[WebSocketHandler] = set()
        self._sockets = _bind(host, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.url = f"http://{host}:{self.port}{prefix}"
        access = Access(options.token, {f"{host}:{self.port}", *origins})
        self._http = HTTPServer(self._application(grpc_uri, access, prefix), xheaders=True)
        self._http.add_sockets(self._sockets)
        self._feed.start()
        self._watching = self._loop.create_task(self._watch())

    async def settle(self) -> None:
        """Returns when it is known what the data server holds, or that it is away, or after a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), _SETTLE_SECONDS)

    async def close(self) -> None:
        """Ends the feed, and closes all pages."""
        self._watching.cancel()
        await asyncio.to_thread(self._feed.close)  # whose thread may be waiting for this loop
        self._http.stop()
        for open_socket in tuple(self._open_sockets):
            open_socket.close(_GOING_AWAY)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._open_sockets:  # noqa: ASYNC110 - tornado tells nobody when a socket has closed
                    await asyncio.sleep(0.01)
        await self._http.close_all_connections()

    def _on_loop(self, call: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                call()
            finally:
                done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result()

    # ---- the feed's thread

    def updated(self, updates: list[Update]) -> None:
        """Waits until the page is taken in, so that a busy viewer slows the stream down instead of piling up."""
        self._on_loop(lambda: self._take_in(updates))

    def _take_in(self, updates: list[Update]) -> None:
        self._catalog.take(updates)
        self._views.apply(updates)

    def connected(self) -> None:
        """Pages show that points are live."""
        self._on_loop(lambda: self._note_server("live"))

    def away(self, reason: str) -> None:
        """Pages show that the server is away."""
        self._on_loop(lambda: self._note_server("away", reason))

    def _note_server(self, state: str, reason: str = "") -> None:
        self._views.note_server(state, reason)
        self._heard.set()

    # ---- the schema

    async def _watch(self) -> None:
        while self._file:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._file.refresh():
                self._views.wake()

    def schema(self) -> Schema:
        """The schema's plots, or what the data suggests."""
        if self._file:
            return self._file.schema
        version, inferred = self._inferred
        if version != self._catalog.shapes_version:
            version, inferred = self._inferred = self._catalog.shapes_version, infer(self._catalog.examples)
        return inferred

    def _describe(self, page: Page, plots: Mapping[str, Plot]) -> dict[str, Any]:
        """What a page is told of its schema, and of what there is to choose from."""
        now = self.schema().plots
        return {
            "schema": {"error": self._file.error if self._file else "", "changed": differ(page, plots, now)},
            "configs": self._catalog.config_keys,
            "columns": self._columns.of(page, plots),
        }

    # ---- pages

    def _application(self, grpc_uri: str, access: Access, prefix: str) -> WebApplication:
        return WebApplication(
            [
                (r"/", LandingHandler),
                (r"/open", OpenHandler, {"catalog": self._catalog, "schema": self.schema}),
                (r"/catalog", CatalogHandler, {"catalog": self._catalog, "state": self._state, "schema": self.schema}),
                (r"/scopes/(delete|restore)", ScopesHandler, {"grpc_uri": grpc_uri}),
                (r"/plot/?", PlotHandler, {"read_query": self.read_query}),
                (r"/data", DataSocket, {"views": self._views, "read_query": self.read_query}),
            ],
            access,
            prefix,
            websocket_ping_interval=_PING_SECONDS,
            open_sockets=self._open_sockets,
            grpc_uri=grpc_uri,
        )

    def _state(self) -> dict[str, Any]:
        """What the first page says beside what exists."""
        error = self._file.error if self._file else ""
        return {"server": self._views.server, "schema": {"source": self.schema().source, "error": error}}

    def read_query(self, query: Mapping[str, list[str]]) -> tuple[Page, Mapping[str, Plot]]:
        """The page of a URL's query, with the schema's plots. Raises UrlError."""
        schema = self.schema()
        return parse(query, schema), schema.plots


@contextmanager
def _subscription(grpc_uri: str) -> Iterator[Subscription]:
    with Client(grpc_uri) as client, client.subscribe() as subscription:
        yield subscription


def parse_web_uri(web_uri: str) -> tuple[str, int]:
    """Host and port. Raises UsageError."""
    match = _WEB_URI.fullmatch(web_uri)
    if not match or int(match[2]) > 65535:
        raise UsageError(f"found the web address {web_uri!r}; expected HOST:PORT, such as localhost:8888")
    return match[1], int(match[2])


def is_exposed(web_uri: str) -> bool:
    """Whether other machines reach this address. Raises UsageError."""
    return not is_loopback(parse_web_uri(web_uri)[0])


def parse_prefix(prefix: str) -> str:
    """A path without its last slash, or nothing. Raises UsageError."""
    given = prefix if not prefix or prefix.startswith("/") else f"/{prefix}"
    if not _PREFIX.fullmatch(given):
        raise UsageError(f"found the prefix {prefix!r}; expected a path, such as /streamvis")
    return given.rstrip("/")


def parse_origin(origin: str) -> str:
    """A host, perhaps with a port. Raises UsageError."""
    match = _ORIGIN.fullmatch(origin)
    if not match:
        raise UsageError(f"found the origin {origin!r}; expected HOST or HOST:PORT, such as lab.example")
    return match[1]


def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for all addresses of the host, on one port. Raises StreamvisError."""
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
            try:
                made = socket.create_server((address[0], port), family=family, backlog=_BACKLOG)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or not bound:  # a name may stand for more than this machine has
                    raise
                continue
            made.setblocking(False)
            bound.append(made)
            port = made.getsockname()[1]
    except OSError as error:
        for made in bound:
            made.close()
        reason = (error.strerror or str(error)).lower()
        raise StreamvisError(f"cannot listen at {host}:{port}: {reason}; choose another port or host") from None
    return bound


def serve(
    web_uri: str,
    grpc_uri: str,
    schema_file: Path | None = None,
    ready: Callable[[str], None] | None = None,
    options: WebOptions = WebOptions(),
) -> None:
    """Serves until SIGTERM or SIGINT; for the main thread.

    `ready` is called with the page's address once it answers; the data server may come later. Raises SchemaError,
    UsageError, and StreamvisError when the port is taken.
    """
    schema = SchemaFile(schema_file) if schema_file else None
    asyncio.run(_run_until_signal(partial(Viewer, web_uri, grpc_uri, schema, options), ready or (lambda _: None)))


async def _run_until_signal(make: Callable[[], Viewer], ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _run(make, ready, stop)


@contextmanager
def serving(
    web_uri: str, grpc_uri: str, schema_file: Path | None = None, options: WebOptions = WebOptions()
) -> Iterator[str]:
    """A viewer in a thread of this process, at the address that the block gets. Raises as `serve` does."""
    schema = SchemaFile(schema_file) if schema_file else None
    ready: Future[tuple[str, Callable[[], object]]] = Future()

    async def run() -> None:
        stop = asyncio.Event()
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)
        try:
            await _run(
                partial(Viewer, web_uri, grpc_uri, schema, options), lambda url: ready.set_result((url, end)), stop
            )
        except StreamvisError as error:
            ready.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="streamvis-viewer", daemon=True)
    thread.start()
    url, end = ready.result()
    try:
        yield url
    finally:
        end()
        thread.join()


async def _run(make: Callable[[], Viewer], ready: Callable[[str], None], stop: asyncio.Event) -> None:
    viewer = make()
    try:
        await viewer.settle()  # so that the first page, opened at once, is not empty
        ready(viewer.url)
        await stop.wait()
    finally:
        await viewer.close()
