"""V5: a cloud of 200 steps of 10,000 points; from a move of its slider to the points of that step.

Beside it what a server does that masks all rows for every step: Bokeh's `scatter`, whose data are replaced.
"""

from __future__ import annotations

import statistics

import numpy as np
from _harness import REPEATS, logger_options, show
from _page import backend, browser, open_page, viewer
from _stock import stock
from bokeh.models import ColumnDataSource
from playwright.sync_api import Browser

from streamvis import DataLogger

STEPS, POINTS = 200, 10_000
TICKS = 40


def main() -> None:
    """Prints the median step with its peer."""
    t = np.repeat(np.arange(STEPS, dtype="i4"), POINTS)
    x, y = np.random.default_rng(0).standard_normal((2, STEPS * POINTS)).astype("f4")
    with browser() as running:
        peer = ("server's mask", masked(running, x, y, t))
        with viewer() as made:
            with DataLogger("run", **logger_options(made.server)) as logger:
                for step in range(STEPS):
                    part = slice(step * POINTS, (step + 1) * POINTS)
                    logger.write("steps", x=x[part], y=y[part], t=step)
            page = open_page(running, made.page("rows=steps"))
            page.evaluate("count => window.paintedPoints(count)", STEPS * POINTS)
            times = page.evaluate("values => window.stepped(values)", [7 * tick % STEPS for tick in range(TICKS)])
            drawn_by = backend(page)
    show(f"V5 slider over 200 x 10,000 ({drawn_by})", statistics.median(times), "ms", peer=peer, at_most=30)


def masked(running: Browser, x: np.ndarray, y: np.ndarray, t: np.ndarray) -> float:
    """Milliseconds of a step, the median."""
    source = ColumnDataSource({"x": x[t == 0], "y": y[t == 0]})

    def select(step: int) -> None:
        mask = t == step
        source.data = {"x": x[mask][: POINTS - step % 2], "y": y[mask][: POINTS - step % 2]}  # so that lengths differ

    with stock(running, lambda plot: plot.scatter("x", "y", size=4, source=source), x=(-5, 5), y=(-5, 5)) as page:
        times = [page.change(lambda step=step: select(step), POINTS - step % 2) for step in range(1, 2 * REPEATS + 1)]
    return statistics.median(times)


if __name__ == "__main__":
    main()
