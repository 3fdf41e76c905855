"""Commands that read the file of a data server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from streamvis.cli.program import command, json_option, print_result

if TYPE_CHECKING:
    from streamvis.storage.check import Findings

_STEP = 100


@command("check", "/data/test")
@click.argument("data_prefix")
@json_option
def check(data_prefix: str, as_json: bool) -> int:
    """Says what is damaged in the file of a data server.

    Reads all of DATA_PREFIX.sqlite, beside a running server or without, and changes nothing. A line for each block that
    cannot be read; then it exits with 1.
    """
    from streamvis.storage.check import check as read

    with _counting() as progress:
        found = read(data_prefix, progress)
    print_result(as_json, asdict(found), _lines(found))
    return 1 if found.damages else 0


@command("backup", "/data/test /backup/test-2026-11-25")
@click.argument("data_prefix")
@click.argument("target_prefix")
def backup(data_prefix: str, target_prefix: str) -> None:
    """Copies the file of a data server.

    What is in DATA_PREFIX.sqlite at this moment goes to TARGET_PREFIX.sqlite, beside a running server or without. A
    copy made by other means while a server runs lacks what its write-ahead log holds.
    """
    from streamvis.storage.backup import back_up

    click.echo(f"copied to {back_up(data_prefix, target_prefix)}")


def _lines(found: Findings) -> Iterator[str]:
    for damage in found.damages:
        name = f" ({damage.scope} {damage.name})" if damage.name else ""
        yield f"{damage.what}{name}: {damage.reason}"
    state = f"{len(found.damages)} damaged" if found.damages else "all sound"
    yield f"{found.blocks} blocks, {found.points} points of {found.topics} topics: {state}"


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    """Shows how many blocks were read, where standard error is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("checking") as status:
        yield lambda count: status.update(f"checking: {count} blocks") if count % _STEP == 0 else None
