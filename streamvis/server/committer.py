"""One thread that commits: whatever arrived while the last transaction ran goes into the next one.

When nothing arrives it compacts the store, a small step at a time. Writers that leave it no pause soon share their time
with it: the small blocks that wait stay few, however long the writing goes on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from streamvis.errors import StreamvisError, UnavailableError
from streamvis.records import Ack, Config
from streamvis.storage.base import Commit, Store, Submission

MAX_BATCHES = 256
MAX_BYTES = 16 << 20
CHECKPOINT_SECONDS = 0.2

PAUSE_SECONDS = 0.005
"""When nothing was submitted for so long, compaction goes on."""
PATIENCE_SECONDS = 0.1
"""When its last step was so long ago, an instant without a submission is enough."""
BEHIND_SECONDS = 2.0
"""When it is so far behind, it gets as much time as the commits do; twice as much when twice as far, and so on."""
RETRY_SECONDS = 10.0
"""How long it rests after a step that failed: the disk may be full."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Append:
    submission: Submission
    size: int
    future: Future[Ack]


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    run: Callable[[], object]
    future: Future[Any]


_Item: TypeAlias = _Append | _Call | None


class Committer:
    """Runs all that writes to a store, in the order of submission, and publishes each commit once it is durable.

    Any thread may submit. `on_commit` is called by the committing thread, before the futures of that commit are
    resolved. A transaction that fails fails its own futures only.
    """

    def __init__(self, store: Store, on_commit: Callable[[Commit], None]) -> None:
        self._store = store
        self._on_commit = on_commit
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._held: list[_Item] = []  # the item, if any, that did not fit the last group
        self._compact_at = 0.0  # when there may be something to compact
        self._compacted = time.monotonic()
        self._rest_until = 0.0
        self._door = threading.Lock()  # nothing enters the queue behind its end
        self._closed = threading.Event()
        self._expires = math.inf
        self._threads = [
            threading.Thread(target=self._run, name="streamvis-committer"),
            threading.Thread(target=self._checkpoint, name="streamvis-checkpoint", daemon=True),
        ]
        self._call(self._free)  # what a purge had left when the server was stopped
        for thread in self._threads:
            thread.start()

    def append(self, submission: Submission) -> Future[Ack]:
        """Stores a batch; the ack is durable."""
        size = sum(block.size for block in submission.batch.blocks)
        item = _Append(submission, size, _uncancellable())
        self._submit(item)
        return item.future

    def set_config(self, config: Config) -> Future[Commit]:
        """Merges a config, in order with everything else."""
        return self._call(lambda: self._store.set_config(config))

    def delete(self, scope: str, names: Sequence[str] = ()) -> Future[Commit]:
        """Deletes topics, in order with everything else."""
        return self._call(lambda: self._store.delete(scope, names))

    def restore(self, scope: str, names: Sequence[str] = ()) -> Future[Commit]:
        """Restores topics from the trash, in order with everything else."""
        return self._call(lambda: self._store.restore(scope, names))

    def purge(self, scope: str, names: Sequence[str] = ()) -> Future[int]:
        """Empties the trash; then frees the space, a little at a time."""
        purged: Future[int] = self._call(lambda: self._store.purge(scope, names))
        self._call(self._free)
        return purged

    def expire(self, seconds: float) -> None:
        """What is not stored within so many seconds is refused: nobody was told that it is."""
        self._expires = time.monotonic() + seconds

    def close(self) -> None:
        """Returns when everything submitted so far is stored, or has expired; what comes later is refused."""
        with self._door:
            if not self._closed.is_set():
                self._closed.set()
                self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _free(self) -> None:
        """Each transaction goes behind what waits by then, so that purging much delays nobody for long."""
        try:
            if self._store.free():
                self._call(self._free)
        except UnavailableError:
            _log.info("the rest of what was purged is freed when the server is back")
        except StreamvisError as error:
            _log.warning("what was purged is not freed before the next purge or start: %s", error)

    def _call(self, run: Callable[[], object]) -> Future[Any]:
        item = _Call(run, _uncancellable())
        self._submit(item)
        return item.future

    def _submit(self, item: _Append | _Call) -> None:
        with self._door:
            if self._closed.is_set():
                raise _stopping()
            self._queue.put(item)

    def _run(self) -> None:
        for group in self._groups():
            start = time.monotonic()
            if start >= self._expires:
                for item in [group] if isinstance(group, _Call) else group:
                    item.future.set_exception(_stopping())
                continue
            if isinstance(group, _Call):
                self._commit_call(group)
            else:
                self._commit_group(group)
            if self._expires == math.inf:
                self._share(time.monotonic() - start)

    def _groups(self) -> Iterator[list[_Append] | _Call]:
        """Single calls, and runs of batches that fit one transaction."""
        while (item := self._held.pop() if self._held else self._next()) is not None:
            yield item if isinstance(item, _Call) else self._collect(item)

    def _next(self) -> _Item:
        """The next item; until it arrives the store is compacted."""
        now = time.monotonic()
        pause = PAUSE_SECONDS if now - self._compacted < PATIENCE_SECONDS else 0.0
        while self._compact_at < math.inf:
            try:
                return self._queue.get(timeout=max(pause, self._compact_at - now))
            except Empty:
                self._compact()
                now, pause = time.monotonic(), 0.0
        return self._queue.get()

    def _share(self, seconds: float) -> None:
        """After a commit that took so long: time for compaction that is behind."""
        now = start = time.monotonic()
        while (behind := now - self._compact_at) > BEHIND_SECONDS and now - start < seconds * behind / BEHIND_SECONDS:
            self._compact()
            now = time.monotonic()

    def _compact(self) -> None:
        try:
            wait = self._store.compact()
        except Exception as error:  # noqa: BLE001 - this thread must not die; what is stored stays as it was
            _log.warning("compaction failed and will be tried again in %.0f s: %s", RETRY_SECONDS, error)
            wait = RETRY_SECONDS
            self._rest_until = time.monotonic() + RETRY_SECONDS
        self._compacted = time.monotonic()
        self._compact_at = self._compacted + wait

    def _collect(self, first: _Append) -> list[_Append]:
        group, size = [first], first.size
        while len(group) < MAX_BATCHES:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if not isinstance(item, _Append) or size + item.size > MAX_BYTES:
                self._held.append(item)
                break
            group.append(item)
            size += item.size
        return group

    def _commit_group(self, group: Sequence[_Append]) -> None:
        try:
            acks, commit = self._store.append([item.submission for item in group])
            self._on_commit(commit)
        except Exception as error:  # noqa: BLE001 - handed to those who submitted; this thread must not die
            for item in group:
                item.future.set_exception(error)
        else:
            for item, ack in zip(group, acks, strict=True):
                item.future.set_result(ack)
            self._compact_at = min(self._compact_at, max(time.monotonic(), self._rest_until))

    def _commit_call(self, item: _Call) -> None:
        try:
            result = item.run()
            if isinstance(result, Commit):
                self._on_commit(result)
        except Exception as error:  # noqa: BLE001 - handed to the one who submitted; this thread must not die
            item.future.set_exception(error)
        else:
            item.future.set_result(result)

    def _checkpoint(self) -> None:
        while not self._closed.wait(CHECKPOINT_SECONDS):
            try:
                self._store.checkpoint()
            except StreamvisError as error:
                _log.warning("checkpoint failed, the next one will try again: %s", error)


def _stopping() -> UnavailableError:
    return UnavailableError("the server is stopping: nothing was stored; send again when it is back")


def _uncancellable() -> Future[Any]:
    """A future that counts as running: whoever stops waiting for it must not undo the commit of others."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future
