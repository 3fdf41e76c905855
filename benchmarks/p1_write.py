"""P1: what one `write` of two numbers costs a training loop, the collector on and flushes under way."""

from __future__ import annotations

import gc
import statistics
import time
from array import array
from collections.abc import Callable

import numpy as np
from _harness import REPEATS, Server, data_server, logger_options, show, summary_writer

from streamvis import DataLogger

SECONDS = 2.2  # each of REPEATS windows: more than ten in all, which hold more than five flushes
BLOCK, SINGLES = 1000, 100


def main() -> None:
    """Prints mean, p99 and CPU time per call."""
    assert gc.isenabled()
    with data_server() as server:
        means, singles, appends, cpu, flushes = _ours(server)
        add_scalar = _tensorboard(server)
    assert flushes >= 5, f"only {flushes} flushes happened"
    mean = statistics.median(means)
    show("P1 write, mean per call", mean, "µs", peer=("list.append", statistics.median(appends)), at_most=0.7)
    show("P1 write, p99 per call", float(np.percentile(singles, 99)), "µs", at_most=4)
    show("P1 write, CPU per point with its flush", cpu, "µs")
    if add_scalar:
        show("P1 write, beside TensorBoard", mean, "µs", peer=("add_scalar", add_scalar))


def _ours(server: Server) -> tuple[list[float], np.ndarray, list[float], float, int]:
    means: list[float] = []
    appends: list[float] = []
    singles = array("q")
    clock = _clock_cost()
    calls, aside = 0, 0
    with DataLogger("run", **logger_options(server)) as logger:
        logger.write("loss", x=0, y=0.5)
        cpu = time.process_time_ns()
        for _ in range(REPEATS):
            blocks, peers = array("q"), array("q")
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                blocks.append(_timed(_write_block, logger.write, calls))
                _write_singles(logger.write, singles)
                calls += BLOCK + SINGLES
                before = time.thread_time_ns()
                peers.append(_timed(_append_block, [].append, calls))
                aside += time.thread_time_ns() - before
            means.append((statistics.fmean(blocks) - clock) / BLOCK / 1e3)
            appends.append((statistics.fmean(peers) - clock) / BLOCK / 1e3)
        logger.flush()
        per_point = (time.process_time_ns() - cpu - aside) / calls / 1e3
        flushes = logger.stats()["flushes"]
    return means, (np.array(singles) - clock) / 1e3, appends, per_point, flushes


def _write_block(write: Callable[..., None], first: int) -> None:
    for i in range(first, first + BLOCK):
        write("loss", x=i, y=0.5)


def _append_block(append: Callable[[int], None], first: int) -> None:
    for i in range(first, first + BLOCK):
        append(i)


def _timed(run: Callable[..., None], call: Callable[..., None], first: int) -> int:
    start = time.perf_counter_ns()
    run(call, first)
    return time.perf_counter_ns() - start


def _write_singles(write: Callable[..., None], into: array[int]) -> None:
    now = time.perf_counter_ns
    for i in range(SINGLES):
        start = now()
        write("loss", x=i, y=0.5)
        into.append(now() - start)


def _clock_cost() -> float:
    now = time.perf_counter_ns
    return statistics.median(-(now() - now()) for _ in range(10_000))


def _tensorboard(server: Server) -> float | None:
    """Microseconds per add_scalar, its flushes included as in ours."""
    writer = summary_writer(server.directory)
    if writer is None:
        return None
    times = []
    for repeat in range(REPEATS):
        start = time.perf_counter_ns()
        for i in range(repeat * BLOCK, (repeat + 1) * BLOCK):
            writer.add_scalar("loss", 0.5, i)
        times.append((time.perf_counter_ns() - start) / BLOCK / 1e3)
    writer.close()
    return statistics.median(times)


if __name__ == "__main__":
    main()
