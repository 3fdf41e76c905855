"""Feeds the sinks of plugins: each on a thread of its own, behind a bounded queue of its own.

A slow, failing or hanging sink is alone with it: the sender and the other sinks neither wait for it nor lose anything.
What it loses itself is counted and said once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamvis.columns import Block
from streamvis.hookspecs import Sink

CLOSE_SECONDS = 0.5
"""How long sinks may take to close, at least, when everything else has used up the time to stop."""

_BLOCK_BYTES = 1024
"""What a block or a config takes beside its columns, about."""

_log = logging.getLogger("streamvis")


@dataclass(frozen=True, slots=True)
class _Flush:
    blocks: Sequence[tuple[str, Block]]
    configs: Sequence[Mapping[str, Any]]
    time: float = field(default_factory=time.monotonic)

    @property
    def nbytes(self) -> int:
        pieces = len(self.blocks) + len(self.configs)
        return _BLOCK_BYTES * pieces + sum(block.nbytes for _, block in self.blocks)

    @property
    def points(self) -> int:
        return sum(block.points for _, block in self.blocks)


class SinkThread:
    """One sink and what waits for it: at most `max_bytes`, or one flush of any size."""

    def __init__(self, name: str, sink: Sink, max_bytes: int) -> None:
        self._name = name
        self._sink = sink
        self._max_bytes = max_bytes
        self._waiting: deque[_Flush] = deque()  # the first is with the sink
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._points = self._errors = 0
        self._last_error: str | None = None
        self._dropped: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name=f"streamvis-sink-{name}", daemon=True)

    def offer(self, flush: _Flush) -> None:
        """Queues a flush, or counts it as dropped when there is no room. Never waits."""
        with self._changed:
            fits = not self._waiting or self._waiting_bytes + flush.nbytes <= self._max_bytes
            if fits:
                self._waiting.append(flush)
                self._waiting_bytes += flush.nbytes
                self._changed.notify()
        if fits:
            self._ensure_started()
        else:
            self._drop(flush)

    def finish(self) -> None:
        """Lets the thread end once nothing waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._ensure_started()

    def join(self, deadline: float) -> None:
        """Waits until the sink has closed or the deadline has passed, and says what it has not written by then."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() or self._waiting:
            waiting = self.stats()["waiting_points"]
            _log.error("sink %s has not ended in time; %d points may be missing there", self._name, waiting)

    def stats(self) -> dict[str, Any]:
        """Points written, waiting_points, waiting_bytes, lag (seconds), dropped (by name), errors, last_error."""
        with self._changed:
            waiting, waiting_bytes = list(self._waiting), self._waiting_bytes
        return {
            "points": self._points,
            "waiting_points": sum(flush.points for flush in waiting),
            "waiting_bytes": waiting_bytes,
            "lag": time.monotonic() - waiting[0].time if waiting else 0.0,
            "dropped": dict(self._dropped),
            "errors": self._errors,
            "last_error": self._last_error,
        }

    def _ensure_started(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def _drop(self, flush: _Flush) -> None:
        if not self._dropped:
            _log.error("sink %s is too slow: points are missing there, but nowhere else; see stats()", self._name)
        for name, block in flush.blocks:
            self._dropped[name] += block.points
        if flush.configs:
            self._dropped["config"] += len(flush.configs)

    # ---- the thread

    def _run(self) -> None:
        while (flush := self._next()) is not None:
            for values in flush.configs:
                self._call("write_config", values)
            if flush.blocks and self._call("write", flush.blocks):
                self._points += flush.points
            with self._changed:
                self._waiting.popleft()
                self._waiting_bytes -= flush.nbytes
        self._call("close")

    def _next(self) -> _Flush | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting[0] if self._waiting else None

    def _call(self, method: str, *arguments: Any) -> bool:
        try:
            getattr(self._sink, method)(*arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's failure is its own: counted, said once, contained
            self._last_error = f"{method}: {type(error).__name__}: {error}"
            if not self._errors:
                known = isinstance(error, OSError)  # a disk or a peer; of anything else the trace is worth its lines
                _log.error(
                    "sink %s failed in %s; its data may be incomplete",
                    self._name,
                    self._last_error,
                    exc_info=None if known else error,
                )
            self._errors += 1
            return False
        return True


class Sinks:
    """All sinks of one run, by the names of their plugins; together at most `max_bytes` wait for them.

    One thread feeds and closes them.
    """

    def __init__(self, sinks: Sequence[tuple[str, Sink]], max_bytes: int) -> None:
        share = max_bytes // max(1, len(sinks))
        self._threads: dict[str, SinkThread] = {}
        for plugin, sink in sinks:
            taken = sum(name.partition("#")[0] == plugin for name in self._threads)
            name = f"{plugin}#{taken + 1}" if taken else plugin
            self._threads[name] = SinkThread(name, sink, share)

    def __len__(self) -> int:
        return len(self._threads)

    def feed(self, blocks: Sequence[tuple[str, Block]], configs: Sequence[Mapping[str, Any]]) -> None:
        """Queues one flush for every sink: blocks with their names. Their arrays become read-only: all share them."""
        for _, block in blocks:
            for values in block.columns.values():
                values.flags.writeable = False
        flush = _Flush(blocks, configs)
        for thread in self._threads.values():
            thread.offer(flush)

    def close(self, deadline: float) -> None:
        """Returns when each sink has written what waits for it and closed, or has not done so by the deadline."""
        for thread in self._threads.values():
            thread.finish()
        for thread in self._threads.values():
            thread.join(max(deadline, time.monotonic() + CLOSE_SECONDS))

    def stats(self) -> dict[str, dict[str, Any]]:
        """See SinkThread.stats; by plugin, a second sink of one as `plugin#2`."""
        return {name: thread.stats() for name, thread in self._threads.items()}
