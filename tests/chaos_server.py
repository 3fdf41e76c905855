"""A data server that compacts early, keeps a short WAL, and may kill itself in the middle of anything; for test_chaos.

Arguments: the data prefix, a port, a seed, and how many of the places below are passed before it dies (0: never).
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from streamvis.server import broadcast
from streamvis.server.run import run_server
from streamvis.storage import compaction, sql, sqlite
from streamvis.storage.compactor import Compactor
from streamvis.storage.plan import Plan

PLACES: tuple[tuple[Any, str], ...] = (
    (Plan, "submit"),
    (sql.SqlStore, "_store"),
    (sql.SqlStore, "append"),
    (sql.SqlStore, "delete"),
    (sql.SqlStore, "restore"),
    (sql.SqlStore, "purge"),
    (sql.SqlStore, "free"),
    (Compactor, "_replace"),
    (Compactor, "_gather"),
    (Compactor, "_sweep"),
    (sqlite.SqliteStore, "_bound_wal"),
    (sqlite.SqliteStore, "checkpoint"),
)
"""Functions before and after which it may die."""


class Fuse:
    """Kills this process when it has burnt down."""

    def __init__(self, length: int) -> None:
        self._left = length

    def burn(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.burn()
            result = function(*arguments, **options)
            self.burn()
            return result

        return wrapped


def main(prefix: str, port: str, seed: str, fuse: str) -> None:
    """Serves until a signal, or the fuse, ends it."""
    chance = random.Random(int(seed))
    compaction.REST_SECONDS = chance.choice((0.0, 0.05, 0.5))
    compaction.SLICE_BLOCKS = chance.choice((4, 16, 64))
    compaction.FAN_OUT = chance.choice((2, 3, 8))
    compaction.FULL_COLUMN = chance.choice((1 << 10, 1 << 14, 1 << 20))
    compaction.MERGE_BLOCKS = chance.choice((4, 512))
    sqlite.WAL_LIMIT = chance.choice((1 << 16, 1 << 20, 64 << 20))
    broadcast.MAX_COMMITS = chance.choice((4, 1 << 14))
    burning = Fuse(int(fuse))
    for owner, name in PLACES:
        setattr(owner, name, burning.around(getattr(owner, name)))
    run_server(prefix, int(port), ready=lambda uri: print(uri, flush=True))  # noqa: T201 - tells the test


if __name__ == "__main__":
    main(*sys.argv[1:])
