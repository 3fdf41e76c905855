"""When a writer says how it is doing, and what it says; pure, with times handed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from streamvis.records import RunStatus, Status

INTERVAL = 10.0
"""Seconds from one status to the next, while the server listens."""

STALL_SECONDS = 60.0
STALL_FACTOR = 10
"""A run has stalled when nothing was written for so long, and so many times longer than ever before."""

End: TypeAlias = Literal["finished", "crashed"]


class Heartbeat:
    """The statuses of one writer: none before there is something to send, then one every INTERVAL, then the last."""

    def __init__(self, scope: str, now: float, started: float) -> None:
        """`now` is of the monotonic clock, as every `now` here; `started` is a Unix time."""
        self._scope = scope
        self._started = started
        self._wrote = now
        self._longest = 0.0
        self._next = now
        self._said: RunStatus | None = None
        self.end: End | None = None

    def wrote(self, now: float) -> None:
        """Points or configs were flushed."""
        self._longest = max(self._longest, now - self._wrote)
        self._wrote = now

    @property
    def introduced(self) -> bool:
        """Whether the server has been told, or will be, that this writer exists."""
        return self._said is not None

    @property
    def deadline(self) -> float | None:
        """When the next status is due even if there is nothing else to send."""
        return self._next if self.introduced else None

    def status(self, now: float, updated: float, counters: Callable[[], Mapping[str, Any]]) -> Status | None:
        """What to say with what is sent now; None when it was said a moment ago. `updated` is a Unix time."""
        state = self.end or ("stalled" if self._has_stalled(now) else "running")
        if now < self._next and state == self._said:
            return None
        self._said, self._next = state, now + INTERVAL
        return Status(self._scope, state, INTERVAL, self._started, updated, json.dumps(counters()))

    def _has_stalled(self, now: float) -> bool:
        return now - self._wrote > max(STALL_SECONDS, STALL_FACTOR * self._longest)
