"""DataLogger against a real server: value semantics, exactly once, outages and limits."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import sender as sender_module
from streamvis.arrays import Adapters
from streamvis.buffer import Buffer
from streamvis.client import Client
from streamvis.codec import EncodedBlock
from streamvis.columns import Block
from streamvis.errors import (
    BufferFullError,
    FlushTimeoutError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from streamvis.logger import AsyncDataLogger, DataLogger
from streamvis.push import push
from streamvis.server.run import ServerThread, serving
from streamvis.testing.arrays import FlakyAdapter
from streamvis.testing.loggers import stored, unused_port

Wait = Callable[..., None]


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving() as server:
        yield server


@pytest.fixture(name="make")
def _make(tmp_path: Path) -> Callable[..., DataLogger]:
    """A logger whose spool is the test's own."""

    def make(uri: str, scope: str = "run", **options: Any) -> DataLogger:
        return DataLogger(scope, uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})

    return make


# ---- values


def test_a_large_array_travels_in_pieces(server: ServerThread, make: Callable[..., DataLogger]) -> None:
    """An array of 40 MB is split into messages that the server accepts."""
    values = np.random.default_rng(0).standard_normal((5, 1_000_000))
    with make(server.uri) as logger:
        logger.write("a", y=values)
        logger.flush(60)
    with Client(server.uri) as client:
        series = client.fetch("run", "a")
    assert all(np.array_equal(series["run", "a", row]["y"], values[row]) for row in range(5))


def test_config_merges_and_keeps_types(server: ServerThread, make: Callable[..., DataLogger]) -> None:
    """1 stays int, 1.0 float, NaN and infinities stay; later keys win; what JSON does not know is its repr."""
    with make(server.uri) as logger:
        values: dict[str, Any] = {"lr": 1.0, "depth": 1, "data": {"name": "digits", "size": np.int64(3)}}
        logger.write_config(values)
        values["lr"] = 5.0
        logger.write_config({"data": {"size": 4}, "top": math.inf, "flag": True, "none": None})
        with pytest.raises(UsageError, match="is no string"):
            logger.write_config({1: 2})  # type: ignore[dict-item]  # the mistake that is tested
        logger.flush(10)
    with Client(server.uri) as client:
        config = client.config("run")
    assert config == {
        "lr": 1.0,
        "depth": 1,
        "data": {"name": "digits", "size": 4},
        "top": math.inf,
        "flag": True,
        "none": None,
    }
    assert [type(config[key]) for key in ("lr", "depth", "flag")] == [float, int, bool]


# ---- the caller's mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scope": ""}, "scope is ''"),
        ({"scope": "a\0b"}, r"scope is 'a\\x00b'; expected a string of 1 to 4096 bytes in UTF-8, without NUL"),
        ({"scope": "\udcff"}, r"scope is '\\udcff'; expected"),
        ({"grpc_uri": "nowhere"}, "'nowhere' is not the address"),
        ({"grpc_uri": 8081}, "8081 is not the address"),
        ({"on_full": "drop"}, "on_full is 'drop'; expected one of spool, block, raise"),
        ({"flush_every": 0}, "flush_every is 0; expected seconds, more than 0"),
        ({"flush_every": "2"}, "flush_every is '2'; expected seconds"),
        ({"flush_every": float("nan")}, "flush_every is nan; expected seconds"),
        ({"stop_timeout": None}, "stop_timeout is None; expected seconds"),
        ({"stop_timeout": -1}, "stop_timeout is -1; expected seconds"),
        *(
            ({name: value}, f"{name} is {value!r}; expected an int of bytes, more than 0")
            for name in ("max_host_bytes", "max_device_bytes", "spool_max_bytes")
            for value in (-1, 0, 1e9, "256MB", None, True)
        ),
        ({"strict": "yes"}, "strict is 'yes'; expected True or False"),
        ({"delete_existing": 1}, "delete_existing is 1; expected True or False"),
        ({"spool_dir": 5}, "spool_dir is 5; expected a path"),
        ({"spool_dir": "a\0b"}, "spool_dir is 'a.*b'; expected a path"),
        ({"tensor_type": ["torch"]}, r"tensor_type is \['torch'\]; expected None or one of numpy"),
        ({"tensor_type": "cupy"}, "tensor_type is 'cupy'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Each with what was found and what is expected."""
    with pytest.raises(UsageError, match=message):
        DataLogger(**{"scope": "run", **arguments})


# ---- when it is sent


def test_the_first_write_after_quiet_is_sent_at_once(
    server: ServerThread, make: Callable[..., DataLogger], wait_until: Wait
) -> None:
    """Nobody waits a long interval for the first point, nor for the config."""
    with make(server.uri, flush_every=3600) as logger:
        logger.write("loss", x=1)
        wait_until(lambda: stored(server.uri, "loss") == {"x": [1]})
        logger.write("loss", x=2)
        assert logger.stats()["waiting_writes"] == 1


def test_a_growing_buffer_is_flushed_early(
    server: ServerThread, make: Callable[..., DataLogger], wait_until: Wait
) -> None:
    """Memory does not grow with the interval."""
    with make(server.uri, flush_every=3600) as logger:
        for step in range(120_000):
            logger.write("loss", x=step)
        wait_until(lambda: logger.stats()["waiting_bytes"] < 1 << 20)
        logger.stop()
    assert stored(server.uri, "loss")["x"] == list(range(120_000))


# ---- outages


def test_a_push_without_a_server_keeps_the_spool(tmp_path: Path, make: Callable[..., DataLogger]) -> None:
    """It says that nobody answers, and the next push delivers."""
    uri = f"127.0.0.1:{unused_port()}"
    with make(uri) as logger:
        logger.write("loss", x=1)
    with pytest.raises(UnavailableError, match=f"no streamvis server answers at {uri}"):
        push(tmp_path / "spool", uri)
    with serving() as server:
        assert push(tmp_path / "spool", server.uri) == 1
        assert stored(server.uri, "loss") == {"x": [1]}


def test_a_topic_deleted_underneath_begins_anew(server: ServerThread, make: Callable[..., DataLogger]) -> None:
    """The writer is told, declares it again, and later points are stored."""
    with make(server.uri) as logger, Client(server.uri) as client:
        logger.write("loss", x=1)
        logger.flush(10)
        client.delete("run")
        logger.write("loss", x=2)
        logger.write("other", x=3)
        logger.flush(10)
    assert stored(server.uri, "loss") == {"x": [2]}
    assert stored(server.uri, "other") == {"x": [3]}


def test_a_wiped_server_is_an_error_and_logging_goes_on(
    make: Callable[..., DataLogger], caplog: pytest.LogCaptureFixture, wait_until: Wait
) -> None:
    """The lost range is stated once; what the old server had not acknowledged is not lost."""
    port = unused_port()
    with make(f"127.0.0.1:{port}") as logger:
        with serving(port=port):
            logger.write("loss", x=1)
            logger.flush(10)
        logger.write("loss", x=2)
        logger.flush(10)
        with serving(port=port) as server:
            logger.write("loss", x=3)
            wait_until(lambda: stored(server.uri, "loss") == {"x": [2, 3]})
    assert [record.message for record in caplog.records if "has lost batches 1 to 1 of run-" in record.message]


def test_a_config_that_is_too_large_is_told_and_harms_nothing(
    server: ServerThread, make: Callable[..., DataLogger]
) -> None:
    """The points beside it are stored, and what comes later too."""
    with make(server.uri) as logger:
        logger.write_config({"text": "x" * (2 << 20)})
        logger.write("loss", x=1, y=2)
        with pytest.raises(RejectedError, match=r"config.*at most 1048576"):
            logger.flush(10)
        logger.write_config({"lr": 1})
        logger.flush(10)
        assert list(logger.stats()["rejected"]) == ["config"]
    assert stored(server.uri, "loss") == {"x": [1], "y": [2]}
    with Client(server.uri) as client:
        assert [dict(values) for values in client.configs().values()] == [{"lr": 1}]


def test_a_server_that_never_answers_does_not_hang_the_job(tmp_path: Path, make: Callable[..., DataLogger]) -> None:
    """Stop takes no longer than its timeout, and the points are on disk."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        logger = make(f"127.0.0.1:{deaf.getsockname()[1]}", stop_timeout=0.3).start()
        logger.write("loss", x=1)
        with pytest.raises(FlushTimeoutError, match=r"longer than 0\.1 s"):
            logger.flush(0.1)
        began = time.monotonic()
        logger.stop()
        assert time.monotonic() - began < 5
    with serving() as server:
        assert push(tmp_path / "spool", server.uri) == 2  # the point, and that the run has finished
        assert stored(server.uri, "loss") == {"x": [1]}


# ---- limits


def _deaf() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_raise_at_the_limit(make: Callable[..., DataLogger]) -> None:
    """With on_full="raise" the write that finds no room says so, and what was taken is not lost."""
    rng = np.random.default_rng(0)
    with _deaf() as deaf:
        uri = f"127.0.0.1:{deaf.getsockname()[1]}"
        logger = make(uri, on_full="raise", max_host_bytes=1 << 20, stop_timeout=0.2).start()

        taken = 0

        def fill() -> None:
            nonlocal taken
            for _ in range(10_000):
                logger.write("a", x=rng.standard_normal(10_000))
                taken += 1

        with pytest.raises(BufferFullError, match=r"write\('a'\): 'run' has 1048576 bytes waiting.* larger max_host_"):
            fill()
        logger.stop()
        assert logger.stats()["points"] == 10_000 * taken
        assert logger.stats()["spool_bytes"] > 70_000 * taken > 0


def test_block_at_the_limit_waits_for_room(make: Callable[..., DataLogger]) -> None:
    """With on_full="block" the writer goes on when the server has taken what waited."""
    values = np.random.default_rng(0).standard_normal(10_000)
    with serving() as server, make(server.uri, on_full="block", max_host_bytes=1 << 20) as logger:
        for step in range(100):
            logger.write("a", x=values, t=step)
            assert logger.stats()["waiting_bytes"] < 8 << 20
        logger.flush(30)
        assert stored(server.uri, "a")["t"] == np.repeat(np.arange(100), 10_000).tolist()


def test_a_blocked_write_leaves_what_was_refused_to_the_flush(
    server: ServerThread, make: Callable[..., DataLogger]
) -> None:
    """Whoever waits for room, or stops waiting for a flush, does not take what a later flush has to raise."""
    with make(server.uri) as first:
        first.write("loss", x=1, y=2)
        first.flush(30)
    with make(server.uri, on_full="block", max_host_bytes=1 << 20) as logger:
        logger.write("loss", x=5)
        with contextlib.suppress(FlushTimeoutError):
            logger.flush(1e-9)
        for _ in range(50):
            logger.write("big", x=np.random.default_rng(0).standard_normal(20_000))
        with pytest.raises(RejectedError, match=r"refused points of 'run': loss: .* declares x"):
            logger.flush(30)
        logger.flush(30)


def test_what_a_write_at_the_limit_loses_is_counted(
    server: ServerThread, make: Callable[..., DataLogger], monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """A program that outruns the thread loses points rather than time: all others are stored, and none unaccounted."""
    going, real, written = threading.Event(), sender_module.encode, 0

    def encode(block: Block) -> EncodedBlock:
        going.wait(60)
        return real(block)

    monkeypatch.setattr(sender_module, "encode", encode)
    with make(server.uri, max_host_bytes=1 << 20, flush_every=0.01) as logger:
        while logger.stats()["dropped"].get("a", 0) < 20_000:
            logger.write("a", x=np.arange(10_000), y=1)
            written += 10_000
        going.set()
        wait_until(lambda: not logger.stats()["waiting_bytes"], 60)
        logger.write("a", x=np.arange(7), y=1)
        logger.flush(60)
        dropped = logger.stats()["dropped"]["a"]
    assert len(stored(server.uri, "a")["x"]) == written + 7 - dropped


def test_a_full_spool_is_a_counted_loss(make: Callable[..., DataLogger], caplog: pytest.LogCaptureFixture) -> None:
    """By default the loss is counted per name and logged once; nothing raises."""
    with make(f"127.0.0.1:{unused_port()}", spool_max_bytes=2_000) as logger:
        for _ in range(5):
            logger.write("a", x=np.random.default_rng(0).standard_normal(100))
            logger.flush(10)
        stats = logger.stats()
    assert stats["dropped"] == {"a": 300}
    assert len([record for record in caplog.records if "are lost" in record.message]) == 1


def test_what_neither_server_nor_disk_takes_is_a_counted_loss_at_the_end(
    make: Callable[..., DataLogger], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no spool can be made points stay in memory; the end says that they are lost, and promises nothing."""
    (tmp_path / "file").touch()
    with make(f"127.0.0.1:{unused_port()}", spool_dir=tmp_path / "file" / "spool") as logger:
        logger.write_config({"lr": 1})
        logger.write("a", x=np.arange(7))
        logger.flush(10)
        assert logger.stats()["dropped"] == {}
    assert logger.stats()["dropped"] == {"a": 7, "config": 1}
    said = [record.getMessage() for record in caplog.records]
    assert ["stay in memory: cannot write to the spool" in said[0], "are kept in memory" in said[1]] == [True, True]
    assert said[2:] == [
        "points of 'run' are lost (a, config): the program ends, and neither the server nor the disk has taken them"
    ]


def test_what_waits_in_memory_is_sent_when_the_server_comes(
    make: Callable[..., DataLogger], tmp_path: Path, wait_until: Wait
) -> None:
    """Without a spool, too, nothing is lost as long as the program runs."""
    (tmp_path / "file").touch()
    port = unused_port()
    with make(f"127.0.0.1:{port}", spool_dir=tmp_path / "file" / "spool") as logger:
        logger.write("loss", x=np.arange(7))
        logger.flush(10)
        with serving("memory:", port) as server:
            wait_until(lambda: "x" in stored(server.uri, "loss"), 30)
            assert stored(server.uri, "loss")["x"] == list(range(7))
    assert logger.stats()["dropped"] == {}


def test_a_full_spool_raises_when_strict(make: Callable[..., DataLogger]) -> None:
    """Under strict, what neither the server nor the disk takes is an error of the flush."""
    with make(f"127.0.0.1:{unused_port()}", spool_max_bytes=10, strict=True) as logger:
        logger.write("a", x=1)
        with pytest.raises(BufferFullError, match="in memory alone"):
            logger.flush(10)


def test_a_mistake_of_ours_is_a_counted_loss_and_logging_goes_on(
    server: ServerThread,
    make: Callable[..., DataLogger],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Should a flush fail for no reason of the world's, the points that it took out are counted as lost."""
    with make(server.uri) as logger:
        with monkeypatch.context() as patch:
            patch.setattr(sender_module, "encode", lambda _: 1 // 0)
            logger.write("loss", x=np.arange(5))
            logger.flush(10)
        logger.write("loss", x=7)
        logger.flush(10)
        assert (logger.stats()["dropped"], logger.stats()["errors"]) == ({"loss": 5}, 1)
    assert stored(server.uri, "loss") == {"x": [7]}
    assert [record.message for record in caplog.records] == ["the sender of 'run' failed and goes on"]


# ---- asyncio


def test_the_async_logger_is_the_same_logger(server: ServerThread, tmp_path: Path) -> None:
    """Writes yield to the loop; flush and stop are awaited."""

    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        async with AsyncDataLogger("run", server.uri, spool_dir=tmp_path / "spool") as logger:
            logger.write_config({"lr": 1})
            for step in range(100):
                await logger.write("loss", x=step)
            logger.write_sync("loss", x=100)
            await logger.yield_to_flush()
            await logger.flush(10)
            assert logger.stats()["outstanding"] == 0
        ticker.cancel()
        return ticks

    assert asyncio.run(main()) >= 100
    assert stored(server.uri, "loss")["x"] == list(range(101))


@pytest.mark.parametrize("strict", [False, True])
def test_what_a_device_does_not_give_is_counted_named_and_skipped(
    make: Callable[..., DataLogger], server: ServerThread, caplog: pytest.LogCaptureFixture, strict: bool
) -> None:
    """Each point of it, once in the log for each name; the rest of the flush is stored; under strict flush raises."""
    import torch

    from streamvis.arrays.torch import Adapter

    flaky = FlakyAdapter(Adapter())
    logger = make(server.uri, flush_every=3600.0, strict=strict)
    logger._buffer = Buffer(Adapters([flaky]))
    logger._buffer.attention = True
    logger.start()
    for step in range(6):
        flaky.bad = step in (1, 4)
        logger.write("loss", x=step, y=torch.tensor(float(step)))
        logger.write("other", x=step)
    with pytest.raises(BufferFullError, match="'loss': 2") if strict else contextlib.nullcontext():
        logger.flush(10)
    stats = logger.stats()
    logger.stop()
    assert stats["dropped"] == {"loss": 2}
    with Client(server.uri) as client:
        assert client.fetch("run", "loss")["run", "loss", 0]["x"].tolist() == [0, 2, 3, 5]
        assert client.fetch("run", "other")["run", "other", 0]["x"].tolist() == list(range(6))
    (said,) = [record.getMessage() for record in caplog.records if "does not give" in record.getMessage()]
    assert re.fullmatch(
        r"2 points of 'loss' are lost, their device does not give them: OSError: the device is gone", said
    )
