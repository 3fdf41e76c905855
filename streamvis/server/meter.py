"""What a server counts, and the metrics made of it. Everything here runs on the event loop's thread."""

from __future__ import annotations

import resource
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from streamvis.records import Ack, Metric, Size, Usage
from streamvis.storage.base import Commit

LATENCIES = 2048
"""How many of the latest batches the quantiles are of."""

_RESULTS = ("stored", "gap", "gone", "refused", "failed")
_RESULTS_HELP = (
    "Batches by answer: stored, now or before; to be sent again after a gap or because a topic is gone; refused as "
    "malformed; failed in the store."
)


class Meter:
    """Counts batches from their arrival to their answer, and what was committed."""

    def __init__(self) -> None:
        self._started = time.time()
        self._batches: Counter[str] = Counter()
        self._writers = self._submitted = self._waiting = 0
        self._commits = self._blocks = self._points = self._bytes = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A stream of batches is open for as long as the block runs."""
        self._writers += 1
        try:
            yield
        finally:
            self._writers -= 1

    def refused(self) -> None:
        """A batch breaks a rule."""
        self._batches["refused"] += 1

    def submitted(self) -> None:
        """A batch waits for its commit."""
        self._submitted += 1
        self._waiting += 1

    def settled(self, ack: Ack | None, seconds: float) -> None:
        """It was answered, so long after its submission; without an ack, the store could not take it."""
        self._waiting -= 1
        result = "failed" if ack is None else "gap" if ack.expected else "gone" if ack.gone else "stored"
        self._batches[result] += 1
        self._latencies.append(seconds)

    def committed(self, commit: Commit) -> None:
        """A transaction is durable."""
        self._commits += 1
        self._blocks += len(commit.blocks)
        for block in commit.blocks:
            self._points += block.k * block.n
            self._bytes += block.size

    def metrics(self) -> Iterator[Metric]:
        """All of it, and what the system says of this process."""
        yield Metric("streamvis_start_time_seconds", self._started, "Unix time at which the server started.")
        yield Metric("streamvis_writers", self._writers, "Open streams of batches.")
        for result in _RESULTS:
            yield Metric(
                "streamvis_batches_total",
                self._batches[result],
                _RESULTS_HELP,
                counter=True,
                labels={"result": result},
            )
        yield Metric("streamvis_batches_waiting", self._waiting, "Batches that wait for their commit.")
        dropped = self._submitted - self._waiting - (self._batches.total() - self._batches["refused"])
        yield Metric("streamvis_batches_dropped", dropped, "Batches that were neither answered nor wait: always 0.")
        for name, value in (("commits", self._commits), ("blocks", self._blocks), ("points", self._points)):
            yield Metric(f"streamvis_{name}_total", value, f"{name.capitalize()} made durable.", counter=True)
        yield Metric("streamvis_block_bytes_total", self._bytes, "Bytes of those blocks.", counter=True)
        latencies = np.array(self._latencies) if self._latencies else np.zeros(1)
        for quantile in (0.5, 0.99):
            yield Metric(
                "streamvis_commit_seconds",
                float(np.quantile(latencies, quantile)),
                f"From a batch's submission to its commit, of the last {LATENCIES}.",
                labels={"quantile": str(quantile)},
            )
        yield from _process()


def stored_metrics(usage: Sequence[Usage]) -> Iterator[Metric]:
    """What is stored, live and in the trash."""
    for place in ("live", "trash"):
        sizes = [size for size in (getattr(it, place) for it in usage) if size.topics]
        total, labels = sum(sizes, Size()), {"place": place}
        yield Metric("streamvis_stored_scopes", len(sizes), "Scopes with topics.", labels=labels)
        yield Metric("streamvis_stored_topics", total.topics, "Topics.", labels=labels)
        yield Metric("streamvis_stored_points", total.points, "Their points.", labels=labels)
        yield Metric("streamvis_stored_bytes", total.bytes, "Bytes of their blocks.", labels=labels)


def _process() -> Iterator[Metric]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    yield Metric("process_cpu_seconds_total", seconds, "Processor time that the server has used.", counter=True)
    statm = Path("/proc/self/statm")
    if statm.exists():  # where it does not, nothing cheap tells the present size
        resident = int(statm.read_text().split()[1]) * resource.getpagesize()
        yield Metric("process_resident_memory_bytes", resident, "Memory that the server takes.")
