"""What the viewer adds to streamvis: its command and its kinds of drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamvis import hookimpl


@click.command("web-serve", epilog="Example: streamvis web-serve localhost:8888 localhost:8081 plots.yaml")
@click.argument("web_uri")
@click.argument("grpc_uri")
@click.argument("schema_file", required=False, type=click.Path(path_type=Path))
def web_serve(web_uri: str, grpc_uri: str, schema_file: Path | None) -> None:
    """Serve the live page on WEB_URI for the data server at GRPC_URI.

    Without a SCHEMA_FILE, plots are inferred from the data.
    """
    from streamvis_viewer.server import serve  # noqa: PLC0415 - Bokeh is imported when the viewer runs, not before

    serve(web_uri, grpc_uri, schema_file, ready=lambda url: click.echo(f"viewer on {url}"))


@hookimpl
def streamvis_commands() -> list[click.Command]:
    """The viewer's command line."""
    return [web_serve]


@hookimpl
def streamvis_glyphs() -> dict[str, Any]:
    """Lines and points."""
    from streamvis_viewer.glyphs import LINE, SCATTER  # noqa: PLC0415 - pydantic is imported when a schema is read

    return {"line": LINE, "scatter": SCATTER}
