"""Commands that list what a data server holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from streamvis.cli.program import command, list_options, open_client, print_result, scope_argument, uri_argument
from streamvis.errors import NotFoundError

if TYPE_CHECKING:
    from streamvis.client import Client
    from streamvis.records import RunInfo

_TIME = "%Y-%m-%d %H:%M:%S"


def check_scope(client: Client, uri: str, scope: str) -> None:
    """Raises NotFoundError, with what to do, unless the server has the scope."""
    if scope not in client.scopes():
        raise NotFoundError(f"{uri} has no scope {scope!r}; `streamvis scopes {uri}` lists those it has")


@command("scopes", "localhost:8081 --match '^run'")
@uri_argument
@list_options
def scopes(uri: str, match: str | None, as_json: bool) -> None:
    """Lists the scopes, oldest first.

    A line each, separated by tabs: scope; running, stalled, finished, crashed or unknown; when its writer was last
    heard; names, points and bytes.
    """
    with open_client(uri) as client:
        found = client.runs(match)
    print_result(as_json, [asdict(run) for run in found], map(_run_line, found))


def _run_line(run: RunInfo) -> str:
    when = "" if run.updated is None else datetime.fromtimestamp(run.updated, UTC).astimezone().strftime(_TIME)
    return "\t".join((run.scope, run.status, when, *(str(number) for number in (run.names, run.points, run.bytes))))


@command("names", "localhost:8081 run24")
@uri_argument
@scope_argument
@list_options
def names(uri: str, scope: str, match: str | None, as_json: bool) -> None:
    """Lists the names in a scope, oldest first."""
    with open_client(uri) as client:
        found = client.names(scope, match)
        if not found:
            check_scope(client, uri, scope)
    print_result(as_json, found, found)


@command("counts", "localhost:8081 run24 --json")
@uri_argument
@scope_argument
@list_options
def counts(uri: str, scope: str, match: str | None, as_json: bool) -> None:
    """Lists the series of a scope and their lengths.

    A line each: scope, name, index, and column:length of every column.
    """
    with open_client(uri) as client:
        wanted = set(client.names(scope, match))
        if not wanted:
            check_scope(client, uri, scope)
        found = [
            {"scope": scope, "name": topic.name, "index": index, "columns": dict.fromkeys(topic.columns, length)}
            for topic, length_by_index in _lengths(client, scope)
            if topic.name in wanted
            for index, length in sorted(length_by_index.items())
        ]
    print_result(as_json, found, map(_count_line, found))


def _lengths(client: Client, scope: str) -> Iterator[tuple[Any, Mapping[int, int]]]:
    from streamvis.records import Query

    listings = client.listings(Query(scope_filter=scope, exact=True))
    return ((listing.topic, listing.lengths) for listing in listings)


def _count_line(series: Mapping[str, Any]) -> str:
    columns = " ".join(f"{column}:{length}" for column, length in series["columns"].items())
    return f"{series['scope']}\t{series['name']}\t{series['index']}\t{columns}"


@command("config", "localhost:8081 run24")
@uri_argument
@scope_argument
@list_options
def config(uri: str, scope: str, match: str | None, as_json: bool) -> None:
    """Prints the hyperparameters of a scope.

    A line per value, under its dotted key, which --match selects by.
    """
    from streamvis.filters import Pattern

    with open_client(uri) as client:
        values = client.config(scope)
        if not values:
            check_scope(client, uri, scope)
    pattern = Pattern(match or "")
    flat = {key: value for key, value in _flatten(values) if pattern.matches(key)}
    print_result(
        as_json, values if match is None else flat, (f"{key}: {json.dumps(value)}" for key, value in flat.items())
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
