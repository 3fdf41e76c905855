"""What a figure has room for, in a real browser: ticks, titles; and where ticks of logarithmic axes stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from streamvis import DataLogger
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving

pytestmark = pytest.mark.browser

TITLE = "a title that is rather long for a plot of this width"
SCHEMA = f"""
DEFAULTS: {{columns: [x, y], color: {{key_fun: s}}}}
wide: {{names: loss, figure_kwargs: {{title: {TITLE}}}}}
heat: {{names: heat, columns: [x, y, v], glyph_kind: heatmap}}
"""
MODEL = "(await import('/assets/layers.js')).layers.get('p0').plot_view.model"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    schema = tmp_path_factory.mktemp("schema") / "plots.yaml"
    schema.write_text(SCHEMA)
    with data_serving("memory:") as server:
        for scope in ("run10", "run9"):  # in the order of the list, run9 comes first
            with DataLogger(scope, grpc_uri=server.uri) as logger:
                logger.write("loss", x=np.arange(1, 101), y=np.linspace(0.05, 3, 100))
                logger.write("heat", x=[0, 1, 0, 1], y=[0, 0, 1, 1], v=[0.0, 1.0, 2.0, 3.0])
        with serving("127.0.0.1:0", server.uri, schema) as address:
            yield address


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    opened: list[Page] = []

    def opener(query: str, width: int = 1200, height: int = 800) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height})
        opened.append(page)
        page.goto(f"{url}/?{query}")
        page.wait_for_function("/[1-9]\\d* points/.test(document.querySelector('#counts')?.textContent)")
        return page

    yield opener
    for page in opened:
        page.close()


Visit = Callable[..., Page]


def of(page: Page, script: str, argument: Any = None) -> Any:
    """Evaluates an expression over the figure's `model`."""
    return page.evaluate(f"async argument => {{ const model = {MODEL}; return {script}; }}", argument)


def becomes(page: Page, script: str, wanted: Any) -> None:
    page.wait_for_function(
        f"async wanted => {{ const model = {MODEL}; return JSON.stringify({script}) === JSON.stringify(wanted); }}",
        arg=wanted,
    )


def test_a_small_plot_has_few_ticks_and_a_short_title(visit: Visit) -> None:
    """And more of both when it grows."""
    page = visit("rows=wide,wide,wide;wide;wide;wide", height=600)
    becomes(page, "[model.left[0].ticker.desired_num_ticks, model.below[0].ticker.desired_num_ticks]", [2, 4])
    short = of(page, "model.title.text")
    assert short.endswith("…")
    assert TITLE.startswith(short[:-1])
    page.keyboard.press("Escape")
    page.goto(page.url.replace("/plot?", "/plot?focus=1&"))
    becomes(page, "[model.left[0].ticker.desired_num_ticks, model.title.text]", [6, TITLE])


LABELS = """(([low, high, desired]) => {
  const axis = model.left[0];
  const {major} = axis.ticker.get_ticks_no_defaults(low, high, 0, desired);
  const shown = axis.formatter.format_graphics(major, {loc: 0});
  return shown.map(({text, base, expo}) => text ?? `${base.text}^${expo.text}`);
})(argument)"""


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 0.5, 1], ["0", "0.5", "1"]),
        ([-0.25, 0, 0.25], ["-0.25", "0", "0.25"]),
        ([0, 20_000, 40_000], ["0", "20000", "40000"]),
        ([0, 50_000, 100_000], ["0", "50K", "100K"]),
        ([7_400_000, 7_600_000], ["7.4M", "7.6M"]),
        ([1_000_001, 1_000_002], ["1000001", "1000002"]),
        ([1_000_000.5, 1_000_001], ["1000000.5", "1000001"]),
        ([2e9, 4e9], ["2G", "4G"]),
        ([1e20, 2e20], ["1e20", "2e20"]),
        ([0, 2e-5, 4e-5], ["0", "2e-5", "4e-5"]),
        ([-1e-5], ["-1e-5"]),
        ([0.001, 0.0015], ["0.001", "0.0015"]),
        ([0.1 + 0.2, 0.4], ["0.3", "0.4"]),
        ([0], ["0"]),
        ([1e-300, 2e-300], ["1e-300", "2e-300"]),
        ([], []),
    ],
)
def test_ticks_are_written_shortly_and_exactly(visit: Visit, ticks: list[float], labels: list[str]) -> None:
    """With a unit for what is large, an exponent for what is tiny."""
    page = visit("rows=wide")
    found = page.evaluate("async ticks => (await import('/assets/numbers.js')).tickTexts(ticks)", ticks)
    assert [text.replace("\N{MINUS SIGN}", "-") for text in found] == labels


@pytest.mark.parametrize(
    ("low", "high", "desired", "labels"),
    [
        (0.05, 3, 6, ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (2, 60, 6, ["2", "5", "10", "20", "50"]),
        (3, 12, 2, ["5", "10"]),
        (1.5, 8, 6, ["2", "5"]),
        (0.02, 30, 6, ["0.03", "0.1", "0.3", "1", "3", "10", "30"]),
        (0.5, 50_000, 6, ["10^0", "10^1", "10^2", "10^3", "10^4"]),
        (1e-5, 1.5e-3, 6, ["1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "0.001"]),
        (1e-9, 1e9, 2, ["10^-5", "10^0", "10^5"]),
    ],
)
def test_a_logarithmic_axis_has_ticks_all_along(
    visit: Visit, low: float, high: float, desired: int, labels: list[str]
) -> None:
    """Not only in its upper part, and with what they stand for."""
    page = visit("rows=wide&axes=ylog")
    found = of(page, LABELS, [low, high, desired])
    assert [text.replace("\N{MINUS SIGN}", "-") for text in found] == labels


def test_a_heatmap_shows_the_first_run_of_the_list(visit: Visit) -> None:
    """Whichever was logged first."""
    page = visit("rows=heat")
    expect(page.locator(".caption")).to_have_text("run9, the first of 2")


def test_a_click_leaves_no_frame_around_a_figure(visit: Visit) -> None:
    """Nor does shift, held for a box: that is for those who come there by keys."""
    page = visit("rows=wide")
    element = "(await import('/assets/layers.js')).layers.get('p0').plot_view.canvas_view.events_el"

    def frame() -> str:
        return str(page.evaluate(f"async () => getComputedStyle({element}).outlineStyle"))

    page.locator(".figure").click()
    assert frame() == "none"
    page.keyboard.press("Shift")
    assert frame() == "none"
    page.evaluate(f"async () => {element}.blur()")
    page.keyboard.press("Tab")
    page.evaluate(f"async () => {element}.focus()")
    assert frame() != "none"
