"""What readers are sent, from the store and from live commits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.codec import EncodedBlock, decode, encode
from streamvis.columns import Block
from streamvis.errors import ConflictError, MalformedError
from streamvis.filters import Patterns
from streamvis.records import Batch, Change, Config, Declaration, Query, Topic, pack_cursor, unpack_cursor
from streamvis.server.views import MESSAGE_BYTES, Selection, View, listings, live, messages, seq_of
from streamvis.storage import Commit, MemoryStore, Store, Submission


def block(topic: int, value: int) -> EncodedBlock:
    return encode(Block(topic, 0, {"x": np.array([[value]], "<i8")}))


class Writer:
    """Writes one number at a time into a store, and keeps the commits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.commits: list[Commit] = []
        self.written: dict[str, list[int]] = {}
        self.trash: dict[str, list[int]] = {}
        self._number = 0

    def write(self, name: str, value: int, *, scope: str = "run", replace: bool = False) -> None:
        self._number += 1
        declaration = Declaration(1, scope, name, ("x",), replace)
        batch = Batch("w", self._number, (declaration,), blocks=(block(1, value),))
        self.commits.append(self.store.append([Submission(batch, {})])[1])
        if replace and name in self.written:
            self.trash[name] = self.written.pop(name)
        self.written.setdefault(name, []).append(value)

    def delete(self, name: str) -> None:
        if values := self.written.pop(name, None):
            self.commits.append(self.store.delete("run", (name,)))
            self.trash[name] = values

    def restore(self, name: str) -> None:
        if name in self.trash and name not in self.written:
            self.commits.append(self.store.restore("run", (name,)))
            self.written[name] = self.trash.pop(name)


class Reader:
    """Applies changes as any reader would."""

    def __init__(self) -> None:
        self.topics: dict[int, Topic] = {}
        self.values: dict[int, list[int]] = {}
        self.configs: dict[str, Config] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for topic in change.topics:
                if topic.deleted:
                    self.topics.pop(topic.id, None)
                    self.values.pop(topic.id, None)
                else:
                    self.topics[topic.id] = topic
            self.configs.update({config.scope: config for config in change.configs})
            for encoded in change.blocks:
                points = decode(encoded, self.topics[encoded.topic].columns).columns["x"]
                self.values.setdefault(encoded.topic, []).extend(points[0].tolist())

    def written(self) -> dict[str, list[int]]:
        return {self.topics[topic].name: values for topic, values in self.values.items()}


def view(query: Query) -> View:
    return View(Selection(query, Patterns()), with_blocks=not query.catalog_only)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "replace", "delete", "delete", "restore", "restore", "live", "store"]),
        st.sampled_from(["a", "b", "other"]),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_a_reader_misses_nothing_and_repeats_nothing(operations: list[tuple[str, str]]) -> None:
    """Whatever mix of live commits and catching up brings it there, a reader holds what was written and still lives."""
    store = MemoryStore()
    writer, reader, position = Writer(store), Reader(), 0
    selected = view(Query(name_filters=("^.$",)))
    reader.apply(selected.catch_up(store))
    for value, (operation, name) in enumerate([*operations, ("live", "")]):
        if operation in {"write", "replace"}:
            writer.write(name, value, replace=operation == "replace")
        elif operation == "delete":
            writer.delete(name)
        elif operation == "restore":
            writer.restore(name)
        elif operation == "live":
            for commit in writer.commits[position:]:
                if selected.is_reloaded_by(commit):
                    reader.apply(selected.catch_up(store))
                reader.apply(live([selected], [commit], store.timeline))
            position = len(writer.commits)
        else:  # the position stays: commits that the store has told about come again
            reader.apply(selected.catch_up(store))
    assert reader.written() == {name: values for name, values in writer.written.items() if name != "other"}


def test_a_cursor_goes_on_where_it_stood() -> None:
    """A reader that comes back with a cursor gets the rest, the topics that its blocks need, and the deletions."""
    store = MemoryStore()
    writer, reader = Writer(store), Reader()
    for name in ("kept", "gone"):
        writer.write(name, 1)
    reader.apply(view(Query()).catch_up(store))
    cursor = pack_cursor({store.timeline: store.seq()})
    writer.write("kept", 2)
    writer.delete("gone")
    writer.write("new", 3)
    fresh = View(Selection(Query(), Patterns()), seq_of(cursor, store))
    reader.apply(fresh.catch_up(store))
    assert reader.written() == {"kept": [1, 2], "new": [3]}


def test_an_old_cursor_gets_a_restored_topic_whole() -> None:
    """Whether its reader heard of the delete or not; one whose cursor is later goes on where it stood."""
    store = MemoryStore()
    writer, reader = Writer(store), Reader()
    writer.write("loss", 1)
    reader.apply(view(Query()).catch_up(store))
    cursors = [store.seq()]
    writer.delete("loss")
    cursors.append(store.seq())
    writer.restore("loss")
    cursors.append(store.seq())
    writer.write("loss", 2)
    for cursor, values in zip(cursors, ([1, 2], [1, 2], [2]), strict=True):
        changes = list(View(Selection(Query(), Patterns()), cursor).catch_up(store))
        sent = [x for change in changes for block in change.blocks for x in decode(block, ("x",)).columns["x"].ravel()]
        assert sent == values
        reader.apply(changes)
        assert reader.written()["loss"] == ([1, 2] if cursor < cursors[2] else [1, 2, 2])
    (change,) = View(Selection(Query(), Patterns()), cursors[0], with_blocks=False).catch_up(store)
    assert [topic.deleted for topic in change.topics] == [False], "a catalog alone takes no points away"


def test_a_cursor_that_the_store_never_gave_is_refused() -> None:
    """A store that was wiped is noticed, also where it has the same numbers, instead of silently missing points."""
    store, other = MemoryStore(), MemoryStore()
    for each in (store, other):
        Writer(each).write("loss", 1)
    assert seq_of(b"", store) == 0
    assert seq_of(pack_cursor({store.timeline: 2}), store) == 2
    with pytest.raises(ConflictError, match=r"at change 3, but the latest .* is 2: .* was replaced; read again"):
        seq_of(pack_cursor({store.timeline: 3}), store)
    with pytest.raises(ConflictError, match=r"of other data: .* was replaced; read again from the beginning"):
        seq_of(pack_cursor({other.timeline: 2}), store)
    with pytest.raises(MalformedError):
        seq_of(b"short", store)


def test_views_that_overlap_send_live_things_once() -> None:
    """A block that two interests select travels once; a catalog-only one brings the topic without its blocks."""
    store = MemoryStore()
    writer = Writer(store)
    views = [view(Query()), view(Query(name_filters=("los",))), view(Query(catalog_only=True))]
    writer.write("loss", 1)
    changes = list(live(views, writer.commits, store.timeline))
    assert [len(change.blocks) for change in changes] == [1]
    assert [len(change.topics) for change in changes] == [1]
    (change,) = live([view(Query(catalog_only=True))], writer.commits, store.timeline)
    assert change.blocks == ()
    assert change.topics
    assert unpack_cursor(change.cursor) == {store.timeline: store.seq()}


def test_commits_that_concern_nobody_send_nothing() -> None:
    """A view that selects nothing of a commit costs no message."""
    store = MemoryStore()
    writer = Writer(store)
    writer.write("loss", 1)
    assert list(live([view(Query(name_filters=("other",)))], writer.commits, 0)) == []


def test_selections() -> None:
    """Exact names, patterns, lists of topics; a scope's config goes with any of its topics."""
    exact = Selection(Query(scope_filter="run", name_filters=("a.c",), exact=True), Patterns())
    assert exact.has("run", "a.c")
    assert not exact.has("run", "abc")
    assert not exact.has("run2", "a.c")
    pattern = Selection(Query(scope_filter="!^test", name_filters=("loss", "acc")), Patterns())
    assert pattern.has("run", "train/acc")
    assert not pattern.has("test1", "loss")
    assert not pattern.has("run", "lr")
    topics = Selection(Query(topics=(("run", "a"), ("run", "b"))), Patterns())
    assert topics.has("run", "b")
    assert not topics.has("run2", "a")
    assert topics.has_scope("run")
    assert not topics.has_scope("run2")


def test_messages_are_of_about_one_mebibyte() -> None:
    """Small things share a message, large ones get their own, and the order is kept."""
    blocks = [EncodedBlock(1, index, 1, 1, b"", bytes(300_000), 0) for index in range(7)]
    big = EncodedBlock(1, 7, 1, 1, b"", bytes(5 * MESSAGE_BYTES), 0)
    changes = list(messages([Topic(1, "run", "a", ("x",)), *blocks, big]))
    assert [item.index for change in changes for item in change.blocks] == list(range(8))
    assert changes[-1].blocks == (big,)
    assert [len(change.blocks) for change in changes] == [3, 3, 1, 1]


def test_listings_count_points() -> None:
    """Live topics with the lengths of their series, or without if nobody asks."""
    store = MemoryStore()
    writer = Writer(store)
    for name in ("a", "a", "b", "gone"):
        writer.write(name, 1)
    writer.delete("gone")
    everything = Selection(Query(), Patterns())
    (found,) = listings(store, everything, with_lengths=True)
    assert [(listing.topic.name, listing.lengths) for listing in found] == [("a", {0: 2}), ("b", {0: 1})]
    (found,) = listings(store, everything, with_lengths=False)
    assert [listing.lengths for listing in found] == [{}, {}]
