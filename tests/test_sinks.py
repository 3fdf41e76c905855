"""Sinks: all get the same blocks, and a slow, failing or hanging one is alone with it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import Block, Client, DataLogger, heartbeat, hookimpl, plugins
from streamvis.doctor import diagnose
from streamvis.server.run import ServerThread, serving


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.points: list[tuple[str, list[Any]]] = []
        self.config: dict[str, Any] = {}
        self.closed = False

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        self.points += [(name, block.columns["x"].ravel().tolist()) for name, block in blocks]

    def write_config(self, values: Mapping[str, Any]) -> None:
        self.config |= values

    def close(self) -> None:
        self.closed = True


class Waiting(Recorder):
    """A sink that takes nothing before `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        assert self.go.wait(60)
        super().write(blocks)


class Failing(Recorder):
    """A sink in which everything goes wrong."""

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        raise ConnectionError(f"no room for {len(blocks)} blocks")

    def write_config(self, values: Mapping[str, Any]) -> None:
        raise KeyError(next(iter(values)))

    def close(self) -> None:
        sys.exit("cannot close")


class Scribbler(Recorder):
    """A sink that changes what it is given."""

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        for _, block in blocks:
            block.columns["x"][:] = -1


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="make")
def _make(server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DataLogger]:
    """A logger of a program in which the plugin `mirror` gives these sinks."""

    def make(*sinks: Any, **options: Any) -> DataLogger:
        class Plugin:
            @hookimpl
            def streamvis_sinks(self) -> Any:
                return list(sinks)

        loaded = plugins.Plugins(allow=())
        loaded.register(Plugin(), "mirror")
        monkeypatch.setattr(plugins, "default", lambda: loaded)
        return DataLogger("run", server.uri, spool_dir=tmp_path / "spool", **{"flush_every": 0.05, **options})

    return make


def stored(server: ServerThread) -> list[Any]:
    with Client(server.uri) as client:
        points = client.fetch("run", "loss")
        return points["run", "loss", 0]["x"].tolist() if points else []


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_every_sink_gets_the_same_blocks_in_order(make: Callable[..., DataLogger], server: ServerThread) -> None:
    """After the one transfer each sink receives every flush and every config, and is closed when all is written."""
    sinks = [Recorder(), Recorder()]
    with make(*sinks) as logger:
        logger.write_config({"lr": 1})
        for step in range(3):
            logger.write("loss", x=step)
            logger.write("cloud", x=np.arange(1000) + step)
            logger.flush(10)
    for sink in sinks:
        assert [points for name, points in sink.points if name == "loss"] == [[0], [1], [2]]
        assert [points[0] for name, points in sink.points if name == "cloud"] == [0, 1, 2]
        assert (sink.config, sink.closed) == ({"lr": 1}, True)
    assert stored(server) == [0, 1, 2]
    assert {name: counts["points"] for name, counts in logger.stats()["sinks"].items()} == {
        "mirror": 3003,
        "mirror#2": 3003,
    }


def test_one_transfer_feeds_every_sink(make: Callable[..., DataLogger], server: ServerThread) -> None:
    """However many sinks there are, what was logged on a device moves to the host once per flush."""
    import torch

    sinks = [Recorder(), Recorder(), Recorder()]
    with make(*sinks, flush_every=60.0) as logger:
        for step in range(3):
            logger.write("loss", x=torch.tensor(float(step)))
        logger.flush(10)
        assert logger.stats()["transfers"] == 1
    assert [x for sink in sinks for _, points in sink.points for x in points] == [0, 1, 2] * 3
    assert stored(server) == [0, 1, 2]


def test_a_failing_sink_is_counted_said_once_and_harms_nobody(
    make: Callable[..., DataLogger], server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises, the server and the other sinks get everything."""
    good = Recorder()
    with make(Failing(), good) as logger:
        logger.write_config({"lr": 1})
        for step in range(2):
            logger.write("loss", x=step)
            logger.flush(10)
    stats = logger.stats()
    assert stats["sinks"]["mirror"]["errors"] == stats["errors"] == 4
    assert stats["sinks"]["mirror"]["last_error"] == "close: SystemExit: cannot close"
    assert stats["sinks"]["mirror#2"]["errors"] == 0
    assert (good.points, good.config, good.closed) == ([("loss", [0]), ("loss", [1])], {"lr": 1}, True)
    assert stored(server) == [0, 1]
    assert errors(caplog) == ["sink mirror failed in write_config: KeyError: 'lr'; its data may be incomplete"]


def test_a_failing_sink_shows_where_its_run_shows(
    make: Callable[..., DataLogger],
    server: ServerThread,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    """Readers see its errors and its lag among the counters of the run, and the doctor names it."""
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    with make(Failing()) as logger, Client(server.uri) as client:
        logger.write("loss", x=1)
        wait_until(lambda: client.runs() and client.runs()[0].counters["sinks"]["mirror"]["errors"] == 1)
        assert diagnose(server.uri).problems == (
            "run's sink mirror has failed 1 times and lacks points: see the run's log",
        )


def test_a_slow_sink_delays_nobody_and_loses_only_its_own(
    make: Callable[..., DataLogger],
    server: ServerThread,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., None],
) -> None:
    """Its queue is bounded: it lags, then misses points, which are counted by name; all others get all."""
    slow, good = Waiting(), Recorder()
    flushes, points = 6, 50_000
    with make(slow, good, max_host_bytes=8 << 20) as logger:  # a quarter for sinks, half of it for each
        for step in range(flushes):
            logger.write("loss", x=np.arange(points) + step)
            logger.flush(10)
            wait_until(lambda: logger.stats()["sinks"]["mirror#2"]["waiting_points"] == 0)
        counts = logger.stats()["sinks"]["mirror"]
        assert counts["waiting_points"] == 2 * points
        assert 2 * points * 8 < counts["waiting_bytes"] <= 1 << 20
        assert counts["dropped"] == {"loss": (flushes - 2) * points}
        assert counts["lag"] > logger.stats()["sinks"]["mirror#2"]["lag"] == 0
        slow.go.set()
    assert [x[0] for _, x in slow.points] == [0, 1]
    assert slow.closed
    assert len(stored(server)) == flushes * points
    assert errors(caplog) == ["sink mirror is too slow: points are missing there, but nowhere else; see stats()"]


def test_what_is_larger_than_the_queue_still_passes_one_at_a_time(make: Callable[..., DataLogger]) -> None:
    """The bound is for what waits: a single large flush reaches a sink that keeps up."""
    sink = Recorder()
    with make(sink, max_host_bytes=1 << 20) as logger:
        logger.write("loss", x=np.arange(100_000))
    assert sum(len(x) for _, x in sink.points) == 100_000


def test_a_hanging_sink_does_not_hang_stop(
    make: Callable[..., DataLogger],
    server: ServerThread,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., None],
) -> None:
    """When the time to stop is over the logger says what the sink may lack, and leaves it to itself."""
    hanging, good = Waiting(), Recorder()
    with make(hanging, good, stop_timeout=0.5) as logger:
        logger.write("loss", x=[1, 2, 3])
    assert not hanging.closed
    assert good.closed
    assert stored(server) == [1, 2, 3]
    assert errors(caplog) == ["sink mirror has not ended in time; 3 points may be missing there"]
    hanging.go.set()
    wait_until(lambda: hanging.closed)
    assert hanging.points == [("loss", [1, 2, 3])]


def test_a_sink_cannot_change_what_others_get(make: Callable[..., DataLogger], server: ServerThread) -> None:
    """All share the same arrays, which are read-only."""
    good = Recorder()
    with make(Scribbler(), good) as logger:
        logger.write("loss", x=np.arange(1000))
    assert stored(server) == list(range(1000)) == good.points[0][1]
    assert "read-only" in logger.stats()["sinks"]["mirror"]["last_error"]


def test_a_sink_of_a_run_without_points_is_closed_too(make: Callable[..., DataLogger]) -> None:
    """Every sink that was asked for is closed."""
    sink = Recorder()
    make(sink).start().stop()
    assert sink.closed


def test_what_is_no_sink_is_a_problem_of_its_plugin(make: Callable[..., DataLogger], server: ServerThread) -> None:
    """It is left out with the reason, and the run goes on."""
    with make(object(), Recorder()) as logger:
        logger.write("loss", x=1)
    assert list(logger.stats()["sinks"]) == ["mirror"]
    assert stored(server) == [1]
    problems = next(info for info in plugins.default().infos() if info.name == "mirror").problems
    assert problems == ("streamvis_sinks: returned object, expected a Sink",)
