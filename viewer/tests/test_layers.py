"""What the drawing layers put on the screen, in a real browser, by canvas and by WebGL."""

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bokeh.models import DataRange1d, Plot
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ViewportSize

import streamvis_viewer
from streamvis_viewer.layers import LineLayer, PointLayer
from viewer.tests.layer_page import HEIGHT, WIDTH, LayerPage, bare_figure, plain, serving

pytestmark = pytest.mark.browser

RED, GREEN, BLUE = [255, 0, 0, 255], [0, 128, 0, 255], [0, 0, 255, 255]
Pixels = NDArray[np.uint8]
Open = Callable[..., LayerPage]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def contexts(browser: Browser) -> dict[float, BrowserContext]:
    """One per device pixel ratio: pages of one context share the cache of compiled scripts."""
    size: ViewportSize = {"width": 400, "height": 300}
    return {ratio: browser.new_context(viewport=size, device_scale_factor=ratio) for ratio in (1, 2)}


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, float], LayerPage]:
    """Pages that tests take over from one another, by ?gl= and device pixel ratio."""
    return {}


@pytest.fixture
def open_page(
    url: str, contexts: dict[float, BrowserContext], pages: dict[tuple[str, float], LayerPage]
) -> Iterator[Open]:
    """Opens a page with these renderers; no test may leave an error in a page's console."""
    opened: list[LayerPage] = []

    def opener(*renderers: Any, gl: str, ratio: float = 1, fresh: bool = False, **figure: Any) -> LayerPage:
        page = None if fresh else pages.get((gl, ratio))
        page = page or LayerPage(contexts[ratio].new_page(), url, gl)
        if not fresh:
            pages[gl, ratio] = page
        opened.append(page)
        page.show(bare_figure(*renderers, **figure))
        return page

    yield opener
    assert [page.errors for page in opened] == [[] for _ in opened]


@pytest.fixture(params=["canvas", "webgl"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def show(open_page: Open, backend: str) -> Open:
    """Opens a page that draws by `backend`."""

    def opener(*renderers: Any, **figure: Any) -> LayerPage:
        page = open_page(*renderers, gl={"canvas": "off", "webgl": "force"}[backend], **figure)
        assert page.do("[...layers.values()].map(layer => layer.backend)") == [backend] * len(renderers)
        return page

    return opener


def line(x: Any, y: Any, rgba: list[int] = RED, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "rgba": rgba} | more


def is_color(pixels: Pixels, rgba: list[int]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(pixels.astype(int) - rgba) <= 3).all(axis=2))


def inked(pixels: Pixels) -> NDArray[np.bool_]:
    return np.asarray((pixels[..., :3] < 250).any(axis=2))


def row(y: float) -> int:
    """The pixel row whose centre is at data coordinate y of a bare figure."""
    return round(HEIGHT - y)


# Lines


def test_a_horizontal_line_covers_its_pixels_and_no_others(show: Open) -> None:
    """A line 1 px wide on a pixel row fills exactly that row, between its ends."""
    page = show(LineLayer(key="A"))
    page.replace(line([50, 150], [100, 100]))
    pixels = page.pixels()
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[row(100), 51:150] = True
    assert np.array_equal(is_color(pixels, RED)[:, 51:150], expected[:, 51:150])
    assert not inked(pixels)[:, :49].any()
    assert not inked(pixels)[:, 152:].any()


def test_a_vertical_line_covers_its_pixels_and_no_others(show: Open) -> None:
    """The same along y, three pixels wide."""
    page = show(LineLayer(key="A", line_width=3))
    page.replace(line([100, 100], [50, 150]))
    pixels = page.pixels()
    columns = np.flatnonzero(is_color(pixels, RED)[row(100)])
    assert columns.tolist() == [99, 100, 101]
    assert is_color(pixels, RED)[row(150) + 1 : row(50), 99:102].all()
    assert not inked(pixels)[: row(150) - 2].any()


def test_edges_are_anti_aliased(show: Open) -> None:
    """A line two pixels wide, centred on a pixel row, covers the rows beside it by half."""
    page = show(LineLayer(key="A", line_width=2))
    page.replace(line([50, 150], [100, 100]))
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(100), 100]
    assert abs(int(pixels[row(100) - 1, 100, 1]) - 128) <= 8
    assert abs(int(pixels[row(100) + 1, 100, 1]) - 128) <= 8
    assert not inked(pixels)[row(100) - 2, 100]


@pytest.mark.parametrize("ratio", [1, 2])
def test_both_painters_agree(open_page: Open, ratio: float) -> None:
    """Canvas and WebGL draw the same picture, whatever the device's pixel ratio."""
    rng = np.random.default_rng(5)
    x = np.linspace(-20, 320, 80)
    walks = [line(x, 100 + rng.normal(size=80).cumsum() * 8, color) for color in (RED, GREEN, BLUE)]
    shots = []
    for gl in ("off", "force"):
        page = open_page(LineLayer(key="A", line_width=1.5), gl=gl, ratio=ratio)
        page.replace(*walks)
        shots.append(page.pixels().astype(int))
    assert shots[0].shape == (HEIGHT * ratio, WIDTH * ratio, 4)
    difference = np.abs(shots[0] - shots[1])
    assert inked(shots[0].astype(np.uint8)).sum() > 1000
    assert difference.mean() < 0.5
    assert (difference.max(axis=2) > 96).mean() < 0.001


def test_nan_breaks_a_line(show: Open) -> None:
    """Between the points on either side of a NaN there is background."""
    page = show(LineLayer(key="A"))
    page.replace(line([20, 100, np.nan, 200, 280, 290, 299], [60, 60, 60, 60, 60, np.nan, 60]))
    red = is_color(page.pixels(), RED)[row(60)]
    assert red[21:100].all()
    assert not red[102:199].any()
    assert red[201:280].all()
    assert not red[282:296].any()


def test_a_lone_point_is_a_dot(show: Open) -> None:
    """A series of one point, and a point between two NaNs, can be seen."""
    page = show(LineLayer(key="A"))
    page.replace(line([50], [50]), line([100, 150, 200], [np.nan, 120, np.nan], BLUE))
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(50), 50]
    assert is_color(pixels, BLUE)[row(120), 150]
    assert inked(pixels).sum() < 60


def test_series_do_not_join(show: Open) -> None:
    """The last point of one series is not connected to the first of the next."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 20], [10, 10]), line([280, 290], [190, 190]))
    assert not inked(page.pixels())[20:180].any()


def test_hidden_series_are_gone_and_come_back(show: Open) -> None:
    """Visibility is per series."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 290], [50, 50]), line([10, 290], [150, 150], BLUE))
    page.do("layer().setVisible([0], false)")
    pixels = page.pixels()
    assert not is_color(pixels, RED).any()
    assert is_color(pixels, BLUE)[row(150), 20:280].all()
    page.do("layer().setVisible([0], true)")
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()


def test_colors_change(show: Open) -> None:
    """Every slot can be recoloured."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 290], [50, 50]), line([10, 290], [150, 150], BLUE))
    page.do("layer().setColors(Uint8Array.from(argument))", GREEN + RED)
    pixels = page.pixels()
    assert is_color(pixels, GREEN)[row(50), 20:280].all()
    assert is_color(pixels, RED)[row(150), 20:280].all()


def test_alpha_of_series_and_layer_multiply(show: Open) -> None:
    """Half-transparent red at half the layer's alpha leaves three quarters of the white."""
    page = show(LineLayer(key="A", line_width=3, alpha=0.5))
    page.replace(line([10, 290], [100, 100], [255, 0, 0, 128]))
    assert abs(int(page.pixels()[row(100), 150, 1]) - 191) <= 3


def test_append_extends_a_line(show: Open) -> None:
    """Appended points continue the series, also when its slab must grow."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 50], [100, 100]), line([10, 50], [150, 150], BLUE))
    assert not inked(page.pixels())[row(100), 60:].any()
    for begin in range(60, 290, 10):
        page.append(0, [begin, begin + 5], [100, 100])
    pixels = page.pixels()
    assert inked(pixels)[row(100), 11:285].all()
    assert not inked(pixels)[row(100), 288:].any()
    assert not inked(pixels)[row(150), 60:].any()


def test_series_are_added_and_cleared(show: Open) -> None:
    """A new slot takes points; a cleared slot is empty and can be filled again."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 290], [50, 50]))
    page.do("layer().addSeries(Uint8Array.from(argument))", BLUE + GREEN)
    assert page.do("layer().count") == 3
    page.append(1, [10, 290], [150, 150])
    page.append(2, [10, 290], [100, 100])
    page.do("layer().clearSeries([0, 2])")
    pixels = page.pixels()
    assert not is_color(pixels, RED).any()
    assert not is_color(pixels, GREEN).any()
    assert is_color(pixels, BLUE)[row(150), 20:280].all()
    page.append(0, [10, 290], [20, 20])
    assert is_color(page.pixels(), RED)[row(20), 20:280].all()


def test_nothing_is_drawn_outside_the_frame(show: Open) -> None:
    """Lines and markers end at the frame."""
    page = show(LineLayer(key="A", line_width=5), PointLayer(key="B", size=20))
    page.replace(line([-500, 800], [-300, 500]), line([150, 150], [-900, 900]))
    page.replace(line([0, WIDTH, 150], [100, 100, HEIGHT], BLUE), key="B")
    outside = inked(page.pixels(border=15))
    outside[15:-14, 15:-14] = False  # the clip's edge lies amid the pixels just beyond the frame
    assert not outside.any()
    inside = inked(page.pixels())
    assert inside[row(100), 2]
    assert inside[row(100), -3]


def test_pan_moves_the_picture(show: Open) -> None:
    """A change of range moves what is drawn."""
    page = show(LineLayer(key="A"))
    page.replace(line([150, 150], [10, 190]))
    page.do("layer().plot_view.model.x_range.setv({start: 50, end: 350})")
    assert is_color(page.pixels(), RED)[row(100)].nonzero()[0].tolist() == [100]


def test_column_wise_merging_covers_the_same_pixels(open_page: Open) -> None:
    """A line with hundreds of points per pixel column looks like the same line drawn point by point."""
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, WIDTH, 20_000))
    y = 100 + 40 * np.sin(x / 15) + rng.normal(size=x.size) * 5
    y[rng.integers(0, x.size, 20)] = np.nan
    page = open_page(LineLayer(key="A"), gl="off")
    page.replace(line(x, y))
    merged = inked(page.pixels())
    plainly = page.do(
        """{ const {bbox} = layer().plot_view.frame, {ctx} = layer().plot_view.canvas_view.primary;
          await repaint(); ctx.save(); ctx.translate(0.5, 0.5); ctx.clearRect(0, 0, 400, 300);
          ctx.strokeStyle = "red"; ctx.lineWidth = 1; ctx.lineJoin = "bevel"; ctx.beginPath(); let open = false;
          argument.x.forEach((x, i) => { const y = argument.y[i]; if (y === null) { open = false; return; }
            const sx = bbox.left + x, sy = bbox.top + 200 - y;
            if (open) ctx.lineTo(sx, sy); else ctx.moveTo(sx, sy); open = true; });
          ctx.stroke(); ctx.restore();
          const data = ctx.getImageData(bbox.left, bbox.top, 300, 200).data;
          return Array.from({length: 300 * 200}, (_, i) => data[4 * i + 3] > 12 ? 1 : 0); }""",
        {"x": plain(x), "y": plain(y)},
    )
    drawn = np.array(plainly, bool).reshape(HEIGHT, WIDTH)
    assert drawn.sum() > 5000
    assert (drawn != merged).mean() < 0.01


# Points


@pytest.mark.parametrize("marker", ["circle", "square", "triangle"])
def test_markers_have_their_place_size_and_shape(show: Open, marker: str) -> None:
    """A marker of size 12 is centred on its point, and covers the area of its shape."""
    page = show(PointLayer(key="A", size=12, marker=marker))
    page.replace(line([50, 200], [60, 120], GREEN))
    pixels = page.pixels()
    area = {"circle": np.pi * 36, "square": 144, "triangle": 12 * 12 * np.sqrt(3) / 4}[marker]
    for x, y in ((50, 60), (200, 120)):
        box = pixels[row(y) - 10 : row(y) + 11, x - 10 : x + 11].astype(float)
        coverage = (255 - box[..., 0]) / 255
        assert coverage.sum() == pytest.approx(area, rel=0.04)
        rows, columns = np.mgrid[-10:11, -10:11]
        assert abs((coverage * rows).sum() / coverage.sum()) < 0.2
        assert abs((coverage * columns).sum() / coverage.sum()) < 0.2
    assert is_color(pixels, GREEN)[row(60), 50]
    assert inked(pixels).sum() < 2.6 * area


def test_a_marker_at_the_frames_edge_shows_its_half(show: Open) -> None:
    """A marker whose centre lies just outside the frame is cut, not dropped."""
    page = show(PointLayer(key="A", size=20))
    page.replace(line([-3, WIDTH + 3], [100, 100], BLUE))
    blue = is_color(page.pixels(), BLUE)
    assert blue[row(100), 1:6].all()
    assert blue[row(100), -5:].all()
    assert not blue[:, 10:-10].any()


def test_points_keep_colors_gaps_and_visibility(show: Open) -> None:
    """NaN drops a point; series have their own colours and visibility."""
    page = show(PointLayer(key="A", size=8))
    page.replace(line([50, np.nan, 100], [50, 50, np.nan], RED), line([200], [150], BLUE), line([250], [150], GREEN))
    page.do("layer().setVisible([2], false)")
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(50), 50]
    assert is_color(pixels, BLUE)[row(150), 200]
    assert not is_color(pixels, GREEN).any()
    assert not inked(pixels)[:, 60:190].any()


@pytest.mark.parametrize("marker", ["circle", "square", "triangle"])
@pytest.mark.parametrize("rgba", [RED, [20, 120, 220, 100]])
def test_stamps_look_like_paths(open_page: Open, marker: str, rgba: list[int]) -> None:
    """The fast painter for many markers draws what the path painter draws, up to the phase of a quarter pixel."""
    rng = np.random.default_rng(2)
    page = open_page(PointLayer(key="A", size=7, marker=marker), gl="off")
    page.replace(line(rng.uniform(0, WIDTH, 150), rng.uniform(0, HEIGHT, 150), rgba))
    by_path = page.pixels().astype(int)
    x = np.full(6000, np.nan)  # points that are nowhere, yet count
    page.append(0, x, x)
    by_stamp = page.pixels().astype(int)
    assert np.abs(by_path - by_stamp).mean() < 1
    assert np.abs(by_path - by_stamp).max() < 110
    assert (255 - by_stamp[..., :3]).sum() == pytest.approx((255 - by_path[..., :3]).sum(), rel=0.03)


def test_select_shows_the_points_of_one_t(show: Open) -> None:
    """select(t) draws only the points with that t, null all of them; appended points count, and the bounds stay."""
    page = show(PointLayer(key="A", size=6))
    page.replace(
        line([10, 20, 30, 40], [50, 50, 50, 50], RED, t=[0, 0, 0.1, 0.1]),
        line([110, 120, 130], [50, 50, 50], BLUE, t=[0.1, 0, 0.1]),
    )

    def shown() -> list[int]:
        middle = inked(page.pixels())[row(50)]
        return [x for x in range(10, WIDTH, 10) if middle[x]]

    assert shown() == [10, 20, 30, 40, 110, 120, 130]
    page.do("layer().select(0.1)")
    assert shown() == [30, 40, 110, 130]
    assert page.do("layer().bounds()") == {"x0": 10, "x1": 130, "y0": 50, "y1": 50}
    page.append(0, [250, 260], [50, 50], t=[0.1, 0.2])
    assert shown() == [30, 40, 110, 130, 250]
    page.do("layer().select(7)")
    assert shown() == []
    page.do("layer().select(null)")
    assert shown() == [10, 20, 30, 40, 110, 120, 130, 250, 260]


def test_select_works_on_lines(show: Open) -> None:
    """A selected stretch of a line does not join the next one."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 60, 100, 150, 200, 250], [50] * 6, t=[1, 1, 2, 2, 1, 1]))
    page.do("layer().select(1)")
    red = is_color(page.pixels(), RED)[row(50)]
    assert red[11:60].all()
    assert not red[63:198].any()
    assert red[201:250].all()


# Axes


def test_log_axes_place_points_and_leave_out_what_has_no_place(show: Open) -> None:
    """On logarithmic axes decades are equally far apart, and x or y <= 0 is a gap."""
    page = show(
        PointLayer(key="A", size=6),
        LineLayer(key="B"),
        x_axis_type="log",
        y_axis_type="log",
        x_range=(1, 1000),
        y_range=(0.01, 1),
    )
    page.replace(line([10, 100, 0, -5, 50], [0.1, 0.1, 0.1, 0.1, 0]))
    page.replace(line([1, 10, 0, 100, 1000], [0.5, 0.5, 0.5, 0.5, 0.5], BLUE), key="B")
    pixels = page.pixels()
    red = is_color(pixels, RED)
    assert red[100, 100]
    assert red[100, 200]
    assert not red[:, 110:190].any()
    middle = round(100 * np.log10(1 / 0.5))
    blue = inked(pixels)[middle]
    assert blue[2:99].all()
    assert not blue[103:197].any()
    assert blue[203:298].all()
    bounds = page.do("layer().bounds()")
    assert bounds == pytest.approx({"x0": 10, "x1": 100, "y0": 0.1, "y1": 0.1})


def test_an_axis_switches_to_log_and_points_append_there(show: Open) -> None:
    """The scale may change under live data; points appended afterwards are placed as well."""
    page = show(PointLayer(key="A", size=6))
    page.replace(line([10, 100], [100, 100]))
    assert is_color(page.pixels(), RED)[100, 10]
    page.do("""{ const plot = layer().plot_view.model; const {LogScale} = Bokeh.require("models/scales/log_scale");
              plot.x_range.setv({start: 1, end: 1000}); plot.x_scale = new LogScale(); }""")
    page.append(0, [500], [100])
    red = is_color(page.pixels(), RED)
    assert red[100, 100]
    assert red[100, 200]
    assert red[100, round(100 * np.log10(500))]
    assert not red[100, 10]


@pytest.mark.parametrize("origin", [1.7e9, 2.0**40 + 0.25])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_large_coordinates_keep_their_precision(show: Open, origin: float, scale: str) -> None:
    """Around a large origin a thousandth of a unit still has its place, which float32 alone would lose."""
    page = show(
        LineLayer(key="A"), x_axis_type=scale, x_range=(origin, origin + 0.3), y_axis_type="linear", y_range=(0, HEIGHT)
    )
    page.replace(line([0.1, 0.1, np.nan, 0.101, 0.2], [10, 90, 3, 150, 150]), origin=(origin, 0))
    red = inked(page.pixels())
    columns = np.flatnonzero(red[row(50)])
    assert abs(columns.mean() - 100) <= 1
    assert len(columns) <= 2
    run = np.flatnonzero(red[row(150)])
    assert abs(run[0] - 101) <= 1
    assert abs(run[-1] - 200) <= 1
    assert page.do("layer().bounds()")["x0"] == pytest.approx(origin + 0.1, abs=1e-3)
    assert page.nearest([[100, 150]])[0]["x"] == pytest.approx(origin + 0.1, abs=1e-4)


# What the page asks


def test_bounds_cover_visible_finite_points_with_the_origin(open_page: Open) -> None:
    """bounds() is null without points, and follows appends, visibility and removal."""
    page = open_page(LineLayer(key="A"), gl="off")
    assert page.do("layer().bounds()") is None
    page.replace(
        line([1, 2, np.nan], [5, -3, 99]), line([-10, 400, np.inf], [np.nan, 7, 1000]), line([], []), origin=(100, 1000)
    )
    assert page.do("layer().bounds()") == {"x0": 101, "x1": 500, "y0": 997, "y1": 1007}
    page.do("layer().setVisible([1], false)")
    assert page.do("layer().bounds()") == {"x0": 101, "x1": 102, "y0": 997, "y1": 1005}
    page.append(0, [8], [6])
    assert page.do("layer().bounds()") == {"x0": 101, "x1": 108, "y0": 997, "y1": 1006}
    page.do("layer().clearSeries([0])")
    assert page.do("layer().bounds()") is None


def test_nearest_finds_what_a_search_of_all_points_finds(open_page: Open) -> None:
    """Sorted series are bisected and unsorted ones searched: the answer is the nearest point in the frame."""
    rng = np.random.default_rng(3)
    series = [line(np.sort(rng.uniform(-50, 350, 200)), rng.uniform(-50, 250, 200)) for _ in range(4)]
    series += [line(rng.uniform(-50, 350, 200), rng.uniform(-50, 250, 200)) for _ in range(3)]
    series[1]["y"][50:90] = np.nan
    page = open_page(LineLayer(key="A"), gl="off")
    assert page.do("layer().nearest(100, 100)") is None
    page.replace(*series)
    page.do("layer().setVisible([2], false)")
    targets = rng.uniform([0, 0], [WIDTH, HEIGHT], (60, 2))
    found = page.nearest(targets)
    for (sx, sy), answer in zip(targets, found, strict=True):
        best = min(
            (np.hypot(x - sx, HEIGHT - y - sy), slot, i)
            for slot, s in enumerate(series)
            for i, (x, y) in enumerate(zip(s["x"], s["y"], strict=True))
            if slot != 2 and 0 <= x <= WIDTH and 0 <= y <= HEIGHT
        )
        assert (answer["slot"], answer["i"]) == best[1:]
        assert answer["distance_px"] == pytest.approx(best[0], abs=1e-3)
        assert answer["x"] == pytest.approx(series[best[1]]["x"][best[2]], abs=1e-4)


def test_stats_tell_the_backend_and_the_points(show: Open, backend: str) -> None:
    """The statistics count paints and the points of the visible series."""
    page = show(LineLayer(key="A"))
    page.replace(line([1, 2, 3], [1, 2, 3]), line([1, 2], [1, 2]))
    page.pixels()
    stats = page.do("layer().stats")
    assert stats["backend"] == backend
    assert stats["points"] == 5
    assert stats["paint_ms"] >= 0
    page.pixels()
    assert page.do("layer().stats.paints") > stats["paints"]


def test_wrong_lengths_are_refused_and_change_nothing(open_page: Open) -> None:
    """Arrays that contradict their counts raise a RangeError that says so."""
    page = open_page(LineLayer(key="A"), gl="off")
    page.replace(line([10, 290], [50, 50]))
    for call in (
        "replace(packed({origin: {x: 0, y: 0}, counts: [3], x: [1, 2], y: [1, 2, 3], rgba: [0, 0, 0, 255]}))",
        "replace(packed({origin: {x: 0, y: 0}, counts: [1], x: [1], y: [1], rgba: [0]}))",
        "append(packed({slots: [0], counts: [2], x: [1, 2], y: [1]}))",
        "append(packed({slots: [0], counts: [1], x: [1], y: [1], t: []}))",
        "append(packed({slots: [7], counts: [1], x: [1], y: [1]}))",
        "setColors(new Uint8Array(3))",
    ):
        error = page.do(f"{{ try {{ layer().{call}; }} catch (e) {{ return e.name + e.message; }} }}")
        assert error is not None, call
        assert error.startswith("RangeError"), error
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()


# The raster that draws while much changes


FILLER = 160_000
"""Points that make an exact picture of a layer slow; they lie outside the frame."""


@pytest.fixture
def busy(open_page: Open) -> Open:
    """Opens a page whose layer A has many points, beyond the frame, in slot 0."""

    def opener(*renderers: Any, **figure: Any) -> LayerPage:
        page = open_page(*renderers, **{"gl": "off"} | figure)
        page.do(
            """{ const beyond = new Float32Array(argument).fill(-50), origin = {x: 0, y: 0};
              const counts = Uint32Array.of(argument), rgba = new Uint8Array(4).fill(255);
              layer().replace({origin, counts, x: beyond, y: beyond, rgba}); }""",
            FILLER,
        )
        return page

    return opener


def add(page: LayerPage, x: Any, y: Any, rgba: list[int] = RED, **more: Any) -> None:
    """One more series."""
    page.do("layer().addSeries(Uint8Array.from(argument))", rgba)
    page.append(page.do("layer().count") - 1, x, y, **more)


def hasty(page: LayerPage) -> Pixels:
    """The frame's pixels while it changes."""
    painted, pixels = page.painted(change="layer().repaint()")
    assert painted == "raster"
    return pixels


def rested(page: LayerPage) -> Pixels:
    """The frame's pixels after it has rested."""
    page.page.wait_for_function("layer().stats.painted === 'exact'")
    return page.pixels()


def test_the_raster_fills_exact_columns_and_rows(busy: Open) -> None:
    """Level, upright and slanted lines cover the pixels that they pass; translucent ones do not add up."""
    page = busy(LineLayer(key="A"))
    add(page, [50, 150], [100, 100])
    add(page, [200, 200], [50, 150], BLUE)
    add(page, [20, 40, 60], [20, 60, 20], [0, 128, 0, 100])
    pixels = hasty(page)
    assert np.argwhere(is_color(pixels, RED)).tolist() == [[row(100), column] for column in range(50, 151)]
    assert np.argwhere(is_color(pixels, BLUE)).tolist() == [[y, 200] for y in range(row(150), row(50) + 1)]
    slanted = is_color(pixels, [155, 205, 155, 255])
    assert slanted[:, 20:61].any(axis=0).all()
    assert slanted[row(60)].nonzero()[0].tolist() == [40]
    assert not slanted[: row(60)].any()


def test_the_raster_merges_the_points_of_a_column(busy: Open) -> None:
    """Many points within a pixel column become the run between the lowest and the highest."""
    page = busy(LineLayer(key="A"))
    add(page, 100 + np.arange(50) / 100, 60 + 40 * np.sin(np.arange(50)))
    rows = is_color(hasty(page), RED)
    assert rows.any(axis=0).nonzero()[0].tolist() == [100]
    assert rows[:, 100].nonzero()[0].tolist() == list(range(row(100), row(20) + 1))


def test_the_raster_respects_gaps_lone_points_visibility_and_appends(busy: Open) -> None:
    """NaN breaks a line, a lone point is a dot, hidden series are not there, new points are."""
    page = busy(LineLayer(key="A"))
    add(page, [20, 100, np.nan, 200, 250], [60, 60, 60, 60, 60])
    add(page, [150], [120], BLUE)
    add(page, [10, 290], [150, 150], GREEN)
    page.do("layer().setVisible([3], false)")
    pixels = hasty(page)
    assert is_color(pixels, RED)[row(60)].nonzero()[0].tolist() == [*range(20, 101), *range(200, 251)]
    assert 9 <= is_color(pixels, BLUE).sum() <= 21
    assert not is_color(pixels, GREEN).any()
    page.append(1, [280], [60])
    assert is_color(hasty(page), RED)[row(60), 200:281].all()


@pytest.mark.parametrize("width", [1, 3])
def test_the_raster_goes_on_with_lines_as_if_it_began_anew(busy: Open, width: float) -> None:
    """Point by point or many at once, across gaps, beside lone points, under a selection, beside dashed lines."""
    page = busy(LineLayer(key="A", line_width=width))
    rng = np.random.default_rng(width)
    for _ in range(4):
        page.do("layer().addSeries(Uint8Array.from(argument))", RED)
    page.do("layer().setStyle([4], {width: 2, dash: 1})")
    x = 10.0
    for pieces in range(30):
        n = int(rng.choice([1, 1, 1, 2, 5, 30]))
        xs = x + 6 * rng.random(n).cumsum() / n
        x = float(xs[-1]) + 3
        ys = np.where(rng.random(n) < 0.3, np.nan, rng.uniform(0, HEIGHT, n))
        page.append(int(rng.integers(1, 5)), xs, ys, t=rng.integers(0, 2, n))
        if pieces == 20:
            page.do("layer().select(1)")
        grown = hasty(page)
        if pieces % 5 == 0:
            page.do("layer().setColors(new Uint8Array(layer().count * 4).map((_, i) => argument[i % 4]))", RED)
            assert np.array_equal(hasty(page), grown)
    assert is_color(grown, RED).sum() > 500


def test_the_raster_draws_the_selection_only(busy: Open) -> None:
    """Points of another t are not there."""
    page = busy(LineLayer(key="A"))
    add(page, [10, 290, 10, 290], [50, 50, 150, 150], t=[1, 1, 2, 2])
    page.do("layer().select(2)")
    page.do("layer().repaint()")
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(150), 20:280].all()
    assert not is_color(pixels, RED)[row(50)].any()


def test_the_raster_places_points_on_log_axes_from_an_origin(busy: Open) -> None:
    """The raster and the exact picture agree about where a line is, and what no logarithm has is a gap."""
    options = {"x_axis_type": "log", "x_range": (1, 1000), "y_axis_type": "log", "y_range": (1, 100)}
    page = busy(LineLayer(key="A"), **options)
    add(page, [10, 100, -5, 200, 900], [10, 10, 10, 10, 10])
    before, after = hasty(page), rested(page)
    assert np.array_equal(is_color(before, RED)[:, 102:198], is_color(after, RED)[:, 102:198])
    assert is_color(before, RED)[HEIGHT // 2, 100:200].all()
    assert not is_color(before, RED)[:, 202:228].any()


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("width", [1, 3])
def test_the_raster_and_the_exact_picture_look_alike(busy: Open, ratio: float, width: float) -> None:
    """Where one has much ink, the other has ink within a pixel, whatever the width and the device's pixel ratio."""
    page = busy(LineLayer(key="A", line_width=width), ratio=ratio)
    x = np.linspace(-200, 500, 140)
    add(page, x, 100 + np.random.default_rng(5).normal(size=x.size).cumsum() * 8)
    before, after = (inked(shot) for shot in (hasty(page), rested(page)))
    assert 0.6 < before.sum() / after.sum() < 1.4
    spread = np.zeros_like(after)
    for shift in (-1, 0, 1):
        for axis in (0, 1):
            spread |= np.roll(after, shift, axis)
    assert (before & ~spread).sum() < 0.01 * before.sum()


@pytest.mark.parametrize("marker", ["circle", "square", "triangle"])
def test_the_raster_stamps_markers(busy: Open, marker: str) -> None:
    """A marker has its place and about its area; one at the frame's edge is cut."""
    page = busy(PointLayer(key="A", size=12, marker=marker))
    add(page, [100, np.nan, -2], [100, 50, 30])
    before, after = (is_color(shot, RED) for shot in (hasty(page), rested(page)))
    assert before[row(100), 100]
    assert 0.8 < before[:, 50:].sum() / {"circle": np.pi * 36, "square": 144, "triangle": 62.4}[marker] < 1.3
    assert before[row(30), 1]
    assert after[row(30), 1]


def test_nothing_of_the_raster_is_outside_the_frame(busy: Open) -> None:
    """Lines, wide ones too, and markers end at the frame."""
    page = busy(LineLayer(key="A", line_width=5))
    add(page, [-500, 800], [-300, 500])
    add(page, [150, 150], [-900, 900])
    add(page, [-20, -10], [0, 200], BLUE)
    painted, pixels = page.painted(border=15, change="layer().repaint()")
    outside = inked(pixels)
    outside[15:-14, 15:-14] = False
    assert painted == "raster"
    assert not outside.any()
    assert not is_color(page.pixels(), BLUE).any()


def test_the_exact_picture_follows_once_when_all_rests(busy: Open) -> None:
    """Changes put the exact picture off; it is drawn once, and stays until something changes."""
    page = busy(LineLayer(key="A"))
    add(page, [10, 290], [20, 180])
    assert not is_anti_aliased(hasty(page))
    page.page.wait_for_function("layer().stats.painted === 'exact'")
    paints = page.do("layer().stats.paints")
    assert is_anti_aliased(page.pixels())
    assert page.do("layer().stats.paints") == paints + 1
    page.do("layer().plot_view.model.x_range.setv({start: 1, end: 301})")
    page.page.wait_for_function("layer().stats.painted === 'raster'")
    page.page.wait_for_function("layer().stats.painted === 'exact'")


def is_anti_aliased(pixels: Pixels) -> bool:
    return bool((inked(pixels) & ~is_color(pixels, RED)).any())


def test_exports_are_exact_while_the_raster_draws(busy: Open) -> None:
    """A PNG made in the midst of changes is anti-aliased, an SVG has paths; the screen is as it was."""
    page = busy(LineLayer(key="A"))
    add(page, [10, 290], [20, 180])
    shades = page.do("""{ layer().repaint();
      const {ctx} = layer().plot_view.export("png"), {bbox} = layer().plot_view.frame;
      const {data} = ctx.getImageData(bbox.left, bbox.top, bbox.width, bbox.height);
      return new Set(data.filter((_, i) => i % 4 === 1)).size; }""")
    assert shades > 3
    assert not is_anti_aliased(hasty(page))
    svg = page.do('layer().plot_view.export("svg").ctx.get_serialized_svg(true)')
    assert re.search(r'<path[^>]* stroke="rgb\(255,0,0\)"', svg)


def test_few_points_and_webgl_are_always_exact(show: Open) -> None:
    """What is quick to draw exactly is never drawn otherwise."""
    page = show(LineLayer(key="A"))
    page.replace(line([10, 290], [20, 180]))
    page.do("layer().repaint()")
    page.pixels()
    assert page.do("layer().stats.painted") == "exact"


# Life


def test_a_layer_without_points_or_window_paints_nothing(show: Open) -> None:
    """Empty layers, empty slots and ranges without extent neither throw nor wedge the plot."""
    page = show(LineLayer(key="A"), PointLayer(key="B"))
    assert not inked(page.pixels()).any()
    page.replace(line([], []), line([], []))
    page.replace(line([np.nan], [np.nan]), key="B")
    assert not inked(page.pixels()).any()
    page.do("layer().plot_view.model.x_range.setv({start: 5, end: 5})")
    page.pixels()
    assert page.do("layer().nearest(5, 5)") is None
    page.do("layer().plot_view.model.x_range.setv({start: 0, end: 300})")
    page.replace(line([10, 290], [50, 50]))
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()


def test_properties_of_the_model_repaint(show: Open) -> None:
    """A new line width or marker size shows without new data."""
    page = show(LineLayer(key="A"), PointLayer(key="B", size=4))
    page.replace(line([10, 290], [50, 50]))
    page.replace(line([150], [150], BLUE), key="B")
    before = page.pixels()
    page.do("{ layer().model.line_width = 7; layer('B').model.size = 20; }")
    after = page.pixels()
    assert is_color(before, RED)[:, 100].sum() == 1
    assert is_color(after, RED)[:, 100].sum() == 7
    assert is_color(after, BLUE).sum() > 10 * is_color(before, BLUE).sum()


def test_layers_share_one_context_and_leave_the_map(open_page: Open) -> None:
    """All layers of a page draw by one WebGL context; a removed renderer is forgotten."""
    page = open_page(LineLayer(key="A"), PointLayer(key="B"), LineLayer(key="C"), gl="force")
    page.replace(line([10, 290], [50, 50]))
    page.replace(line([10, 290], [100, 100], BLUE), key="C")
    pixels = page.pixels()
    assert is_color(pixels, RED)[row(50), 20:280].all()
    assert is_color(pixels, BLUE)[row(100), 20:280].all()
    assert page.do("gl.watchers.size") == 3
    page.do("{ const plot = layer().plot_view.model; plot.renderers = plot.renderers.slice(1); }")
    page.page.wait_for_function("layers.size === 2")
    assert page.do("[...layers.keys()]") == ["B", "C"]
    assert page.do("gl.watchers.size") == 2


def test_pan_uploads_nothing_and_append_only_the_tail(open_page: Open) -> None:
    """Once uploaded, points stay on the GPU: a pan changes uniforms, an append writes its own bytes."""
    page = open_page(LineLayer(key="A"), gl="force", fresh=True)
    page.replace(line(np.arange(200), np.arange(200)), line([1], [1]))
    page.append(0, [200], [200])
    page.pixels()
    page.do("""{ const context = gl.sharedContext().gl; window.uploads = [];
      for (const name of ["bufferData", "bufferSubData"]) { const native = context[name];
        context[name] = (...args) => { uploads.push([name, args.at(-1).byteLength ?? args[1].byteLength]);
          return native.apply(context, args); }; } }""")
    page.do("layer().plot_view.model.x_range.setv({start: 50, end: 350})")
    page.pixels()
    page.do("layer().setVisible([1], false)")
    page.pixels()
    assert page.do("uploads") == []
    page.append(0, [201, 202], [50, 60])
    page.pixels()
    assert page.do("uploads") == [["bufferSubData", 8], ["bufferSubData", 8]]


def test_a_lost_context_falls_back_to_canvas_and_returns(open_page: Open) -> None:
    """When the GPU goes away the picture stays, drawn by canvas; when it is back WebGL draws again."""
    page = open_page(LineLayer(key="A"), gl="force", fresh=True)
    page.replace(line([10, 290], [50, 50]))
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()
    page.do("{ window.lose = gl.sharedContext().gl.getExtension('WEBGL_lose_context'); lose.loseContext(); }")
    page.page.wait_for_function("layer().backend === 'canvas'")
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()
    page.do("lose.restoreContext()")
    page.page.wait_for_function("layer().backend === 'webgl'")
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()


def test_export_contains_the_series(show: Open) -> None:
    """PNG export has the pixels, SVG export has paths."""
    page = show(LineLayer(key="A"), PointLayer(key="B", size=8))
    page.replace(line([10, 290], [50, 50]))
    page.replace(line([150], [150], BLUE), key="B")
    page.pixels()
    png = page.do("""{ const {ctx} = layer().plot_view.export("png"); const {bbox} = layer().plot_view.frame;
                    return [...ctx.getImageData(bbox.left + 100, bbox.top + 150, 1, 1).data]; }""")
    assert png == RED
    svg = page.do('layer().plot_view.export("svg").ctx.get_serialized_svg(true)')
    assert re.search(r'<path[^>]* stroke="rgb\(255,0,0\)"', svg)
    assert re.search(r'<path[^>]* fill="rgb\(0,0,255\)"', svg)


@pytest.mark.parametrize(("wish", "expected"), [("", "canvas"), ("off", "canvas"), ("force", "webgl")])
def test_the_guard_refuses_software_gl_unless_forced(open_page: Open, wish: str, expected: str) -> None:
    """The test browser renders WebGL in software: the layers and Bokeh draw by canvas, on the CPU, unless ?gl=force."""
    page = open_page(LineLayer(key="A"), gl=wish, output_backend="webgl")
    assert page.do("layer().backend") == expected
    assert page.do("layer().plot_view.canvas_view.webgl !== null") == (expected == "webgl")
    context = page.do('document.createElement("canvas").getContext("2d").getContextAttributes()')
    assert context["willReadFrequently"] is True


def test_data_ranges_follow_the_layers(open_page: Open) -> None:
    """A figure with automatic ranges shows all points of its layers."""
    page = open_page(LineLayer(key="A"), gl="off", x_range=DataRange1d(), y_range=DataRange1d())
    page.replace(line([1000, 3000], [-5, 5]))
    assert inked(page.pixels()).any()
    window = page.do("(({x_range: x, y_range: y}) => [x.start, x.end, y.start, y.end])(layer().plot_view.model)")
    assert window[0] < 1000
    assert window[1] > 3000
    assert window[2] < -5
    assert window[3] > 5


def test_bokeh_tools_work_beside_a_layer(open_page: Open) -> None:
    """Hover, tap, box select and reset ask every renderer for a selection: the layers have an empty one."""
    page = open_page(LineLayer(key="A"), gl="off", tools="hover,tap,box_select,reset,pan")
    page.replace(line([10, 290], [50, 50]))
    page.page.mouse.move(150, 120)
    page.page.mouse.click(150, 120)
    page.do("layer().plot_view.reset()")
    assert is_color(page.pixels(), RED)[row(50), 20:280].all()


def test_a_screenshot_shows_the_line(show: Open) -> None:
    """What the compositor shows, not only what the canvas holds."""
    page = show(LineLayer(key="A", line_width=3))
    page.replace(line([10, 290], [50, 50]))
    page.pixels()
    shot = np.array(Image.open(BytesIO(page.page.screenshot())).convert("RGBA"))
    assert is_color(shot, RED).sum() >= 3 * 270


# Bokeh


CONTRACT = {
    "DataRenderer": 'Bokeh.require("models/renderers/data_renderer").DataRenderer',
    "DataRendererView": 'Bokeh.require("models/renderers/data_renderer").DataRendererView',
    "ColumnDataSource": 'Bokeh.require("models/sources/column_data_source").ColumnDataSource',
    "ColumnDataSource.selection_manager": 'new (Bokeh.require("models/sources/column_data_source").ColumnDataSource)()'
    ".selection_manager",
    "register_models": 'Bokeh.require("base").register_models',
    "view.request_paint": "view.request_paint",
    "view.coordinates.x_scale.compute": "view.coordinates.x_scale.compute(5)",
    "view.coordinates.x_scale.source_range": "view.coordinates.x_scale.source_range.start + 1",
    "view.coordinates.y_scale.type": 'view.coordinates.y_scale.type === "LinearScale"',
    "LogScale.type": 'new (Bokeh.require("models/scales/log_scale").LogScale)().type === "LogScale"',
    "plot_view.frame.bbox": "Number.isFinite(view.plot_view.frame.bbox.left + view.plot_view.frame.bbox.bottom)",
    "plot_view.frame.bbox.contains": "view.plot_view.frame.bbox.contains",
    "plot_view.repainted": "view.plot_view.repainted.connect",
    "plot_view.invalidate_dataranges": "Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Object.getPrototypeOf("
    'view.plot_view)), "invalidate_dataranges")?.set ?? "invalidate_dataranges" in view.plot_view',
    "auto-ranged": "view.plot_view.auto_ranged_renderers.includes(view)",
    "model.change": "view.model.change.connect",
    "canvas_view.primary.ctx": "view.plot_view.canvas_view.primary.ctx instanceof CanvasRenderingContext2D",
    "canvas_view.primary.pixel_ratio": "view.plot_view.canvas_view.primary.pixel_ratio > 0",
    "canvas_view.shadow_el": "view.plot_view.canvas_view.shadow_el instanceof ShadowRoot",
    "LogTicker.get_ticks_no_defaults": 'new (Bokeh.require("models/tickers/log_ticker").LogTicker)()'
    ".get_ticks_no_defaults(1, 2, 0, 3).major.length",
    "LogTickFormatter.doFormat": 'new (Bokeh.require("models/formatters/log_tick_formatter").LogTickFormatter)()'
    ".format_graphics([1, 10], {loc: 0})[1].base.text === '10'",
    "BasicTickFormatter": 'new (Bokeh.require("models/formatters/basic_tick_formatter").BasicTickFormatter)()'
    '.doFormat([1, 2], {})[0] === "1"',
    "LinearScale": 'new (Bokeh.require("models/scales/linear_scale").LinearScale)().type === "LinearScale"',
    "LinearAxis": 'new (Bokeh.require("models/axes/linear_axis").LinearAxis)().ticker',
    "LogAxis": 'new (Bokeh.require("models/axes/log_axis").LogAxis)().ticker',
    "BasicTicker": 'new (Bokeh.require("models/tickers/basic_ticker").BasicTicker)().desired_num_ticks',
    "AdaptiveTicker": 'new (Bokeh.require("models/tickers/adaptive_ticker").AdaptiveTicker)({mantissas: [1]})'
    ".mantissas.length === 1",
    "CompositeTicker": 'new (Bokeh.require("models/tickers/composite_ticker").CompositeTicker)'
    '({tickers: [new (Bokeh.require("models/tickers/basic_ticker").BasicTicker)()]}).tickers.length === 1',
    "CustomJSTickFormatter": 'new (Bokeh.require("models/formatters/customjs_tick_formatter").CustomJSTickFormatter)'
    '({code: "return 1"}).code',
    "UIGestures.press_threshold": 'Bokeh.require("core/ui_gestures").UIGestures.press_threshold > 0',
    "desired_num_ticks": "view.plot_view.model.left[0].ticker.desired_num_ticks === 6",
    "plot_view.export": 'view.plot_view.export("png").ctx instanceof CanvasRenderingContext2D',
    "SVG has dashes": 'view.plot_view.export("svg").ctx.setLineDash',
    "_paint is called": "layer().stats.paints",
}


def test_every_module_of_bokeh_that_the_page_requires_is_in_the_contract() -> None:
    """So that a new version that moves one is found here, not by users."""
    scripts = Path(streamvis_viewer.__file__).parent.joinpath("static").glob("*.js")
    required = {path for script in scripts for path in re.findall(r'Bokeh\.require\("([^"]+)"\)', script.read_text())}
    assert len(required) > 10
    assert required == {path for check in CONTRACT.values() for path in re.findall(r'require\("([^"]+)"\)', check)}


def test_bokeh_has_the_internals_that_the_layers_use(open_page: Open) -> None:
    """One line per internal of BokehJS that the layers rely on; the failure names what a new version lacks."""
    page = open_page(LineLayer(key="A"), gl="off")
    page.pixels()
    checks = ", ".join(f"[{json.dumps(name)}, () => {script}]" for name, script in CONTRACT.items())
    missing = page.do(f"""{{ const plot_view = layer().plot_view;
      const view = plot_view.renderer_views.get(layer().model);
      return [{checks}].filter(([name, check]) => {{ try {{ return !check(); }} catch (error) {{ return true; }} }})
        .map(([name]) => name); }}""")
    version = page.do("Bokeh.version")
    assert missing == [], f"BokehJS {version} lacks what static/*.js rely on: {', '.join(missing)}"


def test_the_python_and_javascript_models_have_the_same_properties(open_page: Open) -> None:
    """Names and defaults agree, or Bokeh would refuse the document."""
    page = open_page(LineLayer(key="A"), PointLayer(key="B"), gl="off")
    for key, model in (("A", LineLayer()), ("B", PointLayer())):
        own = set(model.properties()) - set(Plot.properties()) - {"key"}
        for name in ("line_width", "alpha", "size", "marker"):
            if name in own:
                assert page.do("layer(argument[0]).model[argument[1]]", [key, name]) == getattr(model, name)
