"""V7: the search for the point nearest to the pointer, among 2,000 series of 1,000 points."""

from __future__ import annotations

import statistics

import numpy as np
from _harness import logger_options, show
from _page import browser, open_page, viewer

from streamvis import DataLogger

SERIES, POINTS, SEARCHES = 2000, 1000, 300


def main() -> None:
    """Prints the median and the slowest of a hundred."""
    rng = np.random.default_rng(0)
    with viewer() as made, browser() as running:
        with DataLogger("run", **logger_options(made.server)) as logger:
            y = np.arange(SERIES, dtype="f4")[:, None] + rng.standard_normal((SERIES, POINTS)).astype("f4")
            logger.write("lines", x=np.arange(POINTS), y=y)
        page = open_page(running, made.page("rows=lines"))
        page.evaluate("count => window.paintedPoints(count)", SERIES * POINTS)
        times = sorted(page.evaluate("count => window.searched(count)", SEARCHES))
    show("V7 nearest of 2,000 series", statistics.median(times), "ms", at_most=2)
    show("V7 the slowest of a hundred", times[-SEARCHES // 100], "ms")


if __name__ == "__main__":
    main()
