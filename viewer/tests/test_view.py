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
from streamvis_viewer.frames import PAGE, Frame, Later, Op, decode
from streamvis_viewer.layout import Page, parse
from streamvis_viewer.lod import ema
from streamvis_viewer.looks import Look
from streamvis_viewer.schema import FilterOpts, Plot, Schema
from streamvis_viewer.schema import parse as read_schema
from streamvis_viewer.series import SeriesStore
from streamvis_viewer.tabs import Tab, Views

PLOT = Plot(columns=["x", "y"])


class Browser:
    """What the page does with frames, for one plot."""

    def __init__(self) -> None:
        self.points: list[list[tuple[float, ...]]] = []
        self.rows: list[Any] = []
        self.status: dict[str, Any] = {}
        self.layout: dict[str, Any] = {}
        self.total = 0
        self.replaced = 0
        self.detail: list[list[tuple[float, ...]]] = []
        self.details: list[tuple[int, bool]] = []
        self.image: Any = None

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            op, plot, arrays = decode(frame() if isinstance(frame, Later) else frame)
            if op is Op.NOTE and plot == PAGE:
                self.status = json.loads(arrays[0].tobytes())
            elif op is not Op.TICK:
                getattr(self, f"_{op.name.lower()}")(*arrays)

    def _note(self, text: Any) -> None:
        values = json.loads(text.tobytes())
        self.layout = values.get("layout", self.layout)
        self.total = values.get("points", self.total)
        if "series" in values:
            self.rows[values["start"] :] = values["series"]
            self.points += [[] for _ in range(len(self.rows) - len(self.points))]

    def _replace(self, origin: Any, counts: Any, *columns: Any) -> None:
        self.replaced += 1
        self.origin = origin
        self.rows = []
        if self.layout["smoothed"]:
            *columns, self.written = columns  # type: ignore[assignment] # a list, as every unpacking makes
        self.points = self._series(origin, counts, columns)

    def _append(self, slots: Any, counts: Any, *columns: Any) -> None:
        ends = np.cumsum(counts)
        for slot, count, end in zip(slots, counts, ends, strict=True):
            self.points[slot] += self._tuples(self.origin, [column[end - count : end] for column in columns])

    def _clear(self, slots: Any) -> None:
        for slot in slots:
            self.points[slot] = []
            self.rows[slot] = None

    def _detail(self, about: Any, window: Any, origin: Any, counts: Any, *columns: Any) -> None:
        if self.layout["smoothed"]:
            *columns, _ = columns  # type: ignore[assignment] # a list, as every unpacking makes
        self.detail = self._series(origin, counts, columns)
        self.details.append((int(about[0]), bool(about[1])))
        self.window = window.tolist()

    def _density(self, _about: Any, _window: Any, size: Any, rgba: Any) -> None:
        self.image = rgba.reshape(size[1], size[0], 4)

    def _series(self, origin: Any, counts: Any, columns: Any) -> list[list[tuple[float, ...]]]:
        ends = np.cumsum(counts)
        return [self._tuples(origin, [c[e - n : e] for c in columns]) for n, e in zip(counts, ends, strict=True)]

    @staticmethod
    def _tuples(origin: Any, columns: list[Any]) -> list[tuple[float, ...]]:
        return list(zip(*((c.astype("f8") + o).tolist() for c, o in zip(columns, origin, strict=False)), strict=True))

    @property
    def shown(self) -> dict[str, list[tuple[float, ...]]]:
        assert len(self.points) == len(self.rows)
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
    assert browser.shown == {"run · loss": [(1, 3), (2, 4)]}  # one index needs no mention, two do
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
    """The same bytes go to both, and are made once; also where they look or are called different."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=[1], y=[1.0]),)))
    first, second, third = world.open()[0], world.open()[0], world.open(color="s", axes="ylog", smooth="0.5")[0]
    other = world.open(names="loss")[0]
    world.send()
    for tab in (first, second, third, other):
        tab.frames()
    world.send(Update(blocks=(points(1, x=[2], y=[2.0]),)))
    mine, yours, theirs, others = first.frames(), second.frames(), third.frames(), other.frames()
    assert mine[0] is yours[0]
    assert mine[0] is theirs[0]
    assert mine[0] is not others[0]


def test_a_tab_that_fell_far_behind_gets_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is bounded, whatever a tab does."""
    monkeypatch.setattr("streamvis_viewer.view.WHOLE_POINTS", 30)
    world = World()
    world.send(Update(topics=(topic(1),)))
    tab, browser = world.open(color="s")
    other, _ = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    for step in range(25):
        world.send(Update(blocks=(points(1, x=[step], y=[float(step)]),)))
        other.frames()
    view = tab._shown[0].view
    assert view._log._points <= 30
    browser.take(tab.frames())
    assert browser.shown == {"run": [(step, step) for step in range(25)]}


def test_fifty_tabs_cost_the_memory_of_one() -> None:
    """They are sent the same frames, made once, and the points are held once."""
    held = []
    for count in (1, 50):
        world = World()
        world.send(Update(topics=tuple(topic(number, f"loss{number}") for number in range(200))))
        tabs = [world.open(color="n")[0] for _ in range(count)]
        world.send()
        for step in range(5):
            world.send(Update(blocks=tuple(points(number, x=[step], y=[float(step)]) for number in range(200))))
            news = [tab.frames() for tab in tabs]
            sent = [[frame for frame in frames if not is_note(frame)] for frames in news]
            assert sent[0]
            assert all(frame is same for frames in sent for frame, same in zip(frames, sent[0], strict=True))
        held.append(world.store.nbytes)
        assert len(world.views._shared) == 1
        for tab in tabs:
            tab.close()
        assert world.views._shared == {}
    assert held[0] == held[1] > 0


def is_note(frame: Frame) -> bool:
    """Whether it is JSON, or says to paint: a few bytes, of each tab its own."""
    return decode(frame() if isinstance(frame, Later) else frame)[0] in {Op.NOTE, Op.TICK}


def test_a_tab_that_slept_for_long_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when more came than is kept for those who do not ask; and then what is new."""
    monkeypatch.setattr("streamvis_viewer.view._MOST_NEW", 20)
    world = World()
    world.send(Update(topics=(topic(1), topic(2, "acc"))))
    tab, browser = world.open(color="n")
    world.send()
    browser.take(tab.frames())
    for step in range(50):
        world.send(Update(blocks=(points(1, x=[step], y=[float(step)]), points(2, x=[step], y=[-1.0]))))
    assert len(tab._shown[0].view._new) <= 20
    world.send(Update(topics=(Topic(2, "run", "acc", ("x", "y"), deleted=True),)))
    browser.take(tab.frames())
    assert browser.shown == {"loss": [(step, step) for step in range(50)]}
    world.send(Update(blocks=(points(1, x=[50], y=[50.0]),)))
    browser.take(tab.frames())
    assert browser.shown == {"loss": [(step, step) for step in range(51)]}


def test_nothing_is_done_for_tabs_that_do_not_ask() -> None:
    """A tab that sleeps costs no copy of what came meanwhile, however often it came."""
    world = World()
    world.send(Update(topics=(topic(1),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    for step in range(100):
        world.send(Update(blocks=(points(1, x=[step], y=[float(step)]),)))
    assert tab._shown[0].view._log.total == 0
    browser.take(tab.frames())
    assert browser.shown == {"run": [(step, step) for step in range(100)]}
    assert browser.replaced == 1


def big(number: int, value: float = 0.0) -> Block:
    """A block of 16 kB."""
    return points(number, x=np.arange(1000), y=np.full(1000, value))


def test_closed_tabs_leave_no_more_points_than_the_limit() -> None:
    """Topics that nobody looks at are forgotten, longest unseen ones first; and fetched again when somebody does."""
    world = World(limit=40_000)
    world.send(Update(topics=(topic(1, "a"), topic(2, "b"), topic(3, "c"))))
    tabs = {name: world.open(names=name)[0] for name in "abc"}
    for name in "bac":
        tabs[name].close()
    tabs = {name: world.open(names=name)[0] for name in "ab"}
    world.send(Update(blocks=(big(1), big(2))))
    tabs["a"].close()
    assert [world.store.size(number) for number in (1, 2, 3)] == [16_000, 16_000, 0]
    world.open(names="c")
    world.send(Update(blocks=(big(3),)))
    assert [world.store.size(number) for number in (1, 2, 3)] == [0, 16_000, 16_000]
    tab, browser = world.open(names="a", color="n")
    world.send(Update(blocks=(points(1, x=[1], y=[1.0]),)))
    browser.take(tab.frames())
    assert browser.shown == {"a": [(1, 1)]}


def test_topics_beyond_the_limit_are_left_out_largest_first() -> None:
    """The page says so; the store stays within its limit, whatever is shown and however much comes."""
    world = World(limit=40_000)
    world.send(Update(topics=(topic(1, "a"), topic(2, "b"))))
    tab, browser = world.open(color="n")
    for _ in range(4):
        world.send(Update(blocks=(big(1), points(2, x=[1], y=[1.0]))))
        assert world.store.nbytes <= 40_000
    browser.take(tab.frames())
    assert list(browser.shown) == ["b"]
    ((reason, count),) = browser.status["plots"][0]["left_out"].items()
    assert reason.startswith("too many points: the viewer keeps")
    assert count == 1
    late, _ = world.open(names="^a")
    late.frames()
    assert late._shown[0].view.left_out == {1: reason}
    for each in (tab, late):
        each.close()
    again, browser = world.open(names="^a", color="n")
    world.send(Update(blocks=(points(1, x=[1], y=[1.0]),)))
    browser.take(again.frames())
    assert browser.shown == {"a": [(1, 1)]}


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


# ---- more points than a browser holds

LINE = Plot(columns=["x", "y"])
CLOUD = Plot(columns=["x", "y"], glyph_kind="scatter")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser holds 1,000 points, and a series of a thinned base at most 200."""
    monkeypatch.setattr("streamvis_viewer.view.WHOLE_POINTS", 1000)
    monkeypatch.setattr("streamvis_viewer.view.THINNED_POINTS", 500)
    monkeypatch.setattr("streamvis_viewer.packed.MOST_POINTS", 200)
    monkeypatch.setattr("streamvis_viewer.packed.RAW_POINTS", 250)
    monkeypatch.setattr("streamvis_viewer.looks.DETAIL_POINTS", 500)


def look(ask: int, x: tuple[float, float], **more: Any) -> Look:
    given = {"y": [-1e9, 1e9], "log": [False, False], "size": [100, 50], "value": None, "slots": None, "rgb": ""}
    return Look.read(json.dumps({"plot": 0, "ask": ask, "x": x} | given | more))[1]


def wave(begin: int, end: int, number: int = 1) -> Block:
    x = np.arange(begin, end)
    return points(number, x=x, y=np.sin(x / 50) + x)


@pytest.mark.usefixtures("few")
def test_a_long_line_is_thinned_and_grows_point_by_point() -> None:
    """The extremes stay; new points come as they are; from time to time everything is thinned anew."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(wave(0, 5000),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    shown = browser.shown["run"]
    assert 100 < len(shown) <= 200
    assert (shown[0][0], shown[-1][0]) == (0, 4999)
    assert browser.layout["budget"] == 200
    assert browser.total == 5000
    for step in range(5000, 5700, 10):
        world.send(Update(blocks=(wave(step, step + 10),)))
        browser.take(tab.frames())
        assert browser.shown["run"][-1][0] == step + 9
        assert browser.total == step + 10
        assert len(browser.shown["run"]) <= 200 + 500 + 10
    assert browser.replaced == 2


@pytest.mark.usefixtures("few")
def test_a_line_that_outgrows_the_browser_is_thinned_from_then_on() -> None:
    """In tabs that saw it whole as in new ones."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(wave(0, 990),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    assert len(browser.shown["run"]) == 990
    assert not browser.layout["budget"]
    world.send(Update(blocks=(wave(990, 1100),)))
    browser.take(tab.frames())
    assert len(browser.shown["run"]) <= 200
    late, fresh = world.open(color="s")
    fresh.take(late.frames())
    assert fresh.shown == browser.shown
    gone = Topic(1, "run", "loss", ("x", "y"), deleted=True)
    world.send(Update(topics=(gone, topic(2)), blocks=(wave(0, 10, 2),)))
    browser.take(tab.frames())
    assert len(browser.shown["run"]) == 10


@pytest.mark.usefixtures("few")
def test_a_look_at_a_window_brings_its_points() -> None:
    """All of them where they are few, else the extremes of each pixel column; again when the base was thinned anew."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(wave(0, 5000),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    assert tab.frames() == []
    tab.look(0, look(7, (1000, 1100)))
    browser.take(tab.frames())
    assert browser.details == [(7, True)]
    assert [x for x, _ in browser.detail[0]] == list(range(999, 1102))
    tab.look(0, look(8, (1000, 3000)))
    browser.take(tab.frames())
    assert browser.details[-1] == (8, False)
    assert 100 < len(browser.detail[0]) <= 400
    assert browser.window == [1000, 3000, -np.inf, np.inf]
    before = len(browser.details)
    world.send(Update(blocks=(wave(5000, 5010),)))
    browser.take(tab.frames())
    assert len(browser.details) == before
    world.send(Update(blocks=(wave(5010, 5600),)))
    browser.take(tab.frames())
    assert (browser.replaced, browser.details[-1]) == (2, (8, False))


@pytest.mark.usefixtures("few")
def test_a_look_at_few_of_many_lines_sees_them_finely() -> None:
    """Only those that show are sent, and share what there is room for."""
    world = World()
    rows = np.arange(50)[:, np.newaxis] + np.sin(np.arange(1000))
    block = Block(1, 0, {"x": np.arange(1000)[np.newaxis], "y": rows})
    world.send(Update(topics=(topic(1),), blocks=(block,)))
    tab, browser = world.open(color="i")
    world.send()
    browser.take(tab.frames())
    assert max(map(len, browser.points)) <= 64
    tab.look(0, look(1, (100, 300), slots=[3, 4]))
    browser.take(tab.frames())
    assert [slot for slot, held in enumerate(browser.detail) if held] == [3, 4]
    assert [x for x, _ in browser.detail[3]] == list(range(99, 302))


@pytest.mark.usefixtures("few")
def test_lines_are_smoothed_before_they_are_thinned() -> None:
    """The average travels beside the points; a window's is that of the whole line."""
    world = World()
    rng = np.random.default_rng(0)
    x, y = np.arange(5000), rng.normal(size=5000)
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=x, y=y),)))
    tab, browser = world.open(color="s", smooth="0.9")
    world.send()
    browser.take(tab.frames())
    average = ema(y[np.newaxis], 0.9)[0]
    for at, raw, smooth in browser.shown["run"]:
        assert raw == pytest.approx(y[int(at)], abs=1e-6)
        assert smooth == pytest.approx(average[int(at)], abs=1e-6)
    assert len(browser.shown["run"]) <= 400
    assert browser.written.tolist() == [5000]
    tab.look(0, look(1, (3000, 3100)))
    browser.take(tab.frames())
    assert len(browser.detail[0]) == 103
    for at, _, smooth in browser.detail[0]:
        assert smooth == pytest.approx(average[int(at)], abs=1e-6)
    tab.change(parse({"rows": ["p"], "color": ["s"]}, world.schema), world.schema.plots)
    browser.take(tab.frames())
    assert len(browser.shown["run"][0]) == 2


@pytest.mark.usefixtures("few")
def test_buckets_follow_a_logarithmic_axis() -> None:
    """So that the first steps can be told apart."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(wave(0, 5000),)))
    linear, logarithmic = world.open(color="s"), world.open(color="s", axes="xlog")
    world.send()
    counts = []
    for tab, browser in (linear, logarithmic):
        browser.take(tab.frames())
        counts.append(sum(x < 100 for x, _ in browser.shown["run"]))
    assert counts[1] > 5 * counts[0]


@pytest.mark.usefixtures("few")
def test_a_large_cloud_is_sampled_and_its_windows_are_images_or_points() -> None:
    """Coloured as the page colours its series; without those that are hidden."""
    world = World(CLOUD)
    rng = np.random.default_rng(0)
    names = ("a", "b")
    blocks = tuple(points(n, x=rng.uniform(n, n + 1, 3000), y=rng.uniform(0, 1, 3000)) for n in (1, 2))
    world.send(Update(topics=tuple(topic(n, name) for n, name in enumerate(names, 1)), blocks=blocks))
    tab, browser = world.open(color="n")
    world.send()
    browser.take(tab.frames())
    assert 400 < sum(map(len, browser.points)) < 600
    tab.look(0, look(1, (1, 3), y=[0, 1], rgb="ff00000000ff"))
    browser.take(tab.frames())
    assert browser.image.shape == (25, 50, 4)
    assert browser.image[:, :24, :3].reshape(-1, 3).max(axis=0).tolist() == [255, 0, 0]
    assert browser.image[:, 26:, :3].reshape(-1, 3).max(axis=0).tolist() == [0, 0, 255]
    tab.look(0, look(2, (1, 3), y=[0, 1], rgb="0000ff", slots=[1]))
    browser.take(tab.frames())
    assert browser.image[:, :24, 3].max() == 0
    tab.look(0, look(3, (1.0, 1.1), y=[0, 0.5], rgb="ff00000000ff"))
    browser.take(tab.frames())
    assert browser.details == [(3, True)]
    expected = [(x, y) for x, y in zip(*blocks[0].columns.values(), strict=True)]
    inside = (expected[0][0] >= 1.0) & (expected[0][0] <= 1.1) & (expected[0][1] >= 0) & (expected[0][1] <= 0.5)
    assert len(browser.detail[0]) == inside.sum()
    world.send(Update(blocks=(points(1, x=rng.uniform(1, 2, 600), y=rng.uniform(0, 1, 600)),)))
    browser.take(tab.frames())
    assert len(browser.details) == 2


@pytest.mark.usefixtures("few")
def test_a_slider_over_a_large_cloud_finds_every_value_and_looks_at_one() -> None:
    """The sample has a point of each, and a look brings all points of one."""
    world = World(CLOUD.model_copy(update={"filter_opts": FilterOpts(column="t")}))
    rng = np.random.default_rng(0)
    t = np.repeat(np.arange(40), 100)
    block = points(1, x=rng.normal(size=4000), y=rng.normal(size=4000), t=t)
    world.send(Update(topics=(topic(1, columns=("t", "x", "y")),), blocks=(block,)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    assert {t for _, _, t in browser.shown["run"]} == set(range(40))
    tab.look(0, look(1, (-10, 10), y=[-10, 10], value=17))
    browser.take(tab.frames())
    assert {t for _, _, t in browser.detail[0]} == {17}
    assert len(browser.detail[0]) == 100


def test_looks_that_no_page_sends_are_refused() -> None:
    """Whatever is wrong with them."""
    good = {"plot": 0, "ask": 1, "x": [0, 1], "y": [0, 1], "log": [False, False], "size": [10, 10]}
    good |= {"value": None, "slots": None, "rgb": ""}
    assert Look.read(json.dumps(good))[0] == 0
    wrong = [
        {"x": [1, 0]}, {"x": [0, "nan"]}, {"x": 3}, {"log": [True, False]}, {"log": []}, {"size": [1]}, {"rgb": "xyz"},
        {"slots": ["a"]}, {"value": "b"}, {"plot": None}, {"ask": {}},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(ValueError, match="found no look"):
            Look.read(json.dumps(good | change))
    for text in ("", "[]", "{}", "3", "null", '{"plot": 0}'):
        with pytest.raises(ValueError, match="found no look"):
            Look.read(text)


# ---- windows, filters, gaps


@given(st.lists(st.integers(1, 7), max_size=8), st.integers(1, 5), st.integers(1, 7))
def test_windows_of_a_growing_line_are_those_of_the_whole(sizes: list[int], window: int, stride: int) -> None:
    """Whenever somebody looks, and however the points came."""
    world = World()
    world.send(Update(topics=(topic(1),)))
    tab, browser = world.open(color="i", window=str(window), stride=str(stride))
    world.send()
    y = np.random.default_rng(0).normal(size=(2, sum(sizes)))
    begin = 0
    for size in sizes:
        x = np.arange(begin, begin + size)[np.newaxis]
        world.send(Update(blocks=(Block(1, 0, {"x": x, "y": y[:, begin : begin + size]}),)))
        begin += size
        browser.take(tab.frames())
    starts = range(0, begin - window + 1, stride)
    for row in range(2):
        expected = [(start + (window - 1) / 2, y[row, start : start + window].mean()) for start in starts]
        found = browser.shown.get(str(row), [])
        np.testing.assert_allclose(np.reshape(found, (-1, 2)), np.reshape(expected, (-1, 2)), rtol=1e-6)


def test_windows_do_not_mix_the_parts_of_a_split_series() -> None:
    """Each line has its own."""
    world = World()
    block = points(1, x=[1, 1, 2, 2], y=[1.0, 10.0, 3.0, 30.0], layer=[0, 1, 0, 1])
    world.send(Update(topics=(topic(1, columns=("layer", "x", "y")),), blocks=(block,)))
    tab, browser = world.open(color="s", window="2")
    world.send()
    browser.take(tab.frames())
    assert browser.shown == {"run · layer=0": [(1.5, 2)], "run · layer=1": [(1.5, 20)]}


def test_a_column_of_the_address_becomes_a_slider() -> None:
    """Of the topics that have it; the others show whatever it says."""
    world = World()
    with_t = points(1, x=[1, 2], y=[1.0, 2.0], t=[5, 6])
    without = points(2, x=[1, 2], y=[3.0, 4.0])
    topics = (topic(1, "a", columns=("t", "x", "y")), topic(2, "b"))
    world.send(Update(topics=topics, blocks=(with_t, without)))
    tab, browser = world.open(color="n", filter="t")
    world.send()
    browser.take(tab.frames())
    assert browser.layout["sliders"] == ["t"]
    assert browser.shown["a"] == [(1, 1, 5), (2, 2, 6)]
    assert [(x, y, np.isnan(t)) for x, y, t in browser.shown["b"]] == [(1, 3, True), (2, 4, True)]
    tab.change(parse({"rows": ["p"], "color": ["n"], "filter": ["t,layer"]}, world.schema), world.schema.plots)
    world.send()
    browser.take(tab.frames())
    assert browser.layout["sliders"] == ["t", "layer"]
    assert [row[4] for row in browser.rows] == [[None], [None]]


def test_points_without_a_place_are_counted() -> None:
    """NaN and infinity, of what is there now."""
    world = World()
    nan, inf = np.nan, np.inf
    world.send(
        Update(
            topics=(topic(1), topic(2, "acc")),
            blocks=(points(1, x=[1, 2, 3], y=[nan, inf, 1.0]), points(2, x=[1, 2], y=[-inf, 1.0])),
        )
    )
    tab, browser = world.open()
    world.send()
    browser.take(tab.frames())
    assert (browser.status["plots"][0]["nan"], browser.status["plots"][0]["inf"]) == (1, 2)
    rows = Block(1, 0, {"x": np.array([[nan, 5.0]]), "y": np.zeros((3, 1))})
    world.send(Update(blocks=(rows,)))
    browser.take(tab.frames())
    assert (browser.status["plots"][0]["nan"], browser.status["plots"][0]["inf"]) == (4, 2)
    world.send(Update(topics=(Topic(1, "run", "loss", ("x", "y"), deleted=True),)))
    browser.take(tab.frames())
    assert (browser.status["plots"][0]["nan"], browser.status["plots"][0]["inf"]) == (0, 1)


def test_another_colour_or_axis_sends_no_points() -> None:
    """Names are told anew; a view that is not thinned knows nothing of axes and smoothing."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(points(1, x=[1], y=[2.0]),)))
    tab, browser = world.open(color="s")
    world.send()
    browser.take(tab.frames())
    for query, label in (({"color": ["n"]}, "loss"), ({"color": ["n"], "axes": ["ylog"], "smooth": ["0.9"]}, "loss")):
        tab.change(parse({"rows": ["p"]} | query, world.schema), world.schema.plots)
        browser.take(tab.frames())
        assert browser.shown == {label: [(1, 2)]}
    assert browser.replaced == 1


def test_an_index_written_alone_out_of_a_matrix_of_indexes_stays_in_its_line() -> None:
    """Runs of the store are cut anew for it, which a tab does not see."""
    world = World()
    world.send(Update(topics=(topic(1),), blocks=(Block(1, 0, {"x": np.array([[1]]), "y": np.zeros((3, 1))}),)))
    tab, browser = world.open(color="i")
    world.send()
    browser.take(tab.frames())
    world.send(Update(blocks=(points(1, 1, x=[2], y=[5.0]),)))
    browser.take(tab.frames())
    assert browser.shown == {"0": [(1, 0)], "1": [(1, 0), (2, 5)], "2": [(1, 0)]}


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
        shown = {label if label.count("·") == 2 else f"{label} · 0": held for label, held in browser.shown.items()}
        assert shown == expected
