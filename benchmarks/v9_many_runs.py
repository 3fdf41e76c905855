"""V9: a store of 5,000 scopes x 50 names x 1,000 points: what opening one run takes.

The points are put into the store's files before the server starts; all but those of the run that is opened are
arithmetic, and take next to no disk.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
from _harness import REPEATS, data_server, disk_directory, show
from _page import Viewer, browser, open_page, viewer_of
from playwright.sync_api import Browser

from streamvis.codec import encode
from streamvis.columns import Block
from streamvis.records import Batch, Declaration
from streamvis.storage import Submission, open_store

SCOPES, NAMES, POINTS = 5_000, 50, 1_000
OPENED = SCOPES // 2
SCOPES_PER_COMMIT = 250


def main() -> None:
    """Prints the median first view, the viewer's resident size, and the bytes of a page beside those of its points."""
    with disk_directory() as directory:
        fill(f"{directory}/data")
        with data_server(directory) as server, viewer_of(server) as made, browser() as running:
            wait_for_catalog(made, running)
            before = made.resident_bytes
            views = [view(made, running, OPENED + number) for number in range(REPEATS)]
            after = made.resident_bytes
    times, sizes = zip(*views, strict=True)
    show("V9 open one run of 5,000: first view", statistics.median(times) / 1e3, "s", at_most=1)
    show("V9 the viewer's resident size", after / 1e6, "MB", at_most=300)
    show("V9 of that, five runs that were opened", (after - before) / 1e6, "MB")
    points = NAMES * POINTS * 8 / 1e6
    show("V9 sent to the page", statistics.median(sizes) / 1e6, "MB", peer=("its points", points))


def fill(prefix: str) -> None:
    """Makes the store."""
    store = open_store(prefix)
    for first in range(0, SCOPES, SCOPES_PER_COMMIT):
        acks, _ = store.append([Submission(batch(first + number), {}) for number in range(SCOPES_PER_COMMIT)])
        assert all(ack.stored for ack in acks)
    store.close()


def batch(scope: int) -> Batch:
    """All points of a run, as its logger would send them."""
    declared = tuple(Declaration(handle, f"run{scope}", f"metric{handle}", ("x", "y")) for handle in range(NAMES))
    return Batch(f"{scope:032x}", 1, declared, (), tuple(encode(block) for block in blocks(scope)))


def blocks(scope: int) -> Iterator[Block]:
    """One for each name."""
    x = np.arange(POINTS)[np.newaxis]
    rng = np.random.default_rng(scope)
    for handle in range(NAMES):
        is_opened = OPENED <= scope < OPENED + REPEATS
        y = rng.standard_normal((1, POINTS)).cumsum(axis=1).astype("f4") if is_opened else x.astype("f4")
        yield Block(handle, 0, {"x": x, "y": y})


def wait_for_catalog(made: Viewer, running: Browser) -> None:
    """Until the viewer knows all runs."""
    page = open_page(running, made.page(query(SCOPES - 1)))
    page.evaluate("count => window.paintedPoints(count)", NAMES * POINTS)
    page.close()


def query(scope: int) -> str:
    """The page of one run: all of its names in one plot."""
    return f"rows=metrics&scopes=^run{scope}$&color=n"


def view(made: Viewer, running: Browser, scope: int) -> tuple[float, int]:
    """Milliseconds from the navigation to the points of a run; bytes on the data socket."""
    received: list[int] = []
    page = open_page(running, "about:blank")
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    began = time.time()
    page.goto(made.page(query(scope)), wait_until="commit")
    end = page.evaluate("count => window.paintedPoints(count)", NAMES * POINTS)
    page.close()
    return end - began * 1e3, sum(received)


if __name__ == "__main__":
    main()
