"""P4: a long series written in small blocks, fetched before and after compaction, beside raw bytes through gRPC."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import grpc
import numpy as np
from _harness import DISK, REPEATS, check_series, median_of, show, stopwatch

from streamvis import Client
from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.server.run import serving
from streamvis.storage import SqliteStore
from streamvis.testing import StoreStream, append, loss

ROWS, BLOCK, BATCH = 1_000_000, 50, 100
X, Y = np.arange(ROWS), np.random.default_rng(0).random(ROWS)
MESSAGE = bytes(1 << 20)


def main() -> None:
    """Prints megabytes of columns per second, and how fast the blocks became few."""
    raw = _raw()
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-", dir=DISK) as directory:
        prefix = Path(directory) / "data"
        _write(prefix)
        with patch.object(SqliteStore, "compact", return_value=False):
            before = _fetch(prefix)
        compaction = _compact(prefix)
        after = _fetch(prefix)
    peer = ("raw gRPC", raw)
    show("P4 fetch of 50-point blocks", before, "MB/s", peer=peer, at_least=0.15, goal_is_ratio=True)
    show("P4 fetch after compaction", after, "MB/s", peer=peer, at_least=0.6, goal_is_ratio=True)
    show("P4 compaction", compaction, "MB/s")


def _write(prefix: Path) -> None:
    store, stream = SqliteStore(prefix), StoreStream()
    append(store, stream.next(declare=[loss()]))
    for start in range(0, ROWS, BLOCK * BATCH):
        append(store, stream.next(*(_block(start + part * BLOCK) for part in range(BATCH))))
    store.close()


def _block(start: int) -> EncodedBlock:
    place = slice(start, start + BLOCK)
    return encode(Block(1, 0, {"x": X[None, place], "y": Y[None, place]}))


def _compact(prefix: Path) -> float:
    store = SqliteStore(prefix)
    with stopwatch() as seconds:
        while store.compact() <= 0.0:
            pass
    store.close()
    return (X.nbytes + Y.nbytes) / seconds() / 1e6


def _fetch(prefix: Path) -> float:
    def once(_: int) -> float:
        with stopwatch() as seconds:
            found = client.fetch("run", "loss")
        check_series(found["run", "loss", 0], {"x": X, "y": Y})
        return seconds()

    with serving(str(prefix)) as server, Client(server.uri) as client:
        return (X.nbytes + Y.nbytes) / median_of(once) / 1e6


def _raw() -> float:
    """Megabytes per second of a stream of 1 MiB messages without any content of ours."""

    def stream(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
        return iter([MESSAGE] * 64)

    def once(_: int) -> float:
        with stopwatch() as seconds:
            assert sum(map(len, call(b""))) == 64 * len(MESSAGE)
        return seconds()

    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.method_handlers_generic_handler("raw", {"Stream": grpc.unary_stream_rpc_method_handler(stream)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream("/raw/Stream")
        rate = 64 * len(MESSAGE) / median_of(once, REPEATS) / 1e6
    server.stop(None)
    return rate


if __name__ == "__main__":
    main()
