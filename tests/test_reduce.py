"""Reductions against slow definitions: windows that never change, thinning that keeps what a line shows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamvis.columns import Array
from streamvis.errors import UsageError
from streamvis.reduce import Condition, Reducer, Reduction, Windows, meeting, windowed_means, within
from streamvis.thinning import Course, Thinner, thinned

floats = st.floats(allow_nan=True, allow_infinity=True, width=32)
series = st.integers(0, 60).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "x": hnp.arrays("<i8", n, elements=st.integers(-20, 20)) | hnp.arrays("<f8", n, elements=floats),
            "y": hnp.arrays("<f8", n, elements=floats),
            "z": hnp.arrays("<i4", n, elements=st.integers(-3, 3)) | hnp.arrays("?", n),
        }
    )
)
sizes = st.integers(1, 9)


def rows(columns: dict[str, Array]) -> list[tuple[bytes, ...]]:
    """The points, comparable bit for bit."""
    return list(zip(*([value.tobytes() for value in values] for values in columns.values()), strict=True))


@given(series, sizes, sizes, st.lists(st.integers(0, 60), max_size=6))
def test_windows_of_a_growing_series_are_those_of_the_whole(
    columns: dict[str, Array], window: int, stride: int, cuts: list[int]
) -> None:
    """However it is cut into reads, none is missing, repeated or different in any bit."""
    length = len(columns["x"])
    whole = windowed_means(columns, window, stride)
    reads = sorted({0, length, *(cut for cut in cuts if cut < length)})
    grown: list[Any] = []
    for before, upto in pairwise(reads):
        held = {name: values[:upto] for name, values in columns.items()}
        grown += rows(windowed_means(held, window, stride, before))
    assert grown == rows(whole)


@given(series, sizes, sizes, st.lists(st.integers(0, 60), max_size=6), st.integers(0, 60))
def test_windows_that_are_fed_piece_by_piece_are_those_of_the_whole(
    columns: dict[str, Array], window: int, stride: int, cuts: list[int], start: int
) -> None:
    """However it is cut; begun late, those windows alone that begin not before."""
    length = len(columns["x"])
    start = min(start, length)
    windows = Windows(window, stride, start)
    fed: list[Any] = []
    for first, last in pairwise(sorted({start, length, *(cut for cut in cuts if start < cut < length)})):
        fed += rows(windows.feed({name: values[first:last] for name, values in columns.items()}))
    assert fed == rows(windowed_means(columns, window, stride))[-(-start // stride) :]


@given(series, sizes, sizes)
def test_a_window_is_the_mean_of_its_points(columns: dict[str, Array], window: int, stride: int) -> None:
    """Of each complete one, by definition; as float64, NaN and infinities as in any mean."""
    starts = range(0, len(columns["x"]) - window + 1, stride)
    for name, means in windowed_means(columns, window, stride).items():
        with np.errstate(all="ignore"):
            expected = [columns[name][start : start + window].astype("f8").mean() for start in starts]
        assert means.dtype == "<f8"
        np.testing.assert_allclose(means, expected, rtol=1e-12, atol=1e-6 * max([0, *map(_size, columns[name])]))


def _size(value: Any) -> float:
    return abs(float(value)) if math.isfinite(value) else 0.0


@given(series, st.floats(-20, 20), st.floats(0, 20))
def test_a_range_keeps_the_points_between_its_ends(columns: dict[str, Array], low: float, width: float) -> None:
    """Both included; NaN lies nowhere; a series without the column has no point in any range."""
    inside = [point for point in range(len(columns["x"])) if low <= columns["x"][point] <= low + width]
    kept = within(columns, "x", low, low + width)
    assert rows(kept) == [rows(columns)[point] for point in inside]
    assert rows(within(columns, "step", low, low + width)) == []


numbers = st.sampled_from([0, 1, 0.1, -0.5, 2**53 + 1, -(2**63), 2**63 - 1, 2**70, 1e300, math.inf, -math.inf])
any_series = st.integers(0, 12).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            name: hnp.arrays(dtype, n)
            | hnp.arrays(dtype, n, elements=hnp.from_dtype(np.dtype(dtype)) | numbers.filter(_holds(dtype)))
            for name, dtype in (("f", "<f4"), ("d", "<f8"), ("i", "<i4"), ("l", "<i8"), ("b", "?"))
        }
    )
)


def _holds(dtype: str) -> Any:
    def holds(number: float) -> bool:
        with np.errstate(all="ignore"):
            try:
                return float(np.dtype(dtype).type(number)) == number and (dtype[1:2] == "f" or number == int(number))
            except (OverflowError, ValueError):
                return False

    return holds


def slow_meeting(column: Array, low: float, high: float) -> list[bool]:
    """By the words of the definition: floats with the ends in their dtype, the others as exact numbers."""
    if column.dtype.kind == "f":
        with np.errstate(all="ignore"):
            low, high = (float(column.dtype.type(end)) for end in (low, high))
    return [low <= value <= high for value in column.tolist()]


@given(any_series, st.lists(st.tuples(st.sampled_from("fdilb"), numbers, numbers), max_size=3))
def test_points_that_meet_all_conditions_are_kept(
    columns: dict[str, Array], wanted: list[tuple[str, float, float]]
) -> None:
    """Of every dtype, at its limits and beyond; none of a series without the column."""
    conditions = [Condition(column, min(ends), max(ends)) for column, *ends in wanted]
    verdicts = [slow_meeting(columns[column], low, high) for column, low, high in conditions]
    kept = [point for point in range(len(columns["f"])) if all(verdict[point] for verdict in verdicts)]
    assert rows(meeting(columns, conditions)) == [rows(columns)[point] for point in kept]
    assert rows(meeting(columns, [*conditions, Condition("step", 0, 1)])) == []


def test_a_float32_is_found_by_the_number_that_was_written() -> None:
    """0.1 is not a float32; what it became is found by it, and a step beyond what float64 counts is found exactly."""
    columns = {"y": np.array([0.1, 0.2], "<f4"), "x": np.array([2**53, 2**53 + 1])}
    assert meeting(columns, [Condition("y", 0.1, 0.1)])["x"].tolist() == [2**53]
    assert meeting(columns, [Condition("x", 2**53 + 1, 2**53 + 1)])["x"].tolist() == [2**53 + 1]


@given(series, sizes, sizes, st.lists(st.integers(0, 60), max_size=6))
def test_what_a_series_gives_does_not_depend_on_how_it_is_cut(
    columns: dict[str, Array], window: int, stride: int, cuts: list[int]
) -> None:
    """Conditions, windows and range piece by piece; and what is still to get is what a reader has not had."""
    length = len(columns["x"])
    conditions = (Condition("z", 0, 2), Condition("x", -15, 15))
    reduction = Reduction(where=conditions, window=window, stride=stride, x_range=(-10, 10))
    whole = rows(reduction.apply(columns))
    assert whole == rows(within(windowed_means(meeting(columns, conditions), window, stride), "x", -10, 10))
    reducer, fed, pieced = Reducer(reduction), list[Any](), list[Any]()
    for first, last in pairwise(sorted({0, length, *(cut for cut in cuts if cut < length)})):
        fed += rows(reducer.feed({name: values[first:last] for name, values in columns.items()}))
        pieced += rows(reduction.apply({name: values[:last] for name, values in columns.items()}, before=first))
    assert fed == pieced == whole


def slow_thinning(columns: dict[str, Array], max_points: int) -> list[int]:
    """The points that are kept, by the words of the definition."""
    x, length = columns["x"].tolist(), len(columns["x"])
    if length <= max_points:
        return list(range(length))
    buckets = (max_points - 2) // 6
    span = float(x[-1]) - float(x[0])
    if not buckets or not math.isfinite(span) or any(not b >= a for a, b in pairwise(x)):
        return sorted({round(float(place)) for place in np.linspace(0, length - 1, max_points)})
    kept = {0, length - 1}
    members: dict[int, list[int]] = {}
    for point, value in enumerate(x):
        part = (float(value) - float(x[0])) / span if span else point / length
        members.setdefault(min(int(part * buckets), buckets - 1), []).append(point)
    for points in members.values():
        for values in (columns["y"].tolist(), columns["z"].tolist()):
            known = [point for point in points if not math.isnan(values[point])]
            kept.update([point for point in points if math.isnan(values[point])][:1])
            if known:
                kept |= {min(known, key=values.__getitem__), max(known, key=values.__getitem__)}
    return sorted(kept)


@given(series, st.booleans(), st.integers(2, 40), st.lists(st.integers(0, 60), max_size=6))
def test_thinning_keeps_what_a_line_shows(
    columns: dict[str, Array], ascending: bool, max_points: int, cuts: list[int]
) -> None:
    """First, last, and of each bucket the lowest, the highest and a break; never more than asked, always in order.

    However the series is cut.
    """
    if ascending:
        columns = {**columns, "x": np.sort(columns["x"])}
    kept = thinned(columns, "x", max_points)
    assert len(kept["x"]) <= max_points
    assert rows(kept) == [rows(columns)[point] for point in slow_thinning(columns, max_points)]
    length = len(columns["x"])
    pieces = [
        {name: values[first:last] for name, values in columns.items()}
        for first, last in pairwise([0, *sorted(min(cut, length) for cut in cuts), length])
    ]
    course = Course("x")
    for piece in pieces:
        course.feed(piece)
    thinner = Thinner(course, max_points)
    for piece in pieces:
        thinner.feed(piece)
    assert rows(thinner.finish() or columns) == rows(kept)


def test_every_spike_and_break_survives() -> None:
    """One high, one low and one missing point among 100,000 are there after thinning to 200."""
    y = np.sin(np.arange(100_000) / 1000)
    y[12_345], y[54_321], y[77_777] = 9.0, -9.0, np.nan
    columns = {"x": np.arange(100_000), "y": y}
    kept = thinned(columns, "x", 200)
    assert {0, 12_345, 54_321, 77_777, 99_999} <= set(kept["x"].tolist())
    assert 100 < len(kept["x"]) <= 200


def test_points_without_an_order_of_x_are_thinned_by_their_place() -> None:
    """A cloud, or a series without the column, keeps points at equal distances, the first and the last among them."""
    places = np.arange(1001)
    for columns in ({"x": -places, "y": places}, {"y": places}):
        assert thinned(columns, "x", 101)["y"].tolist() == list(range(0, 1001, 10))


def test_the_steps_follow_each_other() -> None:
    """The range is one of means, and the thinning one of what lies in it."""
    columns = {"x": np.arange(1000), "y": np.arange(1000) % 7}
    reduced = Reduction(window=10, stride=10, x="x", x_range=(100.0, 900.0), max_points=20).apply(columns)
    expected = thinned(within(windowed_means(columns, 10, 10), "x", 100.0, 900.0), "x", 20)
    assert rows(reduced) == rows(expected)
    assert rows(Reduction(window=10).apply(columns)) == rows(windowed_means(columns, 10, 10))
    assert rows(Reduction(x_range=(0, 5)).apply(columns, before=4)) == rows(columns)[4:6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": -1}, "window is -1"),
        ({"window": (1 << 24) + 1}, "window is 16777217; expected 1 to 16777216"),
        ({"window": 1, "stride": 1 << 31}, "stride is 2147483648"),
        ({"stride": 2}, "stride is 2 without a window"),
        ({"max_points": 1}, "max_points is 1; expected 2 or more"),
        ({"x_range": (2.0, 1.0)}, r"x_range is \(2.0, 1.0\)"),
        ({"x_range": (math.nan, 1.0)}, "x_range is"),
        ({"where": (Condition("t", 2, 1),)}, r"where\['t'\] is \(2, 1\)"),
        ({"where": (Condition("t", math.nan, math.nan),)}, "where.*expected a number"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The error says what was found and expected."""
    with pytest.raises(UsageError, match=message):
        Reduction(**arguments)
