"""What a fetch assembles is what joining its decoded blocks gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.assembly import Assembly
from streamvis.codec import EncodedBlock, encode
from streamvis.columns import Block
from streamvis.errors import MalformedError
from streamvis.points import Points, join_series
from streamvis.records import Topic
from tests.strategies import bits

LOSS, OTHER = Topic(1, "run", "loss", ("x", "y")), Topic(2, "run", "other", ("x", "y"))


@st.composite
def pieces(draw: st.DrawFn) -> Block:
    """A block of one index or several, with shared columns, runs, constants, and either of two dtypes."""
    topic, first, k, n = (draw(st.integers(low, high)) for low, high in ((1, 2), (0, 3), (1, 3), (0, 5)))
    start = draw(st.integers(0, 9))
    x = np.arange(start, start + n)[np.newaxis] if draw(st.booleans()) else np.full((1, 1), start)
    y = (np.arange(k * n).reshape(k, n) * 0.3 + start).astype(draw(st.sampled_from(["<f8", "<f4"])))
    return Block(topic, first, {"x": x, "y": y})


def assembled(messages: Sequence[tuple[Sequence[Topic], Sequence[EncodedBlock]]]) -> Points:
    assembly = Assembly()
    for message in messages:
        assembly.add(*message)
    return assembly.points(b"cursor")


@given(st.lists(pieces(), max_size=12), st.booleans())
def test_an_assembly_is_the_blocks_joined(blocks: list[Block], dense: bool) -> None:
    """Every bit and dtype, in the order of topics and indexes, however the blocks overlap; and read-only."""
    found = assembled([((LOSS, OTHER), ()), *(((), (encode(block, dense=dense),)) for block in blocks)])
    expected = {
        (topic.scope, topic.name, index): columns
        for topic in (LOSS, OTHER)
        for index, columns in sorted(join_series([block for block in blocks if block.topic == topic.id]).items())
    }
    assert found.cursor == b"cursor"
    assert list(found) == list(expected)
    for key, columns in expected.items():
        assert {name: bits(values) for name, values in found[key].items()} == {
            name: bits(values) for name, values in columns.items()
        }
        assert not any(values.flags.writeable for values in found[key].values())
        assert all(values.flags.aligned for values in found[key].values())


def test_a_restored_topic_begins_anew() -> None:
    """What came of it before is forgotten."""
    first, second = (encode(Block(1, 0, {"x": np.full((1, 2), n), "y": np.zeros((1, 2))})) for n in (1, 2))
    gone = Topic(1, "run", "loss", ("x", "y"), deleted=True)
    found = assembled([((LOSS,), (first,)), ((gone, LOSS), (second,))])
    assert found["run", "loss", 0]["x"].tolist() == [2, 2]
    assert list(assembled([((LOSS,), (first,)), ((gone,), ())])) == []


def test_what_cannot_be_read_is_refused() -> None:
    """A damaged block, and one whose topic never came."""
    block = encode(Block(1, 0, {"x": np.arange(3)[np.newaxis], "y": np.zeros((1, 3))}))
    with pytest.raises(MalformedError, match="before the topic itself"):
        assembled([((), (block,))])
    with pytest.raises(MalformedError, match="is damaged"):
        assembled([((LOSS,), (block._replace(crc=1),))])
