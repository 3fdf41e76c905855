"""V2: 2,000 series of 1,000 points in one plot; 10 points are appended to each, from the write to the pixels."""

from __future__ import annotations

import statistics
import time

import numpy as np
from _harness import logger_options, show
from _page import browser, open_page, viewer

from streamvis import DataLogger

SERIES, POINTS, MORE, TICKS = 2000, 1000, 10, 30


def main() -> None:
    """Prints the median time of one append, and how many appends per second the page takes when nobody waits."""
    rng = np.random.default_rng(0)
    with (
        viewer() as (server, address),
        browser() as running,
        DataLogger("run", flush_every=0.01, **logger_options(server)) as logger,
    ):
        height = np.arange(SERIES, dtype="f4")[:, None]
        logger.write("lines", x=np.arange(POINTS), y=height + rng.standard_normal((SERIES, POINTS)).astype("f4"))
        logger.flush()
        page = open_page(running, address)
        total = SERIES * POINTS
        page.evaluate("count => window.paintedPoints(count)", total)

        def append() -> float:
            nonlocal total
            x = np.arange(MORE) + total // SERIES
            total += SERIES * MORE
            began = time.time()
            logger.write("lines", x=x, y=height + rng.standard_normal((SERIES, MORE)).astype("f4"))
            return began

        latencies = []
        for _ in range(TICKS):
            began = append()
            latencies.append(page.evaluate("count => window.paintedPoints(count)", total) - began * 1e3)
        began = time.time()
        paints = page.evaluate(PAINTS)
        for _ in range(TICKS):
            append()
            time.sleep(0.05)
        end = page.evaluate("count => window.paintedPoints(count)", total) / 1e3
        rate = (page.evaluate(PAINTS) - paints) / (end - began)
        backend = page.evaluate("async () => [...(await import('/assets/layers.js')).layers.values()][0].backend")
    show(f"V2 append to 2,000 series, write to pixels ({backend})", statistics.median(latencies), "ms", at_most=80)
    show("V2 paints while 20 appends come per second", rate, "/s", at_least=10)


PAINTS = "async () => [...(await import('/assets/layers.js')).layers.values()][0].stats.paints"


if __name__ == "__main__":
    main()
