"""The buffer: everything written comes out once, in the order of its series, as few blocks."""

from __future__ import annotations

import enum
import gc
import struct
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.arrays import Adapters, Form
from streamvis.buffer import HIGH_WATER, Buffer, check_text
from streamvis.columns import MAX_COLUMNS, Block
from streamvis.errors import ColumnsError, DtypeError, MalformedError, UsageError
from streamvis.puts import REFUSED
from streamvis.rows import SMALL_BYTES
from streamvis.server.checks import check_text as check_stored

Series = dict[tuple[str, int], dict[str, list[Any]]]


def series_of(buffer: Buffer, blocks: list[Block]) -> Series:
    """Plain lists per (name, index) and column, in the order of the blocks."""
    names = {handle: name for name, (handle, _) in buffer.topics.items()}
    found: Series = defaultdict(lambda: defaultdict(list))
    for block in blocks:
        for index, columns in block.series():
            for column, values in columns.items():
                found[names[block.topic], index][column] += values.tolist()
    return {key: dict(columns) for key, columns in found.items()}


def write(buffer: Buffer, name: str, index: int, columns: dict[str, Any]) -> None:
    """As a logger does: the quick way, where there is one."""
    try:
        size = buffer.puts[(name, index) if index else name](columns)
    except (KeyError, struct.error):
        size = REFUSED
    if size == REFUSED:
        buffer.add(name, index, columns)


scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.floats(allow_nan=False, width=32).map(np.float32),
    st.integers(0, 255).map(np.uint8),
)
arrays = st.one_of(
    scalars,
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=3).map(lambda values: np.array([values, values])),
    st.integers(1, 2).map(lambda k: np.arange(k * (SMALL_BYTES // 8 + 1)).reshape(k, -1)),
)
writes = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3), scalars, arrays), max_size=30)


@given(writes, st.integers(1, 4))
def test_every_write_comes_out_once_in_order(given_writes: list[Any], every: int) -> None:
    """Whatever mix of scalars, dtypes, shapes and indexes is written, and however often it is drained."""
    buffer, blocks, expected = Buffer(), list[Block](), defaultdict(lambda: defaultdict(list))
    points = 0
    for count, (name, index, x, y) in enumerate(given_writes):
        write(buffer, name, index, {"x": x, "y": y})
        grid = np.atleast_2d(np.asarray(y))
        for row in range(grid.shape[0]):
            expected[name, index + row]["y"] += grid[row].tolist()
            expected[name, index + row]["x"] += [np.asarray(x).item()] * grid.shape[1]
        points += grid.size
        if count % every == 0:
            drained = buffer.drain()
            blocks += drained.blocks
            points -= drained.points
    last = buffer.drain()
    assert series_of(buffer, blocks + last.blocks) == expected
    assert last.points == points
    assert buffer.waiting() == buffer.nbytes() == 0


def test_scalars_of_one_name_become_one_block() -> None:
    """A flush of a thousand losses is one block, and ten interleaved indexes are ten."""
    buffer = Buffer()
    for step in range(1000):
        write(buffer, "loss", 0, {"x": step, "y": step / 2})
        for digit in range(10):
            write(buffer, "accuracy", digit, {"x": step, "y": 0.5})
    drained = buffer.drain()
    assert sorted(block.points for block in drained.blocks) == [1000] * 11
    assert (drained.writes, drained.points) == (11_000, 11_000)


def test_the_order_of_keywords_does_not_matter() -> None:
    """The same columns in another order are the same topic, in one order of points."""
    buffer = Buffer()
    buffer.add("loss", 0, {"x": 1, "y": 0.5})
    buffer.add("loss", 0, {"y": 1.5, "x": 2})
    assert series_of(buffer, buffer.drain().blocks) == {("loss", 0): {"x": [1, 2], "y": [0.5, 1.5]}}


@given(st.lists(st.tuples(scalars, scalars), min_size=20, max_size=60), st.sampled_from([2**53, 2**53 + 1, -(2**62)]))
def test_writes_that_alternate_between_dtypes_keep_their_order_and_values(pairs: list[Any], large: int) -> None:
    """As few blocks where one dtype holds all, and exact ints where none does."""
    buffer, expected = Buffer(), [*(value for pair in pairs for value in pair), large]
    for step, value in enumerate(expected):
        write(buffer, "a", 0, {"x": step, "y": value})
    found = series_of(buffer, buffer.drain().blocks)["a", 0]
    assert found["x"] == list(range(len(expected)))
    assert found["y"] == [np.asarray(value).item() for value in expected]


@pytest.mark.parametrize(
    "values", [(1, 0.5), (True, 2), (np.float32(0.5), 3), (np.ones((2, 3)), np.ones((2, 3), "f4"))]
)
def test_writes_that_alternate_between_dtypes_become_one_block(values: tuple[Any, Any]) -> None:
    """Of the dtype that readers of both would get."""
    buffer = Buffer()
    for step in range(1000):
        write(buffer, "a", 0, {"x": step, "y": values[step % 2]})
    (block,) = buffer.drain().blocks
    assert block.columns["x"].dtype == np.int64
    assert block.columns["y"].dtype == np.result_type(*map(np.asarray, values))
    n = block.shape[1] // 1000
    assert block.columns["x"][0, ::n].tolist() == list(range(1000))
    assert block.columns["y"][0, ::n].tolist() == [np.ravel(values[step % 2])[0] for step in range(1000)]


def test_a_put_is_made_once_for_the_types_of_its_values() -> None:
    """A number that is now an int, now a float, costs no more than finding the one for it."""
    buffer = Buffer()
    puts = []
    for value in (1, 0.5, 2, 1.5):
        buffer.add("a", 0, {"x": value})
        puts.append(buffer.puts["a"])
    assert puts[0] is puts[2]
    assert puts[1] is puts[3]
    assert puts[0] is not puts[1]


def test_ints_that_no_float_holds_stay_ints() -> None:
    """However often they alternate with floats."""
    buffer = Buffer()
    for step in range(100):
        write(buffer, "a", 0, {"y": 2**53 + 1 if step % 2 else 0.5})
    blocks = buffer.drain().blocks
    assert [value for block in blocks for value in block.columns["y"].ravel().tolist()] == [0.5, 2**53 + 1] * 50
    assert {block.columns["y"].dtype.str for block in blocks} == {"<i8", "<f8"}


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "i8"),
        (2**40, "i8"),
        (0.1, "f8"),
        (True, "?"),
        (np.float32(0.1), "f4"),
        (np.float16(0.5), "f4"),
        (np.float64(0.1), "f8"),
        (np.int8(-3), "i4"),
        (np.uint32(2**32 - 1), "i8"),
        (np.uint64(5), "i8"),
        (np.bool_(True), "?"),
        (enum.IntEnum("Phase", "train")(1), "i8"),
        ([1, 2], "i8"),
        (np.array([1, 2], np.int16), "i4"),
        (np.array(3, np.float16), "f4"),
    ],
)
def test_values_keep_their_number_and_get_the_stored_dtype(value: Any, dtype: str) -> None:
    """Python ints are int64, floats float64; numpy values widen to a stored dtype; nothing is narrowed."""
    buffer = Buffer()
    buffer.add("a", 0, {"x": value})
    column = buffer.drain().blocks[0].columns["x"]
    assert column.dtype == np.dtype(dtype)
    assert column.ravel().tolist() == np.ravel(value).tolist()


def test_what_is_stored_is_the_value_at_the_call() -> None:
    """A caller that reuses its array, small or large, does not change what was written."""
    buffer = Buffer()
    small, large = np.zeros(3), np.zeros(10_000)
    buffer.add("small", 0, {"x": small})
    buffer.add("large", 0, {"x": large})
    small[:] = large[:] = 1
    assert all(not block.columns["x"].any() for block in buffer.drain().blocks)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"x": 1}, ColumnsError, r"write\('loss'\): columns are \['x'\]; since its first write they are \['x', 'y'\]"),
        ({"x": 1, "z": 1}, ColumnsError, r"columns are \['x', 'z'\]"),
        ({}, ColumnsError, "there are no columns"),
        ({"x": np.zeros((1, 1, 1)), "y": 0}, ColumnsError, "rank 3"),
        ({"x": np.zeros(3), "y": np.zeros(4)}, ColumnsError, "do not broadcast"),
        ({"x": 2**63, "y": 0}, DtypeError, "9223372036854775808, which does not fit int64"),
        ({"x": 2**63, "y": 0.5}, DtypeError, "9223372036854775808, which does not fit int64"),
        ({"x": np.uint64(2**64 - 1), "y": 0}, DtypeError, "does not fit int64"),
        ({"x": 1j, "y": 0}, DtypeError, "column 'x'.*complex"),
        ({"x": np.complex64(1), "y": 0}, DtypeError, "complex64"),
        ({"x": "a", "y": 0}, DtypeError, "column 'x'.*builtins.str"),
        ({"x": None, "y": 0}, DtypeError, "NoneType"),
        ({"x": np.array(["a"]), "y": 0}, DtypeError, "cannot be stored"),
        ({"x": [[1], [1, 2]], "y": 0}, DtypeError, "column 'x'"),
    ],
)
def test_a_wrong_write_raises_and_leaves_nothing(columns: dict[str, Any], error: type, message: str) -> None:
    """The caller's mistake is named at the call, and nothing of the write is kept."""
    buffer = Buffer()
    buffer.add("loss", 0, {"x": 1, "y": 0.5})
    with pytest.raises(error, match=message):
        buffer.add("loss", 0, columns)
    assert series_of(buffer, buffer.drain().blocks) == {("loss", 0): {"x": [1], "y": [0.5]}}


class _Sub(np.ndarray[Any, Any]):
    """An array of a kind that a put does not know."""


class _Uncopied:
    """Of arrays that can be described and not be copied."""

    name, transfers = "uncopied", 0

    def accepts(self, kind: type) -> bool:
        return kind is _Sub

    def describe(self, value: Any) -> Form:
        return Form(value.shape, value.dtype, "there", value.nbytes, on_host=False)

    def copier(self, forms: Sequence[Form]) -> Callable[[Sequence[Any]], Any | None]:  # noqa: ARG002 - the interface
        return lambda _: None


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({}, ColumnsError),
        ({"x": np.zeros((1, 1, 1))}, ColumnsError),
        ({"x": np.zeros(3), "y": np.zeros(4)}, ColumnsError),
        ({"x": 2**63}, DtypeError),
        ({"x": -(2**63) - 1}, DtypeError),
        ({"x": 0.5, "y": 2**70}, DtypeError),
        ({"x": np.uint64(2**63)}, DtypeError),
        ({"x": np.array([0, 2**63], np.uint64)}, DtypeError),
        ({"x": 10**5000}, DtypeError),
        ({"x": [1, 2**70]}, DtypeError),
        ({"x": [[1], [1, 2]]}, DtypeError),
        ({"x": 1j}, DtypeError),
        ({"x": np.longdouble(1)}, DtypeError),
        ({"x": "a"}, DtypeError),
        ({"x": None}, DtypeError),
        ({"x": np.zeros(SMALL_BYTES, "U1")}, DtypeError),
        ({"x": np.zeros(3).view(_Sub)}, DtypeError),
        ({"x": np.zeros(SMALL_BYTES).view(_Sub)}, DtypeError),
    ],
)
def test_a_wrong_first_write_leaves_nothing_and_says_what_to_do(columns: dict[str, Any], error: type) -> None:
    """Not even its columns' names: the next write declares others."""
    buffer = Buffer(Adapters([_Uncopied()]))  # type: ignore[list-item]  # nothing is ever moved
    with pytest.raises(error, match=r"^write\('loss'\): .*(expected|: write) ") as caught:
        buffer.add("loss", 0, columns)
    assert not columns or any(f"{name!r}" in str(caught.value) or f"{name}:" in str(caught.value) for name in columns)
    assert buffer.topics == {}
    buffer.add("loss", 0, {"z": 1})
    assert series_of(buffer, buffer.drain().blocks) == {("loss", 0): {"z": [1]}}
    with pytest.raises(ColumnsError, match=r"since its first write they are \['z'\]: write these"):
        buffer.add("loss", 0, {"y": 1})


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("", 0),
        (5, 0),
        ("a" * 5000, 0),
        ("a\0", 0),
        ("\udcff", 0),
        ("a", -1),
        ("a", 2**31),
        ("a", "0"),
        (["a"], 0),
        ("a", [0]),
    ],
)
def test_wrong_names_and_indexes_are_refused(name: Any, index: Any) -> None:
    """A name is a short string, an index an int from 0."""
    with pytest.raises(UsageError, match="expected"):
        Buffer().add(name, index, {"x": 1})


@given(
    st.text(st.characters(exclude_categories=()), max_size=5) | st.sampled_from(["é" * 2048, "é" * 2049, "a" * 4096])
)
def test_every_text_that_a_store_can_keep_is_taken_and_no_other(text: str) -> None:
    """As a scope, a name or a column: what is taken here the server must not refuse, and the reverse."""
    try:
        text.encode()
        check_stored("name", text)
    except (UnicodeEncodeError, MalformedError):
        with pytest.raises(UsageError, match=r"scope is .*; expected a string of 1 to 4096 bytes"):
            check_text("scope", text)
        with pytest.raises(ColumnsError, match=r"write\('loss'\): column .*; expected a string of 1 to 4096 bytes"):
            Buffer().add("loss", 0, {text: 1})
    else:
        check_text("scope", text)
        Buffer().add(text, 0, {text: 1})


def test_an_empty_array_declares_the_topic_and_adds_nothing() -> None:
    """No point is no block, but wrong columns are still wrong afterwards."""
    buffer = Buffer()
    buffer.add("a", 0, {"x": np.zeros(0)})
    assert buffer.drain().blocks == []
    with pytest.raises(ColumnsError):
        buffer.add("a", 0, {"y": 1})


def test_more_columns_than_a_topic_may_have_are_refused() -> None:
    """At the call, as the server would refuse the whole batch."""
    buffer = Buffer()
    buffer.add("a", 0, {f"c{number}": 1 for number in range(MAX_COLUMNS)})
    with pytest.raises(ColumnsError, match=r"write\('b'\): there are 1025 columns; expected 1024 at most"):
        buffer.add("b", 0, {f"c{number}": 1 for number in range(MAX_COLUMNS + 1)})


def test_no_object_per_point_outlives_a_write() -> None:
    """The garbage collector has no more to walk after 10,000 writes than before."""
    buffer = Buffer()
    buffer.add("loss", 0, {"x": 0, "y": 0.5})
    gc.collect()
    before = len(gc.get_objects())
    for step in range(10_000):
        write(buffer, "loss", 0, {"x": step, "y": 0.5})
    assert len(gc.get_objects()) - before < 100


@pytest.fixture(name="fast_switches")
def _fast_switches() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


def test_threads_lose_nothing_while_another_drains(fast_switches: None) -> None:  # noqa: ARG001 - it acts by itself
    """Each thread's points come out once and in its own order, also those of several layouts and of large arrays."""
    buffer, blocks, running = Buffer(), list[Block](), threading.Event()

    def run(thread: int) -> None:
        running.wait()
        for step in range(3_000):
            value: Any = step if step % 7 else float(step)
            columns = {"thread": thread, "step": np.full(SMALL_BYTES, step) if step % 100 == 99 else value}
            write(buffer, "a", 0, columns)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    running.set()
    while any(thread.is_alive() for thread in threads):
        blocks += buffer.drain().blocks
    blocks += buffer.drain().blocks
    columns = series_of(buffer, blocks)["a", 0]
    for thread in range(4):
        mine = [step for step, owner in zip(columns["step"], columns["thread"], strict=True) if owner == thread]
        assert sorted(mine) == mine
        assert sorted(set(mine)) == list(range(3_000))
        assert len(mine) == 3_000 + 30 * (SMALL_BYTES - 1)


def test_a_put_takes_what_fits_its_layout_and_nothing_else() -> None:
    """The quick way of a write appends rows of the layout that it was made for; everything else goes through `add`."""
    buffer = Buffer()
    buffer.add("loss", 3, {"x": 1, "len": 0.5})
    put = buffer.puts["loss", 3]
    assert put({"x": 2, "len": 1.5}) < HIGH_WATER
    assert put({"len": 2.5, "x": 3}) < HIGH_WATER
    for other in ({"x": 3, "len": 2}, {"x": 3.0, "len": 1.5}, {"x": True, "len": 1.5}, {"x": 1, "len": 0.5, "z": 1}):
        assert put(other) == REFUSED
    with pytest.raises(KeyError):
        put({"x": 1})
    with pytest.raises(struct.error):
        put({"x": 2**63, "len": 0.5})
    assert series_of(buffer, buffer.drain().blocks) == {("loss", 3): {"x": [1, 2, 3], "len": [0.5, 1.5, 2.5]}}


def test_a_put_takes_small_arrays_of_its_dtype_and_shape() -> None:
    """In any memory layout; one of another dtype, shape, rank or class goes through `add`."""
    buffer, grid = Buffer(), np.arange(12.0).reshape(3, 4)
    buffer.add("a", 0, {"x": 1, "y": grid, "z": np.array(0.5, "f4"), "w": np.array([True])})
    put = buffer.puts["a"]
    rest = {"z": np.array(1.5, "f4"), "w": np.array([False])}
    for step, y in ((2, np.asfortranarray(grid + 1)), (3, np.ones((6, 8))[::2, ::2])):
        assert put({"x": step, "y": y, **rest}) < HIGH_WATER
    for other in (grid.astype("f4"), grid.astype(">f8"), grid[:2], grid.ravel(), grid.view(_Sub), grid.tolist(), 1.0):
        assert put({"x": 4, "y": other, **rest}) == REFUSED
    assert put({"x": 4, "y": grid, **rest, "z": np.array([1.5], "f4")}) == REFUSED
    (block,) = buffer.drain().blocks
    assert {name: values.dtype.str for name, values in block.columns.items()} == {
        "w": "|b1",
        "x": "<i8",
        "y": "<f8",
        "z": "<f4",
    }
    assert block.columns["y"].tolist() == np.hstack([grid, grid + 1, np.ones((3, 4))]).tolist()
    assert block.columns["x"].tolist() == [[1] * 4 + [2] * 4 + [3] * 4]
    assert block.columns["z"].tolist() == [[0.5] * 4 + [1.5] * 8]
    assert block.columns["w"].tolist() == [[True] * 4 + [False] * 8]


@pytest.mark.parametrize("array", [np.zeros(2, "f2"), np.zeros(2, "u1"), np.zeros(2, ">i4"), [0, 0], (0.0, 0.0)])
def test_what_has_to_be_converted_has_no_put(array: Any) -> None:
    """And arrives all the same."""
    buffer = Buffer()
    for _ in range(2):
        buffer.add("a", 0, {"x": array})
    assert buffer.puts == {}
    assert series_of(buffer, buffer.drain().blocks) == {("a", 0): {"x": [0, 0, 0, 0]}}


def test_there_are_no_puts_while_attention_is_asked_for() -> None:
    """Every writer takes the slow path then, and the quick one again afterwards."""
    buffer = Buffer()
    buffer.attention = True
    buffer.add("a", 0, {"x": 1})
    assert buffer.attention
    assert buffer.puts == {}
    buffer.attention = False
    assert not buffer.attention
    assert list(buffer.puts) == ["a"]


@pytest.mark.parametrize("column", ["a b", "class", "_data", "é", "1", "columns", "\U0010ffff", "'", "{0}"])
def test_any_string_can_name_a_column(column: str) -> None:
    """Names are data to the quick way of a write, never its text."""
    buffer = Buffer()
    buffer.add("loss", 0, {column: 0})
    for step in (1, 2):
        assert buffer.puts["loss"]({column: step}) < HIGH_WATER
    assert series_of(buffer, buffer.drain().blocks) == {("loss", 0): {column: [0, 1, 2]}}
