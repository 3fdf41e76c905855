"""Kinds of drawing made of Bokeh's own glyphs, as a plugin would add them: `step` and `heatmap`.

The page feeds such a renderer's data source; its tags say with what, see `static/stock.js`:

=========  =========================================================================================================
`points`   a row per point: x, y, z (the third column that is drawn), color
`lines`    a row per series: xs, ys, color
`steps`    likewise, with the corners of a staircase, and width and dash; further tags say where a step is (before,
           after or center), and how wide lines are
`cells`    a row per point of one series: left, right, bottom, top (halfway to its neighbours), value (the third column)
=========  =========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bokeh.models import ColorBar, ColumnDataSource, Glyph, GlyphRenderer, LinearColorMapper, MultiLine, Quad
from bokeh.plotting import figure

from streamvis_viewer.palettes import palette_colors

FEED = "streamvis"
"""The first tag of a renderer that the page feeds."""

_COLUMNS = {
    "points": ("x", "y", "z", "color"),
    "lines": ("xs", "ys", "color"),
    "steps": ("xs", "ys", "color", "width", "dash"),
    "cells": ("left", "right", "bottom", "top", "value"),
}


def feeds() -> frozenset[str]:
    """The names of all feeds."""
    return frozenset(_COLUMNS)


def fed(
    key: str, glyph: Glyph, feed: Literal["points", "lines", "steps", "cells"], *more: str | float
) -> GlyphRenderer:
    """A renderer of a stock glyph that the page feeds; its fields are columns of the feed."""
    source = ColumnDataSource({name: [] for name in _COLUMNS[feed]})
    return GlyphRenderer(data_source=source, glyph=glyph, name=key, tags=[FEED, key, feed, *more])


def step(key: str, line_width: float, alpha: float, mode: str) -> GlyphRenderer:
    """Staircases."""
    glyph = MultiLine(xs="xs", ys="ys", line_color="color", line_width="width", line_dash="dash", line_alpha=alpha)
    return fed(key, glyph, "steps", mode, line_width)


def heatmap(key: str, alpha: float, palette: str, low: float | None, high: float | None) -> GlyphRenderer:
    """Cells, coloured by their value."""
    colors = LinearColorMapper(palette=list(palette_colors(palette)), low=low, high=high, nan_color="rgba(0, 0, 0, 0)")
    fill = {"field": "value", "transform": colors}
    edge = fill if alpha == 1 else None  # closes the seams between opaque cells
    sides = {side: side for side in ("left", "right", "bottom", "top")}
    glyph = Quad(**sides, fill_color=fill, fill_alpha=alpha, line_color=edge)
    return fed(key, glyph, "cells")


def color_bar(made: figure, renderer: GlyphRenderer, look: Mapping[str, Any]) -> None:
    """Beside a heatmap."""
    look = {"background_fill_color": None, "border_line_color": None, **look}
    bar = ColorBar(color_mapper=renderer.glyph.fill_color.transform, width=12, padding=8, **look)
    made.add_layout(bar, "right")
