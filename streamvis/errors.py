"""Every exception that streamvis raises, and the gRPC status that carries it.

StreamvisError
├── UsageError (ValueError)        what the caller passed cannot work
│   ├── ColumnsError               column names, shapes or ranks that do not fit
│   ├── PatternError               a regular expression that RE2 refuses
│   └── MalformedError             bytes that do not decode
├── DtypeError (TypeError)         a value that no column can hold
├── SyncError (AssertionError)      a line that waits for a device, inside `assert_no_sync`
├── StateError (RuntimeError)      a logger used before start or after stop
├── NotFoundError                  a scope or name that does not exist
├── ConflictError                  disagreement with what is stored
│   └── RejectedError              points that the server refused; kept under SPOOL/rejected
├── UnavailableError               the server does not answer
├── FlushTimeoutError (TimeoutError)
├── BufferFullError                no room left for what was written
├── StoreError                     the data files cannot be used
│   ├── StoreLockedError           another server holds them
│   ├── StoreFormatError           they are not ours
│   ├── StoreDamagedError          they cannot be read any more
│   └── StoreFullError             no space left on the disk
├── SpoolError                     a spool that cannot be read or written
└── PluginError                    a plugin that is missing or does not load
"""

from __future__ import annotations

from typing import ClassVar


class StreamvisError(Exception):
    """Base of all errors of this package."""

    status: ClassVar[str] = "INTERNAL"


class UsageError(StreamvisError, ValueError):
    """What the caller passed cannot work; the message names it and says what is expected."""

    status = "INVALID_ARGUMENT"
    faults: tuple[str, ...] = ()
    """A line for each thing that is wrong, where all of them are told at once."""


class ColumnsError(UsageError):
    """Column names, shapes or ranks do not fit."""


class PatternError(UsageError):
    """RE2 refuses a regular expression, for this reason."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class MalformedError(UsageError):
    """Bytes from a file or a peer do not decode."""


class DtypeError(StreamvisError, TypeError):
    """No column can hold this value."""

    status = "INVALID_ARGUMENT"


class SyncError(StreamvisError, AssertionError):
    """A line waits for a device, inside `assert_no_sync`."""


class StateError(StreamvisError, RuntimeError):
    """A logger was used before start or after stop."""

    status = "FAILED_PRECONDITION"


class NotFoundError(StreamvisError):
    """There is no such scope or name."""

    status = "NOT_FOUND"


class ConflictError(StreamvisError):
    """The request disagrees with what is stored."""

    status = "FAILED_PRECONDITION"


class RejectedError(ConflictError):
    """The server refused points of some topics; they are kept under SPOOL/rejected."""


class UnavailableError(StreamvisError):
    """The server does not answer."""

    status = "UNAVAILABLE"


class FlushTimeoutError(StreamvisError, TimeoutError):
    """A flush did not complete in the given time; what it waits for stays buffered."""

    status = "DEADLINE_EXCEEDED"


class BufferFullError(StreamvisError):
    """There is no room for what was written."""

    status = "RESOURCE_EXHAUSTED"


class StoreError(StreamvisError):
    """The data files cannot be used."""


class StoreLockedError(StoreError):
    """Another server holds the data files."""

    status = "FAILED_PRECONDITION"


class StoreFormatError(StoreError):
    """The data files were not made by streamvis, or by a newer version."""

    status = "FAILED_PRECONDITION"


class StoreDamagedError(StoreError):
    """The data files were altered or cut, or their disk fails."""

    status = "DATA_LOSS"


class StoreFullError(StoreError):
    """The disk is full: nothing was stored, reading goes on."""

    status = "RESOURCE_EXHAUSTED"


class SpoolError(StreamvisError):
    """A spool cannot be read or written."""


class PluginError(StreamvisError):
    """A plugin is missing or does not load."""

    status = "NOT_FOUND"


_BY_STATUS: dict[str, type[StreamvisError]] = {
    "INVALID_ARGUMENT": UsageError,
    "NOT_FOUND": NotFoundError,
    "FAILED_PRECONDITION": ConflictError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
    "RESOURCE_EXHAUSTED": StoreFullError,
    "DATA_LOSS": StoreDamagedError,
}


def from_status(status: str, message: str) -> StreamvisError:
    """The exception that a gRPC status of that name stands for."""
    return _BY_STATUS.get(status, StreamvisError)(message)
