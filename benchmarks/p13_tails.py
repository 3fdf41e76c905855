"""P13: what a commit waits for beside continuous load, checkpoints, compaction and a large purge.

Ten writers send 5,000 small blocks a second in batches of a hundred, and each waits for none but its own answers. The
yardstick writes a batch's bytes to a file and waits for the disk, at the same pace.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from _harness import Server, data_server, disk_directory, show

from streamvis import Client
from streamvis.codec import encode
from streamvis.columns import Block
from streamvis.records import Ack, Batch, Declaration
from streamvis.transport import GrpcLink

WRITERS, BATCHES_PER_SECOND, BLOCKS, POINTS, SECONDS = 10, 50, 100, 10, 20


def main() -> None:
    """Prints how long batches wait for their answers, how large the WAL grows and how long small blocks stay small."""
    yardstick = _synced()
    with data_server() as server, Client(server.uri) as client:
        writers = [Writer(server.uri, number) for number in range(WRITERS)]
        with _watched(server) as sizes:
            _load(writers)
        _report("under load", writers, yardstick)
        show("P13 largest write-ahead log", max(sizes) / 1e6, "MB", at_most=2 * 67)
        age, small = _small(server.directory / "data.sqlite")
        show("P13 oldest block of one write, of what is stored", age, "s", at_most=10)
        show("P13 blocks of one write, of what is stored", small * 100, "%")
        for number in range(0, WRITERS, 2):
            client.delete(f"run{number}")
            client.purge(f"run{number}")
        _load(writers[1::2])
        _report("beside a purge", writers[1::2], yardstick)
        for writer in writers:
            writer.close()


class Writer:
    """One stream of batches, and how long each waited for its answer."""

    def __init__(self, uri: str, number: int) -> None:
        self.waits: list[float] = []
        self._name = f"run{number}"
        self._sent: deque[float] = deque()
        self._number = 0
        self._done = threading.Event()
        self._link = GrpcLink(uri, self._answered, lambda error: print(f"lost: {error}"))
        blocks = np.random.default_rng(number).random((BLOCKS, POINTS))
        self._blocks = tuple(encode(Block(1, 0, {"x": np.arange(POINTS)[None], "y": y[None]})) for y in blocks)

    def send(self) -> None:
        """Sends a batch."""
        self._number += 1
        declare = (Declaration(1, self._name, "loss", ("x", "y")),) if self._number == 1 else ()
        self._done.clear()
        self._sent.append(time.perf_counter())
        self._link.send(Batch(self._name, self._number, declare, (), self._blocks))

    def _answered(self, ack: Ack) -> None:
        self.waits.append(time.perf_counter() - self._sent.popleft())
        if ack.number == self._number:
            self._done.set()

    def rest(self) -> None:
        """Returns when everything was answered."""
        self._done.wait(60)

    def close(self) -> None:
        """Ends the stream."""
        self._link.close()


def _load(writers: list[Writer]) -> None:
    for writer in writers:
        writer.waits.clear()
    _paced(BATCHES_PER_SECOND * SECONDS, lambda number: writers[number % len(writers)].send())
    for writer in writers:
        writer.rest()


def _paced(count: int, act: Callable[[int], object]) -> None:
    start = time.perf_counter()
    for number in range(count):
        while (wait := start + number / BATCHES_PER_SECOND - time.perf_counter()) > 0:
            time.sleep(wait)
        act(number)


def _synced() -> list[float]:
    """How long the disk takes for what one batch has."""
    data, waits = os.urandom(BLOCKS * (POINTS * 8 + 60)), list[float]()
    with disk_directory() as directory, (directory / "raw").open("wb", buffering=0) as file:

        def write(_: int) -> None:
            began = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            waits.append(time.perf_counter() - began)

        _paced(BATCHES_PER_SECOND * 5, write)
    return waits


@contextmanager
def _watched(server: Server) -> Iterator[list[int]]:
    """The sizes that the WAL has meanwhile."""
    sizes, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            sizes.append((server.directory / "data.sqlite-wal").stat().st_size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def _small(path: Path) -> tuple[float, float]:
    """For how many seconds the oldest block that was never merged has been there, and the part of all points in such.

    By its number among the numbers given, at the pace of the load.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        ((oldest, points),) = database.execute("SELECT min(seq), total(n) FROM block WHERE level = 0")
        ((last, every),) = database.execute("SELECT max(seq), total(n) FROM block")
    return (last - (oldest or last)) / (BLOCKS * BATCHES_PER_SECOND), points / every


def _report(when: str, writers: list[Writer], yardstick: list[float]) -> None:
    waits = np.concatenate([writer.waits for writer in writers]) * 1e3
    for name, part in (("median", 0.5), ("p99", 0.99), ("longest", 1.0)):
        peer = "disk alone", float(np.quantile(yardstick, part)) * 1e3
        show(f"P13 sent to durable {when}, {name}", float(np.quantile(waits, part)), "ms", peer=peer)


if __name__ == "__main__":
    main()
