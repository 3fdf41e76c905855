"""What a page says beside its points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamvis_viewer import patterns
from streamvis_viewer.catalog import Catalog
from streamvis_viewer.layout import Page
from streamvis_viewer.schema import Plot
from streamvis_viewer.view import View


def page_note(server: Mapping[str, str], views: Sequence[View]) -> dict[str, Any]:
    """The state of the data server, and of each plot."""
    return {"server": server, "plots": [_plot_note(view) for view in views]}


def _plot_note(view: View) -> dict[str, Any]:
    return {
        "loading": not view.ready,
        "topics": len(view.topics),
        "left_out": view.reasons,
        "nan": view.gaps["nan"],
        "inf": view.gaps["inf"],
        "thinned": view.thinned,
    }


def differ(page: Page, plots: Mapping[str, Plot], others: Mapping[str, Plot]) -> bool:
    """Whether a page would look otherwise with other plots under these names."""
    pairs = ((plots[cell.plot], others.get(cell.plot)) for cell in page.cells)
    return any(one is not other and one != other for one, other in pairs)


class Columns:
    """What a person can make of the columns of what a page shows."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._version = -1
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    def of(self, page: Page, plots: Mapping[str, Plot]) -> dict[str, Any]:
        """`columns`: those that are neither drawn, nor have a slider, nor are ignored by the schema.

        `horizontal`: for each plot those over which it can be drawn. `unknown`: those that the page wants to have a
        slider, or to ignore, though nothing that it shows has them.

        Looked up again only when a name or a set of columns has come or gone.
        """
        if self._version != self._catalog.shapes_version:
            self._version, self._known = self._catalog.shapes_version, {}
        chosen = (*page.filter, *page.ignore)
        key = (*(text for cell in page.cells for text in (cell.plot, cell.names, cell.x)), "", *chosen)
        if key not in self._known:
            columns: set[str] = set()
            present: set[str] = set()
            horizontal: list[list[str]] = []
            for cell in page.cells:
                plot = plots[cell.plot].over(cell.x)
                shown = set(self._shown(plots[cell.plot], cell.names))
                present |= shown
                columns |= shown - {*plot.drawn, *plot.sliders, *plot.ignore} if plot.splits else set()
                horizontal.append(sorted(shown - {*plot.drawn[1:], *plot.sliders}))
            unknown = sorted({*chosen} - present) if present else []
            self._known[key] = {"columns": sorted(columns), "horizontal": horizontal, "unknown": unknown}
        return self._known[key]

    def _shown(self, plot: Plot, names: str) -> Iterator[str]:
        has_name = patterns.matcher(names)
        for name, known in self._catalog.names.items():
            if has_name(name):
                for columns in known.examples:
                    if plot.needed <= set(columns):
                        yield from columns
