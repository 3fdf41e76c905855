"""P6: eight processes log to one server at the same time."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import IO

import numpy as np
from _harness import REPEATS, Server, data_server, median_of, show, stopwatch

from streamvis import Client, DataLogger

PROCESSES, POINTS = 8, 10_000


def main() -> None:
    """Prints points per second from the start signal until all are durable, and what is missing or twice."""
    lost = doubled = 0
    with data_server() as server, ExitStack() as stack:
        workers = [stack.enter_context(_worker(server, number)) for number in range(PROCESSES)]
        for worker in workers:
            _hear(worker, "imported")
        rate = median_of(lambda repeat: _round(workers, repeat))
        for worker in workers:
            _pipe(worker.stdin).close()
        with Client(server.uri) as client:
            for repeat in range(REPEATS):
                for number in range(PROCESSES):
                    missing, twice = _compare(client, f"run{number}-{repeat}", number)
                    lost, doubled = lost + missing, doubled + twice
    show("P6 eight processes until durable", rate / 1e3, "k/s", at_least=400)
    show("P6 points lost", lost, "", at_most=0)
    show("P6 points doubled", doubled, "", at_most=0)


def _worker(server: Server, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, server.uri, str(server.directory / "spool"), str(number)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _round(workers: list[subprocess.Popen[str]], repeat: int) -> float:
    """Points per second."""
    _tell(workers, f"run{{}}-{repeat}")
    for worker in workers:
        _hear(worker, "ready")
    with stopwatch() as seconds:
        _tell(workers, "go")
        for worker in workers:
            _hear(worker, "stored")
    for worker in workers:
        _hear(worker, "stopped")
    return PROCESSES * POINTS / seconds()


def _tell(workers: list[subprocess.Popen[str]], line: str) -> None:
    for number, worker in enumerate(workers):
        print(line.format(number), file=_pipe(worker.stdin), flush=True)


def _hear(worker: subprocess.Popen[str], expected: str) -> None:
    line = _pipe(worker.stdout).readline().strip()
    assert line == expected, f"a worker said {line!r}; expected {expected!r}"


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _compare(client: Client, scope: str, number: int) -> tuple[int, int]:
    """How many points are missing and how many are there more than once; the others are as they were written."""
    found = client.fetch(scope, "loss")[scope, "loss", 0]
    steps, times = np.unique(found["x"], return_counts=True)
    assert (found["y"] == _value(number, found["x"])).all()
    return POINTS - len(steps), int((times - 1).sum())


def _value(number: int, step: np.ndarray | int) -> np.ndarray | float:
    return number + step / 7


def work(uri: str, spool: str, number: int) -> None:
    """One worker: a scope per line on stdin, written when the next line says so."""
    print("imported", flush=True)
    for line in sys.stdin:
        with DataLogger(line.strip(), uri, spool_dir=spool) as logger:
            print("ready", flush=True)
            sys.stdin.readline()
            for step in range(POINTS):
                logger.write("loss", x=step, y=_value(number, step))
            logger.flush()
            print("stored", flush=True)
        print("stopped", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
