"""Messages put together and taken apart without protobuf are what it would have made of them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from streamvis import wire
from streamvis.codec import EncodedBlock
from streamvis.errors import MalformedError
from streamvis.framing import LARGE_BYTES, framed, unframed
from streamvis.records import Batch, Change, Config, Topic
from streamvis.v1 import streamvis_pb2 as pb

sizes = st.sampled_from([0, 1, 127, 128, LARGE_BYTES, 3 * LARGE_BYTES])
encoded = st.builds(
    lambda topic, index, columns, size, crc: EncodedBlock(topic, index, 1, size, columns, bytes(size), crc),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
    sizes,
    st.integers(0, 2**32 - 1),
)
BLOCKS = tuple(EncodedBlock(1, index, 1, 1, b"header", bytes([index]) * LARGE_BYTES, 7) for index in range(3))
CHANGE = Change((Topic(1, "run", "loss", ("x", "y")),), (Config("run", {"lr": 1}),), BLOCKS, b"cursor", 3)


def by_protobuf(change: Change) -> bytes:
    """The same message, made by protobuf alone."""
    message = pb.Change.FromString(
        wire.dump_change(Change(change.topics, change.configs, (), change.cursor, change.interest))
    )
    for b in change.blocks:
        message.blocks.add(topic=b.topic, index=b.index, k=b.k, n=b.n, crc=b.crc, columns=b.columns, payload=b.payload)
    return message.SerializeToString()


def read_by_protobuf(data: bytes) -> list[tuple[Any, ...]]:
    """The blocks of a change as protobuf reads them."""
    fields = ("topic", "index", "k", "n", "columns", "payload", "crc")
    return [tuple(getattr(block, field) for field in fields) for block in pb.Change.FromString(data).blocks]


@given(st.lists(encoded, max_size=6).map(tuple), st.binary(max_size=12), st.integers(0, 2**32 - 1))
def test_a_message_is_what_protobuf_makes(blocks: tuple[EncodedBlock, ...], cursor: bytes, interest: int) -> None:
    """Byte for byte, whatever the sizes; and it is read back as it was."""
    change = Change(CHANGE.topics, CHANGE.configs, blocks, cursor, interest)
    data = wire.dump_change(change)
    assert data == by_protobuf(change)
    assert wire.load_change(data) == change


def test_large_payloads_are_not_copied() -> None:
    """They lie in the message; so do those of a batch."""
    for data, load in ((wire.dump_change(CHANGE), wire.load_change), (wire.dump_batch(BATCH), wire.load_batch)):
        for block in load(data).blocks:
            assert isinstance(block.payload, memoryview)
            assert block.payload.obj is data


BATCH = Batch("w", 1, (), (), BLOCKS)


@given(st.data())
def test_a_damaged_message_is_read_as_protobuf_reads_it(data: st.DataObject) -> None:
    """Cut, or with bytes changed among the fields: the same blocks, or MalformedError where protobuf gives up."""
    message = bytearray(wire.dump_change(CHANGE))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([*range(60), *range(LARGE_BYTES + 50, LARGE_BYTES + 150)]))
        message[place] = data.draw(st.integers(0, 255))
    damaged = bytes(message[: data.draw(st.integers(len(message) - 3, len(message)))])
    try:
        expected = read_by_protobuf(damaged)
    except DecodeError:
        with pytest.raises(MalformedError):
            wire.load_change(damaged)
        return
    try:
        found = wire.load_change(damaged)
    except MalformedError:  # of a config
        return
    assert [tuple(block) for block in found.blocks] == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7a",
        b"\x7a\xff",
        b"\x7a" + b"\xff" * 11,
        b"\x7b\x00",
        b"\x7a\x05\x7a\x02\x00",
        b"\x7a\x02\x08\x01\x0a\x00",
    ],
    ids=[
        "nothing",
        "no length",
        "half a length",
        "an endless length",
        "a group",
        "a payload too short",
        "a field behind",
    ],
)
def test_what_is_not_framed_is_left_to_protobuf(data: bytes) -> None:
    """Nothing is raised, and nothing guessed."""
    assert unframed(data) is None


def test_many_small_blocks_are_left_to_protobuf() -> None:
    """It reads them faster."""
    assert unframed(framed(b"", [(b"", b"x")] * 100 + [(b"", bytes(LARGE_BYTES))])) is None
