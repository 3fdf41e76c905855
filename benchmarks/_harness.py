"""What the benchmarks share: a real data server on a real disk, medians, and one printed line per figure."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 5

DISK = "/var/tmp"  # on a disk where /tmp may be memory, which would flatter whoever waits for it


@dataclass(frozen=True, slots=True)
class Server:
    """A data server in a process of its own."""

    uri: str
    directory: Path
    """On the disk that holds its data; for whatever else the benchmark writes."""


@contextmanager
def disk_directory() -> Iterator[Path]:
    """A directory on a disk, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="streamvis-bench-", dir=DISK) as directory:
        yield Path(directory)


SERVER = """
import math, sys, time
from streamvis.__main__ import main
from streamvis.storage import SqliteStore, sqlite
"""
PAGES = "sqlite._PAGE_SIZE = {}"
UNCOMPACTED = "SqliteStore.compact = lambda store: math.inf"
SLOW = """
append = SqliteStore.append
SqliteStore.append = lambda *arguments: time.sleep({}) or append(*arguments)
"""


@contextmanager
def data_server(
    directory: Path | None = None, *, compact: bool = True, commit_seconds: float = 0.0, page_bytes: int = 0
) -> Iterator[Server]:
    """`streamvis grpc-serve` on the store in that directory, or on a fresh one, which is deleted afterwards.

    Without compaction, with commits that take so much longer, or a fresh one with pages of that size, if asked for.
    """
    with disk_directory() if directory is None else nullcontext(directory) as place:
        changes = [
            *([] if compact else [UNCOMPACTED]),
            *([SLOW.format(commit_seconds)] if commit_seconds else []),
            *([PAGES.format(page_bytes)] if page_bytes else []),
        ]
        program = ["-c", "\n".join([SERVER, *changes, "main()"])] if changes else ["-m", "streamvis"]
        command = [sys.executable, *program, "grpc-serve", f"{place}/data", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                ready = process.stdout.readline()
                found = re.match(r"data server on (\S+),", ready)
                assert found, f"the server said {ready!r}; expected its address"
                yield Server(found[1], place)
            finally:
                process.terminate()
                process.wait()


def logger_options(server: Server) -> dict[str, Any]:
    """Arguments of a DataLogger whose every trace goes with the benchmark."""
    return {"grpc_uri": server.uri, "spool_dir": server.directory / "spool"}


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Gives a function of the seconds since the block began or, after it, that it took."""
    start = time.perf_counter()
    end: float | None = None
    yield lambda: (time.perf_counter() if end is None else end) - start
    end = time.perf_counter()


def median_of(measure: Callable[[int], float], repeats: int = REPEATS) -> float:
    """The median of so many measurements."""
    return statistics.median(measure(number) for number in range(repeats))


def summary_writer(directory: Path) -> Any:
    """TensorBoard's writer, or None where there is none."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return None
    return SummaryWriter(str(directory / "tensorboard"))


def check_series(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Raises AssertionError unless every point is there once, in order, bit for bit."""
    assert set(found) == set(expected), f"columns {set(found)}; expected {set(expected)}"
    for column, values in expected.items():
        assert len(found[column]) == len(values), f"{len(found[column])} points of {column}; {len(values)} were written"
        assert found[column].tobytes() == values.tobytes(), f"values of {column} are not those written"


def show(  # noqa: PLR0913 - the columns of the table, all but the first two by keyword
    figure: str,
    ours: float,
    unit: str,
    *,
    peer: tuple[str, float] | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    goal_is_ratio: bool = False,
) -> None:
    """Prints one line: figure, ours, yardstick, ratio, goal, met or missed."""
    ratio = ours / peer[1] if peer else None
    judged = ratio if goal_is_ratio and ratio is not None else ours
    met = (at_most is None or judged <= at_most) and (at_least is None or judged >= at_least)
    yardstick = f"{peer[0]} {_number(peer[1])} {unit}" if peer else ""
    goal = "".join(f"{sign} {_number(limit)}" for sign, limit in (("≤", at_most), ("≥", at_least)) if limit is not None)
    cells = [
        f"{figure:<44}",
        f"{_number(ours):>7} {unit:<5}",
        f"{yardstick:<32}",
        f"ratio {_number(ratio):<7}" if ratio is not None else " " * 13,
        f"{('goal ' + goal + ('' if goal_is_ratio else ' ' + unit)) if goal else '':<18}",
        ("met" if met else "missed") if goal else "",
    ]
    print("  ".join(cells).rstrip(), flush=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
