"""The example of a plugin, installed by pip into an environment of its own and used through its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from streamvis import Client
from streamvis.server.run import ServerThread, serving

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"

Python: TypeAlias = Callable[..., str]

RED = [228, 26, 28]  # the first of Set1

LOG = """
import sys
from decimal import Decimal
from fractions import Fraction
from streamvis import DataLogger

with DataLogger("run24", sys.argv[1], spool_dir=sys.argv[2]) as logger:
    logger.write_config({"lr": 1})
    for step in range(1, 3):
        logger.write("loss", x=step, y=Fraction(1, 2 * step), exact=Decimal("0.125"))
    assert logger.stats()["sinks"].keys() == {"example"}
"""

TIME = """
import sys
import streamvis

watch = streamvis.create("stopwatch", scope="timed", grpc_uri=sys.argv[1])
for step in range(3):
    for name in ("load", "learn", "load"):
        with watch.part(name):
            pass
    watch.step()
watch.stop()
"""

SERVE = """
import sys
from streamvis_viewer import serving
from pathlib import Path

with serving("127.0.0.1:0", sys.argv[1], Path(sys.argv[2])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="interpreter", scope="module")
def _interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a new environment which has what this one has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


@pytest.fixture(name="python", scope="module")
def _python(interpreter: Path) -> Python:
    """Runs that interpreter, once the example is installed there; gives what it prints."""

    def python(*arguments: str | Path, **environment: str) -> str:
        variables = {**os.environ, **environment}
        ran = subprocess.run(
            [interpreter, *arguments], capture_output=True, text=True, timeout=100, env=variables, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    python("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", EXAMPLE)
    return python


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="lines", scope="module")
def _lines(python: Python, server: ServerThread, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the example's sink wrote of a run that logged numbers of the example's types."""
    folder = tmp_path_factory.mktemp("run")
    python("-c", LOG, server.uri, folder / "spool", STREAMVIS_EXAMPLE_FILE=str(folder / "lines"))
    return (folder / "lines").read_text().splitlines()


def test_it_is_listed_without_problems(python: Python) -> None:
    """`streamvis plugins` shows its version and its hooks."""
    listed = {plugin["name"]: plugin for plugin in json.loads(python("-m", "streamvis", "plugins", "--json"))}
    assert listed["example"] == {
        "name": "example",
        "version": "1.0",
        "hooks": [
            "streamvis_adapters",
            "streamvis_array_types",
            "streamvis_commands",
            "streamvis_glyphs",
            "streamvis_sinks",
        ],
        "adapters": ["stopwatch"],
        "problems": [],
    }


@pytest.mark.usefixtures("lines")
def test_its_array_type_is_stored(server: ServerThread) -> None:
    """Types that core does not know arrive as the columns that their adapter describes."""
    with Client(server.uri) as client:
        columns = client.fetch("run24", "loss")["run24", "loss", 0]
    assert {name: (values.dtype.name, values.tolist()) for name, values in columns.items()} == {
        "x": ("int64", [1, 2]),
        "y": ("float64", [0.5, 0.25]),
        "exact": ("float64", [0.125, 0.125]),
    }


def test_its_adapter_is_created_by_name(python: Python, server: ServerThread, tmp_path: Path) -> None:
    """`streamvis.create` makes it with the arguments given, and what it logs arrives."""
    python("-c", TIME, server.uri, XDG_STATE_HOME=str(tmp_path))
    with Client(server.uri) as client:
        points = client.fetch("timed")
    assert [(name, columns["step"].tolist()) for (_, name, _), columns in sorted(points.items())] == [
        ("seconds/learn", [0, 1, 2]),
        ("seconds/load", [0, 1, 2]),
    ]


def test_its_sink_gets_what_is_logged(lines: list[str]) -> None:
    """Every point and the hyperparameters are in its file."""
    assert [json.loads(line) for line in lines] == [
        {"scope": "run24", "config": {"lr": 1}},
        {"scope": "run24", "name": "loss", "index": 0, "exact": 0.125, "x": 1, "y": 0.5},
        {"scope": "run24", "name": "loss", "index": 0, "exact": 0.125, "x": 2, "y": 0.25},
    ]


@pytest.mark.usefixtures("lines")
def test_its_command_works(python: Python, server: ServerThread) -> None:
    """It is in the help and does what it says."""
    assert "Print the last point of each series" in python("-m", "streamvis", "--help")
    assert python("-m", "streamvis", "last", server.uri, "run24") == "loss\t0\texact=0.125 x=2 y=0.25\n"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.usefixtures("lines", "python")
def test_its_glyph_draws_a_plot(
    interpreter: Path, server: ServerThread, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """A schema may name it, with its options, and the page draws it: three times as wide, more than twice the ink."""
    from viewer.tests.layer_page import INK, chromium

    ink = {}
    for width in (4, 12):
        plots = tmp_path / f"{width}.yaml"
        options = (
            f"columns: [x, y], ignore: [exact], glyph_kwargs: {{line_width: {width}.0}}, color: {{palette: Set1_3}}"
        )
        plots.write_text(f"loss: {{glyph_kind: stems, {options}}}\n")
        command = [interpreter, "-c", SERVE, server.uri, plots]
        with (
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as viewer,
            chromium() as browser,
        ):
            assert viewer.stdout
            assert viewer.stdin
            page = browser.new_page()
            page.goto(f"{viewer.stdout.readline().strip()}/?rows=loss")
            wait_until(lambda page=page: page.evaluate(INK, ["p0", RED]) > 100, 60)
            ink[width] = page.evaluate(INK, ["p0", RED])
            viewer.stdin.close()
    assert ink[12] > 2 * ink[4]


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--no-plugin", "example"], {}),
        ([], {"STREAMVIS_PLUGINS": "viewer"}),
        ([], {"STREAMVIS_NO_PLUGINS": "example"}),
    ],
)
def test_it_can_be_left_out(python: Python, options: list[str], environment: dict[str, str]) -> None:
    """By an option or by the environment."""
    listed = json.loads(python("-m", "streamvis", *options, "plugins", "--json", **environment))
    assert "example" not in [plugin["name"] for plugin in listed]
    assert "viewer" in [plugin["name"] for plugin in listed]


def test_uninstalling_it_takes_away_what_it_brought(python: Python) -> None:
    """Afterwards streamvis is as it was without it."""
    python("-m", "pip", "uninstall", "--quiet", "--yes", "streamvis-example")
    try:
        assert "example" not in python("-m", "streamvis", "plugins")
        assert "last" not in python("-m", "streamvis", "--help").split()
        assert "stopwatch" not in python("-m", "streamvis", "plugins")
    finally:
        python("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", EXAMPLE)
