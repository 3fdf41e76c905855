"""`streamvis check` and `backup`: what was altered or cut is refused or named, and never read as something else."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from streamvis.codec import encode
from streamvis.columns import Block
from streamvis.errors import ConflictError, MalformedError, NotFoundError, StoreError, StoreFormatError
from streamvis.records import Config
from streamvis.storage import SqliteStore
from streamvis.storage.backup import back_up
from streamvis.storage.check import check
from streamvis.testing import StoreStream, append, loss, points, series


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """Compaction has an end, also for what the tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamvis.storage.compaction.REST_SECONDS", 0.0)
        yield


def fill(store: SqliteStore) -> None:
    """Merged blocks and small ones, large ones, two topics, a config, and a deleted topic that was purged."""
    stream, rng = StoreStream(), np.random.default_rng(0)
    append(store, stream.next(declare=[loss(), loss(2, "other"), loss(3, "gone")], configs=[Config("run", {"lr": 1})]))
    for number in range(60):
        append(store, stream.next(points(number, 3, 1), points(number, handle=2, index=number % 3)))
    while store.compact() <= 0.0:
        pass
    wide = encode(Block(2, 0, {"x": rng.integers(0, 1 << 40, (1, 3000)), "y": rng.random((1, 3000))}))
    append(store, stream.next(wide, *(points(n) for n in range(20)), points(1, handle=3)))
    store.delete("run", ["gone"])
    store.purge("run", ["gone"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a file that `fill` made."""
    prefix = tmp_path_factory.mktemp("whole") / "data"
    with closing(SqliteStore(prefix)) as store:
        fill(store)
    return prefix.with_suffix(".sqlite").read_bytes()


@pytest.fixture
def restored(tmp_path: Path) -> Callable[[bytes], Path]:
    """Puts bytes where a store expects them, and gives the prefix."""

    def restore(data: bytes) -> Path:
        for path in tmp_path.glob("data.sqlite*"):
            path.unlink()
        (tmp_path / "data.sqlite").write_bytes(data)
        return tmp_path / "data"

    return restore


def test_a_sound_file_is_said_to_be_sound(tmp_path: Path) -> None:
    """Beside the store that writes it, and after; every block and point of it was read."""
    with closing(SqliteStore(tmp_path / "data")) as store:
        fill(store)
        counted: list[int] = []
        report = check(tmp_path / "data", counted.append)
        assert (report.topics, report.points, report.damages) == (3, 60 * 3 + 60 + 3000 + 20, [])
        assert counted == list(range(1, report.blocks + 1))
        append(store, StoreStream("other").next(points(1), declare=[loss()]))
        assert store.free() is False
    assert check(tmp_path / "data").damages == []


@contextmanager
def altering(prefix: Path) -> Iterator[sqlite3.Connection]:
    """Lets a block's fields be anything, NULL too, and says afterwards that they cannot be."""

    def swap(old: str, new: str) -> None:
        with closing(sqlite3.connect(f"{prefix}.sqlite", isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema=1")
            connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'block'", (old, new))

    swap(" NOT NULL", " /*NN*/ ")
    with closing(sqlite3.connect(f"{prefix}.sqlite", isolation_level=None)) as connection:
        yield connection
    swap(" /*NN*/ ", " NOT NULL")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("payload = CAST(zeroblob(length(payload)) AS BLOB)", "its CRC does not match"),
        ("payload = 'text'", "has no bytes where they should be"),
        ("payload = NULL", "has no bytes where they should be"),
        ("n = n + 1", "has"),
        ("idx = 'first'", "str"),
        ("columns = x'0102'", "block header has 2 bytes"),
        ("topic_id = 12345", "there is no topic 12345"),
        ("parts = zeroblob(40)", "parts|payload|codec|column"),
    ],
)
def test_a_damaged_block_is_named(whole: bytes, restored: Callable[[bytes], Path], change: str, reason: str) -> None:
    """By its number, scope and name, with what is wrong; fetching it is an error, and compaction goes round it."""
    prefix = restored(whole)
    with altering(prefix) as connection:
        ((seq,),) = connection.execute("SELECT max(seq) FROM block WHERE parts IS NOT NULL AND topic_id = 1")
        connection.execute(f"UPDATE block SET {change} WHERE seq = ?", (seq,))
    damages = [damage for damage in check(prefix).damages if damage.block]
    assert [damage.block for damage in damages] == [seq]
    assert re.search(reason, damages[0].reason)
    if not change.startswith("topic_id"):
        assert (damages[0].scope, damages[0].name) == ("run", "loss")
        with closing(SqliteStore(prefix)) as store:
            while store.compact() <= 0.0:
                pass
            with pytest.raises((StoreError, MalformedError)):
                series(store.blocks(1, 0, store.seq()))
            assert len(series(store.blocks(2, 0, store.seq()))[0]) == 3000 + 20


@pytest.mark.parametrize(
    ("change", "what", "scope"),
    [
        ("topic SET name = 'losr' WHERE id = 1", "topic 1", "run"),
        ("topic SET scope = 'rum' WHERE id = 1", "topic 1", "rum"),
        ("""topic SET columns = '["x", "q"]' WHERE id = 1""", "topic 1", "run"),
        ("topic SET columns = 'x' WHERE id = 1", "topic 1", "run"),
        ("topic SET deleted = 1, changed = 9 WHERE id = 1", "topic 1", "run"),
        ("""scope SET config = '{"lr": 9}'""", "the config of 'run'", "run"),
        ("scope SET config = 'x'", "the config of 'run'", "run"),
        ("scope SET name = 'rum'", "the config of 'rum'", "rum"),
    ],
)
def test_a_damaged_topic_or_config_is_named(
    whole: bytes, restored: Callable[[bytes], Path], change: str, what: str, scope: str
) -> None:
    """Also one that can be read, as something else."""
    prefix = restored(whole)
    with closing(sqlite3.connect(f"{prefix}.sqlite")) as connection, connection:
        connection.execute(f"UPDATE {change}")
    damage, *_ = check(prefix).damages  # and the blocks of a topic that cannot be read
    assert (damage.what, damage.scope) == (what, scope)


def everything(prefix: Path) -> Iterator[object]:
    """All points of all topics of a store that opens, all topics and all configs."""
    with closing(SqliteStore(prefix)) as store:
        yield store.catalog()
        yield store.catalog(after=1)
        for topic in (1, 2):
            yield series(store.blocks(topic, 0, store.seq()))


def outcome(prefix: Path, expected: list[object]) -> str:
    """What a file that is not whole is: refused, named, the same, or else."""
    try:
        damages = check(prefix).damages
    except StoreError:
        with pytest.raises(StoreError):
            list(everything(prefix))
        return "refused"
    if damages:
        with suppress(StoreError, MalformedError):
            list(everything(prefix))
        return "named"
    return "the same" if list(everything(prefix)) == expected else "something else"


def test_a_byte_that_was_altered_anywhere_is_refused_or_named(whole: bytes, restored: Callable[[bytes], Path]) -> None:
    """Or it changes nothing that is read, as where nothing is stored."""
    expected = list(everything(restored(whole)))
    chance, outcomes = random.Random(5), dict[str, int]()
    places = [*range(0, 100, 7), *(chance.randrange(len(whole)) for _ in range(180))]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        found = outcome(restored(bytes(data)), expected)
        assert found != "something else", f"bit of byte {place}"
        outcomes[found] = outcomes.get(found, 0) + 1
    assert outcomes["named"] > 50


def test_a_file_that_was_cut_anywhere_is_refused_or_named(whole: bytes, restored: Callable[[bytes], Path]) -> None:
    """Even in the middle of a page, or to nothing but its header; an empty one is a store without anything."""
    expected = list(everything(restored(whole)))
    chance = random.Random(6)
    for size in (1, 99, 100, 4096, len(whole) - 1, *(chance.randrange(1, len(whole)) for _ in range(30))):
        assert outcome(restored(whole[:size]), expected) in {"refused", "named"}, f"cut to {size} bytes"


def test_what_is_no_data_file_is_one_clear_line(tmp_path: Path) -> None:
    """A prefix without a file, and a file of somebody else."""
    with pytest.raises(NotFoundError, match=r"there is no .*data\.sqlite; expected the prefix"):
        check(tmp_path / "data")
    (tmp_path / "data.sqlite").write_text("x,y\n" * 100)
    with pytest.raises(StoreFormatError, match="is not a data file of streamvis"):
        check(tmp_path / "data")


def test_the_command_exits_with_1_for_damage(whole: bytes, restored: Callable[[bytes], Path]) -> None:
    """And prints a line for each damaged block, then the sum."""

    def run(prefix: Path, *options: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "streamvis", "check", str(prefix), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    prefix = restored(whole)
    code, lines = run(prefix)
    assert (code, lines[-1].rpartition(": ")[2]) == (0, "all sound")
    with closing(sqlite3.connect(f"{prefix}.sqlite")) as connection, connection:
        connection.execute("UPDATE block SET crc = crc + 1 WHERE seq = (SELECT max(seq) FROM block WHERE topic_id = 2)")
    code, lines = run(prefix)
    assert code == 1
    assert "(run other): block of topic 2, index 0 is damaged: its CRC does not match" in lines[0]
    assert lines[-1].endswith("1 damaged")
    assert '"damages": [{' in run(prefix, "--json")[1][0]


def test_a_copy_is_made_beside_a_store_that_writes(tmp_path: Path) -> None:
    """It is sound, has what was committed, and opens as a store that goes on from there."""
    with closing(SqliteStore(tmp_path / "data")) as store:
        fill(store)
        seq, losses = store.seq(), series(store.blocks(1, 0, store.seq()))
        assert back_up(tmp_path / "data", tmp_path / "copy") == tmp_path / "copy.sqlite"
        append(store, StoreStream("later").next(points(5), declare=[loss()]))
    assert check(tmp_path / "copy").damages == []
    with closing(SqliteStore(tmp_path / "copy")) as copy:
        assert (copy.seq(), series(copy.blocks(1, 0, seq))) == (seq, losses)
        assert copy.timeline != store.timeline, "what is stored here from now on is not what readers of the other get"
        append(copy, StoreStream("other").next(points(6), declare=[loss()]))


def test_a_copy_replaces_nothing_and_is_whole_or_not_there(
    tmp_path: Path, whole: bytes, restored: Callable[[bytes], Path]
) -> None:
    """What exists stays; what cannot be copied leaves no file behind."""
    prefix = restored(whole)
    with pytest.raises(ConflictError, match=r"data\.sqlite exists"):
        back_up(prefix, prefix)
    with pytest.raises(NotFoundError, match=r"there is no .*nothing\.sqlite"):
        back_up(tmp_path / "nothing", tmp_path / "copy")
    with pytest.raises(StoreError):
        back_up(restored(whole[:20_000]), tmp_path / "copy")
    with pytest.raises(StoreError):
        back_up(restored(whole), tmp_path / "no" / "such" / "directory")
    assert {path.name for path in tmp_path.iterdir()} <= {"data.sqlite", "data.sqlite-wal", "data.sqlite-shm"}
