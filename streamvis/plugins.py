"""Loads plugins, lists them, and calls their hooks so that none can take the program down.

The product's own parts come through the same hooks as anybody's: see `_BuiltIn`.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click
import pluggy

from streamvis import __version__, hookspecs, settings
from streamvis.errors import PluginError
from streamvis.hookspecs import hookimpl

GROUP = "streamvis"
BUILT_IN = "streamvis"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin as `streamvis plugins` lists it.

    `adapters` are the names that `streamvis.create` takes; `problems` says what failed and why.
    """

    name: str
    version: str
    hooks: tuple[str, ...]
    adapters: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Plugins:
    """The plugins of one program, loaded. A broken one is recorded with the reason, and the others work."""

    def __init__(self, allow: Collection[str] | None = None, block: Collection[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(_BuiltIn(), name=BUILT_IN)
        self._versions = {BUILT_IN: __version__}
        self._problems: dict[str, list[str]] = {}
        entries = {entry.name: entry for entry in entry_points(group=GROUP)}
        for name, entry in entries.items():
            if name not in block and (allow is None or name in allow):
                self._load(entry)
        for name in sorted({*(allow or ())} - {*entries, *block, BUILT_IN}):
            self._versions[name] = ""
            self._fail(name, "STREAMVIS_PLUGINS names it, but it is not installed")

    def register(self, plugin: object, name: str) -> None:
        """Adds a plugin that is no entry point. Raises PluginError when its hooks do not fit the specs."""
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
            self._versions.setdefault(name, "")
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            reason = str(error).splitlines()[-1]
            raise PluginError(f"plugin {name!r} does not fit the hooks: {reason}") from error

    def call(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What each plugin answers to a hook, with the plugin's name; one that raises is logged once and left out."""
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            name = implementation.plugin_name
            try:
                result = implementation.function(*(arguments[argument] for argument in implementation.argnames))
            except Exception as error:  # noqa: BLE001 - a plugin's failure is its own: counted, logged, contained
                self._fail(name, f"{hook}: {type(error).__name__}: {error}")
            else:
                if result is not None:
                    yield name, result

    def notify(self, hook: str, **arguments: Any) -> None:
        """Tells every plugin; see `call`."""
        for _ in self.call(hook, **arguments):
            pass

    def collect(self, hook: str, kind: type, **arguments: Any) -> list[tuple[str, Any]]:
        """The objects of that kind that all plugins give under a hook, each with its plugin's name."""
        return [
            (plugin, given)
            for plugin, answer in self.call(hook, **arguments)
            if self._fits(plugin, hook, answer, (list, tuple), "a list")
            for given in answer
            if self._fits(plugin, hook, given, (kind,), f"a {kind.__name__}")
        ]

    def gather(self, hook: str) -> dict[str, Any]:
        """The names that all plugins give under a hook. Of two that give the same, the one loaded first counts."""
        return self._unique(
            hook,
            [(plugin, name, value) for plugin, names in self._named(hook) for name, value in names.items()],
        )

    def commands(self) -> dict[str, click.Command]:
        """The commands that plugins bring, by name."""
        hook = "streamvis_commands"
        return self._unique(
            hook, [(plugin, command.name, command) for plugin, command in self.collect(hook, click.Command)]
        )

    def create(self, name: str, **arguments: Any) -> Any:
        """A logger or callback by the name of its adapter. Raises PluginError for an unknown one."""
        adapters = self.gather("streamvis_adapters")
        if name not in adapters:
            raise PluginError(
                f"no adapter is called {name!r}; there are {', '.join(sorted(adapters))}. The package that brings it "
                f"may be called streamvis-{name}; `streamvis plugins` says what failed to load"
            )
        return resolve(adapters[name])(**arguments)

    def stores(self) -> dict[str, Callable[[str], Any]]:
        """What opens a store from its URL, by scheme."""
        return {scheme: _opener(factory) for scheme, factory in self.gather("streamvis_stores").items()}

    def infos(self) -> list[PluginInfo]:
        """Every plugin that loaded or failed to, the built-in one first."""
        adapters = {plugin: tuple(names) for plugin, names in self._named("streamvis_adapters")}
        return [
            PluginInfo(name, version, self._hooks(name), adapters.get(name, ()), tuple(self._problems.get(name, ())))
            for name, version in self._versions.items()
        ]

    def _hooks(self, name: str) -> tuple[str, ...]:
        plugin = self._manager.get_plugin(name)
        callers = None if plugin is None else self._manager.get_hookcallers(plugin)
        return tuple(sorted(caller.name for caller in callers or ()))

    def _load(self, entry: EntryPoint) -> None:
        self._versions[entry.name] = entry.dist.version if entry.dist else ""
        try:
            self.register(entry.load(), entry.name)
        except PluginError as error:
            self._fail(entry.name, str(error))
        except Exception as error:  # noqa: BLE001 - importing a plugin runs its code: counted, logged, contained
            self._fail(entry.name, f"does not load: {type(error).__name__}: {error}")

    def _named(self, hook: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The dicts that plugins give under a hook."""
        return [
            (plugin, names)
            for plugin, names in self.call(hook)
            if self._fits(plugin, hook, names, (Mapping,), "a dict")
        ]

    def _fits(self, plugin: str, hook: str, given: Any, kinds: tuple[type, ...], expected: str) -> bool:
        """Whether a hook gave what its spec says; what else it gave is a problem of the plugin."""
        if isinstance(given, kinds):
            return True
        self._fail(plugin, f"{hook}: returned {type(given).__name__}, expected {expected}")
        return False

    def _unique(self, hook: str, given: Sequence[tuple[str, Any, Any]]) -> dict[Any, Any]:
        """Values by name, of (plugin, name, value) that come last loaded first."""
        found: dict[Any, Any] = {}
        owners: dict[Any, str] = {}
        for plugin, name, value in reversed(given):
            if name in found:
                self._fail(plugin, f"{hook}: {name!r} is already given by {owners[name]}")
                continue
            found[name], owners[name] = value, plugin
        return found

    def _fail(self, plugin: str, problem: str) -> None:
        problems = self._problems.setdefault(plugin, [])
        if problem not in problems:
            problems.append(problem)
            _log.warning("plugin %s: %s", plugin, problem)


class _BuiltIn:
    """What core brings, through the hooks that it offers to others."""

    @hookimpl
    def streamvis_adapters(self) -> dict[str, str]:
        return {"plain": "streamvis.logger:DataLogger"}

    @hookimpl
    def streamvis_stores(self) -> dict[str, Callable[[str], Any]]:
        return {"sqlite": _open_sqlite, "memory": _open_memory}


def _open_sqlite(url: str) -> Any:
    return resolve("streamvis.storage:SqliteStore")(url.removeprefix("sqlite://"))


def _open_memory(_: str) -> Any:
    return resolve("streamvis.storage:MemoryStore")()


def _opener(factory: str | Callable[[str], Any]) -> Callable[[str], Any]:
    return functools.partial(_open_by_reference, factory) if isinstance(factory, str) else factory


def _open_by_reference(reference: str, url: str) -> Any:
    return resolve(reference)(url)


def resolve(reference: str) -> Any:
    """The object behind "module:attribute", imported now. Raises PluginError."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise PluginError(f"{reference!r} cannot be imported: {error}") from error
    except (AttributeError, ValueError) as error:
        raise PluginError(f"{reference!r} cannot be imported: {error}; expected module:attribute") from error


def installed() -> list[str]:
    """The names of the plugins that are installed, whether or not they load."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@functools.cache
def default() -> Plugins:
    """The installed plugins that the environment allows, loaded at the first call."""
    return Plugins(allow=settings.plugin_allow_list(), block=settings.plugin_block_list())


@contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """This program, and those that it starts meanwhile, do without these plugins."""
    with settings.blocked_plugins(names):
        default.cache_clear()
        try:
            yield
        finally:
            default.cache_clear()


def create(name: str, **arguments: Any) -> Any:
    """A logger or callback by the name of its adapter, "plain" for `DataLogger`. Raises PluginError."""
    return default().create(name, **arguments)
