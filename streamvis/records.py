"""What passes between writers, the server and readers, as plain values.

`wire` translates them to protobuf; the store, the sender and the client know only these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from streamvis.codec import EncodedBlock
from streamvis.errors import MalformedError
from streamvis.reduce import Reduction


@dataclass(frozen=True, slots=True)
class Topic:
    """One (scope, name) as stored. `id` is the sequence number of its declaration; `columns` are sorted.

    `restored` is the sequence number of the restore that brought it back from the trash, 0 if it never was there.
    """

    id: int
    scope: str
    name: str
    columns: tuple[str, ...]
    deleted: bool = False
    restored: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """A scope's hyperparameters: the whole object when read, a patch to merge when written."""

    scope: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Declaration:
    """Binds a writer's handle to the live topic (scope, name), made if there is none."""

    handle: int
    scope: str
    name: str
    columns: tuple[str, ...]
    replace: bool = False


RunStatus: TypeAlias = Literal["running", "stalled", "finished", "crashed", "unknown"]


@dataclass(frozen=True, slots=True)
class Status:
    """What a writer says about itself: "running", "stalled" (nothing was written for long), "finished" or "crashed".

    The next status comes within `heartbeat` seconds while it runs. Times are Unix seconds by the writer's clock;
    `counters` is a JSON object.
    """

    scope: str
    state: RunStatus
    heartbeat: float
    started: float
    updated: float
    counters: str = "{}"


@dataclass(frozen=True, slots=True)
class Report:
    """The latest status of a writer, and when the server heard it, by its `steady_time`."""

    writer: str
    status: Status
    heard: float


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A scope, and how the run behind it is doing.

    `status`: "running"; "stalled", alive but silent for long; "finished"; "crashed", which said so or was not heard for
    three heartbeats; "unknown", written by something that does not report. `started` and `updated` are Unix seconds by
    the clock of the writer, None when unknown. Live names, points and bytes; `counters` are those of
    `DataLogger.stats()` that its logger reports.
    """

    scope: str
    status: RunStatus
    started: float | None
    updated: float | None
    names: int = 0
    points: int = 0
    bytes: int = 0
    counters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one flush adds. Blocks name their topics by handle."""

    writer: str
    number: int
    declarations: tuple[Declaration, ...] = ()
    configs: tuple[Config, ...] = ()
    blocks: tuple[EncodedBlock, ...] = ()
    status: Status | None = None

    def contents(self) -> Counter[str]:
        """Points by name, and the number of configs by "config"; a topic that it does not declare has no name."""
        names = {declared.handle: declared.name for declared in self.declarations}
        held = Counter({"config": len(self.configs)} if self.configs else {})
        for block in self.blocks:
            held[names.get(block.topic, "")] += block.k * block.n
        return held


CONFIGS = 0
"""The handle of a batch's configs. Those of topics are above 0."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The server's answer to one batch.

    Stored (or stored earlier) when `expected` is 0 and `gone` is empty. `rejected` maps the handles whose blocks were
    left out to the reason; there CONFIGS stands for the configs that were.
    """

    number: int
    expected: int = 0
    gone: tuple[int, ...] = ()
    rejected: Mapping[int, str] = field(default_factory=dict)
    cursor: bytes = b""

    @property
    def stored(self) -> bool:
        """Whether the batch is durable."""
        return not self.expected and not self.gone


@dataclass(frozen=True, slots=True)
class Query:
    """Selects topics: those named in `topics` if any, else by filters; of them, what came after `cursor`.

    Filters are RE2 patterns found anywhere, a leading `!` negates; with `exact` they are the names themselves.
    `scope_filter` None and no `name_filters` mean all. `reduction` is for fetching alone.
    """

    topics: tuple[tuple[str, str], ...] = ()
    scope_filter: str | None = None
    name_filters: tuple[str, ...] = ()
    exact: bool = False
    cursor: bytes = b""
    catalog_only: bool = False
    reduction: Reduction | None = None


@dataclass(frozen=True, slots=True)
class Interest:
    """Part of a subscription: add (or start over) or, without a query, drop."""

    id: int
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a reader applies, in this order: topics, configs, blocks. `cursor` closes a consistent page.

    `interest` is not 0 in the first page of that interest.
    """

    topics: tuple[Topic, ...] = ()
    configs: tuple[Config, ...] = ()
    blocks: tuple[EncodedBlock, ...] = ()
    cursor: bytes = b""
    interest: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A topic and the length, in points, of each of its series."""

    topic: Topic
    lengths: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Size:
    """Of topics: how many they are, their points under all indexes, and the bytes of their blocks as stored."""

    topics: int = 0
    points: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.topics + other.topics, self.points + other.points, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scope takes: its live topics, and those in the trash."""

    scope: str
    live: Size = Size()
    trash: Size = Size()


@dataclass(frozen=True, slots=True)
class TopicSize:
    """What a topic takes. `deleted` is the Unix time at which it went to the trash, None if it is live.

    In the trash, name "" is the config of a deleted scope.
    """

    scope: str
    name: str
    points: int
    bytes: int
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """One number about a running server, by its Prometheus name; a `counter` only ever grows."""

    name: str
    value: float
    help: str
    counter: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a server says about itself."""

    version: str
    metrics: tuple[Metric, ...]

    def value(self, name: str, **labels: str) -> float:
        """The metric of that name and labels; NaN if there is none."""
        found = (metric.value for metric in self.metrics if metric.name == name and metric.labels == labels)
        return next(found, math.nan)


def pack_cursor(seqs: Mapping[int, int]) -> bytes:
    """The opaque bytes of a cursor from the sequence number on each timeline."""
    return b"".join(line.to_bytes(4, "little") + seq.to_bytes(8, "little") for line, seq in sorted(seqs.items()))


def unpack_cursor(cursor: bytes) -> dict[int, int]:
    """The sequence number on each timeline; an empty cursor means the beginning. Raises MalformedError."""
    if len(cursor) % 12:
        raise MalformedError(f"a cursor of {len(cursor)} bytes is none of ours")
    pieces = [cursor[start : start + 12] for start in range(0, len(cursor), 12)]
    return {int.from_bytes(piece[:4], "little"): int.from_bytes(piece[4:], "little") for piece in pieces}
