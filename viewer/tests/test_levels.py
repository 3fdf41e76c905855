"""Details, images, moving averages, dashes and widths, in a real browser, by canvas and by WebGL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamvis_viewer.layers import LineLayer, PointLayer
from streamvis_viewer.lod import ema
from viewer.tests.layer_page import HEIGHT, WIDTH, LayerPage, plain
from viewer.tests.test_layers import (
    BLUE,
    GREEN,
    RED,
    Open,
    backend,
    busy,
    contexts,
    inked,
    is_color,
    line,
    open_page,
    pages,
    row,
    show,
    url,
)

pytestmark = pytest.mark.browser
__all__ = ["backend", "busy", "contexts", "open_page", "pages", "show", "url"]  # fixtures

THIN = {"budget": 10, "thins": "extremes"}
CLOUD = {"budget": 10, "thins": "density"}


def thinned(
    page: LayerPage, level: dict[str, Any], *series: dict[str, Any], origin: tuple[float, float] = (0, 0)
) -> None:
    """As `LayerPage.replace`, of a base that is not all that there is."""
    points = {"origin": {"x": origin[0], "y": origin[1]}, "counts": [len(s["x"]) for s in series]}
    for name in ("x", "y", "rgba", "t"):
        if name in series[0]:
            points[name] = plain(np.concatenate([np.asarray(s[name], dtype=float) for s in series]))
    page.do("layer().replace(packed(argument[0]), argument[1])", [points, level])


def detail(page: LayerPage, window: Any, *series: Any, exact: bool = True, **about: Any) -> None:
    """Each of the series x and y, from an origin of its own."""
    points = {
        "origin": {"x": 5, "y": 7},
        "counts": [len(x) for x, _ in series],
        "x": plain(np.concatenate([np.asarray(x, float) - 5 for x, _ in series])),
        "y": plain(np.concatenate([np.asarray(y, float) - 7 for _, y in series])),
    }
    view = {"x": window, "y": [-1e9, 1e9], "log": [False, False], "width": window[1] - window[0], "height": HEIGHT}
    page.do(
        """{ const [points, about] = argument;
          layer().setDetail(packed(points), {...about, slots: about.slots && Uint8Array.from(about.slots)}); }""",
        [points, {"view": view, "slots": None, "value": None, "exact": exact} | about],
    )


def look_at(page: LayerPage, x: tuple[float, float], y: tuple[float, float] = (0, HEIGHT)) -> None:
    page.do(
        """{ const {x_range, y_range} = layer().plot_view.model;
          [x_range, y_range].forEach((range, i) => range.setv({start: argument[i][0], end: argument[i][1]})); }""",
        [x, y],
    )


# ---- levels of detail


def test_a_detail_is_drawn_while_the_window_lies_within_it(show: Open) -> None:
    """Its origin is its own; elsewhere the base shows, never nothing."""
    page = show(LineLayer(key="A"))
    thinned(page, THIN, line([0, 3000], [50, 50]))
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()
    assert page.do("layer().wants")
    detail(page, (-100, 400), ([-100, 400], [150, 150]))
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(150), 20:280].all()
    assert not inked(pixels)[row(50)].any()
    assert not page.do("layer().wants")
    look_at(page, (50, 200))
    assert is_color(page.pixels(), RED)[row(150), 20:280].all()
    look_at(page, (-200, 100))
    assert is_color(page.pixels(), RED)[row(50), 220:280].all()
    assert page.do("layer().wants")
    page.replace(line([0, 300], [50, 50]))
    look_at(page, (0, WIDTH))
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()
    assert not page.do("layer().wants")


def test_a_coarse_detail_is_worth_another_look_when_one_zooms(show: Open) -> None:
    """Unless it has all points."""
    page = show(LineLayer(key="A"))
    thinned(page, THIN, line([0, 300_000], [50, 50]))
    detail(page, (-300, 600), ([0, 300], [50, 50]), exact=False)
    page.pixels()
    assert not page.do("layer().wants")
    look_at(page, (0, 30))
    assert page.do("layer().wants")
    detail(page, (-300, 600), ([0, 300], [50, 50]), exact=True)
    assert not page.do("layer().wants")


def test_a_base_that_is_fine_enough_asks_for_nothing(show: Open) -> None:
    """However many points there are: two or so to a pixel column is all that a screen can show."""
    page = show(LineLayer(key="A"))
    x = np.arange(1300)
    thinned(page, {"budget": 1300, "thins": "extremes"}, line(x * WIDTH / 1300, np.full(1300, 50)))
    page.pixels()
    assert not page.do("layer().wants")
    look_at(page, (0, 100))
    assert page.do("layer().wants")


def test_a_detail_grows_with_the_points_that_lie_in_its_window(show: Open) -> None:
    """In new series too; whatever lies beyond goes to the base alone."""
    page = show(LineLayer(key="A"))
    thinned(page, THIN, line([0, 3000], [10, 10]))
    detail(page, (0, 400), ([0, 100], [100, 100]))
    page.append(0, [200, 5000], [100, 100])
    page.do("layer().addSeries(Uint8Array.from(argument))", BLUE)
    page.append(1, [20, 280], [150, 150])
    pixels = page.pixels()
    assert inked(pixels)[row(100), 5:198].all()
    assert not inked(pixels)[row(100), 203:].any()
    assert is_color(pixels, BLUE)[row(150), 25:275].all()
    page.do("layer().setVisible([1], false)")
    assert not inked(page.pixels())[row(150)].any()
    page.do("layer().setColors(Uint8Array.from(argument))", GREEN + BLUE)
    assert is_color(page.pixels(), GREEN)[row(100), 5:95].all()


def test_a_detail_without_a_series_that_shows_is_not_drawn(show: Open) -> None:
    """It was asked for when that series was hidden."""
    page = show(LineLayer(key="A"))
    thinned(page, THIN, line([0, 3000], [50, 50]), line([0, 3000], [100, 100], BLUE))
    page.do("layer().setVisible([1], false)")
    detail(page, (-100, 400), ([-100, 400], [150, 150]), ([], []), slots=[1, 0])
    assert is_color(page.pixels(), RED)[row(150), 20:280].all()
    page.do("layer().setVisible([1], true)")
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(50), 20:280].all()
    assert is_color(pixels, BLUE)[row(100), 20:280].all()


def test_what_is_nearest_comes_from_what_is_drawn(show: Open) -> None:
    """The exact point, once there is a detail."""
    page = show(LineLayer(key="A"))
    thinned(page, THIN, line([0, 3000], [50, 50]))
    detail(page, (-100, 400), ([100, 200], [150, 150]))
    (found,) = page.nearest([(205, HEIGHT - 150)])
    assert (found["x"], found["y"], found["slot"]) == (200, 150, 0)


def test_an_image_stands_where_its_window_is(show: Open) -> None:
    """Moved and scaled with the axes, until another is asked for; not once an axis is of another kind."""
    page = show(PointLayer(key="A", size=4))
    thinned(page, CLOUD, line([1, 299], [1, 199], BLUE))
    about = {"x": [0, 400], "y": [-100, 300], "log": [False, False], "width": 400, "height": 400}
    image = np.zeros((4, 4, 4), int)
    image[2, 1] = RED
    script = """layer().setDensity({width: 4, height: 4, rgba: Uint8Array.from(argument[0])},
      {view: argument[1], slots: null, value: null, exact: false})"""
    page.do(script, [image.reshape(-1).tolist(), about])
    pixels = page.pixels()
    red = np.argwhere(is_color(pixels, RED))
    assert red.min(axis=0).tolist() == [100, 100]
    assert red.max(axis=0).tolist() == [199, 199]
    assert not is_color(pixels, BLUE).any()
    look_at(page, (50, 350))
    assert np.argwhere(is_color(page.pixels(), RED))[:, 1].min() == 50
    assert not page.do("layer().wants")
    look_at(page, (-50, 350))
    assert is_color(page.pixels(), BLUE).any()
    assert page.do("layer().wants")


def test_a_window_far_from_the_origin_is_worth_a_look(show: Open) -> None:
    """There float32 no longer tells pixels apart, although all points are here."""
    page = show(LineLayer(key="A"))
    page.replace(line([0, 4e6], [50, 50]))
    look_at(page, (0, 4e6))
    assert not page.do("layer().wants")
    look_at(page, (3e6, 3e6 + 300))
    page.pixels()
    assert page.do("layer().wants")
    detail(page, (3e6 - 100, 3e6 + 400), ([3e6 - 100, 3e6 + 400], [150, 150]))
    assert is_color(page.pixels(), RED)[row(150), 20:280].all()


# ---- moving averages


def test_smoothing_draws_the_average_over_a_ghost_of_the_line(show: Open) -> None:
    """TensorBoard's average; live, and gone again at once."""
    page = show(LineLayer(key="A", line_width=3))
    page.do("layer().setSmoothing(0.5)")
    page.replace(line(np.arange(0, 300, 10), np.where(np.arange(30) % 2, 180, 20), BLUE))
    page.replace(line([0, 100, 200], [0, 150, 150], RED), line([0, 300], [40, 40], BLUE))
    page.append(0, [300], [150])
    average = ema(np.array([[0.0, 150, 150, 150]]), 0.5)[0]
    pixels = page.pixels()
    for x, y in zip([100, 200, 299], average[1:], strict=True):
        assert is_color(pixels, RED)[row(y) - 2 : row(y) + 3, min(x, WIDTH - 2)].any()
    ghost = pixels[row(150), 120:280].astype(int)
    assert (np.abs(ghost - [255, 191, 191, 255]) <= 4).all()
    assert is_color(pixels, BLUE)[row(40), 5:295].all()
    (found,) = page.nearest([(200, HEIGHT - average[2])])
    assert found["y"] == pytest.approx(average[2], rel=1e-6)
    assert found["raw"] == 150
    page.do("layer().setSmoothing(0)")
    assert is_color(page.pixels(), RED)[row(150), 120:280].all()


def test_averages_of_thinned_lines_come_with_them_and_go_on(open_page: Open) -> None:
    """As if the browser had all points."""
    page = open_page(LineLayer(key="A"), gl="off")
    y = np.random.default_rng(0).normal(size=60)
    average = ema(y[np.newaxis], 0.8)[0]
    kept = [0, 10, 20, 49]
    script = """{ const smoothed = {values: Float32Array.from(argument[1]), weight: 0.8, written: Uint32Array.of(50)};
      layer().replace({...packed(argument[0]), smoothed}, {budget: 4, thins: "extremes"});
      layer().append(packed(argument[2]));
      return [0, 1, 2, 3, 4, 13].map(i => layer().nearest(...argument[3][i])) }"""
    points = {"origin": {"x": 0, "y": 0}, "counts": [4], "x": kept, "y": plain(y[kept]), "rgba": RED}
    more = {"slots": [0], "counts": [10], "x": list(range(50, 60)), "y": plain(y[50:])}
    look_at(page, (0, WIDTH), (-3, 3))
    at = page.do("(({left, top}) => [left, top])(layer().plot_view.frame.bbox)")
    xs = [*kept, *range(50, 60)]
    places = [[at[0] + x, at[1] + HEIGHT * (3 - average[x]) / 6] for x in xs]
    found = page.do(script, [points, plain(average[kept]), more, places])
    assert [f["x"] for f in found] == [xs[i] for i in (0, 1, 2, 3, 4, 13)]
    np.testing.assert_allclose([f["y"] for f in found], average[[xs[i] for i in (0, 1, 2, 3, 4, 13)]], rtol=1e-5)


def test_averages_skip_gaps_and_follow_log_axes(open_page: Open) -> None:
    """What is not finite stays a gap; behind it the average goes on."""
    page = open_page(LineLayer(key="A"), gl="off", y_axis_type="log", y_range=(1, 1e4))
    page.do("layer().setSmoothing(0.9)")
    y = np.array([10.0, np.nan, 100, 1000, np.inf, 10])
    page.replace(line([10, 20, 30, 40, 50, 60], y))
    expected = ema(np.where(np.isfinite(y), y, np.nan)[np.newaxis], 0.9)[0]
    places = [(x, HEIGHT * (1 - np.log10(expected[x // 10 - 1]) / 4)) for x in (10, 30, 40, 60)]
    found = page.nearest(places)
    np.testing.assert_allclose([f["y"] for f in found], expected[[0, 2, 3, 5]], rtol=1e-5)
    assert max(f["distance_px"] for f in found) < 1


def test_robust_bounds_leave_out_what_lies_far_out(open_page: Open) -> None:
    """Of all points, of some of very many, of the average where there is one; x stays whole."""
    page = open_page(LineLayer(key="A"), gl="off")
    y = np.random.default_rng(0).normal(size=100_000)
    y[::5000] = 1e6
    page.replace(line(np.arange(100_000), y))
    bounds = page.do('layer().bounds("robust")')
    assert (bounds["x0"], bounds["x1"]) == (0, 99_999)
    assert -4 < bounds["y0"] < -2
    assert 2 < bounds["y1"] < 4
    assert page.do('layer().bounds("all")')["y1"] == 1e6
    page.replace(line([0, 1], [5, 6]))
    assert page.do('layer().bounds("robust")') == {"x0": 0, "x1": 1, "y0": 5, "y1": 6}
    page.replace(line([0], [np.nan]))
    assert page.do('layer().bounds("robust")') is None


def test_what_only_a_log_axis_hides_is_counted(open_page: Open) -> None:
    """Not what has no place anywhere."""
    page = open_page(LineLayer(key="A"), gl="off", y_axis_type="log", y_range=(1, 100))
    page.replace(line([1, 2, 3, 4], [-1, 0, np.nan, 5]))
    assert page.do("layer().unplaced()") == 2


# ---- dashes and widths


def test_a_dashed_line_has_its_gaps(show: Open) -> None:
    """Six pixels on, six off; another series is solid."""
    page = show(LineLayer(key="A"))
    page.replace(line([0, WIDTH], [100, 100]), line([0, WIDTH], [50, 50], BLUE))
    page.do("layer().setStyle([0], {dash: 1})")
    pixels = page.pixels()
    red = is_color(pixels, RED)[row(100)]
    runs = np.flatnonzero(np.diff(np.concatenate([[0], red.astype(int), [0]])))
    lengths = np.diff(runs)
    assert len(lengths) > 40
    assert (np.abs(lengths[1:-1] - 6) <= 1).all()
    assert is_color(pixels, BLUE)[row(50), 2:298].all()
    page.do("layer().setStyle([0], {dash: 0})")
    assert is_color(page.pixels(), RED)[row(100), 2:298].all()


def test_dashes_go_on_around_corners(show: Open) -> None:
    """A line of many short segments has the same pattern as a long one."""
    page = show(LineLayer(key="A", line_width=2))
    x = np.linspace(0, WIDTH, 601)
    page.replace(line(x, np.full(601, 100.5)))
    page.do("layer().setStyle([0], {dash: 1})")
    inks = inked(page.pixels())[row(100.5)]
    assert 0.4 < inks.mean() < 0.65
    assert 20 < (np.diff(inks.astype(int)) == 1).sum() < 30


def test_a_series_may_be_wider_than_the_others(show: Open) -> None:
    """The layer's width times its own; also when it is drawn in haste."""
    page = show(LineLayer(key="A", line_width=2))
    page.replace(line([0, WIDTH], [100, 100]), line([0, WIDTH], [50, 50], BLUE))
    page.do("layer().setStyle([0], {width: 3})")
    pixels = page.pixels()
    assert is_color(pixels, RED)[:, 150].sum() >= 5
    assert inked(pixels)[row(50) - 5 : row(50) + 5, 150].sum() <= 3


@pytest.mark.parametrize("points", [1, 6000], ids=["paths", "stamps"])
def test_a_cloud_may_have_markers_of_its_own(show: Open, points: int) -> None:
    """Of another shape and size than the layer's; the others keep theirs."""
    page = show(PointLayer(key="A", size=10))
    page.replace(line([80] * points, [100] * points), line([200], [100], BLUE))
    page.do("layer().setStyle([0], {width: 2, marker: 2})")
    pixels = page.pixels()
    red, blue = is_color(pixels, RED), is_color(pixels, BLUE)
    middle = row(100)
    assert red[middle - 8 : middle + 8, 72:88].all()  # a square of 20 pixels, to its corners
    assert 19**2 <= red.sum() <= 21**2
    assert 60 <= blue.sum() <= 90  # a circle of 10
    page.do("layer().setStyle([0], {width: 1, marker: 0})")
    # A circle of 10 again, whose edge is full where thousands lie on each other; a square has 35 more than the blue one
    assert abs(int(is_color(page.pixels(), RED).sum()) - int(blue.sum())) <= 30


def test_the_raster_draws_markers_of_their_own(busy: Open) -> None:
    """As the exact picture does."""
    page = busy(PointLayer(key="A", size=10))
    for x, color in ((80, RED), (200, BLUE)):
        page.do("layer().addSeries(Uint8Array.from(argument))", color)
        page.append(page.do("layer().count") - 1, [x], [100])
    page.do("layer().setStyle([1], {width: 2, marker: 2})")
    painted, pixels = page.painted(change="layer().repaint()")
    assert painted == "raster"
    assert 380 <= is_color(pixels, RED).sum() <= 450
    assert 60 <= is_color(pixels, BLUE).sum() <= 100


def test_the_raster_draws_dashes_widths_and_ghosts(busy: Open) -> None:
    """As the exact picture does, about."""
    page = busy(LineLayer(key="A", line_width=2))
    for y, color in ((100, RED), (50, BLUE)):
        page.do("layer().addSeries(Uint8Array.from(argument))", color)
        page.append(page.do("layer().count") - 1, [0, WIDTH], [y, y])
    page.do("layer().setStyle([1], {dash: 1})")
    page.do("layer().setStyle([2], {width: 3})")
    painted, pixels = page.painted(change="layer().repaint()")
    assert painted == "raster"
    assert 0.35 < is_color(pixels, RED)[row(100)].mean() < 0.65
    assert 5 <= is_color(pixels, BLUE)[:, 150].sum() <= 7
    page.do("layer().setSmoothing(0.9)")
    page.do("layer().addSeries(Uint8Array.from(argument))", GREEN)
    page.append(3, [0, 100, 200, 300], [150, 150, 190, 190])
    painted, pixels = page.painted(change="layer().repaint()")
    assert painted == "raster"
    ghost = pixels[row(190) - 2 : row(190) + 2, 210:290].astype(int)
    assert (np.abs(ghost - [191, 223, 191, 255]).max(axis=2) <= 6).any(axis=0).all()


def test_an_export_has_dashes_and_ghosts(show: Open) -> None:
    """Paths with the pattern as an attribute."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 290, 295], [20, 180, 20]))
    page.do("layer().setStyle([0], {dash: 1})")
    page.do("layer().setSmoothing(0.5)")
    svg = page.do('layer().plot_view.export("svg").ctx.get_serialized_svg(true)')
    assert svg.count('stroke-dasharray="6,6"') == 2
    assert "0.25" in svg
