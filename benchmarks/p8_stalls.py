"""P8: what a tight training loop feels of 50 ms flushes, beside a loop that logs nothing and one that keeps tuples.

The tuples are the obvious form of a buffer, which the logger does not use: their number is what the garbage collector
walks, and a flush turns them into arrays while it holds the interpreter lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from _harness import data_server, logger_options, show

from streamvis import DataLogger

SECONDS = 10.0
FLUSH_EVERY = 0.05


def main() -> None:
    """Prints the 99th percentile and the longest of the loop's steps."""
    bare = _steps(lambda _: None)
    tuples = _tuples()
    with data_server() as server, DataLogger("run", flush_every=FLUSH_EVERY, **logger_options(server)) as logger:
        ours = _steps(lambda step: logger.write("loss", x=step, y=0.5))
    peer = ("nothing logged", _p99(bare))
    show("P8 step of a tight loop, p99", _p99(ours), "ms", peer=peer, at_most=0.2)
    show("P8 longest step", ours.max(), "ms", peer=("nothing logged", bare.max()), at_most=10)
    show("P8 longest step, against retained tuples", ours.max(), "ms", peer=("tuples", tuples.max()))


def _tuples() -> np.ndarray:
    """The loop with a buffer of tuples that a thread turns into arrays."""
    buffer: list[tuple[str, int, float]] = []
    running = True

    def flush() -> None:
        nonlocal buffer
        while running:
            time.sleep(FLUSH_EVERY)
            taken, buffer = buffer, []
            np.array([row[1] for row in taken])
            np.array([row[2] for row in taken])

    flusher = threading.Thread(target=flush)
    flusher.start()
    taken = _steps(lambda step: buffer.append(("loss", step, 0.5)))
    running = False
    flusher.join()
    return taken


def _steps(write: Callable[[int], None]) -> np.ndarray:
    """Milliseconds of each step of a loop that only writes."""
    times = np.empty(int(SECONDS * 8e6))
    clock = time.perf_counter_ns
    last, step = clock(), 0
    end = last + int(SECONDS * 1e9)
    while last < end and step < len(times):
        write(step)
        now = clock()
        times[step] = now - last
        last = now
        step += 1
    return times[:step] / 1e6


def _p99(times: np.ndarray) -> float:
    return float(np.percentile(times, 99))


if __name__ == "__main__":
    main()
