"""The data socket without a browser: what a page says, and what it is sent."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from streamvis import Client, DataLogger
from streamvis.server.run import ServerThread
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving
from streamvis_viewer.frames import PAGE, Op, decode
from viewer.tests.sockets import hang_up

SCHEMA = "loss: {columns: [x, y], names: loss}\nother: {columns: [x, y], names: other}\n"
T = TypeVar("T")


class Page:
    """A page that reads frames and paints nothing."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.points: dict[int, int] = {}
        self.x: dict[int, list[float]] = {}
        self.replaced = 0
        self.status: dict[str, Any] = {}

    async def read(self) -> Op | None:
        """Takes the next frame in; None when the socket is closed."""
        frame = await self.connection.read_message()
        if frame is None:
            return None
        assert isinstance(frame, bytes)
        op, plot, arrays = decode(frame)
        if op is Op.NOTE and plot == PAGE:
            self.status = json.loads(arrays[0].tobytes())
        elif op is Op.REPLACE:
            self.points[plot] = int(arrays[1].sum())
            self.x[plot] = arrays[2].tolist()
            self.replaced += 1
        elif op is Op.APPEND:
            self.points[plot] += int(arrays[1].sum())
            self.x[plot] += arrays[2].tolist()
        return op

    async def read_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            op = await asyncio.wait_for(self.read(), 20)
            assert op is not None, f"closed with {self.connection.close_code}: {self.connection.close_reason}"
            if op is Op.TICK:
                await self.say("painted")

    async def say(self, text: str) -> None:
        await self.connection.write_message(text)


def token_of(url: str, query: str) -> str:
    with urllib.request.urlopen(f"{url}/plot?{query}") as answer:
        found = re.search(r'id="settings">(.*?)</script>', answer.read().decode(), re.DOTALL)
    assert found
    return str(json.loads(found[1])["token"])


async def opened(url: str, query: str, token: str) -> Page:
    request = HTTPRequest(f"{url.replace('http', 'ws')}/data?{query}", headers={"Origin": url})
    return Page(await websocket_connect(request, subprotocols=["streamvis", token]))


def visit(url: str, query: str, script: Callable[[Page], Awaitable[T]]) -> T:
    """Runs the script with a page that the viewer has made for the query."""
    token = token_of(url, query)

    async def run() -> T:
        page = await opened(url, query, token)
        try:
            return await script(page)
        finally:
            await hang_up(page.connection)

    return asyncio.run(run())


def write(uri: str, name: str, points: int) -> None:
    with DataLogger("run", grpc_uri=uri) as logger:
        logger.write(name, x=np.arange(points), y=np.arange(points))


def test_a_changed_address_changes_what_is_sent(data: ServerThread, url: str) -> None:
    """The plot that both addresses show is not sent again; the other is."""
    write(data.uri, "loss", 10)
    write(data.uri, "other", 20)

    async def script(page: Page) -> None:
        await page.read_until(lambda: page.points == {0: 10, 1: 20})
        before = page.replaced
        await page.say("query rows=loss,loss&names=loss&names=loss")
        await page.read_until(lambda: page.points == {0: 10, 1: 10})
        assert page.replaced == before + 1

    visit(url, "rows=loss,other", script)


@pytest.mark.parametrize(
    ("query", "key"), [("rows=loss&scopes=run(", "scopes"), ("rows=nothing", "rows"), ("rows=loss;loss", "rows, cols")]
)
def test_a_wrong_query_is_said_and_leaves_what_is_shown(data: ServerThread, url: str, query: str, key: str) -> None:
    """The page learns what it asked for, why that is refused, and what goes on; the next right one is taken."""
    write(data.uri, "loss", 10)

    async def script(page: Page) -> None:
        await page.read_until(lambda: page.points == {0: 10})
        await page.say("query rows=loss&smooth=0.5")
        await page.say(f"query {query}")
        await page.read_until(lambda: bool(page.status["refused"]))
        refused = page.status["refused"]
        assert (refused["query"], refused["shown"]) == (query, "rows=loss&smooth=0.5")
        assert list(refused["problems"]) == [key]
        assert refused["problems"][key].startswith("found ")
        await asyncio.to_thread(write, data.uri, "loss", 5)
        await page.read_until(lambda: page.points == {0: 15})
        await page.say("query rows=loss&scopes=other")
        await page.read_until(lambda: page.points == {0: 0})
        assert page.status["refused"] is None

    visit(url, "rows=loss", script)


def test_an_address_that_describes_no_page_closes_the_socket(url: str) -> None:
    """With the code that tells the page to reload, which then says what is wrong."""
    token = token_of(url, "rows=loss")

    async def run() -> None:
        page = await opened(url, "rows=nothing", token)
        assert await asyncio.wait_for(page.read(), 20) is None
        assert page.connection.close_code == 4404
        assert "nothing" in str(page.connection.close_reason)
        await hang_up(page.connection)

    asyncio.run(run())


def test_words_that_no_page_says_mean_nothing(data: ServerThread, url: str) -> None:
    """The socket stays open, and goes on."""
    write(data.uri, "loss", 10)

    async def script(page: Page) -> None:
        for word in ("", "hello", "painted painted", "\x00"):
            await page.say(word)
        await page.read_until(lambda: page.points == {0: 10})

    visit(url, "rows=loss", script)


def test_a_page_that_does_not_paint_is_sent_nothing_more_and_then_all_at_once(data: ServerThread, url: str) -> None:
    """A tab that sleeps for an hour costs neither the viewer nor itself anything."""

    async def script(page: Page) -> None:
        while await asyncio.wait_for(page.read(), 20) is not Op.TICK:
            pass
        with DataLogger("run", grpc_uri=data.uri, flush_every=0.01) as logger:
            for step in range(300):
                logger.write("loss", x=step, y=step)
                if step % 10 == 0:
                    await asyncio.to_thread(logger.flush)
        await other_sees(300)
        await page.say("painted")
        ticks = 0
        while page.points.get(0) != 300:
            ticks += await asyncio.wait_for(page.read(), 20) is Op.TICK
        assert ticks == 0
        assert page.x[0] == list(range(300))

    async def other_sees(points: int) -> None:
        other = await opened(url, "rows=loss", await asyncio.to_thread(token_of, url, "rows=loss"))
        await other.read_until(lambda: other.points.get(0) == points)
        await hang_up(other.connection)

    visit(url, "rows=loss", script)


def test_fifty_tabs_on_two_thousand_series_share_one_subscription(data: ServerThread, url: str) -> None:
    """Each gets every point, old and new; the data server is asked once for each topic, however many tabs show it."""
    names, tabs = 2000, 50

    def write_all(logger: DataLogger, begin: int, end: int) -> None:
        for number in range(names):
            logger.write(f"loss{number}", x=np.arange(begin, end), y=np.arange(begin, end))
        logger.flush()

    async def read(page: Page, points: int) -> None:
        await page.read_until(lambda: page.points == {0: names * points})

    def stat(name: str) -> float:
        with Client(data.uri) as client:
            return sum(metric.value for metric in client.stats().metrics if metric.name == f"streamvis_{name}")

    async def run() -> None:
        pages = await asyncio.gather(*(opened(url, "rows=loss", token) for _ in range(tabs)))
        await asyncio.gather(*(read(page, 10) for page in pages))
        with DataLogger("run", grpc_uri=data.uri) as logger:
            await asyncio.to_thread(write_all, logger, 10, 15)
            await asyncio.gather(*(read(page, 15) for page in pages))
        assert [page.replaced for page in pages] == [1] * tabs
        assert stat("subscribers") == 1
        assert stat("interests") == 2  # what exists, and the points that tabs show
        await asyncio.gather(*(hang_up(page.connection) for page in pages))

    with DataLogger("run", grpc_uri=data.uri) as logger:
        write_all(logger, 0, 10)
    token = token_of(url, "rows=loss")
    asyncio.run(run())


def test_pages_catch_up_whenever_the_data_server_comes_and_goes(tmp_path: Path) -> None:
    """It is away at the start, lost, and back while a page is open: no gap, no double, and nothing sent twice."""
    address, schema = f"unix:{tmp_path}/socket", tmp_path / "plots.yaml"
    schema.write_text(SCHEMA)

    async def script(page: Page) -> None:
        with DataLogger("run", grpc_uri=address, flush_every=0.01, spool_dir=tmp_path / "spool") as logger:
            for begin in range(0, 90, 30):
                server = data_serving(str(tmp_path / "data"), host=address)
                log(logger, begin, begin + 10)
                await asyncio.to_thread(server.__enter__)
                log(logger, begin + 10, begin + 20)
                await asyncio.to_thread(logger.flush, 20)
                log(logger, begin + 20, begin + 30)
                await page.read_until(lambda seen=begin + 20: page.points.get(0, 0) >= seen)
                assert page.status["server"]["state"] == "live"
                await asyncio.to_thread(server.__exit__, None, None, None)
                await page.read_until(lambda: page.status["server"]["state"] == "away")
            with data_serving(str(tmp_path / "data"), host=address):
                await asyncio.to_thread(logger.flush, 20)
                await page.read_until(lambda: page.points.get(0) == 90)
        assert page.x[0] == list(range(90))
        assert page.replaced == 1

    with serving("127.0.0.1:0", address, schema) as url:
        visit(url, "rows=loss", script)


def log(logger: DataLogger, begin: int, end: int) -> None:
    for step in range(begin, end):
        logger.write("loss", x=step, y=step)


def test_a_server_whose_data_were_replaced_shows_what_it_has(tmp_path: Path) -> None:
    """What was there before is gone, and what is written afterwards is seen."""
    address, schema = f"unix:{tmp_path}/socket", tmp_path / "plots.yaml"
    schema.write_text(SCHEMA)

    async def script(page: Page) -> None:
        for prefix, scope, points in (("one", "old", 5), ("two", "new", 3)):
            server = data_serving(str(tmp_path / prefix), host=address)
            await asyncio.to_thread(server.__enter__)
            with DataLogger(scope, grpc_uri=address) as logger:
                logger.write("loss", x=np.arange(points), y=np.arange(points))
            await page.read_until(lambda wanted=points: page.points.get(0) == wanted)
            await asyncio.to_thread(server.__exit__, None, None, None)

    with serving("127.0.0.1:0", address, schema) as url:
        visit(url, "rows=loss", script)


def test_many_tabs_share_one_subscription_and_its_points(data: ServerThread, url: str) -> None:
    """Fifty tabs on the same series are sent the same frames; the store holds each point once."""
    write(data.uri, "loss", 2000)
    token = token_of(url, "rows=loss")

    async def run() -> None:
        pages = [await opened(url, "rows=loss", token) for _ in range(50)]
        for page in pages:
            await page.read_until(lambda page=page: page.points.get(0) == 2000)
        with DataLogger("run", grpc_uri=data.uri) as logger:
            logger.write("loss", x=np.arange(2000, 2100), y=np.zeros(100))
        for page in pages:
            await page.read_until(lambda page=page: page.points.get(0) == 2100)
            assert page.x[0] == list(range(2100))
        for page in pages:
            await hang_up(page.connection)

    asyncio.run(run())
