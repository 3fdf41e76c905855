"""The command that writes points to files of other programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from streamvis.cli.program import command, open_client, scope_argument, uri_argument
from streamvis.cli.reading import check_scope
from streamvis.errors import NotFoundError

if TYPE_CHECKING:
    from streamvis.client import Client
    from streamvis.points import Points

_SUFFIXES = (".csv", ".parquet")


def _check_output(_: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix not in _SUFFIXES:
        expected = " or ".join(_SUFFIXES)
        raise click.BadParameter(f"{str(value)!r} ends in none of the formats; expected {expected}", param=parameter)
    if value is not None and not value.absolute().parent.is_dir():
        raise click.BadParameter(f"{str(value.parent)!r} is no folder", param=parameter)
    return value


@command("export", "localhost:8081 run24 loss --output run24.parquet")
@uri_argument
@scope_argument
@click.argument("names", nargs=-1)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_check_output,
    help="A .csv or .parquet file, which is replaced; by default CSV goes to standard output.",
)
def export(uri: str, scope: str, names: tuple[str, ...], output: Path | None) -> None:
    """Writes the points of a scope as CSV or Parquet.

    Without NAMES, of all its names. A row per point: scope, name, index, then the columns, empty where a series has
    none; one that is itself called scope, name or index has a _ behind it. Parquet needs pyarrow, and memory for all.
    """
    with open_client(uri) as client:
        columns = _columns(client, uri, scope, names)
        if output is None:
            _write_csv(sys.stdout.buffer, _fetched(client, scope, columns), columns)
            return
        with _replacing(output) as path, _counting(len(columns)) as count:
            fetched = map(count, _fetched(client, scope, columns))
            if output.suffix == ".parquet":
                _write_parquet(path, fetched)
            else:
                with path.open("wb") as file:
                    _write_csv(file, fetched, columns)


def _columns(client: Client, uri: str, scope: str, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The columns of those names, or of all. Raises NotFoundError for one that is not there."""
    from streamvis.records import Query

    listings = client.listings(Query(scope_filter=scope, exact=True))
    found = {listing.topic.name: listing.topic.columns for listing in listings}
    if not found:
        check_scope(client, uri, scope)
    for name in names:
        if name not in found:
            raise NotFoundError(
                f"scope {scope!r} has no name {name!r}; `streamvis names {uri} {scope}` lists its names"
            )
    return {name: found[name] for name in names} if names else found


def _fetched(client: Client, scope: str, names: Iterable[str]) -> Iterator[Points]:
    """The points of each name, one after the other: no more than one has to be held."""
    return (client.fetch(scope, name) for name in names)


def _write_csv(file: BinaryIO, fetched: Iterable[Points], columns_by_name: Mapping[str, Sequence[str]]) -> None:
    from streamvis.tables import csv_header, csv_lines

    columns = list(dict.fromkeys(column for columns in columns_by_name.values() for column in columns))
    file.write(csv_header(columns).encode())
    for points in fetched:
        for key, values in points.items():
            file.writelines(lines.encode() for lines in csv_lines(key, values, columns))


def _write_parquet(path: Path, fetched: Iterable[Points]) -> None:
    from streamvis.points import Points

    Points({key: values for points in fetched for key, values in points.items()}).to_parquet(path)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Where to write; it becomes `path` once it is whole, and a failure leaves `path` as it was."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _counting(names: int) -> Iterator[Callable[[Points], Points]]:
    """Shows how many names were fetched, where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("exporting", total=names)

        def count(points: Points) -> Points:
            progress.advance(task)
            return points

        yield count
