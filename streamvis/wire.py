"""Records ⇄ protobuf messages. Decoding raises MalformedError for what no peer of ours would send."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, cast

from google.protobuf.message import DecodeError

from streamvis.codec import EncodedBlock
from streamvis.errors import MalformedError
from streamvis.framing import LARGE_BYTES, framed, unframed
from streamvis.records import (
    Ack,
    Batch,
    Change,
    Config,
    Declaration,
    Interest,
    Listing,
    Metric,
    Query,
    RunInfo,
    RunStatus,
    Size,
    Stats,
    Status,
    Topic,
    TopicSize,
    Usage,
)
from streamvis.reduce import Condition, Reduction
from streamvis.v1 import streamvis_pb2 as pb

_LISTED = 8192
"""Series of one message at most, of a topic that has more."""


def dump_config(values: Mapping[str, Any]) -> bytes:
    """A config as JSON; ints, floats (NaN and infinities too) and bools keep their types."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def load_config(data: bytes) -> dict[str, Any]:
    """A config from JSON. Raises MalformedError unless it is an object."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"config is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise MalformedError(f"config is a JSON {type(values).__name__}; expected an object")
    try:
        dump_config(values)
    except UnicodeEncodeError:
        raise MalformedError("config has a lone surrogate, which is no character") from None
    return values


def _add_blocks(blocks: Any, added: Sequence[EncodedBlock]) -> None:
    """Fills a message's blocks in place: one that is made first and put there is serialised and parsed again."""
    for block in added:
        blocks.add(
            topic=block.topic,
            index=block.index,
            k=block.k,
            n=block.n,
            crc=block.crc,
            columns=block.columns,
            payload=bytes(block.payload),
        )


def _large(blocks: Sequence[EncodedBlock]) -> bool:
    return sum(len(block.payload) for block in blocks) >= LARGE_BYTES * max(len(blocks), 1)


def _dump(message: Any, blocks: Sequence[EncodedBlock]) -> bytes:
    """The message with those blocks as bytes."""
    if not _large(blocks):
        _add_blocks(message.blocks, blocks)
        return bytes(message.SerializeToString())
    heads = (
        pb.Block(topic=b.topic, index=b.index, k=b.k, n=b.n, crc=b.crc, columns=b.columns).SerializeToString()
        for b in blocks
    )
    return framed(message.SerializeToString(), zip(heads, (block.payload for block in blocks), strict=True))


def _load(kind: Any, data: bytes) -> tuple[Any, tuple[EncodedBlock, ...]]:
    """A message without its blocks, and the blocks. Payloads of large ones lie in `data`. Raises DecodeError."""
    parts = unframed(data) if len(data) >= LARGE_BYTES else None
    if parts is None:
        message = kind.FromString(data)
        return message, tuple(map(block_from_pb, message.blocks))
    head, blocks = parts
    if len(head) > len(data) // 2:  # a block that is kept would keep all of this
        message = kind.FromString(data)
        return message, tuple(map(block_from_pb, message.blocks))
    message = kind.FromString(head)
    large = (_block_from_parts(*block) for block in blocks)
    return message, (*map(block_from_pb, message.blocks), *large)


def _block_from_parts(fields: bytes, payload: memoryview) -> EncodedBlock:
    block = block_from_pb(pb.Block.FromString(fields))
    return block._replace(payload=payload) if payload else block


def block_from_pb(message: pb.Block) -> EncodedBlock:
    return EncodedBlock(
        message.topic, message.index, message.k, message.n, message.columns, message.payload, message.crc
    )


def topic_to_pb(topic: Topic) -> pb.Topic:
    return pb.Topic(
        id=topic.id,
        scope=topic.scope,
        name=topic.name,
        columns=topic.columns,
        deleted=topic.deleted,
        restored=topic.restored,
    )


def topic_from_pb(message: pb.Topic) -> Topic:
    return Topic(message.id, message.scope, message.name, tuple(message.columns), message.deleted, message.restored)


def config_to_pb(config: Config) -> pb.Config:
    return pb.Config(scope=config.scope, json=dump_config(config.values))


def config_from_pb(message: pb.Config) -> Config:
    return Config(message.scope, load_config(message.json))


def dump_batch(batch: Batch) -> bytes:
    """The batch as the bytes of its message."""
    return _dump(_batch_to_pb(batch), batch.blocks)


def batch_to_pb(batch: Batch) -> pb.Batch:
    message = _batch_to_pb(batch)
    _add_blocks(message.blocks, batch.blocks)
    return message


def _batch_to_pb(batch: Batch) -> pb.Batch:
    return pb.Batch(
        writer=batch.writer,
        number=batch.number,
        declarations=[
            pb.Declaration(handle=d.handle, scope=d.scope, name=d.name, columns=d.columns, replace=d.replace)
            for d in batch.declarations
        ],
        configs=[config_to_pb(config) for config in batch.configs],
        status=None if batch.status is None else _status_to_pb(batch.status),
    )


def load_batch(data: bytes) -> Batch:
    """The batch of a message. Payloads of large blocks lie in `data`. Raises MalformedError."""
    try:
        message, blocks = _load(pb.Batch, data)
    except DecodeError:
        raise MalformedError(f"{len(data)} bytes are not a {pb.Batch.DESCRIPTOR.full_name}") from None
    return Batch(
        message.writer,
        message.number,
        tuple(Declaration(d.handle, d.scope, d.name, tuple(d.columns), d.replace) for d in message.declarations),
        tuple(config_from_pb(config) for config in message.configs),
        blocks,
        _status_from_pb(message.status) if message.HasField("status") else None,
    )


def _status_to_pb(status: Status) -> pb.Status:
    return pb.Status(
        scope=status.scope,
        state=status.state,
        heartbeat=status.heartbeat,
        started=status.started,
        updated=status.updated,
        counters=status.counters,
    )


def _status_from_pb(message: pb.Status) -> Status:
    state = cast("RunStatus", message.state)  # the server checks it
    return Status(message.scope, state, message.heartbeat, message.started, message.updated, message.counters)


def ack_to_pb(ack: Ack) -> pb.Ack:
    return pb.Ack(
        number=ack.number,
        expected=ack.expected,
        gone=ack.gone,
        rejected=[pb.Rejection(handle=handle, reason=reason) for handle, reason in ack.rejected.items()],
        cursor=ack.cursor,
    )


def ack_from_pb(message: pb.Ack) -> Ack:
    rejected = {rejection.handle: rejection.reason for rejection in message.rejected}
    return Ack(message.number, message.expected, tuple(message.gone), rejected, message.cursor)


def dump_ack(ack: Ack) -> bytes:
    """The answer as the bytes of its message."""
    return bytes(ack_to_pb(ack).SerializeToString())


def load_ack(data: bytes) -> Ack:
    """The answer of a message. Raises MalformedError."""
    try:
        return ack_from_pb(pb.Ack.FromString(data))
    except DecodeError:
        raise MalformedError(f"{len(data)} bytes are not a {pb.Ack.DESCRIPTOR.full_name}") from None


def query_to_pb(query: Query) -> pb.Query:
    return pb.Query(
        topics=[pb.TopicName(scope=scope, name=name) for scope, name in query.topics],
        scope_filter=query.scope_filter,
        name_filters=query.name_filters,
        exact=query.exact,
        cursor=query.cursor,
        catalog_only=query.catalog_only,
        reduction=None if query.reduction is None else _reduction_to_pb(query.reduction),
    )


def query_from_pb(message: pb.Query) -> Query:
    return Query(
        tuple((topic.scope, topic.name) for topic in message.topics),
        message.scope_filter if message.HasField("scope_filter") else None,
        tuple(message.name_filters),
        message.exact,
        message.cursor,
        message.catalog_only,
        _reduction_from_pb(message.reduction) if message.HasField("reduction") else None,
    )


def _reduction_to_pb(reduction: Reduction) -> pb.Reduction:
    low, high = map(_number_to_pb, reduction.x_range) if reduction.x_range else (None, None)
    return pb.Reduction(
        window=reduction.window,
        stride=reduction.stride,
        x=reduction.x,
        low=low,
        high=high,
        max_points=reduction.max_points,
        where=[
            pb.Condition(column=condition.column, low=_number_to_pb(condition.low), high=_number_to_pb(condition.high))
            for condition in reduction.where
        ],
    )


def _reduction_from_pb(message: pb.Reduction) -> Reduction:
    if message.HasField("low") != message.HasField("high"):
        raise MalformedError("a range of x has one end; expected both or none")
    x_range = (_number_from_pb(message.low), _number_from_pb(message.high)) if message.HasField("low") else None
    where = tuple(
        Condition(condition.column, _number_from_pb(condition.low), _number_from_pb(condition.high))
        for condition in message.where
    )
    return Reduction(
        where=where,
        window=message.window,
        stride=message.stride,
        x=message.x,
        x_range=x_range,
        max_points=message.max_points,
    )


def _number_to_pb(number: float) -> pb.Number:
    return pb.Number(integer=number) if isinstance(number, int) else pb.Number(real=number)


def _number_from_pb(message: pb.Number) -> float:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise MalformedError("a range lacks an end; expected both")
    return message.integer if kind == "integer" else message.real


def interest_to_pb(interest: Interest) -> pb.Interest:
    if interest.query is None:
        return pb.Interest(id=interest.id, drop=True)
    return pb.Interest(id=interest.id, add=query_to_pb(interest.query))


def interest_from_pb(message: pb.Interest) -> Interest:
    if message.drop == message.HasField("add"):
        raise MalformedError("an interest is either added with a query or dropped")
    return Interest(message.id, None if message.drop else query_from_pb(message.add))


def dump_change(change: Change) -> bytes:
    """The change as the bytes of its message."""
    message = pb.Change(
        topics=[topic_to_pb(topic) for topic in change.topics],
        configs=[config_to_pb(config) for config in change.configs],
        cursor=change.cursor,
        interest=change.interest,
    )
    return _dump(message, change.blocks)


def load_change(data: bytes) -> Change:
    """The change of a message. Payloads of large blocks lie in `data`. Raises MalformedError."""
    try:
        message, blocks = _load(pb.Change, data)
    except DecodeError:
        raise MalformedError(f"{len(data)} bytes are not a {pb.Change.DESCRIPTOR.full_name}") from None
    return Change(
        tuple(topic_from_pb(topic) for topic in message.topics),
        tuple(config_from_pb(config) for config in message.configs),
        blocks,
        message.cursor,
        message.interest,
    )


def listing_to_pb(listing: Listing) -> Iterator[pb.Listing]:
    topic, lengths = topic_to_pb(listing.topic), iter(listing.lengths.items())
    series = list(islice(lengths, _LISTED))
    while True:
        yield pb.Listing(topic=topic, series=[pb.Series(index=index, length=length) for index, length in series])
        series = list(islice(lengths, _LISTED))
        if not series:
            return


def listings_from_pb(messages: Iterable[pb.Listing]) -> Iterator[Listing]:
    for _, same in groupby(messages, key=lambda message: message.topic.id):
        first, *more = same
        lengths = {series.index: series.length for message in (first, *more) for series in message.series}
        yield Listing(topic_from_pb(first.topic), lengths)


def delete_to_pb(scope: str, names: Sequence[str]) -> pb.DeleteRequest:
    return pb.DeleteRequest(scope=scope, names=names)


def restore_to_pb(scope: str, names: Sequence[str]) -> pb.RestoreRequest:
    return pb.RestoreRequest(scope=scope, names=names)


def purge_to_pb(scope: str, names: Sequence[str]) -> pb.PurgeRequest:
    return pb.PurgeRequest(scope=scope, names=names)


def usage_request_to_pb(scope_filter: str | None) -> pb.UsageRequest:
    return pb.UsageRequest(scope_filter=scope_filter)


def usage_to_pb(usage: Usage) -> pb.ScopeUsage:
    live, trash = (pb.Size(topics=it.topics, points=it.points, bytes=it.bytes) for it in (usage.live, usage.trash))
    return pb.ScopeUsage(scope=usage.scope, live=live, trash=trash)


def usage_from_pb(message: pb.ScopeUsage) -> Usage:
    live, trash = (Size(it.topics, it.points, it.bytes) for it in (message.live, message.trash))
    return Usage(message.scope, live, trash)


def sizes_request_to_pb(scope: str | None, *, trash: bool) -> pb.SizesRequest:
    return pb.SizesRequest(scope=scope, trash=trash)


def topic_size_to_pb(size: TopicSize) -> pb.TopicSize:
    return pb.TopicSize(scope=size.scope, name=size.name, points=size.points, bytes=size.bytes, deleted=size.deleted)


def topic_size_from_pb(message: pb.TopicSize) -> TopicSize:
    deleted = message.deleted if message.HasField("deleted") else None
    return TopicSize(message.scope, message.name, message.points, message.bytes, deleted)


def runs_request_to_pb(scope_filter: str | None) -> pb.RunsRequest:
    return pb.RunsRequest(scope_filter=scope_filter)


def run_info_to_pb(run: RunInfo) -> pb.RunInfo:
    return pb.RunInfo(
        scope=run.scope,
        status=run.status,
        started=run.started,
        updated=run.updated,
        names=run.names,
        points=run.points,
        bytes=run.bytes,
        counters=json.dumps(run.counters),
    )


def run_info_from_pb(message: pb.RunInfo) -> RunInfo:
    return RunInfo(
        message.scope,
        cast("RunStatus", message.status),
        message.started if message.HasField("started") else None,
        message.updated if message.HasField("updated") else None,
        message.names,
        message.points,
        message.bytes,
        json.loads(message.counters),
    )


def stats_request_to_pb() -> pb.StatsRequest:
    return pb.StatsRequest()


def stats_to_pb(stats: Stats) -> pb.StatsReply:
    metrics = [
        pb.Metric(name=m.name, help=m.help, counter=m.counter, value=m.value, labels=m.labels) for m in stats.metrics
    ]
    return pb.StatsReply(version=stats.version, metrics=metrics)


def stats_from_pb(message: pb.StatsReply) -> Stats:
    metrics = (Metric(m.name, m.value, m.help, m.counter, dict(m.labels)) for m in message.metrics)
    return Stats(message.version, tuple(metrics))
