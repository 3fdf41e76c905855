"""A hundred writers beside a hundred subscribers on one server: each subscriber gets every point once, in order."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest

from streamvis.codec import decode, encode
from streamvis.columns import Block
from streamvis.records import Batch, Declaration, Interest, Query
from streamvis.server.run import serving
from streamvis.server.service import SERVICE_NAME
from streamvis.transport import CHANNEL_OPTIONS
from streamvis.v1 import streamvis_pb2 as pb
from streamvis.wire import dump_batch, interest_to_pb, load_change

WRITERS, SUBSCRIBERS, SERIES, BATCHES, EACH = 100, 100, 50, 4, 5
WAIT = 60.0


def _names(writer: int) -> list[str]:
    """The series that a writer shares with nine others."""
    return [f"loss{(writer * EACH + place) % SERIES}" for place in range(EACH)]


def _batch(writer: int, number: int) -> Batch:
    declared = tuple(Declaration(handle, "run", name, ("x",)) for handle, name in enumerate(_names(writer), 1))
    value = np.array([[writer * BATCHES + number]])
    blocks = tuple(encode(Block(handle, 0, {"x": value})) for handle in range(1, EACH + 1))
    return Batch(f"w{writer}", number, declared if number == 1 else (), (), blocks)


async def _write(channel: grpc.aio.Channel, writer: int) -> None:
    call = channel.stream_stream(f"/{SERVICE_NAME}/Write", dump_batch, pb.Ack.FromString)()
    for number in range(1, BATCHES + 1):
        await call.write(_batch(writer, number))
        ack = await call.read()
        assert (ack.number, ack.expected, ack.gone, ack.rejected) == (number, 0, [], [])
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK


async def _subscribe(channel: grpc.aio.Channel, query: Query, expected: int) -> dict[str, list[int]]:
    """The values of each series, in the order in which they came, once there are as many as expected."""
    call = channel.stream_stream(f"/{SERVICE_NAME}/Subscribe")()
    await call.write(interest_to_pb(Interest(1, query)).SerializeToString())
    names: dict[int, str] = {}
    found = defaultdict[str, list[int]](list)
    async for message in call:
        change = load_change(message)
        names.update({topic.id: topic.name for topic in change.topics})
        for block in change.blocks:
            found[names[block.topic]] += decode(block, ("x",)).columns["x"][0].tolist()
        if change.cursor and sum(map(len, found.values())) >= expected:
            break
    call.cancel()
    return found


async def _play(uri: str) -> list[tuple[Query, dict[str, list[int]]]]:
    """Everyone over a connection of their own, in any order; what each subscriber asked for and got."""
    chance = random.Random(0)
    odd = Query(scope_filter="run", name_filters=("[13579]$",))
    queries = [chance.choice((Query(), odd)) for _ in range(SUBSCRIBERS)]
    async with AsyncExitStack() as stack:

        async def channel() -> grpc.aio.Channel:
            await asyncio.sleep(chance.random() / 2)
            return await stack.enter_async_context(grpc.aio.insecure_channel(uri, options=CHANNEL_OPTIONS))

        async def write(writer: int) -> None:
            await _write(await channel(), writer)

        async def subscribe(query: Query) -> tuple[Query, dict[str, list[int]]]:
            total = sum(map(len, _expected(query).values()))
            return query, await _subscribe(await channel(), query, total)

        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
            subscribers = [group.create_task(subscribe(query)) for query in queries]
            for writer in range(WRITERS):
                group.create_task(write(writer))
    return [subscriber.result() for subscriber in subscribers]


def _expected(query: Query) -> dict[str, list[int]]:
    """The values of each series, ascending."""
    found = defaultdict[str, list[int]](list)
    for writer in range(WRITERS):
        for name in _names(writer):
            if not query.name_filters or int(name[-1]) % 2:
                found[name] += range(writer * BATCHES + 1, (writer + 1) * BATCHES + 1)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("where", ["memory", "sqlite"])
def test_a_hundred_subscribers_get_what_a_hundred_writers_write(where: str, tmp_path: Path) -> None:
    """Each point once and each writer's in order, whenever a subscriber came and whatever it asked for."""
    with serving("memory:" if where == "memory" else str(tmp_path / "data")) as server:
        results = asyncio.run(_play(server.uri))
    assert len(results) == SUBSCRIBERS
    for query, found in results:
        assert {name: sorted(values) for name, values in found.items()} == _expected(query)
        for values in found.values():
            last: dict[int, int] = {}
            for value in values:
                writer = (value - 1) // BATCHES
                assert last.get(writer, 0) < value
                last[writer] = value
