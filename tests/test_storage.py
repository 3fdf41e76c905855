"""The engines keep the store's promises; SQLite keeps them through locks, foreign files, full disks and kill -9."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.errors import (
    ConflictError,
    MalformedError,
    NotFoundError,
    PluginError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    UsageError,
)
from streamvis.records import Batch, Config, Declaration, Size, Status, Usage, unpack_cursor
from streamvis.storage import MemoryStore, SqliteStore, Store, Submission, compactor, open_store, sqlite
from streamvis.storage.compaction import FAN_OUT
from streamvis.storage.rules import merge
from streamvis.testing import StoreContract, StoreStream, append, loss, pages, points, read, series


@pytest.fixture(autouse=True)
def impatient(resting_at_once: None) -> None:
    """Compaction has an end."""


class TestMemoryStore(StoreContract):
    """The oracle."""

    durable = False

    def open(self, directory: Path) -> Store:  # noqa: ARG002 - it keeps nothing there
        return MemoryStore()


class TestSqliteStore(StoreContract):
    """The default engine."""

    def open(self, directory: Path) -> Store:
        return SqliteStore(directory / "data")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data")
    yield store
    store.close()


# ---- both engines say the same

HANDLES = st.integers(1, 3)
DECLARATIONS = st.builds(
    Declaration,
    HANDLES,
    st.sampled_from(["run", "other"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([("x", "y"), ("x", "z")]),
    st.sampled_from([False, False, True]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 9), lambda below: st.dictionaries(st.sampled_from("pq"), below, max_size=2), max_leaves=4
)
CONFIGS = st.builds(
    Config, st.sampled_from(["run", "other"]), st.dictionaries(st.sampled_from("pq"), VALUES, max_size=2)
)
BATCHES = st.tuples(
    st.integers(0, 2),  # the stream
    st.sampled_from([1, 1, 1, 1, 0, -1, 2, 3]),  # its number, from the last stored
    st.lists(DECLARATIONS, max_size=2, unique_by=(lambda one: one.handle, lambda one: (one.scope, one.name))),
    st.lists(CONFIGS, max_size=1),
    st.lists(st.tuples(HANDLES, st.integers(0, 2), st.integers(0, 3)), max_size=4),
    st.sampled_from(
        [None, None, Status("run", "running", 10.0, 1.0, 2.0), Status("other", "finished", 10.0, 1.0, 3.0)]
    ),
)
STEPS = st.lists(
    st.one_of(
        st.lists(BATCHES, min_size=1, max_size=4),
        CONFIGS,
        st.tuples(
            st.sampled_from(["delete", "delete", "restore", "purge"]),
            st.sampled_from(["run", "other"]),
            st.lists(st.sampled_from(["a", "b"]), max_size=2),
        ),
        st.integers(1, 20_000),  # bytes to free
        st.just("reopen"),
    ),
    max_size=12,
)


@dataclass
class Server:
    """A store and its streams, as the server would keep them; two streams belong to one writer."""

    store: Store
    path: Path | None = None
    streams: list[tuple[str, dict[int, int]]] = field(default_factory=lambda: [("one", {}), ("one", {}), ("two", {})])
    numbers: dict[str, int] = field(default_factory=lambda: {"one": 0, "two": 0})

    def apply(self, step: Any) -> Any:
        if isinstance(step, Config):
            return self.store.set_config(step)
        if isinstance(step, int):
            return self.store.free(step)
        if step == "reopen":
            if self.path:
                self.store.close()
                self.store = SqliteStore(self.path)
            return None
        if isinstance(step, tuple):
            try:
                return getattr(self.store, step[0])(*step[1:])
            except (NotFoundError, ConflictError) as error:
                return type(error), str(error)
        acks, commit = self.store.append([self.submission(*batch) for batch in step])
        for (stream, *_), ack in zip(step, acks, strict=True):
            if ack.stored:
                writer = self.streams[stream][0]
                self.numbers[writer] = max(self.numbers[writer], ack.number)
        numbers = [unpack_cursor(ack.cursor).get(self.store.timeline) for ack in acks]
        acks = [replace(ack, cursor=b"") for ack in acks]
        return acks, numbers, commit, [bindings for _, bindings in self.streams]

    def submission(self, stream: int, ahead: int, *parts: Any) -> Submission:
        declare, configs, blocks, status = parts
        writer, bindings = self.streams[stream]
        sent = [points(*range(n + 1), handle=handle, index=index) for handle, index, n in blocks]
        number = max(1, self.numbers[writer] + ahead)
        return Submission(Batch(writer, number, tuple(declare), tuple(configs), tuple(sent), status), bindings)

    def everything(self) -> Any:
        seq = self.store.seq()
        catalogs = [self.store.catalog(after) for after in range(seq + 1)]
        pages = [self.store.page(topic, seq // 3, seq, 100) for topic in range(seq + 1)]
        lengths = [self.store.lengths(topic) for topic in range(seq + 1)]
        extents = [self.extents(topic, upto) for topic in range(seq + 1) for upto in (seq // 2, seq)]
        reports = {report.writer: report.status for report in self.store.reports()}
        return catalogs, pages, lengths, extents, reports, self.sizes()

    def extents(self, topic: int, upto: int) -> list[Any]:
        found = self.store.extents(topic, upto)
        return [(one.index, one.k, one.numbers.tolist(), one.points.tolist()) for one in found]

    def sizes(self) -> Any:
        found = [self.store.topic_sizes(scope, deleted=d) for scope in (None, "run", "other") for d in (False, True)]
        return self.store.usage(), [[replace(one, deleted=bool(one.deleted)) for one in sizes] for sizes in found]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_sqlite_says_what_memory_says(steps: list[Any]) -> None:
    """Any sequence of writes, configs, deletes, restores, purges and restarts gets the same answers and contents."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "data"
        servers = Server(MemoryStore()), Server(SqliteStore(path), path)
        try:
            for step in steps:
                memory, sqlite = (server.apply(step) for server in servers)
                assert memory == sqlite
                assert servers[0].sizes() == servers[1].sizes()
            memory, sqlite = (server.everything() for server in servers)
            assert memory == sqlite
        finally:
            for server in servers:
                server.store.close()


SPANS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from([1, 200, 1 << 20]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.one_of(STEPS, st.integers(1, 6)), max_size=6), spans=st.lists(SPANS, max_size=5))
def test_compacted_sqlite_says_what_memory_says(steps: list[Any], spans: list[tuple[int, int, int]]) -> None:
    """Compacted at any time, pages between any two numbers have the same points, and all else is as it was."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        for name, value in {"FAN_OUT": 2, "SLICE_BLOCKS": 4, "REST_SECONDS": 0.0}.items():
            patch.setattr(f"streamvis.storage.compaction.{name}", value)
        path = Path(directory) / "data"
        memory, sqlite = Server(MemoryStore()), Server(SqliteStore(path), path)
        try:
            for step in steps:
                if isinstance(step, int):
                    for _ in range(step):
                        sqlite.store.compact()
                else:
                    assert [memory.apply(one) for one in step] == [sqlite.apply(one) for one in step]
                assert without_bytes(memory.sizes()) == without_bytes(sqlite.sizes())
                assert {one.scope: one for one in sqlite.store.usage()} == slow_usage(path.with_suffix(".sqlite"))
            for topic in range(1, memory.store.seq() + 1):
                for after, upto, max_bytes in [*spans, (0, memory.store.seq(), 1 << 20)]:
                    one, other = (
                        series(pages(server.store, topic, after, upto, max_bytes)) for server in (memory, sqlite)
                    )
                    assert one == other
                assert memory.store.lengths(topic) == sqlite.store.lengths(topic)
        finally:
            memory.store.close()
            sqlite.store.close()


def without_bytes(sizes: Any) -> Any:
    usage, topics = sizes
    scopes = [(one.scope, replace(one.live, bytes=0), replace(one.trash, bytes=0)) for one in usage]
    return scopes, [[replace(one, bytes=0) for one in sizes if one.name] for sizes in topics]


def slow_usage(path: Path) -> dict[str, Usage]:
    """By reading every block."""
    found: dict[str, Usage] = {}
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT id, scope, deleted, sum(k * n), sum(length(block.columns) + length(payload) + "
            "coalesce(length(parts), 0)) FROM topic LEFT JOIN block ON topic_id = id "
            "WHERE topic.columns <> '[]' GROUP BY id"
        )
        for _, scope, deleted, points_, bytes_ in rows:
            before = found.get(scope, Usage(scope))
            size = before.trash if deleted else before.live
            size = Size(size.topics + 1, size.points + (points_ or 0), size.bytes + (bytes_ or 0))
            found[scope] = replace(before, **{"trash" if deleted else "live": size})
    return found


# ---- compaction


def compact(store: Store) -> int:
    steps = 1
    while store.compact() <= 0.0:
        steps += 1
    return steps


def wide_points(start: int, count: int) -> EncodedBlock:
    x = np.arange(start, start + count, dtype="<i8")[None]
    return encode(Block(1, 0, {"x": x, "y": np.random.default_rng(start).random((1, count))}))


def test_small_blocks_become_few(store: SqliteStore) -> None:
    """A long series in small blocks is a few large ones, none grown far beyond a megabyte per column, and smaller."""
    stream, count = StoreStream(), 200
    topic = append(store, stream.next(declare=[loss()])).topics[0].id
    for start in range(0, 2000 * count, 10 * count):
        append(store, stream.next(*(wide_points(start + part * count, count) for part in range(10))))
    size = sum(block.size for block in pages(store, topic, 0, store.seq(), 1 << 20))
    compact(store)
    blocks = list(pages(store, topic, 0, store.seq(), 1 << 20))
    assert len(blocks) < 40
    assert 100_000 < max(block.n for block in blocks) < 300_000
    assert sum(block.size for block in blocks) < 0.95 * size
    assert read(store, topic) == list(range(2000 * count))


def test_a_read_beside_a_compaction_step_does_not_wait(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what was committed before, while the step holds its transaction open."""
    append(store, StoreStream().next(*map(points, range(FAN_OUT)), declare=[loss()]))
    inside, gate = Event(), Event()

    def held(*arguments: Any, **options: Any) -> Any:
        inside.set()
        assert gate.wait(60)
        return compactor.merge(*arguments, **options)

    monkeypatch.setattr("streamvis.storage.compactor.merge", held)
    thread = Thread(target=compact, args=(store,))
    thread.start()
    try:
        assert inside.wait(60)
        monkeypatch.undo()
        assert read(store, 1) == list(range(FAN_OUT))
        assert thread.is_alive()
    finally:
        gate.set()
        thread.join()
    assert len(store.page(1, 0, store.seq(), 1 << 20).blocks) == 1
    assert read(store, 1) == list(range(FAN_OUT))


def test_a_topic_gained_before_the_start_is_compacted(tmp_path: Path) -> None:
    """What an earlier life of the store left in small blocks is found when it is opened again."""
    store = SqliteStore(tmp_path / "data")
    append(store, StoreStream().next(*map(points, range(FAN_OUT)), declare=[loss()]))
    store.close()
    store = SqliteStore(tmp_path / "data")
    compact(store)
    assert len(store.page(1, 0, store.seq(), 1 << 20).blocks) == 1
    assert compact(store) == 1
    store.close()


def test_full_blocks_are_not_looked_at_again(store: SqliteStore) -> None:
    """A sweep begins where the last left something to do, and looks at a part of what it did."""
    stream, big = StoreStream(), wide_points(0, 200_000)
    append(store, stream.next(*[big] * 40, declare=[loss()]))
    compact(store)
    append(store, stream.next(*map(points, range(FAN_OUT + 1))))
    agenda = store._compactor._agenda
    assert agenda
    seen: list[int] = []
    while store.compact() <= 0.0:
        if sweep := agenda.current:
            seen.append(sweep.position)
    assert all(position > 40 for position in seen)
    assert len(store.page(1, 41, store.seq(), 1 << 30).blocks) == 1


def test_a_damaged_block_is_left_alone(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    """It is named once with its topic and number; those around it are merged, and nothing is lost."""
    stream = StoreStream()
    topic = append(store, stream.next(*map(points, range(3 * FAN_OUT)), declare=[loss()])).topics[0].id
    damaged = topic + 20
    store._writer.execute("UPDATE block SET crc = crc + 1 WHERE seq = ?", (damaged,))
    for _ in range(2):
        compact(store)
        append(store, stream.next(*map(points, range(3 * FAN_OUT))))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert f"block {damaged} of topic {topic} is damaged" in messages[0]
    blocks = store.page(topic, 0, topic + 3 * FAN_OUT, 1 << 20).blocks
    assert sum(block.n for block in blocks) == 3 * FAN_OUT
    assert len(blocks) < 20
    with pytest.raises(MalformedError, match="is damaged"):
        read(store, topic)


def test_a_full_disk_stops_compaction_and_loses_nothing(tmp_path: Path) -> None:
    """The step is refused whole, and made when there is space again."""
    store, stream = SqliteStore(tmp_path / "data"), StoreStream()
    count = 2000
    for start in range(0, 40 * count, count):
        append(store, stream.next(wide_points(start, count), declare=[loss()]))
    store.checkpoint()
    with full_disk(10_000), pytest.raises(StoreFullError):
        compact(store)
    assert read(store, 1) == list(range(40 * count))
    compact(store)
    assert len(store.page(1, 0, store.seq(), 1 << 30).blocks) < 15
    assert read(store, 1) == list(range(40 * count))
    store.close()


# ---- opening


def test_open_store_takes_a_path_prefix(tmp_path: Path) -> None:
    """A prefix without a scheme is SQLite beside its lock file; missing directories are made."""
    store = open_store(str(tmp_path / "new" / "er" / "runs"))
    assert {"runs.sqlite", "runs.lock"} <= {path.name for path in (tmp_path / "new" / "er").iterdir()}
    store.close()


def test_open_store_takes_schemes() -> None:
    """`memory:` is built in; a scheme's own store gets the whole URL."""
    asked = []

    def engine(url: str) -> Store:
        asked.append(url)
        return MemoryStore()

    assert isinstance(open_store("memory:"), MemoryStore)
    open_store("postgresql://host/db", {"postgresql": engine})
    assert asked == ["postgresql://host/db"]


@pytest.mark.parametrize(
    ("prefix", "error", "message"),
    [
        ("postgresql://host/db", PluginError, "an extra that is not installed"),
        ("mystery://host", PluginError, "no store is installed for mystery://"),
        ("", UsageError, "names no file"),
        ("data/", UsageError, "names no file"),
    ],
)
def test_open_store_refuses_what_names_no_store(prefix: str, error: type[Exception], message: str) -> None:
    """Engines that are not installed and prefixes that are no file are one clear line."""
    with pytest.raises(error, match=message):
        open_store(prefix)


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """The data belongs to one store at a time; the message names the lock, and closing frees it."""
    first = SqliteStore(tmp_path / "data")
    with pytest.raises(StoreLockedError, match=r"data\.lock is locked: another server"):
        SqliteStore(tmp_path / "data")
    append(first, StoreStream().next(points(1), declare=[loss()]))
    first.close()
    SqliteStore(tmp_path / "data").close()


def foreign_sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(path: Path) -> None:
    SqliteStore(path.with_suffix("")).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_sqlite, "is not a data file of streamvis"),
        (newer, "has format 99; this version of streamvis reads format 1"),
        (lambda path: path.write_text("x,y\n1,2\n" * 100), "is not a data file of streamvis"),
        (lambda path: path.write_bytes(b"\x00"), "is not a data file of streamvis"),
    ],
)
def test_files_of_others_are_refused_untouched(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    """A file that is not ours, or newer than we know, stays byte for byte as it was, and unlocked."""
    path = tmp_path / "data.sqlite"
    make(path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    for _ in range(2):
        with pytest.raises(StoreFormatError, match=message):
            SqliteStore(tmp_path / "data")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert {p.name for p in tmp_path.iterdir()} == {"data.sqlite", "data.lock"}


def test_a_path_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """A file where a directory should be, or a directory in the file's place, is a StoreError that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteStore(tmp_path / "file" / "data")
    (tmp_path / "data.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"data\.sqlite cannot be used"):
        SqliteStore(tmp_path / "data")


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """What is left of a start that was killed before its first page is no obstacle."""
    (tmp_path / "data.sqlite").touch()
    SqliteStore(tmp_path / "data").close()


@pytest.mark.parametrize("timeline", [-1, 1 << 40])
def test_a_damaged_clock_is_one_line(timeline: int, tmp_path: Path) -> None:
    """A number that no store draws would not fit a cursor."""
    SqliteStore(tmp_path / "data").close()
    with closing(sqlite3.connect(tmp_path / "data.sqlite")) as database:
        database.execute("UPDATE clock SET timeline = ?", (timeline,))
        database.commit()
    with pytest.raises(StoreDamagedError, match="is damaged: its clock says"):
        SqliteStore(tmp_path / "data")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """Garbage behind a good header is a StoreError, not a crash."""
    store = SqliteStore(tmp_path / "data")
    append(store, StoreStream().next(*(points(n) for n in range(1000)), declare=[loss()]))
    store.close()
    with (tmp_path / "data.sqlite").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 20000)
    with pytest.raises(StoreDamagedError, match=r"data\.sqlite is damaged .*`streamvis check .*data` says where"):
        SqliteStore(tmp_path / "data").seq()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Reading and writing after the end is one clear error."""
    store = SqliteStore(tmp_path / "data")
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.seq()
    with pytest.raises(StoreError, match="was closed"):
        store.append([])


# ---- a full disk


@contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """No file of this process may grow beyond that size, which fails like a full disk or quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stores_nothing_and_ends(tmp_path: Path) -> None:
    """The batch is refused whole, bindings stay, reading goes on, and with space it goes in as if nothing had been."""
    store, stream = SqliteStore(tmp_path / "data"), StoreStream()
    topic = append(store, stream.next(points(1), declare=[loss()])).topics[0].id
    catalog, bindings = store.catalog(), dict(stream.bindings)
    batch = stream.next(
        points(2),
        points(*range(1, 400_000, 3), 5, handle=2),
        declare=[loss(2, "big")],
        configs=[Config("run", {"a": 1})],
    )
    with full_disk(200_000):
        for _ in range(2):
            with pytest.raises(StoreFullError, match=r"no space left to write .*data\.sqlite"):
                store.append([batch])
            store.checkpoint()
        assert (store.catalog(), stream.bindings, read(store, topic)) == (catalog, bindings, [1])
    big = append(store, batch).topics[0].id
    assert read(store, topic) == [1, 2]
    assert len(read(store, big)) > 100_000
    store.close()
    again = SqliteStore(tmp_path / "data")
    assert read(again, topic) == [1, 2]
    again.close()


def test_sqlite_full_is_a_full_disk(store: SqliteStore) -> None:
    """SQLite's own word for it is understood, in every method that writes."""
    append(store, StoreStream().next(declare=[loss()]))
    store._writer.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreFullError, match="no space left"):
        store.set_config(Config("run", {"long": "x" * 100_000}))
    store._writer.execute("PRAGMA max_page_count=1000000")
    store.set_config(Config("run", {"long": "x" * 100_000}))


# ---- WAL and kill -9


def test_commits_survive_a_power_cut(store: SqliteStore) -> None:
    """Nothing here can cut the power: the settings that SQLite documents as safe for it are on."""
    for connection in (store._writer, store._checkpointer):
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "page_size")
        }
        assert found == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "page_size": 4096}


@pytest.mark.parametrize(
    ("limit", "count", "commits"),
    [(1 << 20, 12_000, 100), (sqlite.WAL_LIMIT, 500_000, 60)],
    ids=["a small limit", "the real one"],
)
def test_the_wal_stays_small_under_load(
    limit: int, count: int, commits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside checkpoints from another thread and readers, the committing thread starts the WAL over at its limit."""
    monkeypatch.setattr("streamvis.storage.sqlite.WAL_LIMIT", limit)
    store, stream, stop = SqliteStore(tmp_path / "data"), StoreStream(), Event()
    topic = append(store, stream.next(declare=[loss()])).topics[0].id

    def beside() -> None:
        while not stop.wait(0.01):
            store.checkpoint()
            store.page(topic, store.seq() - 10, store.seq(), 1 << 20)

    thread = Thread(target=beside)
    thread.start()
    largest = 0
    block = wide_points(0, count)
    for _ in range(commits):
        append(store, stream.next(block))
        largest = max(largest, (tmp_path / "data.sqlite-wal").stat().st_size)
    stop.set()
    thread.join()
    store.close()
    assert limit < largest < 4 * limit
    assert not (tmp_path / "data.sqlite-wal").exists()


CHILD = """
import sys
from streamvis.storage import open_store
from streamvis.testing import StoreStream, loss, points
store, first = open_store(sys.argv[1]), int(sys.argv[2])
stream = StoreStream(number=first)
for number in range(first, 1_000_000):
    (ack,), _ = store.append([stream.next(points(2 * number), points(2 * number + 1), declare=[loss()])])
    assert ack.stored
    print(number, flush=True)
    store.compact()
    if number % 20 == 0:
        store.checkpoint()
"""


def test_kill_9_keeps_exactly_what_was_acknowledged(tmp_path: Path) -> None:
    """Killed at random instants, a store has every acknowledged batch whole, at most one more, and nothing twice."""
    prefix, stored, chance = tmp_path / "data", 0, random.Random(9)
    for _ in range(3):
        command = [sys.executable, "-c", CHILD, str(prefix), str(stored + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            child.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.15))  # the instant of the kill, not a wait for anything
            os.kill(child.pid, signal.SIGKILL)
            acknowledged = stored + 1 + len(child.stdout.read().split("\n")[:-1])
        store = SqliteStore(prefix)
        (topic,) = store.catalog().topics
        values = read(store, topic.id)
        store.close()
        stored = len(values) // 2
        assert values == list(range(2, 2 * stored + 2))
        assert acknowledged <= stored <= acknowledged + 1


def test_merge_is_deep_and_leaves_its_arguments() -> None:
    """Objects merge, anything else is replaced, and neither side changes."""
    old, patch = {"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": {"e": 2}}, "d": {"f": 3}}
    assert merge(old, patch) == {"a": {"b": {"e": 2}, "c": [1]}, "d": {"f": 3}}
    assert (old["d"], patch["d"]) == (1, {"f": 3})
