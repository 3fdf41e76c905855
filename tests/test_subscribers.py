"""Subscribers that stand still, go away and come back, beside servers that do: what each holds is what is stored."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis import Client, transport
from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.errors import ConflictError, NotFoundError, StreamvisError
from streamvis.records import Ack, Batch, Declaration, Interest, Query
from streamvis.server.broadcast import Broadcast
from streamvis.server.run import ServerThread, serving
from streamvis.v1 import streamvis_pb2 as pb
from streamvis.wire import interest_to_pb
from tests.processes import server_process

WAIT = 60.0


class Writer:
    """A writer that waits for each ack."""

    def __init__(self, uri: str, name: str = "w") -> None:
        self.name = name
        self._number = 0
        self.connect(uri)

    def connect(self, uri: str) -> None:
        self._answers: queue.SimpleQueue[Ack | StreamvisError] = queue.SimpleQueue()
        self._link = transport.GrpcLink(uri, self._answers.put, self._answers.put)

    def write(self, topic: str, block: EncodedBlock, *, replacing: bool = False) -> None:
        self._number += 1
        declaration = Declaration(1, "run", topic, ("x",), replacing)
        self._link.send(Batch(self.name, self._number, (declaration,), (), (block,)))
        answer = self._answers.get(timeout=WAIT)
        assert isinstance(answer, Ack), answer
        assert answer.stored

    def close(self) -> None:
        self._link.close()


def block(*values: int) -> EncodedBlock:
    return encode(Block(1, 0, {"x": np.array([values])}))


def noise(seed: int, points: int = 100_000) -> EncodedBlock:
    return encode(Block(1, 0, {"x": np.random.default_rng(seed).integers(0, 1 << 60, (1, points))}))


# ---- standing still


def stand_still(uri: str, stack: ExitStack) -> None:
    """Subscribes to everything and reads nothing."""
    channel = stack.enter_context(transport.open_channel(uri))
    requests: queue.SimpleQueue[pb.Interest | None] = queue.SimpleQueue()
    requests.put(interest_to_pb(Interest(1, Query())))
    stack.callback(requests.put, None)
    stack.callback(transport.open_stub(channel).Subscribe(iter(requests.get, None)).cancel)


@pytest.mark.slow
def test_subscribers_that_never_read_cost_no_memory_and_delay_nobody(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Twenty of them keep the few messages that are under way; however much more is written, no more."""
    with server_process(tmp_path / "runs") as (process, uri), ExitStack() as stack, Client(uri) as client:
        server, writer = psutil.Process(process.pid), Writer(uri)
        for number in range(100):  # 80 MB: the ring is full
            writer.write("loss", noise(number))
        for _ in range(20):
            stand_still(uri, stack)
        wait_until(lambda: client.stats().value("streamvis_subscribers") == 20, WAIT)
        live = client.follow(name_filters=["live"])
        next(live)
        before = settled_memory(server)
        for number in range(100, 400):
            writer.write("loss", noise(number))
        writer.write("live", block(7))
        assert next(live).points["run", "live", 0]["x"].tolist() == [7]
        assert client.stats().value("streamvis_subscriber_lag_seconds") > 0
        assert server.memory_info().rss - before < 64 << 20, "each of them lacks 240 MB"
        live.close()
        writer.close()


def settled_memory(server: psutil.Process) -> int:
    """Bytes, once they have not grown for a while: as much as fits has gone to those who do not read it."""
    deadline, quiet, last = time.monotonic() + WAIT, 0, 0
    while quiet < 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        now = int(server.memory_info().rss)
        quiet = quiet + 1 if now - last < 1 << 20 else 0
        last = now
    return last


FOLLOWER = """
import sys, zlib
from streamvis import Client
with Client(sys.argv[1]) as client:
    points = checksum = 0
    for batch in client.follow():
        for columns in batch.points.values():
            points += len(columns["x"])
            checksum = zlib.crc32(columns["x"].tobytes(), checksum)
        print(points, checksum, flush=True)
"""


@pytest.mark.slow
def test_a_stopped_process_catches_up_when_it_goes_on(tmp_path: Path) -> None:
    """It was overtaken by the ring meanwhile; it misses nothing and repeats nothing."""
    with server_process(tmp_path / "runs") as (_, uri), Client(uri) as client:
        writer = Writer(uri)
        with subprocess.Popen([sys.executable, "-c", FOLLOWER, uri], stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout
            assert follower.stdout.readline() == "0 0\n"
            writer.write("loss", block(1))
            assert follower.stdout.readline().split()[0] == "1"
            follower.send_signal(signal.SIGSTOP)
            for number in range(110):  # 88 MB; the ring has 64
                writer.write("loss", noise(number))
            follower.send_signal(signal.SIGCONT)
            seen = ""
            while not seen.startswith(f"{1 + 110 * 100_000} "):
                seen = follower.stdout.readline()
                assert seen, "it ended"
            follower.kill()
        x = client.fetch("run", "loss")["run", "loss", 0]["x"]
        assert len(x) == 1 + 110 * 100_000
        assert seen.split()[1] == str(zlib.crc32(x.tobytes()))
        writer.close()


# ---- going and coming back


class Reader:
    """Follows everything, through lost connections and restarts of the server, and holds what it was told."""

    def __init__(self, port: int) -> None:
        self._uri = f"127.0.0.1:{port}"
        self._lock = threading.Lock()
        self._held: dict[str, list[int]] = {}
        self._ended = threading.Event()
        self._client = Client(self._uri)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def held(self) -> dict[str, list[int]]:
        with self._lock:
            return {name: list(values) for name, values in self._held.items()}

    def lose(self) -> None:
        """The connection breaks."""
        self._client.close()

    def close(self) -> None:
        self._ended.set()
        self.lose()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        cursor: bytes | None = None
        while not self._ended.is_set():
            try:
                for batch in self._client.follow(after=cursor):
                    with self._lock:
                        for _, name in (*batch.deleted, *batch.reloaded):
                            self._held.pop(name, None)
                        for (_, name, _), columns in batch.points.items():
                            self._held.setdefault(name, []).extend(columns["x"].tolist())
                    cursor = batch.cursor
            except StreamvisError:
                self._client.close()
                self._client = Client(self._uri)


def stored(uri: str) -> dict[str, list[int]]:
    with Client(uri) as client:
        return {name: columns["x"].tolist() for (_, name, _), columns in client.fetch().items()}


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["write"] * 6 + ["replace", "delete", "delete", "restore", "restore", "purge", "lose", "restart"]
        ),
        st.sampled_from(["a", "b", "c"]),
    ),
    min_size=5,
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=25)
@given(OPERATIONS, st.sampled_from([1, 3, 1000]))
def test_readers_hold_what_is_stored_whatever_happens(operations: Sequence[tuple[str, str]], ring: int) -> None:
    """Writes, overwrites, deletes, restores and purges reach them in order, also over restarts and a small ring."""
    with tempfile.TemporaryDirectory() as directory:
        server = ServerThread(f"{directory}/runs", broadcast=Broadcast(max_commits=ring))
        port = int(server.uri.rpartition(":")[2])
        readers = [Reader(port) for _ in range(2)]
        writer = Writer(server.uri)
        try:
            for value, (operation, name) in enumerate(operations):
                if operation in {"write", "replace"}:
                    writer.write(name, block(value), replacing=operation == "replace")
                elif operation == "lose":
                    readers[value % 2].lose()
                elif operation == "restart":
                    server.stop()
                    writer.close()
                    server = ServerThread(f"{directory}/runs", port, broadcast=Broadcast(max_commits=ring))
                    writer.connect(server.uri)
                else:
                    change(server.uri, operation, name)
            expected = stored(server.uri)
            deadline = time.monotonic() + WAIT
            while any(reader.held() != expected for reader in readers):
                assert time.monotonic() < deadline, ([reader.held() for reader in readers], expected)
                time.sleep(0.005)
        finally:
            for reader in readers:
                reader.close()
            writer.close()
            server.stop()


def change(uri: str, operation: str, name: str) -> None:
    with Client(uri) as client, suppress(NotFoundError, ConflictError):
        getattr(client, operation)("run", name)


# ---- writers


def test_two_streams_of_one_writer_store_each_batch_once(tmp_path: Path) -> None:
    """As when a connection seemed lost and was not: both are answered, in order, and nothing is there twice."""
    with serving(str(tmp_path / "runs")) as server:
        writers = [Writer(server.uri) for _ in range(2)]

        def write(writer: Writer) -> None:
            for value in range(60):
                writer.write("loss", block(value))

        threads = [threading.Thread(target=write, args=(writer,)) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert stored(server.uri) == {"loss": list(range(60))}
        for writer in writers:
            writer.close()


VANISHING = """
import os, signal, sys
from streamvis import Client, DataLogger
client = Client(sys.argv[1])
updates = client.follow()
next(updates)
logger = DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=0.01).start()
print("ready", flush=True)
for step in range(10**9):
    logger.write("loss", x=step)
    if step % 1000 == 0:
        logger.flush()
"""


def test_clients_that_vanish_leave_nothing_behind(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Killed in the midst of writing and following: their streams end, and what they wrote is whole up to the kill."""
    with serving(str(tmp_path / "runs")) as server, Client(server.uri) as client:
        for _ in range(3):
            command = [sys.executable, "-c", VANISHING, server.uri, str(tmp_path / "spool")]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
                wait_until(lambda: client.stats().value("streamvis_writers") == 1, WAIT)
                wait_until(lambda: len(stored(server.uri).get("loss", [])) > 1000, WAIT)
                process.kill()
            wait_until(lambda: client.stats().value("streamvis_writers") == 0, WAIT)
            wait_until(lambda: client.stats().value("streamvis_subscribers") == 0, WAIT)
            steps = stored(server.uri)["loss"]
            assert steps == list(range(len(steps)))
            client.delete("run")
