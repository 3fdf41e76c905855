"""P10: fetching one series, and adding to one, while more and more of others is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
from _harness import Server, check_series, data_server, disk_directory, logger_options, median_of, show, stopwatch

from streamvis import Client, DataLogger
from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.storage import SqliteStore
from streamvis.testing import StoreStream, append, loss

CHUNK, BATCH, OTHERS = 50, 500, 500
FETCHES, UPDATES = 21, 101
X, Y = np.arange(10_000), np.random.default_rng(0).random(10_000)
CHUNKS = (10**3, 10**4, 10**5, 10**6)
LARGE, STORED = 10**6, (10**6, 10**7, 10**8, 10**9)


def main() -> None:
    """Prints milliseconds, and how they grew from the first row."""
    _series("P10 fetch of 10k rows beside {:,} chunks", CHUNKS, _add_chunks, _fetch, at_most=1.2)
    _series("P10 update beside {:,} points", STORED, _add_points, _update, at_most=1.5)


def _series(
    figure: str,
    sizes: tuple[int, ...],
    add: Callable[[SqliteStore, StoreStream, int], None],
    measure: Callable[[Server], float],
    *,
    at_most: float,
) -> None:
    first = 0.0
    with disk_directory() as directory:
        with closing(SqliteStore(directory / "data")) as store:
            mine = StoreStream("mine")
            append(store, mine.next(*_chunks(1), declare=[loss()]))
        stream, stored = StoreStream("others"), 0
        for size in sizes:
            with closing(SqliteStore(directory / "data")) as store:
                add(store, stream, size - stored)
            stored = size
            with data_server(directory, compact=False) as server:
                spent = measure(server)
            first = first or spent
            show(figure.format(size), spent, "ms", peer=("the first row", first), at_most=at_most, goal_is_ratio=True)


def _chunks(handle: int) -> Iterator[EncodedBlock]:
    for start in range(0, len(X), CHUNK):
        place = slice(start, start + CHUNK)
        yield encode(Block(handle, 0, {"x": X[None, place], "y": Y[None, place]}))


def _add_chunks(store: SqliteStore, stream: StoreStream, count: int) -> None:
    declared = [loss(handle, f"other{handle}") for handle in range(1, OTHERS + 1)]
    (template, *_) = _chunks(1)
    for start in range(0, count, BATCH):
        blocks = [template._replace(topic=1 + at % OTHERS) for at in range(start, min(count, start + BATCH))]
        append(store, stream.next(*blocks, declare=declared))
        store.checkpoint()


def _add_points(store: SqliteStore, stream: StoreStream, count: int) -> None:
    values = np.random.default_rng(0).random((1, LARGE), np.float32)
    large = encode(Block(1, 0, {"x": np.arange(LARGE)[None], "y": values}))
    for _ in range(count // LARGE):
        append(store, stream.next(large, declare=[loss(1, "large")]))
        store.checkpoint()


def _fetch(server: Server) -> float:
    def once(_: int) -> float:
        with stopwatch() as seconds:
            found = client.fetch("run", "loss")
        check_series(found["run", "loss", 0], {"x": X, "y": Y})
        return seconds()

    with Client(server.uri) as client:
        once(0)
        return 1000 * median_of(once, FETCHES)


def _update(server: Server) -> float:
    def once(number: int) -> float:
        with stopwatch() as seconds:
            logger.write("large", x=number, y=0.5)
            logger.flush()
        return seconds()

    with DataLogger("run", **logger_options(server)) as logger:
        once(0)
        return 1000 * median_of(once, UPDATES)


if __name__ == "__main__":
    main()
