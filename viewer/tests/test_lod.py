"""Level of detail: fewer points that look the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamvis_viewer.lod import Area, Picks, Span, Window, density, ema, line, sample

WHOLE = Span()
values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


def wanted(budget: int, span: Span = WHOLE, most: int | None = None) -> Window:
    return Window(span, budget, budget if most is None else most)


def drawn(x: Any, ys: Any, picks: Picks) -> list[tuple[Any, Any]]:
    """X and y of each line that was kept."""
    ends = np.cumsum(picks.counts)
    kept = zip(picks.counts, ends, strict=True)
    xs, y = picks.of(x), picks.of(ys)
    return [(xs[end - count : end], y[end - count : end]) for count, end in kept]


@given(
    hnp.arrays("<f4", hnp.array_shapes(min_dims=2, max_dims=2, max_side=300), elements=values),
    st.integers(2, 80),
    st.booleans(),
)
def test_every_bucket_keeps_its_extremes(y: Any, budget: int, own_x: bool) -> None:
    """Of each row; no more points than asked for; in their order, and points that were there."""
    rows, length = y.shape
    x = np.tile(np.arange(length) ** 2, (rows if own_x else 1, 1))
    picks = line(x, [y], True, wanted(budget))
    starts = np.append(wanted(budget).starts(x[0], 1), length) if length > budget else np.arange(length + 1)
    for row, (xs, kept) in enumerate(drawn(x, y, picks)):
        places = np.searchsorted(x[0], xs)
        assert len(places) <= max(budget, 4)
        assert (np.diff(places) > 0).all()
        assert np.array_equal(y[row, places], kept, equal_nan=True)
        assert {0, length - 1} <= set(places.tolist())
        for begin, end in pairwise(starts):
            finite = y[row, begin:end][np.isfinite(y[row, begin:end])]
            mine = kept[(places >= begin) & (places < end)]
            if finite.size:
                assert {finite.min(), finite.max()} <= set(mine.tolist())
            else:
                assert not np.isfinite(mine).all()


def test_a_gap_stays_a_gap_and_does_not_hide_a_line() -> None:
    """Buckets without a value break the line; a NaN among values of a bucket does not."""
    y = np.zeros((1, 1000), "f4")
    y[0, 300:500] = np.nan
    y[0, 700] = np.nan
    x = np.arange(1000)[np.newaxis]
    ((xs, kept),) = drawn(x, y, line(x, [y], True, wanted(42)))
    gaps = xs[np.isnan(kept)]
    assert len(gaps)
    assert ((gaps >= 300) & (gaps < 500)).all()


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i4", "<i8"])
def test_a_window_holds_one_more_point_on_each_side(dtype: str) -> None:
    """The line goes on beyond the frame; all points where there are few."""
    x, y = np.arange(100, dtype=dtype)[np.newaxis], np.arange(100.0)[np.newaxis]
    ((xs, _),) = drawn(x, y, line(x, [y], True, wanted(50, Span(10.5, 20))))
    assert xs.tolist() == list(range(10, 22))
    ((xs, _),) = drawn(x, y, line(x, [y], True, wanted(50, Span(-(2.0**80), 2.0**80), most=100)))
    assert len(xs) == 100
    ((xs, _),) = drawn(x, y, line(x, [y], True, wanted(50, Span(200, 300))))
    assert xs.tolist() == [99]


def test_buckets_are_equally_wide_on_a_logarithmic_axis() -> None:
    """Each decade has as many, and what is not positive has no place."""
    x = np.arange(-10, 100_000)[np.newaxis]
    y = np.random.default_rng(0).normal(size=x.shape)
    ((xs, _),) = drawn(x, y, line(x, [y], True, wanted(402, Span(log=True))))
    assert xs[0] >= 0
    decades = np.histogram(xs[xs > 0], [1, 10, 100, 1000, 10_000, 100_000])[0]
    assert decades[3] == pytest.approx(decades[4], abs=3)
    assert decades[1] > 40


def test_a_line_that_runs_to_and_fro_keeps_its_extent() -> None:
    """Its buckets are of points in a row, with extremes in x as well; a window has its visits, with gaps between."""
    t = np.linspace(0, 20 * np.pi, 10_000)
    x, y = (np.cos(t) * t)[np.newaxis], (np.sin(t) * t)[np.newaxis]
    ((xs, ys),) = drawn(x, y, line(x, [y], False, wanted(1000)))
    assert len(xs) <= 1000
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (x.min(), x.max(), y.min(), y.max())
    ((xs, ys),) = drawn(x, y, line(x, [y], False, wanted(9000, Span(10, 20), most=9000)))
    inside = (xs >= 10) & (xs <= 20)
    assert inside.sum() == ((x >= 10) & (x <= 20)).sum()
    assert np.isnan(ys).sum() > 5


def test_a_sample_keeps_extremes_and_changes() -> None:
    """So that ranges and sliders show what there is."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 1000))
    t = np.repeat(np.arange(50), 20)[np.newaxis]
    picks = sample([x, y, t], 100, t)
    ends = np.cumsum(picks.counts)
    for row, (count, end) in enumerate(zip(picks.counts, ends, strict=True)):
        at = picks.at[end - count : end]
        assert count < 80
        assert {x[row].argmin(), x[row].argmax(), y[row].argmin(), y[row].argmax()} <= set(at.tolist())
        assert set(t[0, at].tolist()) == set(range(50))


def test_density_counts_every_point_in_its_pixel() -> None:
    """The more, the more opaque; the colour is that of the points; what lies outside does not count."""
    red = (np.array([0.5, 0.5, 9.5, 50.0, np.nan]), np.array([0.5, 0.5, 3.5, 1.0, 1.0]))
    blue = (np.array([9.5]), np.array([3.5]))
    groups = [((255, 0, 0), iter([red])), ((0, 0, 255), iter([blue]))]
    image = density(groups, Area(Span(0, 10), Span(0, 4)), 10, 4)
    assert image.shape == (4, 10, 4)
    assert image[3, 0].tolist() == [255, 0, 0, 255]
    assert image[0, 9].tolist() == [128, 0, 128, 255]
    assert (image[..., 3] > 0).sum() == 2


def test_density_follows_logarithmic_axes() -> None:
    """A pixel is as many decades wide as any other."""
    points = (np.array([1.5, 15.0, 150.0, -3.0]), np.ones(4))
    image = density([((0, 0, 0), iter([points]))], Area(Span(1, 1000, log=True), Span(0, 2)), 3, 1)
    assert (image[0, :, 3] > 0).all()


@given(
    hnp.arrays("<f8", st.tuples(st.integers(1, 3), st.integers(0, 200)), elements=st.floats(-1e3, 1e3)),
    st.sampled_from([0.0, 0.5, 0.9, 0.999]),
    st.sets(st.integers(0, 199)),
)
def test_a_moving_average_is_tensorboards(y: Any, weight: float, gaps: set[int]) -> None:
    """Free of the bias of its start; what is not finite is skipped."""
    y = y.copy()
    y[:, [gap for gap in gaps if gap < y.shape[1]]] = np.nan
    found = ema(y, weight)
    for row, averages in zip(y, found, strict=True):
        last, count = 0.0, 0
        for value, average in zip(row, averages, strict=True):
            if not np.isfinite(value):
                assert np.isnan(average)
                continue
            last, count = weight * last + (1 - weight) * value, count + 1
            assert average == pytest.approx(last / (1 - weight**count), rel=1e-9, abs=1e-9)


def test_a_moving_average_of_a_long_line_is_made_in_parts_that_fit_together() -> None:
    """The parts are an implementation's."""
    y = np.random.default_rng(0).normal(size=(1, 100_000)).cumsum(axis=1)
    found = ema(y, 0.9)[0]
    expected = np.zeros(2)
    for value in y[0]:
        expected = np.array([0.9 * expected[0] + 0.1 * value, expected[1] + 1])
    assert found[-1] == pytest.approx(expected[0], rel=1e-12)
    assert np.abs(np.diff(found)).max() < np.abs(np.diff(y)).max()
