"""Records ⇄ protobuf: every record comes back as it was."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis import wire
from streamvis.codec import EncodedBlock
from streamvis.errors import MalformedError
from streamvis.records import (
    Ack,
    Batch,
    Change,
    Config,
    Declaration,
    Interest,
    Listing,
    Metric,
    Query,
    Size,
    Stats,
    Topic,
    TopicSize,
    Usage,
    pack_cursor,
    unpack_cursor,
)
from streamvis.reduce import Condition, Reduction
from streamvis.v1 import streamvis_pb2 as pb

text = st.text(max_size=20)
uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
names = st.lists(text, max_size=3).map(tuple)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
configs = st.builds(Config, text, st.dictionaries(text, json_values, max_size=3))
encoded = st.builds(EncodedBlock, uint64, uint32, uint32, uint32, st.binary(max_size=9), st.binary(max_size=9), uint32)
topics = st.builds(Topic, uint64, text, text, names, st.booleans(), uint64)
declarations = st.builds(Declaration, uint32, text, text, names, st.booleans())
ranges = st.tuples(st.floats(-1, 0), st.floats(0, 1)) | st.tuples(st.integers(-(2**63), 0), st.integers(1, 2**63 - 1))
counts = st.integers(2, 2**31 - 1)
queries = st.builds(
    Query,
    st.lists(st.tuples(text, text), max_size=2).map(tuple),
    st.none() | text,
    names,
    st.booleans(),
    st.binary(max_size=12),
    st.booleans(),
    st.none()
    | st.builds(
        Reduction,
        where=st.lists(st.builds(lambda column, ends: Condition(column, *ends), text, ranges), max_size=2).map(tuple),
        window=st.integers(2, 2**24),
        stride=counts,
        x=text,
        x_range=st.none() | ranges,
        max_points=counts,
    ),
)


def several(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


@given(st.builds(Batch, text, uint64, several(declarations), several(configs), several(encoded)))
def test_a_batch_comes_back(batch: Batch) -> None:
    """Over the wire and from a spool."""
    assert wire.load_batch(wire.dump_batch(batch)) == batch
    assert wire.load_batch(wire.batch_to_pb(batch).SerializeToString()) == batch


@given(
    st.builds(Ack, uint64, uint64, st.lists(uint32, max_size=3).map(tuple), st.dictionaries(uint32, text, max_size=2))
)
def test_an_ack_comes_back(ack: Ack) -> None:
    """With gone handles and rejections."""
    assert wire.ack_from_pb(wire.ack_to_pb(ack)) == ack


@given(st.builds(Interest, uint32, st.none() | queries))
def test_an_interest_and_its_query_come_back(interest: Interest) -> None:
    """Added or dropped."""
    assert wire.interest_from_pb(wire.interest_to_pb(interest)) == interest


@given(st.builds(Change, several(topics), several(configs), several(encoded), st.binary(max_size=12), uint32))
def test_a_change_comes_back(change: Change) -> None:
    """Topics, configs, blocks and cursor."""
    assert wire.load_change(wire.dump_change(change)) == change


@given(st.builds(Listing, topics, st.dictionaries(uint32, uint64, max_size=3)))
def test_a_listing_comes_back(listing: Listing) -> None:
    """A topic and its lengths."""
    assert list(wire.listings_from_pb(wire.listing_to_pb(listing))) == [listing]


def test_a_config_keeps_the_types_of_numbers() -> None:
    """1 stays int, 1.0 stays float, NaN and infinities stay."""
    back = wire.load_config(wire.dump_config({"a": 1, "b": 1.0, "c": math.inf, "d": math.nan, "e": True}))
    assert [type(value) for value in back.values()] == [int, float, float, float, bool]
    assert back["c"] == math.inf
    assert math.isnan(back["d"])


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b"1", b"[" * 100_000])
def test_a_config_that_is_no_object_is_refused(data: bytes) -> None:
    """Whatever the bytes, the error is ours."""
    with pytest.raises(MalformedError, match="config is"):
        wire.load_config(data)


def test_an_interest_that_says_nothing_is_refused() -> None:
    """Neither added nor dropped."""
    with pytest.raises(MalformedError, match="either added"):
        wire.interest_from_pb(pb.Interest(id=1))


@given(st.dictionaries(uint32, uint64, max_size=3))
def test_a_cursor_comes_back(seqs: dict[int, int]) -> None:
    """The number on each timeline."""
    assert unpack_cursor(pack_cursor(seqs)) == seqs


def test_a_foreign_cursor_is_refused() -> None:
    """Bytes of the wrong length are none of ours."""
    with pytest.raises(MalformedError, match="none of ours"):
        unpack_cursor(b"abc")


numbers = st.integers(0, 2**63 - 1)
sizes = st.builds(Size, numbers, numbers, numbers)


@given(st.builds(Usage, text, sizes, sizes))
def test_a_scopes_usage_comes_back(usage: Usage) -> None:
    """What it takes, live and in the trash."""
    assert wire.usage_from_pb(wire.usage_to_pb(usage)) == usage


@given(st.builds(TopicSize, text, text, numbers, numbers, st.none() | st.floats(0, 1e12)))
def test_a_topics_size_comes_back(size: TopicSize) -> None:
    """A delete at time 0 is a delete."""
    assert wire.topic_size_from_pb(wire.topic_size_to_pb(size)) == size


metrics = st.builds(
    Metric, text, st.floats(allow_nan=False), text, st.booleans(), st.dictionaries(text, text, max_size=2)
)


@given(st.builds(Stats, text, st.lists(metrics, max_size=3).map(tuple)))
def test_a_servers_numbers_come_back(stats: Stats) -> None:
    """With their labels."""
    assert wire.stats_from_pb(wire.stats_to_pb(stats)) == stats
