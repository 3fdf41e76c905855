"""The only reader of environment variables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_GRPC_URI = "localhost:8081"


def grpc_uri() -> str:
    """STREAMVIS_GRPC_URI, else localhost:8081."""
    return os.environ.get("STREAMVIS_GRPC_URI") or DEFAULT_GRPC_URI


def keep_grpc_out_of_forks() -> None:
    """Sets GRPC_ENABLE_FORK_SUPPORT=0 unless it is set; for before gRPC is imported.

    Its handlers stop the parent's threads at every fork, such as those of data loaders, or print that they did not.
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def plugin_allow_list() -> list[str] | None:
    """STREAMVIS_PLUGINS as a list of names; None when it is not set, which allows all."""
    return _names("STREAMVIS_PLUGINS")


def plugin_block_list() -> list[str]:
    """STREAMVIS_NO_PLUGINS as a list of names: what `--no-plugin` leaves out, here and in the programs it starts."""
    return _names("STREAMVIS_NO_PLUGINS") or []


@contextmanager
def blocked_plugins(names: Iterable[str]) -> Iterator[None]:
    """Adds these names to STREAMVIS_NO_PLUGINS meanwhile."""
    before = os.environ.get("STREAMVIS_NO_PLUGINS")
    os.environ["STREAMVIS_NO_PLUGINS"] = ",".join([*plugin_block_list(), *names])
    try:
        yield
    finally:
        del os.environ["STREAMVIS_NO_PLUGINS"]
        if before is not None:
            os.environ["STREAMVIS_NO_PLUGINS"] = before


def data_dir() -> Path:
    """$XDG_DATA_HOME/streamvis: where `streamvis serve` keeps its data."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def spool_dir() -> Path:
    """$XDG_STATE_HOME/streamvis/spool: where loggers keep what no server has acknowledged."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "spool"


def has_display() -> bool:
    """Whether opening a browser can show a window; without one it would take over the terminal."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _names(variable: str) -> list[str] | None:
    value = os.environ.get(variable)
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _xdg(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / default) / "streamvis"
