"""The ring of the latest commits."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.codec import EncodedBlock
from streamvis.records import Config, Topic
from streamvis.server.broadcast import Broadcast
from streamvis.storage.base import Commit

EVERYTHING = 1 << 40


def commit(seq: int, size: int = 0) -> Commit:
    return Commit(seq, blocks=(EncodedBlock(1, 0, 1, 1, b"", bytes(size), 0),) if size else ())


def test_a_reader_gets_what_was_published_after_its_position() -> None:
    """Positions count publications; reading takes nothing away from others."""
    ring = Broadcast()
    ring.publish(commit(1))
    position = ring.end
    assert ring.read(position, EVERYTHING) == []
    ring.publish(commit(2))
    ring.publish(commit(3))
    for _ in range(2):
        assert ring.read(position, EVERYTHING) == [commit(2), commit(3)]


def test_an_overtaken_reader_is_told() -> None:
    """Whoever stands before the oldest commit kept gets None, not a gap."""
    ring = Broadcast(max_commits=2)
    for seq in range(1, 4):
        ring.publish(commit(seq))
    assert ring.read(0, EVERYTHING) is None
    assert ring.read(1, EVERYTHING) == [commit(2), commit(3)]


def test_the_ring_is_bounded_by_bytes() -> None:
    """Large commits push older ones out; the latest is kept whatever its size."""
    ring = Broadcast(max_bytes=10_000)
    ring.publish(commit(1, 6_000))
    ring.publish(commit(2, 6_000))
    assert ring.read(0, EVERYTHING) is None
    assert ring.read(1, EVERYTHING) == [commit(2, 6_000)]
    ring.publish(commit(3, 50_000))
    assert ring.read(2, EVERYTHING) == [commit(3, 50_000)]


@pytest.mark.parametrize(
    "large",
    [
        Commit(2, configs=(Config("run", {"text": "x" * 12_000}),)),
        Commit(2, configs=(Config("run", {"numbers": list(range(1000))}),)),
        Commit(2, topics=(Topic(1, "run", "loss", ("x" * 4_000, "y" * 4_000, "z" * 4_000)),)),
    ],
    ids=["a config", "numbers of a config", "names"],
)
def test_the_ring_counts_more_than_points(large: Commit) -> None:
    """Configs, which come whole with each change, and long names push older commits out as well."""
    ring = Broadcast(max_bytes=10_000)
    ring.publish(commit(1))
    ring.publish(large)
    assert ring.read(0, EVERYTHING) is None
    assert ring.read(1, EVERYTHING) == [large]


def test_one_read_is_bounded_and_never_empty_handed() -> None:
    """A reader takes about as much as one message holds, at least one commit."""
    ring = Broadcast()
    for seq in range(1, 5):
        ring.publish(commit(seq, 1_000))
    assert ring.read(0, 4_000) == [commit(1, 1_000), commit(2, 1_000)]
    assert ring.read(0, 1) == [commit(1, 1_000)]


def test_publishing_wakes_listeners() -> None:
    """Each listener has an event of its own, which goes with it."""

    async def main() -> None:
        ring = Broadcast()
        with ring.listening() as first, ring.listening() as second:
            ring.publish(commit(1))
            assert first.is_set()
            assert second.is_set()
            first.clear()
            assert second.is_set()
        ring.publish(commit(2))
        assert not first.is_set()

    asyncio.run(main())


@given(st.lists(st.one_of(st.integers(0, 3_000), st.none()), max_size=60), st.integers(1, 8), st.integers(500, 9_000))
def test_a_reader_misses_nothing_or_is_told(steps: list[int | None], max_commits: int, max_bytes: int) -> None:
    """Whatever is published between reads, a reader sees every commit once and in order, or learns that it cannot."""
    ring = Broadcast(max_bytes, max_commits)
    seen, position, published = [], 0, 0
    for step in [*steps, None]:
        if step is not None:
            published += 1
            ring.publish(commit(published, step))
            continue
        commits = ring.read(position, EVERYTHING)
        if commits is None:
            assert published - position > 1
            seen, position = list(range(1, published + 1)), ring.end
        else:
            seen += [commit.seq for commit in commits]
            position += len(commits)
        assert seen == list(range(1, published + 1))
