"""Commands that say what takes how much, live and in the trash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from streamvis.cli.program import command, json_option, list_options, open_client, print_result, uri_argument
from streamvis.cli.reading import check_scope

if TYPE_CHECKING:
    from streamvis.records import TopicSize, Usage


@command("du", "localhost:8081 run24")
@uri_argument
@click.argument("scope", required=False)
@list_options
def du(uri: str, scope: str | None, match: str | None, as_json: bool) -> None:
    """Says how much each scope takes on the server, or each name of SCOPE.

    A line each, the largest first: bytes as stored, points, the scope or name, and what of it is in the trash, which
    `streamvis purge` frees. With several, the last line is the total.
    """
    with open_client(uri) as client:
        if scope is None:
            found = list(client.usage(match).values())
        else:
            found = _of_names([*client.sizes(scope), *client.trash(scope)], match)
            if not found:
                check_scope(client, uri, scope)
    found.sort(key=lambda usage: usage.live.bytes + usage.trash.bytes, reverse=True)
    kind = "scope" if scope is None else "name"
    fields = [{kind: usage.scope, "live": asdict(usage.live), "trash": asdict(usage.trash)} for usage in found]
    print_result(as_json, fields, map(_usage_line, [*found, *_total(found)]))


def _of_names(topics: Iterable[TopicSize], match: str | None) -> list[Usage]:
    """What the topics of each name take."""
    from streamvis.filters import Pattern
    from streamvis.records import Size, Usage

    matches = Pattern(match or "").matches
    found: dict[str, Usage] = {}
    for topic in topics:
        if matches(topic.name):
            before, size = found.get(topic.name, Usage(topic.name)), Size(1, topic.points, topic.bytes)
            live, trash = (Size(), size) if topic.deleted else (size, Size())
            found[topic.name] = Usage(topic.name, before.live + live, before.trash + trash)
    return list(found.values())


def _total(found: Sequence[Usage]) -> Iterator[Usage]:
    from streamvis.records import Size, Usage

    if len(found) > 1:
        live, trash = (sum((getattr(it, kind) for it in found), Size()) for kind in ("live", "trash"))
        yield Usage(f"total of {len(found)}", live, trash)


def _usage_line(usage: Usage) -> str:
    trash = f"  (and {_bytes(usage.trash.bytes)} in the trash)" if usage.trash.topics else ""
    return f"{_bytes(usage.live.bytes):>10}  {usage.live.points:>15,} points  {usage.scope or _CONFIG}{trash}"


@command("trash", "localhost:8081 run24")
@uri_argument
@click.argument("scope", required=False)
@json_option
def trash(uri: str, scope: str | None, as_json: bool) -> None:
    """Lists what was deleted, of all scopes or of SCOPE.

    A line each, the latest last: when it was deleted, bytes, points, scope and name. `streamvis restore` brings it
    back, `streamvis purge` frees its space.
    """
    with open_client(uri) as client:
        found = client.trash(scope)
    print_result(as_json, [asdict(topic) for topic in found], map(_trash_line, found))


def _trash_line(topic: TopicSize) -> str:
    when = datetime.fromtimestamp(topic.deleted or 0.0, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    what = f"{_bytes(topic.bytes):>10}  {topic.points:>15,} points"
    return f"{when}  {what}  {topic.scope}  {topic.name or _CONFIG}"


_CONFIG = "(config)"


def _bytes(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)
