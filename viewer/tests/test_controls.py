"""The controls of the page in a real browser: what each does, and that a copied link shows the same."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streamvis import DataLogger
from streamvis.server.run import ServerThread
from streamvis.server.run import serving as data_serving
from streamvis_viewer import patterns, serving
from viewer.tests.layer_page import INK

pytestmark = pytest.mark.browser

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
SCHEMA = """
DEFAULTS: {color: {key_fun: s, palette: Category10_10}, glyph_kwargs: {}}
loss: {names: loss, columns: [x, y], glyph_kwargs: {line_width: 4}, figure_kwargs: {title: Loss}}
timed: {names: timed, columns: [step, value], ignore: [epoch, time], figure_kwargs: {xaxis: {axis_label: Step}}}
layers: {names: layers, columns: [x, y]}
more: {names: more, columns: [x, y], glyph_kwargs: {line_width: 4}}
cloud: {names: cloud, columns: [x, y], glyph_kind: scatter, glyph_kwargs: {size: 8}, filter_opts: {column: t}}
heat: {names: heat, columns: [x, y, v], glyph_kind: heatmap, glyph_kwargs: {palette: Greys3, low: 0, high: 2}}
steps: {names: loss, columns: [x, y], glyph_kind: step, glyph_kwargs: {line_width: 4}}
"""
RUN1, RUN2, RUN3 = (31, 119, 180), (255, 127, 14), (44, 160, 44)  # the first three of Category10
MODEL = """async ([key, path]) => {
  const {layers} = await import("/assets/layers.js");
  return path.split(".").reduce((value, name) => value?.[name], layers.get(key).plot_view.model);
}"""
POINT = """async ([key, x, y]) => {
  const {frame, canvas_view} = (await import("/assets/layers.js")).layers.get(key).plot_view;
  const {left, top} = canvas_view.el.getBoundingClientRect();
  return [left + frame.x_scale.compute(x), top + frame.y_scale.compute(y)];
}"""


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """Its pages share the cache of compiled scripts."""
    return browser.new_context()


@pytest.fixture(scope="module")
def data() -> Iterator[ServerThread]:
    """Three runs with lines, two of them with clouds at three times."""
    with data_serving("memory:") as server:
        for number in (1, 2, 3):
            with DataLogger(f"run{number}", grpc_uri=server.uri) as logger:
                logger.write_config({"lr": 10.0**-number, "kind": "ab"[number % 2], "f(x, y)": number})
                logger.write("loss", x=np.arange(1, 101), y=np.full(100, float(number)))
                times = 1.79e9 + np.arange(60) * 60.0
                logger.write("timed", step=np.arange(60), value=np.arange(60.0), time=times, epoch=np.arange(60) / 10)
                logger.write("more", x=np.arange(1, 51), y=np.full(50, float(number)))
                x, y = np.meshgrid(np.arange(4), np.arange(3))
                logger.write("heat", x=x.ravel(), y=y.ravel(), v=np.full(12, number - 1.0))
                if number == 1:
                    logger.write("layers", x=np.arange(20) // 2, y=np.arange(20.0), layer=np.arange(20) % 2)
                if number < 3:
                    for t in (0, 10, 20):
                        xs = np.linspace(0, 1, 20) + t / 10
                        logger.write("cloud", x=xs, y=np.full(20, float(number)), t=t)
        yield server


@pytest.fixture(scope="module")
def url(data: ServerThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    schema = tmp_path_factory.mktemp("schema") / "plots.yaml"
    schema.write_text(SCHEMA)
    with serving("127.0.0.1:0", data.uri, schema) as address:
        yield address


class View:
    """A page of plots, and what one does with it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.open(address)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_function(
            "document.querySelector('.cell') && !document.querySelector('.cell.waiting') "
            "&& document.querySelector('#counts').textContent.includes('points')"
        )

    def ink(self, color: tuple[int, int, int], key: str = "p0") -> int:
        return int(self.page.evaluate(INK, [key, color]))

    def sees(self, *runs: int, key: str = "p0") -> None:
        """Waits until these of the three runs are drawn, and no others."""
        wanted = [number in runs for number in (1, 2, 3)]
        self.wait(lambda: [self.ink(color, key) > 60 for color in (RUN1, RUN2, RUN3)] == wanted)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = self.page.evaluate("performance.now()") + 20_000
        while not condition():
            assert self.page.evaluate("performance.now()") < deadline, "waited in vain"

    def model(self, path: str, key: str = "p0") -> Any:
        return self.page.evaluate(MODEL, [key, path])

    def range(self, side: str, key: str = "p0") -> tuple[float, float]:
        return self.model(f"{side}_range.start", key), self.model(f"{side}_range.end", key)

    def query(self, key: str) -> list[str]:
        """What the address says, once it says something else than before."""
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.page.url).query, keep_blank_values=True).get(key, [])

    def says(self, key: str, *values: str) -> None:
        self.wait(lambda: self.query(key) == list(values))

    def again(self) -> None:
        """Opens a copy of the address."""
        self.open(self.page.url)

    def at(self, x: float, y: float, key: str = "p0") -> tuple[float, float]:
        return tuple(self.page.evaluate(POINT, [key, x, y]))

    def point_at(self, x: float, y: float, key: str = "p0") -> None:
        self.page.mouse.move(*self.at(x, y, key))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """As a person who first holds the button down for a while."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        began = self.page.evaluate("performance.now()")
        self.wait(lambda: self.page.evaluate("performance.now()") > began + 350)
        self.page.mouse.move(*end, steps=5)
        self.page.mouse.up()

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


@pytest.fixture
def view(browser: Browser, context: BrowserContext, url: str) -> Iterator[Callable[..., View]]:
    """Opens addresses; no page may report an error."""
    opened: list[View] = []

    def opener(query: str, width: int = 1200, height: int = 700, **options: Any) -> View:
        page = browser.new_page(**options) if options else context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        opened.append(View(page, f"{url}/?{query}"))
        return opened[-1]

    yield opener
    for each in opened:
        each.page.close()
    assert [each.errors for each in opened] == [[] for _ in opened]


Open = Callable[..., View]


# ---- the list of runs


def test_hidden_runs_stand_in_the_address(view: Open) -> None:
    """A click hides; what is hidden alone is named."""
    page = view("rows=loss")
    page.sees(1, 2, 3)
    page.page.get_by_role("button", name="run2", exact=True).click()
    page.sees(1, 3)
    page.says("hide", "l:run2")
    page.again()
    page.sees(1, 3)
    page.page.get_by_role("button", name="run2", exact=True).click()
    page.sees(1, 2, 3)
    page.says("hide")


def test_a_run_alone_stands_in_the_address(view: Open) -> None:
    """By its button; a second time shows all again."""
    page = view("rows=loss")
    page.page.get_by_text("run3").hover()
    page.page.get_by_role("button", name="Only run3").click()
    page.sees(3)
    page.says("only", "l:run3")
    page.again()
    page.sees(3)
    page.page.get_by_role("button", name="run1", exact=True).click()
    page.sees(1, 3)
    page.says("only", "l:run3", "l:run1")
    page.page.get_by_role("button", name="none").click()
    page.wait(lambda: page.ink(RUN1) + page.ink(RUN2) + page.ink(RUN3) == 0)
    page.page.get_by_role("button", name="all", exact=True).click()
    page.sees(1, 2, 3)
    page.says("only")


def test_a_run_gets_a_width_a_dash_and_a_marker_of_its_own(view: Open) -> None:
    """In a small panel that a key opens for the run under the pointer; all plots draw it so, as does a copied link."""
    page = view("rows=loss,cloud")
    page.sees(1, 2, 3)
    line, cloud = page.ink(RUN1), page.ink(RUN1, "p1")
    page.page.locator("#runs").get_by_text("run1").hover()
    page.press("s")
    panel = page.page.get_by_role("dialog", name="How run1 is drawn")
    panel.get_by_role("button", name="3 times").click()
    page.wait(lambda: page.ink(RUN1) > 2 * line and page.ink(RUN1, "p1") > 1.5 * cloud)
    page.says("style", "l:3:run1")
    panel.get_by_role("button", name="dashed").click()
    page.wait(lambda: line < page.ink(RUN1) < 2 * line)
    large = page.ink(RUN1, "p1")
    panel.get_by_role("button", name="square").click()
    page.wait(lambda: page.ink(RUN1, "p1") > large)
    page.says("style", "l:dashed,square,3:run1")
    page.again()
    page.wait(lambda: line < page.ink(RUN1) < 2 * line and page.ink(RUN1, "p1") > large)
    page.page.locator("#runs li", has_text="run1").get_by_role("button", name="Width, dash").click()
    page.page.get_by_role("dialog").get_by_role("button", name="As the plot").click()
    page.says("style")
    page.wait(lambda: abs(page.ink(RUN1) - line) < 0.1 * line)
    page.press("Escape")
    expect(page.page.get_by_role("dialog")).to_have_count(0)
    page.sees(1, 2, 3)


def test_the_search_hides_what_it_does_not_find(view: Open) -> None:
    """By a regular expression, also a negated one; one that is none says why and hides nothing."""
    page = view("rows=loss")
    page.page.locator("#search").fill("RUN[13]")
    page.sees(1, 3)
    expect(page.page.locator("#run-count")).to_have_text("2 of 3")
    page.page.locator("#search").fill("!run3")
    page.sees(1, 2)
    page.says("runs", "!run3")
    page.again()
    page.sees(1, 2)
    page.page.locator("#search").fill("run(")
    page.sees(1, 2, 3)
    expect(page.page.locator("#search-error")).to_contain_text("group")
    page.page.locator("#search").fill("(?=run)")
    expect(page.page.locator("#search-error")).to_contain_text("look-around")
    page.open(page.page.url.split("&runs")[0] + "&runs=(?i)RUN[12]")
    page.sees(1, 2)


FRAGMENTS = [
    *"ab1_-.^$|()[]{}*+?,:<>=!\\/",
    *(f"\\{char}" for char in "bBdDsSwWAzZkpQuxc0189nrtfv._-[]()/ é"),
    "\\x41",
    "\\u0061",
    "(?:",
    "(?i)",
    "(?i:",
    "(?-i:",
    "(?=",
    "(?!",
    "(?<=",
    "(?<n>",
    "(?P<n>",
    "(?<$>",
    "[^",
    "[a-",
    "-z]",
    "[:alpha:]",
    "{2}",
    "{2,}",
    "{,3}",
    "{2,1}",
    "{600}",
    "{1001}",
    "é",
    "run",
]
TEXTS = ["", "run1", "RUN-2", "a", "b1_", "A.b", "a-z", "[a]", "{2}", "1 run", "baab", "=<n>", "a\\b", ":/!,"]


def test_what_the_search_takes_the_address_takes(view: Open) -> None:
    """And finds the same, of thousands of patterns with the marks that this language or RE2 alone knows."""
    random = Random(0)
    tried = ["".join(random.choices(FRAGMENTS, k=random.randint(1, 6))) for _ in range(20_000)]
    tried += ["[]", "[^]", "a{2000}", "(a{100}){100}", "\\u0072", "\\cA", "(?i)RUN", "[a-\\d]", "[[:alpha:]]", "!a"]
    page = view("rows=loss")
    verdicts = page.page.evaluate(
        """async ([tried, texts]) => {
          const {matcher} = await import("/assets/matcher.js");
          return tried.map(matcher).map(({test, error}) => (error ? null : texts.map(test)));
        }""",
        [tried, TEXTS],
    )
    taken = [(pattern, found) for pattern, found in zip(tried, verdicts, strict=True) if found]
    assert len(taken) > 4_000
    for pattern, found in taken:
        negated, body = pattern.startswith("!"), pattern.removeprefix("!").removeprefix("(?i)")
        matches = patterns.matcher(f"{'!' * negated}(?i){body}") if body else lambda _: True
        assert [matches(text) for text in TEXTS] == found, pattern
        patterns.matcher(pattern)


@pytest.mark.parametrize("count", [2, 256])
def test_what_has_just_come_has_a_colour(count: int, view: Open) -> None:
    """Also before its label has one: the theme may change, or a person point at it, in the moment between."""
    colors = view("rows=loss").page.evaluate(
        """async palette => {
          const {Colors, css} = await import("/assets/colors.js");
          const colors = new Colors(palette).of(palette, "n");
          const early = css(colors.color("run3"));
          colors.note(["run1", "run2"]);
          return [early, css(colors.color("run3")), css(colors.color("run1"))];
        }""",
        [f"#{number:02x}0000" for number in range(count)],
    )
    assert colors == ["rgb(0 0 0)"] * 3


def test_the_list_goes_by_labels_scopes_names_or_indexes(view: Open) -> None:
    """Each hides by its own kind of text; what was hidden before stays hidden."""
    page = view("rows=loss,more&color=n,n&group=scope")
    labels = page.page.locator("#runs .label")
    expect(labels).to_have_text(["run1", "run2", "run3"])
    page.page.get_by_role("button", name="run2", exact=True).click()
    page.says("hide", "s:run2")
    page.page.locator("#group").select_option("name")
    expect(labels).to_have_text(["loss", "more"])
    page.page.get_by_role("button", name="more", exact=True).click()
    page.says("hide", "s:run2", "n:more")
    page.wait(lambda: page.ink(RUN2, "p1") == 0 and page.ink(RUN1, "p0") > 60)
    page.page.locator("#group").select_option("index")
    expect(labels).to_have_text(["0"])


def test_pointing_at_a_run_fades_the_others(view: Open) -> None:
    """And leaves them again."""
    page = view("rows=loss")
    page.sees(1, 2, 3)
    page.page.get_by_role("button", name="run2", exact=True).hover()
    page.sees(2)
    page.page.mouse.move(700, 300)
    page.sees(1, 2, 3)


def test_of_thousands_of_runs_few_are_elements(browser: Browser) -> None:
    """The list scrolls, searches and hides all of them."""
    with data_serving("memory:") as data, serving("127.0.0.1:0", data.uri) as url:
        with DataLogger("run", grpc_uri=data.uri) as logger:
            logger.write("loss", x=[[1, 2]], y=np.arange(6000.0).reshape(3000, 2))
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        page.goto(f"{url}/?rows=loss&color=i")
        expect(page.locator("#run-count")).to_have_text("3000")
        assert page.locator("#runs li").count() <= 60
        page.locator("#runs").evaluate("list => list.scrollTo(0, 1e9)")
        expect(page.locator("#runs li").last).to_contain_text("2999")
        page.locator("#search").fill("^12.4$")
        expect(page.locator("#runs .label")).to_have_text([f"12{n}4" for n in range(10)])
        page.close()


def test_the_list_is_as_wide_as_one_drags_it(view: Open) -> None:
    """Or closed; the plots take the room."""
    page = view("rows=loss")
    panel, plots = page.page.locator("#panel"), page.page.locator(".page")
    edge = panel.bounding_box()
    assert edge
    page.page.mouse.move(edge["x"] + edge["width"], 400)
    page.page.mouse.down()
    page.page.mouse.move(edge["x"] + 400, 400, steps=3)
    page.page.mouse.up()
    page.says("panel", "400")
    page.again()
    assert (panel.bounding_box() or {})["width"] == 400
    page.press("p")
    page.says("panel", "off")
    assert (plots.bounding_box() or {})["width"] == 1200
    page.again()
    assert not panel.is_visible()


# ---- axes and windows


def test_axes_become_logarithmic_and_linear_again(view: Open) -> None:
    """By the plot's buttons and by keys; grid, ticks and ranges follow, the look stays."""
    page = view("rows=loss,more")
    color = page.model("left.0.major_label_text_color.value") or page.model("left.0.major_label_text_color")
    page.page.locator(".cell").first.hover()
    page.page.locator(".cell").first.get_by_role("button", name="Logarithmic y axis").click()
    page.wait(lambda: page.model("y_scale.type") == "LogScale")
    assert page.model("left.0.type") == "LogAxis"
    assert page.range("y")[0] > 0
    assert (page.model("left.0.major_label_text_color.value") or page.model("left.0.major_label_text_color")) == color
    page.says("axes", "ylog,lin")
    page.point_at(50, 2, "p1")
    page.press("Shift+L")
    page.says("axes", "ylog,xlog")
    page.again()
    assert (page.model("y_scale.type"), page.model("x_scale.type", "p1")) == ("LogScale", "LogScale")
    page.page.locator(".cell").first.hover()
    page.page.locator(".cell").first.get_by_role("button", name="Logarithmic y axis").click()
    page.wait(lambda: page.model("left.0.type") == "LinearAxis")
    page.says("axes", "lin,xlog")


def test_a_window_stands_in_the_address(view: Open) -> None:
    """With as many digits as it needs; a double click shows everything again."""
    page = view("rows=loss,more")
    page.point_at(50, 2)
    page.page.mouse.wheel(0, -300)
    page.wait(lambda: page.range("x")[1] - page.range("x")[0] < 90)
    page.wait(lambda: len(page.query("xrange")) == 1)
    low, high = map(float, page.query("xrange")[0].split(",")[0].split(":"))
    assert page.range("x") == pytest.approx((low, high), rel=1e-4)
    assert page.query("xrange")[0].endswith(",")
    page.again()
    assert page.range("x") == pytest.approx((low, high), rel=1e-4)
    assert page.range("x", "p1") == pytest.approx((-0.96, 51.96))
    page.page.mouse.dblclick(*page.at(50, 2))
    page.wait(lambda: page.range("x") == pytest.approx((-2.96, 103.96)))
    page.says("xrange")


def test_linked_plots_zoom_together_along_x(view: Open) -> None:
    """When asked to, those over the same column; their extents are joined, too."""
    page = view("rows=loss,more")
    page.page.locator("#link").click()
    page.wait(lambda: page.range("x", "p1") == page.range("x"))
    page.point_at(50, 2)
    page.page.mouse.wheel(0, -300)
    page.wait(lambda: page.range("x")[1] < 100)
    page.wait(lambda: page.range("x", "p1") == page.range("x"))
    assert page.range("y", "p1") != page.range("y")
    page.says("link", "x")
    page.again()
    assert page.range("x", "p1") == page.range("x")


def test_outliers_may_run_out_of_the_picture(browser: Browser, tmp_path: Path) -> None:
    """On the y axis, of lines and steps; off again shows them."""
    schema = tmp_path / "plots.yaml"
    schema.write_text("line: {columns: [x, y]}\nsteps: {columns: [x, y], glyph_kind: step}\n")
    with data_serving("memory:") as data, serving("127.0.0.1:0", data.uri, schema) as url:
        with DataLogger("run", grpc_uri=data.uri) as logger:
            y = np.sin(np.arange(1000.0))
            y[500] = 1e6
            logger.write("loss", x=np.arange(1000), y=y)

        def tops(page: View) -> list[float]:
            return [page.range("y", key)[1] for key in ("p0", "p1")]

        page = View(browser.new_page(), f"{url}/?rows=line,steps")
        page.wait(lambda: min(tops(page)) > 1e6)
        page.press("o")
        page.wait(lambda: 0.9 < min(tops(page)) <= max(tops(page)) < 10)
        page.says("fit", "robust")
        page.again()
        page.wait(lambda: max(tops(page)) < 10)
        page.page.locator("#fit").click()
        page.wait(lambda: min(tops(page)) > 1e6)
        page.page.close()


def test_dragging_moves_or_zooms_into_a_box(view: Open) -> None:
    """As chosen; shift does the other."""
    page = view("rows=loss")

    def drag() -> None:
        page.drag(page.at(20, 1.5), page.at(80, 2.5))

    whole = page.range("x")
    drag()
    page.wait(lambda: page.range("x")[0] < whole[0] - 10)
    page.press("r")
    page.wait(lambda: page.range("x") == pytest.approx(whole))
    page.page.keyboard.down("Shift")
    drag()
    page.page.keyboard.up("Shift")
    page.wait(lambda: page.range("x") == pytest.approx((20, 80), abs=2))
    page.press("r")
    page.press("z")
    page.says("drag", "zoom")
    page.again()
    page.wait(lambda: page.range("x") == pytest.approx(whole))
    drag()
    page.wait(lambda: page.range("x") == pytest.approx((20, 80), abs=2))


def test_one_plot_fills_the_page(view: Open) -> None:
    """By its button or key; Escape brings the others back."""
    page = view("rows=loss,more")
    page.point_at(50, 2, "p1")
    page.press("f")
    page.says("focus", "2")
    expect(page.page.locator(".cell").first).to_be_hidden()
    page.again()
    room, cell = page.page.locator(".page").bounding_box(), page.page.locator(".cell").nth(1).bounding_box()
    assert room == cell
    page.press("Escape")
    expect(page.page.locator(".cell").first).to_be_visible()
    page.says("focus")


# ---- sliders


def test_sliders_over_one_column_move_in_step(view: Open) -> None:
    """In all plots; where one stands is in the address, and the latest value is followed."""
    page = view("rows=cloud,cloud")
    outputs = page.page.locator(".slider output")
    expect(outputs).to_have_text(["20", "20"])
    page.page.locator(".slider input").first.fill("1")
    expect(outputs).to_have_text(["10", "10"])
    page.says("at", "t:10")
    page.again()
    expect(outputs).to_have_text(["10", "10"])
    page.press("ArrowLeft")
    expect(outputs).to_have_text(["0", "0"])
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("ArrowRight")
    expect(outputs).to_have_text(["20", "20"])
    page.says("at")


def test_sliders_play(view: Open) -> None:
    """Again and again, as fast as one says, until one stops them."""
    page = view("rows=cloud&at=t:0&speed=30")
    output = page.page.locator(".slider output")
    seen: set[str] = set()
    page.press(" ")
    page.wait(lambda: seen.add(output.text_content() or "") or seen >= {"0", "10", "20"})  # type: ignore[func-returns-value]
    page.press(" ")
    stopped = output.text_content()
    page.page.get_by_role("button", name="Play").hover()
    assert output.text_content() == stopped
    page.page.locator(".speed").select_option("2")
    page.says("speed", "2")


# ---- values and crosshair


def test_a_click_pins_values_that_can_be_copied(view: Open) -> None:
    """The pin moves with its point, and goes when asked."""
    page = view("rows=loss", permissions=["clipboard-read", "clipboard-write"])
    page.page.mouse.click(*page.at(50, 2))
    pin = page.page.locator(".readout.pinned")
    expect(pin).to_contain_text("run2")
    expect(pin.locator(".value")).to_have_text(["x 50", "y 2"])
    before = pin.bounding_box()
    page.point_at(20, 2)
    page.page.mouse.wheel(0, -200)
    page.wait(lambda: pin.bounding_box() != before)
    pin.get_by_role("button", name="Copy as text").click()
    assert page.page.evaluate("navigator.clipboard.readText()") == "Loss\trun2\tx 50\ty 2"
    page.press("Escape")
    expect(pin).to_have_count(0)


def test_the_crosshair_crosses_all_plots_over_the_same_column(view: Open) -> None:
    """At the same x; it can be switched off."""
    page = view("rows=loss,more,cloud&xrange=,,0:100")
    page.point_at(30, 2.4)
    lines = page.page.locator(".cross.up:visible")
    expect(lines).to_have_count(3)
    boxes = [line.bounding_box() for line in lines.all()]
    assert boxes[1]
    assert boxes[1]["x"] == pytest.approx(page.at(30, 2, "p1")[0], abs=1.5)
    expect(page.page.locator(".cross.across:visible")).to_have_count(1)
    page.press("c")
    page.point_at(31, 2.4)
    expect(lines).to_have_count(0)
    page.says("cross", "off")


# ---- the page


def test_dark_and_light(view: Open) -> None:
    """As the browser prefers, or as chosen; figures follow, before and after axes are exchanged."""
    page = view("rows=loss")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.page.evaluate(ground)
    page.press("d")
    page.says("theme", "dark")
    dark = page.page.evaluate(ground)
    assert dark != light
    page.again()
    assert page.page.evaluate(ground) == dark
    ink = page.model("title.text_color.value") or page.model("title.text_color")
    assert int(ink[1:3], 16) > 200
    page.press("l")
    page.wait(lambda: page.model("left.0.type") == "LogAxis")
    label = page.model("left.0.axis_label_text_color.value") or page.model("left.0.axis_label_text_color")
    assert int(label[1:3], 16) > 120
    page.page.emulate_media(color_scheme="dark")
    page.press("d")
    page.says("theme", "light")
    assert page.page.evaluate(ground) == light


def test_every_key_is_listed_and_the_list_closes(view: Open) -> None:
    """On `?`; no key acts while it is open."""
    page = view("rows=loss")
    page.press("?")
    dialog = page.page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Crosshair")
    page.press("d")
    assert page.query("theme") == []
    page.press("Escape")
    expect(dialog).to_be_hidden()


def test_keys_do_nothing_while_one_types(view: Open) -> None:
    """A d in the search box is a d."""
    page = view("rows=loss")
    page.press("/")
    page.page.keyboard.type("d")
    expect(page.page.locator("#search")).to_have_value("d")
    assert page.page.evaluate("document.documentElement.dataset.theme") is None


def test_the_link_of_a_view_is_copied(view: Open) -> None:
    """From the menu, as it stands at that moment."""
    page = view("rows=loss", permissions=["clipboard-read", "clipboard-write"])
    page.press("d")
    page.page.locator("#share").click()
    page.page.get_by_role("button", name="Copy link").click()
    expect(page.page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.page.evaluate("navigator.clipboard.readText()").endswith("/plot?rows=loss&theme=dark")


def test_colours_go_by_what_one_chooses(view: Open) -> None:
    """By hyperparameters too: numbers along a scale, the same colour in every plot."""
    page = view("rows=loss,more")
    page.page.locator("#data").click()
    page.page.get_by_role("combobox", name="Colour by").select_option("n")
    page.says("color", "n,n")
    expect(page.page.locator("#runs .label")).to_have_text(["loss", "more"])
    page.open(page.page.url.replace("color=n,n", "color=(kind),(kind)"))
    expect(page.page.locator("#runs .label")).to_have_text(["kind=a", "kind=b"])
    page.open(page.page.url.replace("(kind),(kind)", "(lr),(lr)"))
    expect(page.page.locator("#runs .label")).to_have_text(["lr=0.001", "lr=0.01", "lr=0.1"])
    swatches = page.page.locator("#runs .swatch").evaluate_all("all => all.map(each => each.style.background)")
    assert len(set(swatches)) == 3
    assert all(swatch.count("rgb") == 2 for swatch in swatches)  # one colour in both plots, from 0 to 100 %


def test_scopes_and_windows_are_chosen_on_the_page(view: Open) -> None:
    """What the server sends changes, without a reload."""
    page = view("rows=loss")
    page.page.locator("#data").click()
    page.page.get_by_role("textbox", name="Scopes").fill("run[12]")
    page.press("Enter")
    page.says("scopes", "run[12]")
    expect(page.page.locator("#counts")).to_have_text("2 series · 200 points")
    page.page.get_by_role("textbox", name="Scopes").fill("")
    page.press("Enter")
    expect(page.page.locator("#counts")).to_have_text("3 series · 300 points")


def test_a_slip_in_the_menu_is_said_there_and_the_page_goes_on(view: Open) -> None:
    """What the server refuses is taken back, in the address too; the text stays, and can be mended."""
    page = view("rows=loss&window=2")
    page.page.locator("#data").click()
    scopes = page.page.get_by_role("textbox", name="Scopes")
    scopes.fill("run(")
    page.press("Enter")
    expect(page.page.locator(".menu .error")).to_contain_text("found 'run(', which RE2 refuses: missing )")
    page.says("scopes")
    assert page.page.locator("#connection").text_content() == "live"
    assert page.page.locator("#banner").is_hidden()
    expect(page.page.locator("#counts")).to_have_text("3 series · 150 points")
    scopes.fill("run1")
    expect(page.page.locator(".menu .error")).to_have_count(0)
    page.press("Enter")
    expect(page.page.locator("#counts")).to_have_text("1 series · 50 points")
    page.says("scopes", "run1")
    points = page.page.get_by_role("spinbutton", name="points")
    points.fill("3000000000")
    page.press("Enter")
    assert points.evaluate("field => field.validity.rangeOverflow")
    page.again()
    assert (page.query("scopes"), page.query("window")) == (["run1"], ["2"])


def test_a_hyperparameter_may_have_any_name(view: Open) -> None:
    """One with parentheses and a comma colours too."""
    page = view("rows=loss,more")
    page.page.locator("#data").click()
    page.page.get_by_role("combobox", name="Colour by").select_option(label="f(x, y)")
    expect(page.page.locator("#runs .label")).to_have_text(["f(x, y)=1", "f(x, y)=2", "f(x, y)=3"])
    page.again()
    expect(page.page.locator("#runs .label")).to_have_text(["f(x, y)=1", "f(x, y)=2", "f(x, y)=3"])
    page.page.locator("#data").click()
    assert (
        page.page.get_by_role("combobox", name="Colour by").evaluate("menu => menu.selectedOptions[0].text")
        == "f(x, y)"
    )


def test_another_column_may_be_the_horizontal_one(view: Open) -> None:
    """Unix times are shown as times of day; the schema's column comes back under the schema's name."""
    page = view("rows=timed", timezone_id="UTC")
    page.page.locator("#data").click()
    menu = page.page.get_by_role("combobox", name="Horizontal axis")
    menu.select_option("time")
    page.says("x", "time")
    page.wait(lambda: page.range("x")[0] > 1.7e9)
    assert page.model("below.0.axis_label") == "time"
    ticks = page.page.evaluate("""import("/assets/ticks.js").then(({timeText}) => [
      timeText(1.79e9, 60), timeText(1.79e9, 1), timeText(1.79e9, 86400), timeText(12, 60)])""")
    assert ticks == ["14:13", "14:13:20", "Sep 21", "12"]
    page.again()
    page.wait(lambda: page.range("x")[0] > 1.7e9)
    expect(page.page.locator("#counts")).to_have_text("3 series · 180 points")
    page.page.locator("#data").click()
    menu.select_option("epoch")
    page.wait(lambda: page.range("x")[1] < 10)
    menu.select_option("")
    page.wait(lambda: page.range("x")[1] > 60)
    assert page.model("below.0.axis_label") == "Step"
    page.says("x")


def test_a_column_that_is_not_drawn_splits_or_slides_or_is_ignored(view: Open) -> None:
    """As one chooses, without a reload; the address says it."""
    page = view("rows=layers")
    labels = page.page.locator("#runs .label")
    expect(labels).to_have_text(["run1 · layer=0", "run1 · layer=1"])
    page.page.locator("#data").click()
    fate = page.page.get_by_role("combobox", name="layer")
    fate.select_option("filter")
    page.says("filter", "layer")
    expect(page.page.locator(".slider output")).to_have_text("1")
    expect(labels).to_have_text(["run1"])
    page.again()
    expect(page.page.locator(".slider output")).to_have_text("1")
    page.page.locator("#data").click()
    fate.select_option("ignore")
    page.says("ignore", "layer")
    page.says("filter")
    expect(page.page.locator(".slider")).to_have_count(0)
    expect(page.page.locator("#counts")).to_have_text("1 series · 20 points")


def test_steps_are_drawn_hidden_and_read_like_lines(view: Open) -> None:
    """By a stock glyph of Bokeh's; its colours are the other plots'."""
    page = view("rows=loss,steps")
    page.sees(1, 2, 3, key="p1")
    page.page.get_by_role("button", name="run2", exact=True).click()
    page.sees(1, 3, key="p1")
    page.point_at(50, 3, "p1")
    expect(page.page.locator(".readout:visible .label")).to_have_text("run3")
    page.press("l")
    page.wait(lambda: page.model("y_scale.type", "p1") == "LogScale")
    page.sees(1, 3, key="p1")
    line = page.ink(RUN3, "p1")
    page.open(f"{page.page.url}&style=l:3:run3")
    page.wait(lambda: page.ink(RUN3, "p1") > 2 * line)
    page.open(page.page.url.replace("l:3:run3", "l:dashed:run3"))
    page.wait(lambda: 0.2 * line < page.ink(RUN3, "p1") < 0.8 * line)


def test_steps_are_smoothed_and_count_what_a_log_axis_lacks(browser: Browser, tmp_path: Path) -> None:
    """Like lines: the moving average with a ghost of the steps, read out with the raw value."""
    schema = tmp_path / "plots.yaml"
    schema.write_text(
        SCHEMA.partition("\nloss:")[0] + "\nsteps: {columns: [x, y], glyph_kind: step, glyph_kwargs: {line_width: 4}}\n"
    )
    with data_serving("memory:") as data, serving("127.0.0.1:0", data.uri, schema) as url:
        with DataLogger("run", grpc_uri=data.uri) as logger:
            logger.write("loss", x=np.arange(8), y=[1.0, 1, 1, 9, 1, 1, 1, -1])
        page = View(browser.new_page(), f"{url}/?rows=steps")
        page.wait(lambda: page.ink(RUN1) > 60)

        def ghost() -> int:
            return int(
                page.page.evaluate(INK.replace("data[i + 3] > 200", "Math.abs(data[i + 3] - 64) < 8"), ["p0", RUN1])
            )

        before = ghost()  # the edges of the steps
        page.page.locator("#smooth").fill("0.5")
        page.press("Enter")
        page.wait(lambda: ghost() > before + 1000 and page.ink(RUN1) > 60)
        page.point_at(3, 5.2)
        expect(page.page.locator(".readout:visible .value")).to_have_text(["x 3", "y 5.26667", "raw 9"])
        page.says("smooth", "0.5")
        page.page.get_by_role("button", name="Logarithmic y axis").click()
        expect(page.page.locator("#unplaced")).to_have_text("1 point off the log axes")
        page.page.close()


def test_a_heatmap_colours_cells_by_their_values(view: Open) -> None:
    """Of one run at a time, which is named; hiding it shows the next. It has a colour bar, its cells values."""
    page = view("rows=heat", permissions=["clipboard-read", "clipboard-write"])
    dark, middle, light = (99, 99, 99), (189, 189, 189), (240, 240, 240)  # Greys3
    caption = page.page.locator(".caption")
    expect(caption).to_have_text("run1, the first of 3")
    page.wait(lambda: page.ink(dark) > 10_000 and page.ink(middle) < 100)
    assert page.range("x") == pytest.approx((-0.66, 3.66))
    page.page.get_by_role("button", name="run1", exact=True).click()
    expect(caption).to_have_text("run2, the first of 2")
    page.wait(lambda: page.ink(middle) > 10_000 and page.ink(dark) < 100)
    page.page.get_by_role("button", name="run2", exact=True).click()
    expect(caption).to_be_hidden()
    page.wait(lambda: page.ink(light) > 10_000)
    assert page.model("right.0.type") == "ColorBar"
    page.page.locator("#show-all").click()
    expect(caption).to_have_text("run1, the first of 3")
    page.point_at(1.45, 1.55)  # a corner of the cell about (1, 2)
    expect(page.page.locator(".readout:visible .value")).to_have_text(["x 1", "y 2", "v 0"])
    page.page.mouse.click(*page.at(1.45, 1.55))
    page.page.get_by_role("button", name="Copy as text").click()
    assert page.page.evaluate("navigator.clipboard.readText()") == "heat\trun1\tx 1\ty 2\tv 0"
    page.page.mouse.click(*page.at(2, 0))
    expect(page.page.locator(".readout.pinned")).to_have_count(2)
