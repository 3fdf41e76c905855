"""The data websocket of one tab: everything once, then what is new, never faster than the browser paints."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from bokeh.server.views.ws import WSHandler
from bokeh.util.token import check_token_signature
from tornado.escape import parse_qs_bytes
from tornado.httputil import HTTPServerRequest
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from streamvis_viewer.layout import Page
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import Plot
from streamvis_viewer.tabs import Tab, Views

ReadQuery = Callable[[Mapping[str, list[str]]], tuple[Page, Mapping[str, Plot]]]
"""The page of a URL's query, with the schema's plots. Raises UrlError."""

PROTOCOL = "streamvis"
LEAST_PAUSE = 0.03
"""Seconds between two sends to one tab."""

_FOREIGN, _NO_PAGE = 4403, 4404
_MOST_REASON = 120


def is_own_origin(origin: str, request: HTTPServerRequest, allowed: frozenset[str]) -> bool:
    """Whether a page of ours opened the socket.

    The page's host must be the one that it calls, and must be a name that nobody else can point at us: an address,
    this machine's own name, or one that was allowed.
    """
    host = urlsplit(origin).netloc.lower()
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    if host in allowed:
        return True
    return host == (request.headers.get("Host") or "").lower() and (name in _own_names() or _is_address(name))


def _own_names() -> frozenset[str]:
    return frozenset({"localhost", socket.gethostname().lower(), socket.getfqdn().lower()})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class PlotSocket(WSHandler):
    """Bokeh's own websocket, with our rule for origins."""

    def check_origin(self, origin: str) -> bool:
        """See `is_own_origin`."""
        return is_own_origin(origin, self.request, self.settings["allowed_origins"])

    def open(self) -> None:
        """Notes that it is open, for the end of the process."""
        self.settings["open_sockets"].add(self)
        super().open()

    def on_close(self) -> None:
        """The tab is gone."""
        self.settings["open_sockets"].discard(self)
        super().on_close()


class DataSocket(WebSocketHandler):
    """Sends a tab its frames. The query says what the tab shows, the page's signed token that it may.

    The page answers `painted`, and sends `query …` when its address has changed.
    """

    def initialize(self, views: Views, read_query: ReadQuery) -> None:
        """`read_query` gives the page of a URL's query, and its plots."""
        self._views = views
        self._read_query = read_query
        self._token = ""
        self._tab: Tab | None = None
        self._pump: asyncio.Task[None] | None = None
        self._painted = asyncio.Event()

    def check_origin(self, origin: str) -> bool:
        """See `is_own_origin`."""
        return is_own_origin(origin, self.request, self.settings["allowed_origins"])

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """The page's token travels as a second protocol, so that it appears in no address."""
        if len(subprotocols) != 2 or subprotocols[0] != PROTOCOL:
            return None
        self._token = subprotocols[1]
        return PROTOCOL

    def open(self, *_: str, **__: str) -> None:
        """Begins to send, if the token is one that this process has signed."""
        self.settings["open_sockets"].add(self)
        if not self._is_ours():
            self.close(_FOREIGN, "this page belongs to another viewer process: reload it")
            return
        with self._closing_on_error():
            self._tab = Tab(self._views, *self._read_query(decoded(self.request.query_arguments)))
            self._pump = asyncio.create_task(self._send(self._tab))

    def on_message(self, message: str | bytes) -> None:
        """What the browser says; anything but these words is none of ours, and means nothing."""
        word, _, rest = str(message).partition(" ")
        if word == "painted":
            self._painted.set()
        elif word == "query" and self._tab:
            with self._closing_on_error():
                self._tab.change(*self._read_query(decoded(parse_qs_bytes(rest, keep_blank_values=True))))

    def on_close(self) -> None:
        """The tab is gone."""
        self.settings["open_sockets"].discard(self)
        if self._pump:
            self._pump.cancel()
        if self._tab:
            self._tab.close()

    def _is_ours(self) -> bool:
        app: Any = self.application
        try:
            return bool(check_token_signature(self._token, secret_key=app.secret_key, signed=True))
        except ValueError:  # what Bokeh raises for text that is no token
            return False

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except UrlError as error:  # the plot was inferred, and its data is gone
            self.close(_NO_PAGE, str(error)[:_MOST_REASON])

    async def _send(self, tab: Tab) -> None:
        with contextlib.suppress(WebSocketClosedError):
            while True:
                frames = tab.frames()
                if not frames:
                    await tab.changed.wait()
                    tab.changed.clear()
                    continue
                self._painted.clear()
                for frame in frames:
                    await self.write_message(frame, binary=True)
                await asyncio.gather(self._painted.wait(), asyncio.sleep(LEAST_PAUSE))


def decoded(arguments: dict[str, list[bytes]]) -> dict[str, list[str]]:
    """A URL's query as text."""
    return {key: [value.decode(errors="replace") for value in values] for key, values in arguments.items()}
