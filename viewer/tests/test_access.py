"""Who gets an answer from the viewer: names, the access token, pages of ours, and life behind a reverse proxy."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClientConnection, websocket_connect

from streamvis import DataLogger
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving
from streamvis_viewer.access import Access, is_loopback
from streamvis_viewer.addresses import parse_origin, parse_prefix
from streamvis_viewer.frames import Op, decode
from streamvis_viewer.server import WebOptions
from viewer.tests.sockets import hang_up

TOKEN = "correct horse&battery"


@pytest.fixture(scope="module")
def data() -> Iterator[str]:
    with data_serving("memory:") as server:
        with DataLogger("secret-run", grpc_uri=server.uri) as logger:
            logger.write("loss", x=1, y=2.0)
        yield server.uri


@contextmanager
def viewer(data: str, **options: Any) -> Iterator[str]:
    with serving("127.0.0.1:0", data, None, WebOptions(**options)) as url:
        yield url


@pytest.fixture(scope="module")
def open_url(data: str) -> Iterator[str]:
    with viewer(data, origins=("lab.example", "desk.example:8080")) as url:
        yield url


@pytest.fixture(scope="module")
def closed_url(data: str) -> Iterator[str]:
    with viewer(data, token=TOKEN) as url:
        yield url


def ask(
    url: str, path: str = "/", method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """One request, no redirect followed; headers as keywords with underscores."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def page_token(url: str, **headers: str) -> str:
    _, _, page = ask(url, "/plot?rows=loss", **headers)
    return page.partition('"token": "')[2].partition('"')[0]


def connect(url: str, token: str, query: str = "rows=loss", **headers: str) -> tuple[list[Op], int | None]:
    """The operations of the first frames up to a tick, or the code with which the socket was closed."""

    async def run() -> tuple[list[Op], int | None]:
        address = urllib.parse.urlsplit(url)._replace(scheme="ws").geturl()
        request = HTTPRequest(f"{address}/data?{query}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        socket: WebSocketClientConnection = await websocket_connect(request, subprotocols=["streamvis", token])
        seen: list[Op] = []
        while Op.TICK not in seen and isinstance(message := await socket.read_message(), bytes):
            seen.append(decode(message)[0])
        await hang_up(socket)
        return seen, socket.close_code

    found: tuple[list[Op], int | None] = IOLoop(make_current=False).run_sync(run, timeout=20)
    return found


# ---- names


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://localhost:8888", "localhost:8888", True),
        ("http://127.0.0.1:8888", "127.0.0.1:8888", True),
        ("http://[::1]:8888", "[::1]:8888", True),
        ("http://lab.example:8888", "lab.example:8888", True),
        ("https://lab.example", "localhost:8888", True),
        ("https://desk.example:8080", "localhost:8888", True),
        ("https://desk.example", "localhost:8888", False),
        ("http://evil.example:8888", "evil.example:8888", False),
        ("http://evil.example", "localhost:8888", False),
        ("http://localhost:9999", "localhost:8888", False),
        ("null", "localhost:8888", False),
        ("", "localhost:8888", False),
    ],
)
def test_only_our_own_pages_speak(origin: str, host: str, own: bool) -> None:
    """A foreign name that is pointed at this machine is refused, although origin and host agree."""
    assert Access(hosts=("lab.example", "Desk.example:8080")).is_own_origin(origin, host) is own


PAGES = ["/", "/plot?rows=loss", "/open?scope=secret-run", "/nothing"]
ROUTES = [*PAGES, "/catalog", "/trash", "/scopes/delete", "/csv", "/save", "/data"]


@pytest.mark.parametrize("path", [*ROUTES, "/assets/page.js"])
def test_a_foreign_name_gets_no_answer(open_url: str, path: str) -> None:
    """As when a page elsewhere points its own name at this machine to read ours."""
    status, _, page = ask(open_url, path, Host="evil.example")
    assert status == 403
    assert "--origin" in page
    assert "secret-run" not in page


def test_names_that_were_allowed_get_one(open_url: str) -> None:
    """With any port, or with the one that was given."""
    assert ask(open_url, Host="lab.example:1234")[0] == 200
    assert ask(open_url, Host="desk.example:8080")[0] == 200
    assert ask(open_url, Host="desk.example:8081")[0] == 403


@pytest.mark.parametrize(
    ("host", "alone"),
    [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("0.0.0.0", False), ("lab.example", False)],
)
def test_it_is_known_who_reaches_an_address(host: str, alone: bool) -> None:
    """The command warns when other machines do and no token is asked for."""
    assert is_loopback(host) is alone


# ---- the access token


@pytest.mark.parametrize("path", [*ROUTES, "/?token=wrong"])
def test_without_the_token_nothing_is_seen(closed_url: str, path: str) -> None:
    """Every route asks for it, with a page that has a field for it."""
    status, headers, page = ask(closed_url, path)
    assert status == 403
    assert 'name="token"' in page
    assert "secret-run" not in page
    assert "set-cookie" not in headers


def test_a_link_with_the_token_lets_a_browser_in(closed_url: str) -> None:
    """The token then disappears from the address; the cookie is out of the reach of scripts and other sites."""
    query = urllib.parse.urlencode({"rows": "loss", "token": TOKEN, "hide": "a&b"})
    status, headers, _ = ask(closed_url, f"/plot?{query}")
    assert (status, headers["location"]) == (302, "/plot?rows=loss&hide=a%26b")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Lax" in headers["set-cookie"]
    assert TOKEN not in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    status, _, page = ask(closed_url, "/plot?rows=loss", Cookie=cookie)
    assert status == 200
    assert cookie.partition("=")[2] not in page
    assert ask(closed_url, "/", Cookie=f"{cookie}x")[0] == 403


def test_the_form_lets_a_browser_in(closed_url: str) -> None:
    """To the page that was asked for; a wrong token is answered with the form again."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    status, headers, _ = ask(closed_url, "/plot?rows=loss", "POST", urllib.parse.urlencode({"token": TOKEN}), **form)
    assert (status, headers["location"]) == (302, "/plot?rows=loss")
    status, headers, page = ask(closed_url, "/plot?rows=loss", "POST", "token=wrong", **form)
    assert status == 403
    assert "not the viewer&#39;s" in page
    assert "set-cookie" not in headers


def test_the_login_leads_nowhere_else(closed_url: str) -> None:
    """A path that begins with two slashes would be another host."""
    query = urllib.parse.urlencode({"token": TOKEN})
    assert ask(closed_url, f"//evil.example/?{query}")[1]["location"] == "/evil.example/"


def test_a_program_sends_the_token_in_a_header(closed_url: str) -> None:
    """As an OAuth bearer token (RFC 6750)."""
    assert ask(closed_url, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(closed_url, Authorization="Bearer wrong")[0] == 403
    assert ask(closed_url, Authorization=TOKEN)[0] == 403


def test_a_token_in_the_address_of_an_open_viewer_does_no_harm(open_url: str) -> None:
    """An old bookmark still opens the page."""
    status, headers, _ = ask(open_url, "/?rows=loss&token=old")
    assert (status, headers["location"]) == (302, "/?rows=loss")
    assert "set-cookie" not in headers


# ---- what reads and changes the store


def test_only_a_page_of_ours_reads_the_catalog(open_url: str) -> None:
    """With its token, and not from elsewhere."""
    token = page_token(open_url)
    status, headers, text = ask(open_url, "/catalog", Streamvis_Page=token)
    assert status == 200
    assert "secret-run" in text
    assert headers["cache-control"] == "no-store"
    for wrong in ({}, {"Streamvis_Page": "rubbish"}, {"Streamvis_Page": token, "Origin": "http://evil.example"}):
        status, _, text = ask(open_url, "/catalog", **wrong)
        assert status == 403
        assert "secret-run" not in text


@pytest.mark.parametrize("path", ["/trash", "/save?rows=loss", "/csv"])
def test_only_a_page_of_ours_takes_data_out(open_url: str, path: str) -> None:
    """Whatever the method."""
    for method in ("GET", "POST"):
        status, _, text = ask(open_url, path, method, "{}" if method == "POST" else None)
        assert status == 403
        assert "secret-run" not in text


def test_only_a_page_of_ours_deletes(open_url: str) -> None:
    """What another site sends in a person's name changes nothing."""
    body = '{"scopes": ["secret-run"]}'
    for wrong in ({}, {"Streamvis_Page": page_token(open_url), "Origin": "http://evil.example"}):
        assert ask(open_url, "/scopes/delete", "POST", body, **wrong)[0] == 403
    assert "secret-run" in ask(open_url, "/catalog", Streamvis_Page=page_token(open_url))[2]


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"scopes": []}', '{"scopes": [1]}', '{"scopes": "secret-run"}', "\x00"]
)
def test_a_request_that_names_no_scopes_is_refused_with_a_line(open_url: str, body: str) -> None:
    """Status 400, and what was expected."""
    status, _, text = ask(open_url, "/scopes/delete", "POST", body, Streamvis_Page=page_token(open_url))
    assert status == 400
    assert "expected {scopes:" in text


def test_a_scope_that_does_not_exist_cannot_be_deleted(open_url: str) -> None:
    """The data server's line is passed on."""
    status, _, text = ask(
        open_url, "/scopes/delete", "POST", '{"scopes": ["none"]}', Streamvis_Page=page_token(open_url)
    )
    assert status == 409
    assert "none" in text


# ---- the data socket


def test_the_data_socket_serves_our_pages(open_url: str) -> None:
    """With a note of how things stand, first of all."""
    operations, code = connect(open_url, page_token(open_url))
    assert code is None
    assert operations[0] == Op.NOTE


@pytest.mark.parametrize("token", ["rubbish", "a.b", ".", "eyJzZXNzaW9uX2lkIjoiYSJ9.c2ln"])
def test_the_data_socket_refuses_a_token_that_we_did_not_sign(open_url: str, token: str) -> None:
    """It closes with a code that tells the page to reload."""
    assert connect(open_url, token) == ([], 4403)


def test_the_data_socket_refuses_the_token_of_another_process(open_url: str, data: str) -> None:
    """Such a page was open when the viewer was started anew."""
    with viewer(data) as other:
        assert connect(open_url, page_token(other)) == ([], 4403)


def test_the_data_socket_closes_on_an_address_that_is_no_page(open_url: str) -> None:
    """With a reason, cut where the protocol wants it, and never within a character."""
    assert connect(open_url, page_token(open_url), "rows=" + urllib.parse.quote("ü" * 300)) == ([], 4404)


def test_the_data_socket_refuses_foreign_origins(open_url: str) -> None:
    """Before it reads anything else."""
    with pytest.raises(HTTPClientError, match="403"):
        connect(open_url, page_token(open_url), Origin="http://evil.example")


def test_the_data_socket_asks_for_the_access_token(closed_url: str) -> None:
    """A page's token alone is not enough."""
    bearer = f"Bearer {TOKEN}"
    token = page_token(closed_url, Authorization=bearer)
    assert token
    with pytest.raises(HTTPClientError, match="403"):
        connect(closed_url, token)
    assert connect(closed_url, token, Authorization=bearer)[1] is None


def test_pages_load_nothing_from_elsewhere(open_url: str) -> None:
    """The browser is told so, too."""
    _, headers, page = ask(open_url, "/plot?rows=loss")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "https://" not in page


def test_a_method_that_an_address_does_not_take_is_a_page(open_url: str) -> None:
    """Not tornado's."""
    status, _, page = ask(open_url, "/", "DELETE")
    assert status == 405
    assert "does not take that" in page


# ---- arguments


@pytest.mark.parametrize(
    ("given", "read"), [("", ""), ("/", ""), ("a", "/a"), ("/a/", "/a"), ("/a/b.c-d~e_f", "/a/b.c-d~e_f")]
)
def test_prefixes_are_paths(given: str, read: str) -> None:
    """With or without slashes at their ends."""
    assert parse_prefix(given) == read


@pytest.mark.parametrize("given", ["a b", "/a?b", "/a//b", "/(", "http://a/"])
def test_other_prefixes_are_refused(given: str) -> None:
    """One line says what a prefix is."""
    with pytest.raises(ValueError, match="expected a path"):
        parse_prefix(given)


def test_origins_are_hosts() -> None:
    """As people paste them."""
    assert parse_origin("https://lab.example/") == "lab.example"
    assert parse_origin("lab.example:80") == "lab.example:80"
    for wrong in ("", "a b", "lab.example/path", "*"):
        with pytest.raises(ValueError, match="expected HOST"):
            parse_origin(wrong)
