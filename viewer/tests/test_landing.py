"""The first page in a real browser: finding runs, laying out a page, deleting and bringing back."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streamvis import Client, Config, DataLogger
from streamvis.records import Batch, Declaration
from streamvis.server.run import ServerThread
from streamvis.server.run import serving as data_serving
from streamvis.storage import open_store
from streamvis.storage.base import Submission
from streamvis_viewer import serving

pytestmark = pytest.mark.browser

SCHEMA = """
loss: {names: loss, columns: [x, y]}
cloud: {names: cloud, columns: [x, y], glyph_kind: scatter, filter_opts: {column: t}}
rate: {names: rate, columns: [x, y]}
"""
RUNS = "#table .body .row"
CONFIGS = {"run1": {"lr": 0.1, "net": {"depth": 2}}, "run2": {"lr": 0.01, "net": {"depth": 3}}, "run3": {"lr": 0.001}}


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """Its pages share the cache of compiled scripts."""
    return browser.new_context()


@pytest.fixture
def visit(context: BrowserContext, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the first page; none may report an error."""
    opened: list[tuple[Page, list[str]]] = []

    def opener(path: str = "/", width: int = 1600, height: int = 1000) -> Page:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        faults: list[str] = []
        opened.append((page, faults))
        page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
        page.goto(url + path)
        return page

    yield opener
    for page, _ in opened:
        page.close()
    assert [faults for _, faults in opened] == [[] for _ in opened]


@pytest.fixture
def three(data: ServerThread) -> ServerThread:
    """Three runs, one of them with a cloud."""
    for scope, config in CONFIGS.items():
        with DataLogger(scope, grpc_uri=data.uri) as logger:
            logger.write_config(config)
            logger.write("loss", x=np.arange(5), y=np.arange(5.0))
            if scope == "run1":
                logger.write("cloud", x=[1, 2], y=[0.0, 1.0], t=0)
    return data


def shows(page: Page, *expected: str) -> None:
    expect(page.locator(f"{RUNS} a")).to_have_text(list(expected))


def counts(page: Page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('#counts')?.textContent === text", arg=text)


def query(page: Page) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(urllib.parse.urlsplit(page.locator("#address").input_value()).query)


@pytest.mark.usefixtures("three")
def test_a_run_and_a_name_and_a_plot_lead_to_their_points(visit: Callable[..., Page]) -> None:
    """By their links."""
    page = visit()
    shows(page, "run3", "run2", "run1")
    page.get_by_role("link", name="run1").click()
    counts(page, "2 series · 7 points")
    page.go_back()
    page.get_by_role("tab", name="Names").click()
    page.get_by_role("link", name="loss", exact=True).first.click()
    counts(page, "3 series · 15 points")
    page.go_back()
    page.locator("#plots").get_by_role("link", name="cloud").click()
    counts(page, "1 series · 2 points")


def test_what_is_logged_appears_by_itself(three: ServerThread, visit: Callable[..., Page]) -> None:
    """A run that comes, and one that goes; the page is not loaded again."""
    page = visit()
    shows(page, "run3", "run2", "run1")
    page.evaluate("window.mark = true")
    with DataLogger("run4", grpc_uri=three.uri) as logger:
        logger.write("loss", x=1, y=2.0)
    shows(page, "run4", "run3", "run2", "run1")
    with Client(three.uri) as client:
        client.delete("run2")
    shows(page, "run4", "run3", "run1")
    assert page.evaluate("window.mark")


@pytest.mark.usefixtures("three")
def test_runs_are_sorted_by_any_column(visit: Callable[..., Page]) -> None:
    """Numbers as numbers, those without a value last in both directions; the order survives a reload."""
    page = visit()
    shows(page, "run3", "run2", "run1")
    page.get_by_role("button", name="lr").click()
    shows(page, "run1", "run2", "run3")
    page.get_by_role("button", name="lr").click()
    shows(page, "run3", "run2", "run1")
    page.get_by_role("button", name="net.depth").click()
    shows(page, "run2", "run1", "run3")
    page.get_by_role("button", name="net.depth").click()
    shows(page, "run1", "run2", "run3")
    page.reload()
    shows(page, "run1", "run2", "run3")


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("RUN2", ["run2"]),
        ("run[13]", ["run3", "run1"]),
        ("!run1", ["run3", "run2"]),
        ("lr=0.01", ["run2"]),
        ("lr<0.05", ["run3", "run2"]),
        ("net.depth>=2 run", ["run2", "run1"]),
        ("net.depth!=2", ["run2"]),
        ("nothing", []),
    ],
)
@pytest.mark.usefixtures("three")
def test_runs_are_found_by_text_and_by_hyperparameters(
    visit: Callable[..., Page], search: str, found: list[str]
) -> None:
    """Words, patterns, comparisons; all must hold."""
    page = visit()
    page.locator("#search").fill(search)
    shows(page, *found)
    expect(page.locator("#found")).to_have_text(f"{len(found)} of 3")


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("lr=0.1", ["run", "lr=0.1_seed=3"]),
        ("LR=0.1_seed", ["lr=0.1_seed=3"]),
        ("lr=0.1_seed=3", ["lr=0.1_seed=3"]),
        ("lr= seed=30", ["lr=0.15_seed=30"]),
        ("lr>0.1", ["lr=0.15_seed=30"]),
    ],
)
def test_runs_are_found_by_names_that_look_like_comparisons(
    data: ServerThread, visit: Callable[..., Page], search: str, found: list[str]
) -> None:
    """As sweeps make them; a hyperparameter of that value counts as well."""
    for scope, config in {"lr=0.15_seed=30": {"lr": 0.15}, "lr=0.1_seed=3": {}, "run": {"lr": 0.1}}.items():
        with DataLogger(scope, grpc_uri=data.uri) as logger:
            logger.write_config(config)
            logger.write("loss", x=1, y=1.0)
    page = visit()
    expect(page.locator(RUNS)).to_have_count(3)
    page.locator("#search").fill(search)
    shows(page, *found)


@pytest.mark.usefixtures("three")
def test_a_search_that_is_no_pattern_says_so(visit: Callable[..., Page]) -> None:
    """And shows everything."""
    page = visit()
    page.locator("#search").fill("run(")
    expect(page.locator("#found")).to_contain_text("group")
    shows(page, "run3", "run2", "run1")


@pytest.mark.usefixtures("three")
def test_a_page_is_laid_out_and_opened(visit: Callable[..., Page]) -> None:
    """Plots beside and below one another, turned, with dragged borders, of the runs that are ticked."""
    page = visit()
    shows(page, "run3", "run2", "run1")
    expect(page.locator("#preview .box")).to_have_text(["loss", "cloud"])
    page.get_by_role("button", name="clear").click()
    assert query(page) == {}
    for label in ("Add loss below", "Add cloud beside", "Add loss below"):
        page.get_by_role("button", name=label).click()
    assert query(page) == {"rows": ["loss,cloud;loss"]}
    page.get_by_role("checkbox", name="Choose run1").check()
    page.get_by_role("checkbox", name="Choose run3").check()
    assert query(page)["scopes"] == ["^(run1|run3)$"]
    page.get_by_role("button", name="turn").click()
    assert query(page)["cols"] == ["loss,cloud;loss"]
    page.get_by_role("button", name="turn").click()
    left = page.locator("#preview .box").first.bounding_box()
    assert left
    page.mouse.move(left["x"] + left["width"] + 3, left["y"] + 20)
    page.mouse.down()
    page.mouse.move(left["x"] + left["width"] / 2 + 3, left["y"] + 20, steps=4)
    page.mouse.up()
    weights = [float(weight) for weight in query(page)["width"][0].split(",")]
    assert weights == pytest.approx([0.5, 1.5, 1], abs=0.1)
    page.mouse.move(left["x"] + 20, left["y"] + left["height"] + 3)
    page.mouse.down()
    page.mouse.move(left["x"] + 20, left["y"] + left["height"] / 2 + 3, steps=4)
    page.mouse.up()
    heights = [float(weight) for weight in query(page)["height"][0].split(",")]
    assert heights == pytest.approx([0.5, 1.5], abs=0.1)
    page.locator("#open").click()
    counts(page, "5 series · 22 points")
    boxes = "[...document.querySelectorAll('.cell')].map(cell => cell.getBoundingClientRect())"
    cells = page.evaluate(f"{boxes}.map(box => [box.width, box.height])")
    assert cells[1][0] / cells[0][0] == pytest.approx(weights[1] / weights[0], abs=0.1)
    assert cells[2][1] / cells[0][1] == pytest.approx(heights[1] / heights[0], abs=0.1)


@pytest.mark.usefixtures("three")
def test_plots_are_removed_and_exchanged(visit: Callable[..., Page]) -> None:
    """In the picture."""
    page = visit()
    page.locator("#preview .box", has_text="loss").drag_to(page.locator("#preview .box", has_text="cloud"))
    assert query(page) == {"rows": ["cloud;loss"]}
    page.locator("#preview .box").first.hover()
    page.get_by_role("button", name="Remove cloud").click()
    assert query(page) == {"rows": ["loss"]}


def test_deleting_asks_first_and_can_be_undone(three: ServerThread, visit: Callable[..., Page]) -> None:
    """Nothing happens on cancel; after it the run is gone from the store, and comes back."""
    page = visit()
    page.get_by_role("checkbox", name="Choose run2").check()
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("dialog")).to_contain_text("run2")
    page.get_by_role("button", name="Cancel").click()
    shows(page, "run3", "run2", "run1")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete 1 run").click()
    shows(page, "run3", "run1")
    with Client(three.uri) as client:
        assert client.scopes() == ["run1", "run3"]
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(RUNS)).to_have_count(3)
    with Client(three.uri) as client:
        assert "run2" in client.scopes()


def test_thousands_of_runs_are_deleted_and_brought_back(browser: Browser, tmp_path: Path) -> None:
    """By the dialog, its undo and the trash; of a run that is gone already one learns, and the others go."""
    prefix, scopes = str(tmp_path / "data"), [f"run{number:04d}" for number in range(1001)]
    stored(prefix, scopes)
    with data_serving(prefix) as data, serving("127.0.0.1:0", data.uri) as url, Client(data.uri) as client:
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(url)
        runs, trash = page.get_by_role("tab", name="Runs"), page.get_by_role("tab", name="Trash")
        expect(runs).to_have_text("Runs 1001")
        page.get_by_role("checkbox", name="All that are found").check()
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("button", name="Delete 1001 runs").click()
        expect(page.get_by_role("dialog")).to_have_count(0, timeout=60_000)
        expect(trash).to_have_text("Trash 1001", timeout=60_000)
        assert client.scopes() == []
        page.locator(".toast").get_by_role("button", name="Restore").click()
        expect(runs).to_have_text("Runs 1001", timeout=60_000)
        assert sorted(client.scopes()) == scopes
        page.get_by_role("checkbox", name="All that are found").check()
        page.get_by_role("button", name="Delete…").click()
        client.delete("run0007")
        page.get_by_role("button", name="Delete 1001 runs").click()
        expect(page.locator("dialog .bad")).to_contain_text("1000 of 1001: ", timeout=60_000)
        page.get_by_role("button", name="Cancel").click()
        trash.click()
        page.get_by_role("checkbox", name="All that are found").check()
        page.get_by_role("button", name="Restore 1001").click()
        expect(trash).to_have_text("Trash 0", timeout=60_000)
        assert sorted(client.scopes()) == scopes
        page.close()


def test_the_trash_lists_what_can_be_restored(three: ServerThread, visit: Callable[..., Page]) -> None:
    """With its size and its names; a run that comes back is listed among the runs again."""
    with Client(three.uri) as client:
        client.delete("run2")
        client.delete("run1", ["cloud"])
    page = visit()
    expect(page.get_by_role("tab", name="Trash 2")).to_be_visible()
    page.get_by_role("tab", name="Trash").click()
    rows = page.locator(RUNS)
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("cloud")
    expect(rows.last).to_contain_text("run2")
    page.get_by_role("checkbox", name="Choose run2").check()
    page.get_by_role("button", name="Restore 1").click()
    expect(rows).to_have_count(1)
    page.get_by_role("tab", name="Runs").click()
    expect(rows).to_have_count(3)
    with Client(three.uri) as client:
        assert "run2" in client.scopes()


def test_runs_show_how_much_they_hold(three: ServerThread, visit: Callable[..., Page]) -> None:
    """Points and bytes, kept up to date."""
    page = visit()
    row = page.locator(RUNS, has_text="run1")
    expect(row).to_contain_text("7")
    with DataLogger("run1", grpc_uri=three.uri) as logger:
        logger.write("loss", x=np.arange(2000), y=np.arange(2000.0))
    expect(row).to_contain_text("2K")


def test_runs_show_how_they_are_doing(three: ServerThread, visit: Callable[..., Page]) -> None:
    """Running while a logger is open, finished once it has closed, and since when."""
    page = visit()
    expect(page.locator(RUNS, has_text="run1").locator(".status")).to_have_text("finished")
    with DataLogger("run4", grpc_uri=three.uri) as logger:
        logger.write("loss", x=1, y=1.0)
        logger.flush()
        expect(page.locator(RUNS, has_text="run4").locator(".status")).to_have_text("running", timeout=30_000)
    expect(page.locator(RUNS, has_text="run4").locator(".status")).to_have_text("finished", timeout=30_000)
    expect(page.locator(RUNS).first).to_contain_text("run4")
    expect(page.locator(RUNS).first).to_contain_text(re.compile(r"\d+ (s|min)"))


def test_what_cannot_be_deleted_says_why(three: ServerThread, visit: Callable[..., Page]) -> None:
    """In the dialog, which stays."""
    page = visit()
    page.get_by_role("checkbox", name="Choose run2").check()
    page.get_by_role("button", name="Delete…").click()
    with Client(three.uri) as client:
        client.delete("run2")
    page.get_by_role("button", name="Delete 1 run").click()
    expect(page.locator("dialog .bad")).to_contain_text("run2")


def test_an_empty_store_says_how_to_begin(visit: Callable[..., Page]) -> None:
    """With a program that can be copied and that works; what it logs then appears."""
    page = visit()
    code = page.locator("#empty pre").text_content() or ""
    exec(compile(code, "the first page", "exec"), {})
    shows(page, "run1")
    expect(page.locator("#empty")).to_be_hidden()


def test_strange_names_are_text(data: ServerThread, visit: Callable[..., Page]) -> None:
    """Markup, formulas, other directions, emoji, 4 kB; in the table, the title and the link."""
    strange = ["<img src=x onerror=alert(1)>", "$$\\frac12$$", "שלום", "🚀 up", "a" * 4096, "a|b^(c)", "\u202erun"]
    for scope in strange:
        with DataLogger(scope, grpc_uri=data.uri) as logger:
            logger.write("loss", x=[1, 2], y=[1.0, 2.0])
    page = visit()
    expect(page.locator(RUNS)).to_have_count(len(strange))
    assert sorted(page.locator(f"{RUNS} a").all_text_contents()) == sorted(strange)
    assert page.locator("img").count() == 0
    page.get_by_role("link", name="a|b^(c)").click()
    counts(page, "1 series · 2 points")


def test_a_long_name_shows_where_it_begins_and_ends(data: ServerThread, visit: Callable[..., Page]) -> None:
    """Names of runs often differ in their ends alone; in the table, and in the list of a page of plots."""
    scopes = [f"resnet50-imagenet-adamw-cosine-warmup-{'x' * 40}-seed={seed}" for seed in range(2)]
    for scope in scopes:
        with DataLogger(scope, grpc_uri=data.uri) as logger:
            logger.write("loss", x=[1, 2], y=[1.0, 2.0])
    page = visit("/", width=900)
    ends = page.locator(f"{RUNS} a .name > :last-child")
    expect(ends).to_have_text([scope[-14:] for scope in reversed(scopes)])
    page.goto(f"{page.url}plot?rows=loss&color=s")
    counts(page, "2 series · 4 points")
    rows = page.locator("#runs .label")
    expect(rows).to_have_text(scopes)
    for place in range(2):
        edge = page.locator("#runs").bounding_box()
        end = rows.nth(place).locator(":last-child").bounding_box()
        assert edge
        assert end
        assert end["x"] + end["width"] <= edge["x"] + edge["width"]


def test_the_page_says_that_the_viewer_is_gone(data: ServerThread, browser: Browser) -> None:
    """What it shows stays, and goes on when a viewer answers; another process's answer asks for a reload."""
    with DataLogger("run1", grpc_uri=data.uri) as logger:
        logger.write("loss", x=1, y=1.0)
    page = browser.new_page()
    with serving("127.0.0.1:0", data.uri) as url:
        page.goto(url)
        shows(page, "run1")
    expect(page.locator("#banner")).to_contain_text("does not answer")
    shows(page, "run1")
    with serving(url.removeprefix("http://"), data.uri):
        expect(page.locator("#banner")).to_contain_text("reload it")
    page.close()


def test_of_five_thousand_runs_few_are_elements(browser: Browser, tmp_path: Path) -> None:
    """All of them are sorted, found and chosen nevertheless."""
    prefix, scopes = str(tmp_path / "data"), [f"run{number:04d}" for number in range(5000)]
    stored(prefix, scopes)
    with data_serving(prefix) as data, serving("127.0.0.1:0", data.uri) as url:
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(url)
        expect(page.get_by_role("tab", name="Runs 5000")).to_be_visible()
        assert page.locator(RUNS).count() <= 60
        expect(page.locator(f"{RUNS} a").first).to_have_text("run4999")
        page.get_by_role("button", name="seed").click()
        page.get_by_role("button", name="seed").click()
        expect(page.locator(f"{RUNS} a").first).to_have_text("run4999")
        page.locator("#table").evaluate("table => table.scrollTo(0, 1e9)")
        expect(page.locator(f"{RUNS} a").last).to_have_text("run0000")
        page.locator("#search").fill("seed<3")
        shows(page, "run4999", "run4998", "run4997")
        page.locator("#search").fill("")
        page.get_by_role("checkbox", name="All that are found").check()
        expect(page.locator("#actions")).to_contain_text("5000 runs chosen")
        page.close()


def stored(prefix: str, scopes: Sequence[str]) -> None:
    """A store with these runs, without points; the first has the largest seed."""
    with contextlib.closing(open_store(prefix)) as store:
        declarations = tuple(Declaration(n, scope, "loss", ("x", "y")) for n, scope in enumerate(scopes, 1))
        configs = tuple(Config(scope, {"seed": len(scopes) - n}) for n, scope in enumerate(scopes, 1))
        store.append([Submission(Batch("writer", 1, declarations, configs), {})])
