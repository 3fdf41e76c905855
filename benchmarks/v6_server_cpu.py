"""V6: what one tick of 10 new points for each of 2,000 series costs the viewer's process, for one distinct view.

From the data server's message to the frame of a tab: decoded once for the process, then taken in and encoded for a
view. The series are the indexes of one topic, or topics of their own, each with a block of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection

import numpy as np
from _harness import show

from streamvis import Block, Topic, Update
from streamvis.codec import decode_each, encode
from streamvis.records import Change
from streamvis.wire import dump_change, load_change
from streamvis_viewer.feed import CATALOG
from streamvis_viewer.frames import Later
from streamvis_viewer.layout import parse
from streamvis_viewer.schema import Plot, Schema
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.tabs import Tab, Views

SERIES, POINTS, MORE, TICKS = 2000, 1000, 10, 100


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
    """Prints the mean CPU time of a tick."""
    one = [Topic(1, "run", "loss", ("x", "y"))]
    many = [Topic(number + 1, "run", f"loss{number}", ("x", "y")) for number in range(SERIES)]
    for topics, blocks, which in ((one, _matrix, "2,000 indexes of a topic"), (many, _rows, "2,000 topics")):
        decoded, taken = ticked(topics, blocks)
        show(f"V6 a tick of {which}", taken, "ms", at_most=5)
        show("V6 to decode it, once for all views", decoded, "ms")


def _matrix(begin: int, points: int) -> tuple[Block, ...]:
    x = np.arange(begin, begin + points)[np.newaxis]
    return (Block(1, 0, {"x": x, "y": _values(begin, SERIES, points)}),)


def _rows(begin: int, points: int) -> tuple[Block, ...]:
    x = np.arange(begin, begin + points)[np.newaxis]
    values = _values(begin, SERIES, points)
    return tuple(Block(number + 1, 0, {"x": x, "y": values[number : number + 1]}) for number in range(SERIES))


def _values(seed: int, rows: int, points: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, points)).astype("f4")


def ticked(topics: list[Topic], blocks: Callable[[int, int], tuple[Block, ...]]) -> tuple[float, float]:
    """Milliseconds of CPU, the mean: to decode a message, and for everything after that."""
    views = Views(SeriesStore(), Feed())  # type: ignore[arg-type] # as much of a feed as views need
    schema = Schema({"p": Plot(columns=["x", "y"])})
    views.apply([Update(topics=tuple(topics), interest=CATALOG, cursor=b"c")])
    tab = Tab(views, parse({"rows": ["p"]}, schema), schema.plots)
    views.apply([Update(blocks=blocks(0, POINTS), interest=CATALOG + 1, cursor=b"c")])
    for frame in tab.frames():
        if isinstance(frame, Later):
            frame()
    decoding, taking = [], []
    for tick in range(TICKS):
        encoded = tuple(map(encode, blocks(POINTS + tick * MORE, MORE)))
        message = dump_change(Change((), (), encoded, b"c", 0))
        began = time.process_time()
        decoded = decode_each(load_change(message).blocks, lambda _: ("x", "y"))
        then = time.process_time()
        views.apply([Update(blocks=decoded, cursor=b"c")])
        frames = tab.frames()
        taking.append(time.process_time() - then)
        decoding.append(then - began)
        assert frames, "a tick brings news"
    return 1e3 * statistics.mean(decoding), 1e3 * statistics.mean(taking)


if __name__ == "__main__":
    main()
