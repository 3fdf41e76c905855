"""The packed store of a plot's points against a plain model of it, over random histories."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from viewer.tests.layer_page import chromium, plain, serving

Point = tuple[float, float | None, float]

pytestmark = pytest.mark.browser

REPLAY = """history => {
  const series = new PackedSeries();
  for (const [name, ...args] of history) {
    const given = args.map(value => value?.counts || value?.slots ? packed(value) : value);
    series[name](...given);
  }
  const {x, y, t} = series.arrays, bits = array => Array.from(array ?? [], value => Number.isNaN(value) ? null : value);
  const points = Array.from(series.length, (length, k) => [x, y, t].map(array =>
    bits(array?.subarray(series.start[k], series.start[k] + length))));
  const guarded = Number.isNaN(x[0]) && Number.isNaN(x.at(-1)) && series.length.every((length, k) =>
    length === 0 || Number.isNaN(x[series.start[k] + length]));
  const runs = Array.from({length: series.runs.length / 3}, (_, r) => {
    const [slot, begin, end] = series.runs.subarray(3 * r, 3 * r + 3);
    return [slot, begin - series.start[slot], end - series.start[slot]]; });
  return {points, guarded, runs, sorted: [...series.sorted], bounds: series.bounds(false, false),
    logBounds: series.bounds(true, true), log: bits(series.units("x", true)), raw: bits(x)};
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with serving() as url, chromium() as browser:
        opened = browser.new_page()
        opened.goto(url)
        yield opened


class Model:
    """The same store as lists of points (x, y, t)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.series: list[list[Point]] = []
        self.visible: list[bool] = []
        self.history: list[list[Any]] = []

    def points(self, counts: list[int]) -> dict[str, Any]:
        n = sum(counts)
        x = (
            self.rng.integers(-5, 30, n).astype(float)
            if self.rng.random() < 0.5
            else np.sort(self.rng.integers(0, 99, n))
        )
        y = np.where(self.rng.random(n) < 0.1, np.nan, self.rng.integers(-9, 9, n))
        return {"counts": counts, "x": plain(x), "y": plain(y), "t": plain(self.rng.integers(0, 4, n))}

    def split(self, packed: dict[str, Any]) -> list[list[Point]]:
        triples = list(zip(packed["x"], packed["y"], packed["t"], strict=True))
        ends = np.cumsum(packed["counts"])
        return [triples[end - count : end] for end, count in zip(ends, packed["counts"], strict=True)]

    def replace(self) -> None:
        packed = self.points(self.rng.integers(0, 6, self.rng.integers(0, 5)).tolist())
        self.series = self.split(packed)
        self.visible = [True] * len(self.series)
        rgba = [0, 0, 0, 255] * len(self.series)
        self.history.append(["replace", {"origin": {"x": 0, "y": 0}, "rgba": rgba} | packed])

    def append(self) -> None:
        if not self.series:
            return
        slots = self.rng.integers(0, len(self.series), 3).tolist()
        packed = self.points(self.rng.integers(0, 40, 3).tolist())
        for slot, more in zip(slots, self.split(packed), strict=True):
            self.series[slot] += more
        self.history.append(["append", {"slots": slots} | packed])

    def add_series(self) -> None:
        more = int(self.rng.integers(1, 3))
        self.series += [[] for _ in range(more)]
        self.visible += [True] * more
        self.history.append(["addSeries", [9, 9, 9, 255] * more])

    def clear_series(self) -> None:
        slots = [k for k in range(len(self.series)) if self.rng.random() < 0.3]
        for k in slots:
            self.series[k] = []
        self.history.append(["clearSeries", slots])

    def set_visible(self) -> None:
        slots = [k for k in range(len(self.series)) if self.rng.random() < 0.4]
        visible = bool(self.rng.random() < 0.5)
        for k in slots:
            self.visible[k] = visible
        self.history.append(["setVisible", slots, visible])

    def look(self) -> None:
        """Reading in between must not change what is read later."""
        self.history.append(["bounds", bool(self.rng.random() < 0.5), bool(self.rng.random() < 0.5)])

    def select(self) -> None:
        self.history.append(["select", int(self.rng.integers(0, 4))])
        self.look()
        self.history.append(["select", None])

    def bounds(self, *, positive: bool) -> dict[str, float] | None:
        shown = [
            (x, y)
            for series, visible in zip(self.series, self.visible, strict=True)
            if visible
            for x, y, _ in series
            if y is not None and (not positive or (x > 0 and y > 0))
        ]
        if not shown:
            return None
        xs, ys = zip(*shown, strict=True)
        return {"x0": min(xs), "x1": max(xs), "y0": min(ys), "y1": max(ys)}


@pytest.mark.parametrize("seed", range(30))
def test_any_history_leaves_the_points_it_should(page: Page, seed: int) -> None:
    """After any mix of its methods the store holds what the model holds."""
    model = Model(np.random.default_rng(seed))
    model.replace()
    moves = [
        model.append,
        model.append,
        model.add_series,
        model.clear_series,
        model.set_visible,
        model.look,
        model.select,
    ]
    for _ in range(25):
        moves[model.rng.integers(0, len(moves))]()
    state = page.evaluate(REPLAY, model.history)
    assert [list(zip(*series, strict=True)) for series in state["points"]] == model.series
    assert state["guarded"], "a NaN must follow every series and begin and end the arrays"
    assert state["bounds"] == model.bounds(positive=False)
    assert state["logBounds"] == model.bounds(positive=True)
    ascending = [all(a[0] <= b[0] for a, b in pairwise(series)) for series in model.series]
    assert [bool(flag) for flag in state["sorted"]] == ascending
    assert state["runs"] == [[k, 0, len(series)] for k, series in enumerate(model.series) if series]
    for unit, x in zip(state["log"], state["raw"], strict=True):
        assert unit == (pytest.approx(np.log(x), rel=1e-6) if x is not None and x > 0 else -np.inf if x == 0 else None)


@pytest.mark.parametrize("seed", range(10))
def test_a_selection_has_the_runs_of_its_t(page: Page, seed: int) -> None:
    """The runs of a selected t hold exactly its points, each run as long as it can be."""
    model = Model(np.random.default_rng(100 + seed))
    model.replace()
    for _ in range(8):
        [model.append, model.add_series, model.select][model.rng.integers(0, 3)]()
    state = page.evaluate(REPLAY, [*model.history, ["select", 2]])
    expected = []
    for slot, series in enumerate(model.series):
        selected = [0, *(int(t == 2) for _, _, t in series), 0]
        edges = np.flatnonzero(np.diff(selected))
        expected += [[slot, int(a), int(b)] for a, b in edges.reshape(-1, 2)]
    assert sorted(state["runs"]) == expected
