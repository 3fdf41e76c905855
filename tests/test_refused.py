"""Batches that the server refuses for what they hold: set aside, said, and nothing else is held up by them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import sender as sender_module
from streamvis.client import Client
from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.errors import MalformedError, RejectedError, SpoolError
from streamvis.logger import DataLogger
from streamvis.push import push
from streamvis.refused import Refused
from streamvis.server.checks import BatchChecker
from streamvis.server.run import ServerThread, serving
from streamvis.spool import SegmentReader
from streamvis.testing.loggers import unused_port
from streamvis.transport import GrpcLink

WAIT = 30.0
BAD = -1.0
"""Whatever holds this value is damaged on its way."""


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving() as server:
        yield server


@pytest.fixture(name="free_port")
def _free_port() -> int:
    return unused_port()


@pytest.fixture(name="damage", autouse=True)
def _damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(block: Block) -> EncodedBlock:
        encoded = encode(block)
        return encoded._replace(crc=encoded.crc ^ 1) if (block.columns["y"] == BAD).any() else encoded

    monkeypatch.setattr(sender_module, "encode", damaged)


def make(uri: str, tmp_path: Path, **options: Any) -> DataLogger:
    return DataLogger("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.01, **options})


def batch_of(value: float) -> np.ndarray:
    """Points that fill a batch."""
    values = np.random.default_rng(0).standard_normal(130_000)
    values[0] = value
    return values


def stored(uri: str, name: str = "a") -> list[float]:
    """What tells the batches apart."""
    with Client(uri) as client:
        found = client.fetch("run", name)["run", name, 0]["y"]
    return [float(value) for value in found[::130_000]]


@pytest.mark.parametrize("bad", [{0}, {4}, {7}, {2, 3}, {0, 4, 7}, set(range(8))])
def test_a_refused_batch_holds_up_no_other(
    server: ServerThread, tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: set[int]
) -> None:
    """Eight in one flush, so that all are in flight: those that are not refused are stored once and in order."""
    with make(server.uri, tmp_path) as logger:
        for number in range(8):
            logger.write("a", y=batch_of(BAD if number in bad else number))
        with pytest.raises(RejectedError, match="its CRC does not match"):
            logger.flush(WAIT)
        logger.flush(WAIT)
        logger.write("a", y=batch_of(8))
        logger.flush(WAIT)
        stats = logger.stats()
    assert stored(server.uri) == [number for number in range(9) if number not in bad]
    assert (list(stats["rejected"]), stats["outstanding"], stats["dropped"]) == (["a"], 0, {})
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    (segment,) = tmp_path.glob("spool/rejected/*/*.seg")
    with SegmentReader(segment) as kept:
        assert len(list(kept)) == len(bad)
    assert not list(tmp_path.glob("spool/run-*"))


def test_the_other_names_of_a_refused_batch_are_said_too(server: ServerThread, tmp_path: Path) -> None:
    """It is one message: what it holds of them is kept beside, and what comes later is stored."""
    with make(server.uri, tmp_path) as logger:
        logger.write("a", y=BAD)
        logger.write("b", y=1.0)
        logger.write_config({"lr": 1})
        with pytest.raises(RejectedError):
            logger.flush(WAIT)
        logger.write("a", y=2.0)
        logger.write("b", y=2.0)
        logger.flush(WAIT)
        assert sorted(logger.stats()["rejected"]) == ["a", "b", "config"]
    assert (stored(server.uri, "a"), stored(server.uri, "b")) == ([2.0], [2.0])
    (segment,) = tmp_path.glob("spool/rejected/*/*.seg")
    with SegmentReader(segment) as reader:
        (kept,) = reader
    assert ({declared.name for declared in kept.declarations}, len(kept.configs)) == ({"a", "b"}, 1)


def test_one_that_waited_on_disk_is_set_aside(tmp_path: Path, wait_until: Callable[..., None], free_port: int) -> None:
    """The server comes back to a spool with a bad batch in its midst."""
    with make(f"127.0.0.1:{free_port}", tmp_path) as logger:
        for number in (0, BAD, 2, 3):
            logger.write("a", y=batch_of(number))
            logger.flush(WAIT)
        assert logger.stats()["spool_bytes"] > 0
        with serving("memory:", free_port) as server:
            wait_until(lambda: logger.stats()["outstanding"] == 0, WAIT)
            with pytest.raises(RejectedError):
                logger.flush(WAIT)
            assert stored(server.uri) == [0, 2, 3]
            logger.stop()
            assert not list(tmp_path.glob("spool/run-*"))


def test_push_sets_it_aside(server: ServerThread, tmp_path: Path, free_port: int) -> None:
    """And says so after the rest was sent."""
    with make(f"127.0.0.1:{free_port}", tmp_path) as logger:
        for number in (0, BAD, 2, 3):
            logger.write("a", y=batch_of(number))
            logger.flush(WAIT)
    with pytest.raises(RejectedError, match=rf"kept in {tmp_path}/spool/rejected/run-\w+: .*its CRC does not match"):
        push(tmp_path / "spool", server.uri)
    assert stored(server.uri) == [0, 2, 3]
    assert push(tmp_path / "spool", server.uri) == 0


def test_one_that_was_damaged_once_is_sent_again(
    server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is refused twice before it is set aside."""
    send = GrpcLink.send
    damaged: list[int] = []

    def send_damaged(link: Any, batch: Any) -> None:
        if batch.blocks and not damaged:
            damaged.append(batch.number)
            block = batch.blocks[0]
            batch = replace(batch, blocks=(block._replace(crc=block.crc ^ 1), *batch.blocks[1:]))
        send(link, batch)

    monkeypatch.setattr(GrpcLink, "send", send_damaged)
    with make(server.uri, tmp_path) as logger:
        logger.write("a", y=1.0)
        logger.flush(WAIT)
        assert logger.stats()["rejected"] == {}
    assert (stored(server.uri), len(damaged)) == ([1.0], 1)


def test_where_nothing_can_be_kept_it_is_a_counted_loss(
    server: ServerThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The logger goes on."""
    (tmp_path / "file").touch()
    with make(server.uri, tmp_path, spool_dir=tmp_path / "file" / "spool") as logger:
        logger.write("a", y=[BAD, 1.0])
        with pytest.raises(RejectedError):
            logger.flush(WAIT)
        logger.write("a", y=2.0)
        logger.flush(WAIT)
        assert (logger.stats()["dropped"], logger.stats()["errors"]) == ({"a": 2}, 0)
    assert stored(server.uri) == [2.0]
    assert "what it refused is lost" in caplog.text


def test_a_server_that_takes_nothing_at_all_is_one_that_is_away(
    server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """Not even an empty batch: then the fault is not that of one, and the later ones are kept until it does."""

    def refuse(*_: object) -> None:
        raise MalformedError("is of another version")

    with make(server.uri, tmp_path) as logger:
        with monkeypatch.context() as patch:
            patch.setattr(BatchChecker, "check", refuse)
            logger.write("a", y=1.0)
            wait_until(lambda: logger.stats()["rejected"], WAIT)
            logger.write("a", y=2.0)
            with pytest.raises(RejectedError, match="is of another version"):
                logger.flush(WAIT)
            assert logger.stats()["outstanding"] == 2
        wait_until(lambda: logger.stats()["outstanding"] == 0, WAIT)
    assert stored(server.uri) == [2.0]


def test_a_config_too_large_for_a_message_holds_up_nothing(server: ServerThread, tmp_path: Path) -> None:
    """It is gRPC itself that refuses it, before the server sees it."""
    with make(server.uri, tmp_path) as logger:
        logger.write_config({"text": "x" * (17 << 20)})
        with pytest.raises(RejectedError, match="larger than max"):
            logger.flush(WAIT)
        logger.write("a", y=2.0)
        logger.flush(WAIT)
        assert list(logger.stats()["rejected"]) == ["config"]
    assert stored(server.uri) == [2.0]


def test_names_however_long_and_many_fit_into_messages(server: ServerThread, tmp_path: Path) -> None:
    """What declares them counts: together they are larger than any message may be."""
    with make(server.uri, tmp_path, flush_every=3600) as logger:
        for number in range(6000):
            logger.write(f"{number:06}" + "n" * 4000, y=1.0)
        logger.flush(WAIT)
        assert (logger.stats()["rejected"], logger.stats()["outstanding"]) == ({}, 0)
    with Client(server.uri) as client:
        assert len(client.names("run")) == 6000


def test_many_refused_names_are_one_line(
    server: ServerThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in what flush raises; `stats` has them all."""
    with make(server.uri, tmp_path, flush_every=3600) as logger:
        for number in range(100):
            logger.write(f"name{number}", y=BAD)
        with pytest.raises(RejectedError, match=r"name0: .*; name4: .* and 95 more$") as caught:
            logger.flush(WAIT)
        assert len(logger.stats()["rejected"]) == 100
    assert len(str(caught.value)) < 2000
    assert ["name0, name1, name2, name3, name4 and 95 more: " in record.getMessage() for record in caplog.records] == [
        True
    ]


def test_a_push_that_cannot_keep_what_is_refused_keeps_the_spool(
    server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    """Also when the server has stored the rest: the next push is told again, and keeps it then."""
    with make(server.uri, tmp_path) as logger:
        logger.write("loss", y=1.0, x=1)
    monkeypatch.setattr("streamvis.spool.SEGMENT_BYTES", 1)
    with make(f"127.0.0.1:{free_port}", tmp_path) as logger:
        for y in (1.0, 2.0):
            logger.write("a", y=y)
            logger.write("loss", y=2.0)
            logger.flush(WAIT)

    def refuse(*_: object) -> None:
        raise SpoolError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Refused, "keep", refuse)
        with pytest.raises(SpoolError, match="no space left"):
            push(tmp_path / "spool", server.uri)
    assert list(tmp_path.glob("spool/run-*/*.seg"))
    with pytest.raises(RejectedError, match="declares y"):
        push(tmp_path / "spool", server.uri)
    assert not list(tmp_path.glob("spool/run-*"))
    with Client(server.uri) as client:
        client.delete("run", ["loss"])
    assert push(tmp_path / "spool" / "rejected", server.uri) == 2
    with Client(server.uri) as client:
        assert client.fetch("run", "loss")["run", "loss", 0]["y"].tolist() == [2.0, 2.0]
        assert client.fetch("run", "a")["run", "a", 0]["y"].tolist() == [1.0, 2.0]
