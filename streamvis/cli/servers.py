"""Commands that run servers."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamvis import settings
from streamvis.cli.program import command, plugin_commands, plugins_of
from streamvis.errors import StreamvisError

if TYPE_CHECKING:
    from streamvis.launch import Children

_DEMO_STEP_SECONDS = 0.05


@command("grpc-serve", "/data/test 8081")
@click.argument("data_prefix")
@click.argument("port", type=click.IntRange(0, 65535))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
def grpc_serve(data_prefix: str, port: int, host: str) -> None:
    """Runs the data server.

    It keeps what is logged in DATA_PREFIX.sqlite and listens on PORT; 0 takes any free one.
    """
    from streamvis.server.run import run_server
    from streamvis.storage import open_store

    plugins = plugins_of(click.get_current_context())
    where = data_prefix if ":" in data_prefix else f"{Path(data_prefix).absolute()}.sqlite"

    def ready(address: str) -> None:
        click.echo(f"data server on {address}, data in {where}")

    run_server(data_prefix, port, host, ready, lambda prefix: open_store(prefix, plugins.stores()))


@command("serve", "plots.yaml")
@click.argument("schema_file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--data", metavar="DATA_PREFIX", help="Where the data are kept; default: $XDG_DATA_HOME/streamvis/data.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8081, show_default=True)
@click.option("--web-port", type=click.IntRange(1, 65535), default=8888, show_default=True)
@click.pass_context
def serve(ctx: click.Context, schema_file: str | None, data: str | None, grpc_port: int, web_port: int) -> None:
    """Runs the data server and the viewer on this machine."""
    _need_viewer(ctx)
    prefix = Path(data) if data else settings.data_dir() / "data"
    with _until_interrupted(), _servers(prefix, grpc_port, web_port, schema_file) as (servers, _, url):
        click.echo(f"open {url} — Ctrl-C ends both")
        servers.watch()


@command("demo", "--seconds 60")
@click.argument("data_dir", required=False, type=click.Path(file_okay=False))
@click.option("--browser/--no-browser", default=True, help="Open the page, where there is a display.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after this time; default: at Ctrl-C.")
@click.pass_context
def demo(ctx: click.Context, data_dir: str | None, browser: bool, seconds: float | None) -> None:
    """Shows a network that learns to read digits.

    Runs a data server, the viewer and a training, and prints the address of the page. The data are kept in DATA_DIR,
    by default in a temporary directory.
    """
    _need_viewer(ctx)
    if find_spec("sklearn") is None:
        raise StreamvisError("the demo trains on scikit-learn's digits: pip install 'streamvis[demo]'")
    from streamvis.demos import digits
    from streamvis.launch import free_port

    with _until_interrupted(), ExitStack() as stack:
        directory = data_dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="streamvis-"))
        ports = free_port(8081), free_port(8888)
        servers, uri, url = stack.enter_context(_servers(Path(directory, "demo"), *ports, digits.SCHEMA))
        page = url.rstrip("/") + digits.PAGE
        click.echo(f"\n  {page}\n\nCtrl-C ends the demo.")
        if browser and settings.has_display():
            click.launch(page)
        _train(servers, uri, seconds)


@contextmanager
def _servers(
    prefix: Path, grpc_port: int, web_port: int, schema: str | Path | None
) -> Iterator[tuple[Children, str, str]]:
    """Both servers as child processes; the data server's address and the viewer's."""
    from streamvis.launch import children

    prefix.parent.mkdir(parents=True, exist_ok=True)
    with children(echo=click.echo) as family:
        uri = family.start("grpc-serve", str(prefix), str(grpc_port)).wait_for(r"data server on (\S+),")
        web = family.start("web-serve", f"127.0.0.1:{web_port}", uri, *([str(schema)] if schema else []))
        yield family, uri, web.wait_for(r"(https?://\S+)")


def _train(servers: Children, uri: str, seconds: float | None) -> None:
    """Trains slowly enough to watch; then the servers go on, until the time is up."""
    from streamvis import DataLogger
    from streamvis.demos import digits

    deadline = math.inf if seconds is None else time.monotonic() + seconds
    with DataLogger("digits", uri, delete_existing=True, flush_every=1.0) as logger:
        for _ in digits.train(logger, digits.Settings(), digits.Data.load()):
            servers.watch(_DEMO_STEP_SECONDS)
            if time.monotonic() > deadline:
                return
    click.echo("The training has ended; the page stays until Ctrl-C.")
    servers.watch(deadline - time.monotonic())


@contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("ended")


def _need_viewer(ctx: click.Context) -> None:
    if "web-serve" not in plugin_commands(ctx):
        raise StreamvisError(f"{ctx.info_name} needs the viewer: pip install streamvis-viewer")
