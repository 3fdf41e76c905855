"""V8: another size of the window: messages to the server, and how far plots are from where the address puts them."""

from __future__ import annotations

import numpy as np
from _harness import logger_options, show
from _page import browser, open_page, viewer
from playwright.sync_api import Page

from streamvis import DataLogger

QUERY = "rows=lines,points;metrics&width=1,2,1&height=1,2"
BOXES = [(0, 0, 1 / 3, 1 / 3), (1 / 3, 0, 2 / 3, 1 / 3), (0, 1 / 3, 1, 2 / 3)]
SIZES = [(1600, 1000), (900, 1200), (700, 500), (1200, 800), (1111, 777)]

PLACES = """selector => [...document.querySelectorAll(selector)].map(element => {
  const {x, y, width, height} = element.getBoundingClientRect();
  return [x, y, width, height];
})"""


def main() -> None:
    """Prints the messages of five changes, and the largest error."""
    sent: list[str] = []
    with viewer() as made, browser() as running:
        with DataLogger("run", **logger_options(made.server)) as logger:
            logger.write("lines", x=np.arange(100), y=np.arange(100.0))
        page = open_page(running, "about:blank")
        page.on("websocket", lambda socket: socket.on("framesent", lambda text: sent.append(str(text))))
        page.on("request", lambda request: sent.append(request.url))
        page.goto(made.page(QUERY))
        page.evaluate("count => window.paintedPoints(count)", 100)
        page.wait_for_timeout(1000)  # what the first view asks for
        sent.clear()
        errors = []
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(300)
            errors.append(error(page))
    show("V8 messages of five resizes", float(len(sent)), "", at_most=0)
    show("V8 error of the layout", max(errors), "px", at_most=1)


def error(page: Page) -> float:
    """The largest distance of an edge from its place, in pixels."""
    ((left, top, width, height),) = page.evaluate(PLACES, ".page")
    wanted = [(left + x * width, top + y * height, w * width, h * height) for x, y, w, h in BOXES]
    return float(np.abs(np.array(page.evaluate(PLACES, ".cell")) - wanted).max())


if __name__ == "__main__":
    main()
