"""How a client reaches a data server: addresses, channel options, stubs, and the Write stream."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol, TypeAlias

import grpc

from streamvis.errors import StreamvisError, UnavailableError, UsageError, from_status
from streamvis.records import Ack, Batch
from streamvis.v1 import streamvis_pb2 as pb
from streamvis.v1 import streamvis_pb2_grpc as services
from streamvis.wire import ack_from_pb, dump_batch

MESSAGE_LIMIT = 16 << 20
"""Bytes of one message at most, at both ends; senders split at about 1 MiB and never come near it."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 30_000),  # finds dead peers behind address translation
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a channel of its own: no other one's back-off delays the next try
    ("grpc.max_reconnect_backoff_ms", 2_000),  # a server that is back is found again soon
)

_LOADED_IN = os.getpid()


def loaded_before_fork() -> bool:
    """Whether this is a forked child of the process that loaded gRPC, which does not work here then."""
    return os.getpid() != _LOADED_IN


def open_channel(uri: str) -> grpc.Channel:
    """A channel to `host:port` or `unix:path`; it connects when it is first used. Raises UsageError."""
    return grpc.insecure_channel(check_uri(uri), options=CHANNEL_OPTIONS)


def open_stub(channel: grpc.Channel) -> services.StreamvisStub:
    """The data server's methods over that channel."""
    return services.StreamvisStub(channel)


class BlockStreams:
    """The methods that carry blocks, over that channel. Changes come as bytes, which `wire.load_change` reads in place.

    The generated stub would copy every payload twice more on its way.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        service = pb.DESCRIPTOR.services_by_name["Streamvis"].full_name
        self.write = channel.stream_stream(f"/{service}/Write", dump_batch, pb.Ack.FromString)
        self.fetch = channel.unary_stream(f"/{service}/Fetch", pb.Query.SerializeToString, None)
        self.subscribe = channel.stream_stream(f"/{service}/Subscribe", pb.Interest.SerializeToString, None)


def check_uri(uri: str) -> str:
    """The address as gRPC takes it. Raises UsageError unless it is `host:port` or `unix:path`."""
    if f"{uri}".startswith("unix:") and len(uri) > len("unix:"):
        return uri
    host, _, port = f"{uri}".rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{uri!r} is not the address of a data server; expected host:port or unix:path")
    return uri


class Link(Protocol):
    """One open Write stream. What comes back goes to the callbacks that it was opened with, on another thread."""

    def send(self, batch: Batch) -> None:
        """Hands the batch over without waiting for the network; an ack or the end of the stream follows."""

    def close(self) -> None:
        """Ends the stream; no callback is called for it."""


OpenLink: TypeAlias = Callable[[Callable[[Ack], None], Callable[[StreamvisError], None]], Link]
"""Opens a stream from `on_ack` and `on_lost`: called with each answer in order, and once if the stream ends."""


class GrpcLink:
    """A Write stream over a channel of its own."""

    def __init__(self, uri: str, on_ack: Callable[[Ack], None], on_lost: Callable[[StreamvisError], None]) -> None:
        self._requests: SimpleQueue[Batch | None] = SimpleQueue()
        self._channel = open_channel(uri)
        self._call = BlockStreams(self._channel).write(iter(self._requests.get, None))
        self._closed = False
        self._reader = threading.Thread(
            target=self._read, args=(uri, on_ack, on_lost), name="streamvis-acks", daemon=True
        )
        self._reader.start()

    def send(self, batch: Batch) -> None:
        """Queues the batch for the stream."""
        self._requests.put(batch)

    def close(self) -> None:
        """Ends the stream and closes the channel."""
        self._closed = True
        self._requests.put(None)
        self._call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        self._channel.close()

    def _read(self, uri: str, on_ack: Callable[[Ack], None], on_lost: Callable[[StreamvisError], None]) -> None:
        error: StreamvisError = UnavailableError(f"{uri} ended the stream")
        try:
            for message in self._call:
                on_ack(ack_from_pb(message))
        except grpc.RpcError as failure:
            error = _error(uri, failure)
        if not self._closed:
            on_lost(error)


def _error(uri: str, failure: grpc.RpcError) -> StreamvisError:
    if failure.code() is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(f"no streamvis server answers at {uri}")
    if failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in str(failure.details()):
        return UsageError(f"{uri}: {failure.details()}")  # by gRPC itself, at either end: the disk is not full
    return from_status(failure.code().name, f"{uri}: {failure.details()}")
