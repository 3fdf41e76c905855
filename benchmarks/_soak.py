"""The soak: 10 tabs that watch 500 series grow for 10 minutes. Whatever holds memory must come to rest.

    make soak                     the whole of it
    make soak ARGS="--minutes 1"  a short one

Prints once per tenth of the time what the viewer's process and the tabs' heaps hold (after a garbage collection), and
at the end how much both grew per million points in the second half, beside what those points take. Fails when a point
is missing from a tab, or when the second half grows by more than twice what its points take and `SLACK` bytes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from _harness import logger_options, show
from _page import Viewer, browser, open_page, viewer
from playwright.sync_api import Browser, Page

from streamvis import DataLogger

TABS, SERIES = 10, 500
WRITES_PER_SECOND = 2.0
SAMPLES = 10
POINT_BYTES = 16
"""A viewer's x and y as they were written: int64 is shared by all series, y is a float64; with the room to grow."""
SLACK = 32 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """What is held at one moment."""

    seconds: float
    points: int
    viewer: int
    """Resident bytes of the viewer's process."""
    heaps: int
    """Bytes of all tabs' JavaScript heaps, with what their arrays hold."""

    def __str__(self) -> str:
        megabytes = f"viewer {self.viewer / 1e6:6.1f} MB  tabs {self.heaps / 1e6 / TABS:6.1f} MB each"
        return f"{self.seconds:6.0f} s  {self.points:>9,} points  {megabytes}"


def main() -> None:
    """Soaks, and judges."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    seconds = 60 * parser.parse_args().minutes
    with viewer() as made, browser() as running:
        samples = []
        for sample in soak(made, running, seconds):
            print(sample, flush=True)
            samples.append(sample)
    judge(samples[len(samples) // 2 :])


def soak(made: Viewer, running: Browser, seconds: float) -> Iterator[Sample]:
    """Writes as a training run would, and looks at the memory now and then."""
    with DataLogger("run", flush_every=0.25, **logger_options(made.server)) as logger:
        write(logger, 0)
        tabs = [open_page(running, made.page("rows=lines")) for _ in range(TABS)]
        began, step = time.monotonic(), 1
        yield sample(made, tabs, 0, step)
        for number in range(1, SAMPLES + 1):
            while time.monotonic() - began < seconds * number / SAMPLES:
                write(logger, step)
                step += 1
                time.sleep(max(began + step / WRITES_PER_SECOND - time.monotonic(), 0))
            yield sample(made, tabs, time.monotonic() - began, step)


def write(logger: DataLogger, step: int) -> None:
    """One point of each series."""
    logger.write("lines", x=step, y=np.arange(SERIES)[:, np.newaxis] + np.random.default_rng(step).random((SERIES, 1)))


def sample(made: Viewer, tabs: list[Page], seconds: float, step: int) -> Sample:
    """When every tab has painted every point."""
    points = SERIES * step
    for tab in tabs:
        tab.bring_to_front()  # a tab in the background paints nothing
        tab.evaluate("count => window.paintedPoints(count)", points)
        total = tab.evaluate("window.layerStats()")["total"]
        assert total == points, f"a tab holds {total:,} points; {points:,} were written"
    return Sample(seconds, points, made.resident_bytes, sum(map(heap, tabs)))


def heap(tab: Page) -> int:
    """Bytes of what is alive in a tab."""
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    session.detach()
    return int(usage["usedSize"] + usage.get("backingStorageSize", 0))


def judge(half: list[Sample]) -> None:
    """Whether memory grew by more than points take. Raises AssertionError."""
    first, last = half[0], half[-1]
    points = (last.points - first.points) * POINT_BYTES
    show(
        "soak: the viewer's growth in the second half",
        (last.viewer - first.viewer) / 1e6,
        "MB",
        peer=("its points", points / 1e6),
    )
    heaps = (last.heaps - first.heaps) / TABS
    show("soak: a tab's growth in the second half", heaps / 1e6, "MB", peer=("its points", points / 1e6))
    for grown in (last.viewer - first.viewer, heaps):
        assert grown <= 2 * points + SLACK, f"grew by {grown / 1e6:.1f} MB; its points take {points / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
