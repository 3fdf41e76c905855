"""What everything promises that is written to as a `DataLogger` is, whatever is around it."""
# ruff: noqa: S101 - a contract suite is made of asserts

from __future__ import annotations

import math
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis.client import Client
from streamvis.errors import ColumnsError, DtypeError, FlushTimeoutError, RejectedError, StateError, UsageError
from streamvis.push import push
from streamvis.rows import SMALL_BYTES
from streamvis.server.run import ServerThread, serving
from streamvis.storage import MemoryStore
from streamvis.storage.base import Submission

SCOPE = "run"
"""The scope of the contract's loggers."""

WAIT = 30.0
"""Seconds that nothing takes unless something is wrong."""

COUNTERS = {
    *("writes", "points", "bytes", "flushes", "transfers", "batches", "outstanding", "lag", "retries", "spooled"),
    *("spool_bytes", "waiting_writes", "waiting_bytes", "connected", "rejected", "dropped", "errors", "sinks"),
}
"""What `stats` counts."""


def stored(uri: str, name: str, index: int = 0) -> dict[str, list[Any]]:
    """The columns of one series of the contract's scope as lists; empty when there is no such series."""
    with Client(uri) as client:
        found = client.fetch(SCOPE, name).get((SCOPE, name, index), {})
        return {column: values.tolist() for column, values in found.items()}


def unused_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class HeldStore(MemoryStore):
    """A store that commits nothing before `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def append(self, submissions: Sequence[Submission]) -> Any:
        """Waits for the gate, then appends."""
        assert self.gate.wait(2 * WAIT)
        return super().append(submissions)


@contextmanager
def held_server() -> Iterator[tuple[ServerThread, threading.Event]]:
    """A server that takes everything and answers nothing before the event is set."""
    store = HeldStore()
    with serving(open_store=lambda _: store) as server:
        try:
            yield server, store.gate
        finally:
            store.gate.set()


class LoggerContract(ABC):
    """The promises of `DataLogger`, one test each. A logger that has another form of a method says so by overriding."""

    starts_itself = False
    """Whether a logger runs from its first write on, without `start`."""

    @abstractmethod
    def make(self, scope: str, uri: str, **options: Any) -> Any:
        """A logger with these options of DataLogger, which has not been started."""

    # ---- what a logger may do otherwise than DataLogger

    def running(self, logger: Any) -> AbstractContextManager[Any]:
        """The logger, started, in a block at whose end it stops."""
        return logger  # type: ignore[no-any-return]

    def start(self, logger: Any) -> None:
        """Starts it."""
        logger.start()

    def write(self, logger: Any, name: str, /, **columns: Any) -> None:
        """Writes; `start_index` is among the keywords."""
        logger.write(name, **columns)

    def write_config(self, logger: Any, values: Any) -> None:
        """Merges hyperparameters."""
        logger.write_config(values)

    def flush(self, logger: Any, timeout: float | None = WAIT) -> None:
        """Waits until everything is stored or spooled."""
        logger.flush(timeout)

    def stop(self, logger: Any) -> None:
        """Ends it."""
        logger.stop()

    def stats(self, logger: Any) -> dict[str, Any]:
        """Its counters."""
        return logger.stats()  # type: ignore[no-any-return]

    @pytest.fixture
    def server(self) -> Iterator[ServerThread]:
        """A data server without data."""
        with serving() as server:
            yield server

    @pytest.fixture
    def made(self, tmp_path: Path) -> Callable[..., Any]:
        """Makes a logger of the contract's scope with a spool of the test's own."""

        def made(uri: str, **options: Any) -> Any:
            return self.make(SCOPE, uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})

        return made

    # ---- values

    def test_numbers_come_back_as_they_are(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Large ints, Unix times, bools, float32 and what is no number; the dtype is that of the value's type."""
        values: dict[str, tuple[Any, str]] = {
            "big": (2**40, "<i8"),
            "least": (-(2**63), "<i8"),
            "time": (1763827200.123456, "<f8"),
            "flag": (True, "?"),
            "half": (np.float16(0.1), "<f4"),
            "single": (np.float32(0.1), "<f4"),
            "small": (np.int8(-3), "<i4"),
            "nan": (math.nan, "<f8"),
            "inf": (-math.inf, "<f8"),
            "zero": (-0.0, "<f8"),
        }
        with self.running(made(server.uri)) as logger:
            self.write(logger, "values", **{name: value for name, (value, _) in values.items()})
            self.flush(logger)
            with Client(server.uri) as client:
                found = client.fetch(SCOPE, "values")[SCOPE, "values", 0]
        for name, (value, dtype) in values.items():
            assert found[name].dtype == np.dtype(dtype), name
            assert np.array_equal(found[name], [value], equal_nan=True), name
        assert np.signbit(found["zero"][0])

    def test_columns_broadcast_to_index_and_point(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Rank 2 fills one series per row from `start_index` on; rank 1 is points, rank 0 the same for all of them."""
        y = np.arange(8.0).reshape(2, 4)
        with self.running(made(server.uri)) as logger:
            self.write(logger, "lines", start_index=3, x=np.arange(4), y=y, t=7)
            self.write(logger, "rows", x=[[1], [2], [3]], y=0.5)
            self.write(logger, "points", x=[1, 2, 3])
            self.flush(logger)
            for row in (0, 1):
                assert stored(server.uri, "lines", 3 + row) == {"x": [0, 1, 2, 3], "y": y[row].tolist(), "t": [7] * 4}
            assert [stored(server.uri, "rows", index)["x"] for index in range(3)] == [[1], [2], [3]]
            assert stored(server.uri, "points") == {"x": [1, 2, 3]}
            assert stored(server.uri, "points", 1) == {}

    @pytest.mark.parametrize("size", [3, SMALL_BYTES])
    def test_what_is_stored_is_the_value_at_the_call(
        self, server: ServerThread, made: Callable[..., Any], size: int
    ) -> None:
        """A buffer that is used again for every step does not change what was written of it, small or large."""
        cloud = np.zeros(size)
        with self.running(made(server.uri)) as logger:
            for step in range(20):
                cloud[:] = step
                self.write(logger, "cloud", x=cloud, t=step)
                cloud[:] = -1
            self.flush(logger)
            found = stored(server.uri, "cloud")
        assert found["x"] == found["t"] == np.repeat(np.arange(20), size).tolist()

    def test_points_keep_their_order(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Within a series, whatever the dtypes and shapes of its writes, over several flushes and beside others."""
        expected: list[float] = []
        with self.running(made(server.uri)) as logger:
            for step in range(60):
                value: Any = (step, step / 2, [step, -step], np.full(SMALL_BYTES, step))[step % 4]
                self.write(logger, "mixed", x=value)
                self.write(logger, "other", x=step)
                expected += np.ravel(value).tolist()
                if step % 25 == 0:
                    self.flush(logger)
            self.flush(logger)
            assert stored(server.uri, "mixed")["x"] == expected
            assert stored(server.uri, "other")["x"] == list(range(60))

    def test_any_string_names_a_topic_or_a_column(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """No column is taken by an argument but `start_index`."""
        names = ("loss", "train/loss", "two words", "größe", "class", "name", "self", "logger", "scope", "columns", "1")
        with self.running(made(server.uri)) as logger:
            for name in names:
                for step in range(2):
                    self.write(logger, name, **{column: step for column in names if column != "logger"})
            self.flush(logger)
            for name in names:
                assert stored(server.uri, name) == {column: [0, 1] for column in names if column != "logger"}

    def test_an_empty_array_is_no_point(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Nor an error: the last batch may hold nothing."""
        with self.running(made(server.uri)) as logger:
            self.write(logger, "cloud", x=np.zeros(0), t=1)
            self.write(logger, "cloud", x=np.ones(2), t=2)
            self.flush(logger)
            assert stored(server.uri, "cloud") == {"x": [1, 1], "t": [2, 2]}

    def test_configs_merge_and_keep_their_types(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """1 stays an int and 1.0 a float; later keys win, deeply; the dict may be changed afterwards."""
        values: dict[str, Any] = {"lr": 1.0, "depth": 1, "data": {"name": "digits", "size": 3}, "betas": [0.9, 0.999]}
        with self.running(made(server.uri)) as logger:
            self.write_config(logger, values)
            values["lr"] = values["data"]["name"] = 5
            self.write_config(logger, {"data": {"size": 4}, "top": math.inf, "flag": True, "none": None})
            self.flush(logger)
            with Client(server.uri) as client:
                config = client.config(SCOPE)
        assert config == {
            "lr": 1.0,
            "depth": 1,
            "data": {"name": "digits", "size": 4},
            "betas": [0.9, 0.999],
            "top": math.inf,
            "flag": True,
            "none": None,
        }
        assert [type(config[key]) for key in ("lr", "depth", "flag")] == [float, int, bool]

    def test_delete_existing_replaces_each_name_once(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """With the first write to it, also with other columns; names that are not written stay."""
        with self.running(made(server.uri)) as logger:
            self.write(logger, "loss", x=1, y=1.0)
            self.write(logger, "kept", x=1)
        with self.running(made(server.uri, delete_existing=True)) as logger:
            for step in (2, 3):
                self.write(logger, "loss", x=step, z=1.0)
                self.flush(logger)
        assert stored(server.uri, "loss") == {"x": [2, 3], "z": [1.0, 1.0]}
        assert stored(server.uri, "kept") == {"x": [1]}

    # ---- the caller's mistakes

    @pytest.mark.parametrize(
        ("columns", "error", "message"),
        [
            ({"x": 1}, ColumnsError, r"'loss'.*\['x'\].*\['x', 'y'\]"),
            ({"x": 1, "y": 1, "z": 1}, ColumnsError, r"'loss'.*\['x', 'y', 'z'\]"),
            ({"x": np.zeros(3), "y": np.zeros(4)}, ColumnsError, "'loss'.*do not broadcast"),
            ({"x": np.zeros((1, 1, 1)), "y": 0}, ColumnsError, "'loss'.*'x'.*rank"),
            ({"x": 2**63, "y": 0}, DtypeError, "'loss'.*'x'.*does not fit int64"),
            ({"x": "a", "y": 0}, DtypeError, "'loss'.*'x'.*str"),
            ({"x": None, "y": 0}, DtypeError, "'loss'.*'x'.*NoneType"),
            ({"x": 1, "y": 1j}, DtypeError, "'loss'.*'y'.*complex"),
        ],
    )
    def test_a_wrong_write_raises_at_the_call(
        self,
        server: ServerThread,
        made: Callable[..., Any],
        columns: dict[str, Any],
        error: type[Exception],
        message: str,
    ) -> None:
        """It names the series, what was found and what is expected; nothing of it is stored, and all the rest is."""
        with self.running(made(server.uri)) as logger:
            self.write(logger, "loss", x=1, y=0.5)
            with pytest.raises(error, match=message):
                self.write(logger, "loss", **columns)
            self.write(logger, "loss", x=2, y=0.5)
            self.flush(logger)
            assert stored(server.uri, "loss") == {"x": [1, 2], "y": [0.5, 0.5]}

    @pytest.mark.parametrize(("name", "index"), [("", 0), (5, 0), ("a" * 5000, 0), ("a", -1), ("a", 2**31), ("a", "0")])
    def test_wrong_names_and_indexes_raise(
        self, server: ServerThread, made: Callable[..., Any], name: Any, index: Any
    ) -> None:
        """A name is a short string, an index an int from 0."""
        with self.running(made(server.uri)) as logger, pytest.raises(UsageError, match="expected"):
            self.write(logger, name, start_index=index, x=1)

    def test_columns_that_another_process_disagrees_with_raise_from_flush(
        self, server: ServerThread, made: Callable[..., Any], tmp_path: Path
    ) -> None:
        """Once; other topics are stored, and the refused points are kept until they can be, by another push."""
        rejected = tmp_path / "spool" / "rejected"
        with self.running(made(server.uri)) as first, self.running(made(server.uri)) as second:
            self.write(first, "loss", x=1, y=2)
            self.flush(first)
            self.write(second, "loss", x=1)
            self.write(second, "other", x=1)
            with pytest.raises(RejectedError, match="loss"):
                self.flush(second)
            self.flush(second)
            assert list(self.stats(second)["rejected"]) == ["loss"]
            assert push(rejected, server.uri) == 0  # it may be added to as long as the logger runs
        assert stored(server.uri, "other") == {"x": [1]}
        assert stored(server.uri, "loss") == {"x": [1], "y": [2]}
        with pytest.raises(RejectedError, match=f"kept in {rejected}"):
            push(rejected, server.uri)
        with Client(server.uri) as client:
            client.delete(SCOPE, ["loss"])
        assert push(tmp_path / "spool", server.uri) == 0
        assert push(rejected, server.uri) == 1
        assert stored(server.uri, "loss") == {"x": [1]}
        assert not list(rejected.iterdir())

    # ---- its life

    def test_it_is_started_once_and_ends_once(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """A write before the start or after the end raises, a second start too; a second end is nothing."""
        logger = made(server.uri)
        if not self.starts_itself:
            with pytest.raises(StateError, match="has not been started"):
                self.write(logger, "loss", x=1)
            self.start(logger)
            with pytest.raises(StateError, match="starts once"):
                self.start(logger)
        self.write(logger, "loss", x=1)
        self.stop(logger)
        self.stop(logger)
        late: tuple[Callable[[], None], ...] = (
            lambda: self.write(logger, "loss", x=2),
            lambda: self.flush(logger),
            lambda: self.write_config(logger, {"lr": 1}),
        )
        for call in late:
            with pytest.raises(StateError, match="has been stopped"):
                call()
        assert stored(server.uri, "loss") == {"x": [1]}

    def test_the_end_sends_what_is_left(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Without a flush, however long the interval; the run has finished."""
        with self.running(made(server.uri, flush_every=3600.0)) as logger:
            self.write_config(logger, {"lr": 1})
            for step in range(100):
                self.write(logger, "loss", x=step)
        assert stored(server.uri, "loss")["x"] == list(range(100))
        with Client(server.uri) as client:
            assert [(run.status, run.points) for run in client.runs()] == [("finished", 100)]
            assert client.config(SCOPE) == {"lr": 1}

    def test_an_exception_inside_loses_nothing(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """It passes, and the run has crashed."""

        def train() -> None:
            with self.running(made(server.uri, flush_every=3600.0)) as logger:
                self.write(logger, "loss", x=1)
                self.write(logger, "loss", x=2)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            train()
        assert stored(server.uri, "loss")["x"] == [1, 2]
        with Client(server.uri) as client:
            assert [run.status for run in client.runs()] == ["crashed"]

    def test_threads_may_share_it(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Each one's points arrive once and in its order."""
        with self.running(made(server.uri)) as logger:

            def write(thread: int) -> None:
                for step in range(500):
                    self.write(logger, "a", start_index=thread, x=step)
                    self.write(logger, "all", thread=thread, x=step if step % 7 else float(step))

            threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.flush(logger)
            every = stored(server.uri, "all")
            for number in range(4):
                mine = [x for owner, x in zip(every["thread"], every["x"], strict=True) if owner == number]
                assert stored(server.uri, "a", number)["x"] == mine == list(range(500))

    # ---- what is around it

    def test_nothing_but_flush_waits_for_the_server(self, made: Callable[..., Any]) -> None:
        """While it commits nothing, any number of writes and configs return; a flush says that time was short."""
        with held_server() as (server, gate), self.running(made(server.uri, flush_every=0.001)) as logger:
            for step in range(2000):
                self.write(logger, "loss", x=step)
                self.write_config(logger, {"step": step})
            with pytest.raises(FlushTimeoutError):
                self.flush(logger, 0.01)
            stats = self.stats(logger)
            assert stats["waiting_writes"] + stats["outstanding"] > 0
            assert not gate.is_set()
            gate.set()
            self.flush(logger)
            assert stored(server.uri, "loss")["x"] == list(range(2000))
            with Client(server.uri) as client:
                assert client.config(SCOPE) == {"step": 1999}

    def test_the_end_does_not_wait_longer_than_it_may(self, made: Callable[..., Any], tmp_path: Path) -> None:
        """With a server that answers nothing, everything is on disk, and a push delivers it."""
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            with self.running(made(f"127.0.0.1:{deaf.getsockname()[1]}", stop_timeout=0.2)) as logger:
                self.write(logger, "loss", x=[1, 2, 3])
            assert self.stats(logger)["outstanding"] > 0
        with serving() as server:
            push(tmp_path / "spool", server.uri)
            assert stored(server.uri, "loss")["x"] == [1, 2, 3]

    def test_without_a_server_everything_is_kept_for_a_push(self, made: Callable[..., Any], tmp_path: Path) -> None:
        """The program runs to its end and nothing raises; the push delivers all of it, once, with the goodbye."""
        with self.running(made(f"127.0.0.1:{unused_port()}")) as logger:
            self.write_config(logger, {"lr": 0.1})
            for step in range(100):
                self.write(logger, "loss", x=step)
                if step % 30 == 0:
                    self.flush(logger)
        left = self.stats(logger)["outstanding"]
        assert left > 1
        with serving() as server, Client(server.uri) as client:
            assert push(tmp_path / "spool", server.uri) == left
            assert push(tmp_path / "spool", server.uri) == 0
            assert stored(server.uri, "loss")["x"] == list(range(100))
            assert client.config(SCOPE) == {"lr": 0.1}
            assert [run.status for run in client.runs()] == ["finished"]

    def test_a_server_that_comes_back_gets_the_rest(self, made: Callable[..., Any], tmp_path: Path) -> None:
        """What was written before, during and after an outage is stored once, in order; no spool is left."""
        prefix, port = str(tmp_path / "data"), unused_port()
        with self.running(made(f"127.0.0.1:{port}")) as logger:
            for part in range(2):
                for step in range(10):
                    self.write(logger, "loss", x=20 * part + step)
                self.flush(logger)
                with serving(prefix, port):
                    for step in range(10, 20):
                        self.write(logger, "loss", x=20 * part + step)
                    _poll(lambda: self.stats(logger)["connected"])
                    self.flush(logger)
                    _poll(lambda: self.stats(logger)["outstanding"] == 0)
                    if part == 1:
                        self.stop(logger)
        with serving(prefix) as server:
            assert stored(server.uri, "loss")["x"] == list(range(40))
        assert not list((tmp_path / "spool").glob("*/*.seg"))

    def test_stats_count_what_happened(self, server: ServerThread, made: Callable[..., Any]) -> None:
        """Writes and points; nothing is outstanding after a flush, nor lost."""
        with self.running(made(server.uri)) as logger:
            self.write(logger, "loss", x=np.arange(10))
            self.write(logger, "loss", x=1)
            self.flush(logger)
            stats = self.stats(logger)
        assert set(stats) >= COUNTERS
        assert (stats["writes"], stats["points"]) == (2, 11)
        assert (stats["outstanding"], stats["waiting_writes"], stats["waiting_bytes"], stats["spool_bytes"]) == (0,) * 4
        assert (stats["errors"], stats["dropped"], stats["rejected"], stats["connected"]) == (0, {}, {}, True)
        assert min(stats["bytes"], stats["flushes"], stats["batches"]) > 0


def _poll(condition: Callable[[], object]) -> None:
    """Returns when the condition holds; fails when it does not in time."""
    pause = threading.Event()
    for _ in range(int(WAIT / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    pytest.fail(f"the condition did not become true within {WAIT:.0f} s")
