"""The page in a real browser, with a real data server, while another process writes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route

from streamvis import Client, DataLogger
from streamvis.launch import free_port
from streamvis.server.run import ServerThread
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving
from streamvis_viewer.frames import Op, encode, note
from streamvis_viewer.server import WebOptions
from viewer.tests.layer_page import INK

pytestmark = pytest.mark.browser

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # the first two of Category10
SCHEMA = """
DEFAULTS: {color: {key_fun: s, palette: Category10_10}}
loss: {names: loss, columns: [x, y], glyph_kwargs: {line_width: 3}, figure_kwargs: {title: Loss}}
cloud: {names: cloud, columns: [x, y], glyph_kind: scatter, glyph_kwargs: {size: 6}, filter_opts: {column: t}}
wide: {names: wide, columns: [x, y]}
steps: {names: loss, columns: [x, y], glyph_kind: step, glyph_kwargs: {line_width: 3}}
"""
WRITER = """
import sys
import numpy as np
from streamvis import DataLogger
with DataLogger(sys.argv[2], grpc_uri=sys.argv[1]) as logger:
    logger.write(sys.argv[3], x=np.arange(50), y=np.full(50, float(sys.argv[4])))
"""
BOXES = """selector => [...document.querySelectorAll(selector)].map(element => {
  const {x, y, width, height} = element.getBoundingClientRect();
  return [x, y, width, height];
})"""
DRAWN = """async () => {
  const {layers} = await import("/assets/layers.js");
  return layers.size > 0 && [...layers.values()].every(layer => layer.plot_view.frame?.bbox.width > 0);
}"""
XS = """async () => {
  const {layers} = await import("/assets/layers.js");
  return [...layers.get("p0").held(0).x];
}"""
RANGES = """async key => {
  const {layers} = await import("/assets/layers.js");
  const {x_range, y_range} = layers.get(key).plot_view.model;
  return [x_range.start, x_range.end, y_range.start, y_range.end];
}"""


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens addresses; no page may report an error, or ask for anything after it has loaded."""
    opened: list[tuple[Page, list[str]]] = []

    def opener(path: str, width: int = 900, height: int = 600, base: str = url) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height})
        faults: list[str] = []
        opened.append((page, faults))
        page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
        page.goto(base + path)
        until(lambda: bool(page.evaluate(DRAWN)))
        page.on("request", lambda request: faults.append(f"asked for {request.url}") if asks(request) else None)
        return page

    yield opener
    for page, _ in opened:
        page.close()
    assert [faults for _, faults in opened] == [[] for _ in opened]


def asks(request: Any) -> bool:
    return request.resource_type in {"xhr", "fetch", "document", "eventsource"}


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.02)


def ink(page: Page, color: tuple[int, int, int], key: str = "p0") -> int:
    return int(page.evaluate(INK, [key, color]))


def shows(page: Page, text: str, where: str = "#counts") -> None:
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.textContent.includes(text)", arg=[where, text]
    )


def pan(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drags until the range moves: Bokeh takes a button that rests 250 ms on a busy machine for a long press."""
    before = page.evaluate(RANGES, "p0")

    def moved() -> bool:
        page.mouse.move(*start)
        page.mouse.down()
        for part in (0.25, 0.5, 0.75, 1.0):
            page.mouse.move(*(a + part * (b - a) for a, b in zip(start, end, strict=True)))
            page.evaluate("new Promise(requestAnimationFrame)")  # Chromium makes one of all moves within a frame
        page.mouse.up()
        return bool(page.evaluate(RANGES, "p0") != before)

    until(moved)


def write_elsewhere(uri: str, scope: str, name: str, value: float) -> None:
    subprocess.run([sys.executable, "-c", WRITER, uri, scope, name, str(value)], check=True, timeout=60)


def write(uri: str, scope: str, name: str, **columns: Any) -> None:
    with DataLogger(scope, grpc_uri=uri) as logger:
        logger.write(name, **columns)


def test_what_another_process_writes_is_drawn_without_reload_or_polling(
    data: ServerThread, visit: Callable[..., Page]
) -> None:
    """A run's colour is absent from the plot's frame before, and there after; a second run gets its own."""
    page = visit("/?rows=loss")
    shows(page, "nothing that was logged fits", ".veil")
    assert ink(page, BLUE) == 0
    write_elsewhere(data.uri, "run1", "loss", 1.0)
    shows(page, "1 series · 50 points")
    until(lambda: ink(page, BLUE) > 500)
    assert ink(page, ORANGE) == 0
    write_elsewhere(data.uri, "run2", "loss", 2.0)
    until(lambda: ink(page, ORANGE) > 500)
    assert ink(page, BLUE) > 500
    assert page.locator("#runs .label").all_text_contents() == ["run1", "run2"]


def test_points_come_while_the_scripts_are_loading(data: ServerThread, url: str, browser: Browser) -> None:
    """The data socket does not wait for Bokeh; what it brought before there were plots is drawn once there are."""
    write(data.uri, "run1", "loss", x=np.arange(50), y=np.ones(50))
    frames: list[bytes | str] = []
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    def hear(frame: bytes | str) -> None:
        frames.append(frame)

    page = browser.new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", hear))
    page.route("**/bokeh.min.js*", hold)
    page.goto(f"{url}/?rows=loss", wait_until="commit")
    until(
        lambda: page.evaluate("!window.Bokeh") and held and any(list(frame[:2]) == [Op.REPLACE, 0] for frame in frames)
    )
    held[0].continue_()
    shows(page, "50 points")
    until(lambda: ink(page, BLUE) > 0)
    page.close()


def test_the_head_names_all_scripts_of_a_page(url: str, browser: Browser) -> None:
    """So that the browser asks for all of them at once; and for no others."""
    for path in ("/", "/?rows=loss"):
        page = browser.new_page()
        loaded: set[str] = set()
        page.on("requestfinished", lambda request, loaded=loaded: loaded.add(request.url))
        page.goto(url + path)
        named = page.evaluate("[...document.querySelectorAll('link[rel=modulepreload]')].map(link => link.href)")
        assert len(named) > 5
        page.wait_for_load_state("networkidle")
        assert {address for address in loaded if "/assets/" in address and address.endswith(".js")} == set(named)
        page.close()


def test_a_deletion_disappears_while_one_looks(data: ServerThread, visit: Callable[..., Page]) -> None:
    """From the plot and from the list of runs."""
    write(data.uri, "run1", "loss", x=np.arange(50), y=np.ones(50))
    write(data.uri, "run2", "loss", x=np.arange(50), y=np.zeros(50))
    page = visit("/?rows=loss")
    until(lambda: ink(page, BLUE) > 500 and ink(page, ORANGE) > 500)
    with Client(data.uri) as client:
        client.delete("run1")
    until(lambda: ink(page, BLUE) == 0)
    assert ink(page, ORANGE) > 500
    assert page.locator("#runs .label").all_text_contents() == ["run2"]


@pytest.mark.parametrize(
    ("query", "boxes"),
    [
        (
            "rows=loss,cloud;wide&width=1,2,1&height=1,2",
            [(0, 0, 1 / 3, 1 / 3), (1 / 3, 0, 2 / 3, 1 / 3), (0, 1 / 3, 1, 2 / 3)],
        ),
        (
            "cols=loss,cloud;wide&width=2,1&height=1,2,1",
            [(0, 0, 2 / 3, 1 / 3), (0, 1 / 3, 2 / 3, 2 / 3), (2 / 3, 0, 1 / 3, 1)],
        ),
    ],
)
def test_plots_stand_where_the_address_says(
    visit: Callable[..., Page], query: str, boxes: list[tuple[float, ...]]
) -> None:
    """To the pixel, also after the window has changed, and nothing scrolls."""
    page = visit(f"/?{query}", 1200, 800)
    for width, height in ((1200, 800), (700, 900)):
        page.set_viewport_size({"width": width, "height": height})
        ((left, top, whole_width, whole_height),) = page.evaluate(BOXES, ".page")
        wanted = [
            [left + x * whole_width, top + y * whole_height, w * whole_width, h * whole_height] for x, y, w, h in boxes
        ]
        np.testing.assert_allclose(page.evaluate(BOXES, ".cell"), wanted, atol=0.1)
        assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
            width,
            height,
        ]


def test_the_view_follows_the_points_until_a_person_moves_it(data: ServerThread, visit: Callable[..., Page]) -> None:
    """Panning stops it, reset takes it up again."""
    write(data.uri, "run1", "loss", x=np.arange(11), y=np.arange(11.0))
    page = visit("/?rows=loss")
    until(lambda: page.evaluate(RANGES, "p0") == [-0.4, 10.4, -0.4, 10.4])
    pan(page, (300, 300), (360, 330))
    page.wait_for_url("**&xrange=*")  # which is written once they rest
    moved = page.evaluate(RANGES, "p0")
    assert moved[0] < -0.4
    write(data.uri, "run1", "loss", x=[20], y=[20.0])
    shows(page, "12 points")
    assert page.evaluate(RANGES, "p0") == moved
    page.mouse.wheel(0, -200)
    until(lambda: page.evaluate(RANGES, "p0") != moved)
    page.evaluate("""async () => (await import("/assets/layers.js")).layers.get("p0").plot_view.reset()""")
    until(lambda: page.evaluate(RANGES, "p0") == [-0.8, 20.8, -0.8, 20.8])


def test_the_view_stays_while_new_points_have_room_in_it(data: ServerThread, visit: Callable[..., Page]) -> None:
    """Then it moves on by a few percent at a time, and is as wide as if the page had just been opened."""
    write(data.uri, "run1", "loss", x=np.arange(101), y=np.arange(101.0))
    page = visit("/?rows=loss")
    until(lambda: page.evaluate(RANGES, "p0") == [-4, 104, -4, 104])
    write(data.uri, "run1", "loss", x=[101, 102], y=[50.0, 50.0])
    shows(page, "103 points")
    assert page.evaluate(RANGES, "p0") == [-4, 104, -4, 104]
    write(data.uri, "run1", "loss", x=[103.5], y=[50.0])
    until(lambda: page.evaluate(RANGES, "p0") == [-4.14, 107.64, -4, 104])
    with Client(data.uri) as client:
        write(data.uri, "run2", "loss", x=[-100, 200], y=[50.0, 50.0])
        until(lambda: page.evaluate(RANGES, "p0") == [-112, 212, -4, 104])
        client.delete("run2")
    until(lambda: page.evaluate(RANGES, "p0") == [-4.14, 107.64, -4, 104])


def test_a_slider_shows_one_value_of_its_column(data: ServerThread, visit: Callable[..., Page]) -> None:
    """It stays at the latest until it is moved, and then at what was chosen."""
    for t in range(3):
        write(data.uri, "run1", "cloud", x=np.arange(10 * (t + 1)), y=np.zeros(10 * (t + 1)), t=t)
    page = visit("/?rows=cloud")
    shows(page, "2", ".slider output")
    until(lambda: ink(page, BLUE) > 0)
    latest = ink(page, BLUE)
    page.locator(".slider input").fill("0")
    shows(page, "0", ".slider output")
    until(lambda: 0 < ink(page, BLUE) < latest)
    write(data.uri, "run1", "cloud", x=np.arange(5), y=np.zeros(5), t=7)
    shows(page, "65 points")
    assert page.locator(".slider output").text_content() == "0"
    page.locator(".slider input").fill("3")
    shows(page, "7", ".slider output")


def test_runs_are_hidden_and_shown_and_found(data: ServerThread, visit: Callable[..., Page]) -> None:
    """By a click, alone by a double click, by the search box; without the server."""
    write(data.uri, "run1", "loss", x=np.arange(50), y=np.ones(50))
    write(data.uri, "run2", "loss", x=np.arange(50), y=np.zeros(50))
    page = visit("/?rows=loss")
    until(lambda: ink(page, BLUE) > 500 and ink(page, ORANGE) > 500)
    run1 = page.get_by_role("button", name="run1", exact=True)
    run1.click()
    until(lambda: ink(page, BLUE) == 0 and ink(page, ORANGE) > 500)
    run1.click()
    until(lambda: ink(page, BLUE) > 500)
    run1.dblclick()
    until(lambda: ink(page, ORANGE) == 0 and ink(page, BLUE) > 500)
    page.locator("#search").fill("RUN2")
    assert page.locator("#runs .label").all_text_contents() == ["run2"]
    assert page.locator("#run-count").text_content() == "1 of 2"


def test_the_nearest_point_is_read_out(data: ServerThread, visit: Callable[..., Page]) -> None:
    """With its run and its values, whatever the run is called."""
    write(data.uri, "<i>$$run$$", "loss", x=[1, 2, 3], y=[0.0, 0.25, 0.5])
    page = visit("/?rows=loss")
    shows(page, "3 points")
    until(lambda: ink(page, BLUE) > 100)
    where = page.evaluate(
        """async () => {
          const {frame, canvas_view} = (await import("/assets/layers.js")).layers.get("p0").plot_view;
          const {left, top} = canvas_view.el.getBoundingClientRect();
          return [left + frame.x_scale.compute(2), top + frame.y_scale.compute(0.25)];
        }"""
    )
    page.mouse.move(where[0] + 4, where[1] - 4)
    page.wait_for_selector(".readout:not([hidden])")
    assert page.locator(".readout .label").text_content() == "<i>$$run$$"
    assert page.locator(".readout .value").all_text_contents() == ["x 2", "y 0.25"]


def test_log_axes_show_what_is_positive(data: ServerThread, visit: Callable[..., Page]) -> None:
    """The ranges hold the positive points."""
    write(data.uri, "run1", "loss", x=[1, 10, 100], y=[-1.0, 1.0, 100.0])
    page = visit("/?rows=loss&axes=xylog")
    shows(page, "3 points")
    x0, x1, y0, y1 = page.evaluate(RANGES, "p0")
    assert 5 < x0 < 10
    assert 100 < x1 < 200
    assert 0.5 < y0 < 1
    assert 100 < y1 < 200


@pytest.mark.parametrize("backend", ["canvas", "webgl"])
def test_both_ways_of_drawing_are_said_and_draw(data: ServerThread, visit: Callable[..., Page], backend: str) -> None:
    """The status bar names the backend."""
    write(data.uri, "run1", "loss", x=np.arange(50), y=np.ones(50))
    page = visit(f"/?rows=loss&gl={'force' if backend == 'webgl' else 'off'}")
    until(lambda: ink(page, BLUE) > 500)
    assert page.locator("#backend").text_content() == backend


def test_the_page_says_that_the_data_server_is_away_and_goes_on_when_it_is_back(
    visit: Callable[..., Page], tmp_path: Path
) -> None:
    """At the start and later; nothing is lost, nothing comes twice, and the page is not loaded again."""
    address, prefix = f"unix:{tmp_path}/socket", str(tmp_path / "data")
    schema = tmp_path / "other.yaml"
    schema.write_text(SCHEMA)
    with serving("127.0.0.1:0", address, schema) as base:
        page = visit("/?rows=loss", base=base)
        for number in (1, 2, 3):
            shows(page, "The data server does not answer", "#banner")
            assert page.locator("#banner").is_visible()
            with data_serving(prefix, host=address):
                write(address, "run1", "loss", x=[number], y=[0.5])
                until(lambda known=number: xs(page) == list(range(1, known + 1)))
                shows(page, f"{number} point", "#counts")
                shows(page, "live", "#connection")
                until(lambda: page.locator("#banner").is_hidden())


def xs(page: Page) -> list[float]:
    """What the first plot holds of its only series."""
    return list(page.evaluate(XS))


def test_a_tab_that_was_asleep_catches_up_when_it_wakes(data: ServerThread, visit: Callable[..., Page]) -> None:
    """It runs no script meanwhile, as when its machine sleeps; then it has every point once."""
    write(data.uri, "run1", "loss", x=[0], y=[0.0])
    page = visit("/?rows=loss")
    shows(page, "1 point")
    with asleep(page), DataLogger("run1", grpc_uri=data.uri, flush_every=0.01) as logger:
        for step in range(1, 200):
            logger.write("loss", x=step, y=step)
            logger.flush()
    until(lambda: xs(page) == list(range(200)))
    shows(page, "200 points")
    write(data.uri, "run1", "loss", x=[200], y=[0.0])
    until(lambda: xs(page) == list(range(201)))


@contextmanager
def asleep(page: Page) -> Iterator[None]:
    """The page stops at its next statement, and goes on after the block."""
    debugger = page.context.new_cdp_session(page)
    debugger.send("Debugger.enable")
    debugger.send("Debugger.pause")
    yield
    debugger.send("Debugger.resume")
    debugger.send("Debugger.disable")


def test_the_page_is_loaded_again_when_another_viewer_answers(browser: Browser, data: ServerThread) -> None:
    """With all that its address says; if that happens again at once, it only offers to."""
    write(data.uri, "run1", "loss", x=[1, 2], y=[0.0, 1.0])
    with serving("127.0.0.1:0", data.uri) as base:
        page = browser.new_page()
        page.goto(f"{base}/?rows=loss&smooth=0.5")
        shows(page, "2 points")
    shows(page, "The viewer does not answer", "#banner")
    address = page.url
    with serving(base.removeprefix("http://"), data.uri):
        shows(page, "live", "#connection")
        write(data.uri, "run1", "loss", x=[3], y=[2.0])
        shows(page, "3 points")
        assert page.url == address
    shows(page, "The viewer does not answer", "#banner")
    with serving(base.removeprefix("http://"), data.uri):
        shows(page, "reload it", "#banner")
        shows(page, "3 points")
        page.locator("#banner a").click()
        shows(page, "live", "#connection")
    page.close()


def test_a_page_whose_login_has_ended_leads_to_the_form(browser: Browser, data: ServerThread) -> None:
    """It says so, for the viewer answers; a login in another tab brings it back by itself."""
    write(data.uri, "run1", "loss", x=[1, 2], y=[0.0, 1.0])
    context = browser.new_context()
    page, other = context.new_page(), context.new_page()
    with serving("127.0.0.1:0", data.uri, None, WebOptions("one")) as base:
        for tab in (page, other):
            tab.goto(f"{base}/?rows=loss&token=one")
            shows(tab, "2 points")
    with serving(base.removeprefix("http://"), data.uri, None, WebOptions("two")):
        for tab in (page, other):
            shows(tab, "This viewer asks for its token. Reload", "#banner")
        page.locator("#banner a").click()
        page.locator("input[name=token]").fill("two")
        page.keyboard.press("Enter")
        for tab in (page, other):
            shows(tab, "live", "#connection")
            shows(tab, "2 points")
    context.close()


def test_a_viewer_that_has_stopped_is_noticed(browser: Browser, data: ServerThread) -> None:
    """Though its connection stands: the page says so, and has every point once it goes on."""
    write(data.uri, "run1", "loss", x=[0, 1], y=[0.0, 1.0])
    page = browser.new_page()
    page.route("**/connection.js", quicken)
    address = f"127.0.0.1:{free_port(0)}"
    viewer = subprocess.Popen([sys.executable, "-m", "streamvis", "web-serve", address, data.uri])
    try:
        until(lambda: answers(address))
        page.goto(f"http://{address}/?rows=loss")
        shows(page, "2 points")
        viewer.send_signal(signal.SIGSTOP)
        shows(page, "The viewer does not answer", "#banner")
        write(data.uri, "run1", "loss", x=[2], y=[2.0])
        viewer.send_signal(signal.SIGCONT)
        until(lambda: xs(page) == [0, 1, 2])
        shows(page, "live", "#connection")
    finally:
        viewer.send_signal(signal.SIGCONT)
        viewer.terminate()
        viewer.wait(20)
        page.close()


def quicken(route: Route) -> None:
    """The script with a second for what takes five."""
    answer = route.fetch()
    assert answer.text().count("BEAT_MS = 5000") == 1
    route.fulfill(response=answer, body=answer.text().replace("BEAT_MS = 5000", "BEAT_MS = 1000"))


def answers(address: str) -> bool:
    """With a plot: before it has heard from the data server, it knows none."""
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://{address}/?rows=loss").close()
        return True
    return False


def test_a_further_column_of_a_new_run_reloads_nothing(browser: Browser, data: ServerThread) -> None:
    """Where nobody has written a schema: what was pinned stays, and the new run's line is one line."""
    write(data.uri, "run1", "loss", step=[0, 1], value=[0.0, 1.0])
    with serving("127.0.0.1:0", data.uri) as base:
        page = browser.new_page()
        page.goto(f"{base}/?rows=loss")
        shows(page, "1 series · 2 points")
        page.evaluate("window.mark = true")
        write(data.uri, "run2", "loss", step=[0, 1, 2], value=[0.0, 1.0, 2.0], epoch=[0, 0, 1])
        shows(page, "2 series · 5 points")
        write(data.uri, "run1", "other", step=[0, 1], value=[0.0, 1.0])
        write(data.uri, "run1", "loss", step=[2], value=[2.0])
        shows(page, "2 series · 6 points")
        assert page.evaluate("window.mark")
        page.close()


def test_the_script_reads_what_the_server_writes(url: str, browser: Browser) -> None:
    """Every dtype, and text with any characters, through the browser's decoder."""
    arrays = [
        np.arange(3, dtype="u1"),
        np.array([0.1, np.inf], "<f8"),
        np.array([1.5], "<f4"),
        np.array([2**32 - 1], "<u4"),
    ]
    page = browser.new_page()
    page.goto(url)
    read = """async bytes => {
      const {decode, noteOf} = await import("/assets/frames.js");
      const {op, plot, arrays} = decode(Uint8Array.from(bytes).buffer);
      return [op, plot, op ? arrays.map(a => [a.constructor.name, Array.from(a, String)]) : noteOf(arrays)];
    }"""
    assert page.evaluate(read, list(encode(Op.REPLACE, 7, *arrays))) == [
        Op.REPLACE,
        7,
        [
            ["Uint8Array", ["0", "1", "2"]],
            ["Float64Array", ["0.1", "Infinity"]],
            ["Float32Array", ["1.5"]],
            ["Uint32Array", ["4294967295"]],
        ],
    ]
    assert page.evaluate(read, list(note(255, {"läuft": [1, None]}))) == [Op.NOTE, 255, {"läuft": [1, None]}]
    page.close()


def test_an_edited_schema_shows_at_once(data: ServerThread, browser: Browser, tmp_path: Path) -> None:
    """The page keeps its address; a broken edit is said, on the first page too, and changes nothing."""
    file = tmp_path / "edited.yaml"
    file.write_text("loss: {columns: [x, y], figure_kwargs: {title: Before}}\n")
    write(data.uri, "run1", "loss", x=[1, 2], y=[0.0, 1.0])
    with serving("127.0.0.1:0", data.uri, file) as base:
        page = browser.new_page()
        page.goto(f"{base}/?rows=loss&smooth=0.5")
        shows(page, "2 points")
        page.evaluate("window.mark = true")
        file.write_text("loss: {columns: [x, y], figure_kwargs: {title: After the edit}}\n")
        page.wait_for_function("!window.mark && document.querySelector('#counts')?.textContent.includes('2 points')")
        assert page.evaluate("Bokeh.documents[0].roots()[0].title.text") == "After the edit"
        assert page.url.endswith("rows=loss&smooth=0.5")
        page.evaluate("window.mark = true")
        file.write_text("loss: {columns: [x, y], glyph_kind: pie}\n")
        shows(page, "line 1: loss.glyph_kind: found 'pie'", "#banner")
        first = browser.new_page()
        first.goto(base)
        shows(first, "line 1: loss.glyph_kind: found 'pie'", "#banner")
        file.write_text("# mended\nloss: {columns: [x, y], figure_kwargs: {title: After the edit}}\n")
        until(lambda: page.locator("#banner").is_hidden() and first.locator("#banner").is_hidden())
        assert page.evaluate("window.mark")
        file.write_text("other: {columns: [x, y]}\n")
        shows(page, "This address describes no page", "h1")
        page.close()
        first.close()


def test_the_status_bar_says_what_is_not_drawn(data: ServerThread, visit: Callable[..., Page]) -> None:
    """Topics that do not fit, columns that there are not, points without a place or off a logarithmic axis; and why."""
    write(data.uri, "run1", "loss", x=[1, 2, 3, 4], y=[-1.0, np.nan, np.inf, 1.0])
    write(data.uri, "run2", "loss", step=[1, 2], value=[1.0, 2.0])
    page = visit("/?rows=loss&axes=ylog&filter=tt&ignore=y,nothing")
    shows(page, "1 topic left out", "#left-out")
    shows(page, "no column nothing, tt", "#unknown")
    assert page.locator("#left-out").get_attribute("title") == "Loss: 1 \N{MULTIPLICATION SIGN} no column x or y"
    shows(page, "2 points not finite", "#gaps")
    assert "not a number" in (page.locator("#gaps").get_attribute("title") or "")
    shows(page, "1 point off the log axes", "#unplaced")
