"""Functions to read and change what a data server holds, each over a connection of its own; `Client` keeps one open.

`uri` is `host:port` or `unix:path`; None means STREAMVIS_GRPC_URI, else localhost:8081.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamvis.client import Client
from streamvis.points import Points
from streamvis.records import TopicSize


def scopes(uri: str | None = None) -> list[str]:
    """The scopes, oldest first."""
    with Client(uri) as client:
        return client.scopes()


def names(uri: str | None, scope: str) -> list[str]:
    """The names in a scope, oldest first."""
    with Client(uri) as client:
        return client.names(scope)


def fetch(uri: str | None = None, scope: str | None = None, name: str | None = None) -> Points:
    """Series by (scope, name, index), each a dict of 1-D arrays by column: of that scope and name, or all."""
    with Client(uri) as client:
        return client.fetch(scope, name)


def fetch_with_filters(
    uri: str | None = None, scope_filter: str | None = None, name_filters: str | Sequence[str] | None = None
) -> Points:
    """The same for scopes and names that match: RE2, found anywhere, a leading `!` negates; any of the name filters."""
    with Client(uri) as client:
        return client.fetch_with_filters(scope_filter, name_filters)


def config(uri: str | None, scope: str) -> dict[str, Any]:
    """The scope's config; empty if it has none."""
    with Client(uri) as client:
        return client.config(scope)


def delete(uri: str | None, scope: str, names: str | Sequence[str] | None = None) -> int:
    """Moves those names of the scope, or with None the whole scope, to the trash; returns how many topics."""
    with Client(uri) as client:
        return client.delete(scope, names)


def restore(uri: str | None, scope: str, names: str | Sequence[str] | None = None) -> int:
    """Brings them back; refused with ConflictError while a live topic has one of the names. Returns how many topics."""
    with Client(uri) as client:
        return client.restore(scope, names)


def purge(uri: str | None, scope: str, names: str | Sequence[str] | None = None) -> int:
    """Removes them from the trash for good, which frees the space; returns how many topics."""
    with Client(uri) as client:
        return client.purge(scope, names)


def trash(uri: str | None = None, scope: str | None = None) -> list[TopicSize]:
    """What can be restored or purged, of one scope or all, in the order in which it was deleted."""
    with Client(uri) as client:
        return client.trash(scope)
