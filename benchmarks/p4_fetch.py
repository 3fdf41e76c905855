"""P4: long series written in small blocks, fetched before and after compaction, beside raw bytes through gRPC.

Where it goes after compaction, as processor time for a gigabyte of columns: the client 1.4 s, a quarter of which puts
shuffled bytes together and a tenth checks CRCs; the server 1.1 s, a third of which copies and a quarter reads the file.
Mapping the file into memory took 0.13 s off the server, and would count the file as its memory; receiving ahead in a
thread of its own took nothing off two cores that were both busy. Columns stored as differences cost the client 0.15 to
0.3 s more.

Before compaction the server takes 5.5 us for a block of 50 points: 1.6 for SQLite's row, much of which is a mutex
that is locked for every column; 1.2 for making a block of it and looking at its types; 2.4 for decoding it with its
neighbours, CRC included, and encoding them as one. Looking at many blocks at once instead took 0.3 off.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from _harness import REPEATS, check_series, data_server, disk_directory, median_of, show, stopwatch

from streamvis import Client
from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.storage import SqliteStore
from streamvis.testing import StoreStream, append, loss

ROWS, BLOCK, BATCH = 1_000_000, 50, 100
X, Y = np.arange(ROWS), np.random.default_rng(0).random(ROWS)
MESSAGE, MESSAGES = bytes(1 << 20), 64
SERIES = 50
"""Each of them with ROWS rows."""


def main() -> None:
    """Prints megabytes of columns per second, and how fast the blocks became few."""
    with _raw_server() as uri:
        raw = _raw(uri)
    peer = ("raw gRPC", raw)
    for series in (1, SERIES):
        with disk_directory() as directory:
            _write(directory / "data", series)
            before = _fetch(directory, series, compact=False)
            compaction = _compact(directory / "data", series)
            after = _fetch(directory, series, compact=True)
        show(f"P4 {series} x 1M rows in 50-point blocks", before, "MB/s", peer=peer, at_least=0.15, goal_is_ratio=True)
        show(f"P4 {series} x 1M rows after compaction", after, "MB/s", peer=peer, at_least=0.6, goal_is_ratio=True)
        show("P4 compaction", compaction, "MB/s")


def _write(prefix: Path, series: int) -> None:
    store, stream = SqliteStore(prefix), StoreStream()
    append(store, stream.next(declare=[loss(handle, f"loss{handle}") for handle in range(1, series + 1)]))
    for start in range(0, ROWS, BLOCK * BATCH):
        blocks = [_block(start + part * BLOCK) for part in range(BATCH)]
        for handle in range(1, series + 1):
            append(store, stream.next(*(block._replace(topic=handle) for block in blocks)))
    store.close()


def _block(start: int) -> EncodedBlock:
    place = slice(start, start + BLOCK)
    return encode(Block(1, 0, {"x": X[None, place], "y": Y[None, place]}))


def _compact(prefix: Path, series: int) -> float:
    store = SqliteStore(prefix)
    with stopwatch() as seconds:
        while store.compact() <= 0.0:
            pass
        spent = seconds()
    while store.compact() <= 10.0:  # what waits for the series to rest
        pass
    store.close()
    return series * (X.nbytes + Y.nbytes) / spent / 1e6


def _fetch(directory: Path, series: int, *, compact: bool) -> float:
    def once(_: int) -> float:
        with stopwatch() as seconds:
            found = client.fetch("run")
        assert len(found) == series
        for columns in found.values():
            check_series(columns, {"x": X, "y": Y})
        return seconds()

    with data_server(directory, compact=compact) as server, Client(server.uri) as client:
        return series * (X.nbytes + Y.nbytes) / median_of(once) / 1e6


# ---- the yardstick: messages of 1 MiB without any content of ours, from a process of their own


@contextmanager
def _raw_server() -> Iterator[str]:
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


def _serve_raw() -> None:
    def stream(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
        return iter([MESSAGE] * MESSAGES)

    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.method_handlers_generic_handler("raw", {"Stream": grpc.unary_stream_rpc_method_handler(stream)})
    server.add_generic_rpc_handlers((handler,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)


def _raw(uri: str) -> float:
    def once(_: int) -> float:
        with stopwatch() as seconds:
            assert sum(map(len, call(b""))) == MESSAGES * len(MESSAGE)
        return seconds()

    with grpc.insecure_channel(uri) as channel:
        call = channel.unary_stream("/raw/Stream")
        return MESSAGES * len(MESSAGE) / median_of(once, REPEATS) / 1e6


if __name__ == "__main__":
    _serve_raw() if sys.argv[1:] == ["serve"] else main()
