"""The command that lists plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from streamvis.cli.program import command, json_option, plugin_commands, plugins_of, print_result


@command("plugins", "--json")
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """Lists the plugins, and what failed in them.

    A line each: name, version, hooks; then its problems.
    """
    plugin_commands(ctx)  # the hooks that this program calls show what fails in them
    infos = plugins_of(ctx).infos()
    fields = [{name: getattr(info, name) for name in ("name", "version", "hooks", "problems")} for info in infos]
    print_result(as_json, fields, (_plugin_line(info) for info in fields))


def _plugin_line(info: Mapping[str, Any]) -> str:
    line = f"{info['name']}\t{info['version']}\t{' '.join(info['hooks'])}"
    return "\n".join([line, *(f"  problem: {problem}" for problem in info["problems"])])
