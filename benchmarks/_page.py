"""What the viewer's benchmarks share: a data server, a viewer and a page in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _harness import Server, data_server
from playwright.sync_api import Browser, Page, sync_playwright

from streamvis.launch import children

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = {"width": 1200, "height": 800}

SCHEMA = """
lines:
  glyph_kind: line
  columns: [x, y]
  names: lines
  color: {key_fun: i, palette: Turbo256}
points:
  glyph_kind: scatter
  columns: [x, y]
  names: points.*
  color: {key_fun: n}
"""

# Resolves with the wall clock when the page's first plot has painted that many points.
WATCH = """
window.paintedPoints = async count => {
  const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
  while (!window.Bokeh) await frame();
  const {layers} = await import("/assets/layers.js");
  for (;;) {
    const view = [...layers.values()][0];
    if (view?.stats.total >= count && view.stats.paints > 0) { await frame(); return Date.now(); }
    await frame();
  }
};
"""


@contextmanager
def viewer() -> Iterator[tuple[Server, str]]:
    """A data server and a viewer on it that knows the plots lines and points; gives the address of a page of lines."""
    with data_server() as server, children(lambda _: None) as family:
        schema = Path(server.directory) / "plots.yaml"
        schema.write_text(SCHEMA)
        child = family.start("web-serve", "127.0.0.1:0", server.uri, str(schema))
        yield server, child.wait_for(r"(http://\S+)") + "/?rows=lines"


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield running
        running.close()


def open_page(running: Browser, address: str) -> Page:
    """The page, without waiting for it."""
    page = running.new_page(viewport=SIZE)
    page.add_init_script(WATCH)
    page.goto(address, wait_until="commit")
    return page
