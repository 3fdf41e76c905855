"""P2: steps of fifty metrics, as fifty writes of a number each and as one write of an array.

Of the time of a step a third is Python's: the loop, and calls of a method with keywords that does nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
from _harness import REPEATS, Server, check_series, data_server, logger_options, show, stopwatch, summary_writer

from streamvis import Client, DataLogger

STEPS, METRICS = 20_000, 50
NAMES = [f"metric{number}" for number in range(METRICS)]
VALUES = np.random.default_rng(0).normal(size=(STEPS, METRICS))
NUMBERS = VALUES.tolist()


def main() -> None:
    """Prints microseconds per step, and points per second until they are durable."""
    with data_server() as server:
        scalars = [_run(server, f"scalars{repeat}", _write_scalars, _check_scalars) for repeat in range(REPEATS)]
        arrays = [_run(server, f"arrays{repeat}", _write_arrays, _check_arrays) for repeat in range(REPEATS)]
        add_scalar = _tensorboard(server)
    per_step, per_second = map(statistics.median, zip(*scalars, strict=True))
    peer = ("add_scalar", add_scalar) if add_scalar else None
    show("P2 step of 50 scalar writes", per_step, "µs", peer=peer, at_most=25)
    peer = ("add_scalar", METRICS / add_scalar) if add_scalar else None
    show("P2 scalar writes until durable", per_second, "M/s", peer=peer, at_least=1)
    per_step, per_second = map(statistics.median, zip(*arrays, strict=True))
    show("P2 step of one (50, 1) write", per_step, "µs")
    show("P2 (50, 1) writes until durable", per_second, "M/s", peer=peer, at_least=4)


def _run(
    server: Server, scope: str, write: Callable[[DataLogger], None], check: Callable[[Client, str], None]
) -> tuple[float, float]:
    """Microseconds per step, and million points per second."""
    with DataLogger(scope, **logger_options(server)) as logger:
        with stopwatch() as seconds:
            write(logger)
            written = seconds()
            logger.flush()
        stored = seconds()
    with Client(server.uri) as client:
        check(client, scope)
    return written / STEPS * 1e6, STEPS * METRICS / stored / 1e6


def _write_scalars(logger: DataLogger) -> None:
    write = logger.write
    for step, row in enumerate(NUMBERS):
        for name, value in zip(NAMES, row, strict=True):
            write(name, x=step, y=value)


def _write_arrays(logger: DataLogger) -> None:
    for step, row in enumerate(VALUES[:, :, None]):
        logger.write("metrics", x=step, y=row)


def _check_scalars(client: Client, scope: str) -> None:
    points = client.fetch(scope)
    assert len(points) == METRICS
    for metric, name in enumerate(NAMES):
        check_series(points[scope, name, 0], {"x": np.arange(STEPS), "y": VALUES[:, metric]})


def _check_arrays(client: Client, scope: str) -> None:
    points = client.fetch(scope)
    assert len(points) == METRICS
    for metric in range(METRICS):
        check_series(points[scope, "metrics", metric], {"x": np.arange(STEPS), "y": VALUES[:, metric]})


def _tensorboard(server: Server) -> float | None:
    """Microseconds per step of as many add_scalar calls, flushed at the end."""
    writer = summary_writer(server.directory)
    if writer is None:
        return None
    times = []
    steps = 200
    for repeat in range(REPEATS):
        with stopwatch() as seconds:
            for step in range(repeat * steps, (repeat + 1) * steps):
                for name, value in zip(NAMES, NUMBERS[step], strict=True):
                    writer.add_scalar(name, value, step)
            writer.flush()
        times.append(seconds() / steps * 1e6)
    writer.close()
    return statistics.median(times)


if __name__ == "__main__":
    main()
