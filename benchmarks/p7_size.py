"""P7: bytes on disk per point of a run of scalars, steps included, once the server has compacted them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import numpy as np
from _harness import Server, data_server, logger_options, show

from streamvis import DataLogger

STEPS, METRICS, PIECE = 20_000, 50, 500
NOISE = np.random.default_rng(0).normal(scale=0.02, size=(METRICS, STEPS))
LOSSES = np.exp(-np.arange(STEPS) / 6000) + 0.3 + NOISE
QUIET_SECONDS = 8.0
"""Longer than compaction waits for a topic to rest."""


def main() -> None:
    """Prints bytes per point of pages in use; what compaction freed is used again before the file grows."""
    single = LOSSES.astype(np.float32).astype(np.float64)
    show("P7 losses born as float32", _bytes_per_point(single), "B", at_most=3)
    show("P7 losses born as float64", _bytes_per_point(LOSSES), "B", at_most=7.5)


def _bytes_per_point(losses: np.ndarray) -> float:
    with data_server() as server:
        with DataLogger("run", **logger_options(server)) as logger:
            for start in range(0, STEPS, PIECE):
                steps = np.arange(start, start + PIECE)
                for metric, values in enumerate(losses):
                    logger.write(f"metric{metric}", x=steps, y=values[steps])
                logger.flush()
        return _settled(server) / losses.size


def _settled(server: Server) -> int:
    """Bytes of pages in use when they have not changed for a while."""
    with closing(sqlite3.connect(f"file:{server.directory}/data.sqlite?mode=ro", uri=True)) as connection:
        used, since = _used(connection), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            time.sleep(0.05)
            if (now := _used(connection)) != used:
                used, since = now, time.monotonic()
        return used


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


if __name__ == "__main__":
    main()
