"""V6: what one tick of 10 new points for each of 2,000 series costs the viewer's process, for one distinct view.

Without the network: from decoded blocks to the frame of a tab. The series are the indexes of one topic, or topics of
their own, each with a block of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection

import numpy as np
from _harness import show

from streamvis import Block, Topic, Update
from streamvis_viewer.feed import CATALOG
from streamvis_viewer.frames import Later
from streamvis_viewer.layout import parse
from streamvis_viewer.schema import Plot, Schema
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.tabs import Tab, Views

SERIES, POINTS, MORE, TICKS = 2000, 1000, 10, 30


class Feed:
    """As much of one as views need: everything arrives at once."""

    def __init__(self) -> None:
        self.number = CATALOG

    def add(self, _: Collection[tuple[str, str]]) -> int:
        """One more interest."""
        self.number += 1
        return self.number

    def drop(self, number: int) -> None:
        """Nothing is dropped."""


def main() -> None:
    """Prints the median CPU time of a tick."""
    one = [Topic(1, "run", "loss", ("x", "y"))]
    many = [Topic(number + 1, "run", f"loss{number}", ("x", "y")) for number in range(SERIES)]
    show("V6 a tick of 2,000 indexes of a topic", ticked(one, _matrix), "ms", at_most=5)
    show("V6 a tick of 2,000 topics", ticked(many, _rows), "ms")


def _matrix(begin: int, points: int) -> tuple[Block, ...]:
    x = np.arange(begin, begin + points)[np.newaxis]
    return (Block(1, 0, {"x": x, "y": np.ones((SERIES, points), "f4")}),)


def _rows(begin: int, points: int) -> tuple[Block, ...]:
    x = np.arange(begin, begin + points)[np.newaxis]
    return tuple(Block(number + 1, 0, {"x": x, "y": np.ones((1, points), "f4")}) for number in range(SERIES))


def ticked(topics: list[Topic], blocks: Callable[[int, int], tuple[Block, ...]]) -> float:
    """Milliseconds of CPU, the median."""
    views = Views(SeriesStore(), Feed())  # type: ignore[arg-type] # as much of a feed as views need
    schema = Schema({"p": Plot(columns=["x", "y"])})
    views.apply([Update(topics=tuple(topics), interest=CATALOG, cursor=b"c")])
    tab = Tab(views, parse({"rows": ["p"]}, schema), schema.plots)
    views.apply([Update(blocks=blocks(0, POINTS), interest=CATALOG + 1, cursor=b"c")])
    for frame in tab.frames():
        if isinstance(frame, Later):
            frame()
    times = []
    for tick in range(TICKS):
        update = Update(blocks=blocks(POINTS + tick * MORE, MORE), cursor=b"c")
        began = time.process_time()
        views.apply([update])
        frames = tab.frames()
        times.append(time.process_time() - began)
        assert frames, "a tick brings news"
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
