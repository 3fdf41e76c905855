"""Commands that change what a data server holds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from streamvis import settings
from streamvis.cli.program import (
    check_uri,
    command,
    open_client,
    print_result,
    scope_argument,
    uri_argument,
)


@command("delete", "localhost:8081 run24 loss")
@uri_argument
@scope_argument
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def delete(uri: str, scope: str, names: tuple[str, ...], as_json: bool) -> None:
    """Moves names of a scope, or all of it, to the trash.

    Without NAMES, the whole scope goes, with its config. `streamvis restore` brings it back.
    """
    with open_client(uri) as client:
        deleted = client.delete(scope, list(names) or None)
    print_result(as_json, deleted, [f"deleted {deleted} of scope {scope}"])


@command("restore", "localhost:8081 run24 loss")
@uri_argument
@scope_argument
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def restore(uri: str, scope: str, names: tuple[str, ...], as_json: bool) -> None:
    """Brings names of a scope, or all of it, back from the trash.

    Without NAMES, all that the trash has of the scope, with its config. Refused while a name is in use again.
    """
    with open_client(uri) as client:
        restored = client.restore(scope, list(names) or None)
    print_result(as_json, restored, [f"restored {restored} of scope {scope}"])


@command("purge", "localhost:8081 run24 loss")
@uri_argument
@scope_argument
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def purge(uri: str, scope: str, names: tuple[str, ...], as_json: bool) -> None:
    """Removes names of a scope, or all of it, from the trash for good.

    Without NAMES, all that the trash has of the scope. What is not deleted stays. Later writes use the freed space.
    """
    with open_client(uri) as client:
        purged = client.purge(scope, list(names) or None)
    print_result(as_json, purged, [f"purged {purged} of scope {scope}"])


@command("push", "~/.local/state/streamvis/spool localhost:8081")
@click.argument("spool", type=click.Path(exists=True, file_okay=False))
@click.argument("uri", metavar="[GRPC_URI]", default=settings.grpc_uri, callback=check_uri)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def push(spool: str, uri: str, as_json: bool) -> None:
    """Sends what loggers left in a spool.

    What they wrote while no server answered. A second push of the same adds nothing. SPOOL/rejected holds what a
    server refused; when the reason is gone, a push of that directory stores it.
    """
    from streamvis.push import push as send

    with _status(f"sending {spool} to {uri}"):
        sent = send(Path(spool), uri)
    print_result(as_json, sent, [f"sent {sent} batches to {uri}"])


def _status(message: str) -> AbstractContextManager[object]:
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(message) if console.is_terminal else nullcontext()
