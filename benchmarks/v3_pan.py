"""V3: one frame of a pan, from the change of the range to the pixels; without a yardstick."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
from _harness import logger_options, show
from _page import browser, open_page, viewer

from streamvis import DataLogger

FRAMES = 20

# Milliseconds of each frame of a pan by 2 pixels; reading a pixel makes a canvas draw what it has only noted.
PAN = """async frames => {
  const {layers} = await import("/assets/layers.js");
  const {plot_view} = [...layers.values()][0];
  const {x_range} = plot_view.model, {ctx} = plot_view.canvas_view.primary;
  const step = (x_range.end - x_range.start) * 2 / plot_view.frame.bbox.width;
  const times = [];
  for (let i = 0; i < frames; i++) {
    const began = performance.now();
    const painted = new Promise(resolve => {
      const done = () => { plot_view.repainted.disconnect(done); resolve(); };
      plot_view.repainted.connect(done);
    });
    x_range.setv({start: x_range.start + step, end: x_range.end + step}, {sync: false});
    await painted;
    ctx.getImageData(0, 0, 1, 1);
    times.push(performance.now() - began);
  }
  return times;
}"""


def main() -> None:
    """Prints the median frame of many lines and of two clouds."""
    rng = np.random.default_rng(0)
    series, points = 2000, 1000
    lines = np.arange(series, dtype="f4")[:, None] + rng.standard_normal((series, points)).astype("f4")
    _measure("2,000 lines x 1,000", "lines", iter([(np.arange(points), lines)]), at_most=80)
    for millions, at_most in ((1, 50), (5, 80)):
        clouds = (rng.standard_normal((2, 1_000_000), dtype="f4") for _ in range(millions))
        _measure(f"{millions} M points", "points", ((x, y) for x, y in clouds), at_most=at_most)


def _measure(what: str, plot: str, data: Iterator[tuple[np.ndarray, np.ndarray]], *, at_most: float) -> None:
    with viewer() as (server, address), browser() as running:
        total = 0
        with DataLogger("run", **logger_options(server)) as logger:
            for number, (x, y) in enumerate(data):
                logger.write(plot if plot == "lines" else f"{plot}{number}", x=x, y=y)
                total += y.size
        page = open_page(running, address.replace("rows=lines", f"rows={plot}"))
        page.evaluate("count => window.paintedPoints(count)", total)
        times = page.evaluate(PAN, FRAMES)
        backend = page.evaluate(BACKEND)
    show(f"V3 pan {what} ({backend})", statistics.median(times), "ms", at_most=at_most)


BACKEND = "async () => [...(await import('/assets/layers.js')).layers.values()][0].backend"


if __name__ == "__main__":
    main()
