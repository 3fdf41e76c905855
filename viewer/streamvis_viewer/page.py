"""The page of plots: one Bokeh root per plot in a CSS grid of our own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import bokeh
from bokeh.document import Document
from bokeh.embed.elements import html_page_for_render_items
from bokeh.embed.util import standalone_docs_json_and_render_items

from streamvis_viewer import figures
from streamvis_viewer.layout import Page
from streamvis_viewer.palettes import SCALE, palette_colors
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import Plot, key_text
from streamvis_viewer.socket import ReadQuery
from streamvis_viewer.web import STATIC, PageHandler, decoded, templates


@cache
def guard() -> str:
    """The script that must run before all others."""
    return (STATIC / "guard.js").read_text(encoding="utf-8")


def html(page: Page, plots: Mapping[str, Plot], **values: Any) -> str:
    """The page, with its figures and without points: those come through the data socket."""
    document = Document()
    for cell in page.cells:
        document.add_root(figures.build(cell, plots[cell.plot]))
    docs_json, items = standalone_docs_json_and_render_items(document)
    made: str = html_page_for_render_items(
        ("", ""),
        docs_json,
        items,
        title=f"{', '.join(dict.fromkeys(cell.plot for cell in page.cells))} - streamvis",
        template=templates().get_template("page.html"),
        template_variables={
            "page": page,
            "guard": guard(),
            "plots": [_settings(cell.plot, plots[cell.plot]) for cell in page.cells],
            "scale": palette_colors(SCALE)[24:232:4],
            "bokeh": bokeh.__version__,
            **values,
        },
    )
    return made


def _settings(name: str, plot: Plot) -> dict[str, Any]:
    """What the page's script knows of a plot."""
    return {
        "title": figures.title_of(name, plot)["text"],
        "columns": list(plot.drawn),
        "sliders": list(plot.sliders),
        "legend": plot.figure_kwargs.get("legend", {}),
        "palette": list(palette_colors(plot.color.palette)),
        "key": key_text(plot.color.key_fun),
        "single": plot.glyph.single,
        "smooths": plot.glyph.thins == "extremes",
    }


class PlotHandler(PageHandler):
    """`/plot`: the page of plots that the query describes."""

    def initialize(self, read_query: ReadQuery) -> None:
        """`read_query` knows the schema."""
        self._read_query = read_query

    def get(self) -> None:
        """The page, or one that says what is wrong with the address."""
        try:
            page, plots = self._read_query(decoded(self.request.arguments))
        except UrlError as error:
            self.problem(400, "This address describes no page", error)
            return
        query = self.request.query
        self.finish(html(page, plots, prefix=self.prefix, token=self.access.page_token(), query=query, saved=None))
