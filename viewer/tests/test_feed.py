"""The one subscription: what it asks for, and that it comes back without missing or repeating anything."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamvis import Client, DataLogger, Subscription, Update
from streamvis.server.run import serving
from streamvis_viewer import feed as feeds
from streamvis_viewer.feed import Feed


class Listener:
    """Keeps what it hears, with the values of every topic."""

    def __init__(self) -> None:
        self.news: queue.Queue[Any] = queue.Queue()
        self.values: dict[int, list[float]] = {}
        self.names: dict[int, tuple[str, str]] = {}
        self.states: list[str] = []

    def updated(self, updates: list[Update]) -> None:
        for update in updates:
            for topic in update.topics:
                if topic.deleted:
                    self.names.pop(topic.id, None)
                    self.values.pop(topic.id, None)
                else:
                    self.names[topic.id] = (topic.scope, topic.name)
            for block in update.blocks:
                self.values.setdefault(block.topic, []).extend(block.columns["y"].reshape(-1).tolist())

    def connected(self) -> None:
        self.states.append("live")

    def away(self, reason: str) -> None:
        self.states.append(reason)

    def held(self) -> dict[str, list[float]]:
        return {self.names[number][1]: values for number, values in self.values.items()}


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


@contextmanager
def following(uri: str) -> Iterator[tuple[Feed, Listener]]:
    @contextmanager
    def connect() -> Iterator[Subscription]:
        with Client(uri) as client, client.subscribe() as subscription:
            yield subscription

    listener = Listener()
    feed = Feed(connect, listener)
    feed.start()
    try:
        yield feed, listener
    finally:
        feed.close()


def write(uri: str, name: str, *values: float, **options: Any) -> None:
    with DataLogger("run", grpc_uri=uri, flush_every=0.05, **options) as logger:
        for value in values:
            logger.write(name, x=1, y=value)


def test_the_catalog_always_comes_and_points_only_when_asked_for() -> None:
    """Topics are known by name at once; their points follow an interest."""
    with serving("memory:") as server, following(server.uri) as (feed, listener):
        write(server.uri, "loss", 1.0, 2.0)
        write(server.uri, "acc", 3.0)
        until(lambda: len(listener.names) == 2)
        feed.add({("run", "loss")})
        until(lambda: listener.held() == {"loss": [1.0, 2.0]})
        write(server.uri, "acc", 4.0)
        write(server.uri, "loss", 5.0)
        until(lambda: listener.held() == {"loss": [1.0, 2.0, 5.0]})


def test_it_starts_without_a_server_and_finds_it_later(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says meanwhile that the server is away."""
    monkeypatch.setattr(feeds, "LAST_RETRY", 0.2)
    uri = f"unix:{tmp_path}/socket"
    with following(uri) as (feed, listener):
        feed.add({("run", "loss")})
        until(lambda: bool(listener.states))
        assert "live" not in listener.states
        with serving("memory:", host=uri):
            write(uri, "loss", 1.0)
            until(lambda: listener.held() == {"loss": [1.0]})
        assert "live" in listener.states


def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing and nothing comes twice; what was deleted meanwhile is gone."""
    monkeypatch.setattr(feeds, "LAST_RETRY", 0.2)
    uri, data = f"unix:{tmp_path}/socket", str(tmp_path / "data")
    with following(uri) as (feed, listener):
        with serving(data, host=uri):
            write(uri, "loss", 1.0)
            write(uri, "old", 9.0)
            feed.add({("run", "loss"), ("run", "old")})
            until(lambda: listener.held() == {"loss": [1.0], "old": [9.0]})
        until(lambda: listener.states[-1] != "live")
        with serving(data, host="127.0.0.1") as aside:
            write(aside.uri, "loss", 2.0)
            with Client(aside.uri) as client:
                client.delete("run", ["old"])
        with serving(data, host=uri):
            write(uri, "loss", 3.0)
            until(lambda: listener.held() == {"loss": [1.0, 2.0, 3.0]})


def test_a_restored_topic_shows_its_points_again() -> None:
    """All of them, whether the feed saw the delete or not, and what is written then."""
    with serving("memory:") as server, following(server.uri) as (feed, listener), Client(server.uri) as client:
        write(server.uri, "loss", 1.0, 2.0)
        feed.add({("run", "loss")})
        until(lambda: listener.held() == {"loss": [1.0, 2.0]})
        client.delete("run")
        until(lambda: listener.held() == {} and not listener.names)
        client.restore("run")
        until(lambda: listener.held() == {"loss": [1.0, 2.0]})
        client.delete("run")
        client.restore("run")
        write(server.uri, "loss", 3.0)
        until(lambda: listener.held() == {"loss": [1.0, 2.0, 3.0]})


def test_what_was_restored_while_it_was_away_comes_whole(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same topic comes back under its old id, and nothing comes twice."""
    monkeypatch.setattr(feeds, "LAST_RETRY", 0.2)
    uri, data = f"unix:{tmp_path}/socket", str(tmp_path / "data")
    with following(uri) as (feed, listener):
        with serving(data, host=uri):
            write(uri, "loss", 1.0)
            feed.add({("run", "loss")})
            until(lambda: listener.held() == {"loss": [1.0]})
        until(lambda: listener.states[-1] != "live")
        with serving(data, host="127.0.0.1") as aside, Client(aside.uri) as client:
            client.delete("run")
            client.restore("run")
            write(aside.uri, "loss", 2.0)
        with serving(data, host=uri):
            write(uri, "loss", 3.0)
            until(lambda: listener.held() == {"loss": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize("flushes", [1, 20])
def test_a_server_with_other_data_is_read_from_its_beginning(
    flushes: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known is forgotten when the store was replaced under the cursors, which it may long have passed."""
    monkeypatch.setattr(feeds, "LAST_RETRY", 0.2)
    uri = f"unix:{tmp_path}/socket"
    with following(uri) as (feed, listener):
        with serving("memory:", host=uri):
            write(uri, "loss", *map(float, range(5)))
            feed.add({("run", "loss")})
            until(lambda: len(listener.held().get("loss", [])) == 5)
        values = [7.0 + number for number in range(flushes)]
        with serving(str(tmp_path / "other"), host="127.0.0.1") as aside:
            for value in values:
                write(aside.uri, "loss", value)
        with serving(str(tmp_path / "other"), host=uri):
            until(lambda: listener.held() == {"loss": values})
