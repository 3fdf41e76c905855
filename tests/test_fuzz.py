"""Nothing that comes over the wire harms a server. `make fuzz` sends a hundred thousand requests.

STREAMVIS_FUZZ_REQUESTS says how many, STREAMVIS_FUZZ_SEED of which seed, STREAMVIS_FUZZ_FIRST from which number on:
with the seed and the number of a request that failed, it is sent again first.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event

import grpc
import numpy as np
import psutil
import pytest

from streamvis import Client, DataLogger
from streamvis.server.rpc import MAX_STATUS_CHARACTERS
from streamvis.storage import sqlite
from streamvis.storage.check import check
from streamvis.transport import CHANNEL_OPTIONS
from streamvis.v1 import streamvis_pb2 as pb
from tests.fuzz import KEPT, SENTINEL, SUBSCRIBE, TIMELINE, WATCH, Garbage, Request, attack, sentinel
from tests.processes import server_process

REQUESTS = int(os.environ.get("STREAMVIS_FUZZ_REQUESTS", "3000"))
SEED = int(os.environ.get("STREAMVIS_FUZZ_SEED", "0"))
FIRST = int(os.environ.get("STREAMVIS_FUZZ_FIRST", "0"))
WARM_UP = 500
"""Requests after which a server has the threads and the buffers that it needs."""
AT_ONCE = 8
WAIT = 60.0

ANSWERS = {
    "OK",
    "CANCELLED",  # by us
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",  # larger than a message may be
    "UNIMPLEMENTED",  # no such method
}
"""All others say that something went wrong in the server, or that it did not answer."""

MORE_MEMORY = 768 << 20
"""512 MiB that the process may keep for reuse, the ring, the page cache and the patterns: see docs/operations.md."""
MORE_THREADS, MORE_FILES = 8, 8
MORE_DISK = 256 << 20


class Attacker:
    """Sends the requests of a seed, so many at once, over one connection."""

    def __init__(self, uri: str, seed: int) -> None:
        self._uri = uri
        self._seed = seed
        self.answers: Counter[str] = Counter()

    def send(self, numbers: range) -> None:
        """Raises AssertionError, naming the seed and the request, for an answer that should not be."""
        with grpc.insecure_channel(self._uri, options=CHANNEL_OPTIONS) as channel, ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(partial(self._send, channel), numbers):
                pass

    def _send(self, channel: grpc.Channel, number: int) -> None:
        request = attack(self._seed, number)
        where = f"seed {self._seed}, request {number}"
        try:
            answer, reason = self._spill(request) if isinstance(request, Garbage) else _answer(channel, request)
        except Exception as error:
            raise AssertionError(f"{where}: {error!r}: {request}") from error
        assert answer in ANSWERS, f"{where} was answered {answer} {reason}: {request}"
        assert len(reason) <= MAX_STATUS_CHARACTERS, f"{where} was answered {answer} {reason}: {request}"
        self.answers[answer] += 1

    def _spill(self, garbage: Garbage) -> tuple[str, str]:
        host, _, port = self._uri.rpartition(":")
        with socket.create_connection((host, int(port)), WAIT) as connection, suppress(ConnectionError):
            connection.sendall(garbage.data)
            if garbage.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "OK", ""


def _answer(channel: grpc.Channel, request: Request) -> tuple[str, str]:
    """The status with which the call ends, and its reason."""
    last = (sentinel(),) if request.method == SUBSCRIBE and request.ending != "ignore" else ()
    sent = Event()
    call = channel.stream_stream(request.method)(_told(chain(request.messages, last), sent), timeout=WAIT)
    if request.ending == "ignore":
        if call.add_callback(sent.set):  # else it has ended
            assert sent.wait(WAIT)
    else:
        _read(call, request)
    call.cancel()
    return call.code().name, call.details()


def _told(messages: Iterable[bytes], end: Event) -> Iterator[bytes]:
    yield from messages
    end.set()


def _read(call: Iterator[bytes], request: Request) -> None:
    with suppress(grpc.RpcError):
        for message in call:
            if request.ending == "break off" or request.method == WATCH:
                return
            if request.method == SUBSCRIBE:
                change = pb.Change.FromString(message)
                if change.interest == SENTINEL and change.cursor:
                    return


def _kept(client: Client) -> dict[object, object]:
    points = client.fetch(KEPT)
    found = {(*key, column): values.tobytes() for key, columns in points.items() for column, values in columns.items()}
    return {**found, "config": client.config(KEPT)}


def _fill(uri: str, spool: Path) -> None:
    with DataLogger(KEPT, uri, spool_dir=spool) as logger:
        logger.write_config({"lr": 0.5})
        logger.write("loss", x=np.arange(5000), y=np.random.default_rng(0).random(5000))
        for step in range(300):
            logger.write("acc", x=step, y=0.5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_request_harms_a_server(
    tmp_path: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is answered in time and with a reason; then memory, threads, files and what is stored are as they were."""
    monkeypatch.setattr(sqlite, "new_timeline", lambda: TIMELINE)
    sqlite.SqliteStore(tmp_path / "data").close()
    said = tmp_path / "said"
    with said.open("w") as errors, server_process(tmp_path / "data", errors) as (process, uri):
        with Client(uri) as client:
            server, attacker = psutil.Process(process.pid), Attacker(uri, SEED)
            _fill(uri, tmp_path / "spool")
            kept = _kept(client)
            attacker.send(range(FIRST, FIRST + WARM_UP))
            memory, threads, files = server.memory_info().rss, server.num_threads(), server.num_fds()
            for first in range(FIRST + WARM_UP, FIRST + REQUESTS, 1000):
                attacker.send(range(first, min(first + 1000, FIRST + REQUESTS)))
                assert _kept(client) == kept
                assert server.memory_info().rss <= memory + MORE_MEMORY, f"seed {SEED}, after request {first + 1000}"
            for name in ("writers", "subscribers", "waiting_bytes"):
                wait_until(lambda name=name: not client.stats().value(f"streamvis_{name}"), WAIT)
            wait_until(lambda: server.num_fds() <= files + MORE_FILES, WAIT)
            wait_until(lambda: server.num_threads() <= threads + MORE_THREADS, WAIT)
            assert sum(file.stat().st_size for file in tmp_path.glob("data*")) < MORE_DISK
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    assert b"Traceback" not in said.read_bytes()
    assert not check(tmp_path / "data").damages
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= {*attacker.answers}
