"""Flax and JAX runs, logged to streamvis.

Names load when they are first used, so that listing plugins imports no JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamvis_flax.callback import StreamvisCallback

__all__ = ["StreamvisCallback"]

_HOMES = {"StreamvisCallback": "callback"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamvis_flax' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"streamvis_flax.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
