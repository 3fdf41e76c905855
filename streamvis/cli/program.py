"""The `streamvis` program itself: how it finds commands, ends and says what went wrong."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from streamvis import __version__
from streamvis.errors import StreamvisError, UsageError
from streamvis.plugins import Plugins, default, installed, without

if TYPE_CHECKING:
    from streamvis.client import Client

URI = re.compile(r"unix:.+|[^\s/]+:\d+")
_VIEWER_COMMANDS = {"web-serve", "save-page"}

F = TypeVar("F", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0, 1 when it failed, 2 for bad arguments. An error is one line, or one a fault."""
    try:
        code = program.main(arguments and list(arguments), prog_name="streamvis", standalone_mode=False)
    except click.ClickException as error:
        _exit(error.exit_code, _with_hint(error))
    except UsageError as error:
        _exit(2, *(error.faults or (str(error),)))
    except (StreamvisError, OSError) as error:
        _exit(1, str(error))
    except click.Abort:
        _exit(130, "interrupted")
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _exit(code: int, *messages: str) -> NoReturn:
    for message in messages:
        click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _with_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context else ""
    return error.format_message() + hint


class _Program(click.Group):
    """The commands of core and those of the plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *plugin_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or plugin_commands(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _VIEWER_COMMANDS and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"{args[0]} comes with the viewer: pip install streamvis-viewer", ctx)
        return super().resolve_command(ctx, args)


def plugins_of(ctx: click.Context) -> Plugins:
    """The plugins of this program."""
    found = ctx.find_root().obj
    return found if isinstance(found, Plugins) else default()


def plugin_commands(ctx: click.Context) -> dict[str, click.Command]:
    """The commands that plugins bring, by name."""
    return plugins_of(ctx).commands()


def _block(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in installed():
            raise click.BadParameter(
                f"no plugin is called {name!r}; there are {', '.join(installed())}", param=parameter
            )
    if names:
        ctx.with_resource(without(names))


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


def command(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function a command; its help ends with the example."""
    return program.command(name, epilog=f"\b\nExample:\n  streamvis {name} {example}".rstrip())


def check_uri(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """A callback that lets addresses of data servers pass."""
    if not URI.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no address; expected host:port or unix:path", param=parameter)
    return value


uri_argument = click.argument("uri", metavar="GRPC_URI", callback=check_uri)
scope_argument = click.argument("scope")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_match = click.option("--match", metavar="REGEX", help="Only those in which RE2 finds this; a leading ! negates.")


def list_options(function: F) -> F:
    """Adds --json and --match."""
    return _match(json_option(function))


def open_client(uri: str) -> AbstractContextManager[Client]:
    """A client of that server, imported now."""
    from streamvis.client import Client

    return Client(uri)


def print_result(as_json: bool, value: Any, lines: Iterable[str]) -> None:
    """Prints the value as JSON, or the lines."""
    if as_json:
        click.echo(json.dumps(value))
        return
    for line in lines:
        click.echo(line)
