"""Every logger keeps the contract: the plain one by each of its doors, and the ones around it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import AsyncDataLogger, DataLogger, create, delivery
from streamvis.integration import MetricLogger
from streamvis.testing import LoggerContract
from streamvis.testing.loggers import held_server, stored


class TestDataLogger(LoggerContract):
    """The plain logger."""

    def make(self, scope: str, uri: str, **options: Any) -> DataLogger:
        return DataLogger(scope, uri, **options)


class TestAdapter(LoggerContract):
    """What `create` makes of the name "plain"."""

    def make(self, scope: str, uri: str, **options: Any) -> Any:
        return create("plain", scope=scope, grpc_uri=uri, **options)


class TestAsyncDataLogger(LoggerContract):
    """The asyncio logger, everything awaited that can be, each call on a loop of its own."""

    def make(self, scope: str, uri: str, **options: Any) -> AsyncDataLogger:
        return AsyncDataLogger(scope, uri, **options)

    @contextmanager
    def running(self, logger: AsyncDataLogger) -> Iterator[AsyncDataLogger]:
        given = asyncio.run(logger.__aenter__())
        assert given is logger
        try:
            yield given
        except BaseException as error:
            asyncio.run(logger.__aexit__(type(error), error, error.__traceback__))
            raise
        asyncio.run(logger.__aexit__(None, None, None))

    def write(self, logger: AsyncDataLogger, name: str, /, **columns: Any) -> None:
        asyncio.run(logger.write(name, **columns))

    def flush(self, logger: AsyncDataLogger, timeout: float | None = 30.0) -> None:
        asyncio.run(logger.flush(timeout))

    def stop(self, logger: AsyncDataLogger) -> None:
        asyncio.run(logger.stop())


class TestAsyncDataLoggerSync(TestAsyncDataLogger):
    """The asyncio logger, written to without yielding."""

    def write(self, logger: AsyncDataLogger, name: str, /, **columns: Any) -> None:
        logger.write_sync(name, **columns)


class TestMetricLogger(LoggerContract):
    """What integrations write through, when it is to raise as the plain logger does."""

    starts_itself = True

    def make(self, scope: str, uri: str, **options: Any) -> MetricLogger:
        return MetricLogger(scope, uri, **{"strict": True, **options})

    @contextmanager
    def running(self, logger: MetricLogger) -> Iterator[MetricLogger]:
        with logger.logger:
            yield logger

    def write_config(self, logger: MetricLogger, values: Any) -> None:
        logger.log_config(values)

    def flush(self, logger: MetricLogger, timeout: float | None = 30.0) -> None:
        logger.flush(timeout)

    def stats(self, logger: MetricLogger) -> dict[str, Any]:
        return logger.logger.stats()


# ---- asyncio


def test_the_asyncio_logger_has_no_logging_of_its_own() -> None:
    """It holds a DataLogger that differs in who waits for room, and offers the same calls with the same arguments."""
    core = AsyncDataLogger("run")._logger
    assert isinstance(core, DataLogger)
    assert {*vars(type(core))} & {*vars(DataLogger)} - {"__module__", "__doc__"} == {"_wait_for_room"}
    for name in ("start", "write", "write_config", "flush", "stop", "stats"):
        mine, its = (inspect.signature(getattr(kind, name)) for kind in (AsyncDataLogger, DataLogger))
        assert mine == its, name


def test_a_full_async_logger_blocks_its_task_and_not_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit, with `on_full="block"`, the write is awaited until there is room, and other tasks run meanwhile."""
    monkeypatch.setattr(delivery, "COPY_AFTER", 600.0)  # else the silent server counts as away
    values = np.random.default_rng(0).standard_normal(20_000)

    async def write(logger: AsyncDataLogger) -> None:
        for step in range(50):
            await logger.write("loss", x=values, t=step)

    async def main() -> None:
        with held_server() as (server, gate):
            logger = AsyncDataLogger(
                "run", server.uri, spool_dir=tmp_path / "spool", on_full="block", max_host_bytes=1 << 20
            )
            async with logger:
                writer = asyncio.create_task(write(logger))
                while not logger._logger._needs_room:  # noqa: ASYNC110 - it happens in another thread
                    await asyncio.sleep(0)
                written = logger.stats()["writes"]
                for _ in range(200):
                    await asyncio.sleep(0.001)
                assert not writer.done()
                assert logger.stats()["writes"] <= written + 1
                gate.set()
                await writer
                await logger.flush(30)
            found = stored(server.uri, "loss")
        assert found["t"] == np.repeat(np.arange(50), len(values)).tolist()

    asyncio.run(main())


@pytest.mark.parametrize("what", ["flush", "stop"])
def test_what_is_awaited_lets_the_loop_turn(tmp_path: Path, what: str) -> None:
    """While the server commits nothing writes return, and flush and stop wait beside the loop as long as need be."""

    async def main() -> None:
        with held_server() as (server, gate):
            logger = AsyncDataLogger("run", server.uri, spool_dir=tmp_path / "spool", flush_every=0.001).start()
            waiting = []
            for step in range(300):
                await logger.write("loss", x=step)
                if step == 100:
                    await asyncio.sleep(0.01)
                    waiting = [asyncio.create_task(logger.flush()) for _ in range(3)]
            if what == "stop":
                waiting.append(asyncio.create_task(logger.stop()))
            for _ in range(100):
                await asyncio.sleep(0.001)
            assert not any(task.done() for task in waiting)
            assert not gate.is_set()
            gate.set()
            await asyncio.gather(*waiting)
            await logger.stop()
            assert stored(server.uri, "loss")["x"] == list(range(300))

    asyncio.run(main())
