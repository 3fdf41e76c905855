"""PyTorch Lightning and Fabric runs, logged to streamvis.

`StreamvisLogger` and `StreamvisCallback` are those of `streamvis_lightning.lightning` or of `streamvis_lightning.pl`:
whichever framework the program has imported, else the one that is installed. They load when they are first used, so
that listing plugins imports neither.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamvis_lightning.lightning import StreamvisCallback, StreamvisLogger

__all__ = ["StreamvisCallback", "StreamvisLogger"]

_HOMES = {"lightning": "lightning", "pytorch_lightning": "pl"}
"""The module of this package that serves each framework; of two, the first counts."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'streamvis_lightning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"streamvis_lightning.{_HOMES[_framework()]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _framework() -> str:
    imported = [name for name in _HOMES if name in sys.modules]
    found = imported or [name for name in _HOMES if importlib.util.find_spec(name)]
    if not found:
        raise ImportError("neither lightning nor pytorch_lightning is installed: pip install lightning")
    return found[0]
