"""Flax and JAX runs, logged to streamvis.

Names load when they are first used, so that listing plugins imports no JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamvis_flax.callback import StreamvisCallback
    from streamvis_flax.collecting import collect, log
    from streamvis_flax.in_jit import log_in_jit
    from streamvis_flax.periodic import StreamvisFlush, StreamvisHook
    from streamvis_flax.writer import StreamvisWriter

__all__ = ["StreamvisCallback", "StreamvisFlush", "StreamvisHook", "StreamvisWriter", "collect", "log", "log_in_jit"]

_HOMES = {
    "StreamvisCallback": "callback",
    "StreamvisFlush": "periodic",
    "StreamvisHook": "periodic",
    "StreamvisWriter": "writer",
    "collect": "collecting",
    "log": "collecting",
    "log_in_jit": "in_jit",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamvis_flax' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"streamvis_flax.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("flax", "jax"):
            raise ImportError(f"{error.name} is not installed: pip install {error.name}") from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
