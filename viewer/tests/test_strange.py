"""What people call things, in a real browser: whatever it is, it is text, and it breaks no layout."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from streamvis import DataLogger
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving

pytestmark = pytest.mark.browser

MARKUP = "<script>hacked = 1</script><img src=x onerror='hacked = 1'>"
LONG = "long" + "x" * 4092
"""As long as a name may be."""
STRANGE = [
    MARKUP,
    '"><svg onload=hacked=1>',
    "$$\\frac{1}{2}$$ \\(x\\) \\[y\\]",
    "שלום עולם, ריצה 7",
    "\u202eright to left",
    "🚀 emoji 👩‍👩‍👧‍👦",
    LONG,
    "tab\tand\nnewline, \"quotes\" & 'more' = 1 \\ % #?",
    "=SUM(A1)",
]
POINT = """async ([x, y]) => {
  const {frame, canvas_view} = (await import("/assets/layers.js")).layers.get("p0").plot_view;
  const {left, top} = canvas_view.el.getBoundingClientRect();
  return [left + frame.x_scale.compute(x), top + frame.y_scale.compute(y)];
}"""
TITLE = """async () => (await import("/assets/layers.js")).layers.get("p0").plot_view.model.title.text"""
SIZES = [(1600, 1000), (900, 1200)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Each scope has a level of loss, and one point of each name; configs are strange too, and longer."""
    with data_serving("memory:") as server:
        for level, scope in enumerate(STRANGE):
            with DataLogger(scope, grpc_uri=server.uri) as logger:
                logger.write_config({MARKUP: MARKUP, "long": f"{level}" + "v" * 10_000})
                logger.write("loss", x=np.arange(10), y=np.full(10, float(level)), **{MARKUP: 1})
                for name in STRANGE:
                    logger.write(name, step=np.arange(3), value=np.arange(3) / 3)
        with serving("127.0.0.1:0", server.uri) as address:
            yield address


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens addresses; no page may report an error, run what it was given, make an element of it, or grow too wide."""
    opened: list[tuple[Page, list[str]]] = []

    def opener(address: str, size: tuple[int, int] = SIZES[0], **options: Any) -> Page:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)
        faults: list[str] = []
        opened.append((page, faults))
        page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(url + address)
        return page

    yield opener
    for page, faults in opened:
        assert faults == []
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("img, [onload], [onerror]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.close()


Visit = Callable[..., Page]


def ready(page: Page, points: int) -> None:
    expect(page.locator("#counts")).to_have_text(f"{len(STRANGE)} series · {points} points", timeout=20_000)


def texts(found: Locator) -> list[str]:
    return [text or "" for text in found.evaluate_all("elements => elements.map(({textContent}) => textContent)")]


@pytest.mark.parametrize("size", SIZES)
def test_the_first_page_lists_strange_runs_names_plots_and_configs(visit: Visit, size: tuple[int, int]) -> None:
    """As they are; their links lead to their points."""
    page = visit("/", size)
    expect(page.locator("#table .body .row")).to_have_count(len(STRANGE))
    assert sorted(texts(page.locator("#table .body .row a"))) == sorted(STRANGE)
    page.get_by_role("tab", name="Names").click()
    expect(page.locator("#table .body .row")).to_have_count(len(STRANGE) + 1)
    assert sorted(texts(page.locator("#table .body .row a"))) == sorted([*STRANGE, "loss"])
    page.locator("#table .body .row a", has_text="\\frac").click()
    ready(page, 3 * len(STRANGE))
    page.go_back()
    page.locator("#table .body .row a", has_text=MARKUP).first.click()
    expect(page.locator("#counts")).to_contain_text(f" {3 * len(STRANGE)} points")


@pytest.mark.parametrize("name", [MARKUP, *STRANGE[2:4], LONG], ids=["markup", "formula", "right-to-left", "long"])
def test_a_strange_plot_has_its_title(visit: Visit, name: str) -> None:
    """That of the window and that of the figure, which ends where there is no more room; no formula is made of it."""
    page = visit(f"/open?name={quote(name)}")
    ready(page, 3 * len(STRANGE))
    expect(page.locator(".cell .caption")).to_be_hidden()
    assert page.title().startswith(name.replace(",", "_").split()[0][:200])
    title = page.evaluate(TITLE).replace("\u200b", "")
    assert title == (name if len(name) < 100 else f"{name[: len(title) - 1]}…")
    assert "$$" not in page.evaluate(TITLE)
    assert page.locator("mjx-container").count() == 0


@pytest.mark.parametrize("size", SIZES)
def test_strange_runs_are_listed_read_out_pinned_and_copied(visit: Visit, size: tuple[int, int]) -> None:
    """In the list, beside the pointer, on pinned cards and in the clipboard: whole, as text."""
    page = visit("/plot?rows=loss", size, permissions=["clipboard-read", "clipboard-write"])
    ready(page, 10 * len(STRANGE))
    assert sorted(texts(page.locator("#runs .label"))) == sorted(STRANGE)
    for level, scope in enumerate(STRANGE):
        page.mouse.move(*page.evaluate(POINT, [level, level]))
        expect(page.locator(".readout:not(.pinned) .label")).to_have_text(scope, use_inner_text=False)
        page.mouse.click(*page.evaluate(POINT, [level, level]))
        card = page.locator(".readout.pinned")
        assert texts(card.locator(".label")) == [scope]
        box = card.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        card.get_by_role("button", name="Copy as text").click()
        expect(card.locator("button.done")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == f"loss\t{scope}\tx {level}\ty {level}"
        page.keyboard.press("Escape")
    page.locator("#runs .run", has_text="\\frac").click()
    page.wait_for_url("**hide=l:*frac*")
    page.reload()
    ready(page, 10 * len(STRANGE))
    assert texts(page.locator("#runs .run[aria-pressed=false] .label")) == [STRANGE[2]]


def test_very_long_labels_break_nothing(visit: Visit) -> None:
    """A hyperparameter of ten thousand letters."""
    page = visit("/plot?rows=loss&color=(long)", SIZES[1])
    ready(page, 10 * len(STRANGE))
    assert {len(text) for text in texts(page.locator("#runs .label"))} == {len("long=") + 10_001}
    page.mouse.move(*page.evaluate(POINT, [4, 4]))
    readout = page.locator(".readout:not(.pinned)")
    expect(readout).to_be_visible()
    box = readout.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= SIZES[1][0]


def saved(page: Page, kind: str, folder: Path) -> Path:
    page.locator(".cell").hover()
    page.get_by_role("button", name="Save as PNG, SVG or CSV").click()
    with page.expect_download() as download:
        page.locator(".menu").get_by_role("button", name=kind).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_strange_names_come_back_from_csv(visit: Visit, tmp_path: Path) -> None:
    """Every name in full, quotes, commas, tabs and line ends among them; columns too."""
    page = visit("/plot?rows=loss")
    ready(page, 10 * len(STRANGE))
    text = saved(page, "CSV", tmp_path).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == ["scope", "name", "index", "x", "y", MARKUP] or set(rows[0]) >= {"x", "y", MARKUP}
    assert {row["scope"]: float(row["y"]) for row in rows} == {scope: level for level, scope in enumerate(STRANGE)}
    assert [row[MARKUP] for row in rows] == ["1"] * 10 * len(STRANGE)


@pytest.mark.parametrize("kind", ["SVG", "PNG"])
def test_strange_names_stay_text_in_pictures(visit: Visit, browser: Browser, tmp_path: Path, kind: str) -> None:
    """Labels are text, end where the picture does, and run nothing when a browser opens the file."""
    page = visit("/plot?rows=loss", SIZES[1])
    ready(page, 10 * len(STRANGE))
    path = saved(page, kind, tmp_path)
    assert path.name == f"loss.{kind.lower()}"
    viewed = browser.new_page()
    viewed.goto(path.as_uri())
    assert viewed.evaluate("typeof hacked") == "undefined"
    if kind == "SVG":
        root = ET.parse(path).getroot()
        assert {element.tag.rpartition("}")[2] for element in root.iter()} & {"script", "img", "foreignObject"} == set()
        labels = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
        assert {*STRANGE} - labels == {LONG}
        width = float(root.get("width", "0"))
        assert (
            viewed.evaluate(
                "Math.max(...[...document.querySelectorAll('text')].map(t => t.getBBox().x + t.getBBox().width))"
            )
            <= width
        )
    viewed.close()
