"""V3: a frame of a pan, from the change of the range to the pixels; beside it Bokeh's `scatter` of a million points."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
from _harness import REPEATS, logger_options, show
from _page import backend, browser, open_page, viewer
from _stock import stock
from playwright.sync_api import Browser

from streamvis import DataLogger

FRAMES = 20
MILLION = 1_000_000


def main() -> None:
    """Prints the median frame of many lines and of two clouds."""
    rng = np.random.default_rng(0)
    series, points = 2000, 1000
    lines = np.arange(series, dtype="f4")[:, None] + rng.standard_normal((series, points)).astype("f4")
    clouds = [rng.standard_normal((2, MILLION), dtype="f4") for _ in range(5)]
    with browser() as running:
        peer = ("scatter", scatter(running, clouds[0]))
        ours(running, "2,000 lines x 1,000", "lines", iter([(np.arange(points), lines)]), at_most=80)
        ours(running, "1 M points", "points", iter(clouds[:1]), at_most=50, peer=peer)
        ours(running, "5 M points", "points", iter(clouds), at_most=80)


def ours(  # noqa: PLR0913 - what, and its goal
    running: Browser,
    what: str,
    plot: str,
    data: Iterator[tuple[np.ndarray, np.ndarray]],
    *,
    at_most: float,
    peer: tuple[str, float] | None = None,
) -> None:
    """Prints the median frame of what is logged."""
    with viewer() as made:
        total = 0
        with DataLogger("run", **logger_options(made.server)) as logger:
            for number, (x, y) in enumerate(data):
                logger.write(plot if plot == "lines" else f"{plot}{number}", x=x, y=y)
                total += y.size
        page = open_page(running, made.page(f"rows={plot}"))
        page.evaluate("count => window.paintedPoints(count)", total)
        page.evaluate("window.settled()")
        times = page.evaluate("frames => window.panOurs(frames)", FRAMES)
        how = page.evaluate("window.layerStats()")["painted"]
        drawn_by = backend(page)
        page.close()
    show(f"V3 pan {what} ({drawn_by}, {how})", statistics.median(times), "ms", peer=peer, at_most=at_most)


def scatter(running: Browser, cloud: np.ndarray) -> float:
    """Milliseconds of a frame, the median."""
    with stock(running, lambda plot: plot.scatter(cloud[0], cloud[1], size=4), x=(-5, 5), y=(-5, 5)) as page:
        return float(statistics.median(page.page.evaluate("frames => window.panStock(frames)", REPEATS)))


if __name__ == "__main__":
    main()
