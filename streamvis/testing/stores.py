"""What every engine of `streamvis.storage` promises."""
# ruff: noqa: S101 - a contract suite is made of asserts

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar

import numpy as np
import pytest

from streamvis.clock import steady_time
from streamvis.codec import EncodedBlock, decode, encode
from streamvis.columns import Block
from streamvis.errors import ConflictError, NotFoundError, UsageError
from streamvis.records import (
    CONFIGS,
    Ack,
    Batch,
    Config,
    Declaration,
    Size,
    Status,
    Topic,
    TopicSize,
    Usage,
    unpack_cursor,
)
from streamvis.storage.base import TIMELINES, Commit, Store, Submission

COLUMNS = ("x", "y")


class StoreStream:
    """A writer's stream to a store: what the server keeps of it, and the number of the next batch."""

    def __init__(self, writer: str = "writer", number: int = 1) -> None:
        self.writer = writer
        self.number = number
        self.bindings: dict[int, int] = {}

    def next(
        self,
        *blocks: EncodedBlock,
        declare: Sequence[Declaration] = (),
        configs: Sequence[Config] = (),
        status: Status | None = None,
        number: int | None = None,
    ) -> Submission:
        """The next batch, or the one of that number."""
        if number is None:
            number = self.number
            self.number += 1
        batch = Batch(self.writer, number, tuple(declare), tuple(configs), tuple(blocks), status)
        return Submission(batch, self.bindings)


def loss(
    handle: int = 1,
    name: str = "loss",
    *,
    scope: str = "run",
    columns: tuple[str, ...] = COLUMNS,
    replace: bool = False,
) -> Declaration:
    """Declares a name in scope `run` with the columns x and y."""
    return Declaration(handle, scope, name, columns, replace)


def points(*values: int, handle: int = 1, index: int = 0) -> EncodedBlock:
    """A block with those values of x under one index."""
    x = np.array([values], "<i8")
    return encode(Block(handle, index, {"x": x, "y": np.sqrt(np.abs(x))}))


def read(store: Store, topic: int, after: int = 0, max_bytes: int = 1 << 20) -> list[int]:
    """All values of x after a number, page by page."""
    return [
        value
        for block in pages(store, topic, after, store.seq(), max_bytes)
        for value in decode(block, COLUMNS).columns["x"].reshape(-1).tolist()
    ]


def pages(store: Store, topic: int, after: int, upto: int, max_bytes: int) -> Iterator[EncodedBlock]:
    """The blocks of a topic between two numbers, page by page."""
    page = None
    while page is None or not page.done:
        page = store.page(topic, after, upto, max_bytes, page)
        assert page.blocks or page.done, "a page without blocks is the last"
        yield from page.blocks


def series(blocks: Iterable[EncodedBlock], columns: Sequence[str] = COLUMNS) -> dict[int, list[tuple[bytes, ...]]]:
    """The points under each index in order, bit by bit, however they are cut into blocks."""
    found: dict[int, list[tuple[bytes, ...]]] = {}
    for block in blocks:
        for index, arrays in decode(block, columns).series():
            rows = zip(*([value.tobytes() for value in array] for array in arrays.values()), strict=True)
            found.setdefault(index, []).extend(rows)
    return {index: rows for index, rows in sorted(found.items()) if rows}


def append(store: Store, *submissions: Submission) -> Commit:
    """Appends in one transaction; every batch must be stored whole."""
    acks, commit = store.append(submissions)
    assert all(ack.stored and not ack.rejected for ack in acks), acks
    return commit


class StoreContract(ABC):
    """Every promise of `streamvis.storage.base`, one test each."""

    durable: ClassVar[bool] = True
    """Whether a store that is opened again where one was closed has its data."""

    @abstractmethod
    def open(self, directory: Path) -> Store:
        """A store that keeps its data in that directory, if anywhere; empty the first time."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """An empty store."""
        store = self.open(tmp_path)
        yield store
        store.close()

    # ---- what writers say about themselves

    def test_the_latest_status_of_each_writer_is_kept(self, store: Store) -> None:
        """It is no change for readers; a batch that was stored before does not bring its old one back."""
        first, second = StoreStream("a"), StoreStream("b")
        running, finished = (Status("run", state, 10, 1, 2, '{"points": 3}') for state in ("running", "finished"))
        repeated = first.next(points(1), declare=[loss()], status=running)
        began = steady_time()
        append(store, repeated, second.next(status=replace(running, started=0.5)))
        seq = store.seq()
        append(store, first.next(status=finished), second.next())
        store.append([Submission(repeated.batch, {})])
        assert store.seq() == seq
        reports = store.reports()
        assert [(it.writer, it.status) for it in reports] == [("b", replace(running, started=0.5)), ("a", finished)]
        assert all(began <= report.heard <= steady_time() for report in reports)

    def test_statuses_of_scopes_in_the_trash_are_left_out(self, store: Store) -> None:
        """Until something is written there again, or it is restored."""
        stream = StoreStream()
        append(
            store,
            stream.next(declare=[loss()], configs=[Config("run", {"a": 1})], status=Status("run", "running", 10, 1, 2)),
        )
        append(
            store,
            StoreStream("b").next(configs=[Config("config", {"a": 1})], status=Status("config", "running", 10, 1, 2)),
        )
        append(store, StoreStream("c").next(status=Status("nothing", "running", 10, 1, 2)))
        assert [report.status.scope for report in store.reports()] == ["config", "nothing", "run"]
        store.delete("run")
        store.delete("config")
        assert [report.status.scope for report in store.reports()] == ["nothing"]
        store.restore("run")
        store.set_config(Config("config", {"b": 1}))
        assert [report.status.scope for report in store.reports()] == ["config", "nothing", "run"]

    # ---- one clock

    def test_every_change_has_its_own_number(self, store: Store) -> None:
        """Declarations, configs, blocks and tombstones count on one clock, from 1."""
        assert store.seq() == 0
        commit = append(
            store, StoreStream().next(points(1), points(2), declare=[loss()], configs=[Config("run", {"lr": 1})])
        )
        assert commit.seq == store.seq() == 4
        assert commit.topics == (Topic(1, "run", "loss", COLUMNS),)
        assert store.set_config(Config("run", {"lr": 2})).seq == 5
        assert store.delete("run", ["loss"]).seq == store.seq() == 6

    def test_a_commit_tells_what_it_changed(self, store: Store) -> None:
        """Blocks of a commit carry topic ids and come in the order in which they were sent."""
        sent = [points(1, handle=7), points(2, handle=8), points(3, handle=7)]
        commit = append(store, StoreStream().next(*sent, declare=[loss(7), loss(8, "accuracy")]))
        first, second = (topic.id for topic in commit.topics)
        assert [block.topic for block in commit.blocks] == [first, second, first]
        assert [(block.payload, block.crc) for block in commit.blocks] == [(block.payload, block.crc) for block in sent]

    def test_cursor_of_an_ack_is_the_number_of_its_commit(self, store: Store) -> None:
        """A reader that starts from an ack's cursor gets nothing of that batch, and all after it."""
        stream = StoreStream()
        (ack,), commit = store.append([stream.next(points(1), declare=[loss()])])
        assert unpack_cursor(ack.cursor) == {store.timeline: commit.seq}
        append(store, stream.next(points(2)))
        assert read(store, commit.topics[0].id, after=commit.seq) == [2]

    def test_reading_while_writing_misses_and_repeats_nothing(self, store: Store) -> None:
        """A reader in another thread that follows the numbers gets every point once, in order."""
        stream = StoreStream()
        topic = append(store, stream.next(declare=[loss()])).topics[0].id
        seen: list[int] = []
        written = Event()

        def follow() -> None:
            after, last = 0, False
            while not last:
                last = written.is_set()
                upto = store.seq()
                page = store.page(topic, after, upto, 1 << 30)
                for block in page.blocks:
                    seen.extend(decode(block, COLUMNS).columns["x"].reshape(-1).tolist())
                after = upto
                store.checkpoint()

        reader = Thread(target=follow)
        reader.start()
        for value in range(200):
            append(store, stream.next(points(value), points(-value)))
        written.set()
        reader.join()
        assert seen == [sign * value for value in range(200) for sign in (1, -1)]

    # ---- exactly once

    def test_a_repeated_batch_is_a_no_op(self, store: Store) -> None:
        """A batch seen before, in this group or earlier, is acknowledged and changes nothing."""
        stream = StoreStream()
        first = stream.next(points(1), declare=[loss()], configs=[Config("run", {"lr": 1})])
        topic = append(store, first, first).topics[0].id
        commit = append(store, first)
        assert (commit.seq, commit.topics, commit.configs, commit.blocks) == (3, (), (), ())
        append(store, stream.next(points(2)), first)
        assert read(store, topic) == [1, 2]

    def test_a_gap_is_answered_with_the_number_expected(self, store: Store) -> None:
        """Batches beyond the next number are refused whole, however many; the expected one then goes in."""
        stream = StoreStream()
        early = [stream.next(points(n), declare=[loss()], number=n) for n in (2, 3)]
        acks, commit = store.append(early)
        assert acks == [Ack(2, expected=1), Ack(3, expected=1)]
        assert (commit, store.seq(), stream.bindings) == (Commit(0), 0, {})
        topic = append(store, stream.next(points(1), declare=[loss()]), *early).topics[0].id
        assert read(store, topic) == [1, 2, 3]

    def test_writers_are_numbered_apart(self, store: Store) -> None:
        """Two writers under one name share its topic, each with its own numbers."""
        one, two = StoreStream("one"), StoreStream("two")
        commit = append(store, one.next(points(1), declare=[loss()]), two.next(points(2), declare=[loss()]))
        assert len(commit.topics) == 1
        append(store, two.next(points(3)), one.next(points(4)), one.next(points(5)))
        assert read(store, commit.topics[0].id) == [1, 2, 3, 4, 5]

    def test_a_batch_without_blocks_counts(self, store: Store) -> None:
        """An empty batch advances its writer."""
        stream = StoreStream()
        append(store, stream.next())
        assert store.append([stream.next(number=3)])[0] == [Ack(3, expected=2)]

    # ---- handles and declarations

    def test_bindings_last_for_the_stream(self, store: Store) -> None:
        """A later batch, in the same group or not, uses handles without declaring them again."""
        stream = StoreStream()
        commit = append(store, stream.next(declare=[loss()]), stream.next(points(1)))
        append(store, stream.next(points(2)))
        assert stream.bindings == {1: commit.topics[0].id}
        assert read(store, commit.topics[0].id) == [1, 2]

    def test_other_columns_are_rejected_alone(self, store: Store) -> None:
        """A declaration that disagrees loses its blocks, then and later, with a reason naming both sets."""
        topic = append(store, StoreStream("first").next(points(1), declare=[loss()])).topics[0].id
        stream = StoreStream("second")
        declare = [loss(1, columns=("x", "z")), loss(2, "accuracy")]
        (ack, later), commit = store.append(
            [stream.next(points(2), points(3, handle=2), declare=declare), stream.next(points(4), points(5, handle=2))]
        )
        assert ack.stored
        assert later.stored
        assert ack.rejected.keys() == later.rejected.keys() == {1}
        assert "x, y" in ack.rejected[1]
        assert "x, z" in ack.rejected[1]
        assert read(store, topic) == [1]
        assert read(store, commit.topics[0].id) == [3, 5]

    def test_a_repeated_batch_is_rejected_again(self, store: Store) -> None:
        """A writer that missed the ack still learns which of its blocks were left out."""
        append(store, StoreStream("first").next(declare=[loss()]))
        batch = StoreStream("second").next(points(1), declare=[loss(columns=("x", "z"))])
        (first,), _ = store.append([batch])
        assert store.append([batch])[0][0].rejected == first.rejected

    def test_replace_makes_a_new_topic(self, store: Store) -> None:
        """The live topic is tombstoned and a new id takes its name, even with other columns."""
        old = append(store, StoreStream("first").next(points(1), declare=[loss()])).topics[0]
        declare = loss(columns=("x", "y", "z"), replace=True)
        commit = append(store, StoreStream("second").next(declare=[declare]))
        gone, new = commit.topics
        assert gone == Topic(old.id, "run", "loss", COLUMNS, deleted=True)
        assert (new.id, new.columns, new.deleted) == (commit.seq, ("x", "y", "z"), False)
        assert store.catalog().topics == (new,)

    def test_a_repeated_replace_only_binds(self, store: Store) -> None:
        """A stream that starts over with a stored batch is bound to the topic that it made, and loses nothing."""
        batch = StoreStream().next(points(1), declare=[loss(replace=True)])
        topic = append(store, batch).topics[0].id
        again = StoreStream(number=2)
        assert append(store, Submission(batch.batch, again.bindings), again.next(points(2))).topics == ()
        assert read(store, topic) == [1, 2]

    def test_a_deleted_topic_is_gone_for_its_writers(self, store: Store) -> None:
        """A batch with such a handle is refused whole; declared again it goes in under the same number."""
        stream = StoreStream()
        old = append(store, stream.next(points(1), declare=[loss()], configs=[Config("run", {"lr": 1})])).topics[0].id
        store.delete("run")
        seq = store.seq()
        blocks = points(2), points(3, handle=2)
        refused = stream.next(*blocks, declare=[loss(2, "accuracy")], configs=[Config("run", {"lr": 2})], number=2)
        assert store.append([refused]) == ([Ack(2, gone=(1,))], Commit(seq))
        assert stream.bindings == {1: old}
        commit = append(store, stream.next(*blocks, declare=[loss(1), loss(2, "accuracy")]))
        assert [read(store, topic.id) for topic in commit.topics] == [[2], [3]]
        assert old not in {topic.id for topic in commit.topics}

    def test_a_topic_replaced_in_the_same_group_is_gone(self, store: Store) -> None:
        """What another stream replaces in the same transaction is deleted for the batches after it."""
        one, two = StoreStream("one"), StoreStream("two")
        append(store, one.next(declare=[loss()]))
        acks, _ = store.append([one.next(points(1)), two.next(declare=[loss(replace=True)]), one.next(points(2))])
        assert [ack.gone for ack in acks] == [(), (), (1,)]

    def test_a_topic_replaced_in_the_same_batch_is_gone(self, store: Store) -> None:
        """A batch that replaces a name under one handle and writes to it under another is refused, not stored half."""
        stream = StoreStream()
        commit = append(store, stream.next(declare=[loss()]))
        batch = stream.next(points(1), points(2, handle=2), declare=[loss(2, replace=True)])
        assert store.append([batch]) == ([Ack(2, gone=(1,))], Commit(commit.seq))
        assert store.catalog().topics == commit.topics

    def test_a_repeated_batch_does_not_bring_back_what_was_deleted(self, store: Store) -> None:
        """Its declaration makes no topic; the next batch learns that the topic is gone."""
        batch = StoreStream().next(points(1), declare=[loss()])
        append(store, batch)
        seq = store.delete("run").seq
        stream = StoreStream(number=2)
        acks, commit = store.append([Submission(batch.batch, stream.bindings), stream.next(points(2))])
        assert acks[0].stored
        assert acks[1] == Ack(2, gone=(1,))
        assert commit == Commit(seq)

    def test_many_topics_in_one_batch(self, store: Store) -> None:
        """Hundreds of names are declared, written and found again at once."""
        handles = range(1, 701)
        stream = StoreStream()
        commit = append(store, stream.next(declare=[loss(handle, f"loss{handle}") for handle in handles]))
        append(store, stream.next(*(points(handle, handle=handle) for handle in handles)))
        assert [read(store, topic.id) for topic in commit.topics] == [[handle] for handle in handles]

    @pytest.mark.parametrize("name", ["", "a/b c", "'; --", "Δ損失😀", "a\0b", "%s?{}"])
    def test_any_string_is_a_name(self, store: Store, name: str) -> None:
        """Scopes, names and writers are any text."""
        stream = StoreStream(name)
        declare = loss(scope=name, name=name)
        append(store, stream.next(points(1), declare=[declare], configs=[Config(name, {name: name})]))
        append(store, StoreStream("other").next(points(2), declare=[declare]), stream.next(points(3)))
        ((topic,), (config,)) = store.catalog().topics, store.catalog().configs
        assert (topic.scope, topic.name, config) == (name, name, Config(name, {name: name}))
        assert read(store, topic.id) == [1, 2, 3]

    # ---- configs

    def test_configs_merge_deeply(self, store: Store) -> None:
        """Later keys win, objects merge, and a commit has the whole config with its types."""
        first: dict[str, Any] = {"lr": 1, "net": {"width": 8, "act": "relu"}, "tags": ["a"]}
        append(store, StoreStream().next(configs=[Config("run", first), Config("other", {"lr": 1e-3})]))
        commit = store.set_config(Config("run", {"net": {"width": 1.0, "bias": True}, "tags": ["b"], "lr": None}))
        whole = {"lr": None, "net": {"width": 1.0, "act": "relu", "bias": True}, "tags": ["b"]}
        assert commit.configs == (Config("run", whole),)
        assert isinstance(commit.configs[0].values["net"]["width"], float)
        assert store.catalog().configs == (Config("other", {"lr": 1e-3}), Config("run", whole))

    def test_a_config_that_grows_too_large_is_left_out(self, store: Store) -> None:
        """Told under its handle, and the batch's other configs and blocks are stored; alone it is an error."""
        stream, half = StoreStream(), "x" * 600_000
        configs = [Config("run", {"a": half}), Config("run", {"b": half}), Config("run", {"c": 1})]
        (ack,), commit = store.append([stream.next(points(1), declare=[loss()], configs=configs)])
        assert ack.stored
        assert list(ack.rejected) == [CONFIGS]
        assert "'run' would have 12000" in ack.rejected[CONFIGS]
        assert [block.n for block in commit.blocks] == [1]
        with pytest.raises(UsageError, match="would have 12000"):
            store.set_config(Config("run", {"b": half}))
        assert store.catalog().configs == (Config("run", {"a": half, "c": 1}),)

    def test_configs_of_one_group_merge_in_order(self, store: Store) -> None:
        """Each batch's commit entry is the whole config as of that batch."""
        stream = StoreStream()
        commit = append(
            store,
            stream.next(configs=[Config("run", {"a": 1, "b": 1})]),
            stream.next(configs=[Config("run", {"b": 2})]),
        )
        assert [config.values for config in commit.configs] == [{"a": 1, "b": 1}, {"a": 1, "b": 2}]

    # ---- deleting

    def test_delete_takes_the_names_that_are_there(self, store: Store) -> None:
        """Tombstones stand in the commit and the catalog; other names, other scopes and the config stay."""
        declare = [loss(1, "a"), loss(2, "b"), loss(3, "a", scope="other")]
        append(store, StoreStream().next(declare=declare, configs=[Config("run", {"lr": 1})]))
        commit = store.delete("run", ["a", "unknown"])
        assert commit.topics == (Topic(1, "run", "a", COLUMNS, deleted=True),)
        assert [topic.id for topic in store.catalog().topics] == [2, 3]
        assert store.catalog().configs == (Config("run", {"lr": 1}),)

    def test_delete_takes_a_whole_scope(self, store: Store) -> None:
        """Without names all of the scope's topics go, and its config becomes empty, which is none."""
        declare = [loss(1, "a"), loss(2, "b"), loss(3, "a", scope="other")]
        before = append(store, StoreStream().next(declare=declare, configs=[Config("run", {"lr": 1})])).seq
        commit = store.delete("run")
        assert [(topic.id, topic.deleted) for topic in commit.topics] == [(1, True), (2, True)]
        assert commit.configs == (Config("run", {}),)
        assert [topic.id for topic in store.catalog().topics] == [3]
        assert store.catalog().configs == ()
        later = store.catalog(before)
        assert (later.topics, later.configs) == (commit.topics, commit.configs)

    def test_delete_of_nothing_is_an_error(self, store: Store) -> None:
        """A scope or names that are not there, or not there any more, raise NotFoundError and change nothing."""
        append(store, StoreStream().next(declare=[loss()]))
        for scope, names in [("other", []), ("run", ["other"])]:
            with pytest.raises(NotFoundError, match="other"):
                store.delete(scope, names)
        seq = store.delete("run").seq
        with pytest.raises(NotFoundError, match="run"):
            store.delete("run")
        assert store.seq() == seq

    # ---- the trash

    def test_restore_brings_a_topic_back_under_its_id(self, store: Store) -> None:
        """With its blocks, as a change of its own; it can be deleted and restored again."""
        topic = append(store, StoreStream().next(points(1), points(2), declare=[loss()])).topics[0].id
        for _ in range(2):
            deleted = store.delete("run", ["loss"])
            commit = store.restore("run", ["loss", "unknown"])
            restored = Topic(topic, "run", "loss", COLUMNS, restored=deleted.seq + 1)
            assert (commit.seq, commit.topics, commit.configs) == (deleted.seq + 1, (restored,), ())
            assert store.catalog().topics == store.catalog(deleted.seq).topics == (restored,)
            assert read(store, topic) == [1, 2]

    def test_restore_is_refused_while_the_name_is_in_use(self, store: Store) -> None:
        """Whether overwritten or deleted and written again: all or nothing, naming scope and name."""
        append(store, StoreStream("first").next(declare=[loss(), loss(2, "other")]))
        store.delete("run", ["other"])
        append(store, StoreStream("second").next(declare=[loss(replace=True)]))
        seq = store.seq()
        for names in (["loss"], ["loss", "other"], []):
            with pytest.raises(ConflictError, match="'run' has a live topic 'loss'"):
                store.restore("run", names)
        assert store.seq() == seq
        assert [topic.name for topic in store.restore("run", ["other"]).topics] == ["other"]

    def test_restore_takes_the_topic_that_was_deleted_last(self, store: Store) -> None:
        """Of several in the trash under one name; deleting that one again does not uncover the one before."""
        append(store, StoreStream("first").next(points(1), declare=[loss()]))
        append(store, StoreStream("second").next(points(2), declare=[loss(replace=True)]))
        for _ in range(2):
            store.delete("run")
            (topic,) = store.restore("run").topics
            assert read(store, topic.id) == [2]

    def test_restore_of_a_scope_brings_its_config_back(self, store: Store) -> None:
        """Keys that were set since the delete win; names alone bring no config, and purging the scope takes it."""
        config = Config("run", {"lr": 1, "net": {"width": 8}})
        append(store, StoreStream().next(declare=[loss()], configs=[config]))
        store.delete("run")
        assert store.restore("run", ["loss"]).configs == ()
        store.set_config(Config("run", {"net": {"depth": 2}, "lr": 2}))
        whole = Config("run", {"lr": 2, "net": {"width": 8, "depth": 2}})
        assert store.restore("run").configs == store.catalog().configs == (whole,)
        store.delete("run")
        assert store.purge("run") == 1
        with pytest.raises(NotFoundError, match="nothing of scope 'run'"):
            store.restore("run")

    def test_a_trash_without_it_is_an_error(self, store: Store) -> None:
        """What was never deleted, was restored, or was purged can be neither restored nor purged."""
        append(store, StoreStream().next(declare=[loss(), loss(2, "a"), loss(3, "b")]))
        store.delete("run", ["a", "b"])
        store.restore("run", ["a"])
        assert store.purge("run", ["b"]) == 1
        seq = store.seq()
        for scope, names in [("run", []), ("run", ["loss"]), ("run", ["a"]), ("run", ["b"]), ("other", [])]:
            with pytest.raises(NotFoundError, match=f"'{(names or [scope])[0]}'.*nothing was restored"):
                store.restore(scope, names)
            with pytest.raises(NotFoundError, match=f"'{(names or [scope])[0]}'.*nothing was purged"):
                store.purge(scope, names)
        assert store.seq() == seq

    def test_a_restored_topic_knows_its_writers(self, store: Store) -> None:
        """Whoever was bound to it writes on, and who declares the name is bound to it."""
        stream, other = StoreStream("one"), StoreStream("two")
        topic = append(store, stream.next(points(1), declare=[loss()])).topics[0].id
        store.delete("run")
        store.restore("run")
        assert append(store, stream.next(points(2)), other.next(points(3), declare=[loss()])).topics == ()
        assert read(store, topic) == [1, 2, 3]

    def test_a_purged_topic_is_gone_for_its_writers(self, store: Store) -> None:
        """As if it had only been deleted: declared again it is a new one."""
        stream = StoreStream()
        old = append(store, stream.next(points(1), declare=[loss()])).topics[0].id
        store.delete("run")
        store.purge("run")
        store.free()
        assert store.append([stream.next(points(2), number=2)])[0] == [Ack(2, gone=(1,))]
        (new,) = append(store, stream.next(points(2), declare=[loss()])).topics
        assert new.id > old
        assert read(store, new.id) == [2]

    def test_purge_leaves_what_lives_and_the_tombstone(self, store: Store) -> None:
        """No change for readers: a late cursor still hears of the delete, and the clock stands still."""
        append(store, StoreStream().next(points(1), points(2, handle=2), declare=[loss(), loss(2, "kept")]))
        before = store.seq()
        seq = store.delete("run", ["loss"]).seq
        assert store.purge("run") == 1
        while store.free():
            pass
        assert store.catalog(before).topics == (Topic(1, "run", "loss", (), deleted=True),)
        assert (store.seq(), read(store, 1), store.lengths(1), read(store, 2)) == (seq, [], {}, [2])

    def test_purged_blocks_are_freed_a_little_at_a_time(self, store: Store) -> None:
        """So many bytes a transaction, and writing goes on between them."""
        stream = StoreStream()
        doomed = [points(*range(1000), 5, handle=handle) for handle in (1, 2) for _ in range(3)]
        append(store, stream.next(*doomed, points(1, handle=3), declare=[loss(), loss(2, "b"), loss(3, "kept")]))
        store.delete("run", ["loss", "b"])
        assert not store.free()
        assert store.purge("run") == 2
        left = []
        while store.free(2 * doomed[0].size):
            append(store, stream.next(points(2, handle=3)))
            left.append(sum(read(store, topic) != [] for topic in (1, 2)))
        assert left == [2, 1]
        assert (read(store, 1), read(store, 2), read(store, 3)) == ([], [], [1, 2, 2])

    def test_sizes_are_those_of_what_lives_and_of_the_trash(self, store: Store) -> None:
        """Per scope and per topic, through deletes, restores, replacements and purges; nothing else is counted."""
        one, three = points(1), points(1, 2, 3)
        size = {block.n: len(block.columns) + len(block.payload) for block in (one, three)}
        wide = encode(Block(2, 5, {"x": np.arange(6).reshape(2, 3), "y": np.zeros((1, 1))}))
        stream = StoreStream()
        append(store, stream.next(declare=[loss(3, "empty", scope="other")]))
        append(store, stream.next(three, wide, declare=[loss(), loss(2, "wide")], configs=[Config("run", {"lr": 1})]))
        append(store, stream.next(one))
        both = Size(2, 4 + 6, size[3] + size[1] + len(wide.columns) + len(wide.payload))
        assert store.usage() == [Usage("other", Size(1)), Usage("run", both)]
        assert store.topic_sizes("run")[0] == TopicSize("run", "loss", 4, size[3] + size[1])
        assert [topic.name for topic in store.topic_sizes()] == ["empty", "loss", "wide"]
        assert store.topic_sizes(deleted=True) == []
        start = time.time()
        store.delete("run")
        assert store.usage() == [Usage("other", Size(1)), Usage("run", trash=both)]
        trash = store.topic_sizes("run", deleted=True)
        assert [(topic.name, topic.points) for topic in trash] == [("loss", 4), ("wide", 6), ("", 0)]
        assert all(start <= (topic.deleted or 0) <= time.time() for topic in trash)
        store.restore("run", ["loss"])
        assert [topic.name for topic in store.topic_sizes("run")] == ["loss"]
        append(store, stream.next(one, declare=[loss(replace=True)]))
        assert store.usage()[1].live == Size(1, 1, size[1])
        assert store.usage()[1].trash.points == 4 + 6
        store.purge("run")
        assert store.usage() == [Usage("other", Size(1)), Usage("run", Size(1, 1, size[1]))]
        assert store.topic_sizes(deleted=True) == []

    # ---- reading

    def test_catalog_after_a_number_has_what_changed(self, store: Store) -> None:
        """From the beginning only what lives; later, each changed topic and config once, as it is now."""
        stream = StoreStream()
        append(store, stream.next(declare=[loss(1, "a"), loss(2, "b"), loss(3, "c")]))
        before = store.set_config(Config("run", {"lr": 1})).seq
        append(store, stream.next(declare=[loss(4, "a", replace=True)]))
        store.delete("run", ["b"])
        store.set_config(Config("run", {"lr": 2}))
        catalog = store.catalog(before)
        assert [(topic.name, topic.deleted) for topic in catalog.topics] == [("a", True), ("a", False), ("b", True)]
        assert catalog.configs == (Config("run", {"lr": 2}),)
        assert catalog.seq == store.seq()
        assert [topic.name for topic in store.catalog().topics] == ["c", "a"]
        assert store.catalog(catalog.seq).topics == ()

    def test_the_catalog_of_some_scopes_is_that_part_of_the_whole(self, store: Store) -> None:
        """From the beginning and later, in the same order; scopes that are not there have nothing."""
        stream = StoreStream()
        scopes = ["one", "two", "three"]
        configs = [Config(scope, {"lr": 1}) for scope in scopes]
        declare = [loss(number, name, scope=scope) for number, (name, scope) in enumerate(product("ba", scopes))]
        before = append(store, stream.next(declare=declare, configs=configs)).seq
        store.delete("two", ["a"])
        append(store, stream.next(declare=[loss(9, "a", scope="one", replace=True), loss(10, "c", scope="three")]))
        for after, chosen in product((0, before), (["two"], ["three", "none", "one"], scopes, [])):
            whole, part = store.catalog(after), store.catalog(after, chosen)
            assert part == whole.only(chosen)
            assert {topic.scope for topic in part.topics} <= set(chosen)

    def test_pages_are_bounded_and_complete(self, store: Store) -> None:
        """A page has as many blocks as fit, at least one, and the next begins where it ended."""
        stream = StoreStream()
        sent = [points(*range(n)) for n in range(1, 30)]
        topic = append(store, stream.next(*sent, declare=[loss()])).topics[0].id
        upto = store.seq()
        append(store, stream.next(points(99)))
        for max_bytes in (1, sent[3].size, sent[0].size + sent[1].size, 5000, 1 << 30):
            got: list[EncodedBlock] = []
            page = None
            while page is None or not page.done:
                page = store.page(topic, 0, upto, max_bytes, page)
                assert len(page.blocks) == 1 or sum(block.size for block in page.blocks) <= max_bytes
                got += page.blocks
            assert [block.payload for block in got] == [block.payload for block in sent]

    def test_a_page_ends_when_it_is_full(self, store: Store) -> None:
        """Blocks that fit exactly share a page, and no page is left for later that could have been filled."""
        sent = [points(value) for value in range(4)]
        topic = append(store, StoreStream().next(*sent, declare=[loss()])).topics[0].id
        page = store.page(topic, 0, store.seq(), 2 * sent[0].size)
        assert (len(page.blocks), page.done) == (2, False)
        rest = store.page(topic, 0, store.seq(), 2 * sent[0].size, page)
        assert (len(rest.blocks), rest.done) == (2, True)
        assert store.page(topic, rest.after, store.seq(), 1).done

    def test_a_page_of_nothing_is_done(self, store: Store) -> None:
        """An unknown topic, or one without blocks in the range, has one empty page."""
        topic = append(store, StoreStream().next(declare=[loss()])).topics[0].id
        for unknown in (topic, 12345):
            page = store.page(unknown, 0, 100, 100)
            assert (page.blocks, page.done) == ((), True)

    def test_a_number_beyond_the_clock_has_nothing_after_it(self, store: Store) -> None:
        """A cursor that this store never gave, up to 64 bits, is answered like one of the latest."""
        topic = append(store, StoreStream().next(points(1), declare=[loss()])).topics[0].id
        for far in (store.seq() + 1, 2**63 - 1, 2**64 - 1):
            assert (store.catalog(far).topics, store.page(topic, far, far, 100).blocks) == ((), ())
            assert len(store.page(topic, 0, far, 100).blocks) == 1

    def test_blocks_come_back_bit_by_bit(self, store: Store) -> None:
        """Shapes, lazy broadcasting, NaN payloads, -0.0 and empty columns survive."""
        odd = np.array([[0x7FF8000000000001], [0x8000000000000000]], "<u8").view("<f8")
        blocks = [
            encode(Block(1, 2**31 - 4, {"x": odd, "y": np.array([[True, False, True]])})),
            encode(Block(1, 0, {"x": np.zeros((3, 0), "<i4"), "y": np.zeros((1, 1), "<f4")})),
        ]
        topic = append(store, StoreStream().next(*blocks, declare=[loss()])).topics[0].id
        page = store.page(topic, 0, store.seq(), 1 << 20)
        fields = [(b.index, b.k, b.n, bytes(b.columns), bytes(b.payload), b.crc) for b in page.blocks]
        assert fields == [(b.index, b.k, b.n, b.columns, b.payload, b.crc) for b in blocks]
        assert {block.topic for block in page.blocks} == {topic}

    def test_lengths_count_points_under_each_index(self, store: Store) -> None:
        """A block of k indexes and n points adds n to each of the k."""
        step = np.arange(5, dtype="<i8").reshape(1, 5)
        wide = encode(Block(1, 1, {"x": step, "y": np.zeros((3, 1))}))
        stream = StoreStream()
        topic = append(store, stream.next(points(1, 2), wide, declare=[loss()])).topics[0].id
        append(store, stream.next(points(1, index=3)))
        assert list(store.lengths(topic).items()) == [(0, 2), (1, 5), (2, 5), (3, 6)]
        assert store.lengths(12345) == {}

    def test_blocks_are_few_and_have_all_points(self, store: Store) -> None:
        """What all pages hold between two numbers, with small blocks put together and none much over a megabyte."""
        stream = StoreStream()
        topic = self._mixed(store, stream)
        wide = encode(Block(1, 0, {"x": np.zeros((1, 200), "<i8"), "y": np.zeros((1, 1))}))
        append(store, stream.next(*[wide] * 1000))
        upto = store.seq()
        for after in (0, 7, 150, upto):
            blocks = list(store.blocks(topic, after, upto))
            assert series(blocks) == series(pages(store, topic, after, upto, 1 << 20))
            assert len(blocks) < 250
            assert max((block.n for block in blocks), default=0) < 100_000

    # ---- compaction

    def _mixed(self, store: Store, stream: StoreStream, count: int = 300) -> int:
        """A topic whose blocks change in shape, length, index and dtype; gives its id."""
        rng = np.random.default_rng(count)
        topic = append(store, stream.next(declare=[loss()])).topics[0].id
        for number in range(count):
            k, n = (3, int(rng.integers(0, 4))) if number % 100 > 90 else (1, int(rng.integers(1, 9)))
            x = np.full((1, 1), number) if number % 3 else rng.integers(0, 9, (1, n))
            y = rng.random((k, n)).astype("<f4" if 120 < number < 150 else "<f8")
            append(store, stream.next(encode(Block(1, int(rng.integers(0, 3)), {"x": x.astype("<i8"), "y": y}))))
        return topic

    def test_compaction_changes_nothing_that_is_read(self, store: Store) -> None:
        """Between any two numbers lie the same points in the same order, bit by bit, and as many."""
        topic = self._mixed(store, StoreStream())
        seq, lengths = store.seq(), store.lengths(topic)
        spans = [(after, upto) for after in range(0, seq, 23) for upto in {after, after + 1, after + 40, seq}]
        before = [series(pages(store, topic, *span, 1 << 20)) for span in spans]
        while store.compact() <= 0.0:
            pass
        for max_bytes in (1, 1 << 20):
            assert [series(pages(store, topic, *span, max_bytes)) for span in spans] == before
        assert (store.seq(), store.lengths(topic)) == (seq, lengths)

    def test_pages_miss_and_repeat_nothing_beside_compaction(self, store: Store) -> None:
        """Blocks merged, and written, between the pages of one reading change nothing of it."""
        stream = StoreStream()
        topic = self._mixed(store, stream)
        upto = store.seq()
        before = series(pages(store, topic, 7, upto, 1 << 20))
        got: list[EncodedBlock] = []
        for number, block in enumerate(pages(store, topic, 7, upto, 200)):
            got.append(block)
            if number % 3 == 0:
                append(store, stream.next(*(points(number, index=index) for index in (0, 0, 0, 1, 2))))
                store.compact()
        assert series(got) == before

    def test_writing_and_deleting_go_on_beside_compaction(self, store: Store) -> None:
        """What is written between its steps is merged too; a deleted topic is no obstacle."""
        stream = StoreStream()
        topic = self._mixed(store, stream, 60)
        old = append(store, stream.next(*(points(n, handle=2) for n in range(40)), declare=[loss(2, "old")]))
        for number in range(60):
            store.compact()
            append(store, stream.next(points(number, index=9)))
            if number == 30:
                store.delete("run", ["old"])
        while store.compact() <= 0.0:
            pass
        assert len(series(pages(store, topic, 0, store.seq(), 1 << 20))[9]) == 60
        assert read(store, old.topics[0].id) == list(range(40))

    # ---- the life of a store

    def test_everything_is_there_when_opened_again(self, tmp_path: Path) -> None:
        """Topics, tombstones, configs, blocks, writers and the clock outlive the store."""
        if not self.durable:
            pytest.skip("this store promises nothing after its end")
        store, stream = self.open(tmp_path), StoreStream()
        declare = [loss(), loss(2, "old")]
        batch = stream.next(points(1), points(9, handle=2), declare=declare, configs=[Config("run", {"lr": 1})])
        topic = append(store, batch).topics[0].id
        for _ in range(2):
            store.delete("run")
            store.restore("run", ["loss"])
        store.purge("run", ["old"])
        timeline, catalog, changes = store.timeline, store.catalog(), store.catalog(1)
        store.close()
        store = self.open(tmp_path)
        assert (store.timeline, store.catalog(), store.catalog(1)) == (timeline, catalog, changes)
        append(store, batch, stream.next(points(2)))
        assert read(store, topic) == [1, 2]
        assert store.seq() == catalog.seq + 1
        assert not store.free()
        assert read(store, 2) == []
        assert store.restore("run").configs == (Config("run", {"lr": 1}),)
        store.close()

    def test_no_two_stores_have_one_timeline(self, tmp_path: Path) -> None:
        """So that a reader of one is never taken for a reader of another, whatever they hold."""
        with closing(self.open(tmp_path / "one")) as one, closing(self.open(tmp_path / "other")) as other:
            assert one.timeline != other.timeline
            assert all(store.timeline in TIMELINES for store in (one, other))

    def test_close_and_checkpoint_at_any_time(self, store: Store) -> None:
        """Checkpoints change nothing that is read, and a second close does nothing."""
        topic = append(store, StoreStream().next(points(1), declare=[loss()])).topics[0].id
        store.checkpoint()
        assert read(store, topic) == [1]
        store.close()
        store.checkpoint()
        store.close()
