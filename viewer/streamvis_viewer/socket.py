"""The data websocket of one tab: everything once, then what is new, never faster than the browser paints."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from streamvis_viewer.access import Access
from streamvis_viewer.frames import Later
from streamvis_viewer.layout import Page
from streamvis_viewer.looks import Look
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import Plot
from streamvis_viewer.tabs import Tab, Views
from streamvis_viewer.web import decoded, read_query_string

ReadQuery = Callable[[Mapping[str, list[str]]], tuple[Page, Mapping[str, Plot]]]
"""The page of a URL's query, with the schema's plots. Raises UrlError."""

PROTOCOL = "streamvis"
LEAST_PAUSE = 0.03
"""Seconds between two sends to one tab."""

_FOREIGN, _NO_PAGE = 4403, 4404
_REASON_BYTES = 120  # the websocket protocol allows 123


class DataSocket(WebSocketHandler):
    """Sends a tab its frames. The query says what the tab shows, the page's signed token that it may.

    The page answers `painted`, sends `query …` when its address has changed, and `look …` for the points of a window.
    When it has heard nothing for a while it asks `alive`, and is answered by an empty text.
    """

    def initialize(self, views: Views, read_query: ReadQuery) -> None:
        """`read_query` gives the page of a URL's query, and its plots."""
        self._views = views
        self._read_query = read_query
        self._access: Access = self.settings["access"]
        self._token = ""
        self._shown = ""
        self._tab: Tab | None = None
        self._pump: asyncio.Task[None] | None = None
        self._painted = asyncio.Event()

    def check_origin(self, origin: str) -> bool:
        """Only pages of ours."""
        return self._access.is_own_origin(origin, self.request.host)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """The page's token travels as a second protocol, so that it appears in no address."""
        if len(subprotocols) != 2 or subprotocols[0] != PROTOCOL:
            return None
        self._token = subprotocols[1]
        return PROTOCOL

    def open(self, *_: str, **__: str) -> None:
        """Begins to send, if the token is one that this process has signed."""
        self.settings["open_sockets"].add(self)
        if not self._access.is_page_token(self._token):
            self.close(_FOREIGN, "this page belongs to another viewer process: reload it")
            return
        try:
            self._tab = Tab(self._views, *self._read_query(decoded(self.request.query_arguments)))
        except UrlError as error:  # the plot was inferred, and its data is gone
            self.close(_NO_PAGE, str(error).encode()[:_REASON_BYTES].decode(errors="ignore"))
            return
        self._shown = self.request.query
        self._pump = asyncio.create_task(self._send(self._tab))

    def on_message(self, message: str | bytes) -> None:
        """What the browser says; anything but these words is none of ours, and means nothing."""
        word, _, rest = str(message).partition(" ")
        if word == "painted":
            self._painted.set()
        elif word == "query" and self._tab:
            self._change(self._tab, rest)
        elif word == "alive":
            with contextlib.suppress(WebSocketClosedError):
                self.write_message("")
        elif word == "look" and self._tab:
            with contextlib.suppress(ValueError):
                self._tab.look(*Look.read(rest))

    def on_close(self) -> None:
        """The tab is gone."""
        self.settings["open_sockets"].discard(self)
        if self._pump:
            self._pump.cancel()
        if self._tab:
            self._tab.close()

    def _change(self, tab: Tab, query: str) -> None:
        """A slip in one of the page's fields changes nothing, and is said there."""
        try:
            tab.change(*self._read_query(read_query_string(query)))
        except UrlError as error:
            problems = {
                problem.key: f"found {problem.found}; expected {problem.expected}" for problem in error.problems
            }
            tab.refuse({"query": query, "shown": self._shown, "problems": problems})
        else:
            self._shown = query

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
                    made = await asyncio.to_thread(frame) if isinstance(frame, Later) else frame
                    await self.write_message(made, binary=True)
                await asyncio.gather(self._painted.wait(), asyncio.sleep(LEAST_PAUSE))
