"""P8: what a tight training loop feels of flushes, beside a loop that logs nothing and one that keeps tuples.

A list of tuples is the obvious form of a buffer, and not the logger's: the garbage collector walks them, and a flush
turns them into arrays while it holds the interpreter lock. Both show when the interval is long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _harness import Server, data_server, logger_options, show

from streamvis import DataLogger

SECONDS = 10.0
SHORT, LONG = 0.05, 2.0  # seconds between flushes
LONG_STEP = 50_000  # nanoseconds of a step after which the system is asked whether it was the reason
EDGES = (0.01, 0.1, 1, 5, 10, 50)  # milliseconds


def main() -> None:
    """Prints the 99th percentile and the longest of the loop's steps."""
    bare, tuples = _steps(lambda _: None), _tuples()
    with data_server() as server:
        short, long = (_logged(server, interval) for interval in (SHORT, LONG))
    show("P8 step of a tight loop, p99", _p99(short), "ms", peer=("nothing logged", _p99(bare)), at_most=0.2)
    show("P8 longest step, 50 ms flushes", short.max(), "ms", peer=("nothing logged", bare.max()), at_most=10)
    show("P8 longest step, 2 s flushes", long.max(), "ms", peer=("retained tuples", tuples.max()))
    print("P8 steps a second that took longer than" + "".join(f"{edge:>9} ms" for edge in EDGES))
    loops = {"nothing logged": bare, "50 ms flushes": short, "2 s flushes": long, "retained tuples": tuples}
    for loop, times in loops.items():
        print(f"   {loop:<36}" + "".join(f"{np.count_nonzero(times > edge) / SECONDS:>12,.1f}" for edge in EDGES))


def _logged(server: Server, interval: float) -> np.ndarray:
    with DataLogger(f"every {interval} s", flush_every=interval, **logger_options(server)) as logger:
        return _steps(lambda step: logger.write("loss", x=step, y=0.5))


def _tuples() -> np.ndarray:
    """The loop with a buffer of tuples that a thread turns into arrays."""
    buffer: list[tuple[str, int, float]] = []
    running = True

    def flush() -> None:
        nonlocal buffer
        while running:
            time.sleep(LONG)
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
    """Milliseconds of each step of a loop that only writes, without what it waited for a processor."""
    times = np.empty(int(SECONDS * 8e6))
    clock = time.perf_counter_ns
    with _run_delay() as delay:
        waited = delay()
        last, step = clock(), 0
        end = last + int(SECONDS * 1e9)
        while last < end and step < len(times):
            write(step)
            now = clock()
            taken = now - last
            if taken > LONG_STEP:
                before, waited = waited, delay()
                taken = max(0, taken - (waited - before))
            times[step] = taken
            last = clock() if taken > LONG_STEP else now
            step += 1
    return times[:step] / 1e6


@contextmanager
def _run_delay() -> Iterator[Callable[[], int]]:
    """Nanoseconds that this thread was ready and had no processor, where the system counts them (Linux)."""
    path = Path("/proc/thread-self/schedstat")
    if not path.exists():
        yield lambda: 0
        return
    with path.open() as file:

        def delay() -> int:
            file.seek(0)
            return int(file.read().split()[1])

        yield delay


def _p99(times: np.ndarray) -> float:
    return float(np.percentile(times, 99))


if __name__ == "__main__":
    main()
