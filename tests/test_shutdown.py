"""A server that is told to stop, whatever its clients do: everything acknowledged is stored, and it ends."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from streamvis import transport
from streamvis.codec import encode
from streamvis.columns import Block
from streamvis.errors import StreamvisError, UnavailableError
from streamvis.records import Ack, Batch, Declaration, Interest, Query
from streamvis.reduce import Condition, Reduction
from streamvis.server.run import serving
from streamvis.storage import SqliteStore
from streamvis.testing import StoreStream, append, loss, read
from streamvis.v1 import streamvis_pb2 as pb
from streamvis.wire import interest_to_pb, query_to_pb
from tests.processes import server_process

WAIT = 30.0
LOSS = Declaration(1, "run", "loss", ("x", "y"))


class LoadingWriter:
    """Sends batches as fast as they are acknowledged, until the stream ends."""

    def __init__(self, uri: str, number: int) -> None:
        self.name = f"w{number}"
        self.acked = 0
        self.lost = threading.Event()
        self.error: StreamvisError | None = None
        x = np.random.default_rng(number).integers(0, 1 << 60, (1, 20_000))
        self._block = encode(Block(1, 0, {"x": x, "y": x.astype("<f8")}))
        self._sent = 0
        self._link = transport.GrpcLink(uri, self._on_ack, self._on_lost)
        for _ in range(16):
            self._send()

    def _send(self) -> None:
        self._sent += 1
        declare = (Declaration(1, "run", self.name, ("x", "y")),) if self._sent == 1 else ()
        self._link.send(Batch(self.name, self._sent, declare, (), (self._block,)))

    def _on_ack(self, ack: Ack) -> None:
        assert ack.stored
        self.acked = ack.number
        self._send()

    def _on_lost(self, error: StreamvisError) -> None:
        self.error = error
        self.lost.set()

    def close(self) -> None:
        self._link.close()


def stuck_subscriber(uri: str, stack: ExitStack) -> None:
    """Asks for everything and reads nothing."""
    channel = stack.enter_context(transport.open_channel(uri))
    requests: queue.SimpleQueue[pb.Interest | None] = queue.SimpleQueue()
    requests.put(interest_to_pb(Interest(1, Query())))
    stack.callback(requests.put, None)
    call = transport.open_stub(channel).Subscribe(iter(requests.get, None))
    stack.callback(call.cancel)


def half_open_writer(uri: str, stack: ExitStack) -> None:
    """Opens a stream and says nothing."""
    channel = stack.enter_context(transport.open_channel(uri))
    requests: queue.SimpleQueue[None] = queue.SimpleQueue()
    stack.callback(requests.put, None)
    call = transport.open_stub(channel).Write(iter(requests.get, None))
    stack.callback(call.cancel)


STOPPED_CLIENT = """
import os, signal, sys
from streamvis import Client, DataLogger
with Client(sys.argv[1]) as client:
    updates = client.follow()
    next(updates)
    with DataLogger("stopped", sys.argv[1], spool_dir=sys.argv[2]) as logger:
        logger.write("loss", x=1)
        logger.flush()
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@contextmanager
def stopped_client(uri: str, directory: Path) -> Iterator[None]:
    """A process with a logger and a subscription that stands still."""
    with subprocess.Popen([sys.executable, "-c", STOPPED_CLIENT, uri, str(directory / "spool")]) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), status
            yield
        finally:
            process.kill()


@pytest.mark.slow
def test_it_ends_under_load_and_whatever_its_clients_do(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Writers in full flight, subscribers that do not read, streams without a word, and clients that stand still.

    It exits with 0 and without a word. Every batch that was acknowledged is stored, and no writer waits for an answer.
    """
    with ExitStack() as stack, server_process(tmp_path / "runs") as (process, uri):
        for open_client in (stuck_subscriber, half_open_writer):
            for _ in range(5):
                open_client(uri, stack)
        stack.enter_context(stopped_client(uri, tmp_path))
        writers = [LoadingWriter(uri, number) for number in range(4)]
        wait_until(lambda: all(writer.acked >= 20 for writer in writers), WAIT)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=WAIT)
        assert (process.returncode, out, err) == (0, "", "")
        for writer in writers:
            assert writer.lost.wait(WAIT)
            assert isinstance(writer.error, UnavailableError)
            writer.close()
    store = SqliteStore(tmp_path / "runs")
    topics = {topic.name: topic.id for topic in store.catalog().topics}
    for writer in writers:
        stored = sum(sum(extent.points) for extent in store.extents(topics[writer.name], store.seq()))
        assert stored // 20_000 >= writer.acked
    store.close()


@pytest.mark.slow
def test_a_read_without_end_does_not_hold_it_up(tmp_path: Path) -> None:
    """Nor one whose reader has gone: a reduced query of many billion points is given up."""
    store, stream = SqliteStore(tmp_path / "runs"), StoreStream()
    append(store, stream.next(declare=[loss()]))
    block = encode(Block(1, 0, {"x": np.arange(1 << 24)[None], "y": np.zeros((1, 1))}))
    for _ in range(20):
        append(store, stream.next(*[block] * 50))
    store.close()
    query = query_to_pb(Query(reduction=Reduction(where=(Condition("y", 1, 1),), window=2)))
    with server_process(tmp_path / "runs") as (process, uri), ExitStack() as stack:
        for _ in range(6):  # more than there are threads that read
            channel = stack.enter_context(transport.open_channel(uri))
            call = transport.open_stub(channel).Fetch(query)
            call.cancel()
        stub = transport.open_stub(stack.enter_context(transport.open_channel(uri)))
        assert len(list(stub.List(pb.Query(catalog_only=True), timeout=WAIT))) == 1
        calls = [stub.Fetch(query) for _ in range(6)]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=WAIT)
        assert (process.returncode, out, err) == (0, "", "")
        for call in calls:
            with pytest.raises(grpc.RpcError):
                list(call)


def test_what_expires_is_refused_and_not_stored(tmp_path: Path) -> None:
    """A store that takes too long does not hold the server up; its clients know what they must send again."""

    class SlowStore(SqliteStore):
        started = threading.Event()
        gate = threading.Event()

        def append(self, *arguments: object) -> object:  # type: ignore[override] # passes on what comes
            self.started.set()
            assert self.gate.wait(WAIT)
            return super().append(*arguments)  # type: ignore[arg-type]

    store = SlowStore(tmp_path / "runs")
    acks: list[Ack] = []
    lost: queue.SimpleQueue[StreamvisError] = queue.SimpleQueue()
    with serving(open_store=lambda _: store) as server:
        link = transport.GrpcLink(server.uri, acks.append, lost.put)
        x = np.random.default_rng(0).integers(0, 1 << 60, (1, 400_000))
        block = encode(Block(1, 0, {"x": x, "y": x.astype("<f8")}))
        for number in (1, 2, 3, 4):  # of which three do not fit one transaction
            link.send(Batch("w", number, (LOSS,) if number == 1 else (), (), (block,)))
        assert store.started.wait(WAIT)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert isinstance(lost.get(timeout=WAIT), UnavailableError)
        store.gate.set()
        stopping.join(WAIT)
        assert not stopping.is_alive()
        link.close()
    again = SqliteStore(tmp_path / "runs")
    (topic,) = again.catalog().topics
    stored = len(read(again, topic.id)) // 400_000
    again.close()
    assert len(acks) <= stored < 4
