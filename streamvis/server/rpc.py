"""What the methods of every service do alike: parse what comes in, answer our exceptions with their status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from streamvis.errors import MalformedError, StreamvisError

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

MAX_STATUS_CHARACTERS = 1000
"""A status travels in the trailers, which peers limit to 8 KiB."""

_M = TypeVar("_M", bound=Message)


def parsed(kind: type[_M], data: bytes) -> _M:
    """The message. Raises MalformedError."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise MalformedError(f"the request's {len(data)} bytes are not a {kind.DESCRIPTOR.full_name}") from None


@asynccontextmanager
async def statuses(context: Context) -> AsyncIterator[None]:
    """Answers our exceptions with their gRPC status: the one place where they are translated."""
    try:
        yield
    except StreamvisError as error:
        await context.abort(grpc.StatusCode[error.status], str(error)[:MAX_STATUS_CHARACTERS])
