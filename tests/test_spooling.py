"""Loggers and their spools: full disks, deleted and damaged files, killed programs, pushes of many at once."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis.errors import BufferFullError, SpoolError
from streamvis.logger import DataLogger
from streamvis.sender import push
from streamvis.server.run import serving
from streamvis.testing.loggers import stored, unused_port

Wait = Callable[..., None]

NOISE = np.random.default_rng(0)


def _noise(points: int = 1000) -> Any:
    """Values that compress to nothing less."""
    return NOISE.standard_normal(points)


@pytest.fixture(name="make")
def _make(tmp_path: Path) -> Callable[..., DataLogger]:
    """A logger whose spool is the test's own."""

    def make(uri: str, **options: Any) -> DataLogger:
        return DataLogger("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})

    return make


def _leave(spool: Path, batches: int, name: str = "loss") -> Path:
    """The spool of a logger that found no server: so many batches of a point each, and its goodbye."""
    with DataLogger("run", f"127.0.0.1:{unused_port()}", spool_dir=spool, flush_every=3600.0) as logger:
        for step in range(batches):
            logger.write(name, x=step)
            logger.flush(30)
        return next(path for path in spool.iterdir() if str(path) in _paths(logger))


def _paths(logger: DataLogger) -> str:
    assert logger._sender
    return str(logger._sender._delivery.spool_path)


def _flip(segment: Path, place: float) -> None:
    """Changes a byte at that part of the file."""
    data = bytearray(segment.read_bytes())
    data[int(len(data) * place)] ^= 4
    segment.write_bytes(data)


def _messages(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# ---- damage


def test_a_push_sends_what_is_whole_and_names_what_is_not(tmp_path: Path) -> None:
    """Also of the spools beside it; the damaged file is kept aside, and the next push has nothing to do."""
    damaged = _leave(tmp_path / "spool", 10)
    _leave(tmp_path / "spool", 5, "other")
    segment = next(damaged.glob("*.seg"))
    _flip(segment, 0.5)
    with serving() as server:
        with pytest.raises(
            SpoolError, match=rf"{segment} is damaged or gone: batch \d+ is lost.*else was sent; .*damaged"
        ):
            push(tmp_path / "spool", server.uri)
        found = stored(server.uri, "loss")["x"]
        assert len(found) == 9
        assert found == sorted({*range(10)} & {*found})
        assert stored(server.uri, "other")["x"] == list(range(5))
        assert push(tmp_path / "spool", server.uri) == 0
        assert stored(server.uri, "loss")["x"] == found
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["damaged"]
    assert len(list((tmp_path / "spool" / "damaged").iterdir())) == 1


def test_the_command_says_in_one_line_what_is_damaged(tmp_path: Path) -> None:
    """And exits with 1."""
    segment = next(_leave(tmp_path / "spool", 3).glob("*.seg"))
    _flip(segment, 0.1)
    with serving() as server:
        command = [sys.executable, "-m", "streamvis", "push", str(tmp_path / "spool"), server.uri]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"{segment} is damaged or gone: batch 1 is lost" in done.stderr
        assert stored(server.uri, "loss")["x"] == [1, 2]


@pytest.mark.parametrize("strict", [False, True])
def test_a_spool_deleted_underneath_is_a_counted_loss_and_logging_goes_on(
    make: Callable[..., DataLogger], tmp_path: Path, caplog: pytest.LogCaptureFixture, strict: bool
) -> None:
    """What was in it alone is lost, which is said; what comes later is stored; under strict the flush raises."""
    port = unused_port()
    with make(f"127.0.0.1:{port}", strict=strict) as logger:
        for step in range(3):
            logger.write("loss", x=step)
            logger.flush(30)
        shutil.rmtree(tmp_path / "spool")
        logger.write("loss", x=3)
        logger.flush(30)
        with serving(port=port) as server:
            logger.write("loss", x=4)
            if strict:
                with pytest.raises(BufferFullError, match="are lost"):
                    _flush_until_lost(logger)
            else:
                _flush_until_lost(logger)
            logger.write("loss", x=5)
            logger.flush(30)
            assert stored(server.uri, "loss")["x"] == [3, 4, 5]
            assert logger.stats()["dropped"] == {"spool": 3}
    (message,) = _messages(caplog)
    assert "0001.seg is damaged or gone: batches 1 to 3 are lost, with points of 'run'" in message


def _flush_until_lost(logger: DataLogger) -> None:
    """The first flush may end on the disk, before the connection is back."""
    while not (logger.stats()["outstanding"] == 0 and logger.stats()["dropped"]):
        logger.flush(30)
    logger.flush(30)


def test_a_damaged_spool_of_a_running_logger_costs_what_was_damaged(
    make: Callable[..., DataLogger], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of it is sent, in order, by the logger itself."""
    port = unused_port()
    with make(f"127.0.0.1:{port}") as logger:
        for step in range(10):
            logger.write("loss", x=step)
            logger.flush(30)
        _flip(next((tmp_path / "spool").glob("*/*.seg")), 0.5)
        with serving(port=port) as server:
            _flush_until_lost(logger)
            found = stored(server.uri, "loss")["x"]
            logger.write("loss", x=10)
            logger.flush(30)
            assert stored(server.uri, "loss")["x"] == [*found, 10]
    assert len(found) == 9
    assert found == sorted(found)
    assert len(_messages(caplog)) == 1


# ---- full disks


def test_a_disk_that_fills_midway_and_empties_again_costs_nothing(
    make: Callable[..., DataLogger], monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """What had been copied by then is sent as well, once and in order."""
    port, write = unused_port(), os.write
    room = [20_000]  # two batches and a half

    def write_if_there_is_room(file: int, data: memoryview) -> int:
        taken = min(len(data), room[0])
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= taken
        return write(file, data[:taken])

    monkeypatch.setattr(os, "write", write_if_there_is_room)
    with make(f"127.0.0.1:{port}") as logger:
        with socket.create_server(("127.0.0.1", port)) as deaf:
            for step in range(6):
                logger.write("loss", x=_noise(), t=step)
                wait_until(lambda: not logger.stats()["waiting_writes"])
                wait_until(lambda step=step: logger.stats()["batches"] == step + 1)
            assert logger.stats()["spool_bytes"] == 0
        wait_until(lambda: deaf.fileno() < 0 and logger.stats()["retries"], 60)
        assert logger.stats()["spool_bytes"] == 0
        room[0] = 1 << 30
        wait_until(lambda: logger.stats()["spool_bytes"] > 0, 60)
        with serving(port=port) as server:
            logger.write("loss", x=_noise(), t=6)
            wait_until(lambda: logger.stats()["outstanding"] == 0, 60)
            found = stored(server.uri, "loss")
            assert found["t"] == np.repeat(np.arange(7), 1000).tolist()
    assert logger.stats()["dropped"] == {}
