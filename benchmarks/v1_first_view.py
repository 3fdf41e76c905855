"""V1: from the navigation to a page that is ready, and from there to 100 series of 1,000 points on the screen."""

from __future__ import annotations

import statistics

import numpy as np
from _harness import REPEATS, logger_options, show
from _page import backend, browser, open_page, viewer

from streamvis import DataLogger

SERIES, POINTS = 100, 1000

# Both are awaited at once: neither may wait for the other to be looked at.
READY = """async count => {
  const idle = async () => {
    while (!window.Bokeh?.documents?.[0]?.is_idle) await new Promise(requestAnimationFrame);
    return Date.now();
  };
  return await Promise.all([idle(), window.paintedPoints(count)]);
}"""


def main() -> None:
    """Prints the medians; the first page of a viewer, which warms its caches, does not count."""
    ready, visible = [], []
    with viewer() as made, browser() as running:
        with DataLogger("run", **logger_options(made.server)) as logger:
            walk = np.random.default_rng(0).standard_normal((SERIES, POINTS)).cumsum(1).astype("f4")
            logger.write("lines", x=np.arange(POINTS), y=walk)
        for _ in range(REPEATS + 1):
            page = open_page(running, made.page("rows=lines"))
            idle, seen = page.evaluate(READY, SERIES * POINTS)
            began = page.evaluate("performance.timeOrigin")
            drawn_by = backend(page)
            ready.append(idle - began)
            visible.append(max(0.0, seen - idle))
            page.close()
    show("V1 page ready", statistics.median(ready[1:]), "ms", at_most=900)
    show(f"V1 100 series x 1,000 visible then ({drawn_by})", statistics.median(visible[1:]), "ms", at_most=150)


if __name__ == "__main__":
    main()
