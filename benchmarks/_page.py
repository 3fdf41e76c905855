"""What the viewer's benchmarks share: a data server, a viewer and a page in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
steps:
  glyph_kind: scatter
  columns: [x, y]
  names: steps
  filter_opts: {column: t}
metrics:
  columns: [x, y]
  color: {key_fun: n}
"""

SCRIPT = """
const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
const firstLayer = async () => {
  while (!window.Bokeh) await frame();
  const {layers} = await import("/assets/layers.js");
  while (!layers.size) await frame();
  return [...layers.values()][0];
};
// Reading a pixel makes a canvas draw what it has only noted.
const drawn = plot_view => plot_view.canvas_view.primary.ctx.getImageData(0, 0, 1, 1);
const repainted = plot_view => new Promise(resolve => {
  const done = () => { plot_view.repainted.disconnect(done); resolve(); };
  plot_view.repainted.connect(done);
});

// Resolves with the wall clock when the page's first plot has painted a state with that many points.
window.paintedPoints = async count => {
  const layer = await firstLayer();
  while (!(layer.stats.total >= count && layer.stats.paints > 0)) await frame();
  await frame();
  return Date.now();
};

// Resolves when no closer look would show more.
window.settled = async () => {
  const layer = await firstLayer();
  while (layer.wants) await frame();
  const {paints} = layer.stats;
  layer.repaint();
  while (layer.stats.paints === paints) await frame();
};

window.layerStats = async () => (await firstLayer()).stats;

// Milliseconds of each frame of a pan by 2 pixels of `plot_view`, ours or Bokeh's.
window.panned = async (plot_view, frames) => {
  const {x_range} = plot_view.model;
  const step = (x_range.end - x_range.start) * 2 / plot_view.frame.bbox.width;
  const times = [];
  for (let i = 0; i < frames; i++) {
    const began = performance.now();
    const painted = repainted(plot_view);
    x_range.setv({start: x_range.start + step, end: x_range.end + step}, {sync: false});
    await painted;
    drawn(plot_view);
    times.push(performance.now() - began);
  }
  return times;
};
window.panOurs = async frames => panned((await firstLayer()).plot_view, frames);

// Milliseconds from a change of the window to the first picture, and to one that no closer look would improve.
window.zoomed = async ([start, end]) => {
  const layer = await firstLayer();
  const {plot_view} = layer;
  const began = performance.now();
  const painted = repainted(plot_view);
  plot_view.model.x_range.setv({start, end});
  await painted;
  drawn(plot_view);
  const first = performance.now() - began;
  while (layer.wants) await frame();
  const {paints} = layer.stats;
  if (first < performance.now() - began - 1) while (layer.stats.paints === paints) await frame();
  drawn(plot_view);
  return [first, performance.now() - began];
};

// Milliseconds from a step of the slider to its points.
window.stepped = async values => {
  const layer = await firstLayer();
  const times = [];
  for (const value of values) {
    const began = performance.now();
    const painted = repainted(layer.plot_view);
    layer.select(value);
    await painted;
    drawn(layer.plot_view);
    times.push(performance.now() - began);
  }
  return times;
};

// Milliseconds of each search for the nearest point.
window.searched = async count => {
  const layer = await firstLayer();
  const {left, top, width, height} = layer.plot_view.frame.bbox;
  const times = [];
  for (let i = 0; i < count; i++) {
    const x = left + width * (i * 0.618 % 1), y = top + height * (i * 0.382 % 1);
    const began = performance.now();
    layer.nearest(x, y);
    times.push(performance.now() - began);
  }
  return times;
};
"""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A data server, and a viewer of it in a process of its own."""

    server: Server
    url: str
    pid: int

    def page(self, query: str) -> str:
        """The address of a page."""
        return f"{self.url}/?{query}"

    @property
    def resident_bytes(self) -> int:
        """What the viewer's process holds in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@contextmanager
def viewer() -> Iterator[Viewer]:
    """A data server, and a viewer of it that knows the plots of SCHEMA."""
    with data_server() as server, viewer_of(server) as made:
        yield made


@contextmanager
def viewer_of(server: Server) -> Iterator[Viewer]:
    """A viewer of that server."""
    with children(lambda _: None) as family:
        schema = Path(server.directory) / "plots.yaml"
        schema.write_text(SCHEMA)
        child = family.start("web-serve", "127.0.0.1:0", server.uri, str(schema))
        yield Viewer(server, child.wait_for(r"(http://\S+)"), child.pid)


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield running
        running.close()


def open_page(running: Browser, address: str, *scripts: str) -> Page:
    """The page, without waiting for it; the scripts run before its own."""
    page = running.new_page(viewport=SIZE)
    page.set_default_timeout(600_000)  # the yardsticks are slow
    page.add_init_script("\n".join((SCRIPT, *scripts)))
    page.goto(address, wait_until="commit")
    return page


def backend(page: Page) -> str:
    """What draws: canvas, or webgl."""
    stats: dict[str, Any] = page.evaluate("window.layerStats()")
    return str(stats["backend"])
