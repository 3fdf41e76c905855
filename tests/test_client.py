"""What readers call: Client, Points, Subscription and the functions of `script`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamvis
from streamvis import script, transport, wire
from streamvis.client import Client, Points
from streamvis.codec import encode
from streamvis.columns import Array, Block
from streamvis.errors import ConflictError, NotFoundError, StateError, UnavailableError, UsageError
from streamvis.points import join_series
from streamvis.records import Batch, Declaration, Query
from streamvis.reduce import Reduction
from streamvis.server.run import ServerThread, serving

WAIT = 20.0
NOBODY = "127.0.0.1:1"


class Writer:
    """Writes columns under a scope and a name, each in a batch of its own."""

    def __init__(self, uri: str, writer: str = "w") -> None:
        self._uri = uri
        self._writer = writer
        self._number = 0

    def write(self, scope: str, name: str, index: int = 0, /, **columns: Any) -> None:
        self._number += 1
        arrays = {key: np.atleast_2d(np.asarray(value)) for key, value in sorted(columns.items())}
        declaration = Declaration(1, scope, name, tuple(arrays))
        block = encode(Block(1, index, arrays))
        with transport.open_channel(self._uri) as channel:
            batch = Batch(self._writer, self._number, (declaration,), (), (block,))
            (ack,) = transport.open_stub(channel).Write(iter([wire.batch_to_pb(batch)]))
        assert wire.ack_from_pb(ack).stored
        assert not ack.rejected


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with serving() as server:
        yield server


@pytest.fixture
def client(server: ServerThread) -> Iterator[Client]:
    with Client(server.uri) as client:
        yield client


@pytest.fixture
def writer(server: ServerThread) -> Writer:
    return Writer(server.uri)


# ---- joining blocks


def block(index: int, **columns: Any) -> Block:
    return Block(1, index, {name: np.asarray(values) for name, values in columns.items()})


def test_a_series_takes_the_common_type() -> None:
    """Ints, then floats read as floats; nothing is narrowed."""
    joined = join_series([block(0, x=[[1, 2]], y=[[1]]), block(0, x=[[0.5]], y=[[2**40]])])
    assert joined[0]["x"].tolist() == [1.0, 2.0, 0.5]
    assert joined[0]["x"].dtype == np.float64
    assert joined[0]["y"].tolist() == [1, 1, 2**40]


def test_a_column_without_index_axis_is_shared() -> None:
    """The step of a thousand series is kept once, and nobody can change it for the others."""
    joined = join_series([block(0, step=[[1, 2]], y=np.zeros((1000, 2))), block(0, step=[[3]], y=np.ones((1000, 1)))])
    assert len(joined) == 1000
    assert np.shares_memory(joined[0]["step"], joined[999]["step"])
    assert joined[7]["step"].tolist() == [1, 2, 3]
    assert joined[7]["y"].tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="read-only"):
        joined[0]["step"][0] = 9


SHAPES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 4), st.booleans(), st.booleans(), st.booleans()),
    max_size=8,
)


@given(SHAPES)
def test_joining_equals_appending_point_by_point(shapes: list[tuple[int, int, int, bool, bool, bool]]) -> None:
    """However indexes and broadcasting overlap, each series has its points in order."""
    blocks, expected = [], dict[int, dict[str, list[float]]]()
    for number, (first, k, n, x_rows, x_points, y_float) in enumerate(shapes):
        x: Array = 100 * number + np.arange((k if x_rows else 1) * (n if x_points else 1), dtype="<i8")
        x = x.reshape(k if x_rows else 1, n if x_points else 1)
        y = (number + np.arange(k * n).reshape(k, n)).astype("<f8" if y_float else "<i4")
        blocks.append(block(first, x=x, y=y))
        for row in range(k):
            series = expected.setdefault(first + row, {"x": [], "y": []})
            series["x"] += np.broadcast_to(x, (k, n))[row].tolist()
            series["y"] += y[row].tolist()
    joined = join_series(blocks)
    assert {i: {name: values.tolist() for name, values in s.items()} for i, s in joined.items()} == expected
    for series in joined.values():
        assert {values.shape for values in series.values()} == {(len(series["x"]),)}


# ---- reading


def test_fetch_selects_by_exact_names(client: Client, writer: Writer) -> None:
    """Scope and name are names, not patterns; series come by index."""
    writer.write("run", "loss", x=[1, 2], y=[0.5, 0.25])
    writer.write("run", "cloud", 3, x=[[1.0], [2.0]], t=7)
    writer.write("run2", "loss", x=[3])
    assert list(client.fetch()) == [("run", "loss", 0), ("run", "cloud", 3), ("run", "cloud", 4), ("run2", "loss", 0)]
    assert list(client.fetch("run")) == [("run", "loss", 0), ("run", "cloud", 3), ("run", "cloud", 4)]
    assert list(client.fetch(name="loss")) == [("run", "loss", 0), ("run2", "loss", 0)]
    assert list(client.fetch("run", "cloud")) == [("run", "cloud", 3), ("run", "cloud", 4)]
    assert list(client.fetch("ru", "los")) == []
    cloud = client.fetch("run", "cloud")["run", "cloud", 4]
    assert {name: values.tolist() for name, values in cloud.items()} == {"t": [7], "x": [2.0]}


def test_filters_are_patterns_found_anywhere(client: Client, writer: Writer) -> None:
    """A leading exclamation mark negates; any of the name filters is enough; a single one may be a string."""
    for scope in ("run1", "test"):
        for name in ("train/loss", "val/loss", "lr"):
            writer.write(scope, name, x=[1])

    def found(*filters: Any) -> list[tuple[str, str]]:
        return [(scope, name) for scope, name, _ in client.fetch_with_filters(*filters)]

    assert found("run", "loss") == [("run1", "train/loss"), ("run1", "val/loss")]
    assert found("!run", ["^lr", "^val"]) == [("test", "val/loss"), ("test", "lr")]
    assert len(found()) == 6
    assert client.scopes() == ["run1", "test"]
    assert client.scopes("!es") == ["run1"]
    assert client.names("run1") == ["train/loss", "val/loss", "lr"]
    assert client.names("run1", "!loss") == ["lr"]
    assert client.names("nowhere") == []


def test_a_refused_pattern_raises_an_error_that_names_it(client: Client) -> None:
    """The server's reason reaches the caller as UsageError, from every method that takes one."""
    for call in (
        lambda: client.fetch_with_filters("(a"),
        lambda: client.scopes("(a"),
        lambda: client.names("run", "(a"),
        lambda: client.listings(Query(scope_filter="(a")),
        lambda: next(client.follow("(a")),
    ):
        with pytest.raises(UsageError, match=r"pattern '\(a' is not a regular expression"):
            call()


def test_after_a_cursor_comes_what_is_new(client: Client, writer: Writer) -> None:
    """Fetching again and again by cursor gives every point once."""
    seen: list[int] = []
    cursor = b""
    for step in range(5):
        writer.write("run", "loss", x=[2 * step, 2 * step + 1])
        points = client.fetch("run", after=cursor)
        seen += points["run", "loss", 0]["x"].tolist()
        cursor = points.cursor
    assert seen == list(range(10))
    assert len(client.fetch(after=cursor)) == 0
    assert client.fetch(after=cursor).cursor == cursor


def test_listings_have_lengths(client: Client, writer: Writer) -> None:
    """Topics with the points of each series, without their data."""
    writer.write("run", "loss", x=[1, 2, 3])
    writer.write("run", "loss", 1, x=[1])
    (listing,) = client.listings()
    assert (listing.topic.scope, listing.topic.name, listing.topic.columns) == ("run", "loss", ("x",))
    assert dict(listing.lengths) == {0: 3, 1: 1}
    assert client.listings(Query(name_filters=("other",))) == []


def test_configs_merge_and_keep_their_types(client: Client, writer: Writer) -> None:
    """Ints stay ints; later keys win; a scope with nothing but a config is a scope."""
    assert client.config("run") == {}
    client.set_config("run", {"lr": 1, "model": {"layers": 2, "bias": True}, "nan": float("inf")})
    client.set_config("run", {"lr": 0.5, "model": {"layers": 3}})
    assert client.config("run") == {"lr": 0.5, "model": {"layers": 3, "bias": True}, "nan": float("inf")}
    assert client.config("ru") == {}
    writer.write("other", "loss", x=[1])
    assert client.configs("ru") == {"run": client.config("run")}
    assert sorted(client.scopes()) == ["other", "run"]


def test_delete_says_how_much_went(client: Client, writer: Writer) -> None:
    """Names or the whole scope; what is not there, and an empty list, are errors that change nothing."""
    for name in ("a", "b", "c"):
        writer.write("run", name, x=[1])
    with pytest.raises(UsageError, match="names is empty"):
        client.delete("run", [])
    with pytest.raises(NotFoundError, match="'nothing'"):
        client.delete("run", "nothing")
    assert client.delete("run", "a") == 1
    assert client.names("run") == ["b", "c"]
    assert client.delete("run") == 2
    assert client.scopes() == []
    with pytest.raises(NotFoundError, match="no scope 'run'"):
        client.delete("run")


def test_windows_go_on_behind_a_cursor(client: Client, writer: Writer) -> None:
    """Fetched piece by piece while the series grows, they are bit for bit those of one fetch at the end."""
    values = np.random.default_rng(1).normal(size=(2, 100)) * 1e6
    pieces: dict[int, list[float]] = {0: [], 1: []}
    cursor = b""
    for start, stop in [(0, 3), (3, 4), (4, 40), (40, 41), (41, 100)]:
        writer.write("run", "loss", x=range(start, stop), y=values[:, start:stop])
        new = client.fetch("run", "loss", after=cursor, window=7, stride=3)
        cursor = new.cursor
        for (_, _, index), columns in new.items():
            pieces[index] += columns["y"].tolist()
    whole = client.fetch("run", "loss", window=7, stride=3)
    assert {index: columns["y"].tolist() for (_, _, index), columns in whole.items()} == pieces
    assert whole["run", "loss", 0]["x"].tolist() == list(range(3, 97, 3))


def test_the_server_sends_the_reduced_series(client: Client, writer: Writer) -> None:
    """The range of x, the thinning, and the ends of both; series without a point left are not there."""
    writer.write("run", "loss", x=range(100_000), y=np.where(np.arange(100_000) == 77_777, 9.0, 0.0))
    writer.write("run", "short", x=[1.0], y=[1.0])
    thin = client.fetch("run", max_points=100)
    assert {0, 77_777, 99_999} <= set(thin["run", "loss", 0]["x"].tolist())
    assert len(thin["run", "loss", 0]["x"]) <= 100
    assert list(client.fetch("run", x_range=(50, 60))) == [("run", "loss", 0)]
    assert client.fetch("run", "loss", x_range=(50, 60))["run", "loss", 0]["x"].tolist() == list(range(50, 61))
    assert client.fetch("run", "loss", x_range=(8.5, 9), x="y")["run", "loss", 0]["x"].tolist() == [77_777]
    wide = client.fetch("run", "loss", window=1)["run", "loss", 0]["x"]
    assert wide.tolist() == list(range(100_000))
    for wrong in (
        {"window": 0},
        {"stride": 3},
        {"max_points": 1},
        {"x_range": (2, 1)},
        {"where": {"x": (2, 1)}},
        {"where": {"x": math.nan}},
        {"where": {"x": "1"}},
        {"where": {"x": (1, 2, 3)}},
        {"where": {"x": 10**400}},
    ):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            client.fetch("run", **wrong)  # type: ignore[arg-type] # one of several keywords
    with client.subscribe() as subscription:
        subscription.add(1, Query(reduction=Reduction(window=2)))
        with pytest.raises(UsageError, match="an interest cannot be reduced"):
            next(iter(subscription))


def test_conditions_come_before_the_windows(client: Client, writer: Writer) -> None:
    """A value or a closed range of any column; numbers of every kind; a topic without the column has nothing."""
    layers = np.arange(12) % 3
    writer.write("run", "norm", x=range(12), layer=layers, y=np.arange(12) / 2)
    writer.write("run", "loss", x=[1], y=[1.0])
    fetched = client.fetch("run", where={"layer": 1})
    assert {key: columns["x"].tolist() for key, columns in fetched.items()} == {("run", "norm", 0): [1, 4, 7, 10]}
    for where in ({"layer": 1, "x": (4, 9)}, {"layer": np.int64(1), "y": (2.0, np.float32(4.5))}):
        assert client.fetch("run", where=where)["run", "norm", 0]["x"].tolist() == [4, 7]
    means = client.fetch("run", where={"layer": (1, 2)}, window=4)
    assert means["run", "norm", 0]["x"].tolist() == [(1 + 2 + 4 + 5) / 4, (7 + 8 + 10 + 11) / 4]
    assert not client.fetch("run", where={"layer": 2**70})
    assert client.fetch("run", where={"x": (-math.inf, math.inf)}).keys() == client.fetch("run").keys()


def test_restore_and_purge_say_how_much_came_or_went(client: Client, writer: Writer) -> None:
    """Names or the whole scope, with its config; refused while a name is in use again, and when the trash has none."""
    for name in ("a", "b", "c"):
        writer.write("run", name, x=[1])
    client.set_config("run", {"lr": 1})
    before = client.fetch("run")
    for call, verb in ((client.restore, "restore"), (client.purge, "purge")):
        with pytest.raises(UsageError, match=f"names is empty, so there is nothing to {verb}"):
            call("run", [])
        with pytest.raises(NotFoundError, match=f"nothing was {verb}d"):
            call("run")
    client.delete("run")
    assert client.restore("run", "a") == 1
    assert client.restore("run") == 2
    assert client.config("run") == {"lr": 1}
    assert {key: columns["x"].tolist() for key, columns in client.fetch("run").items()} == {key: [1] for key in before}
    client.delete("run", "a")
    writer.write("run", "a", x=[2])
    with pytest.raises(ConflictError, match="'run' has a live topic 'a'"):
        client.restore("run", "a")
    assert client.purge("run") == 1
    assert client.names("run") == ["b", "c", "a"]


def test_sizes_and_the_trash(client: Client, writer: Writer) -> None:
    """Per scope and per name; the trash in the order of deletion, a deleted scope's config in it."""
    writer.write("run", "a", x=[1, 2, 3])
    writer.write("run", "b", x=[[1], [2]])
    writer.write("other", "a", x=[1])
    client.set_config("run", {"lr": 1})
    usage = client.usage()
    assert {scope: (it.live.topics, it.live.points, it.trash.topics) for scope, it in usage.items()} == {
        "run": (2, 5, 0),
        "other": (1, 1, 0),
    }
    assert list(client.usage("^r")) == ["run"]
    with pytest.raises(UsageError, match="pattern"):
        client.usage("(")
    assert [(it.name, it.points, it.deleted) for it in client.sizes("run")] == [("a", 3, None), ("b", 2, None)]
    client.delete("run", "b")
    client.delete("run")
    trash = client.trash()
    assert [(it.scope, it.name, it.points) for it in trash] == [("run", "b", 2), ("run", "a", 3), ("run", "", 0)]
    assert all(abs((it.deleted or 0) - time.time()) < 600 for it in trash)
    assert client.trash("other") == []
    assert client.usage()["run"].live.topics == 0
    client.restore("run")
    assert client.trash() == []
    assert client.usage() == usage


def test_follow_begins_with_everything_so_far(client: Client, writer: Writer) -> None:
    """The first batch comes even if there is nothing; after a cursor, only what is new."""
    updates = client.follow("run")
    first = next(updates)
    assert (dict(first.points), first.deleted, first.reloaded) == ({}, (), ())
    writer.write("other", "loss", x=[0])
    writer.write("run", "loss", x=[1])
    second = next(updates)
    assert second.points["run", "loss", 0]["x"].tolist() == [1]
    updates.close()
    writer.write("run", "loss", x=[2])
    again = client.follow("run", after=second.cursor)
    assert next(again).points["run", "loss", 0]["x"].tolist() == [2]
    again.close()


def test_a_subscription_ends_when_it_is_closed(client: Client) -> None:
    """Another thread may end it; the one that iterates just comes to the end."""
    subscription = client.subscribe()
    started = threading.Event()
    updates = []

    def read() -> None:
        for update in subscription:
            updates.append(update)
            started.set()

    thread = threading.Thread(target=read)
    thread.start()
    subscription.add(1, Query())
    assert started.wait(WAIT)
    subscription.close()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert [update.interest for update in updates] == [1]
    with pytest.raises(UsageError, match="interest 0"):
        subscription.add(0, Query())


def test_threads_share_a_client(client: Client, server: ServerThread) -> None:
    """One channel serves many threads at once."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            writer = Writer(server.uri, f"w{number}")
            for value in range(10):
                writer.write("run", f"n{number}", x=[value])
                assert client.fetch("run", f"n{number}")["run", f"n{number}", 0]["x"].tolist() == list(range(value + 1))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert failures == []
    assert len(client.names("run")) == 6


# ---- when it does not work


def test_an_absent_server_is_named_with_what_to_do() -> None:
    """Every method says the same, and names the address."""
    with Client(NOBODY) as client:
        for call in (
            client.scopes,
            client.fetch,
            client.listings,
            lambda: client.set_config("run", {}),
            lambda: client.delete("run"),
            lambda: next(client.follow()),
        ):
            with pytest.raises(UnavailableError, match=f"no streamvis server answers at {NOBODY}: start one with"):
                call()


@pytest.mark.parametrize(
    "uri", ["localhost", ":8081", "localhost:", "localhost:x", "localhost:70000", "http://a:1", "unix:"]
)
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    """The error says what an address looks like."""
    with pytest.raises(UsageError, match="expected host:port or unix:path"):
        Client(uri)


def test_a_closed_client_says_so(client: Client) -> None:
    """Using it after close is StateError, not a riddle of the transport."""
    client.close()
    client.close()
    for call in (client.scopes, client.subscribe, lambda: client.delete("run")):
        with pytest.raises(StateError, match="closed"):
            call()


def test_something_else_at_the_address_is_recognised() -> None:
    """A gRPC server of another kind is not mistaken for a broken one of ours."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    with Client(f"127.0.0.1:{port}") as client, pytest.raises(UnavailableError, match="is no streamvis server"):
        client.scopes()
    other.stop(None).wait(WAIT)


# ---- other libraries


POINTS = Points({("run", "a", 0): {"x": np.array([1, 2])}, ("run", "b", 1): {"x": np.array([3]), "y": np.array([0.5])}})


@pytest.mark.parametrize(
    ("method", "library"), [("to_pandas", "pandas"), ("to_arrow", "pyarrow"), ("to_parquet", "pyarrow")]
)
def test_a_missing_library_is_named(method: str, library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What to install stands in the error."""
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(UsageError, match=f"{method} needs {library}.*pip install {library}"):
        getattr(POINTS, method)(*[tmp_path / "a"] if method == "to_parquet" else [])


def test_points_become_a_data_frame() -> None:
    """A row per point; a column that a series lacks is NaN."""
    frame = POINTS.to_pandas()
    assert frame[["scope", "name", "index", "x"]].to_numpy().tolist() == [
        ["run", "a", 0, 1], ["run", "a", 0, 2], ["run", "b", 1, 3],
    ]  # fmt: skip
    assert frame["y"].isna().tolist() == [True, True, False]
    assert list(Points({}).to_pandas().columns) == ["scope", "name", "index"]


def test_points_become_a_table(tmp_path: Path) -> None:
    """A row per point; a column that a series lacks is null; Parquet holds the same."""
    table = POINTS.to_arrow()
    expected = {
        "scope": ["run"] * 3,
        "name": ["a", "a", "b"],
        "index": [0, 0, 1],
        "x": [1, 2, 3],
        "y": [None, None, 0.5],
    }
    assert table.to_pydict() == expected
    assert Points({}).to_arrow().num_rows == 0
    POINTS.to_parquet(tmp_path / "points.parquet")
    from pyarrow import parquet

    assert parquet.read_table(tmp_path / "points.parquet").to_pydict() == expected


# ---- script


def test_the_functions_of_script(server: ServerThread, writer: Writer) -> None:
    """Each opens a connection of its own and returns what Client returns."""
    writer.write("run24", "loss", x=[1, 2], y=[0.5, 0.25])
    with Client(server.uri) as client:
        client.set_config("run24", {"lr": 1e-3})
    assert streamvis.script is script
    assert script.scopes(uri=server.uri) == ["run24"]
    assert script.names(server.uri, "run24") == ["loss"]
    assert list(script.fetch(uri=server.uri)) == [("run24", "loss", 0)]
    assert script.fetch(server.uri, "run24", "loss")["run24", "loss", 0]["y"].tolist() == [0.5, 0.25]
    assert list(script.fetch_with_filters(server.uri, scope_filter="24$", name_filters=["^lo"])) == [
        ("run24", "loss", 0)
    ]
    assert script.config(server.uri, "run24") == {"lr": 1e-3}
    assert script.delete(server.uri, "run24", ["loss"]) == 1
    assert script.names(server.uri, "run24") == []
    assert script.restore(server.uri, "run24") == 1
    assert script.names(server.uri, "run24") == ["loss"]
    assert script.delete(server.uri, "run24") == script.purge(server.uri, "run24") == 1


def test_the_environment_names_the_server(server: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, STREAMVIS_GRPC_URI counts."""
    monkeypatch.setenv("STREAMVIS_GRPC_URI", server.uri)
    assert script.scopes() == []
    assert Client().uri == server.uri
