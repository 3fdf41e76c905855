"""The disk fills up, or the clock jumps, under a data server."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from streamvis.client import Client
from streamvis.errors import StoreFullError
from streamvis.logger import DataLogger
from streamvis.storage import SqliteStore
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
