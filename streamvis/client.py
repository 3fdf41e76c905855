"""Client: lists, fetches, follows, configures, deletes and restores what a data server holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, cast

import grpc
import numpy as np

from streamvis import settings, transport, wire
from streamvis.assembly import Assembly
from streamvis.codec import EncodedBlock, decode_each
from streamvis.columns import Block
from streamvis.errors import MalformedError, StateError, StreamvisError, UnavailableError, UsageError, from_status
from streamvis.filters import Pattern
from streamvis.points import Collector, Points
from streamvis.records import (
    Change,
    Config,
    Interest,
    Listing,
    Query,
    RunInfo,
    Stats,
    Topic,
    TopicSize,
    Usage,
    unpack_cursor,
)
from streamvis.reduce import Condition, Reduction

__all__ = ["Batch", "Client", "Points", "Subscription", "Update"]


@dataclass(frozen=True, slots=True)
class Update:
    """What a subscriber applies, in this order: topics, configs, blocks."""

    topics: tuple[Topic, ...] = ()
    """Declared or deleted. A restored one comes as deleted and then as itself, and all its blocks follow."""

    configs: tuple[Config, ...] = ()
    """Each the scope's whole config."""

    blocks: Sequence[Block] = field(default=(), repr=False)
    """With the topic's id as `topic`; of a subscription they are `Blocks`: those that are alike side by side."""

    cursor: bytes = b""
    """If not empty, everything up to it has been sent."""

    interest: int = 0
    """If not 0, this is part of the first page of that interest, and with a cursor its end."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What happened since the batch before: apply `deleted` and `reloaded`, then `points`."""

    points: Points
    deleted: tuple[tuple[str, str], ...]
    """(scope, name) of topics whose earlier points are gone."""

    reloaded: tuple[tuple[str, str], ...]
    """(scope, name) of topics that came back from the trash: `points` begins with all of theirs."""

    cursor: bytes
    """Follow again `after` it, and nothing is missed or repeated."""


class Client:
    """A connection to a data server; connects when it is first used. Threads may share one.

    Methods raise UnavailableError when no server answers. Patterns are RE2, found anywhere in the scope or name; a
    leading `!` negates. One that RE2 refuses raises UsageError.
    """

    def __init__(self, uri: str | None = None, *, timeout: float = 10.0) -> None:
        """`uri`: `host:port` or `unix:path`, by default STREAMVIS_GRPC_URI, else localhost:8081.

        `timeout`: seconds that a request with one answer may take; streams go on for as long as the server is alive.
        """
        self.uri = uri or settings.grpc_uri()
        self._timeout = timeout
        self._channel = transport.open_channel(self.uri)
        self._stub = transport.open_stub(self._channel)
        self._streams = transport.BlockStreams(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and whatever is under way over it."""
        self._channel.close()

    # ---- reading

    def scopes(self, match: str | None = None) -> list[str]:
        """The scopes, oldest first."""
        topics, configs = self._catalog(Query(scope_filter=match))
        return list(dict.fromkeys([topic.scope for topic in topics] + [config.scope for config in configs]))

    def names(self, scope: str, match: str | None = None) -> list[str]:
        """The names in a scope, oldest first."""
        pattern = None if match is None else Pattern(match)
        topics, _ = self._catalog(Query(scope_filter=scope, exact=True))
        return [topic.name for topic in topics if pattern is None or pattern.matches(topic.name)]

    def listings(self, query: Query = Query()) -> list[Listing]:  # noqa: B008 - a frozen value
        """Topics, oldest first, and the lengths of their series in points."""
        with _translated(self.uri):
            return list(wire.listings_from_pb(self._stub.List(wire.query_to_pb(query))))

    def fetch(  # noqa: PLR0913 - each a part of the question, by its name
        self,
        scope: str | None = None,
        name: str | None = None,
        *,
        after: bytes | None = None,
        where: Mapping[str, float | tuple[float, float]] | None = None,
        window: int | None = None,
        stride: int | None = None,
        x_range: tuple[float, float] | None = None,
        max_points: int | None = None,
        x: str = "x",
    ) -> Points:
        """The points of that scope and name, or of all; with `after`, those since that cursor.

        The server reduces each series: to the points whose columns have the values, or lie in the ranges (low, high),
        that `where` gives them; of these to the means of `window` points every `stride` (by default every `window`), as
        float64; of these to the range of the column `x`, both ends included; and of these to at most `max_points`, with
        the lowest and highest of every stretch of x. With `after`, the windows that were completed since. Raises
        UsageError for numbers that mean nothing.
        """
        names = () if name is None else (name,)
        asked = Reduction(
            where=tuple(Condition(name, *_range(f"where[{name!r}]", value)) for name, value in (where or {}).items()),
            window=_count("window", window),
            stride=_count("stride", stride),
            x=x,
            x_range=None if x_range is None else _range("x_range", x_range),
            max_points=_count("max_points", max_points),
        )
        reduction = None if asked == Reduction(x=x) else asked
        return self._fetch(Query((), scope, names, exact=True, cursor=after or b"", reduction=reduction))

    def fetch_with_filters(
        self,
        scope_filter: str | None = None,
        name_filters: str | Sequence[str] | None = None,
        *,
        after: bytes | None = None,
    ) -> Points:
        """The points of scopes that match and of names that match any of the filters."""
        return self._fetch(Query((), scope_filter, _tuple(name_filters), cursor=after or b""))

    def config(self, scope: str) -> dict[str, Any]:
        """The scope's config; empty if it has none."""
        _, configs = self._catalog(Query(scope_filter=scope, exact=True))
        return dict(configs[0].values) if configs else {}

    def configs(self, scope_filter: str | None = None) -> dict[str, dict[str, Any]]:
        """The configs of the scopes that match and have one."""
        return {config.scope: dict(config.values) for config in self._catalog(Query(scope_filter=scope_filter))[1]}

    def follow(
        self,
        scope_filter: str | None = None,
        name_filters: str | Sequence[str] | None = None,
        *,
        after: bytes | None = None,
    ) -> Iterator[Batch]:
        """Everything so far (or since `after`) in one batch, then what is written, as it is stored.

        The first batch comes even if it is empty. Raises UnavailableError when the server goes; follow again after
        the last batch's cursor.
        """
        collector = Collector()
        with self.subscribe() as subscription:
            subscription.add(1, Query((), scope_filter, _tuple(name_filters), cursor=after or b""))
            for update in subscription:
                collector.add(update.topics, update.blocks)
                if update.cursor:
                    points, deleted, reloaded = collector.take(update.cursor)
                    if points or deleted or reloaded or update.interest:
                        yield Batch(points, deleted, reloaded, update.cursor)

    def subscribe(self) -> Subscription:
        """A stream of changes, without interests at first."""
        return Subscription(self.uri, self._streams)

    def runs(self, match: str | None = None) -> list[RunInfo]:
        """The runs behind the scopes and how they are doing, oldest first."""
        with _translated(self.uri):
            return [wire.run_info_from_pb(message) for message in self._stub.Runs(wire.runs_request_to_pb(match))]

    def usage(self, match: str | None = None) -> dict[str, Usage]:
        """What each scope takes, live and in the trash, oldest first."""
        with _translated(self.uri):
            found = map(wire.usage_from_pb, self._stub.Usage(wire.usage_request_to_pb(match)))
            return {usage.scope: usage for usage in found}

    def sizes(self, scope: str | None = None) -> list[TopicSize]:
        """What each live topic takes, of one scope or all, oldest first."""
        return self._sizes(scope, trash=False)

    def trash(self, scope: str | None = None) -> list[TopicSize]:
        """What can be restored or purged, of one scope or all, in the order in which it was deleted.

        A topic that was deleted twice stands there twice: `restore` brings the later one back.
        """
        return self._sizes(scope, trash=True)

    def _sizes(self, scope: str | None, *, trash: bool) -> list[TopicSize]:
        with _translated(self.uri):
            request = wire.sizes_request_to_pb(scope, trash=trash)
            return [wire.topic_size_from_pb(message) for message in self._stub.Sizes(request)]

    def stats(self) -> Stats:
        """What the server says about itself: `streamvis doctor` prints it."""
        with _translated(self.uri):
            return wire.stats_from_pb(self._stub.Stats(wire.stats_request_to_pb(), timeout=self._timeout))

    def _catalog(self, query: Query) -> tuple[list[Topic], list[Config]]:
        topics: list[Topic] = []
        configs: list[Config] = []
        for change in self._changes(replace(query, catalog_only=True)):
            topics += change.topics
            configs += change.configs
        return topics, configs

    def _fetch(self, query: Query) -> Points:
        assembly, cursor = Assembly(), b""
        for change in self._changes(query):
            assembly.add(change.topics, change.blocks)
            cursor = change.cursor
        return assembly.points(cursor)

    def _changes(self, query: Query) -> Iterator[Change]:
        with _translated(self.uri):
            yield from map(wire.load_change, self._streams.fetch(wire.query_to_pb(query)))

    # ---- changing

    def set_config(self, scope: str, values: dict[str, Any]) -> None:
        """Merges values into the scope's config: later keys win, dicts merge deeply."""
        with _translated(self.uri):
            self._stub.SetConfig(wire.config_to_pb(Config(scope, values)), timeout=self._timeout)

    def delete(self, scope: str, names: str | Sequence[str] | None = None) -> int:
        """Moves those names of the scope, or with None the whole scope and its config, to the trash.

        Returns how many topics. Raises NotFoundError when there are none, and UsageError for an empty sequence.
        """
        request = wire.delete_to_pb(scope, _names(names, "delete"))
        with _translated(self.uri):
            return self._stub.Delete(request, timeout=self._timeout).topics

    def restore(self, scope: str, names: str | Sequence[str] | None = None) -> int:
        """Brings those names of the scope, or with None all of it and its config, back from the trash.

        Of several topics of one name, the one that was deleted last. Keys of the config that were set since the delete
        stay. Returns how many topics. Raises ConflictError while a live topic has one of the names, NotFoundError when
        the trash has none, and UsageError for an empty sequence of names; then nothing is restored.
        """
        request = wire.restore_to_pb(scope, _names(names, "restore"))
        with _translated(self.uri):
            return self._stub.Restore(request, timeout=self._timeout).topics

    def purge(self, scope: str, names: str | Sequence[str] | None = None) -> int:
        """Empties the trash of those names of the scope, or with None of all that it has of the scope, for good.

        Returns how many topics, at once; the server frees their space, for what is written later, beside its other
        work. Raises NotFoundError when the trash has none, and UsageError for an empty sequence of names.
        """
        request = wire.purge_to_pb(scope, _names(names, "purge"))
        with _translated(self.uri):
            return self._stub.Purge(request, timeout=self._timeout).topics


class Subscription:
    """One stream of changes for interests that may be added and dropped at any time, from any thread.

    Iterate it in one thread. Ends after `close`; raises UnavailableError when the server goes, and UsageError when an
    interest is refused, which ends the stream.
    """

    def __init__(self, uri: str, streams: transport.BlockStreams) -> None:
        self._uri = uri
        self._interests: SimpleQueue[Any] = SimpleQueue()
        self._closed = threading.Event()
        self._cursors: dict[int, bytes] = {}
        with _translated(uri):
            self._call = streams.subscribe(iter(self._interests.get, None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, interest: int, query: Query) -> None:
        """Asks for what the query selects. An interest that is added again starts over from the query's cursor.

        `interest`: a number from 1. Interests that select the same topic each get it in their first page; what is
        written later comes once.
        """
        if interest < 1:
            raise UsageError(f"interest {interest} is not a number that can be used; expected 1, 2, 3, …")
        self._interests.put(wire.interest_to_pb(Interest(interest, query)))

    def drop(self, interest: int) -> None:
        """Asks for no more of that interest; what is under way still comes."""
        self._interests.put(wire.interest_to_pb(Interest(interest)))

    def cursor(self, interest: int) -> bytes:
        """Up to where that interest has been sent; empty before the end of its first page.

        For the thread that iterates. A subscription that takes the interest's place begins there.
        """
        return self._cursors.get(interest, b"")

    def close(self) -> None:
        """Ends the stream."""
        self._closed.set()
        self._interests.put(None)
        self._call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it untyped

    def __iter__(self) -> Iterator[Update]:
        decoder = _Decoder()
        try:
            with _translated(self._uri):
                for change in map(wire.load_change, self._call):
                    update = decoder.update(change)
                    self._advance(update)
                    yield update
        except StreamvisError:
            if self._closed.is_set():
                return
            raise
        if not self._closed.is_set():
            raise _unavailable(self._uri)

    def _advance(self, update: Update) -> None:
        """A first page may stand ahead of the live changes that follow it: those are not repeated to its interest."""
        if update.cursor and update.interest:
            self._cursors[update.interest] = update.cursor
        elif update.cursor:
            self._cursors = {number: _later(cursor, update.cursor) for number, cursor in self._cursors.items()}


def _later(one: bytes, other: bytes) -> bytes:
    """The later of two cursors of one stream."""
    return max(one, other, key=lambda cursor: sum(unpack_cursor(cursor).values()))


class _Decoder:
    """Decodes blocks by the columns of their topics, which arrive before them."""

    def __init__(self) -> None:
        self._columns: dict[int, tuple[str, ...]] = {}

    def update(self, change: Change) -> Update:
        """The change with its blocks decoded. Raises MalformedError for a damaged one."""
        for topic in change.topics:
            if topic.deleted:
                self._columns.pop(topic.id, None)
            else:
                self._columns[topic.id] = topic.columns
        blocks = decode_each(change.blocks, self._names)
        return Update(change.topics, change.configs, blocks, change.cursor, change.interest)

    def _names(self, block: EncodedBlock) -> tuple[str, ...]:
        columns = self._columns.get(block.topic)
        if columns is None:
            raise MalformedError(f"the server sent a block of topic {block.topic} before the topic itself")
        return columns


def _tuple(names: str | Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def _names(names: str | Sequence[str] | None, verb: str) -> tuple[str, ...]:
    """What a request carries; there, no names mean all. Raises UsageError for a sequence that is empty."""
    wanted = _tuple(names)
    if names is not None and not wanted:
        raise UsageError(f"names is empty, so there is nothing to {verb}; None stands for the whole scope")
    return wanted


def _count(name: str, number: int | None) -> int:
    """The number, 0 for None. Raises UsageError for 0, which would mean that nothing is asked."""
    if number == 0:
        raise UsageError(f"{name} is 0; expected a number from 1, or None")
    return number or 0


def _range(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """Both ends; a single number is both. Raises UsageError for what is no number."""
    ends = value if isinstance(value, tuple) else (value, value)
    if len(ends) != 2:
        raise UsageError(f"{name} is {value}; expected a number, or the lower end and the upper")
    low, high = (_number(name, end) for end in ends)
    return low, high


def _number(name: str, value: float) -> float:
    """As a Python number; an int beyond int64 as a float."""
    number = value.item() if isinstance(value, np.generic) else value
    if not isinstance(number, int | float):
        raise UsageError(f"{name} has {value!r}; expected a number")
    try:
        return number if -(1 << 63) <= number < 1 << 63 else float(number)
    except OverflowError:
        raise UsageError(f"{name} has an int that no column can hold") from None


def _unavailable(uri: str) -> UnavailableError:
    return UnavailableError(
        f"no streamvis server answers at {uri}: start one with `streamvis grpc-serve DATA_PREFIX PORT`"
    )


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Raises what a gRPC status stands for."""
    try:
        yield
    except grpc.RpcError as error:
        raise _error(uri, cast("grpc.Call", error)) from None
    except ValueError as error:
        if isinstance(error, StreamvisError):
            raise
        raise StateError(f"the client of {uri} is closed: {error}") from None


def _error(uri: str, call: grpc.Call) -> StreamvisError:
    code, details = call.code(), call.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unavailable(uri)
    if code is grpc.StatusCode.CANCELLED:
        return StateError(f"the client of {uri} was closed while a request was under way")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnavailableError(f"what answers at {uri} is no streamvis server, or one of another version: {details}")
    return from_status(code.name, details)
