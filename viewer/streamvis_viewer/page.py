"""The page of plots: one Bokeh root per plot in a CSS grid of our own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bokeh.application.handlers import Handler
from bokeh.document import Document
from bokeh.server.views.doc_handler import DocHandler
from jinja2 import Environment, PackageLoader, Template
from tornado.web import HTTPError, RequestHandler

from streamvis_viewer import figures
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import Plot
from streamvis_viewer.socket import ReadQuery, decoded

STATIC = Path(__file__).parent / "static"


@cache
def templates() -> Environment:
    """The HTML templates; whatever they insert is escaped."""
    return Environment(loader=PackageLoader("streamvis_viewer"), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def template(name: str) -> Template:
    """One HTML template."""
    return templates().get_template(name)


@cache
def guard() -> str:
    """The script that must run before all others."""
    return (STATIC / "guard.js").read_text(encoding="utf-8")


class PageApplication(Handler):
    """Makes the Bokeh document of one tab."""

    def __init__(self, read_query: ReadQuery) -> None:
        super().__init__()
        self._read_query = read_query

    def modify_document(self, doc: Document) -> None:
        """Adds a figure per cell, and our template."""
        context = doc.session_context
        if context is None or context.request is None:
            raise HTTPError(400, "this page needs a session of the viewer")
        page, plots = self._read_query(decoded(context.request.arguments))
        for cell in page.cells:
            doc.add_root(figures.build(cell, plots[cell.plot]))
        doc.title = f"{', '.join(dict.fromkeys(cell.plot for cell in page.cells))} - streamvis"
        doc.config.update(reconnect_session=False, notify_connection_status=False)  # our own socket sees to both
        doc.template = template("page.html")
        doc.template_variables.update(
            page=page, guard=guard(), settings=[_settings(plots[cell.plot]) for cell in page.cells]
        )


def _settings(plot: Plot) -> dict[str, Any]:
    """What the page's script knows of a plot."""
    return {
        "columns": plot.columns[:2],
        "sliders": list(plot.sliders),
        "legend": plot.figure_kwargs.get("legend", {}),
    }


class PlotHandler(DocHandler):
    """Bokeh's page, once the URL is known to describe one."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """The page of plots, or one that says what is wrong with the URL."""
        try:
            self.settings["read_query"](decoded(self.request.arguments))
        except UrlError as error:
            show_error(self, 400, "This address describes no page", error)
            return
        await super().get(*args, **kwargs)


class NotFoundHandler(RequestHandler):
    """Every address that is none of ours."""

    def prepare(self) -> None:
        """Answers all methods alike."""
        show_error(self, 404, "There is no such page")


def show_error(handler: RequestHandler, status: int, title: str, error: UrlError | None = None) -> None:
    """Answers with a page that says what was found, what was expected and what there is."""
    handler.set_status(status)
    handler.finish(
        template("error.html").render(
            title=title,
            problems=error.problems if error else (),
            offers=error.offers if error else (),
            address=handler.request.uri,
        )
    )
