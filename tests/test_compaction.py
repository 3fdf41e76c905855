"""Planning and merging: which blocks become one, how often a point is written again, what a cut gives back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.codec import encode
from streamvis.columns import Block
from streamvis.errors import MalformedError
from streamvis.storage.compaction import (
    FAN_OUT,
    FULL_COLUMN,
    MERGE_BLOCKS,
    REST_SECONDS,
    SLICE_BLOCKS,
    SLICE_BYTES,
    Agenda,
    Backlog,
    Header,
    Planner,
    Slice,
)
from streamvis.storage.merging import DamagedError, Stored, clip, merge, pack_parts, parts_bound, unpack_parts
from streamvis.testing import points, series

FLOATS = encode(Block(1, 0, {"x": np.random.default_rng(0).random((1, 3))})).columns
DOUBLES = encode(Block(1, 0, {name: np.random.default_rng(0).random((1, 3)) for name in "xyz"})).columns


def header(seq: int, index: int = 0, k: int = 1, n: int = 50, columns: bytes = FLOATS) -> Header:
    return Header(seq, index, k, n, 0, columns)


def test_each_point_is_merged_a_few_times() -> None:
    """The merges of a long series touch every block once per level, and all but the newest are full in the end."""
    planner, count = Planner(), 100_000
    merged = 0
    for sweep in range(count // FAN_OUT):  # as if each sweep found FAN_OUT new blocks
        for seq in range(FAN_OUT * sweep, FAN_OUT * (sweep + 1)):
            planner.add(header(seq))
        planner.finish(resting=False)
        assert all(merge.size < 2 * FULL_COLUMN for merge in planner.merges)
        merged += sum(merge.size for merge in planner.merges)
        planner.merges.clear()
    levels = math.ceil(math.log(FULL_COLUMN / 8 / 50, FAN_OUT))
    assert merged <= levels * count * 50 * 8
    assert len(planner.waiting) <= levels * FAN_OUT


def test_many_blocks_become_one_at_once() -> None:
    """Levels that one sweep can skip are not written; more blocks than fit a step take one level more."""
    planner, count = Planner(), FULL_COLUMN // 8 // 50 * 4
    for seq in range(1, count + 1):
        planner.add(header(seq))
    planner.finish(resting=False)
    merged = sum(merge.size for merge in planner.merges)
    assert merged <= 2 * count * 50 * 8
    assert all(len(merge.seqs) <= MERGE_BLOCKS for merge in planner.merges)
    stored = set(range(1, count + 1))
    for merge_ in planner.merges:
        assert stored.issuperset(merge_.seqs)
        stored.difference_update(merge_.seqs[:-1])
    assert len(stored) == len(planner.waiting) + 3


def test_what_rests_becomes_few_blocks_but_is_not_written_again_and_again() -> None:
    """A resting topic's small blocks become one, and with a larger one only when they have grown to a part of it."""
    planner, merged, count = Planner(), 0, 2000
    for seq in range(1, count + 1):
        planner.add(header(seq))
        planner.finish(resting=True)
        merged += sum(merge.size for merge in planner.merges)
        planner.merges.clear()
        assert len(planner.waiting) < 10
    assert merged <= 20 * count * 50 * 8
    planner = Planner()
    for seq in range(1, 8):
        planner.add(header(seq))
    planner.finish(resting=True)
    assert [merge.seqs for merge in planner.merges] == [tuple(range(1, 8))]
    assert planner.merges[0].dense


def test_wide_blocks_stay_small_enough_for_one_message() -> None:
    """However many columns or indexes, and however a run ends, no merge makes more than eight megabytes."""
    planner = Planner()
    for seq in range(1, 5000):
        planner.add(header(seq, k=100, n=seq % 7, columns=DOUBLES * 20))
        if seq % 1000 == 0:
            planner.add(header(seq, k=101))
    assert max(merge.size for merge in planner.merges) < 8 << 20


@pytest.mark.parametrize(
    "between",
    [header(9, k=3), header(9, columns=DOUBLES), header(9, n=FULL_COLUMN)],
    ids=["another shape", "other dtypes", "a full block"],
)
def test_a_run_ends_where_order_would_be_lost(between: Header) -> None:
    """Blocks before and after one that cannot join them are merged apart."""
    planner = Planner()
    for header_ in [*map(header, range(1, 9)), between, *map(header, range(10, 18)), between._replace(seq=18)]:
        planner.add(header_)
    assert [merge.seqs for merge in planner.merges] == [tuple(range(1, 9)), tuple(range(10, 18))]


def test_other_indexes_do_not_end_a_run() -> None:
    """Indexes that take turns are merged each on its own."""
    planner = Planner()
    for seq in range(3 * FAN_OUT):
        planner.add(header(seq, index=seq % 3))
    planner.finish(resting=False)
    assert [merge.seqs for merge in planner.merges] == [tuple(range(i, 3 * FAN_OUT, 3)) for i in range(3)]


def test_a_slice_merges_what_all_topics_wrote() -> None:
    """One block of each topic, index and dtypes, in which a large one keeps its place."""
    cut = Slice(damaged=())
    for seq in range(1, 41):
        cut.add(seq % 2, header(seq, index=seq % 4 // 2), 400 if seq != 20 else 100_000)
    merges = {merge.seqs for merge in cut.finish()}
    assert merges == {
        tuple(range(1, 41, 4)),
        tuple(range(3, 41, 4)),
        tuple(range(2, 41, 4)),
        (4, 8, 12, 16),
        (24, 28, 32, 36, 40),
    }
    assert cut.left == {0: 4, 1: 2}


def test_a_slice_is_a_small_transaction() -> None:
    """However little its blocks take on disk, it ends when they are megabytes of points."""
    cut = Slice(damaged=())
    while not cut.full:
        cut.add(1, header(cut.blocks + 1, n=1000), 32)
    assert cut.blocks * 8000 < 2 * SLICE_BYTES


def test_a_backlog_is_due_when_it_is_enough_for_a_slice_or_nothing_more_comes() -> None:
    """It says since when: as long as it does not shrink, ever longer."""
    backlog = Backlog(0, 0, now=0.0)
    assert backlog.due == math.inf
    backlog.add(10, now=1.0)
    assert backlog.due == 1.0 + REST_SECONDS
    for second in range(2, 7):
        backlog.add(SLICE_BLOCKS - 1, now=float(second))
    assert backlog.due == 2.0
    cut = sliced(SLICE_BLOCKS)
    backlog.passed(cut, ended=False)
    assert (backlog.due, backlog.floor) == (3.0, SLICE_BLOCKS)
    backlog.passed(sliced(4 * SLICE_BLOCKS), ended=True)
    assert backlog.due == math.inf


def sliced(count: int, topics: int = 1) -> Slice:
    cut = Slice(damaged=())
    for seq in range(1, count + 1):
        cut.add(seq % topics, header(seq), 400)
    cut.finish()
    return cut


def test_slices_are_as_long_as_there_are_topics() -> None:
    """Where a slice merges little it is longer the next time, within bounds; and shorter again later."""
    backlog, lengths = Backlog(0, 1 << 30, now=0.0), []
    for topics in (1, 1000, 1000, 2000, 9000, 9000, 1, 1, 1, 1):
        backlog.passed(sliced(backlog.slice_blocks, topics), ended=False)
        lengths.append(backlog.slice_blocks // SLICE_BLOCKS)
    assert lengths == [1, 2, 4, 8, 8, 8, 4, 2, 1, 1]


def test_a_topic_is_swept_when_it_has_gained_enough_or_rests() -> None:
    """Eight new blocks are due at once, fewer when nothing has come for a while, one alone never."""
    agenda = Agenda(Backlog(0, 0, now=0.0))
    agenda.note({1: FAN_OUT, 2: 3, 3: 1}, now=10.0)
    agenda.note({2: 1}, now=11.0)
    assert agenda.wait(11.0) == -1.0
    swept: list[tuple[int, float]] = []
    for now in (11.0, 13.0, 15.0):
        while sweep := agenda.sweep(now):
            sweep.feed([header(seq) for seq in range(FAN_OUT + 1 if sweep.topic == 1 else 4)])
            agenda.finish(sweep)
            swept.append((sweep.topic, now))
    assert swept == [(1, 11.0), (1, 15.0), (3, 15.0), (2, 15.0)]
    assert agenda.wait(15.0) == math.inf
    agenda.note({1: 1}, now=20.0)
    assert agenda.wait(21.0) == REST_SECONDS - 1.0


@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(0, 2**31)), min_size=1))
def test_parts_come_back(parts: list[tuple[int, int]]) -> None:
    """Numbers and points of any parts; bytes compare with a bound as the first numbers do."""
    gaps, counts = zip(*parts, strict=True)
    numbers = np.cumsum(gaps)
    packed = pack_parts(numbers, np.array(counts))
    back_numbers, back_points = unpack_parts(packed)
    assert (back_numbers.tolist(), back_points.tolist()) == (numbers.tolist(), list(counts))
    assert packed < parts_bound(gaps[0])
    assert not packed < parts_bound(gaps[0] - 1)
    with pytest.raises(MalformedError):
        unpack_parts(packed[:-1])


def test_a_million_regular_parts_take_no_room() -> None:
    """Parts at regular distances, one point each, cost nothing per point."""
    assert len(pack_parts(np.arange(10**6) * 50 + 7, np.ones(10**6, "<i8"))) < 1000


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_cut_has_what_lies_between(after: int, upto: int) -> None:
    """A merged block gives the points of the parts after one number, up to another, and nothing else."""
    parts = [Stored(10 * (n + 1), None, points(*range(n), index=4)) for n in range(8)]
    whole = merge([merge(parts[:3]), *parts[3:]])
    wanted = [part.block for part in parts if after < part.seq <= upto]
    found = clip(whole, after, upto)
    assert series([found] if found else []) == series(wanted)


def test_a_damaged_part_is_named() -> None:
    """Merging checks every CRC, and those of parts that were merged before."""
    good = [Stored(n, None, points(n)) for n in range(1, 4)]
    bad = good[1]._replace(block=good[1].block._replace(crc=0))
    merged = merge(good[:2])
    assert merged.parts
    for damaged in (bad, merged._replace(parts=merged.parts[:-1] + b"!"), merged._replace(parts=b"")):
        with pytest.raises(DamagedError) as caught:
            merge([good[0], damaged, good[2]])
        assert caught.value.seq == 2
