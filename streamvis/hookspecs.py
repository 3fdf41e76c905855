"""The hooks: what a plugin may add to streamvis, and when it is told.

A plugin is a module named by an entry point of the group `streamvis`; it marks its functions with `streamvis.hookimpl`
and imports its framework inside them, so that listing plugins imports no framework. An implementation may leave out
arguments that it does not need. One that raises is logged once under its plugin's name and skipped. Points never
travel through a hook call: hooks hand over objects, which are then called directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import click
import pluggy

from streamvis.columns import Block

PROJECT = "streamvis"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Status: TypeAlias = Literal["finished", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """What a logger logs into: its scope, and the address of its server."""

    scope: str
    grpc_uri: str


@runtime_checkable
class Sink(Protocol):
    """Receives what a run logs, after the one transfer from the device, in the order of writing.

    It has a thread of its own, which calls it, and a bounded queue: what does not fit because the sink is slow is
    missing there and nowhere else. An exception is logged once and counted. `DataLogger.stats()["sinks"]` shows both.
    """

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        """One flush: blocks with the names that they were written under. Their arrays are read-only."""

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Hyperparameters to merge into those that came before, later keys win."""

    def close(self) -> None:
        """The run has ended and all of it has been written."""


@hookspec
def streamvis_sinks(run: Run) -> Sequence[Sink]:
    """Objects that receive each flush of this run, such as a mirror to another tracker. Asked once per run."""
    raise NotImplementedError


@hookspec
def streamvis_array_types() -> Sequence[Any]:
    """Adapters that snapshot a framework's arrays on their device and move many of them at once. Asked once."""
    raise NotImplementedError


@hookspec
def streamvis_adapters() -> Mapping[str, str]:
    """Loggers and callbacks by the name that `streamvis.create` takes, each as "module:attribute"."""
    raise NotImplementedError


@hookspec
def streamvis_stores() -> Mapping[str, str | Callable[[str], Any]]:
    """What opens a store from its whole URL, by scheme: a function, or its "module:attribute"."""
    raise NotImplementedError


@hookspec
def streamvis_importers() -> Mapping[str, str]:
    """Readers of other trackers' files by format, each as "module:attribute"."""
    raise NotImplementedError


@hookspec
def streamvis_commands() -> Sequence[click.Command]:
    """Commands of the `streamvis` program; their bodies import what they need."""
    raise NotImplementedError


@hookspec
def streamvis_glyphs() -> Mapping[str, Any]:
    """The viewer's drawings by the name that a schema's `glyph_kind` takes."""
    raise NotImplementedError


@hookspec
def streamvis_run_started(run: Run) -> None:
    """A logger of this run has started."""


@hookspec
def streamvis_run_finished(run: Run, status: Status) -> None:
    """The logger has stopped, as its thread tells; "failed" when points are left that no server has acknowledged."""
