"""The yardstick of the viewer's benchmarks: Bokeh's own glyphs, served by Bokeh's own server, in the same browser."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from _page import open_page
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.models import Range1d
from bokeh.plotting import figure
from bokeh.server.server import Server
from playwright.sync_api import Browser, Page

GUARD = """
HTMLCanvasElement.prototype.getContext = (get => function (kind, options) {
  return get.call(this, kind, kind === "2d" ? {...options, willReadFrequently: true} : options);
})(HTMLCanvasElement.prototype.getContext);
"""
"""Without a GPU, canvases are drawn by the CPU, as our pages see to: software GL would be ninety times slower."""

FIGURE = """
const figureView = () => {
  const found = [...(window.Bokeh?.index?.roots ?? [])].find(view => view.model.type === "Figure");
  return found?.frame?.bbox.width > 0 && window.Bokeh.documents[0].is_idle ? found : null;
};
window.stockReady = async () => {
  while (!figureView()) await frame();
  drawn(figureView());
  return Date.now();
};
window.panStock = frames => panned(figureView(), frames);
// Resolves with the wall clock when the figure has painted so many rows, or values in lists, of its last renderer.
window.stockShows = async rows => {
  const length = () => {
    const {data} = figureView().model.renderers.filter(each => each.glyph).at(-1).data_source;
    const [column] = data instanceof Map ? data.values() : Object.values(data);
    return typeof column[0] === "number" ? column.length : column.reduce((sum, each) => sum + each.length, 0);
  };
  do await repainted(figureView()); while (length() !== rows);
  drawn(figureView());
  return Date.now();
};
"""


class Stock:
    """A page that shows one figure, and changes to it."""

    def __init__(self, page: Page, document: Document, loop: asyncio.AbstractEventLoop) -> None:
        self.page = page
        self._document = document
        self._loop = loop

    def change(self, change: Callable[[], None], rows: int) -> float:
        """Milliseconds from the beginning of a change to the picture of so many rows."""
        began: Future[float] = Future()

        def apply() -> None:
            began.set_result(time.time())
            change()

        self.page.evaluate("rows => { window.shown = stockShows(rows); }", rows)
        self._loop.call_soon_threadsafe(self._document.add_next_tick_callback, apply)
        end = self.page.evaluate("() => window.shown")
        return float(end - began.result() * 1e3)


Draw = Callable[[Any], None]
"""Puts glyphs on a figure."""


@contextmanager
def stock(running: Browser, draw: Draw, x: tuple[float, float], y: tuple[float, float]) -> Iterator[Stock]:
    """A page with a figure over these ranges."""
    made: Future[Document] = Future()

    def modify(document: Document) -> None:
        plot = figure(
            output_backend="canvas",
            sizing_mode="stretch_both",
            x_range=Range1d(*x),
            y_range=Range1d(*y),
            tools="pan,wheel_zoom",
            toolbar_location=None,
        )
        draw(plot)
        document.add_root(plot)
        made.set_result(document)

    with _serving(modify) as (port, loop):
        page = open_page(running, f"http://localhost:{port}/", GUARD, FIGURE)
        page.evaluate("window.stockReady()")
        yield Stock(page, made.result(), loop)
        page.close()


@contextmanager
def _serving(modify: Callable[[Document], None]) -> Iterator[tuple[int, asyncio.AbstractEventLoop]]:
    """Bokeh's server in a thread, and its loop."""
    ready: Future[tuple[int, asyncio.AbstractEventLoop]] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        server = Server({"/": Application(FunctionHandler(modify))}, port=0, websocket_max_message_size=1 << 30)
        server.start()
        ready.set_result((server.port, asyncio.get_running_loop()))
        await stop.wait()
        server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    port, loop = ready.result()
    yield port, loop
    loop.call_soon_threadsafe(stop.set)
    thread.join()
