"""The `streamvis` program. Bodies of commands import what they need, so that `--help` is quick."""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from streamvis import __version__, settings
from streamvis.errors import NotFoundError, StreamvisError, UsageError
from streamvis.plugins import Plugins, default

if TYPE_CHECKING:
    from streamvis.client import Client
    from streamvis.launch import Children

_URI = re.compile(r"unix:.+|[^\s/]+:\d+")
_VIEWER_COMMANDS = {"web-serve"}
_DEMO_STEP_SECONDS = 0.05

F = TypeVar("F", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0, 1 when it failed, 2 for bad arguments; an error is one line."""
    try:
        code = program.main(arguments and list(arguments), prog_name="streamvis", standalone_mode=False)
    except click.ClickException as error:
        _exit(error.exit_code, _with_hint(error))
    except UsageError as error:
        _exit(2, str(error))
    except (StreamvisError, OSError) as error:
        _exit(1, str(error))
    except click.Abort:
        _exit(130, "interrupted")
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _exit(code: int, message: str) -> NoReturn:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _with_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context else ""
    return error.format_message() + hint


class _Program(click.Group):
    """The commands of core and those of the plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_plugin_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _plugin_commands(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _VIEWER_COMMANDS and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"{args[0]} comes with the viewer: pip install streamvis-viewer", ctx)
        return super().resolve_command(ctx, args)


def _plugins(ctx: click.Context) -> Plugins:
    found = ctx.find_root().obj
    return found if isinstance(found, Plugins) else default()


def _plugin_commands(ctx: click.Context) -> dict[str, click.Command]:
    answers = _plugins(ctx).call("streamvis_commands")
    return {command.name or "": command for _, commands in answers for command in commands}


def _block(ctx: click.Context, _: click.Parameter, names: tuple[str, ...]) -> None:
    if names:
        ctx.obj = Plugins(allow=settings.plugin_allow_list(), block=names)


@click.group(cls=_Program, invoke_without_command=True, epilog="\b\nExample:\n  streamvis demo")
@click.option(
    "--no-plugin",
    multiple=True,
    metavar="NAME",
    expose_value=False,
    is_eager=True,
    callback=_block,
    help="Leave this plugin out; may be given several times.",
)
@click.version_option(__version__, prog_name="streamvis")
@click.pass_context
def program(ctx: click.Context) -> None:
    """The live layer of machine-learning experiments: log anything, see it while it happens."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _command(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return program.command(name, epilog=f"\b\nExample:\n  streamvis {name} {example}".rstrip())


def _check_uri(_: click.Context, parameter: click.Parameter, value: str) -> str:
    if not _URI.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no address; expected host:port or unix:path", param=parameter)
    return value


_uri = click.argument("uri", metavar="GRPC_URI", callback=_check_uri)
_scope = click.argument("scope")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_match = click.option("--match", metavar="REGEX", help="Only those in which RE2 finds this; a leading ! negates.")


def _lists(function: F) -> F:
    return _match(_json(function))


# ---- servers


@_command("grpc-serve", "/data/test 8081")
@click.argument("data_prefix")
@click.argument("port", type=click.IntRange(0, 65535))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
def grpc_serve(data_prefix: str, port: int, host: str) -> None:
    """Runs the data server.

    It keeps what is logged in DATA_PREFIX.sqlite and listens on PORT; 0 takes any free one.
    """
    from streamvis.server.run import run_server
    from streamvis.storage import open_store

    plugins = _plugins(click.get_current_context())
    where = data_prefix if ":" in data_prefix else f"{Path(data_prefix).absolute()}.sqlite"

    def ready(address: str) -> None:
        click.echo(f"data server on {address}, data in {where}")

    run_server(data_prefix, port, host, ready, lambda prefix: open_store(prefix, plugins.stores()))


@_command("serve", "plots.yaml")
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


@_command("demo", "--seconds 60")
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
    if "web-serve" not in _plugin_commands(ctx):
        raise StreamvisError(f"{ctx.info_name} needs the viewer: pip install streamvis-viewer")


# ---- demos


def _demo_arguments(arguments: tuple[str, ...]) -> tuple[str, str, int]:
    """(GRPC_URI, SCOPE, NUM_STEPS) of an argument list in which only SCOPE is required."""
    first_is_uri = bool(arguments) and bool(_URI.fullmatch(arguments[0]))
    uri, rest = (arguments[0], arguments[1:]) if first_is_uri else (settings.grpc_uri(), arguments)
    if not 1 <= len(rest) <= 2:
        raise click.UsageError("expected [GRPC_URI] SCOPE [NUM_STEPS]", click.get_current_context())
    steps = rest[1] if len(rest) == 2 else "2000"
    if not steps.isdecimal():
        raise click.UsageError(f"NUM_STEPS is {steps!r}; expected a number of steps", click.get_current_context())
    return uri, rest[0], int(steps)


_demo_argument = click.argument("arguments", nargs=-1, metavar="[GRPC_URI] SCOPE [NUM_STEPS]")
_delay = click.option("--delay", default=0.1, show_default=True, help="Seconds between writes.")


@_command("logging-demo", "localhost:8081 run24 2000")
@_demo_argument
@_delay
def logging_demo(arguments: tuple[str, ...], delay: float) -> None:
    """Logs a moving cloud and waves into SCOPE.

    Without GRPC_URI, which is host:port or unix:path, the environment's STREAMVIS_GRPC_URI counts.
    """
    from streamvis.demos.sync import demo_log_data

    demo_log_data(*_demo_arguments(arguments), delay=delay)


@_command("logging-demo-async", "localhost:8081 run24 2000")
@_demo_argument
@_delay
def logging_demo_async(arguments: tuple[str, ...], delay: float) -> None:
    """Does the same through AsyncDataLogger."""
    import asyncio

    from streamvis.demos.async_ import demo_log_data_async

    asyncio.run(demo_log_data_async(*_demo_arguments(arguments), delay=delay))


# ---- reading


def _client(uri: str) -> AbstractContextManager[Client]:
    from streamvis.client import Client

    return Client(uri)


def _print(as_json: bool, value: Any, lines: Iterable[str]) -> None:
    if as_json:
        click.echo(json.dumps(value))
        return
    for line in lines:
        click.echo(line)


def _check_scope(client: Client, uri: str, scope: str) -> None:
    if scope not in client.scopes():
        raise NotFoundError(f"{uri} has no scope {scope!r}; `streamvis scopes {uri}` lists those it has")


@_command("scopes", "localhost:8081 --match '^run'")
@_uri
@_lists
def scopes(uri: str, match: str | None, as_json: bool) -> None:
    """Lists the scopes, oldest first."""
    with _client(uri) as client:
        found = client.scopes(match)
    _print(as_json, found, found)


@_command("names", "localhost:8081 run24")
@_uri
@_scope
@_lists
def names(uri: str, scope: str, match: str | None, as_json: bool) -> None:
    """Lists the names in a scope, oldest first."""
    with _client(uri) as client:
        found = client.names(scope, match)
        if not found:
            _check_scope(client, uri, scope)
    _print(as_json, found, found)


@_command("counts", "localhost:8081 run24 --json")
@_uri
@_scope
@_lists
def counts(uri: str, scope: str, match: str | None, as_json: bool) -> None:
    """Lists the series of a scope and their lengths.

    A line each: scope, name, index, and column:length of every column.
    """
    with _client(uri) as client:
        wanted = set(client.names(scope, match))
        if not wanted:
            _check_scope(client, uri, scope)
        found = [
            {"scope": scope, "name": topic.name, "index": index, "columns": dict.fromkeys(topic.columns, length)}
            for topic, length_by_index in _lengths(client, scope)
            if topic.name in wanted
            for index, length in sorted(length_by_index.items())
        ]
    _print(as_json, found, map(_count_line, found))


def _lengths(client: Client, scope: str) -> Iterator[tuple[Any, Mapping[int, int]]]:
    from streamvis.records import Query

    listings = client.listings(Query(scope_filter=scope, exact=True))
    return ((listing.topic, listing.lengths) for listing in listings)


def _count_line(series: Mapping[str, Any]) -> str:
    columns = " ".join(f"{column}:{length}" for column, length in series["columns"].items())
    return f"{series['scope']}\t{series['name']}\t{series['index']}\t{columns}"


@_command("config", "localhost:8081 run24")
@_uri
@_scope
@_lists
def config(uri: str, scope: str, match: str | None, as_json: bool) -> None:
    """Prints the hyperparameters of a scope.

    A line per value, under its dotted key, which --match selects by.
    """
    from streamvis.filters import Pattern

    with _client(uri) as client:
        values = client.config(scope)
        if not values:
            _check_scope(client, uri, scope)
    pattern = Pattern(match or "")
    flat = {key: value for key, value in _flatten(values) if pattern.matches(key)}
    _print(as_json, values if match is None else flat, (f"{key}: {json.dumps(value)}" for key, value in flat.items()))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# ---- changing


@_command("delete", "localhost:8081 run24 loss")
@_uri
@_scope
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def delete(uri: str, scope: str, names: tuple[str, ...], as_json: bool) -> None:
    """Moves names of a scope, or all of it, to the trash.

    Without NAMES, the whole scope goes, with its config. `streamvis restore` brings it back.
    """
    with _client(uri) as client:
        deleted = client.delete(scope, list(names) or None)
    _print(as_json, deleted, [f"deleted {deleted} of scope {scope}"])


@_command("restore", "localhost:8081 run24 loss")
@_uri
@_scope
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def restore(uri: str, scope: str, names: tuple[str, ...], as_json: bool) -> None:
    """Brings names of a scope, or all of it, back from the trash.

    Without NAMES, all that the trash has of the scope, with its config. Refused while a name is in use again.
    """
    with _client(uri) as client:
        restored = client.restore(scope, list(names) or None)
    _print(as_json, restored, [f"restored {restored} of scope {scope}"])


@_command("purge", "localhost:8081 run24 loss")
@_uri
@_scope
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def purge(uri: str, scope: str, names: tuple[str, ...], as_json: bool) -> None:
    """Removes names of a scope, or all of it, from the trash for good.

    Without NAMES, all that the trash has of the scope. What is not deleted stays. Later writes use the freed space.
    """
    with _client(uri) as client:
        purged = client.purge(scope, list(names) or None)
    _print(as_json, purged, [f"purged {purged} of scope {scope}"])


@_command("push", "~/.local/state/streamvis/spool localhost:8081")
@click.argument("spool", type=click.Path(exists=True, file_okay=False))
@click.argument("uri", metavar="[GRPC_URI]", default=settings.grpc_uri, callback=_check_uri)
@click.option("--json", "as_json", is_flag=True, help="Print the number alone.")
def push(spool: str, uri: str, as_json: bool) -> None:
    """Sends what loggers left in a spool.

    What they wrote while no server answered. A second push of the same adds nothing.
    """
    from streamvis.sender import push as send

    with _status(f"sending {spool} to {uri}"):
        sent = send(Path(spool), uri)
    _print(as_json, sent, [f"sent {sent} batches to {uri}"])


def _status(message: str) -> AbstractContextManager[object]:
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(message) if console.is_terminal else nullcontext()


@_command("plugins", "--json")
@_json
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """Lists the plugins, and what failed in them.

    A line each: name, version, hooks; then its problems.
    """
    _plugin_commands(ctx)  # the hooks that this program calls show what fails in them
    infos = _plugins(ctx).infos()
    fields = [{name: getattr(info, name) for name in ("name", "version", "hooks", "problems")} for info in infos]
    _print(as_json, fields, (_plugin_line(info) for info in fields))


def _plugin_line(info: Mapping[str, Any]) -> str:
    line = f"{info['name']}\t{info['version']}\t{' '.join(info['hooks'])}"
    return "\n".join([line, *(f"  problem: {problem}" for problem in info["problems"])])
