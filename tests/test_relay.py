"""The relay, which speaks gRPC for forked children, used here by this process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from streamvis import relay as relay_module
from streamvis.client import Client
from streamvis.errors import StreamvisError, UnavailableError, UsageError
from streamvis.logger import DataLogger
from streamvis.push import push
from streamvis.records import Ack, Batch
from streamvis.relay import RelayLink
from streamvis.server.run import ServerThread, serving

WAIT = 30.0
Wait = Callable[..., None]


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving() as server:
        yield server


@pytest.fixture(name="links")
def _links(monkeypatch: pytest.MonkeyPatch) -> list[RelayLink]:
    """What loggers open, as if this were a forked child."""
    links: list[RelayLink] = []

    class Kept(RelayLink):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            links.append(self)

    monkeypatch.setattr(relay_module, "loaded_before_fork", lambda: True)
    monkeypatch.setattr(relay_module, "RelayLink", Kept)
    return links


def make(uri: str, tmp_path: Path) -> DataLogger:
    return DataLogger("run", uri, spool_dir=tmp_path / "spool", flush_every=0.05)


def stored(uri: str) -> Any:
    with Client(uri) as client:
        return client.fetch("run", "a")["run", "a", 0]["y"]


def test_a_relay_that_is_killed_loses_and_doubles_nothing(
    server: ServerThread, links: list[RelayLink], tmp_path: Path, wait_until: Wait
) -> None:
    """Another takes its place, and sends again what was not acknowledged."""
    values = np.random.default_rng(0).standard_normal((40, 60_000))
    with make(server.uri, tmp_path) as logger:
        for round_, rows in enumerate(np.split(values, 4)):
            for row in rows:
                logger.write("a", y=row)
            wait_until(lambda round_=round_: len(links) > round_, WAIT)
            links[-1]._process.kill()
        logger.flush(WAIT)
        wait_until(lambda: logger.stats()["outstanding"] == 0, WAIT)
    assert logger.stats()["retries"] == 4
    assert np.array_equal(stored(server.uri), values.ravel())
    assert [link._process.returncode is not None for link in links] == [True] * 5


def test_it_ends_with_the_process_that_uses_it(server: ServerThread) -> None:
    """Which is the end of its input; and without a word, when that is what ends it."""
    lost: SimpleQueue[StreamvisError] = SimpleQueue()
    link = RelayLink(server.uri, lambda _: None, lost.put)
    assert link._process.stdin is not None
    link.send(Batch("writer", 1))
    link._requests.put(None)
    assert isinstance(lost.get(timeout=WAIT), UnavailableError)
    assert link._process.wait(WAIT) == 0
    link.close()


def test_signals_to_the_whole_job_do_not_end_it(server: ServerThread) -> None:
    """The child's last batches come after them."""
    acks: SimpleQueue[Ack] = SimpleQueue()
    link = RelayLink(server.uri, acks.put, lambda _: None)
    for number in (1, 2):
        link.send(Batch("writer", number))
        assert acks.get(timeout=WAIT).number == number
        os.kill(link._process.pid, signal.SIGTERM)
    assert os.getpgid(link._process.pid) != os.getpgid(0)  # Ctrl-C is for the terminal's group
    link.close()


def test_what_the_server_says_about_the_stream_arrives(server: ServerThread) -> None:
    """As the exception that it is without a relay."""
    lost: SimpleQueue[StreamvisError] = SimpleQueue()
    link = RelayLink(server.uri, lambda _: None, lost.put)
    link.send(Batch("", 1))
    error = lost.get(timeout=WAIT)
    assert (type(error), "writer '' has 0 bytes" in str(error)) == (UsageError, True)
    link.close()


def test_nobody_answers(tmp_path: Path, links: list[RelayLink]) -> None:
    """The points are kept in the spool."""
    with make("127.0.0.1:1", tmp_path) as logger:
        logger.write("a", y=1.5)
        logger.flush(WAIT)
    assert links
    with serving() as server:
        assert push(tmp_path / "spool", server.uri) > 0
        assert stored(server.uri) == [1.5]


def test_it_cannot_be_started(
    tmp_path: Path, links: list[RelayLink], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where Python is embedded in another program: that is said, and the points are kept in the spool."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with make("127.0.0.1:1", tmp_path) as logger:
        logger.write("a", y=1.5)
        logger.flush(WAIT)
    assert not links
    assert "no connection can be made: [Errno 2] No such file or directory" in caplog.records[0].message
    assert len(list(tmp_path.glob("spool/run-*/*.seg"))) == 1
