"""The latest commits, for live readers: a ring that is bounded by bytes and count.

A reader keeps a position and nothing else. One that falls behind the ring is told to go back to the store, so a slow
reader costs no memory and delays nobody. Everything here runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from streamvis.storage.base import Commit
from streamvis.wire import dump_config

MAX_BYTES = 64 << 20
MAX_COMMITS = 1 << 14

_COMMIT_BYTES = 200
_ITEM_BYTES = 300
"""What a topic, a config or a block costs beside its text or payload, roughly."""
_OBJECT_BYTES = 8
"""What a byte of a config's JSON takes as objects, roughly: a number of two digits and its comma are a pointer."""


class Broadcast:
    """Commits by position: 0, 1, 2, … in the order of their publication."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_commits: int = MAX_COMMITS) -> None:
        self._max_bytes = max_bytes
        self._max_commits = max_commits
        self._kept: dict[int, tuple[Commit, float, int]] = {}  # with when it was published, and its size
        self._bytes = 0
        self._end = 0
        self._listeners: set[asyncio.Event] = set()

    @property
    def size(self) -> int:
        """Bytes that the commits take, roughly."""
        return self._bytes

    @property
    def _oldest(self) -> int:
        return self._end - len(self._kept)

    def age(self, position: int) -> float:
        """How many seconds ago the first commit from a position on was published; 0.0 if there is none.

        If it is gone, as many as those of the oldest one kept.
        """
        kept = self._kept.get(max(position, self._oldest))
        return 0.0 if kept is None else time.monotonic() - kept[1]

    @property
    def end(self) -> int:
        """The position of the commit that will be published next."""
        return self._end

    def publish(self, commit: Commit) -> None:
        """Adds a commit, lets the oldest ones go, and wakes the readers."""
        size = _size(commit)
        self._kept[self._end] = commit, time.monotonic(), size
        self._end += 1
        self._bytes += size
        while len(self._kept) > self._max_commits or (self._bytes > self._max_bytes and len(self._kept) > 1):
            self._bytes -= self._kept.pop(self._oldest)[2]
        self.wake()

    def wake(self) -> None:
        """Wakes the readers, whether or not there is anything new."""
        for listener in self._listeners:
            listener.set()

    def read(self, position: int, max_bytes: int) -> list[Commit] | None:
        """The commits from a position on, as many as fit, at least one if there is one; None if they are gone."""
        if position < self._oldest:
            return None
        commits: list[Commit] = []
        size = 0
        while (kept := self._kept.get(position + len(commits))) is not None:
            commit, _, own_size = kept
            size += own_size
            if commits and size > max_bytes:
                break
            commits.append(commit)
        return commits

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at every publication, and by whoever else wants to wake its reader."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)


def _size(commit: Commit) -> int:
    items = len(commit.topics) + len(commit.configs) + len(commit.blocks)
    names = sum(len(topic.scope) + len(topic.name) + sum(map(len, topic.columns)) for topic in commit.topics)
    configs = sum(len(dump_config(config.values)) for config in commit.configs)
    payloads = sum(block.size for block in commit.blocks)
    return _COMMIT_BYTES + items * _ITEM_BYTES + names + configs * _OBJECT_BYTES + payloads
