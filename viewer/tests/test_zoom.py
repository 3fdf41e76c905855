"""A line of more points than a browser gets, looked at closely, in a real browser with a real data server."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page

from streamvis import DataLogger
from streamvis.server.run import ServerThread
from viewer.tests.test_page import RANGES, SCHEMA, shows, until, visit, write

pytestmark = pytest.mark.browser
__all__ = ["SCHEMA", "visit"]  # of the fixtures

POINTS = 2_500_000
LOOK = """async () => {
  const layer = (await import("/assets/layers.js")).layers.get("p0");
  const drawn = layer.stats?.points ?? layer.plot_view.model.renderers[0].data_source.data.xs[0]?.length;
  return {wants: layer.wants, drawn};
}"""
SCREEN = """async ([x, y]) => {
  const {frame, canvas_view} = (await import("/assets/layers.js")).layers.get("p0").plot_view;
  const {left, top} = canvas_view.el.getBoundingClientRect();
  return [left + frame.x_scale.compute(x), top + frame.y_scale.compute(y)];
}"""
# Of points: at how many of their places nothing is drawn, and how many of them the pointer does not find.
MISSING = """async ([xs, ys]) => {
  const layer = (await import("/assets/layers.js")).layers.get("p0");
  const {frame: {x_scale, y_scale}, canvas_view: {primary}} = layer.plot_view;
  let [blank, unfound] = [0, 0];
  xs.forEach((x, i) => {
    const [sx, sy] = [x_scale.compute(x), y_scale.compute(ys[i])];
    const {data} = primary.ctx.getImageData(Math.round(sx) - 1, Math.round(sy) - 1, 3, 3);
    const isInk = (_, i) => i % 4 === 3 && data[i] > 128 && data[i - 3] < 200; // neither nothing nor a line of the grid
    blank += !data.some(isInk);
    const found = layer.nearest(sx, sy);
    unfound += !(found && found.x === x && found.y === ys[i]);
  });
  return {blank, unfound};
}"""


def heights(x: np.ndarray) -> np.ndarray:
    """So unlike their neighbours' that a line through some of the points is far from the others."""
    return (x * 7919 % 1000).astype("f4")


def missing(page: Page, xs: np.ndarray) -> dict[str, int]:
    found: dict[str, int] = page.evaluate(MISSING, [xs.tolist(), heights(xs).tolist()])
    return found


def drawn(page: Page) -> int:
    """Points of the last picture; of steps their corners."""
    return int(page.evaluate(LOOK)["drawn"])


def is_settled(page: Page) -> bool:
    """Whether no closer look would show more."""
    return not page.evaluate(LOOK)["wants"]


def zoom(page: Page, x: float, before: float, after: float) -> None:
    """Draws a box, so many pixels to both sides of the middle of a point."""
    across, down = page.evaluate(SCREEN, [x, 500])
    shown = page.evaluate(RANGES, "p0")

    def zoomed() -> bool:
        page.mouse.move(across - before, down)
        page.keyboard.down("Shift")
        page.mouse.down()
        for part in (0.3, 0.6, 1.0):
            page.mouse.move(across - before + part * (before + after), down + 1)
            page.evaluate("new Promise(requestAnimationFrame)")  # Chromium makes one of all moves within a frame
        page.mouse.up()
        page.keyboard.up("Shift")
        return bool(page.evaluate(RANGES, "p0") != shown)

    until(zoomed)


@pytest.mark.parametrize("plot", ["loss", "steps"])
def test_a_closer_look_has_every_point_and_grows(data: ServerThread, visit: Callable[..., Page], plot: str) -> None:
    """What a window shows comes exactly, goes on with new points, and makes way for everything again."""
    write(data.uri, "run1", "loss", x=np.arange(POINTS), y=heights(np.arange(POINTS)))
    page = visit(f"/?rows={plot}")
    shows(page, "2,500,000 points")
    shows(page, "1 plot thinned", "#thinned")
    until(lambda: is_settled(page) and drawn(page) > 0)
    whole = drawn(page)
    assert whole < POINTS / 100

    for _ in range(3):  # a pixel is 3,000 points, then 100, then 3
        zoom(page, POINTS, 18, 8)
        until(lambda: is_settled(page))
    start, end = page.evaluate(RANGES, "p0")[:2]
    assert end > POINTS + 20
    window = np.arange(np.ceil(start), POINTS)
    assert 20 < len(window) < 200
    until(lambda: missing(page, window) == {"blank": 0, "unfound": 0})

    with DataLogger("run1", grpc_uri=data.uri) as logger:
        for x in np.arange(POINTS, POINTS + 20):
            logger.write("loss", x=x, y=heights(x))
    shows(page, "2,500,020 points")
    window = np.arange(np.ceil(start), POINTS + 20)
    until(lambda: missing(page, window) == {"blank": 0, "unfound": 0})
    assert page.evaluate(RANGES, "p0")[:2] == [start, end]

    page.mouse.dblclick(*page.evaluate(SCREEN, [start, 500]))
    until(lambda: page.evaluate(RANGES, "p0")[0] < 0)
    until(lambda: drawn(page) == whole + 20 * (3 if plot == "steps" else 1))
    assert is_settled(page)
    assert page.evaluate(RANGES, "p0")[1] > POINTS + 20
