"""A page with drawing layers and nothing else, for tests in a real browser."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bokeh
import numpy as np
from bokeh.embed import json_item
from bokeh.plotting import figure
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

import streamvis_viewer

WIDTH, HEIGHT = 300, 200
STATIC = Path(streamvis_viewer.__file__).parent / "static"
BOKEH = Path(bokeh.__file__).parent / "server" / "static" / "js"
ARGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]

HTML = """<!doctype html><meta charset="utf-8"><title>layers</title>
<script src="/static/guard.js"></script>
<script src="/bokeh/bokeh.min.js"></script>
<script src="/bokeh/bokeh-gl.min.js"></script>
<script type="module">
import {layers} from "/static/layers.js";
import {PackedSeries} from "/static/series.js";
import * as canvas from "/static/canvas.js";
import * as gl from "/static/gl.js";
const typed = {
  counts: Uint32Array, slots: Uint32Array, x: Float32Array, y: Float32Array, t: Float32Array, rgba: Uint8Array,
};
const array = (name, values) => typed[name].from(values, value => value === null ? NaN : value);
Object.assign(window, {
  layers, PackedSeries, canvas, gl,
  packed: points => Object.fromEntries(Object.entries(points)
    .map(([name, values]) => [name, name in typed ? array(name, values) : values])),
  layer: (key = "A") => layers.get(key),
  repaint: (key = "A") => new Promise(resolve => {
    const view = layers.get(key).plot_view;
    const done = () => { view.repainted.disconnect(done); resolve(); };
    view.repainted.connect(done);
    view.request_repaint();
  }),
  frame: (key = "A", border = 0) => {
    const view = layers.get(key).plot_view, {bbox} = view.frame, {primary} = view.canvas_view;
    const ratio = primary.pixel_ratio;
    const [width, height] = [(bbox.width + 2 * border) * ratio, (bbox.height + 2 * border) * ratio];
    const {data} = primary.ctx.getImageData((bbox.left - border) * ratio, (bbox.top - border) * ratio, width, height);
    let text = "";
    for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
    return {width, height, data: btoa(text)};
  },
});
window.ready = true;
</script>
<div id="plot"></div>"""

# How many pixels within the frame of the layer of that key have that colour, or nearly.
INK = """async ([key, rgb]) => {
  const {layers} = await import("/assets/layers.js");
  const {frame: {bbox}, canvas_view: {primary}} = layers.get(key).plot_view;
  const box = [bbox.left, bbox.top, bbox.width, bbox.height].map(pixels => pixels * primary.pixel_ratio);
  const {data} = primary.ctx.getImageData(...box);
  const isInk = i => data[i + 3] > 200 && rgb.every((value, c) => Math.abs(value - data[i + c]) < 8);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) count += isInk(i);
  return count;
}"""


class _Files(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        folder, _, name = path[1:].rpartition("/")
        root = {"static": STATIC, "bokeh": BOKEH}.get(folder)
        kind, body = ("text/javascript", (root / name).read_bytes()) if root else ("text/html", HTML.encode())
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """A test's output is not the place for a server's log."""


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        system = Path("/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=system if system.exists() else None, args=ARGS)
        yield browser
        browser.close()


def bare_figure(*renderers: Any, **options: Any) -> Any:
    """A figure whose frame is `WIDTH` x `HEIGHT` pixels, one unit each, on white without axes."""
    options = {"x_range": (0, WIDTH), "y_range": (0, HEIGHT), "toolbar_location": None, "tools": "pan,reset"} | options
    plot = figure(frame_width=WIDTH, frame_height=HEIGHT, min_border=20, outline_line_color=None, **options)
    for part in (plot.xaxis, plot.yaxis, plot.xgrid, plot.ygrid):
        part.visible = False
    plot.renderers.extend(renderers)
    return plot


class LayerPage:
    """A browser's page that shows one figure with layers."""

    def __init__(self, page: Page, url: str, gl: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}?gl={gl}" if gl else url)
        assert page.evaluate("window.ready"), self.errors

    def show(self, plot: Any) -> None:
        """Shows this figure instead of the one before."""
        self.page.bring_to_front()
        item = json.loads(json.dumps(json_item(plot)))
        self.page.evaluate(
            "async item => { window.shown?.clear(); window.shown = await Bokeh.embed.embed_item(item, 'plot'); }", item
        )
        self.page.wait_for_function("layers.size && [...layers.values()][0].plot_view.frame?.bbox.width > 0")

    def do(self, script: str, argument: Any = None) -> Any:
        """Evaluates an expression over `layer(key)`, the functions of the page and `argument`."""
        return self.page.evaluate(f"async argument => {script}", argument)

    def replace(self, *series: dict[str, Any], origin: tuple[float, float] = (0, 0), key: str = "A") -> None:
        """Every series a dict of x, y, rgba and perhaps t."""
        points = {"origin": {"x": origin[0], "y": origin[1]}, "counts": [len(s["x"]) for s in series]}
        for name in ("x", "y", "rgba", "t"):
            if all(name in s for s in series):
                points[name] = plain(np.concatenate([np.asarray(s[name], dtype=float) for s in series]))
        self.do("layer(argument[0]).replace(packed(argument[1]))", [key, points])

    def append(self, slot: int, x: Any, y: Any, **more: Any) -> None:
        points = {"slots": [slot], "counts": [len(x)], "x": plain(x), "y": plain(y)}
        self.do("layer().append(packed(argument))", points | {name: plain(values) for name, values in more.items()})

    def nearest(self, positions: Any) -> list[Any]:
        """The nearest points to positions in pixels from the frame's upper left corner."""
        script = """(({left, top}) => argument.map(([x, y]) => layer().nearest(left + x, top + y)))
          (layer().plot_view.frame.bbox)"""
        return list(self.do(script, np.asarray(positions, dtype=float).tolist()))

    def pixels(self, key: str = "A", border: int = 0) -> NDArray[np.uint8]:
        """The frame's pixels, `(row, column, rgba)`, after a repaint."""
        return self.painted(key, border)[1]

    def painted(self, key: str = "A", border: int = 0, change: str = "") -> tuple[str, NDArray[np.uint8]]:
        """How the layer was painted, and the frame's pixels, after a repaint that follows at once after a change."""
        script = f"{{ {change}; await repaint(argument[0]); return [layer().stats.painted, frame(...argument)] }}"
        painted, shot = self.do(script, [key, border])
        flat = np.frombuffer(base64.b64decode(shot["data"]), np.uint8)
        return painted, flat.reshape(int(shot["height"]), int(shot["width"]), 4)


def plain(values: Any) -> list[float | None]:
    """A list that JSON can carry: NaN becomes None, and the page turns it back."""
    return [None if np.isnan(v) else float(v) for v in np.asarray(values, dtype=float)]
