"""What a transaction or a snapshot of an SQL engine can do, and reading by many keys at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

_KEYS_PER_STATEMENT = 256


class Rows(Protocol):
    """What a statement answers; a cursor."""

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """Ends the statement, though rows may be left."""


class Session(Protocol):
    """What a transaction or a snapshot can do; sqlite3's connections can."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """The rows of a statement with `?` for each parameter."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Runs a statement for each row of parameters."""


def singles(keys: Iterable[Any]) -> list[tuple[Any]]:
    """Keys of one value, as `select` and `executemany` take them."""
    return [(key,) for key in keys]


def select(session: Session, statement: str, keys: Collection[tuple[Any, ...]]) -> list[Any]:
    """The rows of those keys, for which the statement has `{keys}`.

    The last key is repeated to make few distinct statements, which stay prepared.
    """
    remaining, rows = list(keys), list[Any]()
    while remaining:
        chunk = remaining[-_KEYS_PER_STATEMENT:]
        del remaining[-_KEYS_PER_STATEMENT:]
        chunk += chunk[-1:] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
        marks = ", ".join([f"({', '.join('?' * len(chunk[0]))})"] * len(chunk))
        rows += session.execute(statement.format(keys=marks), [value for key in chunk for value in key])
    return rows
