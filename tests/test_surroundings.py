"""The disk fills up, or the clock jumps, under a data server."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from streamvis.client import Client
from streamvis.clock import steady_time
from streamvis.errors import StoreFullError
from streamvis.logger import DataLogger
from streamvis.records import Status
from streamvis.server.runs import run_infos
from streamvis.storage import MemoryStore, SqliteStore
from streamvis.testing import StoreStream, append, loss, points, read

WAIT = 60.0


@contextmanager
def _server(prefix: Path) -> Iterator[tuple[str, int]]:
    """The address and the process id of a data server."""
    command = [sys.executable, "-m", "streamvis", "grpc-serve", str(prefix), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[3].rstrip(","), process.pid
        finally:
            process.terminate()


def _limit_files(pid: int, largest: int) -> None:
    """No file of that process may grow beyond so many bytes, which fails like a full disk or a quota."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
@pytest.mark.timeout(180)
def test_a_server_whose_disk_is_full_goes_on_when_there_is_space(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Writes are refused with RESOURCE_EXHAUSTED, reads are answered, and the logger delivers what it kept."""
    before, after = np.arange(1000.0), np.random.default_rng(0).random(100_000)
    with _server(tmp_path / "data") as (uri, pid), Client(uri, timeout=WAIT) as client:
        with DataLogger("run", uri, spool_dir=tmp_path / "spool", flush_every=0.01) as logger:
            logger.write("loss", y=before)
            logger.flush(WAIT)
            _limit_files(pid, 300_000)
            logger.write("loss", y=after)
            wait_until(lambda: _refusal(client).startswith("RESOURCE_EXHAUSTED"), WAIT)
            assert "no space left" in _refusal(client)
            assert client.fetch("run")["run", "loss", 0]["y"].tobytes() == before.tobytes()
            assert client.names("run") == ["loss"]
            _limit_files(pid, resource.RLIM_INFINITY)
            logger.flush(WAIT)
            wait_until(lambda: logger.stats()["outstanding"] == 0, WAIT)
            assert (logger.stats()["rejected"], logger.stats()["dropped"]) == ({}, {})
        found = client.fetch("run")["run", "loss", 0]["y"]
        client.set_config("run", {"lr": 1})
    assert found.tobytes() == np.concatenate([before, after]).tobytes()


def _refusal(client: Client) -> str:
    """Why a write finds no space; empty when it is stored, as the write-ahead log may still have room."""
    try:
        client.set_config("filler", {"long": "x" * 100_000})
    except StoreFullError as error:
        return f"{error.status} {error}"
    return ""


@pytest.mark.parametrize("jump", [1e8, -1e8])
def test_a_clock_that_jumps_ends_and_revives_no_run(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was just heard runs, and who has been silent has crashed, wherever the clock goes; also after a restart."""
    passed, elsewhere = [0.0], [0.0]
    monotonic, unix = time.monotonic, time.time
    monkeypatch.setattr("time.monotonic", lambda: monotonic() + passed[0])
    monkeypatch.setattr("time.time", lambda: unix() + passed[0] + elsewhere[0])
    store, stream, since = MemoryStore(), StoreStream(), steady_time()

    def state(since: float) -> str:
        (run,) = run_infos(store.usage(), store.reports(), steady_time(), since)
        return run.status

    append(store, stream.next(points(0), declare=[loss()], status=Status("run", "running", 10.0, 1.0, 2.0)))
    for elsewhere[0] in (jump, 0.0, jump):
        assert state(since) == "running"
    passed[0] += 31
    assert state(since) == "crashed"
    elsewhere[0] = 0.0
    assert state(since) == "crashed"
    restarted = steady_time() + jump  # another process, which began when the clock stood there
    (run,) = run_infos(store.usage(), store.reports(), restarted + 31, restarted)
    assert run.status == "crashed"


def test_a_clock_that_jumps_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years back or ahead between any two commits: points, deletes and restores keep their order."""
    now = [2e9, 0.0, 4e9, 1e9, 1.5e9]

    def jump() -> float:
        now.append(now.pop(0))
        return now[0]

    monkeypatch.setattr("time.time", jump)
    with closing(SqliteStore(tmp_path / "data")) as store:
        stream = StoreStream()
        topic = append(store, stream.next(points(0), declare=[loss(), loss(2, "other")])).topics[0].id
        for n in range(1, 20):
            append(store, stream.next(points(n)))
            store.compact()
        store.delete("run", ["other"])
        store.delete("run", ["loss"])
        assert [one.name for one in store.topic_sizes(deleted=True)] == ["other", "loss"]
        store.restore("run", ["loss"])
        append(store, stream.next(points(20)))
        assert read(store, topic) == list(range(21))
        assert [one.name for one in store.catalog().topics] == ["loss"]
