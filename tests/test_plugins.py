"""Plugins: every hook is called, and no plugin can take the program down."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest

import streamvis
from streamvis import hookimpl, hookspecs, plugins
from streamvis.errors import PluginError
from streamvis.hookspecs import Run
from streamvis.plugins import BUILT_IN, Plugins
from streamvis.server.run import serving

RUN = Run("run24", "localhost:8081")
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("streamvis_"))

FAKE = """
from streamvis import hookimpl

@hookimpl
def streamvis_adapters():
    return {"fake": "types:SimpleNamespace"}
"""


@pytest.fixture(name="loaded")
def _loaded() -> Plugins:
    return Plugins(allow=())


def module(**hooks: Any) -> ModuleType:
    """A plugin with these hooks, as an entry point would name it."""
    made = ModuleType("made")
    for name, function in hooks.items():
        function.__name__ = name
        setattr(made, name, hookimpl(function))
    return made


def teller(told: list[Run]) -> ModuleType:
    """A plugin that notes which runs it was told of."""

    def streamvis_run_started(run: Run) -> None:
        told.append(run)

    return module(streamvis_run_started=streamvis_run_started)


def install(path: Path, name: str, code: str) -> None:
    """What pip leaves behind of a distribution with one module and an entry point to it."""
    (path / f"sv_{name}.py").write_text(code)
    info = path / f"streamvis_{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: streamvis-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[streamvis]\n{name} = sv_{name}\n")


@pytest.fixture(name="installed")
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "fake", FAKE)
    yield tmp_path
    for name in ("sv_fake", "sv_broken"):
        sys.modules.pop(name, None)


def info(found: Plugins, name: str) -> plugins.PluginInfo:
    return next(info for info in found.infos() if info.name == name)


def test_every_hook_has_a_test_here() -> None:
    """A hook without a test fails this one."""
    assert HOOKS
    assert [hook for hook in HOOKS if f"test_hook_{hook.removeprefix('streamvis_')}" not in globals()] == []


def test_the_hooks_are_those_of_the_contract() -> None:
    """None is missing, none is added in passing."""
    given = "sinks array_types adapters stores importers commands glyphs run_started run_finished"
    assert sorted(f"streamvis_{name}" for name in given.split()) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_specified_and_documented(hook: str, loaded: Plugins) -> None:
    """Each hook has a spec that pluggy knows, with a docstring, and its exact signature in the docs."""
    specification = getattr(hookspecs, hook)
    assert getattr(loaded._manager.hook, hook).spec is not None
    assert specification.__doc__
    signature = f"{hook}{inspect.signature(specification)}".replace("'", "")
    assert f"\n### `{signature}`\n" in (Path(__file__).parents[1] / "docs" / "hooks.md").read_text()


def test_hook_sinks(loaded: Plugins) -> None:
    """Sinks are asked for with the run."""
    loaded.register(module(streamvis_sinks=lambda run: [run.scope]), "mirror")
    assert list(loaded.call("streamvis_sinks", run=RUN)) == [("mirror", ["run24"])]


def test_hook_array_types(loaded: Plugins) -> None:
    """Array types come from whoever offers them."""
    loaded.register(module(streamvis_array_types=lambda: ["cupy"]), "arrays")
    assert list(loaded.call("streamvis_array_types")) == [("arrays", ["cupy"])]


def test_hook_adapters(loaded: Plugins) -> None:
    """An adapter is created by its name, with the arguments given."""
    loaded.register(module(streamvis_adapters=lambda: {"simple": "types:SimpleNamespace"}), "simple")
    assert loaded.create("simple", scope="run24") == SimpleNamespace(scope="run24")


def test_hook_stores(loaded: Plugins) -> None:
    """A store is opened from its URL, be it named by a function or as a string."""
    loaded.register(module(streamvis_stores=lambda: {"one": "builtins:str", "two": str.upper}), "stores")
    stores = loaded.stores()
    assert (stores["one"]("one://x"), stores["two"]("two://x")) == ("one://x", "TWO://X")


def test_hook_importers(loaded: Plugins) -> None:
    """Importers are gathered by format."""
    loaded.register(module(streamvis_importers=lambda: {"csv": "csv:reader"}), "csv")
    assert loaded.gather("streamvis_importers") == {"csv": "csv:reader"}


def test_hook_commands(loaded: Plugins) -> None:
    """Commands of a plugin appear in the program."""
    from streamvis.cli import program

    loaded.register(module(streamvis_commands=lambda: [click.Command("hello")]), "hello")
    context = click.Context(program, obj=loaded)
    assert "hello" in program.list_commands(context)
    assert program.get_command(context, "hello") is not None


def test_hook_glyphs(loaded: Plugins) -> None:
    """Glyphs are gathered by name."""
    loaded.register(module(streamvis_glyphs=lambda: {"bar": object}), "bars")
    assert loaded.gather("streamvis_glyphs") == {"bar": object}


def test_hook_run_started(loaded: Plugins) -> None:
    """Plugins are told of a run's start."""
    told: list[Run] = []
    loaded.register(teller(told), "told")
    loaded.notify("streamvis_run_started", run=RUN)
    assert told == [RUN]


def test_hook_run_finished(loaded: Plugins) -> None:
    """Plugins are told how a run ended, and need not take every argument."""
    told: list[str] = []
    loaded.register(module(streamvis_run_finished=lambda status: told.append(status) or None), "told")
    loaded.notify("streamvis_run_finished", run=RUN, status="failed")
    assert told == ["failed"]


@pytest.mark.parametrize("served", [True, False])
def test_a_logger_tells_of_its_start_and_its_end(
    loaded: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    """Once each, with its scope and server, and whether all was acknowledged; a plugin that raises harms nobody."""
    told: list[tuple[Run, str]] = []

    class Witness:
        @hookimpl
        def streamvis_run_started(self, run: Run) -> None:
            told.append((run, "started"))
            raise ConnectionError("cannot tell others")

        @hookimpl
        def streamvis_run_finished(self, run: Run, status: str) -> None:
            told.append((run, status))

    loaded.register(Witness(), "witness")
    monkeypatch.setattr(plugins, "default", lambda: loaded)
    with serving("memory:") as server:
        uri = server.uri if served else f"unix:{tmp_path}/nobody"
        with streamvis.DataLogger("run24", uri, spool_dir=tmp_path / "spool") as logger:
            logger.write("loss", x=1)
        logger.stop()
    run = Run("run24", uri)
    assert told == [(run, "started"), (run, "finished" if served else "failed")]
    assert "cannot tell others" in info(loaded, "witness").problems[0]


def test_built_ins_come_through_the_hooks(loaded: Plugins) -> None:
    """The plain logger, SQLite and the memory store are registered as anybody's would be."""
    assert loaded.gather("streamvis_adapters")["plain"] == "streamvis.logger:DataLogger"
    assert {"sqlite", "memory"} <= set(loaded.stores())
    assert info(loaded, BUILT_IN).version == streamvis.__version__


def test_built_in_stores_open(loaded: Plugins, tmp_path: Path) -> None:
    """URLs of the built-in schemes open their stores."""
    for url in (f"sqlite://{tmp_path}/data", "memory://"):
        store = loaded.stores()[url.partition(":")[0]](url)
        assert store.seq() == 0
        store.close()


def test_create_builds_the_plain_logger() -> None:
    """`streamvis.create("plain")` is a DataLogger."""
    from streamvis import DataLogger

    assert isinstance(streamvis.create("plain", scope="run24", grpc_uri="localhost:1"), DataLogger)


def test_an_unknown_adapter_is_named_with_those_there_are(loaded: Plugins) -> None:
    """The error says what was asked for and what exists."""
    with pytest.raises(PluginError, match=r"'keras'.*plain"):
        loaded.create("keras")


def test_an_adapter_whose_module_is_missing_says_so(loaded: Plugins) -> None:
    """An adapter that cannot be imported is one clear error."""
    loaded.register(module(streamvis_adapters=lambda: {"gone": "no_such_module:X"}), "gone")
    with pytest.raises(PluginError, match="no_such_module:X"):
        loaded.create("gone")


@pytest.mark.usefixtures("installed")
def test_an_installed_plugin_is_found_by_its_entry_point() -> None:
    """A plugin needs nothing but its entry point; its version is that of its distribution."""
    found = Plugins()
    assert found.create("fake", a=1) == SimpleNamespace(a=1)
    assert info(found, "fake") == plugins.PluginInfo("fake", "1.2", ("streamvis_adapters",), ("fake",))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("allow", "block", "loads"), [(None, (), True), (["fake"], (), True), ([], (), False), (None, ("fake",), False)]
)
def test_only_allowed_plugins_load(allow: list[str] | None, block: tuple[str, ...], loads: bool) -> None:
    """A plugin that is not allowed, or blocked, is not even imported."""
    assert any(info.name == "fake" for info in Plugins(allow, block).infos()) == loads


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("value", "loads"), [("fake", True), ("", False), ("other, fake", True)])
def test_the_environment_is_an_allow_list(value: str, loads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """STREAMVIS_PLUGINS lists what may load; empty means none."""
    monkeypatch.setenv("STREAMVIS_PLUGINS", value)
    plugins.default.cache_clear()
    try:
        assert ("fake" in plugins.default().gather("streamvis_adapters")) == loads
    finally:
        plugins.default.cache_clear()


def test_an_allowed_plugin_that_is_missing_is_listed() -> None:
    """A name in the allow-list that nothing installed answers to is a problem that the list shows."""
    assert "not installed" in info(Plugins(["no-such"]), "no-such").problems[0]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemError('at import')", "at import"),
        ("def broken(:", "SyntaxError"),
        ("from streamvis import hookimpl\n@hookimpl\ndef streamvis_sink(): ...", "streamvis_sink"),
        ("from streamvis import hookimpl\n@hookimpl\ndef streamvis_sinks(nonsense): ...", "nonsense"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason(code: str, reason: str, installed: Path) -> None:
    """It takes neither the program nor the other plugins down."""
    install(installed, "broken", code)
    found = Plugins()
    assert reason in info(found, "broken").problems[0]
    assert info(found, "broken").hooks == ()
    assert "fake" in found.gather("streamvis_adapters")


def test_a_raising_hook_is_logged_once_and_left_out(loaded: Plugins, caplog: pytest.LogCaptureFixture) -> None:
    """Other plugins are still told; the log and the list name the one that failed."""
    told: list[Run] = []
    loaded.register(teller(told), "first")
    loaded.register(module(streamvis_run_started=lambda: 1 / 0), "raising")
    loaded.register(teller(told), "last")
    with caplog.at_level(logging.WARNING, "streamvis"):
        loaded.notify("streamvis_run_started", run=RUN)
        loaded.notify("streamvis_run_started", run=RUN)
    assert told == [RUN] * 4
    assert len(caplog.records) == 1
    assert "raising" in caplog.text
    assert "ZeroDivisionError" in info(loaded, "raising").problems[0]


def test_the_first_to_take_a_name_keeps_it(loaded: Plugins) -> None:
    """No plugin replaces a built-in or another silently."""
    loaded.register(module(streamvis_adapters=lambda: {"plain": "types:SimpleNamespace"}), "usurper")
    assert loaded.gather("streamvis_adapters")["plain"] == "streamvis.logger:DataLogger"
    assert "'plain' is already given by streamvis" in info(loaded, "usurper").problems[0]


def test_a_hook_of_the_wrong_type_is_a_problem_of_its_plugin(loaded: Plugins) -> None:
    """What is no dict, no list or no command where one is expected is left out, with the reason."""
    loaded.register(module(streamvis_glyphs=lambda: ["bar"], streamvis_commands=lambda: "hello"), "wrong")
    loaded.register(module(streamvis_commands=lambda: [print, click.Command("hello")]), "half")
    assert loaded.gather("streamvis_glyphs") == {}
    assert list(loaded.commands()) == ["hello"]
    assert info(loaded, "wrong").problems == (
        "streamvis_glyphs: returned list, expected a dict",
        "streamvis_commands: returned str, expected a list",
    )
    assert info(loaded, "half").problems == (
        "streamvis_commands: returned builtin_function_or_method, expected a Command",
    )


def test_of_two_commands_of_one_name_the_first_counts(loaded: Plugins) -> None:
    """As for every other name that plugins give."""
    first, second = click.Command("hello"), click.Command("hello")
    loaded.register(module(streamvis_commands=lambda: [first]), "first")
    loaded.register(module(streamvis_commands=lambda: [second]), "second")
    assert loaded.commands() == {"hello": first}
    assert "already given by first" in info(loaded, "second").problems[0]


@pytest.mark.usefixtures("installed")
def test_a_program_does_without_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do the programs that it starts; afterwards everything is as before."""
    monkeypatch.setenv("STREAMVIS_NO_PLUGINS", "viewer")
    child = "from streamvis import plugins; print('fake' in plugins.default().gather('streamvis_adapters'))"
    plugins.default.cache_clear()
    try:
        with plugins.without(["fake"]):
            names = [info.name for info in plugins.default().infos()]
            assert not {"fake", "viewer"} & set(names)
            assert subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout == (
                "False\n"
            )
        assert "fake" in plugins.default().gather("streamvis_adapters")
        assert os.environ["STREAMVIS_NO_PLUGINS"] == "viewer"
    finally:
        plugins.default.cache_clear()


def test_a_plugin_that_does_not_fit_leaves_nothing_behind(loaded: Plugins) -> None:
    """After a refused registration the others work as before."""
    with pytest.raises(PluginError, match="streamvis_sink"):
        loaded.register(module(streamvis_sink=lambda: None), "misspelt")
    loaded.register(module(streamvis_glyphs=lambda: {"bar": object}), "bars")
    assert loaded.gather("streamvis_glyphs") == {"bar": object}
