"""Bokeh figures: axes, tools, ranges and the renderer of one plot, from its part of the schema."""

from __future__ import annotations

from typing import Any

from bokeh.models import BoxZoomTool, Range1d
from bokeh.plotting import figure

from streamvis_viewer.figure_kwargs import PARTS
from streamvis_viewer.glyphs import named
from streamvis_viewer.layout import Cell
from streamvis_viewer.schema import Plot

TOOLS = "pan,wheel_zoom,box_zoom,reset"

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
_FIGURE_LOOK = {
    "background_fill_color": None,
    "border_fill_color": None,
    "outline_line_color": None,
    "toolbar_location": None,  # the page has buttons of its own
    "min_border_left": 66,  # room for the labels of most axes, so that the frame stays where it is when they change
    "min_border_right": 18,
    "min_border_bottom": 50,
}
_TITLE_LOOK = {"text_font": _FONT, "text_font_size": "15px", "text_font_style": "bold", "text_color": "#1d2430"}
_LABEL_LOOK = {
    "major_label_text_font": _FONT,
    "major_label_text_font_size": "12px",
    "major_label_text_color": "#4a5363",
}
_AXIS_LOOK = {
    "axis_label_text_font": _FONT,
    "axis_label_text_font_size": "13px",
    "axis_label_text_font_style": "normal",
    "axis_label_text_color": "#4a5363",
    **_LABEL_LOOK,
    "axis_line_color": "#c3c9d3",
    "major_tick_line_color": "#c3c9d3",
    "minor_tick_line_color": None,
}
_GRID_COLOR = "#e7eaef"


def build(cell: Cell, plot: Plot) -> figure:
    """The figure of one cell. The page owns its ranges and its data."""
    kwargs = {key: value for key, value in plot.figure_kwargs.items() if key not in {*PARTS, "legend"}}
    made = figure(
        name=cell.key,
        x_range=Range1d(1, 10),
        y_range=Range1d(1, 10),
        x_axis_type="log" if cell.axes in {"xlog", "xylog"} else "linear",
        y_axis_type="log" if cell.axes in {"ylog", "xylog"} else "linear",
        tools=TOOLS,
        active_drag="pan",
        active_scroll="wheel_zoom",
        sizing_mode="stretch_both",
        min_width=0,
        min_height=0,
        **{**_FIGURE_LOOK, **kwargs},
    )
    _style(made, cell, plot)
    renderer = plot.glyph.build(cell.key, plot.glyph_options)
    made.renderers.append(renderer)
    if plot.glyph.dress:
        named(plot.glyph.dress)(made, renderer, _LABEL_LOOK)
    return made


def plain(text: str) -> str:
    """Text that Bokeh shows as it stands: a pair of dollar signs would be read as a formula."""
    return text.replace("$$", "$\u200b$").replace("\\[", "\\\u200b[").replace("\\(", "\\\u200b(")


def title_of(name: str, plot: Plot) -> dict[str, Any]:
    """The properties of a plot's title; its text as it was given."""
    given = plot.figure_kwargs.get("title", {})
    title = {"text": name, **(given if isinstance(given, dict) else {"text": given})}
    return {**title, "text": str(title["text"])}


def _style(made: figure, cell: Cell, plot: Plot) -> None:
    title = {**_TITLE_LOOK, **title_of(cell.plot, plot)}
    made.title.update(**{**title, "text": plain(title["text"])})
    for axis, part, column in ((made.xaxis[0], "xaxis", plot.columns[0]), (made.yaxis[0], "yaxis", plot.columns[1])):
        look = {**_AXIS_LOOK, "axis_label": column, **plot.figure_kwargs.get(part, {})}
        axis.update(**{**look, "axis_label": plain(str(look["axis_label"]))})
    made.grid.grid_line_color = _GRID_COLOR
    made.toolbar.logo = None
    made.select_one(BoxZoomTool).dimensions = "auto"
