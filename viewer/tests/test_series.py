"""The store of points: the order of writing is kept whatever blocks arrive."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamvis import Block, Blocks, Config, Stack, Topic, Update
from streamvis_viewer.series import Column, Grown, Run, SeriesStore


def block(index: int, count: int, values: list[float], dtype: str = "<f8") -> Block:
    """A block in which row r holds values + r, and an x that all rows share."""
    rows = np.array(values, dtype)[np.newaxis] + np.arange(count)[:, np.newaxis]
    return Block(1, index, {"x": np.arange(len(values), dtype="<i8")[np.newaxis], "y": rows.astype(dtype)})


def held(store: SeriesStore, topic: int = 1) -> dict[int, list[float]]:
    shapes = [(run, np.broadcast_to(run.columns()["y"], (run.count, run.length))) for run in store.runs(topic)]
    return {run.index + row: rows[row].tolist() for run, rows in shapes for row in range(run.count)}


written = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.lists(st.integers(0, 99), min_size=1, max_size=3)), max_size=12
)


@given(written)
def test_each_series_holds_its_points_in_the_order_of_writing(blocks: list[tuple[int, int, list[float]]]) -> None:
    """Whether blocks cover the same indexes, others, or overlap."""
    store = SeriesStore()
    expected: dict[int, list[float]] = {}
    for index, count, values in blocks:
        store.add([block(index, count, values)])
        for row in range(count):
            expected.setdefault(index + row, []).extend(value + row for value in values)
    assert held(store) == expected
    assert list(held(store)) == sorted(expected)
    assert store.nbytes == store.size(1) == sum(run.nbytes for run in store.runs(1))


@given(written)
def test_whoever_is_told_what_has_grown_misses_nothing(blocks: list[tuple[int, int, list[float]]]) -> None:
    """Unless the runs were cut anew, which is said; then everything is to be looked at again."""
    store = SeriesStore()
    seen: dict[Run, int] = {}
    for index, count, values in blocks:
        grown, cut = store.add([block(index, count, values)])
        if cut:
            seen = {}
            grown = list(map(Grown.whole, store.runs(1)))
        for each in grown:
            for run in each.runs:
                seen[run] = seen.get(run, 0) + next(iter(each.columns.values())).shape[2]
        assert seen == {run: run.length for run in store.runs(1)}


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 4), min_size=1, max_size=5),
            st.integers(0, 1),
            st.integers(1, 2),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_blocks_side_by_side_are_taken_in_as_one_by_one(
    stacks: list[tuple[list[int], int, int, int, bool]],
) -> None:
    """A topic may be in a stack several times; some points are put in their place late, and counted then."""
    together, alone = SeriesStore(), SeriesStore()
    seen: dict[Run, int] = {}
    for number, (topics, index, count, points, is_float) in enumerate(stacks):
        y = (np.arange(len(topics) * count * points) + 100 * number).reshape(len(topics), count, points)
        x = np.full((len(topics), 1, 1), number)
        stack = Stack(topics, index, {"x": x, "y": y.astype("<f4" if is_float else "<i4")})
        together.settle()
        grown, cut = together.add(Blocks([stack]))
        for block in stack.blocks():
            alone.add([block])
        seen = {run: length for run, length in seen.items() if run.topic not in cut}
        for topic in cut:
            seen.update((run, run.length) for run in together.runs(topic))
        for each in grown:
            for run in each.runs:
                if run.topic not in cut:
                    seen[run] = seen.get(run, 0) + each.columns["y"].shape[2]
    for topic in range(1, 5):
        assert held(together, topic) == held(alone, topic)
        assert {run: seen[run] for run in together.runs(topic)} == {run: run.length for run in together.runs(topic)}
    assert together.nbytes == sum(together.size(topic) for topic in range(1, 5))


@given(st.lists(st.tuples(st.integers(1, 3), st.lists(st.floats(), min_size=1, max_size=4)), max_size=8))
def test_a_column_knows_whether_it_ascends(pieces: list[tuple[int, list[float]]]) -> None:
    """Whenever it is asked, and whatever comes later; NaN has no place in an order."""
    column = None
    for rows, values in pieces:
        block = np.tile(np.array(values), (rows, 1))
        if column is None:
            column = Column(block)
        elif rows >= len(column.values) or len(column.values) == 1 or rows == 1:
            before, shown = column.values, column.values.copy()
            column.append(block if rows in {1, len(column.values)} or len(column.values) == 1 else block[:1])
            assert np.array_equal(before, shown, equal_nan=True)
        whole = column.values
        ordered = bool((whole[:, 1:] >= whole[:, :-1]).all()) and not np.isnan(whole).any()
        assert column.ascends == ordered


def test_a_column_takes_the_common_type() -> None:
    """Ints and then floats read as floats, the ints unchanged."""
    store = SeriesStore()
    store.add([block(0, 1, [2**40], "<i8")])
    store.add([block(0, 1, [0.5])])
    assert held(store) == {0: [2.0**40, 0.5]}


def test_rows_that_were_shared_may_part() -> None:
    """One row for all indexes becomes one row each when the next block needs it."""
    store = SeriesStore()
    store.add([Block(1, 0, {"x": np.zeros((2, 1)), "y": np.ones((1, 1))})])
    store.add([block(0, 2, [5.0])])
    assert held(store) == {0: [1.0, 5.0], 1: [1.0, 6.0]}


def test_a_deleted_topic_takes_its_points_along() -> None:
    """And a forgotten one stays known."""
    store = SeriesStore()
    topic = Topic(1, "run", "loss", ("x", "y"))
    store.note(Update(topics=(topic,), configs=(Config("run", {"lr": 1}),)))
    store.add([block(0, 1, [1.0])])
    assert (store.nbytes > 0, store.configs) == (True, {"run": {"lr": 1}})
    store.forget(1)
    assert (held(store), list(store.topics)) == ({}, [1])
    store.add([block(0, 1, [1.0])])
    store.note(Update(topics=(Topic(1, "run", "loss", ("x", "y"), deleted=True),)))
    assert (held(store), list(store.topics), store.nbytes) == ({}, [], 0)
