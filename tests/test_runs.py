"""How runs are doing: what loggers say, what the server makes of their silence, and what readers are told."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import heartbeat as heartbeat_module
from streamvis.cli import main
from streamvis.client import Client
from streamvis.errors import MalformedError
from streamvis.heartbeat import INTERVAL, STALL_SECONDS, Heartbeat
from streamvis.logger import DataLogger
from streamvis.push import push
from streamvis.records import Batch, Report, RunInfo, Size, Status, Usage
from streamvis.server.checks import BatchChecker
from streamvis.server.run import serving
from streamvis.server.runs import PATIENCE, run_infos
from streamvis.testing.loggers import unused_port

Wait = Callable[..., None]


@pytest.fixture(name="fast")
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats every tenth of a second; a run stalls after half a second."""
    monkeypatch.setattr(heartbeat_module, "INTERVAL", 0.1)
    monkeypatch.setattr(heartbeat_module, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(heartbeat_module, "STALL_FACTOR", 1)


def run_of(uri: str, scope: str = "run") -> RunInfo | None:
    """What the server says of that scope."""
    with Client(uri) as client:
        return next((run for run in client.runs() if run.scope == scope), None)


def status_of(uri: str, scope: str = "run") -> str | None:
    run = run_of(uri, scope)
    return run and run.status


def logger_of(uri: str, tmp_path: Path, **options: Any) -> DataLogger:
    return DataLogger("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})


# ---- what a logger says


def test_a_run_runs_and_finishes(tmp_path: Path) -> None:
    """With when it started, its sizes and the logger's counters."""
    with serving() as server:
        assert run_of(server.uri) is None
        with logger_of(server.uri, tmp_path) as logger:
            logger.write("loss", x=1)
            logger.write("accuracy", x=[1, 2, 3])
            logger.flush(10)
            run = run_of(server.uri)
            assert run is not None
            assert (run.status, run.names, run.points) == ("running", 2, 4)
            assert run.started is not None
            assert run.updated is not None
            assert run.started <= run.updated
        ended = run_of(server.uri)
        assert ended is not None
        assert (ended.status, ended.started, ended.bytes > 0) == ("finished", run.started, True)
        assert (ended.counters["points"], ended.counters["dropped"], ended.counters["retries"]) == (4, 0, 0)


@pytest.mark.parametrize("batches", [1, 4])
def test_the_last_counters_are_those_of_the_whole_run(tmp_path: Path, batches: int) -> None:
    """Also of a run so short that its end is the first that the server hears, in one batch or in several."""
    with serving() as server:
        with logger_of(server.uri, tmp_path, flush_every=3600) as logger:
            for _ in range(batches):
                logger.write("loss", x=np.random.default_rng(0).random(120_000))
        run = run_of(server.uri)
        stats = logger.stats()
    assert run is not None
    assert (run.status, run.bytes, stats["batches"] >= batches) == ("finished", stats["bytes"], True)
    reported = ("writes", "points", "bytes", "flushes")
    assert {name: run.counters[name] for name in reported} == {name: stats[name] for name in reported}


def test_a_logger_that_logs_nothing_says_nothing(tmp_path: Path) -> None:
    """It leaves no scope behind, and no spool when there is no server."""
    with serving() as server:
        with logger_of(server.uri, tmp_path):
            pass
        assert run_of(server.uri) is None
    with logger_of("localhost:1", tmp_path):
        pass
    assert not (tmp_path / "spool").exists()


def test_an_exception_is_a_crash(tmp_path: Path) -> None:
    """One that leaves the `with`; the user's own Ctrl-C is a way to finish."""

    def train(error: type[BaseException], scope: str, uri: str) -> None:
        with DataLogger(scope, uri, spool_dir=tmp_path) as logger:
            logger.write("loss", x=1)
            raise error

    with serving() as server:
        for error, status in ((ZeroDivisionError, "crashed"), (KeyboardInterrupt, "finished")):
            with pytest.raises(error):
                train(error, status, server.uri)
            assert status_of(server.uri, status) == status


@pytest.mark.usefixtures("fast")
def test_a_silent_run_stalls_until_it_writes_again(tmp_path: Path, wait_until: Wait) -> None:
    """Heartbeats tell it from one that has died."""
    with serving() as server, logger_of(server.uri, tmp_path) as logger:
        logger.write("loss", x=1)
        wait_until(lambda: status_of(server.uri) == "running")
        wait_until(lambda: status_of(server.uri) == "stalled")
        batches = logger.stats()["batches"]
        wait_until(lambda: logger.stats()["batches"] > batches + 3)
        assert status_of(server.uri) == "stalled"
        logger.write("loss", x=2)
        wait_until(lambda: status_of(server.uri) == "running")


@pytest.mark.usefixtures("fast")
def test_the_command_shows_how_runs_are_doing(
    tmp_path: Path, wait_until: Wait, capsys: pytest.CaptureFixture[str]
) -> None:
    """`streamvis scopes` says of each whether it runs, has stalled, has finished or has crashed."""

    def crash(uri: str) -> None:
        with DataLogger("crashing", uri, spool_dir=tmp_path) as logger:
            logger.write("loss", x=1)
            raise ZeroDivisionError

    def shown(uri: str) -> dict[str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["scopes", uri])
        return dict(line.split("\t")[:2] for line in capsys.readouterr().out.splitlines())

    with serving() as server:
        with DataLogger("ending", server.uri, spool_dir=tmp_path) as logger:
            logger.write("loss", x=1)
        with pytest.raises(ZeroDivisionError):
            crash(server.uri)
        with (
            DataLogger("pausing", server.uri, spool_dir=tmp_path) as paused,
            DataLogger("going", server.uri, spool_dir=tmp_path, flush_every=0.01) as going,
        ):
            paused.write("loss", x=1)
            expected = {"ending": "finished", "crashing": "crashed", "pausing": "stalled", "going": "running"}

            def as_expected() -> bool:
                going.write("loss", x=1)
                return shown(server.uri) == expected

            wait_until(as_expected, 30)


PROGRAM = """
import sys, time, streamvis, streamvis.heartbeat
streamvis.heartbeat.INTERVAL = 0.1
with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2]) as logger:
    logger.write("loss", x=1)
    logger.flush()
    print("written", flush=True)
    sys.stdin.read()
    raise SystemExit(*sys.argv[3:])
"""


def _start(uri: str, tmp_path: Path) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, uri, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "written\n"
    return program


def test_a_killed_run_has_crashed(tmp_path: Path, wait_until: Wait) -> None:
    """It says no goodbye, and is not heard for three heartbeats."""
    with serving() as server, _start(server.uri, tmp_path) as program:
        assert status_of(server.uri) == "running"
        program.send_signal(signal.SIGKILL)
        program.wait()
        wait_until(lambda: status_of(server.uri) == "crashed")


def test_statuses_outlive_the_server_and_nobody_crashes_while_it_is_down(tmp_path: Path, wait_until: Wait) -> None:
    """A run that is quiet finds the server again, which knew it all the time."""
    port = unused_port()
    prefix = str(tmp_path / "data")
    with serving(prefix, port) as server:
        program = _start(server.uri, tmp_path / "spool")
        uri = server.uri
    with program, serving(prefix, port):
        first = run_of(uri)
        assert first is not None
        assert first.status == "running"

        def heard() -> bool:
            run = run_of(uri)
            return run is not None and run.updated > first.updated  # type: ignore[operator]

        wait_until(heard)
        program.communicate("")
        assert status_of(uri) == "finished"
    with serving(prefix, port):
        assert status_of(uri) == "finished"


def test_the_goodbye_is_spooled(tmp_path: Path) -> None:
    """A run that ends while the server is away has finished once its spool is pushed."""
    with logger_of(f"127.0.0.1:{unused_port()}", tmp_path) as logger:
        logger.write("loss", x=1)
        logger.flush(10)
    with serving() as server:
        assert push(tmp_path / "spool", server.uri) == 2
        assert status_of(server.uri) == "finished"


def test_deleted_runs_are_not_listed(tmp_path: Path) -> None:
    """They come back, with their status, when they are restored; runs of others' making have none."""
    with serving() as server, Client(server.uri) as client:
        with logger_of(server.uri, tmp_path) as logger:
            logger.write("loss", x=1)
        with DataLogger("other", server.uri, spool_dir=tmp_path) as logger:
            logger.write_config({"lr": 1})
        assert [(run.scope, run.status) for run in client.runs()] == [("run", "finished"), ("other", "finished")]
        assert [run.scope for run in client.runs("^o")] == ["other"]
        client.delete("run")
        client.delete("other")
        assert client.runs() == []
        client.restore("run")
        assert [(run.scope, run.status) for run in client.runs()] == [("run", "finished")]


# ---- when


def _say(beat: Heartbeat, now: float) -> str | None:
    status = beat.status(now, 1000.0 + now, dict)
    return status and status.state


def test_a_status_is_due_at_first_every_interval_and_when_it_changes() -> None:
    """Nothing before there is something to send; nothing twice within an interval but what has changed."""
    beat = Heartbeat("run", 0.0, 1000.0)
    assert beat.deadline is None
    assert _say(beat, 5.0) == "running"
    assert beat.deadline == 5.0 + INTERVAL
    assert _say(beat, 5.1) is None
    assert _say(beat, 5.0 + INTERVAL) == "running"
    beat.end = "crashed"
    assert _say(beat, 5.2 + INTERVAL) == "crashed"
    assert _say(beat, 5.3 + INTERVAL) is None


def test_a_run_with_long_pauses_stalls_later() -> None:
    """What is usual for a run is not a stall."""
    beat = Heartbeat("run", 0.0, 1000.0)
    beat.wrote(1.0)
    assert _say(beat, STALL_SECONDS + 2) == "stalled"
    beat.wrote(300.0)
    assert _say(beat, 300.0 + 5 * STALL_SECONDS) == "running"
    assert _say(beat, 300.0 + 10 * 299.0 + 1) == "stalled"


# ---- what the server makes of it


def _report(state: Any, heard: float, updated: float, writer: str = "w", scope: str = "run") -> Report:
    return Report(writer, Status(scope, state, 10.0, updated - 5, updated), heard)


def _statuses(*reports: Report, now: float, since: float = 0.0) -> list[str]:
    return [run.status for run in run_infos((), reports, now, since)]


def test_silence_is_a_crash_after_three_heartbeats_of_the_servers_own_time() -> None:
    """By the server's clock alone, and counted from its start; who said goodbye may be silent."""
    late = 100 + PATIENCE * 10
    assert _statuses(_report("running", 100, 1e9), now=late) == ["running"]
    assert _statuses(_report("running", 100, 1e9), now=late + 1) == ["crashed"]
    assert _statuses(_report("stalled", 100, 1e9), now=late + 1) == ["crashed"]
    assert _statuses(_report("running", 100, 1e9), now=late + 1, since=late) == ["running"]
    assert _statuses(_report("finished", 100, 1e9), now=1e9) == ["finished"]
    assert _statuses(_report("crashed", 100, 1e9), now=101) == ["crashed"]


def test_of_several_writers_the_living_or_else_the_latest_speaks() -> None:
    """A run that was resumed, or that several processes write."""
    crashed = _report("running", 0, 50, "a")
    finished = _report("finished", 90, 90, "b")
    stalled = _report("stalled", 95, 95, "c")
    running = _report("running", 80, 40, "d")
    assert _statuses(crashed, finished, now=100) == ["finished"]
    assert _statuses(_report("finished", 10, 10, "b"), _report("crashed", 90, 90), now=100) == ["crashed"]
    assert _statuses(crashed, finished, stalled, now=100) == ["stalled"]
    assert _statuses(crashed, finished, stalled, running, now=100) == ["running"]
    (run,) = run_infos((), (crashed, finished), 100, 0)
    assert (run.started, run.updated) == (45, 90)


def test_scopes_without_a_status_are_unknown() -> None:
    """In the order of the store; those in the trash are left out."""
    usage = [Usage("a", Size(1, 10, 100)), Usage("gone", Size(), Size(1, 1, 1)), Usage("b", Size(2, 20, 200))]
    found = run_infos(usage, [_report("finished", 0, 0, scope="b"), _report("finished", 0, 0, scope="c")], 100, 0)
    assert [(run.scope, run.status, run.names, run.points, run.bytes) for run in found] == [
        ("a", "unknown", 1, 10, 100),
        ("b", "finished", 2, 20, 200),
        ("c", "finished", 0, 0, 0),
    ]
    assert (found[0].started, found[0].updated) == (None, None)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (Status("", "running", 10, 0, 0), "scope '' has 0 bytes"),
        (Status("run", "great", 10, 0, 0), "its status is 'great'; expected one of running"),  # type: ignore[arg-type]
        (Status("run", "running", 0, 0, 0), "heartbeat or times"),
        (Status("run", "running", float("nan"), 0, 0), "heartbeat or times"),
        (Status("run", "running", 10, float("inf"), 0), "heartbeat or times"),
        (Status("run", "running", 10, 0, 0, "[]"), "expected an object"),
        (Status("run", "running", 10, 0, 0, f'{{"x": "{"a" * 70_000}"}}'), "its counters have 700"),
    ],
)
def test_a_status_that_cannot_be_is_refused(status: Status, message: str) -> None:
    """With its batch, as everything that no logger of ours would send."""
    with pytest.raises(MalformedError, match=message):
        BatchChecker().check(Batch("w", 1, status=status))
