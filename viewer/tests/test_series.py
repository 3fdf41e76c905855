"""The store of points: the order of writing is kept whatever blocks arrive."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamvis import Block, Config, Topic, Update
from streamvis_viewer.series import SeriesStore


def block(index: int, count: int, values: list[float], dtype: str = "<f8") -> Block:
    """A block in which row r holds values + r, and an x that all rows share."""
    rows = np.array(values, dtype)[np.newaxis] + np.arange(count)[:, np.newaxis]
    return Block(1, index, {"x": np.arange(len(values), dtype="<i8")[np.newaxis], "y": rows.astype(dtype)})


def held(store: SeriesStore) -> dict[int, list[float]]:
    return {index: list(columns["y"]) for part in store.blocks(1) for index, columns in part.series()}


written = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.lists(st.integers(0, 99), min_size=1, max_size=3)), max_size=12
)


@given(written)
def test_each_series_holds_its_points_in_the_order_of_writing(blocks: list[tuple[int, int, list[float]]]) -> None:
    """Whether blocks cover the same indexes, others, or overlap."""
    store = SeriesStore()
    expected: dict[int, list[float]] = {}
    for index, count, values in blocks:
        store.add(block(index, count, values))
        for row in range(count):
            expected.setdefault(index + row, []).extend(value + row for value in values)
    assert held(store) == expected
    indexes = [index for part in store.blocks(1) for index, _ in part.series()]
    assert indexes == sorted(expected)


def test_a_column_takes_the_common_type() -> None:
    """Ints and then floats read as floats, the ints unchanged."""
    store = SeriesStore()
    store.add(block(0, 1, [2**40], "<i8"))
    store.add(block(0, 1, [0.5]))
    assert held(store) == {0: [2.0**40, 0.5]}


def test_rows_that_were_shared_may_part() -> None:
    """One row for all indexes becomes one row each when the next block needs it."""
    store = SeriesStore()
    store.add(Block(1, 0, {"x": np.zeros((2, 1)), "y": np.ones((1, 1))}))
    store.add(block(0, 2, [5.0]))
    assert held(store) == {0: [1.0, 5.0], 1: [1.0, 6.0]}


def test_a_deleted_topic_takes_its_points_along() -> None:
    """And a forgotten one stays known."""
    store = SeriesStore()
    topic = Topic(1, "run", "loss", ("x", "y"))
    store.note(Update(topics=(topic,), configs=(Config("run", {"lr": 1}),)))
    store.add(block(0, 1, [1.0]))
    assert (store.nbytes > 0, store.configs) == (True, {"run": {"lr": 1}})
    store.forget(1)
    assert (held(store), list(store.topics)) == ({}, [1])
    store.add(block(0, 1, [1.0]))
    store.note(Update(topics=(Topic(1, "run", "loss", ("x", "y"), deleted=True),)))
    assert (held(store), list(store.topics), store.nbytes) == ({}, [], 0)
