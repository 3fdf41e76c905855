"""Bokeh's palettes by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

DEFAULT_PALETTE = "Bright7"
"""Paul Tol's colours, which people with any colour vision tell apart (SRON/EPS/TN/09-002)."""

SCALE = "Viridis256"
"""What numbers are coloured by."""


def palette_colors(name: str) -> Sequence[str]:
    """The colours of a Bokeh palette such as Set1_9 or Turbo256. Raises ValueError for an unknown one."""
    from bokeh import palettes  # noqa: PLC0415 - Bokeh is imported when a schema is read, not when it is defined

    known = {key: value for key, value in vars(palettes).items() if key[:1].isupper() and isinstance(value, tuple)}
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, 4, 0.5)) or f"{DEFAULT_PALETTE}, Set1_9, Turbo256"
        raise ValueError(f"is no Bokeh palette; allowed are those of bokeh.palettes, such as {near}")
    return known[name]


def known_palette(name: str) -> str:
    """The name itself. Raises ValueError for an unknown one."""
    palette_colors(name)
    return name
