"""P3: point clouds through gRPC until they are durable, beside appending the same bytes to a file on that disk.

`p3_bulk.py 4096 16384` compares sizes of the data file's pages.

Where it goes, as processor time for 16 MB: appending them to a file takes 5 ms; the logger 55; the server 75, of which
33 are SQLite's commit, which writes 4,000 pages with two calls each, and more its checkpoint, which writes all of it
again; and 40 more are compaction beside it. Pages of 16 KiB take 6 ms off the commit, 64 KiB 8; a small commit costs
the same with any, but the log grows by the five whole pages that it touches. They stay at 4 KiB for what P7 measures:
2.80 bytes per point become 3.05 with 16 KiB.

Two processors would need half the time that passes. In the logger, the thread that writes and the one that sends take
the interpreter lock from each other, 5 ms at a time: 16 MB are written in 40 ms instead of 11, and the first of them is
with the server after 24. It commits three or four times, one after the other, for 85 of the 125 ms.
"""

from __future__ import annotations

import os
import statistics
import sys

import numpy as np
from _harness import Server, check_series, data_server, logger_options, show, stopwatch

from streamvis import Client, DataLogger

CLOUDS, POINTS, REPEATS = 200, 10_000, 7
CLOUD = np.random.default_rng(0).random((2, CLOUDS, POINTS), dtype=np.float32)


def main() -> None:
    """Prints megabytes per second; the two take turns, because disks have moods."""
    for page_bytes in map(int, sys.argv[1:] or ["0"]):
        _bulk(page_bytes)


def _bulk(page_bytes: int) -> None:
    figure = f"P3 clouds until durable{f', pages of {page_bytes}' if page_bytes else ''}"
    with data_server(page_bytes=page_bytes) as server:
        pairs = [(_ours(server, f"run{repeat}"), _append(server)) for repeat in range(REPEATS)]
    ours, raw = (CLOUD.nbytes / statistics.median(times) / 1e6 for times in zip(*pairs, strict=True))
    show(figure, ours, "MB/s", peer=("append, fdatasync", raw), at_least=0.8, goal_is_ratio=True)


def _ours(server: Server, scope: str) -> float:
    with DataLogger(scope, **logger_options(server)) as logger:
        logger.write("ready", x=0)
        logger.flush()
        with stopwatch() as seconds:
            for x, y in zip(*CLOUD, strict=True):
                logger.write("cloud", x=x, y=y)
            logger.flush()
    with Client(server.uri) as client:
        check_series(client.fetch(scope, "cloud")[scope, "cloud", 0], {"x": CLOUD[0].ravel(), "y": CLOUD[1].ravel()})
    return seconds()


def _append(server: Server) -> float:
    """Seconds for the same bytes: every cloud appended, and one wait for the disk at the end, as `flush` is."""
    path = server.directory / "raw"
    with path.open("wb", buffering=0) as file:
        with stopwatch() as seconds:
            for x, y in zip(*CLOUD, strict=True):
                file.write(x)
                file.write(y)
            os.fdatasync(file.fileno())
        path.unlink()
    return seconds()


if __name__ == "__main__":
    main()
