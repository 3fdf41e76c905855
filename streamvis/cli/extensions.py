"""The command that lists plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from streamvis.cli.program import command, json_option, plugin_commands, plugins_of, print_result


@command("plugins", "--json")
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """Lists the plugins, and what failed in them.

    A line each: name, version, hooks; then the names it gives to `streamvis.create`, and its problems.
    """
    plugin_commands(ctx)  # the hooks that this program calls show what fails in them
    infos = [asdict(info) for info in plugins_of(ctx).infos()]
    print_result(as_json, infos, map(_plugin_lines, infos))


def _plugin_lines(info: Mapping[str, Any]) -> str:
    adapters = [f"  adapters: {' '.join(info['adapters'])}"] if info["adapters"] else []
    problems = [f"  problem: {problem}" for problem in info["problems"]]
    return "\n".join([f"{info['name']}\t{info['version']}\t{' '.join(info['hooks'])}", *adapters, *problems])
