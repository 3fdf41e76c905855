"""V4: a line of 10 million points; from a change of the window to the first picture, and to one that is exact."""

from __future__ import annotations

import statistics

import numpy as np
from _harness import logger_options, show
from _page import backend, browser, open_page, viewer

from streamvis import DataLogger

POINTS, PART = 10_000_000, 1_000_000
WINDOWS = [(0.1, 0.6), (0.3, 0.4), (0.35, 0.36), (0.352, 0.353), (0.3522, 0.35225), (0.7, 0.8), (0.75, 0.751)]


def main() -> None:
    """Prints the medians over windows from half of the line to a 2,000th of it."""
    rng = np.random.default_rng(0)
    with viewer() as made, browser() as running:
        with DataLogger("run", **logger_options(made.server)) as logger:
            for begin in range(0, POINTS, PART):
                y = rng.standard_normal(PART).cumsum().astype("f4")
                logger.write("metrics", x=np.arange(begin, begin + PART), y=y)
        page = open_page(running, made.page("rows=metrics"))
        page.evaluate("count => window.paintedPoints(count)", POINTS)
        times = [
            page.evaluate("window_ => window.zoomed(window_)", [POINTS * low, POINTS * high]) for low, high in WINDOWS
        ]
        drawn_by = backend(page)
    first, exact = (statistics.median(each) for each in zip(*times, strict=True))
    show(f"V4 10 M points, zoom to a first picture ({drawn_by})", first, "ms")
    show(f"V4 10 M points, zoom to the exact one ({drawn_by})", exact, "ms", at_most=200)


if __name__ == "__main__":
    main()
