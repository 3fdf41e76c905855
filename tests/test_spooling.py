"""Loggers and their spools: full disks, deleted and damaged files, killed programs, pushes of many at once."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import delivery
from streamvis.client import Client
from streamvis.errors import BufferFullError, SpoolError
from streamvis.logger import DataLogger
from streamvis.push import push
from streamvis.server.run import serving
from streamvis.spool import leftovers
from streamvis.testing.loggers import held_server, stored, unused_port

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
        with pytest.raises(SpoolError, match=rf"{segment} is damaged: batch \d+ is lost; everything else was sent"):
            push(tmp_path / "spool", server.uri)
        found = stored(server.uri, "loss")["x"]
        assert len(found) == 9
        assert found == sorted({*range(10)} & {*found})
        assert stored(server.uri, "other")["x"] == list(range(5))
        assert push(tmp_path / "spool", server.uri) == 0
        assert stored(server.uri, "loss")["x"] == found
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["damaged"]
    assert len(list((tmp_path / "spool" / "damaged").iterdir())) == 1


def test_a_push_tells_both_what_was_damaged_and_what_was_refused(tmp_path: Path) -> None:
    """Neither hides the other."""
    _flip(next(_leave(tmp_path / "spool", 5).glob("*.seg")), 0.5)
    with serving() as server:
        with DataLogger("run", server.uri, spool_dir=tmp_path / "other") as logger:
            logger.write("loss", y=1)
        with pytest.raises(
            SpoolError, match=r"is lost; everything else was sent.*the server refused some points, kept"
        ):
            push(tmp_path / "spool", server.uri)
        assert stored(server.uri, "loss") == {"y": [1]}
    assert list((tmp_path / "spool" / "rejected").glob("*/*.seg"))


def test_the_command_says_in_one_line_what_is_damaged(tmp_path: Path) -> None:
    """And exits with 1."""
    segment = next(_leave(tmp_path / "spool", 3).glob("*.seg"))
    _flip(segment, 0.1)
    with serving() as server:
        command = [sys.executable, "-m", "streamvis", "push", str(tmp_path / "spool"), server.uri]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"{segment} is damaged: batch 1 is lost" in done.stderr
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
            assert logger.stats()["dropped"] == {"loss": 3}
    (message,) = _messages(caplog)
    assert (
        "0001.seg is gone: batches 1 to 3 are lost, unless a push has sent them; points of 'run' are among them"
        in message
    )


def test_a_spool_that_is_gone_at_the_end_is_a_counted_loss(
    make: Callable[..., DataLogger], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The logger does not promise what nobody can push."""
    with make(f"127.0.0.1:{unused_port()}") as logger:
        logger.write("loss", x=np.arange(3))
        logger.write_config({"lr": 1})
        logger.flush(30)
        shutil.rmtree(tmp_path / "spool")
    assert logger.stats()["dropped"] == {"loss": 3, "config": 1}
    (message,) = _messages(caplog)
    assert "is gone: batch 1 is lost" in message


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


def test_a_wiped_server_and_a_full_disk_cost_no_point(
    make: Callable[..., DataLogger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """What cannot be copied for the new writer stays where it is, for a push; later points are stored at once."""
    port, full, write = unused_port(), False, os.write

    def write_if_there_is_room(file: int, data: memoryview) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr(os, "write", write_if_there_is_room)
    with make(f"127.0.0.1:{port}") as logger:
        with serving(port=port):
            logger.write("loss", x=0)
            logger.flush(30)
        for step in range(1, 4):
            logger.write("loss", x=step)
            logger.flush(30)
        (left,) = (tmp_path / "spool").iterdir()
        full = True
        with serving(port=port) as server:
            wait_until(lambda: logger.stats()["errors"], 60)
            logger.write("loss", x=4)
            logger.flush(30)
            wait_until(lambda: logger.stats()["outstanding"] == 0, 60)
            assert stored(server.uri, "loss")["x"] == [4]
            full = False
            assert push(left, server.uri) == 3
            assert sorted(stored(server.uri, "loss")["x"]) == [1, 2, 3, 4]
    assert logger.stats()["dropped"] == {}


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
        wait_until(lambda: logger.stats()["spool_bytes"] == 0, 60)  # it takes back what it could copy
        room[0] = 1 << 30
        wait_until(lambda: logger.stats()["spool_bytes"] > 0, 60)
        with serving(port=port) as server:
            logger.write("loss", x=_noise(), t=6)
            wait_until(lambda: logger.stats()["outstanding"] == 0, 60)
            found = stored(server.uri, "loss")
            assert found["t"] == np.repeat(np.arange(7), 1000).tolist()
    assert logger.stats()["dropped"] == {}


# ---- killed programs


KILLED = """
import os, signal, sys, streamvis
logger = streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=float(sys.argv[3])).start()
"""


def _killed(program: str, uri: str, spool: Path, flush_every: float) -> str:
    """What such a program prints before it kills itself."""
    command = [sys.executable, "-c", KILLED + program, uri, str(spool), str(flush_every)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


def test_a_killed_program_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    """With the server away it is on disk when `flush` returns, whatever happens then."""
    program = """
logger.write_config({"lr": 1})
for step in range(200):
    logger.write("loss", x=step)
logger.flush()
for step in range(200, 300):
    logger.write("loss", x=step)
os.kill(os.getpid(), signal.SIGKILL)
"""
    _killed(program, f"127.0.0.1:{unused_port()}", tmp_path, 3600.0)
    with serving() as server, Client(server.uri) as client:
        push(tmp_path, server.uri)
        assert stored(server.uri, "loss")["x"] == list(range(200))
        assert client.config("run") == {"lr": 1}


def test_a_killed_program_loses_one_interval_at_most(tmp_path: Path) -> None:
    """The program only writes, and dies: everything is there, in order, up to the last flush that had ended."""
    program = """
step = 0
marks = {}
while len(marks) < 5:
    logger.write("loss", x=step)
    step += 1
    marks.setdefault(logger.stats()["flushes"], step)
print(*sorted(marks.values()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    printed = _killed(program, f"127.0.0.1:{unused_port()}", tmp_path, 0.2)
    # A mark is what had been written when so many flushes were seen to have begun. Of four, three have ended, and the
    # third took all that had been written when the second was seen.
    _, _, second, _, fourth = map(int, printed.split())
    with serving() as server:
        push(tmp_path, server.uri)
        found = stored(server.uri, "loss")["x"]
    assert found == list(range(len(found)))
    assert second <= len(found) <= fourth


def test_what_a_silent_server_has_not_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A server that is connected and says nothing is away as well, after a few seconds."""
    program = """
from streamvis import delivery
delivery.COPY_AFTER = 0.1
for step in range(200):
    logger.write("loss", x=step)
while not logger.stats()["spool_bytes"]:
    pass
assert logger.stats()["connected"] and not logger.stats()["retries"]
os.kill(os.getpid(), signal.SIGKILL)
"""
    with held_server() as (server, gate):
        _killed(program, server.uri, tmp_path, 3600.0)
        gate.set()
        push(tmp_path, server.uri)
        assert stored(server.uri, "loss")["x"] == list(range(200))


def test_a_slow_server_gets_everything_once(
    make: Callable[..., DataLogger], monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """What is on disk as well, because it was slow to answer, is not sent twice, and is deleted."""
    monkeypatch.setattr(delivery, "COPY_AFTER", 0.05)
    with held_server() as (server, gate), make(server.uri) as logger:
        for step in range(20):
            logger.write("loss", x=step)
            if step == 10:
                wait_until(lambda: logger.stats()["spooled"])
        gate.set()
        logger.flush(30)
        assert stored(server.uri, "loss")["x"] == list(range(20))
        wait_until(lambda: logger.stats()["spool_bytes"] == 0)
        assert (logger.stats()["retries"], logger.stats()["errors"]) == (0, 0)


# ---- pushes


def test_pushes_at_once_store_everything_once(tmp_path: Path) -> None:
    """Each spool is sent by one of them, or by several that do each other no harm; none of them fails."""
    for writer in range(4):
        _leave(tmp_path / "spool", 25, f"loss{writer}")
    with serving() as server:
        command = [sys.executable, "-m", "streamvis", "push", str(tmp_path / "spool"), server.uri]
        pushes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
        ]
        said = [one.communicate(timeout=90) for one in pushes]
        push(tmp_path / "spool", server.uri)
        for writer in range(4):
            assert stored(server.uri, f"loss{writer}")["x"] == list(range(25))
    for (out, err), one in zip(said, pushes, strict=True):
        assert one.returncode == 0, err
        assert re.fullmatch(r"sent \d+ batches to .*\n", out)
        assert all("is in use by" in line for line in err.splitlines()), err
    assert list((tmp_path / "spool").iterdir()) == []


def test_pushes_that_do_not_see_each_other_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deletes a spool has sent all of it: the others lack nothing, and do not say so."""
    for place in ("push", "spool"):
        monkeypatch.setattr(f"streamvis.{place}.claim", lambda _: None)
    for writer in range(10):
        _leave(tmp_path / "spool", 5, f"loss{writer}")
    with serving() as server:
        with ThreadPoolExecutor(4) as threads:
            pushes = [threads.submit(push, tmp_path / "spool", server.uri) for _ in range(4)]
        assert 60 <= sum(one.result() for one in pushes) <= 240
        for writer in range(10):
            assert stored(server.uri, f"loss{writer}")["x"] == list(range(5))


def test_a_push_that_is_interrupted_is_finished_by_the_next(tmp_path: Path, wait_until: Wait) -> None:
    """Nothing is lost or doubled when it is killed while the server takes its time."""
    _leave(tmp_path / "spool", 25)
    with held_server() as (server, gate):
        command = [sys.executable, "-m", "streamvis", "push", str(tmp_path / "spool"), server.uri]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
            wait_until(lambda: list((tmp_path / "spool").glob("*/owner")), 30)
            assert leftovers(tmp_path / "spool")[0] == []
            one.kill()
        gate.set()
        assert push(tmp_path / "spool", server.uri) == 26
        assert stored(server.uri, "loss")["x"] == list(range(25))


def test_a_spool_that_cannot_be_deleted_is_sent_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that is mounted read-only: another push adds nothing."""
    path = _leave(tmp_path / "spool", 5)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    for method in ("unlink", "rename", "write_text"):
        monkeypatch.setattr(Path, method, refuse)
    with serving() as server:
        for _ in range(2):
            caplog.clear()
            assert push(tmp_path / "spool", server.uri) == 6
            assert stored(server.uri, "loss")["x"] == list(range(5))
            assert _messages(caplog, logging.WARNING) == [
                f"{path} has been sent and cannot be deleted; another push of it adds nothing"
            ]
