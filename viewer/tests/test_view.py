"""What a plot shows, and that a tab which applies the frames has exactly that."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis import Block, Config, Topic, Update
from streamvis_viewer.feed import CATALOG, TopicName
from streamvis_viewer.frames import PAGE, Op, decode
from streamvis_viewer.layout import Page, parse
from streamvis_viewer.schema import Plot, Schema
from streamvis_viewer.schema import parse as read_schema
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.tabs import Tab, Views

PLOT = Plot(columns=["x", "y"])


class Browser:
    """What the page does with frames, for one plot."""

    def __init__(self) -> None:
        self.points: list[list[tuple[float, ...]]] = []
        self.rows: list[Any] = []
        self.colors = b""
        self.status: dict[str, Any] = {}
        self.replaced = 0

    def take(self, frames: list[bytes]) -> None:
        for frame in frames:
            op, plot, arrays = decode(frame)
            if op is Op.NOTE and plot == PAGE:
                self.status = json.loads(arrays[0].tobytes())
            elif op is not Op.TICK:
                getattr(self, f"_{op.name.lower()}")(*arrays)

    def _note(self, text: Any) -> None:
        values = json.loads(text.tobytes())
        self.rows[values["start"] :] = values["series"]

    def _replace(self, origin: Any, counts: Any, rgba: Any, *columns: Any) -> None:
        self.replaced += 1
        self.origin = origin
        self.colors = rgba.tobytes()
        ends = np.cumsum(counts)
        self.points = [self._tuples([c[e - n : e] for c in columns]) for n, e in zip(counts, ends, strict=True)]

    def _append(self, slots: Any, counts: Any, *columns: Any) -> None:
        at = 0
        for slot, count in zip(slots, counts, strict=True):
            self.points[slot] += self._tuples([column[at : at + count] for column in columns])
            at += count

    def _tuples(self, columns: list[Any]) -> list[tuple[float, ...]]:
        offsets = [*self.origin, 0.0]
        return list(zip(*((c.astype("f8") + o).tolist() for c, o in zip(columns, offsets, strict=False)), strict=True))

    def _add(self, rgba: Any) -> None:
        self.points += [[] for _ in range(len(rgba) // 4)]
        self.colors += rgba.tobytes()

    def _clear(self, slots: Any) -> None:
        for slot in slots:
            self.points[slot] = []
            self.rows[slot] = None

    def _colors(self, rgba: Any) -> None:
        self.colors = rgba.tobytes()

    @property
    def shown(self) -> dict[str, list[tuple[float, ...]]]:
        assert len(self.points) == len(self.rows) == len(self.colors) // 4
        return {row[3]: points for row, points in zip(self.rows, self.points, strict=True) if row and points}


class Feed:
    """Remembers what it was asked for; everything asked for has arrived at once."""

    def __init__(self) -> None:
        self.asked: dict[int, set[TopicName]] = {}

    def add(self, topics: set[TopicName]) -> int:
        number = len(self.asked) + CATALOG + 1
        self.asked[number] = set(topics)
        return number

    def drop(self, number: int) -> None:
        del self.asked[number]


class World:
    """A store, its views, and tabs."""

    def __init__(self, plot: Plot = PLOT, *, limit: int = 1 << 30) -> None:
        self.feed = Feed()
        self.store = SeriesStore()
        self.views = Views(self.store, self.feed, limit)  # type: ignore[arg-type] # as much of a feed as views need
        self.schema = Schema({"p": plot})
        self.views.apply([Update(interest=CATALOG, cursor=b"c")])

    def open(self, **query: str) -> tuple[Tab, Browser]:
        page: Page = parse({"rows": ["p"], **{key: [value] for key, value in query.items()}}, self.schema)
        tab = Tab(self.views, page, self.schema.plots)
        return tab, Browser()

    def send(self, *updates: Update) -> None:
        self.views.apply(list(updates))
        for number in list(self.feed.asked):
            self.views.apply([Update(interest=number, cursor=b"c")])


def topic(number: int, name: str = "loss", scope: str = "run", columns: tuple[str, ...] = ("x", "y")) -> Topic:
    return Topic(number, scope, name, columns)


def points(number: int, index: int = 0, **columns: Any) -> Block:
    return Block(number, index, {name: np.atleast_2d(values) for name, values in columns.items()})


def test_a_tab_gets_everything_once_and_then_what_is_new() -> None:
    """A second look brings nothing; new points come as an addition, not as a repetition."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=[1, 2], y=[3.0, 4.0]),)))
    tab, browser = world.open()
    world.send()
    browser.take(tab.frames())
    assert browser.shown == {"run · loss · 0": [(1, 3), (2, 4)]}
    assert tab.frames() == []
    world.send(Update(blocks=(points(1, x=[3], y=[5.0]), points(1, 1, x=[9], y=[9.0]))))
    browser.take(tab.frames())
    assert browser.shown == {"run · loss · 0": [(1, 3), (2, 4), (3, 5)], "run · loss · 1": [(9, 9)]}
    assert browser.replaced == 1


def test_only_topics_that_a_tab_shows_are_asked_for() -> None:
    """Scopes and names are patterns found anywhere, negated by a leading exclamation mark."""
    world = World()
    world.send(Update(topics=(topic(1), topic(2, "acc"), topic(3, scope="other"), topic(4, "val/loss"))))
    world.open(names="!acc", scopes="^run$")
    assert world.feed.asked == {2: {("run", "loss"), ("run", "val/loss")}}
    world.send(Update(topics=(topic(5, "late/loss"),)))
    assert world.feed.asked[3] == {("run", "late/loss")}


def test_topics_without_the_columns_are_left_out_with_the_reason() -> None:
    """The page says how many, and what they lack."""
    world = World(Plot(columns=["x", "y"], filter_opts={"column": "t"}))  # type: ignore[arg-type] # as YAML gives it
    world.send(
        Update(topics=(topic(1, columns=("step", "value")), topic(2), topic(3), topic(4, columns=("t", "x", "y"))))
    )
    tab, browser = world.open()
    browser.take(tab.frames())
    assert browser.status["plots"][0]["left_out"] == {"no column t or x or y": 1, "no column t": 2}
    assert browser.status["plots"][0]["topics"] == 1


def test_a_further_column_splits_each_series_and_joins_its_label() -> None:
    """Unless it is plotted, a slider, or ignored."""
    block = points(1, x=[1, 2, 3, 4], y=[1.0, 2.0, 3.0, 4.0], layer=[0, 1, 0, 1])
    world = World()
    world.send(Update(topics=(topic(1, columns=("layer", "x", "y")),), blocks=(block,)))
    tab, browser = world.open(color="s")
    plain, ignoring = world.open(color="s", ignore="layer")
    world.send()
    browser.take(tab.frames())
    assert browser.shown == {"run · layer=0": [(1, 1), (3, 3)], "run · layer=1": [(2, 2), (4, 4)]}
    ignoring.take(plain.frames())
    assert ignoring.shown == {"run": [(1, 1), (2, 2), (3, 3), (4, 4)]}


def test_a_column_with_too_many_values_to_split_by_is_a_reason() -> None:
    """A time column would make a series of every point."""
    world = World()
    many = np.arange(300.0)
    world.send(Update(topics=(topic(1, columns=("time", "x", "y")),), blocks=(points(1, x=many, y=many, time=many),)))
    tab, browser = world.open()
    world.send()
    browser.take(tab.frames())
    assert browser.shown == {}
    assert list(browser.status["plots"][0]["left_out"]) == ["more than 256 values of time: ignore it or plot it"]


def test_the_first_slider_travels_with_the_points_and_further_ones_with_the_series() -> None:
    """The browser chooses among both without a question to the server."""
    world = World(Plot(columns=["x", "y"], filter_opts={"columns": ["t", "layer"]}))  # type: ignore[arg-type] # as YAML gives it
    block = points(1, x=[1, 2], y=[3.0, 4.0], t=[7, 8], layer=[0, 5])
    world.send(Update(topics=(topic(1, columns=("layer", "t", "x", "y")),), blocks=(block,)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    assert browser.points == [[(1, 3, 7)], [(2, 4, 8)]]
    assert [row[3:] for row in browser.rows] == [["run", [0.0]], ["run", [5.0]]]


def test_a_deleted_topic_disappears_and_a_new_one_of_that_name_appears() -> None:
    """In the same tab, without its colours going astray."""
    world = World()
    world.send(
        Update(topics=(topic(1), topic(2, "acc")), blocks=(points(1, x=[1], y=[1.0]), points(2, x=[2], y=[2.0])))
    )
    tab, browser = world.open(color="n")
    world.send()
    browser.take(tab.frames())
    gone = Topic(1, "run", "loss", ("x", "y"), deleted=True)
    world.send(Update(topics=(gone, topic(3)), blocks=(points(3, x=[5], y=[6.0]),)))
    browser.take(tab.frames())
    assert browser.shown == {"acc": [(2, 2)], "loss": [(5, 6)]}
    fresh_tab, fresh = world.open(color="n")
    fresh.take(fresh_tab.frames())
    assert fresh.shown == browser.shown
    world.send(
        Update(
            topics=(Topic(2, "run", "acc", ("x", "y"), deleted=True), Topic(3, "run", "loss", ("x", "y"), deleted=True))
        )
    )
    browser.take(tab.frames())
    assert browser.shown == {}


def test_colours_follow_the_distinct_labels_through_the_palette() -> None:
    """Equal labels share a colour; a qualitative palette goes in order and begins again."""
    world = World(read_schema("p: {columns: [x, y], color: {key_fun: s, palette: Set1_3}}", "s").plots["p"])
    topics = tuple(topic(number, scope=f"run{number // 2}") for number in range(8))
    world.send(Update(topics=topics, blocks=tuple(points(number, x=[1], y=[1.0]) for number in range(8))))
    tab, browser = world.open()
    world.send()
    browser.take(tab.frames())
    colors = [browser.colors[4 * slot : 4 * slot + 3].hex() for slot in range(8)]
    assert colors == ["e41a1c", "e41a1c", "377eb8", "377eb8", "4daf4a", "4daf4a", "e41a1c", "e41a1c"]


def test_a_label_may_name_a_hyperparameter_and_follows_it() -> None:
    """Nested ones with dots; when the config changes, so does the label."""
    world = World(read_schema("p: {columns: [x, y], color: {key_fun: [s, {config: opt.lr}]}}", "s").plots["p"])
    world.send(Update((topic(1),), (Config("run", {"opt": {"lr": 0.001}}),), (points(1, x=[1], y=[1.0]),)))
    tab, browser = world.open()
    world.send()
    browser.take(tab.frames())
    assert list(browser.shown) == ["run · opt.lr=0.001"]
    world.send(Update(configs=(Config("run", {"opt": {"lr": 0.5}}),)))
    browser.take(tab.frames())
    assert list(browser.shown) == ["run · opt.lr=0.5"]


@pytest.mark.parametrize(("x", "y"), [(2**40, 0.25), (1_790_000_000, 0.5), (3, 1e12)])
def test_large_numbers_keep_their_differences(x: int, y: float) -> None:
    """Steps beyond 2^24, Unix times and large values are drawn apart where float32 could not tell them apart."""
    world = World()
    xs, ys = x + np.arange(5), y + np.arange(5) * 0.25
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=xs, y=ys),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    assert browser.shown == {"run": list(zip(xs.tolist(), ys.tolist(), strict=True))}
    world.send(Update(blocks=(points(1, x=[x + 9], y=[y + 9]),)))
    browser.take(tab.frames())
    assert browser.shown["run"][-1] == (x + 9, y + 9)


def test_small_values_after_a_huge_one_stay_exact() -> None:
    """A loss that explodes first and converges then must not be drawn with the precision of the explosion."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=[0], y=[1e9]),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    for step in range(1, 4):
        world.send(Update(blocks=(points(1, x=[step], y=[0.5 + step / 8]),)))
        browser.take(tab.frames())
    assert browser.shown["run"][1:] == [(1, 0.625), (2, 0.75), (3, 0.875)]


def test_values_beyond_float32_are_infinite_and_no_warning() -> None:
    """There is no place on a screen for them, nor for NaN."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=[0, 1, 2], y=[1e300, np.nan, 1.0]),)))
    tab, browser = world.open(color="s", axes="ylog")
    world.send()
    browser.take(tab.frames())
    assert browser.shown["run"][0][1] == np.inf


def test_equal_tabs_share_a_view_and_its_encoded_frames() -> None:
    """The same bytes go to both, and are made once."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=[1], y=[1.0]),)))
    first, second = world.open()[0], world.open()[0]
    other = world.open(names="loss")[0]
    world.send()
    mine, yours, others = first.frames(), second.frames(), other.frames()
    assert [a is b for a, b in zip(mine, yours, strict=True)] == [False, True, True, False]
    assert not any(a is b for a, b in zip(mine, others, strict=True))


def test_a_tab_that_fell_far_behind_gets_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is bounded, whatever a tab does."""
    monkeypatch.setattr("streamvis_viewer.view.LOG_BYTES", 100)
    world = World()
    world.send(Update(topics=(topic(1),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    for step in range(20):
        world.send(Update(blocks=(points(1, x=[step], y=[float(step)]),)))
    browser.take(tab.frames())
    assert browser.shown == {"run": [(step, step) for step in range(20)]}
    assert browser.replaced == 2


def test_closed_tabs_leave_no_more_points_than_the_limit() -> None:
    """Topics that nobody looks at are forgotten, and fetched again when somebody does."""
    world = World(limit=0)
    world.send(Update(topics=(topic(1),)))
    tab, _ = world.open()
    world.send(Update(blocks=(points(1, x=[1], y=[1.0]),)))
    tab.close()
    assert (world.feed.asked, world.store.nbytes) == ({}, 0)
    tab, browser = world.open(color="s")
    world.send(Update(blocks=(points(1, x=[1], y=[1.0]),)))
    browser.take(tab.frames())
    assert browser.shown == {"run": [(1, 1)]}


def test_a_tab_is_woken_by_what_concerns_it() -> None:
    """By points and by the server going away."""

    async def scenario() -> list[bool]:
        world = World()
        tab, browser = world.open()
        browser.take(tab.frames())
        world.send(Update(topics=(topic(1),)))
        heard = [tab.changed.is_set()]
        tab.changed.clear()
        world.views.note_server("away", "gone")
        heard.append(tab.changed.is_set())
        browser.take(tab.frames())
        return [*heard, browser.status["server"] == {"state": "away", "reason": "gone"}]

    assert asyncio.run(scenario()) == [True, True, True]


changes = st.lists(
    st.one_of(
        st.tuples(st.just("points"), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2)),
        st.tuples(st.just("delete"), st.integers(1, 4)),
        st.tuples(st.just("reload"), st.integers(1, 4)),
        st.tuples(st.just("look")),
    ),
    max_size=30,
)


@given(changes)
def test_whenever_tabs_look_they_see_the_same(happenings: list[tuple[Any, ...]]) -> None:
    """A tab that was there from the start, one that looks rarely, and one that has just come."""
    world = World()
    tabs = [world.open(color="sni") for _ in range(2)]
    generation = dict.fromkeys(range(1, 5), 0)
    expected: dict[str, list[tuple[float, ...]]] = {}
    step = 0
    for kind, *details in happenings:
        if kind == "points":
            number, index, count = details
            ident = number + 10 * generation[number]
            new = topic(ident, f"n{number}")
            step += 1
            rows = np.arange(count)[:, np.newaxis] + float(step)
            world.send(Update(topics=(new,), blocks=(points(ident, index, x=[[step]], y=rows),)))
            for row in range(count):
                expected.setdefault(f"run · n{number} · {index + row}", []).append((step, step + row))
        elif kind == "delete":
            number = details[0]
            ident = number + 10 * generation[number]
            generation[number] += 1
            world.send(Update(topics=(Topic(ident, "run", f"n{number}", ("x", "y"), deleted=True),)))
            expected = {label: held for label, held in expected.items() if f"· n{number} ·" not in label}
        elif kind == "reload":
            number = details[0]
            again = topic(number + 10 * generation[number], f"n{number}")
            expected = {label: held for label, held in expected.items() if f"· n{number} ·" not in label}
            step += 1
            whole = points(again.id, 0, x=[[step]], y=[[0.0]])
            world.send(Update(topics=(replace(again, deleted=True), again), blocks=(whole,)))
            expected[f"run · n{number} · 0"] = [(step, 0.0)]
        else:
            tabs[0][1].take(tabs[0][0].frames())
    world.send()
    for tab, browser in [*tabs, world.open(color="sni")]:
        browser.take(tab.frames())
        assert browser.shown == expected
