"""What every kind of array that `write` takes promises, whatever framework it belongs to."""
# ruff: noqa: S101 - a contract suite is made of asserts

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from streamvis.arrays import Adapters, ArrayAdapter
from streamvis.buffer import Buffer
from streamvis.columns import Array
from streamvis.drain import Drained
from streamvis.errors import ColumnsError, DtypeError
from streamvis.rows import SMALL_BYTES

Columns = dict[tuple[str, int], dict[str, Array]]

LARGE = SMALL_BYTES
"""Elements of an array that is no row whatever its dtype."""


def taken(buffer: Buffer) -> Columns:
    """Drains the buffer: the columns of each (name, index), in the order of the writes."""
    return columns_of(buffer, buffer.drain())


def columns_of(buffer: Buffer, drained: Drained) -> Columns:
    """What a drain gave, by (name, index)."""
    names = {handle: name for name, (handle, _) in buffer.topics.items()}
    found: defaultdict[tuple[str, int], defaultdict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for block in drained.blocks:
        for index, columns in block.series():
            for column, values in columns.items():
                found[names[block.topic], index][column].append(values)
    return {key: {column: np.concatenate(parts) for column, parts in columns.items()} for key, columns in found.items()}


class ArrayContract(ABC):
    """The promises of one framework's arrays on one kind of device. Subclasses say how to make and to spoil them."""

    dtypes: ClassVar[Mapping[str, str]]
    """The framework's dtypes by the names that `array` takes, each with the dtype of the stored column."""

    number: ClassVar[str] = "float32"
    """The one for tests that need no more than one."""

    @abstractmethod
    def array(self, values: Array, dtype: str) -> Any:
        """An array of the framework with these values."""

    @abstractmethod
    def spoilers(self) -> Sequence[Callable[[Any], object]]:
        """Everything that may happen to an array after it was written: each is called with one that holds ones."""

    def views(self, grid: Any) -> Sequence[tuple[Any, Array]]:
        """Arrays that share the memory of a (3, 4) one holding 0 to 11, such as slices, each with its values."""
        return [(grid[1], np.arange(4, 8)), (grid[:, 1], np.arange(1, 12, 4)), (grid[::2, 1:], _GRID[::2, 1:])]

    def adapter(self) -> ArrayAdapter | None:
        """The adapter of these arrays, None for those that need none."""
        return Adapters().of(type(self.array(np.zeros(()), self.number)))

    # ---- values

    def test_every_dtype_arrives_exactly(self) -> None:
        """Rank 0, 1 and 2, small and large; what the column's dtype is, is documented."""
        for dtype, stored in self.dtypes.items():
            for shape in ((), (3,), (2, 3), (1, LARGE), (2, LARGE)):
                buffer = Buffer()
                values = (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape)
                buffer.add("a", 4, {"x": self.array(values, dtype)})
                rows = np.atleast_2d(values)
                found = taken(buffer)
                assert list(found) == [("a", 4 + row) for row in range(len(rows))], (dtype, shape)
                for (_, index), columns in found.items():
                    assert columns["x"].dtype == np.dtype(stored), (dtype, shape)
                    assert columns["x"].tolist() == rows[index - 4].tolist(), (dtype, shape)

    def test_nan_infinities_and_the_sign_of_zero_are_kept(self) -> None:
        """Also in numbers of 16 bits."""
        values = np.array([np.nan, np.inf, -np.inf, -0.0, 1.5])
        for dtype in (dtype for dtype, stored in self.dtypes.items() if "f" in stored and "8" not in dtype):
            buffer = Buffer()
            buffer.add("a", 0, {"x": self.array(values, dtype)})
            found = taken(buffer)["a", 0]["x"]
            assert np.array_equal(found, values, equal_nan=True), dtype
            assert np.signbit(found).tolist() == [False, False, True, True, False], dtype

    @pytest.mark.parametrize("size", [1, 5, LARGE])
    def test_what_is_stored_is_the_value_at_the_call(self, size: int) -> None:
        """Whatever happens to the array between the write and the flush, time and again."""
        for dtype in self.dtypes:
            buffer = Buffer()
            for spoil in self.spoilers():
                array = self.array(np.ones(size), dtype)
                buffer.add("a", 0, {"x": array})
                spoil(array)
            found = taken(buffer)["a", 0]["x"]
            assert found.tolist() == [1] * size * len(self.spoilers()), dtype

    def test_views_are_copied_as_what_they_show(self) -> None:
        """Slices, columns and strides, beside each other in one write or alone, small and large."""
        for dtype in self.dtypes:
            if "float8" in dtype:
                continue  # which has no 11
            for view, values in self.views(self.array(_GRID, dtype)):
                buffer = Buffer()
                buffer.add("alone", 0, {"x": view})
                buffer.add("beside", 0, {"x": view, "y": view})
                found = taken(buffer)
                rows = np.atleast_2d(values)
                for row in range(len(rows)):
                    expected = rows[row].tolist() if dtype != "bool" else (rows[row] != 0).tolist()
                    assert found["alone", row]["x"].tolist() == expected, (dtype, values)
                    assert found["beside", row]["x"].tolist() == found["beside", row]["y"].tolist() == expected

    # ---- shapes

    def test_kinds_broadcast_together_in_one_write(self) -> None:
        """The framework's arrays beside numpy's and Python numbers, of ranks 0, 1 and 2."""
        dtype = self.number
        for n in (4, LARGE):
            buffer = Buffer()
            x, y = np.arange(n) % 2, np.stack([np.zeros(n), np.ones(n)])
            for step in range(2):
                buffer.add("a", 1, {"x": self.array(x, dtype), "y": y, "t": self.array(np.ones(()), dtype), "s": step})
                buffer.add("b", 0, {"x": x, "y": self.array(y, dtype), "t": 0.5, "s": step})
            found = taken(buffer)
            for (name, index), columns in found.items():
                row = index - (name == "a")
                assert columns["x"].tolist() == [*x, *x]
                assert columns["y"].tolist() == [*y[row], *y[row]]
                assert set(columns["t"].tolist()) == {1.0 if name == "a" else 0.5}
                assert columns["s"].tolist() == [0] * n + [1] * n
            assert len(found) == 4

    def test_an_empty_array_adds_nothing(self) -> None:
        """It declares the name, and the next write is stored."""
        dtype = self.number
        buffer = Buffer()
        buffer.add("a", 0, {"x": self.array(np.zeros(0), dtype)})
        buffer.add("a", 0, {"x": self.array(np.ones(1), dtype)})
        assert taken(buffer)["a", 0]["x"].tolist() == [1]

    def test_shapes_and_dtypes_may_change_from_write_to_write(self) -> None:
        """The order of the writes is the order of the points, whatever they are made of."""
        buffer, expected = Buffer(), list[float]()
        dtypes = [dtype for dtype in self.dtypes if dtype != "bool"]
        for step in range(120):
            size = (1, 3, 1, LARGE)[step % 4] if step % 20 < 16 else step % 7 + 1
            values = np.full(size, step % 2)
            value = self.array(values if size > 1 else values[0], dtypes[step // 3 % len(dtypes)])
            buffer.add("a", 0, {"x": value if step % 5 else values})
            expected += values.tolist()
        assert taken(buffer)["a", 0]["x"].tolist() == expected

    @pytest.mark.parametrize(
        ("shape", "message"),
        [((1, 1, 1), r"write\('a'\): column 'x' has .*\(1, 1, 1\).*rank 0, 1 or 2"), ((3,), "do not broadcast")],
    )
    def test_shapes_that_do_not_fit_are_refused(self, shape: tuple[int, ...], message: str) -> None:
        """With the series, the column and the shapes; the next write is stored."""
        buffer, dtype = Buffer(), self.number
        with pytest.raises(ColumnsError, match=message):
            buffer.add("a", 0, {"x": self.array(np.zeros(shape), dtype), "y": np.zeros(2)})
        buffer.add("a", 0, {"x": self.array(np.ones(()), dtype), "y": 1})
        assert taken(buffer)["a", 0]["x"].tolist() == [1]

    # ---- many

    def test_many_writes_come_out_as_few_blocks_in_order(self) -> None:
        """Scalars of several names, some beside Python numbers: one block a name, and one transfer per dtype."""
        dtypes = [dtype for dtype in self.dtypes if dtype != "bool"][:2]
        adapters = Adapters()
        buffer = Buffer(adapters)
        names = [f"{dtype}{copy}" for dtype in dtypes for copy in (0, 1)]
        for step in range(300):
            values = {name: self.array(np.array(step % 2), name[:-1]) for name in names}
            buffer.add("train", 0, {"step": step, **values})
            buffer.add("lr", step % 2, {"step": step, "x": values[f"{dtypes[0]}0"]})
        drained = buffer.drain()
        assert len(drained.blocks) == 3
        found = columns_of(buffer, drained)
        assert found["train", 0]["step"].tolist() == list(range(300))
        assert all(found["train", 0][name].tolist() == [0, 1] * 150 for name in names)
        assert found["lr", 1]["x"].tolist() == [1] * 150
        assert (drained.writes, drained.points) == (600, 600)
        assert buffer.nbytes() == buffer.device_bytes == buffer.waiting() == 0
        if self.adapter() is not None:
            assert adapters.transfers == len(dtypes)

    def test_values_copied_together_may_be_written_one_by_one(self) -> None:
        """Whatever happens to them in between; numbers and arrays of every shape, also when their kinds change."""
        buffer, spoilers, expected = Buffer(), self.spoilers(), dict[str, list[float]]()
        dtypes = [dtype for dtype in self.dtypes if dtype != "bool"][:2]
        for step in range(4 * len(spoilers)):
            value, size = step % 2, 3 if step < 2 * len(spoilers) else 4
            arrays = {
                **{f"{dtype} {copy}": self.array(np.array([value]), dtype) for dtype in dtypes for copy in "ab"},
                "array": self.array(np.full(size, value), dtypes[0]),
            }
            values = {**arrays, "number": 0.5, "changes": arrays["array"] if step % 3 else 0.5}
            names = tuple(values)
            copies = buffer.together(names, list(values.values()))
            assert any(copy is not value for copy, value in zip(copies, values.values(), strict=True)) is (
                self.adapter() is not None
            )
            if self.adapter() is not None:
                for array in arrays.values():
                    spoilers[step % len(spoilers)](array)
            for name, copy in zip(names, copies, strict=True):
                buffer.add(name, 0, {"step": step, "x": copy})
                points = size if values[name] is arrays["array"] else 1
                expected.setdefault(name, []).extend([value if name in arrays or points > 1 else 0.5] * points)
        found = taken(buffer)
        assert {name: columns["x"].tolist() for (name, _), columns in found.items()} == expected
        assert buffer.nbytes() == buffer.device_bytes == 0

    def test_values_copied_together_are_moved_together(self) -> None:
        """One transfer for each dtype, however many names and writes."""
        dtypes = [dtype for dtype in self.dtypes if dtype != "bool"][:2]
        adapters = Adapters()
        buffer = Buffer(adapters)
        names = tuple(f"{dtype}{copy}" for dtype in dtypes for copy in range(4))
        for step in range(300):
            values = [self.array(np.array(step % 2), name[:-1]) for name in names]
            for name, value in zip(names, buffer.together(names, values), strict=True):
                buffer.add(name, 0, {"step": step, "x": value})
        found = taken(buffer)
        assert all(found[name, 0]["x"].tolist() == [0, 1] * 150 for name in names)
        assert all(found[name, 0]["step"].tolist() == list(range(300)) for name in names)
        if self.adapter() is not None:
            assert adapters.transfers == len(dtypes)

    def test_threads_may_write_the_same_name(self) -> None:
        """Each thread's points come out once and in its order, while another thread drains."""
        dtype, buffer, parts = self.number, Buffer(), list[Columns]()

        def write(thread: int) -> None:
            for step in range(100):
                value = self.array(np.array(step), dtype)
                buffer.add("a", 0, {"thread": thread, "x": value if step % 10 else self.array(np.full(3, step), dtype)})

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            parts.append(taken(buffer))
        parts.append(taken(buffer))
        owners, values = (
            np.concatenate([part["a", 0][name] for part in parts if part]).tolist() for name in ("thread", "x")
        )
        for number in range(3):
            mine = [value for value, owner in zip(values, owners, strict=True) if owner == number]
            assert mine == [step for step in range(100) for _ in range(1 if step % 10 else 3)]

    def test_no_host_memory_is_kept_after_a_drain(self) -> None:
        """What waits is counted, and gone afterwards."""
        dtype = self.number
        buffer = Buffer()
        for _ in range(10):
            buffer.add("a", 0, {"x": self.array(np.zeros(()), dtype)})
            buffer.add("b", 0, {"x": self.array(np.zeros(LARGE), dtype)})
        assert buffer.nbytes() + buffer.device_bytes >= 10 * LARGE
        buffer.drain()
        assert buffer.nbytes() == buffer.device_bytes == 0

    # ---- failures

    def test_what_cannot_be_read_at_the_flush_is_lost_alone(self) -> None:
        """The points are counted under their topic with the reason; everything else of the flush arrives."""
        adapter = self.adapter()
        if adapter is None:
            return
        dtype = self.number
        flaky = FlakyAdapter(adapter)
        buffer = Buffer(Adapters([flaky]))
        for step in range(40):
            flaky.bad = step in (7, 30)
            buffer.add("a", 0, {"step": step, "x": self.array(np.array(step % 2), dtype)})
        flaky.bad = True
        buffer.add("b", 0, {"x": self.array(np.zeros(LARGE), dtype)})
        buffer.add("c", 0, {"x": self.array(np.zeros(()), dtype)})
        flaky.bad = False
        buffer.add("d", 0, {"x": self.array(np.ones(LARGE), dtype)})
        drained = buffer.drain()
        found = columns_of(buffer, drained)
        assert sorted(found) == [("a", 0), ("d", 0)]
        assert found["a", 0]["step"].tolist() == [step for step in range(40) if step not in (7, 30)]
        assert found["a", 0]["x"].tolist() == [step % 2 for step in range(40) if step not in (7, 30)]
        lost = {name: drained.unreadable.get(handle, (0, ""))[0] for name, (handle, _) in buffer.topics.items()}
        assert lost == {"a": 2, "b": LARGE, "c": 1, "d": 0}
        assert all("OSError: the device is gone" in reason for _, reason in drained.unreadable.values())
        assert drained.points == 38 + LARGE

    def test_values_copied_together_that_cannot_be_read_are_lost_alone(self) -> None:
        """Those of one call."""
        adapter = self.adapter()
        if adapter is None:
            return
        flaky = FlakyAdapter(adapter)
        buffer = Buffer(Adapters([flaky]))
        for step in range(20):
            flaky.bad = step in (7, 13)
            values = [self.array(np.array(step % 2), self.number) for _ in range(2)]
            for name, value in zip("ab", buffer.together(("a", "b"), values), strict=True):
                buffer.add(name, 0, {"step": step, "x": value})
        drained = buffer.drain()
        found = columns_of(buffer, drained)
        for name in "ab":
            assert found[name, 0]["step"].tolist() == [step for step in range(20) if step not in (7, 13)]
            assert found[name, 0]["x"].tolist() == [step % 2 for step in range(20) if step not in (7, 13)]
        assert sorted(points for points, _ in drained.unreadable.values()) == [2, 2]

    def test_complex_numbers_are_refused(self) -> None:
        """With the series, the column and what to do."""
        with pytest.raises(DtypeError, match=r"write\('a'\): column 'x' .*complex"):
            Buffer().add("a", 0, {"x": self.array(np.zeros(2), "complex64")})


class FlakyAdapter:
    """An adapter around another: what is copied while it is `bad` cannot be read."""

    def __init__(self, adapter: ArrayAdapter) -> None:
        self.name = adapter.name
        self.transfers = 0
        self.bad = False
        self._bad: list[Any] = []
        self._adapter = adapter

    def accepts(self, kind: type) -> bool:
        """See ArrayAdapter."""
        return self._adapter.accepts(kind)

    def describe(self, value: Any) -> Any:
        """See ArrayAdapter."""
        return self._adapter.describe(value)

    def copier(self, forms: Any) -> Any:
        """See ArrayAdapter."""
        copy = self._adapter.copier(forms)

        def marked(values: Any) -> Any:
            snapshot = copy(values)
            self._bad += [snapshot] if self.bad else []
            return snapshot

        return marked

    def transfer(self, runs: Any) -> list[Array]:
        """See ArrayAdapter."""
        if any(snapshot is bad for run in runs for snapshot in run for bad in self._bad):
            raise OSError("the device is gone")
        return self._adapter.transfer(runs)


_GRID = np.arange(12).reshape(3, 4)
