"""The `streamvis` program, against a real data server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import pytest

from streamvis.cli import main, program

DEADLINE = 60.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture(name="run")
def _run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capfd.readouterr()
        assert isinstance(end.value.code, int)
        return Done(end.value.code, out, err)

    return run


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The program in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamvis", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_with(process: subprocess.Popen[str], pattern: str) -> str:
    """What the first group matches in the first line that fits; the process ends or times out otherwise."""
    assert process.stdout
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(f"no line like {pattern!r}: {process.stderr and process.stderr.read()}")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(name="uri", scope="module")
def _uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    prefix = tmp_path_factory.mktemp("data") / "test"
    with started("grpc-serve", str(prefix), "0") as server:
        yield line_with(server, r"^data server on (\S+), data in .*test\.sqlite$")
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) == 0


@pytest.fixture(name="logged", scope="module")
def _logged(uri: str) -> str:
    """The server's address; it has scope run24 with two names, and scope other."""
    from streamvis import DataLogger

    with DataLogger("run24", uri) as logger:
        logger.write_config({"lr": 1e-3, "optimizer": {"name": "sgd"}})
        logger.write("loss", x=[1, 2, 3], y=[0.5, 0.25, 0.125])
        logger.write("waves", x=[1, 2], y=[[0.5, 1.0], [2.0, 3.0]])
    with DataLogger("other", uri) as logger:
        logger.write("loss", x=1, y=0.5)
    return uri


# ---- help


def commands() -> list[str]:
    return program.list_commands(click.Context(program))


def test_the_program_has_the_commands_of_its_contract() -> None:
    """None is missing; the viewer's come from its package."""
    core = (
        "config counts delete demo doctor du export grpc-serve logging-demo logging-demo-async names plugins purge "
        "push restore scopes serve trash"
    )
    assert {*core.split(), "web-serve"} <= set(commands())


def test_sizes_are_told_of_scopes_names_and_the_trash(uri: str, run: Callable[..., Done], tmp_path: Path) -> None:
    """The largest first, with a total; what was deleted with its time, so that it can be restored."""
    from streamvis import DataLogger

    for scope, names in (("sized", ("a", "b")), ("small", ("a",))):
        with DataLogger(scope, uri, spool_dir=tmp_path) as logger:
            for name in names:
                logger.write(name, x=list(range(1000 if scope == "sized" else 10)))
    run("delete", uri, "sized", "b")
    done = run("du", uri, "--match", "^s(ized|mall)$")
    assert (done.code, done.err) == (0, "")
    assert [re.search(r"points  (\S+)", line)[1] for line in done.lines] == ["sized", "small", "total"]  # type: ignore[index]
    assert " 1,000 points  sized  (and " in done.lines[0]
    assert done.lines[0].endswith(" in the trash)")
    assert " 1,010 points  total of 2" in done.lines[2]
    (whole,) = json.loads(run("du", uri, "--match", "^sized$", "--json").out)
    assert (whole["scope"], whole["live"]["topics"], whole["trash"]["points"]) == ("sized", 1, 1000)
    assert [line.split()[-1] for line in run("du", uri, "small").lines] == ["a"]
    names = {size["name"]: size for size in json.loads(run("du", uri, "sized", "--json").out)}
    assert (names["a"]["live"]["points"], names["b"]["trash"]["points"]) == (1000, 1000)
    assert run("du", uri, "none").err.startswith(f"Error: {uri} has no scope 'none'")
    (line,) = run("trash", uri, "sized").lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d.*B? +1,000 points  sized  b", line.replace("bytes", "B"))
    (topic,) = json.loads(run("trash", uri, "sized", "--json").out)
    assert abs(topic["deleted"] - time.time()) < 600
    run("delete", uri, "sized")
    run("purge", uri, "sized")
    assert run("trash", uri, "sized").lines == []


def test_help_of_every_command_has_an_example(run: Callable[..., Done]) -> None:
    """`--help` succeeds and shows a command line to copy."""
    for name in commands():
        done = run(name, "--help")
        assert done.code == 0
        assert "Example:" in done.out, name
        assert f"streamvis {name}" in done.out.partition("Example:")[2], name


def test_without_arguments_it_shows_its_help(run: Callable[..., Done]) -> None:
    """`streamvis` alone is `streamvis --help`."""
    assert run().out == run("--help").out


def test_help_imports_no_framework() -> None:
    """Listing the commands, plugins' included, loads neither Bokeh nor torch nor jax nor gRPC."""
    heavy = ("bokeh", "torch", "jax", "lightning", "flax", "grpc", "tornado")
    code = f"""
import sys
from streamvis.cli import main
try: main(["--help"])
except SystemExit: pass
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "web-serve" in done.stdout
    assert done.stderr == "[]\n"


def test_version(run: Callable[..., Done]) -> None:
    """`--version` names program and version."""
    assert re.fullmatch(r"streamvis, version \d+\.\d+\.\d+\S*\n", run("--version").out)


# ---- bad arguments


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "nonsense"),
        (["--nonsense"], "--nonsense"),
        (["scopes"], "GRPC_URI"),
        (["scopes", "nonsense"], "host:port or unix:path"),
        (["scopes", "http://localhost:8081"], "host:port or unix:path"),
        (["names", "localhost:1"], "SCOPE"),
        (["counts", "localhost:1", "run24", "more"], "more"),
        (["grpc-serve", "data", "http"], "PORT"),
        (["grpc-serve", "data", "70000"], "65535"),
        (["grpc-serve", "", "0"], "names no file"),
        (["logging-demo"], "[GRPC_URI] SCOPE [NUM_STEPS]"),
        (["logging-demo", "localhost:1"], "[GRPC_URI] SCOPE [NUM_STEPS]"),
        (["logging-demo", "localhost:1", "run24", "many"], "'many'"),
        (["logging-demo-async", "a", "1", "b"], "[GRPC_URI] SCOPE [NUM_STEPS]"),
        (["push", "/no/such/directory"], "/no/such/directory"),
        (["export", "localhost:1", "run24", "--output", "points.xlsx"], ".csv or .parquet"),
        (["export", "localhost:1", "run24", "--output", "/no/such/folder/points.csv"], "/no/such/folder"),
        (["demo", "--seconds", "-1"], "--seconds"),
        (["serve", "/no/such/schema.yaml"], "/no/such/schema.yaml"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(arguments: list[str], says: str, run: Callable[..., Done]) -> None:
    """The line names what was found or expected."""
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert re.fullmatch(r"Error: [^\n]+\n", done.err)
    assert says in done.err


def test_a_bad_pattern_is_a_bad_argument(logged: str, run: Callable[..., Done]) -> None:
    """RE2's refusal is passed on in one line."""
    for arguments in (["scopes", logged], ["names", logged, "run24"], ["config", logged, "run24"]):
        done = run(*arguments, "--match", "(")
        assert done.code == 2
        assert re.fullmatch(r"Error: [^\n]*\([^\n]*\n", done.err)


@pytest.mark.parametrize("command", ["names", "counts", "config", "delete", "restore", "purge", "export"])
def test_an_unknown_scope_is_an_error(command: str, logged: str, run: Callable[..., Done]) -> None:
    """It is named, with exit code 1."""
    done = run(command, logged, "no-such-run")
    assert done.code == 1
    assert re.fullmatch(r"Error: [^\n]*no-such-run[^\n]*\n", done.err)


def test_a_server_that_is_away_is_an_error(run: Callable[..., Done]) -> None:
    """The line names its address."""
    done = run("scopes", "localhost:1")
    assert done.code == 1
    assert re.fullmatch(r"Error: [^\n]*localhost:1[^\n]*\n", done.err)


# ---- servers


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """It ends with one line, and the first goes on."""
    with started("grpc-serve", f"{tmp_path}/data", "0") as first:
        line_with(first, r"data server on (\S+),")
        with started("grpc-serve", f"{tmp_path}/data", "0") as second:
            _, err = second.communicate(timeout=DEADLINE)
        assert second.returncode == 1
        assert re.fullmatch(r"Error: [^\n]+\n", err)
        assert first.poll() is None


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """The line names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started("grpc-serve", f"{tmp_path}/data", port) as server:
            _, err = server.communicate(timeout=DEADLINE)
    assert server.returncode == 1
    assert re.fullmatch(rf"Error: [^\n]*{port}[^\n]*\n", err)


def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Nothing is written to it."""
    path = tmp_path / "data.sqlite"
    path.write_text("somebody's notes " * 100)
    with started("grpc-serve", f"{tmp_path}/data", "0") as server:
        _, err = server.communicate(timeout=DEADLINE)
    assert server.returncode == 1
    assert re.fullmatch(r"Error: [^\n]*data\.sqlite[^\n]*\n", err)
    assert path.read_text() == "somebody's notes " * 100


def test_web_serve_without_the_viewer_says_what_to_install(run: Callable[..., Done]) -> None:
    """The commands that need the viewer name its package when it is away."""
    for arguments in (["web-serve", "localhost:8888", "localhost:8081"], ["serve"], ["demo"]):
        done = run("--no-plugin", "viewer", *arguments)
        assert done.code in (1, 2)
        assert re.fullmatch(r"Error: [^\n]*pip install streamvis-viewer[^\n]*\n", done.err)


def test_uninstalling_the_viewer_takes_its_commands_away(tmp_path: Path) -> None:
    """Where its distribution is not installed, `web-serve` is gone and the rest works."""
    installed = Path(click.__file__).parents[1]
    for entry in installed.iterdir():
        if "streamvis_viewer" not in entry.name and entry.suffix != ".pth":
            (tmp_path / entry.name).symlink_to(entry)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "streamvis", "--help"],  # -S: only what PYTHONPATH names is installed
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "grpc-serve" in done.stdout
    assert "web-serve" not in done.stdout


# ---- reading and changing


def test_scopes(logged: str, run: Callable[..., Done]) -> None:
    """Oldest first; --match selects, --json is for programs."""
    found = [line.split("\t")[0] for line in run("scopes", logged).lines]
    assert found.index("run24") < found.index("other")
    scope, status, when, names, points, _ = run("scopes", logged, "--match", "^run").lines[0].split("\t")
    assert (scope, status, names) == ("run24", "finished", "2")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", when)
    assert int(points) > 0
    others = json.loads(run("scopes", logged, "--match", "!^run", "--json").out)
    assert "run24" not in [other["scope"] for other in others]


def test_names(logged: str, run: Callable[..., Done]) -> None:
    """The names of one scope."""
    assert run("names", logged, "run24").lines == ["loss", "waves"]
    assert run("names", logged, "run24", "--match", "^w").lines == ["waves"]
    assert json.loads(run("names", logged, "run24", "--json").out) == ["loss", "waves"]


def test_counts(logged: str, run: Callable[..., Done]) -> None:
    """A line per series, with the length of each column."""
    assert run("counts", logged, "run24").lines == [
        "run24\tloss\t0\tx:3 y:3",
        "run24\twaves\t0\tx:2 y:2",
        "run24\twaves\t1\tx:2 y:2",
    ]
    assert json.loads(run("counts", logged, "run24", "--match", "loss", "--json").out) == [
        {"scope": "run24", "name": "loss", "index": 0, "columns": {"x": 3, "y": 3}}
    ]


def test_config(logged: str, run: Callable[..., Done]) -> None:
    """A line per value under its dotted key, or the whole as JSON."""
    assert run("config", logged, "run24").lines == ["lr: 0.001", 'optimizer.name: "sgd"']
    assert run("config", logged, "run24", "--match", "^opt").lines == ['optimizer.name: "sgd"']
    assert json.loads(run("config", logged, "run24", "--json").out) == {"lr": 1e-3, "optimizer": {"name": "sgd"}}
    assert run("config", logged, "other").lines == []


def test_delete(uri: str, run: Callable[..., Done]) -> None:
    """Names, then the whole scope."""
    from streamvis import DataLogger

    with DataLogger("doomed", uri) as logger:
        for name in ("a", "b", "c"):
            logger.write(name, x=1)
    assert "1" in run("delete", uri, "doomed", "a").out
    assert run("names", uri, "doomed").lines == ["b", "c"]
    assert run("delete", uri, "doomed", "--json").out == "2\n"
    assert "doomed" not in run("scopes", uri).lines


def test_restore_and_purge(uri: str, run: Callable[..., Done]) -> None:
    """What was deleted comes back, by name or all of it, unless the name is taken; purged, it is gone for good."""
    from streamvis import DataLogger

    def write(name: str) -> None:
        with DataLogger("trash", uri) as logger:
            logger.write(name, x=1)

    for name in ("a", "b", "c"):
        write(name)
    run("delete", uri, "trash")
    assert run("restore", uri, "trash", "b").lines == ["restored 1 of scope trash"]
    assert run("names", uri, "trash").lines == ["b"]
    assert run("restore", uri, "trash", "--json").out == "2\n"
    run("delete", uri, "trash", "a", "b")
    write("a")
    refused = run("restore", uri, "trash")
    assert refused.code == 1
    assert re.fullmatch(r"Error: scope 'trash' has a live topic 'a'[^\n]*\n", refused.err)
    assert run("purge", uri, "trash", "b").lines == ["purged 1 of scope trash"]
    assert run("purge", uri, "trash", "--json").out == "1\n"
    assert run("names", uri, "trash").lines == ["c", "a"]


@pytest.mark.parametrize("command", ["logging-demo", "logging-demo-async"])
def test_logging_demos(command: str, uri: str, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both write the cloud and the waves; without GRPC_URI the environment's counts."""
    assert "Logged step=20" in run(command, uri, f"{command}-1", "30", "--delay", "0").out
    monkeypatch.setenv("STREAMVIS_GRPC_URI", uri)
    assert run(command, f"{command}-2", "10", "--delay", "0").code == 0
    assert run("counts", uri, f"{command}-1", "--match", "cloud").lines == [
        f"{command}-1\tcloud\t0\tt:30000 x:30000 y:30000"
    ]
    assert len(run("counts", uri, f"{command}-2", "--match", "sinusoidal").lines) == 4


def test_push_sends_a_spool_once(
    uri: str, run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a logger left while the server was away arrives, and pushing again adds nothing."""
    from streamvis import DataLogger

    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    with DataLogger("spooled", nobody, spool_dir=tmp_path / "spool", stop_timeout=1.0) as logger:
        for step in range(5):
            logger.write("loss", x=step)
    monkeypatch.setenv("STREAMVIS_GRPC_URI", uri)
    assert int(run("push", str(tmp_path / "spool"), "--json").out) > 0
    assert run("counts", uri, "spooled").lines == ["spooled\tloss\t0\tx:5"]
    run("push", str(tmp_path / "spool"), uri)
    assert run("counts", uri, "spooled").lines == ["spooled\tloss\t0\tx:5"]


def test_plugins_are_listed(run: Callable[..., Done]) -> None:
    """Name, version and hooks, of the built-in part too; a plugin left out is not listed."""
    listed = {plugin["name"]: plugin for plugin in json.loads(run("plugins", "--json").out)}
    assert listed["streamvis"]["hooks"] == ["streamvis_adapters", "streamvis_stores"]
    assert "streamvis_commands" in listed["viewer"]["hooks"]
    assert all(not plugin["problems"] for plugin in listed.values())
    assert not any(line.startswith("viewer") for line in run("--no-plugin", "viewer", "plugins").lines)
    done = run("--no-plugin", "viever", "plugins")
    assert (done.code, done.lines) == (2, [])
    assert "no plugin is called 'viever'; there are" in done.err


# ---- all together


def data_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
def test_the_demo_trains_and_ends_with_all_its_processes() -> None:
    """Its data server fills while the page is up; SIGTERM ends the demo and both servers."""
    from urllib.request import urlopen

    from streamvis import Client

    with started("demo", "--no-browser") as demo:
        uri = line_with(demo, r"data server on (\S+),")
        page = line_with(demo, r"^\s+(http://\S+)$")
        children = data_of(demo)
        with urlopen(page, timeout=DEADLINE) as answer:
            assert answer.status == 200
        with Client(uri) as client:
            wait_until(lambda: "val/accuracy" in (client.names("digits") if client.scopes() else []))
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(DEADLINE) == 0
    assert len(children) == 2
    wait_until(lambda: not any(child.is_running() for child in children))


@pytest.mark.slow
def test_the_demo_keeps_its_data_where_it_is_told(tmp_path: Path) -> None:
    """--seconds ends it by itself; the directory then has the run."""
    with started("demo", "--no-browser", "--seconds", "3", str(tmp_path / "kept")) as demo:
        demo.communicate(timeout=DEADLINE)
    assert demo.returncode == 0
    assert (tmp_path / "kept" / "demo.sqlite").stat().st_size > 0


@pytest.mark.slow
def test_serve_runs_both_and_says_when_one_ends(tmp_path: Path) -> None:
    """A server that dies is an error of the whole, and the other ends too."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [str(server.getsockname()[1]) for server in (one, two)]
    with started("serve", "--data", f"{tmp_path}/data", "--grpc-port", ports[0], "--web-port", ports[1]) as serve:
        assert ports[1] in line_with(serve, r"open (http://\S+)")
        children = data_of(serve)
        children[0].kill()
        assert serve.wait(DEADLINE) == 1
        assert serve.stderr
        assert "Error: streamvis " in serve.stderr.read()
    wait_until(lambda: not any(child.is_running() for child in children))
