"""`streamvis doctor`: what it says of servers that are well, unwell, absent or something else."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamvis import Client, DataLogger, __version__, codec, doctor, transport
from streamvis.cli import main
from streamvis.records import Metric, RunInfo, Stats
from streamvis.server import broadcast, checks, committer, meter, service, subscription
from streamvis.server import run as server_run
from streamvis.server.run import serving
from streamvis.storage import sqlite


@pytest.fixture(name="run")
def _run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["doctor", *arguments])
        assert isinstance(end.value.code, int)
        return (end.value.code, *capfd.readouterr())

    return run


def test_a_server_that_is_well_is_described(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """For people, for programs, and for Prometheus; nothing is wrong, so the exit code is 0."""
    with serving() as server:
        with DataLogger("run", server.uri, spool_dir=tmp_path) as logger:
            logger.write("loss", x=[1, 2, 3])
            logger.flush()
        code, out, err = run(server.uri)
        assert (code, err) == (0, "")
        assert re.search(rf"^streamvis {__version__} at {server.uri}, answers in .* ms$", out, re.MULTILINE)
        assert "2 stored, 0 refused, 0 failed, 0 waiting" in out
        assert "0 dropped" in out
        assert "3 points" in out
        code, out, _ = run(server.uri, "--json")
        found = json.loads(out)
        assert (code, found["problems"], found["version"]) == (0, [], __version__)
        assert {"name": "streamvis_points_total", "labels": {}, "value": 3.0} in found["metrics"]
        code, out, _ = run(server.uri, "--prometheus")
        assert code == 0
        assert "# TYPE streamvis_points_total counter\nstreamvis_points_total 3.0\n" in out


def test_the_docs_describe_every_metric() -> None:
    """Each stands in the table of docs/operations.md, and nothing else does."""
    page = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    table = page.partition("| metric | meaning |")[2].partition("\n\n")[0]
    described = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    with serving() as server, Client(server.uri) as client:
        assert {metric.name for metric in client.stats().metrics} == described


def test_the_docs_have_the_limits_of_the_code() -> None:
    """Those of the server in docs/operations.md, those of what is sent in docs/protocol.md."""
    docs = Path(__file__).parents[1] / "docs"
    rows = [
        f"one logger on their way to the disk | {service.MAX_IN_FLIGHT}, and {service.STREAM_BYTES >> 20} ",
        f"| batches of all loggers | {service.ALL_BYTES >> 20} MiB |",
        f"| a transaction | {committer.MAX_BATCHES} batches, about {committer.MAX_BYTES >> 20} MiB |",
        f"for live readers | {broadcast.MAX_BYTES >> 20} MiB, {broadcast.MAX_COMMITS:,} commits |",
        f"| the write-ahead log | about {sqlite.WAL_LIMIT >> 20} MiB",
        f"| streams of one connection | {dict(server_run._OPTIONS)['grpc.max_concurrent_streams']:,} |",
        f"of the last {meter.LATENCIES:,} batches",
    ]
    assert [row for row in rows if row not in (docs / "operations.md").read_text()] == []
    rows = [
        f"| a message | {transport.MESSAGE_LIMIT >> 20} MiB;",
        f"| a scope, a name, a column's name, a writer's id | {checks.MAX_TEXT_BYTES} bytes",
        f"| columns of a topic | {checks.MAX_COLUMNS} |",
        f"| a block | {checks.MAX_BLOCK_BYTES >> 20} MiB, 2¹⁶ indexes, 2²⁴ points,",
        f" 2²⁴ points, {codec.MAX_UNFOLDED_BYTES >> 20} MiB once its columns are spread",
        f"| the counters of a status | {checks.MAX_COUNTERS_BYTES >> 10} KiB",
        f"| interests of one subscription | {subscription.MAX_INTERESTS} |",
    ]
    assert [row for row in rows if row not in (docs / "protocol.md").read_text()] == []
    assert (codec.MAX_BLOCK_INDEXES, codec.MAX_BLOCK_POINTS) == (1 << 16, 1 << 24)


def test_metrics_are_written_as_prometheus_reads_them() -> None:
    """Each name is described once, whatever its labels; values keep all their digits."""
    metrics = [
        Metric("b_total", 2, "Bs.", counter=True, labels={"kind": "x"}),
        Metric("a_seconds", 0.1, "As."),
        Metric("b_total", 3, "Bs.", counter=True, labels={"kind": "y"}),
    ]
    assert list(doctor.prometheus(metrics)) == [
        "# HELP a_seconds As.",
        "# TYPE a_seconds gauge",
        "a_seconds 0.1",
        "# HELP b_total Bs.",
        "# TYPE b_total counter",
        'b_total{kind="x"} 2',
        'b_total{kind="y"} 3',
    ]


def test_every_metric_has_a_name_that_prometheus_takes() -> None:
    """And a description of one line."""
    with serving() as server:
        metrics = doctor.diagnose(server.uri).stats.metrics
    for metric in metrics:
        assert re.fullmatch(r"[a-z_]+", metric.name)
        assert metric.counter == metric.name.endswith("_total")
        assert "\n" not in metric.help


@pytest.mark.parametrize(
    ("metric", "version", "problem"),
    [
        (Metric("streamvis_batches_total", 2, "", labels={"result": "failed"}), None, "could not take 2 batches"),
        (Metric("streamvis_batches_dropped", 1, ""), None, "1 batches are unaccounted for"),
        (Metric("streamvis_commit_seconds", 3.0, "", labels={"quantile": "0.99"}), None, "takes 3.0 s"),
        (Metric("streamvis_subscriber_lag_seconds", 60.0, ""), None, "60 s behind"),
        (Metric("streamvis_writers", 1, ""), "9.9.9", f"the server is streamvis 9.9.9, this is {__version__}"),
    ],
)
def test_what_is_wrong_with_a_server_is_a_line_each(
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    metric: Metric,
    version: str | None,
    problem: str,
) -> None:
    """And the exit code is 1."""
    monkeypatch.setattr("streamvis.client.Client.stats", lambda _: Stats(version or __version__, (metric,)))
    monkeypatch.setattr("streamvis.client.Client.runs", lambda _: [])
    code, out, err = run("localhost:1")
    assert (code, err) == (1, "")
    (line,) = (line for line in out.splitlines() if line.startswith("problem: "))
    assert problem in line


@pytest.mark.parametrize(
    ("status", "counters", "problems"),
    [
        ("running", {"dropped": 7, "rejected": 0}, ["has lost 7 points"]),
        ("stalled", {"dropped": 0, "rejected": 2}, ["points of 2 names that the server refused"]),
        ("finished", {"dropped": 7, "sinks": {"mirror": {"errors": 3, "lag": 0.0}}}, []),
        (
            "running",
            {"sinks": {"mirror": {"errors": 3, "lag": 60.0}, "slow": {"errors": 0, "lag": 60.0}}},
            ["run24's sink mirror has failed 3 times", "run24's sink slow is 60 s behind"],
        ),
    ],
)
def test_what_a_live_run_reports_of_itself_is_a_line_each(
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    status: Any,
    counters: dict[str, Any],
    problems: list[str],
) -> None:
    """Losses, and sinks that fail or lag; of a run that has ended nothing."""
    monkeypatch.setattr("streamvis.client.Client.stats", lambda _: Stats(__version__, ()))
    monkeypatch.setattr(
        "streamvis.client.Client.runs", lambda _: [RunInfo("run24", status, 0.0, 0.0, counters=counters)]
    )
    code, out, _ = run("localhost:1")
    lines = [line for line in out.splitlines() if line.startswith("problem: ")]
    assert (code, len(lines)) == (int(bool(problems)), len(problems))
    assert all(problem in line for problem, line in zip(problems, lines, strict=True))


class _Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web() -> Iterator[str]:
    """A web server."""
    with HTTPServer(("127.0.0.1", 0), _Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """Something that accepts connections and says that, or nothing."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            if answer is not None:
                connection.sendall(answer)
                connection.close()

    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()


@contextmanager
def nothing() -> Iterator[str]:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"127.0.0.1:{port}"


@contextmanager
def other_grpc() -> Iterator[str]:
    """A gRPC server without a service of ours."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (nothing, "nothing listens at {uri}: start a server"),
        (web, "a web server answers at {uri}"),
        (partial(listening, b"220 mail.example ready\r\n"), "something answers at {uri}, but it is no data server"),
        (partial(listening, None), "{uri} lets no answer come within 0.5 s: its server hangs"),
        (other_grpc, "what answers at {uri} is no streamvis server, or one of another version"),
    ],
    ids=["nothing", "web server", "mail server", "hangs", "another gRPC server"],
)
def test_why_no_server_answers_is_one_line(
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[[], Iterator[str]],
    message: str,
) -> None:
    """Whatever there is instead, also if it says nothing at all."""
    monkeypatch.setattr(doctor, "TIMEOUT", 0.5)
    with start() as uri:  # type: ignore[attr-defined] # each makes a context
        code, out, err = run(uri)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {message.format(uri=uri)}")
    assert err.count("\n") == 1


def test_names_and_paths_that_do_not_exist_are_named(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """A host that cannot be found, a socket that is not there."""
    assert run("host.invalid:80")[2].startswith("Error: there is no host 'host.invalid'")
    assert run(f"unix:{tmp_path}/socket")[2].startswith(f"Error: nothing listens at unix:{tmp_path}/socket")
    assert run("nonsense")[0] == 2
