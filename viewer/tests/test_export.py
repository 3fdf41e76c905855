"""What can be taken out of the viewer: pictures, points, and pages as files."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from streamvis import Block, DataLogger, Topic, Update
from streamvis.server.run import serving as data_serving
from streamvis.tables import ROWS
from streamvis_viewer import serving
from streamvis_viewer.export import Series, csv_text
from streamvis_viewer.series import SeriesStore
from viewer.tests.layer_page import INK

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)
SCHEMA = """
DEFAULTS: {color: {key_fun: s, palette: Category10_10}}
loss: {names: loss, columns: [x, y], glyph_kwargs: {line_width: 4}, figure_kwargs: {title: "Loss / train"}}
cloud: {names: cloud, columns: [x, y], glyph_kind: scatter, glyph_kwargs: {size: 8}, filter_opts: {column: t}}
steps: {names: loss, columns: [x, y], glyph_kind: step}
"""
STRANGE = '</script><b>&$$x$$,"run"'


def store(*blocks: Block, columns: tuple[str, ...] = ("x", "y")) -> SeriesStore:
    made = SeriesStore()
    topics = tuple(Topic(number, "run", f"n{number}", columns) for number in {block.topic for block in blocks})
    made.note(Update(topics, (), (), b"", 0))
    made.add(blocks)
    return made


def rows(made: SeriesStore, *series: Series) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(csv_text(made, series)))))


def block(topic: int, index: int, **columns: Any) -> Block:
    return Block(topic, index, {name: np.atleast_2d(values) for name, values in columns.items()})


# ---- points


def test_points_are_written_with_all_columns_in_the_order_of_writing() -> None:
    """Series after series; a column that one lacks is empty there, and one value for all indexes is each one's."""
    made = store(
        block(1, 0, x=np.array([[1, 2]]), y=np.array([[0.5, 1.5], [2.5, 3.5]])),
        block(1, 0, x=np.array([[3]]), y=np.array([[9.5], [8.5]])),
    )
    assert rows(made, Series("run", "n1", 1), Series("run", "n1", 0), Series("run", "n1", 7), Series("x", "n1", 0)) == [
        ["scope", "name", "index", "x", "y"],
        ["run", "n1", "1", "1", "2.5"],
        ["run", "n1", "1", "2", "3.5"],
        ["run", "n1", "1", "3", "8.5"],
        ["run", "n1", "0", "1", "0.5"],
        ["run", "n1", "0", "2", "1.5"],
        ["run", "n1", "0", "3", "9.5"],
    ]


@given(
    hnp.arrays(
        st.sampled_from([np.dtype("f4"), np.dtype("f8"), np.dtype("i8"), np.dtype("i4"), np.dtype("?")]),
        st.integers(1, 20),
    )
)
def test_numbers_come_back_as_they_were(values: np.ndarray[Any, Any]) -> None:
    """Of every type, NaN and infinities too."""
    made = store(block(1, 0, x=values), columns=("x",))
    read = [row[3] for row in rows(made, Series("run", "n1", 0))[1:]]
    parse = {"f": float, "i": int, "b": "True".__eq__}[values.dtype.kind]
    np.testing.assert_array_equal(np.array([parse(text) for text in read], values.dtype), values)


def test_many_points_come_in_pieces() -> None:
    """So that others are served in between."""
    made = store(block(1, 0, x=np.arange(3 * ROWS), y=np.arange(3.0 * ROWS)))
    pieces = list(csv_text(made, [Series("run", "n1", 0)]))
    assert [piece.count("\n") for piece in pieces] == [1, ROWS, ROWS, ROWS]


@pytest.mark.parametrize("value", [[], ["a", "b"], ["a", "b", "c"], [1, "b", 0], {"a": 1}, "abc", None])
def test_what_names_no_series_is_refused(value: Any) -> None:
    """The handler answers with status 400."""
    with pytest.raises(ValueError, match=r".*"):
        Series.read(value)


# ---- in the browser


@pytest.fixture(scope="module")
def data() -> Iterator[str]:
    with data_serving("memory:") as server:
        for scope, level in (("run1", 1.0), (STRANGE, 2.0)):
            with DataLogger(scope, grpc_uri=server.uri) as logger:
                logger.write("loss", x=np.arange(1, 51), y=np.full(50, level) / 3)
                for t in (0, 10, 20):
                    logger.write("cloud", x=np.linspace(0, 1, 20) + t / 10, y=np.full(20, level), t=t)
        yield server.uri


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "plots.yaml"
    path.write_text(SCHEMA)
    return path


@pytest.fixture(scope="module")
def url(data: str, schema: Path) -> Iterator[str]:
    with serving("127.0.0.1:0", data, schema) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may report no error."""
    made = browser.new_page(viewport={"width": 1000, "height": 700})
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    yield made
    made.close()
    assert errors == []


def ready(page: Page, points: int) -> None:
    page.wait_for_function(
        "count => document.querySelector('#counts')?.textContent.endsWith(` ${count} points`)", arg=f"{points:,}"
    )


LAYERS = (
    "const {layers} = await import(document.querySelector('#frames') ? 'streamvis/layers.js' : '/assets/layers.js')"
)


def ink(page: Page, color: tuple[int, int, int], key: str = "p0") -> int:
    script = INK.replace('const {layers} = await import("/assets/layers.js")', LAYERS)
    return int(page.evaluate(script, [key, color]))


def until(page: Page, condition: Any) -> None:
    deadline = page.evaluate("performance.now()") + 20_000
    while not condition():
        assert page.evaluate("performance.now()") < deadline, "waited in vain"


def saved(page: Page, cell: int, kind: str, tmp_path: Path) -> Path:
    page.locator(".cell").nth(cell).hover()
    page.locator(".cell").nth(cell).get_by_role("button", name="Save as PNG, SVG or CSV").click()
    with page.expect_download() as download:
        page.locator(".menu").get_by_role("button", name=kind).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.mark.browser
def test_a_plot_is_saved_as_a_picture(page: Page, url: str, tmp_path: Path) -> None:
    """Twice as sharp as the screen, under the plot's name; the live plot stays as it was."""
    page.goto(f"{url}/?rows=loss")
    ready(page, 100)
    path = saved(page, 0, "PNG", tmp_path)
    assert path.name == "Loss-train.png"
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    figure = page.locator(".figure").bounding_box()
    assert figure
    assert width == pytest.approx(2 * figure["width"], rel=0.1)
    assert height > 2 * (figure["height"] - 20)
    assert page.evaluate("devicePixelRatio") == 1
    with Image.open(path) as picture:
        counts = {colour: count for count, colour in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert min(counts.get(BLUE, 0), counts.get(ORANGE, 0)) > 500  # the lines of both runs, and their labels
    assert max(counts, key=counts.__getitem__) == (255, 255, 255)


@pytest.mark.browser
@pytest.mark.parametrize("plot", ["loss", "cloud", "steps"])
def test_a_plot_is_saved_as_vectors(page: Page, url: str, tmp_path: Path, plot: str) -> None:
    """With the labels of what is shown, as text; well-formed, whatever runs are called."""
    page.goto(f"{url}/?rows={plot}&hide=l:run1")
    ready(page, 120 if plot == "cloud" else 100)
    root = ET.parse(saved(page, 0, "SVG", tmp_path)).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert STRANGE in texts
    assert "run1" not in texts
    paths = [element for element in root.iter() if element.tag.endswith(("path", "circle", "polyline"))]
    assert len(paths) > 10
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))


@pytest.mark.browser
def test_a_plot_is_saved_as_points(page: Page, url: str, tmp_path: Path) -> None:
    """Of what is shown, all columns, in full precision; under whatever name."""
    page.goto(f"{url}/?rows=loss,cloud")
    ready(page, 220)
    read = table(saved(page, 0, "CSV", tmp_path))
    assert {row["scope"] for row in read} == {"run1", STRANGE}
    assert [float(row["y"]) for row in read if row["scope"] == "run1"] == [1 / 3] * 50
    page.get_by_role("button", name="run1", exact=True).click()
    read = table(saved(page, 1, "CSV", tmp_path))
    assert {row["scope"] for row in read} == {STRANGE}
    assert [int(row["t"]) for row in read] == [0] * 20 + [10] * 20 + [20] * 20


@pytest.mark.browser
def test_a_page_is_saved_by_its_button_and_works_offline(
    browser: Browser, page: Page, url: str, tmp_path: Path
) -> None:
    """As it stood: theme, what is hidden, where sliders stand."""
    page.goto(f"{url}/?rows=loss,cloud&theme=dark&hide=l:run1&at=t:10")
    ready(page, 220)
    page.locator("#share").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save page").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with offline(browser, path) as file:
        ready(file, 220)
        expect(file.locator(".slider output")).to_have_text("10")
        until(file, lambda: ink(file, ORANGE) > 100 and ink(file, BLUE) == 0)
        assert file.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.browser
def test_a_saved_page_pans_zooms_hides_slides_plays_and_exports(
    browser: Browser, data: str, schema: Path, tmp_path: Path
) -> None:
    """Pan, zoom, list, slider, playback, smoothing, points: from a file, with the network off."""
    path = tmp_path / "page.html"
    save(data, "rows=loss,cloud", path, schema)
    with offline(browser, path) as page:
        ready(page, 220)
        expect(page.locator("#connection")).to_contain_text("saved")
        until(page, lambda: ink(page, BLUE) > 100 and ink(page, ORANGE) > 100)
        ranges = "(([{x_range: {start, end}}]) => [start, end])(Bokeh.documents[0].roots())"
        before = page.evaluate(ranges)
        box = page.locator(".figure").first.bounding_box()
        assert box
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1], steps=5)
        page.mouse.up()
        until(page, lambda: page.evaluate(ranges)[0] < before[0])
        panned = page.evaluate(ranges)
        page.mouse.wheel(0, -300)
        until(page, lambda: page.evaluate(ranges)[1] - page.evaluate(ranges)[0] < panned[1] - panned[0])
        page.mouse.dblclick(*middle)
        until(page, lambda: page.evaluate(ranges) == pytest.approx(before))
        page.get_by_role("button", name="run1", exact=True).click()
        until(page, lambda: ink(page, BLUE) == 0)
        page.locator(".slider input").fill("0")
        expect(page.locator(".slider output")).to_have_text("0")
        seen: set[str] = set()
        page.get_by_role("button", name="Play").click()
        until(page, lambda: seen.add(page.locator(".slider output").text_content() or "") or len(seen) == 3)  # type: ignore[func-returns-value]
        page.get_by_role("button", name="Pause").click()
        page.locator("#smooth").fill("0.9")
        page.keyboard.press("Tab")
        page.wait_for_url("**#*smooth=0.9*")
        read = table(saved(page, 0, "CSV", tmp_path))
        assert {row["scope"] for row in read} == {STRANGE}
        assert float(read[0]["y"]) == pytest.approx(2 / 3)
        page.wait_for_url("**#*hide=l:run1*")
        page.reload()
        ready(page, 220)
        until(page, lambda: ink(page, BLUE) == 0 and ink(page, ORANGE) > 100)


@pytest.mark.browser
def test_a_saved_page_of_very_many_points_says_what_it_lacks(
    page: Page, browser: Browser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has more of them than a screen needs; its bar, its points and its smoothing say that these are not all."""
    monkeypatch.setattr("streamvis_viewer.view.WHOLE_POINTS", 40_000)
    monkeypatch.setattr("streamvis_viewer.view.THINNED_POINTS", 30_000)
    with data_serving("memory:") as data, serving("127.0.0.1:0", data.uri) as url:
        with DataLogger("run1", grpc_uri=data.uri) as logger:
            logger.write("loss", x=np.arange(90_000), y=np.sin(np.arange(90_000) / 7))
        page.goto(f"{url}/?rows=loss")
        ready(page, 90_000)
        page.locator("#share").click()
        expect(page.locator(".menu .hint")).to_contain_text("it has a part")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save page").click()
        path = tmp_path / "page.html"
        download.value.save_as(path)
    with offline(browser, path) as file:
        ready(file, 90_000)
        expect(file.locator("#thinned")).to_have_text("1 plot thinned")
        kept, total = re.findall(r"[\d,]+", file.locator("#thinned").get_attribute("title") or "")
        assert 15_000 < int(kept.replace(",", "")) <= 30_000
        assert total == "90,000"
        expect(file.locator("#smooth")).to_be_disabled()
        assert len(table(saved(file, 0, "CSV", tmp_path))) == int(kept.replace(",", ""))
        expect(file.locator(".toast")).to_contain_text(f"{kept} of 90,000 points")


@contextmanager
def offline(browser: Browser, path: Path) -> Iterator[Page]:
    """A saved file in a browser without a network; it may ask for nothing and report no error."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, offline=True)
    faults: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: faults.append(request.url) if is_foreign(request.url) else None)
    page.goto(path.as_uri())
    yield page
    context.close()
    assert faults == []


def is_foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


# ---- the command


def save(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "streamvis", "save-page", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_says_what_it_has_saved(data: str, tmp_path: Path) -> None:
    """A whole address will do, and plots inferred from the data."""
    path = tmp_path / "page.html"
    done = save(data, "http://localhost:8888/plot?rows=loss&scopes=run1&token=secret", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"saved {path}" in done.stdout
    text = path.read_text()
    assert "secret" not in text
    assert 'src="/' not in text
    assert 'href="/' not in text


def test_names_stay_text_in_a_saved_page(data: str, schema: Path, tmp_path: Path) -> None:
    """Points and names travel compressed; the query stands in JSON that ends no script."""
    path = tmp_path / "page.html"
    save(data, f"rows=loss&hide=l:{STRANGE.replace('&', '%26')}", path, schema)
    settings = path.read_text().partition('id="settings">')[2].partition("</script>")[0]
    assert json.loads(settings)["query"].endswith('$$x$$,"run"')


@pytest.mark.parametrize(
    ("query", "name", "says"),
    [
        ("rows=none", "page.html", "found the plot 'none'"),
        ("rows=loss", "no/such/folder/page.html", "cannot be written"),
    ],
)
def test_what_cannot_be_saved_is_one_line(data: str, tmp_path: Path, query: str, name: str, says: str) -> None:
    """With exit code 2."""
    done = save(data, query, tmp_path / name)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_data_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    """With exit code 1."""
    done = save("127.0.0.1:1", "rows=loss", tmp_path / "page.html")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
