"""What waits is bounded, in memory and on devices; at the limit the caller's choice holds, and every point counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import delivery, hookimpl, plugins
from streamvis.arrays import Form
from streamvis.delivery import Delivery
from streamvis.errors import BufferFullError
from streamvis.logger import DataLogger
from streamvis.server.run import serving
from streamvis.testing.loggers import held_server, stored

LIMIT = 4 << 20
POINTS = 10_000
WRITES = 400
"""Of `POINTS` float64 each: eight times the limit."""


class Chip:
    """An array on a device."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape = values.shape


class ChipAdapter:
    """The device, which gives nothing back before `gate` is set."""

    name = "chip"

    def __init__(self) -> None:
        self.transfers = 0
        self.gate = threading.Event()

    def accepts(self, kind: type) -> bool:
        return issubclass(kind, Chip)

    def describe(self, value: Chip) -> Form:
        return Form(value.shape, value.values.dtype, "chip", value.values.nbytes, on_host=False)

    def copier(self, _: Sequence[Form]) -> Callable[[Sequence[Chip]], np.ndarray]:
        return lambda values: np.concatenate([value.values.ravel() for value in values])

    def transfer(self, runs: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        assert self.gate.wait(60)
        self.transfers += 1
        return [np.stack(run) for run in runs]


@dataclass
class Tight:
    """A place where something stands still until `gate` is set, values that wait there, and how much of them waits."""

    uri: str
    gate: threading.Event
    value: Callable[[], Any]
    waiting: Callable[[DataLogger], int]


@contextmanager
def _tight(limit: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tight]:
    noise = np.random.default_rng(0)
    if limit == "max_host_bytes":
        with held_server() as (server, gate):
            yield Tight(
                server.uri, gate, lambda: noise.standard_normal(POINTS), lambda logger: logger.stats()["waiting_bytes"]
            )
        return
    adapter = ChipAdapter()

    class Plugin:
        @hookimpl
        def streamvis_array_types(self) -> list[ChipAdapter]:
            return [adapter]

    loaded = plugins.Plugins(allow=())
    loaded.register(Plugin(), "chips")
    monkeypatch.setattr(plugins, "default", lambda: loaded)
    with serving() as server:
        try:
            yield Tight(
                server.uri,
                adapter.gate,
                lambda: Chip(noise.standard_normal(POINTS)),
                lambda logger: logger._buffer.device_bytes,
            )
        finally:
            adapter.gate.set()


@pytest.mark.parametrize("limit", ["max_host_bytes", "max_device_bytes"])
@pytest.mark.parametrize("on_full", ["spool", "block", "raise"])
def test_at_the_limit_the_callers_choice_holds(
    limit: str,
    on_full: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    """Where nothing moves "spool" and "raise" go on, "block" waits; then all is stored but what was said to be lost."""
    monkeypatch.setattr(delivery, "COPY_AFTER", 600.0)  # else the silent server counts as away
    taken, peak = list[int](), list[int]()
    with _tight(limit, monkeypatch) as tight:
        logger = DataLogger("run", tight.uri, spool_dir=tmp_path, on_full=on_full, flush_every=0.01, **{limit: LIMIT})

        def write() -> None:
            for step in range(WRITES):
                try:
                    logger.write("a", x=tight.value(), t=step)
                    taken.append(step)
                except BufferFullError:
                    assert on_full == "raise"
                peak.append(tight.waiting(logger))

        with logger:
            writer = threading.Thread(target=write)
            writer.start()
            if on_full == "block":
                wait_until(lambda: logger._needs_room)
                assert len(taken) < WRITES
            else:
                writer.join(60)
            assert writer.is_alive() == (on_full == "block")
            tight.gate.set()
            writer.join(60)
            logger.flush(60)
            found = stored(tight.uri, "a")["t"]
            stats = logger.stats()
    assert max(peak) <= 2 * LIMIT  # while a flush is under way, what it has encoded is there twice
    assert (stats["outstanding"], stats["errors"]) == (0, 0)
    if on_full == "spool":
        assert len(found) + stats["dropped"].get("a", 0) == WRITES * POINTS
        assert sorted(found) == found
    else:
        assert stats["dropped"] == {}
        assert found == np.repeat(taken, POINTS).tolist()
        assert (len(taken) < WRITES) == (on_full == "raise")


@pytest.mark.parametrize("on_full", ["block", "raise"])
def test_a_silent_server_does_not_keep_the_program_waiting(
    on_full: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """It counts as away: what it does not take goes to the disk, and the program goes on."""
    monkeypatch.setattr(delivery, "COPY_AFTER", 0.1)
    noise = np.random.default_rng(0)
    with (
        held_server() as (server, gate),
        DataLogger(
            "run", server.uri, spool_dir=tmp_path, on_full=on_full, flush_every=0.01, max_host_bytes=LIMIT
        ) as logger,
    ):
        logger.write("a", x=0.0, t=-1)
        wait_until(lambda: logger.stats()["spooled"])
        for step in range(50):
            logger.write("a", x=noise.standard_normal(POINTS), t=step)
            wait_until(lambda: not logger.stats()["waiting_writes"])
        assert logger.stats()["spool_bytes"] > LIMIT // 2
        gate.set()
        logger.flush(60)
        assert stored(server.uri, "a")["t"] == [-1, *np.repeat(np.arange(50), POINTS)]
        assert logger.stats()["retries"] == 0


def test_small_writes_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the thread that sends stands still, as with a disk that does not answer, numbers do not fill the memory."""
    gate, offer = threading.Event(), Delivery.offer

    def hanging(self: Delivery, batch: Any) -> None:
        assert gate.wait(60)
        offer(self, batch)

    monkeypatch.setattr(Delivery, "offer", hanging)
    with (
        serving() as server,
        DataLogger("run", server.uri, spool_dir=tmp_path, on_full="raise", max_host_bytes=LIMIT) as logger,
    ):
        written = 0

        def write() -> None:
            nonlocal written
            while logger._buffer.nbytes() < 1.5 * LIMIT:
                logger.write(f"loss{written % 3}", x=written, y=0.5)
                written += 1

        with pytest.raises(BufferFullError, match=f"{LIMIT} bytes waiting"):
            write()
        assert logger._buffer.nbytes() < 1.1 * LIMIT
        gate.set()
        logger.flush(60)
        assert sum(len(stored(server.uri, f"loss{name}")["x"]) for name in range(3)) == written
