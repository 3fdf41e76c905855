"""The first page: which scopes, names and plots exist. Pages are laid out here, runs go to the trash and come back."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from streamvis import Client, StreamvisError, Topic
from streamvis.errors import UnavailableError
from streamvis_viewer import patterns, scripts
from streamvis_viewer.catalog import Catalog, Name, Scope
from streamvis_viewer.schema import Plot, Schema
from streamvis_viewer.statuses import Statuses
from streamvis_viewer.web import PageHandler

MOST_PLOTS = 6
"""Plots in the links that open several."""
_TELLING = tuple(
    re.compile(words, re.IGNORECASE) for words in ("loss", "acc|error|score|reward|return|perplexity")
)  # as landing.js
MOST_SCOPES = 1000
"""Scopes that one request may name; the page sends as many requests as it needs."""


class LandingHandler(PageHandler):
    """`/`: the first page, or the way to a page of plots when the address names some."""

    def get(self) -> None:
        """Redirects `/?rows=…` and `/?cols=…` to `/plot`."""
        if self.request.arguments:
            self.redirect(f"{self.prefix}/plot?{self.request.query}")
            return
        known = {"grpc_uri": self.settings["grpc_uri"], "token": self.access.page_token()}
        self.page("landing.html", scripts=scripts.needed("landing.js"), **known)


class OpenHandler(PageHandler):
    """`/open?scope=…&name=…`: the plots that show something of these, all of them if none are named."""

    def initialize(self, catalog: Catalog, schema: Callable[[], Schema]) -> None:
        """What exists, and what draws it."""
        self._catalog = catalog
        self._schema = schema

    def get(self) -> None:
        """Redirects to a page of plots."""
        scopes, names = self.get_query_arguments("scope", strip=False), self.get_query_arguments("name", strip=False)
        topics = [
            topic
            for topic in self._catalog.topics.values()
            if (not scopes or topic.scope in scopes) and (not names or topic.name in names)
        ]
        plots = plots_of(self._schema(), topics)
        if plots:
            self.redirect(self.prefix + page_url(most_telling(plots), scopes, names))
            return
        columns = sorted({", ".join(topic.columns) for topic in topics})
        text = (
            f"No plot draws what has the columns {' or '.join(columns)}." if topics else "Nothing of that name exists."
        )
        self.problem(404, "There is nothing to draw", text=text)


class ApiHandler(PageHandler):
    """Answers our own pages with JSON."""

    def prepare(self) -> None:
        """Whoever is not a page of ours gets nothing."""
        if not self.access.is_own_page(self.request):
            self.answer({"error": "this page belongs to another viewer process: reload it"}, 403)

    def answer(self, value: Any, status: int = 200) -> None:
        """JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self.finish(text.encode(errors="replace"))


class CatalogHandler(ApiHandler):
    """`/catalog?after=…`: everything that exists, or what has changed since an earlier answer."""

    def initialize(
        self, statuses: Statuses, catalog: Catalog, schema: Callable[[], Schema], state: Callable[[], dict[str, Any]]
    ) -> None:
        """`state` gives what is said of the data server and of the schema file."""
        self._statuses = statuses
        self._catalog = catalog
        self._schema = schema
        self._state = state

    async def get(self) -> None:
        """The answer to `after` is the `at` of an answer of this process; to anything else it is everything."""
        await self._statuses.refresh()
        epoch, _, version = self.get_query_argument("after", "").partition("-")
        known = epoch == self._catalog.epoch and version.isdecimal()
        self.answer(listing(self._catalog, self._schema(), self._state(), int(version) if known else -1))


class ScopesHandler(ApiHandler):
    """`/scopes/delete` and `/scopes/restore`: moves scopes to the trash and back. The body is {"scopes": [...]}."""

    def initialize(self, grpc_uri: str) -> None:
        """The data server does it."""
        self._grpc_uri = grpc_uri

    async def post(self, verb: str) -> None:
        """Answers with the scopes for which it is done, and with what stood first in the way of the others."""
        scopes = self._scopes()
        if scopes is None:
            self.answer({"error": f"expected {{scopes: […]}} with 1 to {MOST_SCOPES} scopes"}, 400)
            return
        done, error = await asyncio.to_thread(_change, self._grpc_uri, verb, scopes)
        self.answer({"done": done, "error": error}, 409 if error and not done else 200)

    def _scopes(self) -> list[str] | None:
        try:
            scopes = json.loads(self.request.body)["scopes"]
        except (ValueError, KeyError, TypeError):
            return None
        right = isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)
        return scopes if right and 1 <= len(scopes) <= MOST_SCOPES else None


class TrashHandler(ApiHandler):
    """`/trash`: what was deleted and can be restored, by scope, what was deleted last first."""

    def initialize(self, grpc_uri: str) -> None:
        """The data server knows."""
        self._grpc_uri = grpc_uri

    async def get(self) -> None:
        """Names, points, bytes and the time of deletion of each scope."""
        try:
            self.answer({"trash": await asyncio.to_thread(_trash, self._grpc_uri)})
        except StreamvisError as error:
            self.answer({"error": str(error)}, 409)


def _trash(grpc_uri: str) -> list[dict[str, Any]]:
    with Client(grpc_uri) as client:
        found = client.trash()
    scopes: dict[str, dict[str, Any]] = {}
    for topic in reversed(found):
        entry = scopes.setdefault(
            topic.scope, {"scope": topic.scope, "names": [], "points": 0, "bytes": 0, "deleted": topic.deleted}
        )
        if topic.name and topic.name not in entry["names"]:
            entry["names"].append(topic.name)
        entry["points"] += topic.points
        entry["bytes"] += topic.bytes
    return list(scopes.values())


def _change(grpc_uri: str, verb: str, scopes: Sequence[str]) -> tuple[list[str], str]:
    done, errors = [], []
    with Client(grpc_uri) as client:
        change = {"delete": client.delete, "restore": client.restore}[verb]
        for scope in scopes:
            try:
                change(scope)
            except StreamvisError as error:
                errors.append(str(error))
                if isinstance(error, UnavailableError):
                    break
            else:
                done.append(scope)
    return done, errors[0] if errors else ""


def plain(value: Any) -> Any:
    """What JSON can carry: numbers that are none become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int) or _is_finite(value) else str(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


# ---- what the page is told


def listing(catalog: Catalog, schema: Schema, state: Mapping[str, Any], after: int) -> dict[str, Any]:
    """Scopes that have changed after a version; plots and names with them, if those may have."""
    changed, gone = catalog.since(after)
    told = {
        "at": f"{catalog.epoch}-{catalog.version}",
        "whole": after < 0,
        "scopes": [_scope(name, scope) for name, scope in changed.items()],
        "gone": gone,
        **state,
    }
    if after < 0 or changed or gone:
        told["plots"] = [_plot(name, plot, catalog) for name, plot in schema.plots.items()]
        told["names"] = [_name(title, name, schema) for title, name in sorted(catalog.names.items())]
    return told


def _scope(name: str, scope: Scope) -> dict[str, Any]:
    return {"scope": name, "order": scope.order, "names": scope.topics, "config": scope.config, **scope.status}


def _plot(title: str, plot: Plot, catalog: Catalog) -> dict[str, Any]:
    names = [name for name, known in catalog.names.items() if _shows_any(plot, known)]
    return {"plot": title, "kind": plot.glyph_kind, "columns": plot.columns[:2], "names": len(names)}


def _name(title: str, name: Name, schema: Schema) -> dict[str, Any]:
    plots = [plot_title for plot_title, plot in schema.plots.items() if _shows_any(plot, name)]
    columns = [", ".join(columns) for columns in name.examples]
    return {"name": title, "scopes": name.scopes, "columns": columns, "plots": plots[:MOST_PLOTS]}


def _shows_any(plot: Plot, name: Name) -> bool:
    return any(shows(plot, topic) for topic in name.examples.values())


def shows(plot: Plot, topic: Topic) -> bool:
    """Whether a plot, opened without further filters, shows a topic."""
    return plot.needed <= set(topic.columns) and patterns.matcher(plot.names or ".*")(topic.name)


def plots_of(schema: Schema, topics: Iterable[Topic]) -> list[str]:
    """The plots that show something of these topics, in the schema's order."""
    shapes = {(topic.name, topic.columns): topic for topic in topics}.values()
    return [title for title, plot in schema.plots.items() if any(shows(plot, topic) for topic in shapes)]


def most_telling(plots: Sequence[str]) -> list[str]:
    """As many plots as a page is opened with: all in their order, or of too many those that people look at first."""

    def place(plot: str) -> int:
        return next((place for place, words in enumerate(_TELLING) if words.search(plot)), len(_TELLING))

    return list(plots) if len(plots) <= MOST_PLOTS else sorted(plots, key=place)[:MOST_PLOTS]


def page_url(plots: Sequence[str], scopes: Sequence[str] = (), names: Sequence[str] = ()) -> str:
    """The page of these plots, two in a row when there are many, of these scopes and names alone if any are given."""
    wide = 1 if len(plots) < 3 else 2
    rows = ";".join(",".join(plots[start : start + wide]) for start in range(0, len(plots), wide))
    query = {"rows": rows}
    if scopes:
        query["scopes"] = patterns.exactly(*scopes)
    if names:
        query["names"] = patterns.exactly(*names)
    return "/plot?" + urlencode(query, safe=",;", quote_via=quote)
