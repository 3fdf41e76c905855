"""The data server over real gRPC: what it stores, refuses, answers and pushes."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from streamvis import DataLogger, transport, wire
from streamvis.client import Client
from streamvis.codec import Codec, EncodedBlock, checksum, encode
from streamvis.columns import Block
from streamvis.errors import ConflictError, StoreLockedError, UnavailableError, UsageError
from streamvis.records import Ack, Batch, Config, Declaration, Query, pack_cursor, unpack_cursor
from streamvis.server import service
from streamvis.server.broadcast import Broadcast
from streamvis.server.run import ServerThread, serving
from streamvis.server.service import SERVICE_NAME, Service, rpc_handler
from streamvis.storage import Commit, MemoryStore, Submission
from streamvis.v1 import streamvis_pb2 as pb

WAIT = 20.0
LOSS = Declaration(1, "run", "loss", ("x", "y"))


def points(*values: int, handle: int = 1, index: int = 0) -> EncodedBlock:
    numbers = np.array([values], "<i8")
    return encode(Block(handle, index, {"x": numbers, "y": numbers.astype("<f8")}))


def batch(number: int, *values: int, writer: str = "w", declare: bool = True) -> Batch:
    return Batch(writer, number, (LOSS,) if declare else (), (), (points(*values),))


class Stream:
    """A Write stream, one step at a time."""

    def __init__(self, uri: str) -> None:
        self._batches: queue.SimpleQueue[pb.Batch | None] = queue.SimpleQueue()
        self._channel = transport.open_channel(uri)
        self._call = transport.open_stub(self._channel).Write(iter(self._batches.get, None))

    def put(self, batch: Batch) -> None:
        self._batches.put(wire.batch_to_pb(batch))

    def ack(self) -> Ack:
        return wire.ack_from_pb(next(self._call))

    def send(self, batch: Batch) -> Ack:
        self.put(batch)
        return self.ack()

    def close(self) -> None:
        self._batches.put(None)
        self._call.cancel()
        self._channel.close()


@pytest.fixture(params=["memory", "sqlite"])
def prefix(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else str(tmp_path / "runs")


@pytest.fixture
def server(prefix: str) -> Iterator[ServerThread]:
    with serving(prefix) as server:
        yield server


@pytest.fixture
def stream(server: ServerThread) -> Iterator[Stream]:
    stream = Stream(server.uri)
    yield stream
    stream.close()


@pytest.fixture
def client(server: ServerThread) -> Iterator[Client]:
    with Client(server.uri) as client:
        yield client


def stored(client: Client, name: str = "loss") -> list[int]:
    series = client.fetch("run", name)
    return series["run", name, 0]["x"].tolist() if series else []


# ---- writing


def test_an_acknowledged_batch_can_be_fetched(stream: Stream, client: Client) -> None:
    """Points, config and cursor arrive as they were written, dtypes included."""
    ack = stream.send(replace(batch(1, 1, 2), configs=(Config("run", {"lr": 1, "deep": {"a": 0.5, "b": True}}),)))
    assert ack.stored
    assert stream.send(batch(2, 3, declare=False)).stored
    fetched = client.fetch()
    assert list(fetched) == [("run", "loss", 0)]
    columns = fetched["run", "loss", 0]
    assert columns["x"].tolist() == [1, 2, 3]
    assert [values.dtype for values in columns.values()] == ["<i8", "<f8"]
    assert client.config("run") == {"lr": 1, "deep": {"a": 0.5, "b": True}}
    assert client.fetch(after=ack.cursor)["run", "loss", 0]["x"].tolist() == [3]


def test_acks_come_in_order_while_many_are_in_flight(stream: Stream, client: Client) -> None:
    """Batches need not wait for each other's acks."""
    for number in range(1, 301):
        stream.put(batch(number, number, declare=number == 1))
    assert [stream.ack().number for _ in range(300)] == list(range(1, 301))
    assert stored(client) == list(range(1, 301))


def test_a_retry_is_acknowledged_and_stored_once(server: ServerThread, stream: Stream, client: Client) -> None:
    """The same numbers on a new stream, as after a lost connection, change nothing."""
    for number in (1, 2):
        assert stream.send(batch(number, number)).stored
    again = Stream(server.uri)
    assert [again.send(batch(number, number)).stored for number in (1, 2, 3)] == [True] * 3
    again.close()
    assert stored(client) == [1, 2, 3]


def test_a_gap_is_answered_with_the_number_expected(stream: Stream, client: Client) -> None:
    """Nothing behind a gap is stored until the missing batch comes."""
    assert stream.send(batch(1, 1)).stored
    assert [stream.send(batch(number, number)).expected for number in (3, 4)] == [2, 2]
    assert [stream.send(batch(number, number)).stored for number in (2, 3, 4)] == [True] * 3
    assert stored(client) == [1, 2, 3, 4]


def test_a_topic_deleted_under_a_writer_is_gone(stream: Stream, client: Client) -> None:
    """The whole batch is refused until its handles are declared again, under the same number."""
    assert stream.send(batch(1, 1)).stored
    assert client.delete("run", ["loss"]) == 1
    assert stream.send(batch(2, 2, declare=False)).gone == (1,)
    assert stream.send(batch(3, 3, declare=False)).expected == 2
    assert stored(client) == []
    assert [stream.send(batch(2, 2)).stored, stream.send(batch(3, 3, declare=False)).stored] == [True, True]
    assert stored(client) == [2, 3]


def test_a_restored_topic_takes_what_its_writer_sends(stream: Stream, client: Client) -> None:
    """Without a new declaration; a purged one is declared again and begins anew."""
    assert stream.send(batch(1, 1)).stored
    assert (client.delete("run"), client.restore("run")) == (1, 1)
    assert stream.send(batch(2, 2, declare=False)).stored
    assert stored(client) == [1, 2]
    assert (client.delete("run"), client.purge("run")) == (1, 1)
    assert stream.send(batch(3, 3, declare=False)).gone == (1,)
    assert stream.send(batch(3, 3)).stored
    assert stored(client) == [3]


def test_columns_that_differ_reject_that_topic_alone(stream: Stream, client: Client) -> None:
    """The reason names both sets; the other blocks of the batch are stored."""
    assert stream.send(batch(1, 1)).stored
    other = (Declaration(1, "run", "loss", ("x", "z")), Declaration(2, "run", "other", ("x", "y")))
    ack = stream.send(Batch("w", 2, other, (), (points(2), points(3, handle=2))))
    assert ack.stored
    assert list(ack.rejected) == [1]
    assert all(text in ack.rejected[1] for text in ("x, y", "x, z", "'loss'"))
    assert stored(client) == [1]
    assert stored(client, "other") == [3]


def test_what_a_logger_spreads_over_many_indexes_is_taken(server: ServerThread, client: Client, tmp_path: Path) -> None:
    """Few bytes for many points are sent as blocks that readers can unfold."""
    k, n = 1 << 14, 1 << 9
    with DataLogger("run", server.uri, spool_dir=tmp_path / "spool") as logger:
        logger.write("loss", x=np.arange(n)[None], y=np.arange(k)[:, None], z=0.5)
    found = client.fetch("run", "loss")
    assert len(found) == k
    (listing,) = client.listings()
    assert listing.lengths == dict.fromkeys(range(k), n)
    for index in (0, k - 1):
        columns = found["run", "loss", index]
        assert np.array_equal(columns["x"], np.arange(n))
        assert np.array_equal(columns["y"], np.full(n, index))
        assert np.array_equal(columns["z"], np.full(n, 0.5))


def test_replacing_takes_effect_once(server: ServerThread, stream: Stream, client: Client) -> None:
    """A declaration with `replace` clears what was there; its retry clears nothing."""
    assert stream.send(batch(1, 1)).stored
    replacing = Batch("v", 1, (replace(LOSS, replace=True),), (), (points(2),))
    for _ in range(2):
        again = Stream(server.uri)
        assert again.send(replacing).stored
        again.close()
    assert stored(client) == [2]


def damaged(block: EncodedBlock, **changes: Any) -> EncodedBlock:
    """The block with other fields and a CRC that fits them."""
    block = block._replace(**changes)
    return block._replace(crc=checksum(block.index, block.k, block.n, block.columns, block.payload))


GOOD = points(1, 7)
CONSTANT = encode(Block(1, 0, {"x": np.zeros((2, 2)), "y": np.zeros((2, 2))}))


def badly_compressed(codec: Codec) -> EncodedBlock:
    """Columns that say they are compressed, and are not."""
    columns = bytes([3, codec, 2, 0, 10, 0, 0, 0]) + GOOD.columns[8:]
    return damaged(GOOD, columns=columns, payload=b"\x08" + GOOD.payload[7:])


BAD_BATCHES: dict[str, tuple[Batch, str]] = {
    "undeclared handle": (Batch("w", 2, (), (), (points(1, handle=9),)), "handle 9.*not declared"),
    "unknown dtype": (Batch("w", 2, (), (), (damaged(GOOD, columns=b"\x63" + GOOD.columns[1:]),)), "unknown dtype 99"),
    "unknown codec": (
        Batch("w", 2, (), (), (damaged(GOOD, columns=GOOD.columns[:1] + b"\x09" + GOOD.columns[2:]),)),
        "unknown codec 9",
    ),
    "wrong length": (Batch("w", 2, (), (), (damaged(GOOD, n=3),)), "column of 1 x 3 points"),
    "short payload": (Batch("w", 2, (), (), (damaged(GOOD, payload=GOOD.payload[:-1]),)), "payload has 31 bytes"),
    "column missing": (
        Batch("w", 2, (), (), (damaged(GOOD, columns=GOOD.columns[:8], payload=GOOD.payload[:16]),)),
        "1 columns; 2 were declared",
    ),
    "no columns": (Batch("w", 2, (), (), (damaged(GOOD, columns=b"", payload=b""),)), "0 columns; 2 were declared"),
    "index too large": (Batch("w", 2, (), (), (damaged(GOOD, index=2**31),)), "indexes 2147483648"),
    "endless indexes": (Batch("w", 2, (), (), (damaged(GOOD, k=2**30, n=0),)), "at most"),
    "indexes without end": (
        Batch("w", 2, (), (), (damaged(CONSTANT, k=(1 << 16) + 1, n=1),)),
        "has 65537 indexes",
    ),
    "a bomb": (
        Batch("w", 2, (), (), (damaged(CONSTANT, k=1 << 12, n=1 << 12),)),
        "unfolds to 268435456 bytes",
    ),
    "compressed badly": (
        Batch("w", 2, (), (), (badly_compressed(Codec.SHUFFLED),)),
        "compressed column cannot be read",
    ),
    "differences compressed badly": (
        Batch("w", 2, (), (), (badly_compressed(Codec.DELTA),)),
        "compressed column cannot be read",
    ),
    "damaged": (Batch("w", 2, (), (), (GOOD._replace(crc=1),)), "CRC"),
    "unsorted columns": (Batch("w", 2, (replace(LOSS, columns=("y", "x")),)), "sorted order"),
    "repeated columns": (Batch("w", 2, (replace(LOSS, columns=("x", "x")),)), "different names"),
    "handle 0": (Batch("w", 2, (replace(LOSS, handle=0),)), "handle 0; expected 1"),
    "handle declared twice": (Batch("w", 2, (LOSS, replace(LOSS, name="b"))), "declares a handle twice"),
    "topic declared twice": (Batch("w", 2, (LOSS, replace(LOSS, handle=7))), "declares a topic twice"),
    "declared without columns": (Batch("w", 2, (replace(LOSS, columns=()),)), "expected 1 to"),
    "empty column name": (Batch("w", 2, (replace(LOSS, columns=("", "x")),)), "column of 'loss' '' has 0 bytes"),
    "empty scope": (Batch("w", 2, (replace(LOSS, scope=""),)), "scope '' has 0 bytes"),
    "empty name": (Batch("w", 2, (replace(LOSS, name=""),)), "name '' has 0 bytes"),
    "long name": (Batch("w", 2, (replace(LOSS, name="é" * 2049),)), "has 4098 bytes"),
    "NUL in a name": (Batch("w", 2, (replace(LOSS, name="a\0b"),)), "NUL"),
    "no writer": (Batch("", 2), "writer '' has 0 bytes"),
    "number 0": (Batch("w", 0), "number is 0"),
    "number too large": (Batch("w", 2**63), "number is 9223372036854775808"),
    "config of no scope": (Batch("w", 2, configs=(Config("", {}),)), "scope '' has 0 bytes"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_BATCHES.values(), ids=BAD_BATCHES.keys())
def test_a_malformed_batch_ends_its_stream_and_harms_nothing(bad: Batch, reason: str) -> None:
    """Batches before it are acknowledged, nothing of it is stored, the error is one line, the server goes on."""
    with serving() as server, Client(server.uri) as client:
        stream = Stream(server.uri)
        stream.put(batch(1, 1))
        stream.put(replace(bad, blocks=(points(66), *bad.blocks)))
        stream.put(batch(3, 3))
        assert stream.ack().stored
        expect_refusal(stream.ack, reason)
        stream.close()
        assert stored(client) == [1]
        assert client.scopes() == ["run"]
        again = Stream(server.uri)
        assert again.send(batch(2, 2)).stored
        again.close()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"[1]", "JSON list; expected an object"),
        (b"{", "not JSON"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_malformed_config_is_refused(stream: Stream, client: Client, config: bytes, reason: str) -> None:
    """Both ways in, alone and in a batch, refuse it, and nothing is stored."""
    with transport.open_channel(client.uri) as channel:
        stub = transport.open_stub(channel)
        expect_refusal(lambda: stub.SetConfig(pb.Config(scope="run", json=config)), reason)
        expect_refusal(lambda: list(stub.Write(iter([pb.Batch(writer="w", number=1, configs=[
            pb.Config(scope="run", json=config)])]))), reason)  # fmt: skip
    assert stream.send(batch(1, 1)).stored
    assert client.configs() == {}


BIG = b'{"a": "' + b"x" * (1 << 20) + b'"}'
DEEP = b'{"a":' * 100 + b"1" + b"}" * 100


@pytest.mark.parametrize(("config", "reason"), [(BIG, "at most 1048576"), (DEEP, "nested deeper")])
def test_a_config_that_is_too_much_is_left_out(stream: Stream, client: Client, config: bytes, reason: str) -> None:
    """Alone it is an error; in a batch, which is a run's, it is told and the points are stored."""
    with pytest.raises(UsageError, match=reason):
        client.set_config("run", wire.load_config(config))
    ack = stream.send(replace(batch(1, 1), configs=(Config("run", {"lr": 1}), Config("run", wire.load_config(config)))))
    assert ack.stored
    assert list(ack.rejected) == [0]
    assert reason in ack.rejected[0]
    assert stored(client) == [1]
    assert client.config("run") == {"lr": 1}


def expect_refusal(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(grpc.RpcError, match=reason) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "\n" not in caught.value.details()


@pytest.mark.parametrize("method", [method.name for method in pb.DESCRIPTOR.services_by_name["Streamvis"].methods])
def test_bytes_that_are_no_message_are_refused(method: str, client: Client) -> None:
    """Every rpc answers garbage with INVALID_ARGUMENT and a line that names what was expected."""
    rpc = pb.DESCRIPTOR.services_by_name["Streamvis"].methods_by_name[method]
    ways = {(True, True): "stream_stream", (False, True): "unary_stream", (False, False): "unary_unary"}
    with transport.open_channel(client.uri) as channel:
        call = getattr(channel, ways[rpc.client_streaming, rpc.server_streaming])(f"/{SERVICE_NAME}/{method}")
        garbage = b"\xff\xff\xff"
        answer = (lambda: list(call(iter([garbage])))) if rpc.client_streaming else (lambda: list(call(garbage)))
        expect_refusal(answer, f"not a {rpc.input_type.full_name}")
    assert client.scopes() == []


def test_every_rpc_has_a_method(client: Client) -> None:
    """The table of handlers holds what the protocol declares."""

    class Call:
        method = f"/{SERVICE_NAME}/"

    handler = rpc_handler(Service.__new__(Service))
    for method in pb.DESCRIPTOR.services_by_name["Streamvis"].methods:
        call = Call()
        call.method += method.name
        assert handler.service(call) is not None
    assert client.scopes() == []


# ---- reading


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (pb.Query(scope_filter="(a"), r"pattern '\(a' is not.*missing \)"),
        (pb.Query(name_filters=["ok", "!(?=b)"]), r"pattern '!\(\?=b\)' is not"),
        (pb.Query(cursor=b"short"), "cursor of 5 bytes is none of ours"),
    ],
)
def test_a_refused_query_is_answered_with_the_reason(query: pb.Query, reason: str, client: Client) -> None:
    """All that take queries refuse a bad one alike."""
    with transport.open_channel(client.uri) as channel:
        stub = transport.open_stub(channel)
        expect_refusal(lambda: list(stub.Fetch(query)), reason)
        expect_refusal(lambda: list(stub.Subscribe(iter([pb.Interest(id=1, add=query)]))), reason)
        if not query.cursor:
            expect_refusal(lambda: list(stub.List(query)), reason)
    assert client.scopes() == []


@pytest.mark.parametrize(
    ("interest", "reason"),
    [
        (pb.Interest(id=0, add=pb.Query()), "id 0; expected 1"),
        (pb.Interest(id=1), "added with a query or dropped"),
        (pb.Interest(id=1, add=pb.Query(), drop=True), "added with a query or dropped"),
    ],
)
def test_a_malformed_interest_is_refused(interest: pb.Interest, reason: str, server: ServerThread) -> None:
    """An interest without a number, or neither added nor dropped, ends the stream with the reason."""
    with transport.open_channel(server.uri) as channel:
        expect_refusal(lambda: list(transport.open_stub(channel).Subscribe(iter([interest]))), reason)


def test_a_cursor_ahead_of_the_data_is_refused(client: Client, stream: Stream) -> None:
    """A reader whose server lost its data is told so, instead of waiting for numbers to come round."""
    assert stream.send(batch(1, 1)).stored
    ((timeline, _),) = unpack_cursor(client.fetch().cursor).items()
    with pytest.raises(ConflictError, match="the latest change stored is 2: the server's data was replaced"):
        client.fetch(after=pack_cursor({timeline: 10**9}))


def test_many_configs_travel_in_messages_that_arrive(client: Client) -> None:
    """However large they are together."""
    for run in range(40):
        client.set_config(f"run{run}", {"text": "é" * 250_000})
    assert len(client.configs()) == 40
    with transport.open_channel(client.uri) as channel:
        changes = list(transport.open_stub(channel).Fetch(pb.Query()))
    assert max(change.ByteSize() for change in changes) < 3 << 20


def test_large_data_travels_in_messages_of_about_one_mebibyte(stream: Stream, client: Client) -> None:
    """Small blocks share messages, none comes near the limit, and the values are all there."""
    for number in range(1, 9):
        values = range(number * 100_000, number * 100_000 + 50_000)
        assert stream.send(batch(number, *values)).stored
        blocks = tuple(points(*range(50)) for _ in range(200))
        assert stream.send(Batch("v", number, (replace(LOSS, name="small"),), (), blocks)).stored
    with transport.open_channel(client.uri) as channel:
        changes = list(transport.open_stub(channel).Fetch(pb.Query()))
    assert max(change.ByteSize() for change in changes) < 2 << 20
    assert sum(block.k * block.n for change in changes for block in change.blocks) == 8 * 50_000 + 8 * 200 * 50
    assert len(changes) < 16
    assert stored(client) == [
        value for number in range(1, 9) for value in range(number * 100_000, number * 100_000 + 50_000)
    ]


# ---- limits


class GatedStore(MemoryStore):
    """A store whose commits wait for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def append(self, submissions: Sequence[Submission]) -> tuple[list[Ack], Commit]:
        assert self.gate.wait(WAIT)
        return super().append(submissions)


def test_what_a_stream_has_in_flight_is_bounded(
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """Bytes that wait for their commit stay few for one stream and for all, which get their turns; none is lost."""
    monkeypatch.setattr(service, "STREAM_BYTES", 1 << 20)
    monkeypatch.setattr(service, "ALL_BYTES", 3 << 20)
    store, size = GatedStore(), 200_000
    block = points(*np.random.default_rng(0).integers(0, 1 << 60, size // 16).tolist())
    with serving(open_store=lambda _: store) as server, Client(server.uri) as client:
        streams = [Stream(server.uri) for _ in range(5)]
        for writer, stream in enumerate(streams):
            for number in range(1, 21):
                stream.put(Batch(f"w{writer}", number, (replace(LOSS, name=f"{writer}"),), (), (block,)))

        def waiting(name: str) -> float:
            return client.stats().value(f"streamvis_{name}")

        wait_until(lambda: waiting("waiting_bytes") > (3 << 20) - 1.1 * size, WAIT)
        assert waiting("waiting_bytes") <= 3 << 20
        assert waiting("batches_waiting") <= 3 * 5
        store.gate.set()
        for stream in streams:
            assert [stream.ack().number for _ in range(20)] == list(range(1, 21))
            stream.close()
        assert waiting("waiting_bytes") == waiting("batches_waiting") == 0


def test_the_server_counts_what_it_does(stream: Stream, client: Client) -> None:
    """Batches by their answers, commits, points, open streams; nothing is dropped."""
    assert stream.send(batch(1, 1, 2)).stored
    assert stream.send(batch(1, 1, 2)).stored
    assert stream.send(batch(3, 3)).expected == 2
    client.delete("run")
    assert stream.send(batch(2, 3, declare=False)).gone
    stats = client.stats()
    results = {result: stats.value("streamvis_batches_total", result=result) for result in ("stored", "gap", "gone")}
    assert results == {"stored": 2, "gap": 1, "gone": 1}
    assert stats.value("streamvis_points_total") == 2
    assert stats.value("streamvis_writers") == 1
    assert stats.value("streamvis_batches_dropped") == stats.value("streamvis_batches_waiting") == 0
    assert 0 < stats.value("streamvis_commit_seconds", quantile="0.5") < WAIT
    bad = Stream(client.uri)
    with pytest.raises(grpc.RpcError):
        bad.send(batch(0, 1))
    bad.close()
    assert client.stats().value("streamvis_batches_total", result="refused") == 1
    updates = client.follow()
    next(updates)
    assert client.stats().value("streamvis_subscribers") == client.stats().value("streamvis_interests") == 1
    updates.close()


# ---- live


class CountingBroadcast(Broadcast):
    """A ring that counts how often a reader was overtaken."""

    overtaken = 0

    def read(self, position: int, max_bytes: int) -> list[Commit] | None:
        commits = super().read(position, max_bytes)
        self.overtaken += commits is None
        return commits


def follow_values(
    uri: str, after: bytes | None, enough: Callable[[dict[str, list[int]]], bool]
) -> dict[str, list[int]]:
    """The values by name that a reader holds when it has enough."""
    held: dict[str, list[int]] = {}
    with Client(uri) as client:
        for update in client.follow(after=after):
            for _, name in update.deleted:
                held.pop(name, None)
            for (_, name, _), columns in update.points.items():
                held.setdefault(name, []).extend(columns["x"].tolist())
            if enough(held):
                break
    return held


@pytest.mark.parametrize("ring", [None, 2], ids=["ring", "tiny ring"])
def test_readers_among_writers_miss_and_repeat_nothing(ring: int | None, prefix: str) -> None:
    """Readers that join at any time get every value once and in each writer's order, also behind a ring too small."""
    writers, batches = 4, 60
    broadcast = Broadcast(max_commits=ring) if ring else None
    with serving(prefix, broadcast=broadcast) as server:
        joined, results = threading.Event(), list[dict[str, list[int]]]()

        def write(writer: int) -> None:
            stream = Stream(server.uri)
            for number in range(1, batches + 1):
                declaration = Declaration(1, "run", f"w{writer}", ("x", "y"))
                stream.put(Batch(f"w{writer}", number, (declaration,), (), (points(2 * number, 2 * number + 1),)))
                if number == batches // 2:
                    joined.set()
            for _ in range(batches):
                assert stream.ack().stored
            stream.close()

        def complete(held: dict[str, list[int]]) -> bool:
            return len(held) == writers and all(len(values) >= 2 * batches for values in held.values())

        def read(wait: bool) -> None:
            assert not wait or joined.wait(WAIT)
            results.append(follow_values(server.uri, None, complete))

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
        threads += [threading.Thread(target=read, args=(wait,)) for wait in (False, False, True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        expected = list(range(2, 2 * batches + 2))
        assert results == [{f"w{writer}": expected for writer in range(writers)}] * 3


def test_a_reader_that_stands_still_falls_behind_and_recovers(prefix: str) -> None:
    """It delays no writer, is overtaken by the ring, and then gets all that it missed, deletions included."""
    ring = CountingBroadcast(max_bytes=200_000)
    with serving(prefix, broadcast=ring) as server, Client(server.uri) as client:
        stream = Stream(server.uri)
        updates = client.follow()
        assert len(next(updates).points) == 0
        held: list[int] = []
        gone = Declaration(2, "run", "gone", ("x", "y"))
        assert stream.send(Batch("w", 1, (LOSS, gone), (), (points(0), points(0, handle=2)))).stored
        values = range(50_000)
        for number in range(2, 42):
            noise = points(*np.random.default_rng(number).integers(0, 1 << 60, 50_000).tolist())
            assert stream.send(Batch("w", number, (), (), (noise,))).stored
        assert client.delete("run", ["gone"]) == 1
        assert stream.send(batch(42, *values, declare=False)).stored
        deleted = False
        for update in updates:
            held += update.points.get(("run", "loss", 0), {"x": np.array([])})["x"].tolist()
            deleted = deleted or ("run", "gone") in update.deleted
            if len(held) >= 1 + 41 * 50_000 and deleted:
                break
        assert held == stored(client)
        assert ring.overtaken
        updates.close()
        stream.close()


def test_deletes_and_replaces_reach_readers_in_order(stream: Stream, client: Client) -> None:
    """A deleted topic is told; a replaced one is told and starts anew; a new one that matches is included."""
    assert stream.send(batch(1, 1)).stored
    updates = client.follow("run", "lo")
    assert next(updates).points["run", "loss", 0]["x"].tolist() == [1]
    assert client.delete("run", ["loss"]) == 1
    assert next(updates).deleted == (("run", "loss"),)
    assert stream.send(batch(2, 2)).stored
    assert next(updates).points["run", "loss", 0]["x"].tolist() == [2]
    assert stream.send(Batch("w", 3, (replace(LOSS, replace=True),), (), (points(3),))).stored
    update = next(updates)
    assert update.deleted == (("run", "loss"),)
    assert update.points["run", "loss", 0]["x"].tolist() == [3]
    assert stream.send(Batch("w", 4, (Declaration(2, "run", "other", ("x", "y")),), (), (points(4, handle=2),))).stored
    assert stream.send(Batch("w", 5, (Declaration(3, "run", "log", ("x", "y")),), (), (points(5, handle=3),))).stored
    assert list(next(updates).points) == [("run", "log", 0)]
    updates.close()


def test_a_restored_topic_comes_whole_to_live_readers(stream: Stream, client: Client) -> None:
    """Readers that heard of the delete, and one that was away meanwhile, hold what a fetch holds, and go on live."""
    assert stream.send(batch(1, 1)).stored
    updates = client.follow("run", "lo")
    away = next(updates).cursor
    assert client.delete("run") == 1
    assert next(updates).deleted == (("run", "loss"),)
    assert client.restore("run") == 1
    again = client.follow("run", "lo", after=away)
    for reader in (updates, again):
        update = next(reader)
        assert (update.deleted, update.reloaded) == ((), (("run", "loss"),))
        assert update.points["run", "loss", 0]["x"].tolist() == [1]
    assert stream.send(batch(2, 2, declare=False)).stored
    for reader in (updates, again):
        update = next(reader)
        assert (update.deleted, update.reloaded) == ((), ())
        assert update.points["run", "loss", 0]["x"].tolist() == [2]
        reader.close()


def test_a_delete_and_restore_in_one_breath_reload(stream: Stream, client: Client) -> None:
    """However the commits fall together, a reader that applies them in order holds each point once."""
    assert stream.send(batch(1, 1)).stored
    updates = client.follow("run")
    held = next(updates).points["run", "loss", 0]["x"].tolist()
    for number in range(2, 30):
        assert stream.send(batch(number, number, declare=False)).stored
        assert (client.delete("run"), client.restore("run")) == (1, 1)
    assert stream.send(batch(30, 30, declare=False)).stored
    while held[-1:] != [30]:
        update = next(updates)
        if update.deleted or update.reloaded:
            held = []
        for columns in update.points.values():
            held += columns["x"].tolist()
    assert held == list(range(1, 31))
    updates.close()


def test_interests_come_and_go(stream: Stream, client: Client) -> None:
    """One stream serves several interests; each closes its first page; a dropped one is silent; again starts over."""
    assert stream.send(batch(1, 1)).stored
    other = Declaration(2, "run", "other", ("x", "y"))
    assert stream.send(Batch("w", 2, (other,), (Config("run", {"lr": 1}),), (points(9, handle=2),))).stored
    with client.subscribe() as subscription:
        updates = iter(subscription)

        def first_page(interest: int) -> tuple[list[str], list[int]]:
            names, values = [], []
            for update in updates:
                names += [topic.name for topic in update.topics]
                values += [value for block in update.blocks for value in block.columns["x"][0].tolist()]
                assert update.interest == interest
                if update.cursor:
                    assert subscription.cursor(interest) == update.cursor
                    return names, values
            raise AssertionError

        subscription.add(1, Query(catalog_only=True))
        assert first_page(1) == (["loss", "other"], [])
        subscription.add(2, Query(topics=(("run", "loss"),)))
        assert first_page(2) == (["loss"], [1])
        assert stream.send(Batch("w", 3, (), (), (points(10, handle=2), points(2)))).stored
        assert [block.columns["x"][0, 0] for block in next(updates).blocks] == [2]
        subscription.drop(2)
        subscription.add(3, Query(topics=(("run", "other"),)))
        assert first_page(3) == (["other"], [9, 10])
        assert stream.send(Batch("w", 4, (), (), (points(3), points(11, handle=2)))).stored
        assert [block.columns["x"][0, 0] for block in next(updates).blocks] == [11]
        subscription.add(3, Query(topics=(("run", "other"),)))
        assert first_page(3) == (["other"], [9, 10, 11])
        assert subscription.cursor(1) == subscription.cursor(3)


# ---- running


def test_a_restarted_server_goes_on_where_it_was(tmp_path: Path) -> None:
    """A writer repeats what it is not sure of, a reader goes on from its cursor: everything is there once."""
    prefix = str(tmp_path / "runs")
    with serving(prefix) as server:
        stream = Stream(server.uri)
        assert stream.send(batch(1, 1)).stored
        with Client(server.uri) as client:
            updates = client.follow()
            first = next(updates)
            server.stop()
            with pytest.raises(UnavailableError, match="no streamvis server answers at"):
                list(updates)
        with pytest.raises(grpc.RpcError):
            stream.send(batch(2, 2, declare=False))
        stream.close()
    port = int(server.uri.rpartition(":")[2])
    with serving(prefix, port) as again:
        assert again.uri == server.uri
        stream = Stream(again.uri)
        assert [stream.send(batch(number, number)).stored for number in (1, 2)] == [True, True]
        assert follow_values(again.uri, first.cursor, bool) == {"loss": [2]}
        stream.close()


def test_a_port_in_use_is_named() -> None:
    """The error is one line of ours, whoever holds the port."""
    with serving() as server:
        port = int(server.uri.rpartition(":")[2])
        with pytest.raises(ConflictError, match=f"cannot listen at 127.0.0.1:{port}: address already in use"):
            ServerThread(port=port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConflictError, match="address already in use"):
            ServerThread(port=other.getsockname()[1])
    with pytest.raises(ConflictError, match=r"cannot listen at 192\.0\.2\.1:0"):
        ServerThread(host="192.0.2.1")


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """The first one goes on."""
    with serving(str(tmp_path / "runs")) as server:
        with pytest.raises(StoreLockedError):
            ServerThread(str(tmp_path / "runs"))
        with Client(server.uri) as client:
            assert client.scopes() == []


def test_unix_sockets_serve_too(tmp_path: Path) -> None:
    """An address may be a path; one that another server answers at is refused."""
    where = f"unix:{tmp_path}/socket"
    with serving(host=where) as server, Client(server.uri) as client:
        assert server.uri == where
        assert client.scopes() == []
        with pytest.raises(ConflictError, match="another server answers there"):
            ServerThread(host=where)
    with serving(host=where) as server, Client(server.uri) as client:
        assert client.scopes() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_with_everything_acknowledged_stored(number: int, tmp_path: Path) -> None:
    """It exits with 0 and prints nothing; what was acknowledged is there afterwards."""
    script = (
        "import logging, sys; from streamvis.server.run import run_server;"
        "logging.getLogger('asyncio').setLevel(logging.ERROR);"  # else it tells how long things take
        "run_server(sys.argv[1], 0, ready=lambda uri: print(uri, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDEVMODE": "1"},
    )
    assert process.stdout
    uri = process.stdout.readline().strip()
    stream = Stream(uri)
    for each in range(1, 201):
        stream.put(batch(each, each, declare=each == 1))
    acked = [stream.ack().number for _ in range(20)]
    process.send_signal(number)
    with pytest.raises(grpc.RpcError) as caught:
        acked += iter(lambda: stream.ack().number, None)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    stream.close()
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out, err) == (0, "", "")
    with serving(str(tmp_path / "runs")) as server, Client(server.uri) as client:
        assert stored(client)[: len(acked)] == acked
