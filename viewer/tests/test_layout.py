"""The URL's grammar: what it describes, and what it says when it describes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis_viewer.layout import AXES, KEYS, Page, parse
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import ConfigKey, Plot, Schema, key_text

SCHEMA = Schema({name: Plot(columns=["x", "y"], names=f"default-{name}") for name in "ABC"}, "plots.yaml")


def test_rows_as_drawn_in_the_documentation() -> None:
    """A and B share the first row as 1 to 2; C fills the second, which is twice as high."""
    page = parse({"rows": ["A,B;C"], "width": ["1,2,1"], "height": ["1,2"]}, SCHEMA)
    assert page.direction == "rows"
    assert page.template == "minmax(0,1fr) minmax(0,2fr)"
    assert [track.template for track in page.tracks] == ["minmax(0,1fr) minmax(0,2fr)", "minmax(0,1fr)"]
    assert [cell.plot for cell in page.cells] == ["A", "B", "C"]


def test_columns_take_the_width_that_their_weight_says() -> None:
    """With width=2,1 the left column is two thirds of the page."""
    page = parse({"cols": ["A,B;C"], "width": ["2,1"], "height": ["1,2,1"]}, SCHEMA)
    assert page.template == "minmax(0,2fr) minmax(0,1fr)"
    assert [track.template for track in page.tracks] == ["minmax(0,1fr) minmax(0,2fr)", "minmax(0,1fr)"]


def test_names_come_once_for_all_or_once_per_plot_or_from_the_schema() -> None:
    """The URL's patterns win over the schema's, in the order of the plots."""
    rows = {"rows": ["A,B;C"]}
    assert [cell.names for cell in parse(rows, SCHEMA).cells] == ["default-A", "default-B", "default-C"]
    assert [cell.names for cell in parse({**rows, "names": ["!x"]}, SCHEMA).cells] == ["!x"] * 3
    assert [cell.names for cell in parse({**rows, "names": ["a", "b", "c"]}, SCHEMA).cells] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "key", "found"),
    [
        ({}, "rows, cols", "neither"),
        ({"rows": ["A"], "cols": ["B"]}, "rows, cols", "both"),
        ({"rows": ["A", "B"]}, "rows", "it 2 times"),
        ({"rows": ["D"]}, "rows", "the plot 'D'"),
        ({"rows": ["A,,B"]}, "rows", "an empty plot name"),
        ({"rows": [""]}, "rows", "an empty plot name"),
        ({"rows": [",".join("A" * 65)]}, "rows", "65 plots"),
        ({"rows": ["A"], "width": ["0"]}, "width", "'0'"),
        ({"rows": ["A"], "width": ["nan"]}, "width", "'nan'"),
        ({"rows": ["A"], "width": ["wide"]}, "width", "'wide'"),
        ({"rows": ["A"], "width": [""]}, "width", "nothing"),
        ({"rows": ["A"], "height": ["1,2"]}, "height", "2 in '1,2'"),
        ({"rows": ["A"], "axes": ["log"]}, "axes", "'log'"),
        ({"rows": ["A"], "scopes": ["("]}, "scopes", "'(', which RE2 refuses: missing )"),
        ({"rows": ["A"], "names": ["(?=a)"]}, "names", "'(?=a)', which RE2 refuses"),
        ({"rows": ["A,B,C"], "names": ["a", "b"]}, "names", "it 2 times"),
        ({"rows": ["A"], "color": ["q"]}, "color", "'q'"),
        ({"rows": ["A"], "colour": ["s"]}, "colour", "an unknown key"),
        ({"rows": ["A,B"], "x": ["time"]}, "x", "1 in 'time'"),
        ({"rows": ["A"], "color": ["s()"]}, "color", "'s()'"),
        ({"rows": ["A"], "smooth": ["1"]}, "smooth", "'1'"),
        ({"rows": ["A"], "smooth": ["-0.1"]}, "smooth", "'-0.1'"),
        ({"rows": ["A"], "window": ["0"]}, "window", "'0'"),
        ({"rows": ["A"], "window": ["1.5"]}, "window", "'1.5'"),
        ({"rows": ["A"], "window": ["4"], "stride": ["x"]}, "stride", "'x'"),
        ({"rows": ["A"], "stride": ["2"]}, "stride", "it without window"),
        ({"rows": ["A"], "xrange": ["1"]}, "xrange", "'1'"),
        ({"rows": ["A"], "xrange": ["1:1"]}, "xrange", "'1:1'"),
        ({"rows": ["A"], "yrange": ["0:inf"]}, "yrange", "'0:inf'"),
        ({"rows": ["A,B"], "yrange": ["0:1"]}, "yrange", "1 in '0:1'"),
        ({"rows": ["A"], "fit": ["tight"]}, "fit", "'tight'"),
        ({"rows": ["A"], "at": ["t"]}, "at", "'t'"),
        ({"rows": ["A"], "at": ["t:now"]}, "at", "'t:now'"),
        ({"rows": ["A"], "speed": ["0"]}, "speed", "'0'"),
        ({"rows": ["A"], "speed": ["61"]}, "speed", "'61'"),
        ({"rows": ["A"], "runs": ["("]}, "runs", "'(', which RE2 refuses: missing )"),
        ({"rows": ["A"], "hide": ["s:a", "l:c"], "only": ["s:b"]}, "hide, only", "both for 's'"),
        ({"rows": ["A"], "hide": ["s:a", "b"]}, "hide", "'b'"),
        ({"rows": ["A"], "style": ["l:dashed,2:a", "l:wavy:b"]}, "style", "'l:wavy:b'"),
        ({"rows": ["A"], "style": ["l:0:a"]}, "style", "'l:0:a'"),
        ({"rows": ["A"], "style": ["l:dashed"]}, "style", "'l:dashed'"),
        ({"rows": ["A"], "only": ["x:b"]}, "only", "'x:b'"),
        ({"rows": ["A"], "focus": ["2"]}, "focus", "'2'"),
        ({"rows": ["A"], "group": ["lr"]}, "group", "'lr'"),
        ({"rows": ["A"], "link": ["y"]}, "link", "'y'"),
        ({"rows": ["A"], "cross": ["no"]}, "cross", "'no'"),
        ({"rows": ["A"], "theme": ["blue"]}, "theme", "'blue'"),
        ({"rows": ["A"], "panel": ["7"]}, "panel", "'7'"),
        ({"rows": ["A"], "gl": ["on"]}, "gl", "'on'"),
        ({"rows": ["A"], "xrange": ["1_0:2_0"]}, "xrange", "'1_0:2_0'"),
        ({"rows": ["A"], "window": ["1_0"]}, "window", "'1_0'"),
        ({"rows": ["A"], "focus": ["\N{ARABIC-INDIC DIGIT ONE}"]}, "focus", "'\N{ARABIC-INDIC DIGIT ONE}'"),
        ({"rows": ["A"], "at": ["t:0_1"]}, "at", "'t:0_1'"),
    ],
)
def test_each_mistake_is_named_with_what_was_found(query: dict[str, list[str]], key: str, found: str) -> None:
    """The error leads to the key, and offers the plots that there are."""
    with pytest.raises(UrlError) as caught:
        parse(query, SCHEMA)
    assert [problem.key for problem in caught.value.problems] == [key]
    assert found in caught.value.problems[0].found
    assert caught.value.problems[0].expected
    assert caught.value.offers == ("A", "B", "C")


def test_all_mistakes_are_named_at_once() -> None:
    """Nobody has to fix an address key by key."""
    with pytest.raises(UrlError) as caught:
        parse({"rows": ["A,X"], "width": ["1"], "axes": ["lin,log"], "foo": [""]}, SCHEMA)
    assert {problem.key for problem in caught.value.problems} == {"rows", "width", "axes", "foo"}


def test_what_the_server_needs_of_the_controls_is_read() -> None:
    """Windows, sliders, columns left out, smoothing, the look of the page; a colour by hyperparameters."""
    query = {
        "rows": ["A,B"],
        "window": ["10"],
        "stride": ["5"],
        "filter": ["t, layer,t"],
        "ignore": ["epoch,time"],
        "smooth": ["0.9"],
        "theme": ["dark"],
        "panel": ["off"],
        "color": ["s(opt.lr)(a,b),n"],
    }
    page = parse(query, SCHEMA)
    assert (page.window, page.stride, page.smooth) == (10, 5, 0.9)
    assert (page.filter, page.ignore) == (("t", "layer"), ("epoch", "time"))
    assert (page.theme, page.panel) == ("dark", 0)
    assert [cell.color for cell in page.cells] == [("s", ConfigKey("opt.lr"), ConfigKey("a,b")), ("n",)]
    plain = parse({"rows": ["A"]}, SCHEMA)
    assert plain == Page("rows", plain.tracks)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=64))
def test_any_hyperparameter_may_stand_in_the_address(keys: list[str]) -> None:
    """Within parentheses, those of its own name marked."""
    color = ",".join(key_text([ConfigKey(key)]) for key in keys)
    cells = parse({"rows": [",".join("A" * len(keys))], "color": [color]}, SCHEMA).cells
    assert [cell.color for cell in cells] == [(ConfigKey(key),) for key in keys]


@pytest.mark.parametrize(
    "query",
    [
        {"xrange": ["0:100,"], "yrange": [",-1e-3:1"]},
        {"fit": ["robust"], "at": ["t:12,a:b:-0.5"], "speed": ["0.5"]},
        {"runs": ["!seed-[0-3]$"], "group": ["scope"], "link": ["x"], "cross": ["off"]},
        {"x": ["time,"], "axes": ["lin,ylog"]},
        {"hide": ["l:<b>a & b</b>", "s:a,b", "n:a\nb"], "focus": ["2"]},
        {"only": ["l:a", "l:", "i:0"], "hide": ["s:run"]},
        {"style": ["l:dashed,2:a:b", "s:square,0.5:", "i:3:0"]},
        {"panel": ["300"], "theme": ["auto"], "gl": ["auto"]},
    ],
)
def test_every_control_has_its_place_in_the_address(query: dict[str, list[str]]) -> None:
    """What the page writes is taken."""
    assert len(parse({"rows": ["A,B"], **query}, SCHEMA).cells) == 2


grids = st.lists(st.lists(st.sampled_from("ABC"), min_size=1, max_size=4), min_size=1, max_size=4)
weights = st.floats(0.001, 1000).map(lambda value: float(f"{value:g}"))


@given(grids, st.sampled_from(["rows", "cols"]), st.data())
def test_every_well_formed_url_is_the_page_that_it_says(
    grid: list[list[str]], direction: str, data: st.DataObject
) -> None:
    """Plots, weights and axes come back in their places."""
    count = sum(map(len, grid))
    inner = data.draw(st.lists(weights, min_size=count, max_size=count))
    outer = data.draw(st.lists(weights, min_size=len(grid), max_size=len(grid)))
    axes = data.draw(st.lists(st.sampled_from(AXES), min_size=count, max_size=count))
    cell_key, track_key = ("width", "height") if direction == "rows" else ("height", "width")
    query = {
        direction: [";".join(",".join(track) for track in grid)],
        cell_key: [",".join(f"{weight:g}" for weight in inner)],
        track_key: [",".join(f"{weight:g}" for weight in outer)],
        "axes": [",".join(axes)],
    }
    page = parse(query, SCHEMA)
    assert [[cell.plot for cell in track.cells] for track in page.tracks] == grid
    assert [cell.weight for cell in page.cells] == inner
    assert [track.weight for track in page.tracks] == outer
    assert [cell.axes for cell in page.cells] == axes
    assert [cell.key for cell in page.cells] == [f"p{number}" for number in range(count)]


@given(
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), st.lists(st.text(max_size=12), min_size=1, max_size=3))
)
def test_no_url_raises_anything_but_a_url_error(query: dict[str, list[str]]) -> None:
    """Whatever stands in an address, the answer is a page or a list of problems."""
    try:
        described = len(parse(query, SCHEMA).cells)
    except UrlError as error:
        described = len(error.problems)
    assert described
