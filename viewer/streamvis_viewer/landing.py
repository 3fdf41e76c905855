"""The first page: which scopes, names and plots there are, each with a link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from streamvis import Topic
from streamvis_viewer import patterns
from streamvis_viewer.schema import Plot, Schema
from streamvis_viewer.web import PageHandler

MOST_LISTED = 2000
"""Scopes and names in the page; the search box finds no others, the note says so."""

MOST_PLOTS = 6
"""Plots in the links that open several."""


@dataclass(frozen=True, slots=True)
class Link:
    """Something that exists; `url` is empty when no plot shows it, and `detail` then says why."""

    title: str
    url: str
    detail: str


def plot_links(schema: Schema) -> list[Link]:
    """Every plot of the schema by itself."""
    return [
        Link(name, page_url([name]), f"{plot.glyph_kind} of {' over '.join(reversed(plot.columns[:2]))}")
        for name, plot in schema.plots.items()
    ]


def scope_links(schema: Schema, topics: Iterable[Topic]) -> list[Link]:
    """Every scope, latest first, with the plots that show something of it."""
    by_scope: dict[str, list[Topic]] = {}
    for topic in topics:
        by_scope.setdefault(topic.scope, []).append(topic)
    return [_scope_link(schema, scope, held) for scope, held in reversed(by_scope.items())]


def _scope_link(schema: Schema, scope: str, topics: Sequence[Topic]) -> Link:
    plots = [name for name, plot in schema.plots.items() if any(shows(plot, topic) for topic in topics)]
    detail = f"{len(topics)} name{'s' * (len(topics) != 1)}"
    if not plots:
        return Link(scope, "", f"{detail}; no plot draws their columns")
    return Link(scope, page_url(plots[:MOST_PLOTS], scopes=patterns.exactly(scope)), detail)


def name_links(schema: Schema, topics: Iterable[Topic]) -> list[Link]:
    """Every name with the plot that shows it."""
    by_name: dict[str, list[Topic]] = {}
    for topic in topics:
        by_name.setdefault(topic.name, []).append(topic)
    return [_name_link(schema, name, by_name[name]) for name in sorted(by_name)]


def _name_link(schema: Schema, name: str, topics: Sequence[Topic]) -> Link:
    columns = ", ".join(topics[0].columns)
    detail = f"{columns} · {len(topics)} scope{'s' * (len(topics) != 1)}"
    plot = next((title for title, plot in schema.plots.items() if any(shows(plot, topic) for topic in topics)), None)
    if plot is None:
        return Link(name, "", f"{detail}; no plot draws these columns")
    return Link(name, page_url([plot], names=patterns.exactly(name)), detail)


def shows(plot: Plot, topic: Topic) -> bool:
    """Whether a plot, opened without further filters, shows a topic."""
    return plot.needed <= set(topic.columns) and patterns.matcher(plot.names or ".*")(topic.name)


def page_url(plots: Sequence[str], **query: str) -> str:
    """The page of these plots, two in a row when there are many."""
    wide = 1 if len(plots) < 3 else 2
    rows = ";".join(",".join(plots[start : start + wide]) for start in range(0, len(plots), wide))
    return "/?" + urlencode({"rows": rows, **query}, safe=",;", quote_via=quote)


class LandingHandler(PageHandler):
    """`/`: the first page, or the way to a page of plots when the address names some."""

    def get(self) -> None:
        """Redirects `/?rows=…` and `/?cols=…` to `/plot`, which is where Bokeh's application is."""
        if self.request.arguments:
            self.redirect(f"{self.prefix}/plot?{self.request.query}")
            return
        schema: Schema = self.settings["schema"]()
        topics: Mapping[int, Topic] = self.settings["topics"]
        in_order = [topics[number] for number in sorted(topics)]
        scopes, names = scope_links(schema, in_order), name_links(schema, in_order)
        self.page(
            "landing.html",
            plots=plot_links(schema),
            everything=page_url(list(schema.plots)[:MOST_PLOTS]) if schema.plots else "",
            scopes=scopes[:MOST_LISTED],
            more_scopes=max(0, len(scopes) - MOST_LISTED),
            names=names[:MOST_LISTED],
            more_names=max(0, len(names) - MOST_LISTED),
            source=schema.source,
            server=self.settings["server_state"](),
            grpc_uri=self.settings["grpc_uri"],
        )
