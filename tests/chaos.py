"""An episode of chaos: loggers, subscribers, deletes and restores beside a server that is killed again and again.

Everything random comes from a seed. The value of every point is a function of its logger and a counter, so that
whatever is stored can be checked bit by bit. What is deleted stays in the trash, so that all points ever written are in
the store, once; but for those of the scope SCRAP, whose trash is emptied.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TypeAlias

import numpy as np

from streamvis import Client, DataLogger
from streamvis.client import Batch
from streamvis.codec import decode
from streamvis.columns import Array
from streamvis.errors import ConflictError, NotFoundError, UnavailableError
from streamvis.records import Topic
from streamvis.storage import SqliteStore, Store
from streamvis.testing.loggers import unused_port

SCRAP = "scrap"
SCOPES, NAMES = ("run", "run", "other", SCRAP), ("a", "b/c", "d")
COLUMNS = ("i", "v", "w")
Filters: TypeAlias = tuple[str | None, tuple[str, ...] | None]
FILTERS: tuple[Filters, ...] = ((None, None), ("run", ("a", "c$")), ("!run", None))

Key: TypeAlias = tuple[str, str, int]
Place: TypeAlias = tuple[int, str, int]
"""The logger's number, name, index."""

SERVER = Path(__file__).with_name("chaos_server.py")
WAIT = 120.0


def value_of(writer: int, counters: Array) -> Array:
    """The value of each point, as float64 of any bits: NaN payloads, infinities and -0.0 among them."""
    bits = (counters.astype("<u8") + np.uint64(writer << 40)) * np.uint64(0x9E3779B97F4A7C15)
    bits ^= bits >> np.uint64(29)
    odd = counters % 17 == 0
    bits[odd] = np.uint64(0x7FF8000000000000) | (bits[odd] >> np.uint64(20))
    return bits.view("<f8")


@dataclass
class Writer:
    """A logger, and what it has written: for each name and index the counters, in pieces."""

    number: int
    scope: str
    logger: DataLogger
    chance: random.Random
    written: dict[tuple[str, int], list[Array]] = field(default_factory=dict)
    counter: int = 0
    configured: int | None = None

    def run(self, stop: Event) -> None:
        """Writes a point, some or many at a time, under one index or several."""
        while not stop.wait(self.chance.expovariate(100)):
            name, first = self.chance.choice(NAMES), self.chance.choice((0, 0, 0, 1, 4))
            (count,) = self.chance.choices((1, 9, 300, 30_000), (60, 15, 20, 5))
            k = self.chance.choice((1, 1, 1, 3)) if count < 1000 else 1
            counters = np.arange(self.counter, self.counter + count)
            self.counter += count
            values = np.broadcast_to(value_of(self.number, counters), (k, count))
            writer = np.int32(self.number) if self.chance.random() < 0.1 else self.number
            self.logger.write(name, start_index=first, i=counters, v=values, w=writer)
            for index in range(first, first + k):
                self.written.setdefault((name, index), []).append(counters)
            if self.chance.random() < 0.02:
                self.configured = self.counter
                self.logger.write_config({f"logger{self.number}": self.counter})


class Subscriber:
    """Follows what its filters select, through every restart and with pauses, always from where it stood."""

    def __init__(self, uri: str, filters: Filters, chance: random.Random) -> None:
        self._uri = uri
        self._filters = filters
        self._chance = chance
        self._cursor: bytes | None = None
        self._seen: dict[Key, list[Mapping[str, Array]]] = {}

    def run(self, stop: Event) -> None:
        while not stop.wait(self._chance.uniform(0.0, 0.4)):
            with Client(self._uri) as client, suppress(UnavailableError):
                for batch in client.follow(*self._filters, after=self._cursor):
                    self._apply(batch)
                    if stop.is_set() or self._chance.random() < 0.05:
                        break

    def _apply(self, batch: Batch) -> None:
        gone = {*batch.deleted, *batch.reloaded}
        self._seen = {key: pieces for key, pieces in self._seen.items() if key[:2] not in gone}
        for key, columns in batch.points.items():
            self._seen.setdefault(key, []).append(columns)
        self._cursor = batch.cursor

    def differs(self, client: Client) -> str:
        """How what it has put together differs from a fresh fetch; empty if it does not."""
        fresh = client.fetch_with_filters(*self._filters)
        if set(fresh) != set(self._seen):
            return f"series {set(fresh) ^ set(self._seen)}"
        for key, columns in fresh.items():
            for name, values in columns.items():
                found = np.concatenate([piece[name] for piece in list(self._seen[key])])
                if found.astype(values.dtype).tobytes() != values.tobytes():
                    return f"column {name} of {key}: {len(found)} of {len(values)} points"
        return ""


class Vandal:
    """Deletes, restores and empties the trash, at random, for as long as it is let."""

    def __init__(self, uri: str, chance: random.Random) -> None:
        self._uri = uri
        self._chance = chance

    def run(self, stop: Event) -> None:
        with Client(self._uri, timeout=5.0) as client:
            while not stop.wait(self._chance.expovariate(8)):
                with suppress(UnavailableError, NotFoundError, ConflictError):
                    self._act(client)

    def _act(self, client: Client) -> None:
        scope, names = self._chance.choice(SCOPES), self._chance.sample(NAMES, self._chance.randint(1, 2))
        whole = scope != "run" and self._chance.random() < 0.3  # the config of "run" is to stay
        act = self._chance.choice(("delete", "delete", "restore", "purge"))
        if act != "purge" or scope == SCRAP:
            getattr(client, act)(scope, None if whole else names)


class Episode:
    """One store, its loggers and readers, and a server that lives for a round at a time."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.chance = random.Random(seed)
        self.directory = directory
        self.prefix = directory / "data"
        self.port = unused_port()
        self.uri = f"127.0.0.1:{self.port}"
        self.deaths = 0

    def play(self, rounds: int) -> None:
        """Raises AssertionError for any broken promise."""
        loggers = [self._logger(scope) for scope in SCOPES]
        writers = [Writer(n, SCOPES[n], logger, self._random()) for n, logger in enumerate(loggers)]
        subscribers = [Subscriber(self.uri, filters, self._random()) for filters in FILTERS]
        reading = Event()
        with _running([subscriber.run for subscriber in subscribers], reading):
            with _running([*(writer.run for writer in writers), Vandal(self.uri, self._random()).run], Event()):
                for _ in range(rounds):
                    self._round()
            with self._server(fuse=0) as server:
                for writer in writers:
                    _stop(writer.logger)
                with Client(self.uri) as client:
                    self._check_readers(client, subscribers)
                    self._check_config(client, writers)
                server.send_signal(signal.SIGTERM)
                assert server.wait(WAIT) == 0
            reading.set()
        self._check_store(writers)

    def _random(self) -> random.Random:
        return random.Random(self.chance.random())

    def _logger(self, scope: str) -> DataLogger:
        logger = DataLogger(
            scope,
            self.uri,
            flush_every=self.chance.choice((0.01, 0.05, 0.2)),
            spool_dir=self.directory / "spool",
            delete_existing=self.chance.random() < 0.3,
            stop_timeout=WAIT,
        )
        logger.start()
        return logger

    # ---- the server

    def _round(self) -> None:
        fuse = self.chance.randrange(1, 1500) if self.chance.random() < 0.7 else 0
        with self._server(fuse) as server:
            try:
                server.wait(self.chance.uniform(0.02, 1.2))
            except subprocess.TimeoutExpired:
                if self.chance.random() < 0.1:
                    server.send_signal(signal.SIGTERM)
                    server.wait(WAIT)

    @contextmanager
    def _server(self, fuse: int) -> Iterator[subprocess.Popen[str]]:
        """A server that answers, unless its fuse was too short for that; killed at the end."""
        command = [sys.executable, str(SERVER), str(self.prefix), str(self.port), str(self.chance.randrange(1 << 30))]
        with subprocess.Popen([*command, str(fuse)], stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() or fuse, "the server did not start"
                yield server
            finally:
                server.kill()
        self.deaths += 1

    # ---- what must hold

    def _check_readers(self, client: Client, subscribers: list[Subscriber]) -> None:
        deadline = time.monotonic() + WAIT
        for subscriber in subscribers:
            while difference := subscriber.differs(client):
                assert time.monotonic() < deadline, f"a subscriber's series differ from a fresh fetch: {difference}"
                time.sleep(0.05)

    def _check_config(self, client: Client, writers: list[Writer]) -> None:
        for writer in writers:
            if writer.scope == "run":
                assert client.config("run").get(f"logger{writer.number}") == writer.configured

    def _check_store(self, writers: list[Writer]) -> None:
        store = SqliteStore(self.prefix)
        found: dict[Place, list[Array]] = {}
        topics = {topic.id: topic for topic in (*store.catalog(after=1).topics, *store.catalog().topics)}
        for topic in topics.values():
            if topic.columns:  # else it was purged
                for index, columns in _series(store, topic).items():
                    _check_points(topic, index, columns, found)
        store.close()
        for writer in writers:
            for (name, index), pieces in writer.written.items():
                stored = np.sort(np.concatenate(found.pop((writer.number, name, index), [np.zeros(0, "<i8")])))
                written = np.concatenate(pieces)
                where = f"logger {writer.number}, {writer.scope} {name} {index}"
                assert (np.diff(stored) > 0).all(), f"{where}: points are there twice"
                missing = np.setdiff1d(written, stored, assume_unique=True)
                assert writer.scope == SCRAP or not len(missing), f"{where}: points are missing: {missing}"
                assert len(missing) + len(stored) == len(written), f"{where}: points that were never written"
        assert not found


def _series(store: Store, topic: Topic) -> dict[int, dict[str, Array]]:
    pieces: dict[int, list[dict[str, Array]]] = {}
    for block in store.blocks(topic.id, 0, store.seq()):
        for index, columns in decode(block, COLUMNS).series():
            pieces.setdefault(index, []).append(columns)
    return {
        index: {name: np.concatenate([piece[name] for piece in parts]) for name in COLUMNS}
        for index, parts in pieces.items()
    }


def _check_points(topic: Topic, index: int, columns: Mapping[str, Array], found: dict[Place, list[Array]]) -> None:
    """Each logger's points are in order and have their values."""
    for number in range(len(SCOPES)):
        mine = columns["w"] == number
        counters = columns["i"][mine]
        where = f"logger {number} in {topic}, index {index}"
        assert (np.diff(counters) > 0).all(), f"{where}: points are out of order"
        assert columns["v"][mine].tobytes() == value_of(number, counters).tobytes(), f"{where}: values differ"
        if len(counters):
            found.setdefault((number, topic.name, index), []).append(counters)


def _stop(logger: DataLogger) -> None:
    logger.flush(WAIT)
    logger.stop()
    stats = logger.stats()
    told = {name: stats[name] for name in ("outstanding", "rejected", "dropped", "errors")}
    assert told == {"outstanding": 0, "rejected": {}, "dropped": {}, "errors": 0}


@contextmanager
def _running(functions: list[Callable[[Event], None]], stop: Event) -> Iterator[None]:
    """Threads that run the functions until the block ends; what they raise is raised here."""
    raised: list[BaseException] = []

    def guarded(function: Callable[[Event], None]) -> None:
        try:
            function(stop)
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    threads = [Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT)
    if raised:
        raise raised[0]
