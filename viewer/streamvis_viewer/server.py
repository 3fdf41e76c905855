"""The viewer process: an HTTP server with our pages and our websocket, and what it knows."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.httputil import ParseBodyConfig, ParseUrlEncodedConfig, set_parse_body_config
from tornado.websocket import WebSocketHandler

from streamvis import StreamvisError
from streamvis_viewer.access import Access
from streamvis_viewer.addresses import bind, parse_origin, parse_prefix, parse_web_uri
from streamvis_viewer.export import CsvHandler
from streamvis_viewer.landing import CatalogHandler, LandingHandler, OpenHandler, ScopesHandler, TrashHandler
from streamvis_viewer.live import Live
from streamvis_viewer.page import Documents, PlotHandler
from streamvis_viewer.saved import SaveHandler
from streamvis_viewer.socket import DataSocket
from streamvis_viewer.statuses import Statuses
from streamvis_viewer.watch import SchemaFile
from streamvis_viewer.web import WebApplication

_PING_SECONDS = 30
_GOING_AWAY = 1001
_CLOSE_SECONDS = 1.0
_MOST_HEADER_BYTES = 4 << 20  # an address names each hidden run; browsers take up to 2 MB
_MOST_ARGUMENTS = 1 << 18  # as many as fit; tornado's own limit is the process's, and applies to addresses too


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
        self._live = Live(grpc_uri, schema)
        self._open_sockets: set[WebSocketHandler] = set()
        sockets = bind(host, port)
        self.port: int = sockets[0].getsockname()[1]
        self.url = f"http://{host}:{self.port}{prefix}"
        access = Access(options.token, {f"{host}:{self.port}", *origins})
        set_parse_body_config(ParseBodyConfig(urlencoded=ParseUrlEncodedConfig(max_arguments=_MOST_ARGUMENTS)))
        self._http = HTTPServer(self._application(access, prefix), xheaders=True, max_header_size=_MOST_HEADER_BYTES)
        self._http.add_sockets(sockets)
        self._live.start()

    async def settle(self) -> None:
        """Returns when it is known what the data server holds, or that it is away, or after a while."""
        await self._live.settle()

    async def close(self) -> None:
        """Ends the feed, and closes all pages."""
        await self._live.close()
        self._http.stop()
        for open_socket in tuple(self._open_sockets):
            open_socket.close(_GOING_AWAY)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._open_sockets:  # noqa: ASYNC110 - tornado tells nobody when a socket has closed
                    await asyncio.sleep(0.01)
        await self._http.close_all_connections()

    def _application(self, access: Access, prefix: str) -> WebApplication:
        live = self._live
        statuses = Statuses(live.grpc_uri, live.catalog)
        exists = {"catalog": live.catalog, "schema": live.schema}
        shown = {"views": live.views, "read_query": live.read_query}
        return WebApplication(
            [
                (r"/", LandingHandler),
                (r"/open", OpenHandler, exists),
                (r"/catalog", CatalogHandler, {**exists, "statuses": statuses, "state": live.state}),
                (r"/scopes/(delete|restore)", ScopesHandler, {"grpc_uri": live.grpc_uri}),
                (r"/trash", TrashHandler, {"grpc_uri": live.grpc_uri}),
                (r"/plot/?", PlotHandler, {"read_query": live.read_query, "documents": Documents()}),
                (r"/csv", CsvHandler, {"store": live.store}),
                (r"/save", SaveHandler, shown),
                (r"/data", DataSocket, shown),
            ],
            access,
            prefix,
            websocket_ping_interval=_PING_SECONDS,
            open_sockets=self._open_sockets,
            grpc_uri=live.grpc_uri,
        )


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
    _collect_seldom()
    asyncio.run(_run_until_signal(partial(Viewer, web_uri, grpc_uri, schema, options), ready or (lambda _: None)))


def _collect_seldom() -> None:
    """Looks for cycles of garbage after every 5,000 new objects instead of 700, and never among what was imported.

    The topics of many runs are many, live long and have no cycles: while 150,000 of them came, the collector went
    through all of them again and again, for more than a second, a third of it at once.
    """
    gc.freeze()
    gc.set_threshold(5000, 10, 10)


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
