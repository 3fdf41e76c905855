"""One method per rpc of streamvis.v1: checks what comes in, hands it to the committer, sends what views select."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from itertools import chain
from typing import Any

import grpc

from streamvis import __version__, wire
from streamvis.clock import steady_time
from streamvis.errors import MalformedError, UnavailableError, UsageError
from streamvis.filters import Patterns
from streamvis.records import Ack, Batch, Change, Metric, Query, Stats, pack_cursor
from streamvis.server.broadcast import Broadcast
from streamvis.server.checks import BatchChecker, check_text
from streamvis.server.committer import Committer
from streamvis.server.meter import Meter, stored_metrics
from streamvis.server.room import Room
from streamvis.server.rpc import Context, parsed, statuses
from streamvis.server.runs import run_infos
from streamvis.server.subscription import Readers, Subscription
from streamvis.server.views import Selection, View, listings, seq_of
from streamvis.storage.base import Commit, Store, Submission
from streamvis.v1 import streamvis_pb2 as pb

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Streamvis"].full_name

MAX_IN_FLIGHT = 64
"""Batches of one stream that wait for their ack."""
READ_SECONDS = 1.0
"""How long a stopping server waits for reads that nobody will get."""

STREAM_BYTES = 32 << 20
"""Bytes of one stream's batches that wait for their commit."""
ALL_BYTES = 256 << 20
"""Bytes of all streams' batches that do."""


class Service:
    """The data server's methods over one store. Made on the event loop that serves it."""

    def __init__(self, store: Store, broadcast: Broadcast | None = None) -> None:
        self._store = store
        self._broadcast = broadcast or Broadcast()
        self._loop = asyncio.get_running_loop()
        self._readers = Readers()
        self._committer = Committer(store, self._publish)
        self._patterns = Patterns()
        self._meter = Meter()
        self._room = Room(ALL_BYTES)
        self._subscriptions: set[Subscription] = set()
        self._started = steady_time()
        self._stopping = False
        self._pulls: set[asyncio.Task[None]] = set()

    def _publish(self, commit: Commit) -> None:
        self._loop.call_soon_threadsafe(self._announce, commit)

    def _announce(self, commit: Commit) -> None:
        self._meter.committed(commit)
        self._broadcast.publish(commit)

    def stop(self, seconds: float) -> None:
        """Makes every stream end with UNAVAILABLE, writers' once what they have sent is acknowledged.

        What could not be stored within so many seconds is not acknowledged.
        """
        self._stopping = True
        self._committer.expire(seconds)
        for pull in self._pulls:
            pull.cancel()
        self._broadcast.wake()

    async def close(self) -> None:
        """Returns when everything submitted is stored and the store can be closed."""
        await asyncio.to_thread(self._committer.close)
        await asyncio.to_thread(self._readers.close, READ_SECONDS)

    # ---- writing

    async def write(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[pb.Ack]:
        """Batches in, acks out in the same order; reading goes on while commits are pending."""
        acks: asyncio.Queue[asyncio.Future[Ack] | None] = asyncio.Queue()
        room = asyncio.Semaphore(MAX_IN_FLIGHT)
        async with statuses(context), self._pulling(self._pull_batches(requests, acks, room)) as pull:
            with self._meter.writing():
                try:
                    while (ack := await acks.get()) is not None:
                        yield wire.ack_to_pb(await ack)
                        room.release()
                finally:
                    await _settled(acks)
            self._check_running()
            await pull

    async def _pull_batches(
        self,
        requests: AsyncIterator[bytes],
        acks: asyncio.Queue[asyncio.Future[Ack] | None],
        room: asyncio.Semaphore,
    ) -> None:
        checker, stream_room = BatchChecker(), Room(STREAM_BYTES)
        bindings: dict[int, int] = {}
        try:
            async for message in requests:
                batch = self._checked(message, checker)
                await room.acquire()
                rooms = [(it, await it.enter(len(message))) for it in (stream_room, self._room)]
                acks.put_nowait(self._submitted(Submission(batch, bindings), rooms))
        finally:
            acks.put_nowait(None)

    def _checked(self, message: bytes, checker: BatchChecker) -> Batch:
        try:
            batch = wire.load_batch(message)
            checker.check(batch)
        except UsageError:
            self._meter.refused()
            raise
        return batch

    def _submitted(self, submission: Submission, rooms: Iterable[tuple[Room, int]]) -> asyncio.Future[Ack]:
        start = time.monotonic()

        def settle(ack: asyncio.Future[Ack]) -> None:
            failed = ack.cancelled() or ack.exception()
            self._meter.settled(None if failed else ack.result(), time.monotonic() - start)
            for room, size in rooms:
                room.leave(size)

        ack = asyncio.wrap_future(self._committer.append(submission))
        self._meter.submitted()
        ack.add_done_callback(settle)
        return ack

    async def set_config(self, request: bytes, context: Context) -> pb.SetConfigReply:
        """Merges a config."""
        async with statuses(context):
            config = wire.config_from_pb(parsed(pb.Config, request))
            check_text("scope", config.scope)
            commit = await asyncio.wrap_future(self._committer.set_config(config))
            return pb.SetConfigReply(cursor=self._cursor(commit.seq))

    async def delete(self, request: bytes, context: Context) -> pb.DeleteReply:
        """Tombstones topics."""
        async with statuses(context):
            message = parsed(pb.DeleteRequest, request)
            check_text("scope", message.scope)
            commit = await asyncio.wrap_future(self._committer.delete(message.scope, tuple(message.names)))
            deleted = sum(topic.deleted for topic in commit.topics)
            return pb.DeleteReply(topics=deleted, cursor=self._cursor(commit.seq))

    async def restore(self, request: bytes, context: Context) -> pb.RestoreReply:
        """Brings topics back from the trash."""
        async with statuses(context):
            message = parsed(pb.RestoreRequest, request)
            check_text("scope", message.scope)
            commit = await asyncio.wrap_future(self._committer.restore(message.scope, tuple(message.names)))
            return pb.RestoreReply(topics=len(commit.topics), cursor=self._cursor(commit.seq))

    async def purge(self, request: bytes, context: Context) -> pb.PurgeReply:
        """Empties the trash."""
        async with statuses(context):
            message = parsed(pb.PurgeRequest, request)
            check_text("scope", message.scope)
            purged = await asyncio.wrap_future(self._committer.purge(message.scope, tuple(message.names)))
            return pb.PurgeReply(topics=purged)

    # ---- reading

    async def fetch(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """What the query selects as of now, closed by a cursor."""
        async with statuses(context):
            view = await self._open(wire.query_from_pb(parsed(pb.Query, request)))
            async with aclosing(self._readers.ahead(map(wire.dump_change, view.catch_up(self._store)))) as changes:
                async for change in changes:
                    if change:
                        yield change
            yield wire.dump_change(Change(cursor=self._cursor(view.seq)))

    async def subscribe(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """For each interest what the store holds, then everything that is committed afterwards."""
        async with statuses(context):
            with self._broadcast.listening() as wake, self._subscribing(wake) as subscription:
                async with (
                    self._pulling(self._pull_interests(requests, subscription, wake)) as pull,
                    aclosing(subscription.changes(partial(self._check_stream, pull))) as changes,
                ):
                    async for change in changes:
                        yield wire.dump_change(change)

    @contextmanager
    def _subscribing(self, wake: asyncio.Event) -> Iterator[Subscription]:
        subscription = Subscription(self._store, self._broadcast, self._readers, wake)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def _pull_interests(
        self, requests: AsyncIterator[bytes], subscription: Subscription, wake: asyncio.Event
    ) -> None:
        try:
            async for message in requests:
                interest = wire.interest_from_pb(parsed(pb.Interest, message))
                if interest.id < 1:
                    raise MalformedError("an interest has id 0; expected 1, 2, 3, …")
                if interest.query is not None and interest.query.reduction is not None:
                    raise UsageError("an interest cannot be reduced; fetch with the reduction, again after its cursor")
                subscription.drop(interest.id)
                if interest.query is not None:
                    subscription.add(interest.id, await self._open(interest.query))
        finally:
            wake.set()

    def _check_stream(self, pull: asyncio.Task[None]) -> None:
        """Raises what ends a stream. Requests that have come to their end do not: answers go on."""
        self._check_running()
        if pull.done():
            pull.result()

    async def list(self, request: bytes, context: Context) -> AsyncIterator[pb.Listing]:
        """Topics and the lengths of their series."""
        async with statuses(context):
            selection = Selection(query := wire.query_from_pb(parsed(pb.Query, request)), self._patterns)
            async with aclosing(self._readers.ahead(listings(self._store, selection, not query.catalog_only))) as piles:
                async for pile in piles:
                    for message in chain.from_iterable(map(wire.listing_to_pb, pile)):
                        yield message

    # ---- sizes

    async def usage(self, request: bytes, context: Context) -> AsyncIterator[pb.ScopeUsage]:
        """What each scope takes."""
        async with statuses(context):
            message = parsed(pb.UsageRequest, request)
            wanted = message.scope_filter if message.HasField("scope_filter") else ""
            matches = self._patterns.get(wanted).matches
            for usage in await self._readers.call(self._store.usage):
                if matches(usage.scope):
                    yield wire.usage_to_pb(usage)

    async def sizes(self, request: bytes, context: Context) -> AsyncIterator[pb.TopicSize]:
        """What each topic takes."""
        async with statuses(context):
            message = parsed(pb.SizesRequest, request)
            scope = message.scope if message.HasField("scope") else None
            read = partial(self._store.topic_sizes, scope, deleted=message.trash)
            for size in await self._readers.call(read):
                yield wire.topic_size_to_pb(size)

    async def runs(self, request: bytes, context: Context) -> AsyncIterator[pb.RunInfo]:
        """How runs are doing."""
        async with statuses(context):
            message = parsed(pb.RunsRequest, request)
            matches = self._patterns.get(message.scope_filter if message.HasField("scope_filter") else "").matches
            reports = await self._readers.call(self._store.reports)
            usage = await self._readers.call(self._store.usage)
            for run in run_infos(usage, reports, steady_time(), self._started):
                if matches(run.scope):
                    yield wire.run_info_to_pb(run)

    # ---- watching

    async def stats(self, request: bytes, context: Context) -> pb.StatsReply:
        """What the server has done so far."""
        async with statuses(context):
            parsed(pb.StatsRequest, request)
            usage = await self._readers.call(self._store.usage)
            return wire.stats_to_pb(
                Stats(__version__, (*self._meter.metrics(), *self._metrics(), *stored_metrics(usage)))
            )

    def _metrics(self) -> Iterator[Metric]:
        subscriptions, ring = self._subscriptions, self._broadcast
        yield Metric("streamvis_subscribers", len(subscriptions), "Open subscriptions.")
        yield Metric("streamvis_interests", sum(it.interests for it in subscriptions), "What they ask for.")
        lag = max((it.lag for it in subscriptions), default=0.0)
        yield Metric("streamvis_subscriber_lag_seconds", lag, "Age of the oldest commit that a subscriber waits for.")
        yield Metric("streamvis_waiting_bytes", self._room.taken, "Bytes of the batches that wait for their commit.")
        yield Metric("streamvis_ring_bytes", ring.size, "Bytes of the latest commits, which subscribers share.")

    # ---- shared

    async def _open(self, query: Query) -> View:
        selection = Selection(query, self._patterns)
        after = await self._readers.call(seq_of, query.cursor, self._store)
        return View(selection, after, not query.catalog_only, query.reduction)

    def _cursor(self, seq: int) -> bytes:
        return pack_cursor({self._store.timeline: seq})

    def _check_running(self) -> None:
        if self._stopping:
            raise UnavailableError("the server is stopping; connect again when it is back")

    @asynccontextmanager
    async def _pulling(self, reading: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
        """Reads a stream's requests in a task of its own, which ends with the stream."""
        pull = asyncio.create_task(reading)
        self._pulls.add(pull)
        try:
            yield pull
        finally:
            self._pulls.discard(pull)
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)


async def _settled(acks: asyncio.Queue[asyncio.Future[Ack] | None]) -> None:
    """Waits for commits whose acks nobody will read."""
    pending = [acks.get_nowait() for _ in range(acks.qsize())]
    await asyncio.gather(*filter(None, pending), return_exceptions=True)


def rpc_handler(service: Service) -> grpc.GenericRpcHandler[Any, Any]:
    """The service's methods under their rpc names. They parse requests themselves, so that bad bytes get a status."""
    listing = pb.Listing.SerializeToString
    usage, size = pb.ScopeUsage.SerializeToString, pb.TopicSize.SerializeToString
    methods = {
        "Write": grpc.stream_stream_rpc_method_handler(service.write, None, pb.Ack.SerializeToString),
        "Fetch": grpc.unary_stream_rpc_method_handler(service.fetch),
        "Subscribe": grpc.stream_stream_rpc_method_handler(service.subscribe),
        "List": grpc.unary_stream_rpc_method_handler(service.list, None, listing),
        "SetConfig": grpc.unary_unary_rpc_method_handler(service.set_config, None, pb.SetConfigReply.SerializeToString),
        "Delete": grpc.unary_unary_rpc_method_handler(service.delete, None, pb.DeleteReply.SerializeToString),
        "Restore": grpc.unary_unary_rpc_method_handler(service.restore, None, pb.RestoreReply.SerializeToString),
        "Usage": grpc.unary_stream_rpc_method_handler(service.usage, None, usage),
        "Sizes": grpc.unary_stream_rpc_method_handler(service.sizes, None, size),
        "Runs": grpc.unary_stream_rpc_method_handler(service.runs, None, pb.RunInfo.SerializeToString),
        "Stats": grpc.unary_unary_rpc_method_handler(service.stats, None, pb.StatsReply.SerializeToString),
        "Purge": grpc.unary_unary_rpc_method_handler(service.purge, None, pb.PurgeReply.SerializeToString),
    }
    return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)
