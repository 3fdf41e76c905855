"""What the viewer adds to streamvis: its command and its kinds of drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from streamvis import hookimpl


@click.command("web-serve", epilog="Example: streamvis web-serve localhost:8888 localhost:8081 plots.yaml")
@click.argument("web_uri")
@click.argument("grpc_uri")
@click.argument("schema_file", required=False, type=click.Path(path_type=Path))
@click.option("--token", metavar="TEXT", default="", help="Visitors must know it; the printed address carries it.")
@click.option("--prefix", metavar="PATH", default="", help="Stands before every path, behind a reverse proxy.")
@click.option("--origin", metavar="HOST[:PORT]", multiple=True, help="A further name under which pages are opened.")
def web_serve(web_uri: str, grpc_uri: str, schema_file: Path | None, token: str, **reached: Any) -> None:
    """Serves the live page on WEB_URI for the data server at GRPC_URI.

    Without a SCHEMA_FILE, plots are inferred from the data. A WEB_URI such as localhost:8888 is reached from this
    machine alone; with 0.0.0.0:8888, give a --token.
    """
    from streamvis_viewer.addresses import is_exposed  # noqa: PLC0415 - imported when it runs
    from streamvis_viewer.server import WebOptions, serve  # noqa: PLC0415 - Bokeh is imported when it runs

    def announce(url: str) -> None:
        click.echo(f"viewer on {url}/?{urlencode({'token': token})}" if token else f"viewer on {url}")
        if is_exposed(web_uri) and not token:
            click.echo("everybody who reaches this port may look and delete: --token TEXT asks for a token", err=True)

    options = WebOptions(token, reached["prefix"], reached["origin"])
    serve(web_uri, grpc_uri, schema_file, announce, options)


@click.command(
    "save-page", epilog="\b\nExample:\n  streamvis save-page localhost:8081 'rows=loss,cloud' page.html plots.yaml"
)
@click.argument("grpc_uri")
@click.argument("query")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("schema_file", required=False, type=click.Path(path_type=Path))
def save_page(grpc_uri: str, query: str, file: Path, schema_file: Path | None) -> None:
    """Saves the page of QUERY as one self-contained HTML FILE.

    QUERY is an address of the viewer, or what follows its question mark. The file needs neither viewer nor network:
    pan, zoom, the list of runs, sliders and playback go on working.
    """
    from streamvis_viewer.saved import save  # noqa: PLC0415 - Bokeh is imported when it runs

    size, thinned = save(grpc_uri, query, file, schema_file)
    click.echo(f"saved {file} ({size / 1e6:.1f} MB)")
    for plot, points in thinned.items():
        click.echo(f"of {plot} it has a part of {points:,} points")


@hookimpl
def streamvis_commands() -> list[click.Command]:
    """The viewer's commands."""
    return [web_serve, save_page]


@hookimpl
def streamvis_glyphs() -> dict[str, Any]:
    """Lines and points by layers of our own, steps and heatmaps by Bokeh's glyphs."""
    from streamvis_viewer.glyphs import HEATMAP, LINE, SCATTER, STEP  # noqa: PLC0415 - pydantic, when a schema is read

    return {"line": LINE, "scatter": SCATTER, "step": STEP, "heatmap": HEATMAP}
