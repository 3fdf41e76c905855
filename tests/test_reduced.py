"""What the server sends of a topic that a query reduces, read from real stores."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis.codec import decode, encode
from streamvis.columns import Array, Block
from streamvis.points import join_series
from streamvis.reduce import Condition, Reduction
from streamvis.server.reduced import reduced
from streamvis.storage import MemoryStore, SqliteStore, Store
from streamvis.storage.base import Extent
from streamvis.testing import StoreStream, append, loss


@pytest.fixture(autouse=True)
def impatient(resting_at_once: None) -> None:
    """Compaction has an end."""


class Piece(NamedTuple):
    """One write: so many points of each index of a span."""

    span: tuple[int, int]
    n: int
    dtype: str


spans = st.sampled_from([(0, 1), (0, 1), (1, 1), (0, 2), (1, 3)])
pieces = st.lists(
    st.builds(Piece, spans, st.integers(0, 5), st.sampled_from(["<f8", "<f8", "<f4"])), min_size=1, max_size=40
).map(lambda few: few + few[: 20 - len(few)])
wheres = st.sampled_from([(), (), (Condition("y", 0.1, 0.6),)])
ranges = st.sampled_from([None, (3, 60.5)])
reductions = st.builds(
    Reduction, where=wheres, window=st.integers(1, 6), stride=st.integers(0, 9), x_range=ranges
) | st.builds(Reduction, where=wheres, x_range=ranges)


def block_of(number: int, piece: Piece) -> Block:
    """Counts x on; y is one of 0.0 to 0.9, which float32 does not hold exactly."""
    first, k = piece.span
    x = np.arange(number, number + k * piece.n).reshape(k, piece.n)
    return Block(1, first, {"x": x, "y": (x % 10 / 10).astype(piece.dtype)})


@contextmanager
def stored(blocks: Sequence[Block], sqlite: bool) -> Iterator[tuple[Store, list[int]]]:
    """A store with one topic, compacted if it can be, and the number of each block."""
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory, "runs")) if sqlite else MemoryStore()
        with closing(store):
            stream = StoreStream()
            append(store, stream.next(declare=[loss()]))
            numbers = [append(store, stream.next(encode(block))).seq for block in blocks]
            for _ in range(20):
                store.compact()
            yield store, numbers


def fetched(store: Store, reduction: Reduction, after: int, upto: int) -> dict[int, list[bytes]]:
    """The reduced points of each index, bit by bit, as float64."""
    (topic,) = store.catalog().topics
    found: dict[int, list[bytes]] = {}
    for encoded in filter(None, reduced(store, topic, after, upto, reduction)):
        for index, columns in decode(encoded, topic.columns).series():
            found.setdefault(index, []).extend(_rows(columns))
    return {index: rows for index, rows in sorted(found.items()) if rows}


def _rows(columns: dict[str, Array]) -> list[bytes]:
    return [point.tobytes() for point in np.stack([columns["x"], columns["y"]], axis=1).astype("f8")]


def slow(blocks: Sequence[Block], reduction: Reduction) -> dict[int, list[bytes]]:
    """By the words of the definition, point by point, each value in the dtype of its write."""
    points: dict[int, list[tuple[Any, Any]]] = {}
    for block in blocks:
        for index, columns in block.series():
            kept = (
                (x, y)
                for x, y in zip(columns["x"], columns["y"], strict=True)
                if all(y.dtype.type(low) <= y <= y.dtype.type(high) for _, low, high in reduction.where)
            )
            points.setdefault(index, []).extend(kept)
    reduced: dict[int, list[bytes]] = {}
    for index, series in sorted(points.items()):
        rows = _slow_windows(series, reduction) if reduction.window else [(float(x), float(y)) for x, y in series]
        low, high = reduction.x_range or (-np.inf, np.inf)
        if rows := [np.array(row).tobytes() for row in rows if low <= row[0] <= high]:
            reduced[index] = rows
    return reduced


def _slow_windows(series: list[tuple[Any, Any]], reduction: Reduction) -> list[tuple[float, float]]:
    rows = []
    for start in range(0, len(series) - reduction.window + 1, reduction.stride or reduction.window):
        window = np.array([(float(x), float(y)) for x, y in series[start : start + reduction.window]])
        rows.append(Reduction(window=reduction.window).apply({"x": window[:, 0], "y": window[:, 1]}))
    return [(float(row["x"][0]), float(row["y"][0])) for row in rows]


@settings(max_examples=150, deadline=None)
@given(pieces, reductions, st.lists(st.integers(0, 99), max_size=3), st.booleans())
def test_a_reduced_topic_only_grows(written: list[Piece], reduction: Reduction, stops: list[int], sqlite: bool) -> None:
    """Fetched after one cursor after the other, it is bit for bit what one fetch of the whole is, and the definition.

    Whatever spans of indexes and dtypes its blocks have, and however they were merged.
    """
    blocks = [block_of(10 * number, piece) for number, piece in enumerate(written)]
    with stored(blocks, sqlite) as (store, numbers):
        grown: dict[int, list[bytes]] = {}
        for after, upto in pairwise([0, *sorted(numbers[stop % len(numbers)] for stop in stops), store.seq()]):
            for index, rows in fetched(store, reduction, after, upto).items():
                grown.setdefault(index, []).extend(rows)
        whole = fetched(store, reduction, 0, store.seq())
    assert whole == slow(blocks, reduction)
    assert dict(sorted(grown.items())) == whole


class ReadingStore(MemoryStore):
    """Counts the points that were read."""

    read = 0

    def page(self, *arguments: Any) -> Any:
        page = super().page(*arguments)
        self.read += sum(block.n for block in page.blocks)
        return page


@pytest.mark.parametrize(("window", "stride", "read"), [(100, 100, 100), (250, 10, 350), (10, 1000, 100)])
def test_windows_behind_a_cursor_do_not_read_what_they_do_not_hold(window: int, stride: int, read: int) -> None:
    """A poll of a long series costs what is new and what the open windows hold, not its length."""
    store, stream = ReadingStore(), StoreStream()
    append(store, stream.next(declare=[loss()]))
    for number in range(200):
        append(store, stream.next(encode(block_of(number, Piece((0, 1), 100, "<f8")))))
    after = store.seq()
    append(store, stream.next(encode(block_of(0, Piece((0, 1), 100, "<f8")))))
    (topic,) = store.catalog().topics
    list(reduced(store, topic, after, store.seq(), Reduction(window=window, stride=stride)))
    assert store.read <= read + 100


def test_many_points_of_few_bytes_come_in_pieces() -> None:
    """A block that says that 2**22 points are alike is not unfolded at once, nor sent in one message."""
    store, stream = MemoryStore(), StoreStream()
    append(store, stream.next(declare=[loss()]))
    append(store, stream.next(encode(Block(1, 0, {"x": np.arange(1 << 22)[None], "y": np.zeros((1, 1))}))))
    (topic,) = store.catalog().topics
    blocks = list(filter(None, reduced(store, topic, 0, store.seq(), Reduction(window=1))))
    assert sum(block.n for block in blocks) == 1 << 22
    assert max(block.size for block in blocks) < 2 << 20


@settings(max_examples=60, deadline=None)
@given(pieces, st.integers(2, 60), st.sampled_from([0, 30, 1 << 20]), st.booleans())
def test_a_topic_is_thinned_as_its_series_are(written: list[Piece], max_points: int, held: int, sqlite: bool) -> None:
    """Whether its points are held for the second round or read again, whatever blocks they lie in."""
    blocks = [block_of(10 * number, piece) for number, piece in enumerate(written)]
    reduction = Reduction(max_points=max_points)
    whole = {
        index: {name: values.astype("f8") for name, values in columns.items()}
        for index, columns in join_series(blocks).items()
    }
    with pytest.MonkeyPatch.context() as patch, stored(blocks, sqlite) as (store, _):
        patch.setattr("streamvis.server.reduced.HELD_VALUES", held)
        found = fetched(store, reduction, 0, store.seq())
    assert found == {index: rows for index in sorted(whole) if (rows := _rows(reduction.apply(whole[index])))}


def test_thinning_a_long_series_takes_little_memory() -> None:
    """The points that are kept and a piece at a time, not the series: of 2**22 points, 64 MiB, a few MiB."""
    store, stream = MemoryStore(), StoreStream()
    append(store, stream.next(declare=[loss()]))
    for start in range(0, 1 << 22, 1 << 18):
        x = np.arange(start, start + (1 << 18))[None]
        append(store, stream.next(encode(Block(1, 0, {"x": x, "y": np.zeros((1, 1))}))))
    (topic,) = store.catalog().topics
    tracemalloc.start()
    try:
        blocks = list(filter(None, reduced(store, topic, 0, store.seq(), Reduction(max_points=1000))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 300 < sum(block.n for block in blocks) <= 1000
    assert peak < 30 << 20


def test_extents_say_where_the_points_lie() -> None:
    """Under the same numbers before and after compaction."""
    blocks = [block_of(number, Piece((0, 1), number % 4, "<f8")) for number in range(30)]
    with stored(blocks, sqlite=True) as (store, numbers), stored(blocks, sqlite=False) as (memory, _):
        (topic,) = store.catalog().topics
        assert len(store.extents(topic.id, store.seq())) < len(blocks)
        for upto in (0, numbers[3], numbers[17], store.seq()):
            assert _parts(store.extents(topic.id, upto)) == _parts(memory.extents(topic.id, upto))


def _parts(extents: list[Extent]) -> list[tuple[int, int, int, int]]:
    return [
        (extent.index, extent.k, number, points)
        for extent in extents
        for number, points in zip(extent.numbers.tolist(), extent.points.tolist(), strict=True)
    ]
