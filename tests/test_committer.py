"""The committing thread: order, grouping, durability before publication, failures that stay where they belong."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamvis.codec import encode
from streamvis.columns import Block
from streamvis.errors import NotFoundError, StoreFullError, UnavailableError
from streamvis.records import Ack, Batch, Config, Declaration
from streamvis.server.committer import MAX_BATCHES, Committer
from streamvis.storage import Commit, MemoryStore, SqliteStore, Submission
from streamvis.testing import StoreStream, loss, points, read

WAIT = 10.0


class GatedStore(MemoryStore):
    """A store whose transactions wait for a gate, and that remembers their sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.groups: list[int] = []
        self.fail: Callable[[], None] = lambda: None

    def append(self, submissions: Sequence[Submission]) -> tuple[list[Ack], Commit]:
        self.entered.set()
        assert self.gate.wait(WAIT)
        self.groups.append(len(submissions))
        self.fail()
        return super().append(submissions)


@pytest.fixture
def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
def commits() -> list[Commit]:
    return []


@pytest.fixture
def committer(store: GatedStore, commits: list[Commit]) -> Iterator[Committer]:
    committer = Committer(store, commits.append)
    yield committer
    store.gate.set()
    committer.close()


def submission(number: int, name: str = "loss", writer: str = "w") -> Submission:
    return Submission(Batch(writer, number, (Declaration(1, "run", name, ("x",)),)), {})


def hold_first(committer: Committer, store: GatedStore) -> None:
    committer.append(submission(1))
    assert store.entered.wait(WAIT)


def test_batches_that_wait_share_a_transaction(committer: Committer, store: GatedStore) -> None:
    """What arrives while a transaction runs goes into the next one, in order, up to the limit."""
    hold_first(committer, store)
    waiting = [committer.append(submission(number)) for number in range(2, MAX_BATCHES + 12)]
    store.gate.set()
    assert [future.result(WAIT).number for future in waiting] == list(range(2, MAX_BATCHES + 12))
    assert store.groups == [1, MAX_BATCHES, 10]


def test_what_expires_is_refused(committer: Committer, store: GatedStore, commits: list[Commit]) -> None:
    """What is under way is stored; what waits behind it is refused, deletes too, and nothing of it happens."""
    hold_first(committer, store)
    waiting = [committer.append(submission(number)) for number in (2, 3)]
    deleting = committer.delete("run")
    committer.expire(0.0)
    store.gate.set()
    for future in (*waiting, deleting):
        with pytest.raises(UnavailableError, match="nothing was stored"):
            future.result(WAIT)
    committer.close()
    assert [topic.name for commit in commits for topic in commit.topics] == ["loss"]


def test_deletes_and_configs_keep_their_place(committer: Committer, store: GatedStore, commits: list[Commit]) -> None:
    """A delete between two batches sees the first and not the second."""
    hold_first(committer, store)
    committer.append(submission(2, "before"))
    deleted = committer.delete("run")
    last = committer.append(submission(3, "after"))
    config = committer.set_config(Config("run", {"lr": 1}))
    store.gate.set()
    assert {topic.name for topic in deleted.result(WAIT).topics} == {"loss", "before"}
    assert last.result(WAIT).stored
    assert config.result(WAIT).configs == (Config("run", {"lr": 1}),)
    assert [topic.name for topic in store.catalog().topics] == ["after"]
    assert [commit.seq for commit in commits] == sorted(commit.seq for commit in commits)


def test_purged_space_is_freed_between_other_work(
    committer: Committer, store: GatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step at a time, each behind what waits by then."""
    hold_first(committer, store)
    steps: list[int] = []

    def free() -> bool:
        steps.append(len(store.groups))
        return len(steps) < 3

    monkeypatch.setattr(store, "free", free)
    committer.delete("run")
    purged = committer.purge("run")
    committer.append(submission(2))
    store.gate.set()
    assert purged.result(WAIT) == 1
    committer.close()
    assert steps[:2] == [1, 2]


def test_what_a_purge_had_left_is_freed_at_the_start() -> None:
    """A server that was stopped in the middle goes on with it."""
    store = MemoryStore()
    block = encode(Block(1, 0, {"x": np.zeros((1, 10))}))
    store.append([Submission(replace(submission(1).batch, blocks=(block,)), {})])
    store.delete("run")
    store.purge("run")
    assert store.lengths(1) == {0: 10}
    Committer(store, lambda _: None).close()
    assert store.lengths(1) == {}


def test_a_failed_transaction_fails_its_batches_only(
    committer: Committer, store: GatedStore, commits: list[Commit]
) -> None:
    """A full disk reaches those who submitted; the thread lives on, and nothing is published for it."""
    store.gate.set()

    def full() -> None:
        raise StoreFullError("the disk is full")

    store.fail = full
    with pytest.raises(StoreFullError, match="disk is full"):
        committer.append(submission(1)).result(WAIT)
    with pytest.raises(NotFoundError):
        committer.delete("nowhere").result(WAIT)
    assert commits == []
    store.fail = lambda: None
    assert committer.append(submission(1)).result(WAIT).stored


def test_a_commit_is_published_before_its_acks(store: GatedStore) -> None:
    """Whoever has an ack can rely on the commit being on its way to readers."""
    published: list[int] = []
    committer = Committer(store, lambda commit: published.append(commit.seq))
    store.gate.set()
    committer.append(submission(1)).result(WAIT)
    assert published == [1]
    committer.close()


def test_cancelling_a_wait_does_not_undo_a_commit(committer: Committer, store: GatedStore) -> None:
    """A stream that ends while its batch waits must not break the transaction of the others."""
    hold_first(committer, store)
    mine, other = committer.append(submission(2)), committer.append(submission(1, writer="other"))
    assert not mine.cancel()
    store.gate.set()
    assert other.result(WAIT).stored
    assert mine.result(WAIT).stored


def test_close_stores_what_was_submitted_and_refuses_the_rest(store: GatedStore) -> None:
    """Nothing submitted before the end is left out, and nothing enters behind it."""
    committer = Committer(store, lambda _: None)
    futures = [committer.append(submission(number)) for number in range(1, 40)]
    store.gate.set()
    committer.close()
    assert all(future.done() and future.result().stored for future in futures)
    with pytest.raises(UnavailableError, match="stopping"):
        committer.append(submission(40))
    committer.close()


def test_checkpoints_run_beside_commits() -> None:
    """Housekeeping is called again and again, by a thread that commits nothing."""
    called = threading.Semaphore(0)
    threads = set()

    class Store(MemoryStore):
        def checkpoint(self) -> None:
            threads.add(threading.current_thread().name)
            called.release()

    committer = Committer(Store(), lambda _: None)
    for _ in range(2):
        assert called.acquire(timeout=WAIT)
    committer.close()
    assert threads == {"streamvis-checkpoint"}


class CompactedStore(MemoryStore):
    """A store that never has enough of compaction, and counts."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.steps = 0
        self.threads: set[str] = set()
        self.wait = 0.0
        self.fail = fail

    def compact(self) -> float:
        self.steps += 1
        self.threads.add(threading.current_thread().name)
        self.fail()
        return self.wait


def test_an_idle_committer_compacts(wait_until: Callable[..., None]) -> None:
    """Step after step while nothing is submitted, by the thread that commits; what is submitted goes between two."""
    store = CompactedStore()
    committer = Committer(store, lambda _: None)
    for number in range(1, 20):
        assert committer.append(submission(number)).result(WAIT).stored
    before = store.steps
    wait_until(lambda: store.steps > before + 10)
    committer.close()
    assert store.threads == {"streamvis-committer"}


def test_compaction_is_called_again_when_it_wants(wait_until: Callable[..., None]) -> None:
    """After the time that the last step named, without any commit; never when it named none."""
    store = CompactedStore()
    store.wait = 0.01
    committer = Committer(store, lambda _: None)
    wait_until(lambda: store.steps > 3)
    store.wait = math.inf
    wait_until(lambda: committer._compact_at == math.inf)
    steps = store.steps
    committer.append(submission(1)).result(WAIT)
    wait_until(lambda: store.steps > steps)
    committer.close()


def test_writers_without_a_pause_share_their_time_with_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is behind, each commit is followed by steps of it, though the queue is never empty."""
    monkeypatch.setattr("streamvis.server.committer.BEHIND_SECONDS", 0.5)
    monkeypatch.setattr("streamvis.server.committer.PAUSE_SECONDS", 1e6)
    store, hold = CompactedStore(), threading.Event()
    store.wait = -1.0
    monkeypatch.setattr(store, "free", lambda: not hold.wait(WAIT))
    committer = Committer(store, lambda _: None)
    seen: list[int] = []
    futures = [committer._call(lambda: seen.append(store.steps)) for _ in range(20)]
    hold.set()
    for future in futures:
        future.result(WAIT)
    assert len(set(seen)) == 20
    store.wait = math.inf
    committer.close()


def test_compaction_ends_when_there_is_nothing_left(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Small blocks of an idle server become one; then the committer waits for the next batch."""
    store, stream = SqliteStore(tmp_path / "data"), StoreStream()
    committer = Committer(store, lambda _: None)
    committer.append(stream.next(*map(points, range(64)), declare=[loss()])).result(WAIT)
    wait_until(lambda: len(store.page(1, 0, store.seq(), 1 << 20).blocks) == 1)
    committer.append(stream.next(points(64))).result(WAIT)
    assert read(store, 1) == list(range(65))
    wait_until(lambda: committer._compact_at > time.monotonic())
    committer.close()
    store.close()


def test_compaction_that_fails_stops_no_commits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    """It is said once, and tried again later, after a commit."""

    def full() -> None:
        raise StoreFullError("no space left")

    store = CompactedStore(full)
    committer = Committer(store, lambda _: None)
    wait_until(lambda: store.steps == 1)
    for number in range(1, 4):
        assert committer.append(submission(number)).result(WAIT).stored
    assert [record.getMessage() for record in caplog.records] == [
        "compaction failed and will be tried again in 10 s: no space left"
    ]
    store.fail = lambda: None
    monkeypatch.setattr(committer, "_rest_until", 0.0)
    committer.append(submission(4)).result(WAIT)
    wait_until(lambda: store.steps > 1)
    committer.close()
