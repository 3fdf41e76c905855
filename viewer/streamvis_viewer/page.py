"""The page of plots: one Bokeh root per plot in a CSS grid of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bokeh
from bokeh.document import Document
from bokeh.embed.elements import html_page_for_render_items
from bokeh.embed.util import standalone_docs_json_and_render_items

from streamvis_viewer import figures, scripts
from streamvis_viewer.layout import Cell, Page
from streamvis_viewer.palettes import SCALE, palette_colors
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import Plot, key_text
from streamvis_viewer.socket import ReadQuery
from streamvis_viewer.web import PageHandler, decoded, templates

ENTRY = "page.js"


class Documents:
    """The figures of pages as Bokeh's JSON, kept for the next tab: making them is most of what a page takes."""

    def __init__(self) -> None:
        self._plots: Mapping[str, Plot] = {}
        self._made: dict[tuple[tuple[str, ...], ...], Any] = {}

    def of(self, cells: Sequence[Cell], plots: Mapping[str, Plot]) -> Any:
        """The document and its roots: what `html_page_for_render_items` takes."""
        if plots is not self._plots or len(self._made) >= _MOST_DOCUMENTS:
            self._plots, self._made = plots, {}
        key = tuple((cell.key, cell.plot, cell.axes) for cell in cells)  # what a figure depends on beside its plot
        if key not in self._made:
            document = Document()
            for cell in cells:
                document.add_root(figures.build(cell, plots[cell.plot]))
            self._made[key] = standalone_docs_json_and_render_items(document)
        return self._made[key]


_MOST_DOCUMENTS = 64


def html(page: Page, plots: Mapping[str, Plot], documents: Documents, **values: Any) -> str:
    """The page, with its figures and without points: those come through the data socket."""
    made: str = html_page_for_render_items(
        ("", ""),
        *documents.of(page.cells, plots),
        title=f"{', '.join(dict.fromkeys(cell.plot for cell in page.cells))} - streamvis",
        template=templates().get_template("page.html"),
        template_variables={
            "page": page,
            "guard": scripts.text("guard.js"),
            "early": scripts.text("early.js"),
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

    def initialize(self, read_query: ReadQuery, documents: Documents) -> None:
        """`read_query` knows the schema."""
        self._read_query = read_query
        self._documents = documents

    def get(self) -> None:
        """The page, or one that says what is wrong with the address."""
        try:
            page, plots = self._read_query(decoded(self.request.arguments))
        except UrlError as error:
            self.problem(400, "This address describes no page", error)
            return
        values = {"prefix": self.prefix, "token": self.access.page_token(), "query": self.request.query, "saved": None}
        self.finish(html(page, plots, self._documents, scripts=scripts.needed(ENTRY), **values))
