"""P12: how late an event loop is while a task logs on it, beside the same loop without a logger.

A heartbeat asks to be woken every millisecond, and counts by how much it is late. Beside it a task writes a number at
each turn of the loop, and an array of 10,000 points at each hundredth. The server is quick, or takes 300 ms for each
commit, or answers nothing, or is not there; without a logger the task makes the same values and yields as often.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from _harness import data_server, disk_directory, show

from streamvis import AsyncDataLogger

SECONDS = 5.0
BEAT = 0.001
EDGES = (1, 2, 5, 10, 20)  # ms


def main() -> None:
    """Prints for each server the 99th percentile and the longest of the loop's delays, and how many exceed what."""
    with ExitStack() as stack:
        directory = stack.enter_context(disk_directory())
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        servers = {
            "quick server": stack.enter_context(data_server()).uri,
            "commits of 300 ms": stack.enter_context(data_server(commit_seconds=0.3)).uri,
            "silent server": f"127.0.0.1:{deaf.getsockname()[1]}",
            "no server": "127.0.0.1:1",
        }
        bare = asyncio.run(_delays(_yields))
        found = {name: asyncio.run(_logged(name, uri, directory)) for name, uri in servers.items()}
    for name, delays in found.items():
        peer = ("nothing logged", _p99(bare))
        show(f"P12 loop's delay, {name}, p99", _p99(delays), "ms", peer=peer, at_most=5)
        show(f"P12 loop's delay, {name}, longest", delays.max(), "ms", peer=("nothing logged", bare.max()))
    for name, delays in {"nothing logged": bare, **found}.items():
        above = ", ".join(f"> {edge} ms {np.mean(delays > edge):.2%}" for edge in EDGES)
        print(f"P12 {len(delays)} beats, {name}: {above}", flush=True)


async def _logged(scope: str, uri: str, directory: Path) -> np.ndarray:
    options = {"spool_dir": directory / "spool", "flush_every": 0.05, "stop_timeout": 1.0}
    async with AsyncDataLogger(scope, uri, **options) as logger:
        return await _delays(lambda **columns: logger.write("loss", **columns))


async def _yields(**_: Any) -> None:
    await asyncio.sleep(0)


async def _delays(write: Callable[..., Awaitable[None]]) -> np.ndarray:
    """Milliseconds by which each beat was late."""
    writing = asyncio.create_task(_write(write))
    late: list[float] = []
    last = time.perf_counter()
    end = last + SECONDS
    while last < end:
        await asyncio.sleep(BEAT)
        now = time.perf_counter()
        late.append(now - last - BEAT)
        last = now
    writing.cancel()
    return 1000 * np.array(late)


async def _write(write: Callable[..., Awaitable[None]]) -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    step = 0
    while True:
        step += 1
        await write(x=values if step % 100 == 0 else step, y=0.5)


def _p99(delays: np.ndarray) -> float:
    return float(np.percentile(delays, 99))


if __name__ == "__main__":
    main()
