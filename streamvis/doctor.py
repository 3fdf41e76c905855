"""What is wrong with a data server, or with the way to it, in one line each; pure but for the questions it asks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

from streamvis import __version__
from streamvis.client import Client
from streamvis.errors import UnavailableError
from streamvis.records import Metric, RunInfo, Stats

TIMEOUT = 5.0
"""Seconds that a server has for each answer."""

SLOW_COMMIT = 1.0
LAGGING = 10.0
"""Seconds above which the doctor speaks of it."""

_SETTINGS = b"\x04"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
"""With what HTTP/2 begins: an empty SETTINGS frame, which is answered by another."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How a server is doing."""

    uri: str
    stats: Stats
    round_trip: float
    """Seconds from question to answer, the shortest of a few."""

    problems: tuple[str, ...]


def diagnose(uri: str) -> Diagnosis:
    """Asks the server how it is doing. Raises UnavailableError, with what is known about why, if it does not tell."""
    with Client(uri, timeout=TIMEOUT) as client:
        try:
            stats = client.stats()
        except UnavailableError as error:
            raise UnavailableError(_why_not(uri) or str(error)) from None
        times = []
        for _ in range(3):
            start = time.perf_counter()
            client.stats()
            times.append(time.perf_counter() - start)
        runs = client.runs() if stats.version == __version__ else []
    problems = (*_problems(stats), *(problem for run in runs for problem in _problems_of_run(run)))
    return Diagnosis(uri, stats, min(times), problems)


def _problems(stats: Stats) -> Iterator[str]:
    if stats.version != __version__:
        yield f"the server is streamvis {stats.version}, this is {__version__}: use the same version on both sides"
    if (failed := stats.value("streamvis_batches_total", result="failed")) > 0:
        yield f"the store could not take {failed:.0f} batches, which loggers keep: see the server's log, and its disk"
    if (dropped := stats.value("streamvis_batches_dropped")) > 0:
        yield f"{dropped:.0f} batches are unaccounted for: this is a bug, please report it"
    slow = stats.value("streamvis_commit_seconds", quantile="0.99")
    if slow > SLOW_COMMIT:
        yield f"one commit in a hundred takes {slow:.1f} s: the disk is slow or busy"
    lag = stats.value("streamvis_subscriber_lag_seconds")
    if lag > LAGGING:
        yield f"a subscriber is {lag:.0f} s behind: it reads slowly, or was stopped; nobody else is delayed"


def _problems_of_run(run: RunInfo) -> Iterator[str]:
    """What its logger reports; of a run that has ended nothing, for nobody can mend it."""
    if run.status not in ("running", "stalled"):
        return
    if lost := run.counters.get("dropped"):
        yield f"{run.scope} has lost {lost} points, for which it had no room: see its log"
    if rejected := run.counters.get("rejected"):
        yield f"{run.scope} has points of {rejected} names that the server refused: see its log"
    for name, sink in run.counters.get("sinks", {}).items():
        if sink["errors"]:
            yield f"{run.scope}'s sink {name} has failed {sink['errors']} times and lacks points: see the run's log"
        elif sink["lag"] > LAGGING:
            yield f"{run.scope}'s sink {name} is {sink['lag']:.0f} s behind; nobody else is delayed"


def _why_not(uri: str) -> str | None:
    """Why no data server answers there, as far as a plain connection tells; None if it should."""
    try:
        if _first_bytes(uri, _PREFACE)[3:4] == _SETTINGS:
            return None
        if _first_bytes(uri, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/"):
            return f"a web server answers at {uri}, no data server: is it the viewer's address?"
    except OSError as error:
        return _unreachable(uri, error)
    return f"something answers at {uri}, but it is no data server of streamvis: another program uses that port"


def _first_bytes(uri: str, question: bytes) -> bytes:
    """How an answer begins; nothing if the connection is closed instead."""
    with _connected(uri) as connection:
        connection.sendall(question)
        try:
            return connection.recv(9)
        except ConnectionResetError:
            return b""


def _unreachable(uri: str, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, socket.gaierror):
        return f"there is no host {uri.rpartition(':')[0]!r} ({reason}): check the address"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return f"nothing listens at {uri}: start a server with `streamvis grpc-serve DATA_PREFIX PORT`"
    if isinstance(error, TimeoutError):
        return f"{uri} lets no answer come within {TIMEOUT:.3g} s: its server hangs, or a firewall is in the way"
    return f"{uri} cannot be reached: {reason}"


def _connected(uri: str) -> socket.socket:
    if uri.startswith("unix:"):
        with ExitStack() as resources:
            connection = resources.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(TIMEOUT)
            connection.connect(uri.removeprefix("unix:"))
            resources.pop_all()
            return connection
    host, _, port = uri.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), TIMEOUT)


def prometheus(metrics: Iterable[Metric]) -> Iterator[str]:
    """Lines of the Prometheus text exposition format, version 0.0.4."""
    for name, group in groupby(sorted(metrics, key=lambda metric: metric.name), key=lambda metric: metric.name):
        for number, metric in enumerate(group):
            if not number:
                yield f"# HELP {name} {metric.help}"
                yield f"# TYPE {name} {'counter' if metric.counter else 'gauge'}"
            yield f"{name}{_labels(metric.labels)} {metric.value!r}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else ""
