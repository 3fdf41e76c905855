"""The live page of streamvis. Names load when they are first used, so that listing plugins imports no Bokeh."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamvis_viewer.faults import SchemaError
    from streamvis_viewer.glyphs import Glyph
    from streamvis_viewer.query import UrlError
    from streamvis_viewer.schema import Schema, load
    from streamvis_viewer.server import serve, serving

__all__ = ["Glyph", "Schema", "SchemaError", "UrlError", "load", "serve", "serving"]

_HOMES = {
    "Glyph": "glyphs",
    "Schema": "schema",
    "SchemaError": "faults",
    "UrlError": "query",
    "load": "schema",
    "serve": "server",
    "serving": "server",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamvis_viewer' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"streamvis_viewer.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
