"""V2: 2,000 series of 1,000 points in one plot; 10 points are appended to each, from the write to the pixels.

Beside it Bokeh's own ways, from the change of the document to the pixels: one `multi_line` whose data are replaced, and
one renderer for each series, which takes so long that it is measured once.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from _harness import REPEATS, logger_options, show
from _page import backend, browser, open_page, viewer
from _stock import stock
from bokeh.models import ColumnDataSource
from bokeh.palettes import Turbo256
from playwright.sync_api import Browser, Page

from streamvis import DataLogger

SERIES, POINTS, MORE, TICKS = 2000, 1000, 10, 30

HEIGHT = np.arange(SERIES, dtype="f4")[:, None]
COLORS = [Turbo256[round(number * 255 / (SERIES - 1))] for number in range(SERIES)]


def main() -> None:
    """Prints the median time of one append with its peers, and how many paints a second follow when nobody waits."""
    with browser() as running:
        with viewer() as made, DataLogger("run", flush_every=0.01, **logger_options(made.server)) as logger:
            write(logger, 0, POINTS)
            logger.flush()
            page = open_page(running, made.page("rows=lines"))
            drawn_by = backend(page)
            latency = append_and_wait(logger, page)
            rate = paint_rate(logger, page)
            page.close()
        peers = {"multi_line": multi_line(running), "a renderer per series": renderers(running)}
    for (peer, took), factor in zip(peers.items(), (10, 300), strict=True):
        show(f"V2 append to 2,000 series ({drawn_by})", latency, "ms", peer=(peer, took), at_most=80)
        show(f"V2 times faster than {peer}", took / latency, "x", at_least=factor)
    show("V2 paints while 20 appends come per second", rate, "/s", at_least=10)


def values(points: int) -> np.ndarray:
    """New points of every series."""
    return HEIGHT + np.random.default_rng(points).standard_normal((SERIES, points)).astype("f4")


def write(logger: DataLogger, begin: int, points: int) -> float:
    """Writes points of every series; the wall clock before."""
    x, y = np.arange(begin, begin + points), values(points)
    began = time.time()
    logger.write("lines", x=x, y=y)
    return began


def append_and_wait(logger: DataLogger, page: Page) -> float:
    """Milliseconds, the median."""
    page.evaluate("count => window.paintedPoints(count)", SERIES * POINTS)
    latencies = []
    for tick in range(TICKS):
        began = write(logger, POINTS + tick * MORE, MORE)
        total = SERIES * (POINTS + (tick + 1) * MORE)
        latencies.append(page.evaluate("count => window.paintedPoints(count)", total) - began * 1e3)
    return statistics.median(latencies)


def paint_rate(logger: DataLogger, page: Page) -> float:
    """Per second."""
    before = page.evaluate("window.layerStats()")
    first = before["total"] // SERIES
    began = time.time()
    for tick in range(TICKS):
        write(logger, first + tick * MORE, MORE)
        time.sleep(0.05)
    end = page.evaluate("count => window.paintedPoints(count)", SERIES * (first + TICKS * MORE)) / 1e3
    paints = page.evaluate("window.layerStats()")["paints"] - before["paints"]
    return float(paints / (end - began))


def multi_line(running: Browser) -> float:
    """Milliseconds, the median: the data of one glyph, replaced."""
    lengths = [POINTS + tick * MORE for tick in range(REPEATS + 1)]
    whole = values(lengths[-1])

    def data(points: int) -> dict[str, Any]:
        x = np.arange(points, dtype="f4")
        return {"xs": [x] * SERIES, "ys": list(whole[:, :points]), "color": COLORS}

    source = ColumnDataSource(data(POINTS))
    with stock(
        running,
        lambda plot: plot.multi_line("xs", "ys", color="color", source=source),
        x=(0, 1.1 * POINTS),
        y=(-5, SERIES + 5),
    ) as page:
        times = [
            page.change(lambda points=points: source.update(data=data(points)), SERIES * points)
            for points in lengths[1:]
        ]
    return statistics.median(times)


def renderers(running: Browser) -> float:
    """Milliseconds, once: every series its own renderer, which is streamed to."""
    whole = values(POINTS + MORE)
    x = np.arange(POINTS + MORE, dtype="f4")
    sources = [ColumnDataSource({"x": x[:POINTS], "y": whole[number, :POINTS]}) for number in range(SERIES)]

    def draw(plot: Any) -> None:
        for source, color in zip(sources, COLORS, strict=True):
            plot.line("x", "y", color=color, source=source)

    def append() -> None:
        for number, source in enumerate(sources):
            source.stream({"x": x[POINTS:], "y": whole[number, POINTS:]})

    with stock(running, draw, x=(0, 1.1 * POINTS), y=(-5, SERIES + 5)) as page:
        return page.change(append, POINTS + MORE)


if __name__ == "__main__":
    main()
