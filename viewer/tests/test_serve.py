"""The viewer as a program: its command, and its pages without a browser."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamvis import DataLogger
from streamvis.cli import main
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving
from streamvis_viewer.layout import KEYS
from streamvis_viewer.server import WebOptions

SCHEMA = "loss: {columns: [x, y], figure_kwargs: {title: Loss}}\ncloud: {columns: [x, y], glyph_kind: scatter}\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("schema") / "plots.yaml"
    path.write_text(SCHEMA)
    with data_serving("memory:") as server:
        with DataLogger("<b>run</b>", grpc_uri=server.uri) as logger:
            logger.write("loss & more", x=1, y=2.0)
        with serving("127.0.0.1:0", server.uri, path) as address:
            yield address


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("rows=nothing", "the plot &#39;nothing&#39;"),
        ("rows=loss&cols=cloud", "exactly one of them"),
        ("rows=loss&width=1,2", "2 in &#39;1,2&#39;"),
        ("rows=loss&height=-1", "positive numbers"),
        ("rows=loss&axes=log", "lin, xlog, ylog, xylog"),
        ("rows=loss&scopes=(", "RE2"),
        ("rows=loss&names=a&names=b", "once for all plots"),
        ("rows=loss&foo=1", "an unknown key"),
        ("rows=loss&color=z", "letters of s, n, i"),
        ("rows=<script>alert(1)</script>", "&lt;script&gt;"),
        ("rows=loss&colr=s", "color, perhaps; keys among"),
        ("rows=losss", "loss, perhaps; plots among loss, cloud"),
    ],
)
def test_a_wrong_address_is_answered_with_a_page_that_says_why(url: str, query: str, says: str) -> None:
    """Status 400, what was found, what was expected, and links to the plots that there are."""
    status, page = get(f"{url}/?{urllib.parse.quote(query, safe='=&;,()')}")
    assert status == 400
    assert says in page
    assert 'href="/plot?rows=loss"' in page
    assert "Traceback" not in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("key", [*KEYS, "k" * 10_000])
def test_a_very_long_value_is_shown_in_part(url: str, key: str) -> None:
    """Of every key: status 400, and a page that is no longer for it."""
    value = "(" * 100_000
    query = urllib.parse.urlencode({"rows": "loss", key: value})
    status, page = get(f"{url}/plot?{query}")
    if key in {"filter", "ignore", "x"}:
        assert status == 200  # any name of a column
        return
    assert status == 400
    assert f"<code>{key[:70]}" in page
    assert ("(" * 70 in page) is (key in KEYS and key != "cols")
    assert "(" * 100 not in page.partition('class="problems"')[2]


def test_an_address_may_be_very_long(url: str) -> None:
    """It names each run that is hidden."""
    query = urllib.parse.urlencode([("rows", "loss"), *(("hide", f"l:{'run' * 50}{n}") for n in range(10_000))])
    status, page = get(f"{url}/plot?{query}")
    assert (status, "runrun9999" in page) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        "nothing/here",
        "open?scope=%ff",
        "open?name=%ff",
        "assets/nope.js",
        "assets/../../schema.py",
        "assets/",
        "bokeh/no.js",
    ],
)
def test_addresses_that_do_not_exist_are_a_page_too(url: str, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Status 404, or 403, and a way back; nothing of it is a failure."""
    status, page = get(f"{url}/{path}")
    assert status in {403, 404}
    assert 'href="/"' in page
    assert "failed" not in page
    assert capfd.readouterr().err == ""


def test_a_token_that_is_no_text_is_wrong(url: str) -> None:
    """And no failure; without a token of its own the viewer does not look at it."""
    assert get(f"{url}/?token=%ff")[0] == 200
    with serving("127.0.0.1:0", "127.0.0.1:1", None, WebOptions("right")) as closed:
        status, page = get(f"{closed}/?token=%ff")
    assert status == 403
    assert "This token is not the viewer" in page


def test_the_plot_page_is_self_contained(url: str) -> None:
    """The guard comes before every other script, and nothing is loaded from elsewhere."""
    status, page = get(f"{url}/?rows=loss,cloud&gl=off")
    assert status == 200
    assert page.index("getContext") < page.index("bokeh.min.js")
    assert "https://" not in page
    assert page.count("data-key=") == 2


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        main(["web-serve", *arguments])
    return caught.value.code, capsys.readouterr().err


def test_wrong_arguments_are_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad address, a bad schema, a missing schema."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("loss:\n  columns: [x, y]\n  glyph_kind: pie\n")
    for arguments, says in (
        (("nowhere", "localhost:1"), "expected HOST:PORT"),
        (("localhost:0", "elsewhere"), "found the data server's address 'elsewhere'"),
        (
            ("localhost:0", "localhost:1", str(bad)),
            f"{bad}, line 3: loss.glyph_kind: found 'pie'; allowed: heatmap, line, scatter, step",
        ),
        (("localhost:0", "localhost:1", str(tmp_path / "none.yaml")), "cannot be read"),
    ):
        code, error = run(*arguments, capsys=capsys)
        assert code == 2
        assert says in error
        assert error.count("\n") == 1


def test_a_schema_with_many_faults_is_a_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And exit code 2."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("loss:\n  colums: [x, y]\n  glyph_kind: pie\n")
    code, error = run("localhost:0", "localhost:1", str(bad), capsys=capsys)
    assert code == 2
    assert [line.partition(": found")[0] for line in error.splitlines()] == [
        f"Error: {bad}, line 2: loss.colums",
        f"Error: {bad}, line 3: loss.glyph_kind",
    ]


def test_a_port_in_use_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = run(f"127.0.0.1:{port}", "localhost:1", capsys=capsys)
    assert code == 1
    assert f"cannot listen at 127.0.0.1:{port}: address already in use" in error
    assert error.count("\n") == 1


def test_the_command_says_when_it_is_ready_and_ends_on_a_signal() -> None:
    """Also while the data server is away; then the page says so."""
    arguments = [sys.executable, "-m", "streamvis", "web-serve", "127.0.0.1:0", "127.0.0.1:1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("viewer on http://127.0.0.1:")
        status, page = get(line.split()[-1])
        assert status == 200
        assert 'id="empty"' in page
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_listing_commands_imports_no_bokeh() -> None:
    """`streamvis --help` stays quick with the viewer installed."""
    script = (
        "import sys, json; from streamvis.plugins import default; "
        "names = [c.name for _, cs in default().call('streamvis_commands') for c in cs]; "
        "print(json.dumps([names, 'bokeh' in sys.modules, 'tornado' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["web-serve", "save-page"], False, False]
