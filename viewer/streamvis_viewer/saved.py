"""A page of plots as one file that needs neither viewer nor network: pan, zoom, hide, slide and play go on working."""

from __future__ import annotations

import asyncio
import base64
import gzip
import struct
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from streamvis.errors import UnavailableError, UsageError
from streamvis_viewer import scripts
from streamvis_viewer.frames import Later
from streamvis_viewer.landing import ApiHandler
from streamvis_viewer.layout import Page
from streamvis_viewer.live import Live
from streamvis_viewer.page import ENTRY, Documents, html
from streamvis_viewer.query import UrlError
from streamvis_viewer.schema import Plot
from streamvis_viewer.socket import ReadQuery
from streamvis_viewer.tabs import Tab, Views
from streamvis_viewer.watch import SchemaFile
from streamvis_viewer.web import BOKEH, STATIC, decoded, read_query_string

_WAIT_SECONDS = 60


class SavedPage(NamedTuple):
    """A page as a file."""

    html: str
    thinned: Mapping[str, int]
    """The plots of which it has a part, and how many points they have."""


async def saved_page(views: Views, page: Page, plots: Mapping[str, Plot], query: str) -> SavedPage:
    """The page as it opens where the query says. Waits until everything that it shows has arrived."""
    with closing(Tab(views, page, plots, looks=False)) as tab:
        while not tab.ready:
            await tab.changed.wait()
            tab.changed.clear()
        frames = [await asyncio.to_thread(frame) if isinstance(frame, Later) else frame for frame in tab.frames()]
        thinned = tab.thinned
    return SavedPage(await asyncio.to_thread(_html, page, plots, query, frames), thinned)


def _html(page: Page, plots: Mapping[str, Plot], query: str, frames: list[bytes]) -> str:
    packed = b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
    saved = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "style": (STATIC / "page.css").read_text(encoding="utf-8"),
        "bokeh": _script((BOKEH / "bokeh.min.js").read_text(encoding="utf-8")),
        "modules": {"imports": _modules(ENTRY)},
        "entry": f"streamvis/{ENTRY}",
        "frames": base64.b64encode(gzip.compress(packed, 6)).decode(),
    }
    return html(page, plots, Documents(), saved=saved, query=query, token="", prefix="")


def _modules(entry: str) -> dict[str, str]:
    """A script and all that it imports, as data URLs by the names under which they then import one another."""
    found: dict[str, str] = {}
    for name in scripts.needed(entry):
        code = scripts.IMPORT.sub(r'\1"streamvis/\2"', scripts.text(name)).encode()
        found[f"streamvis/{name}"] = f"data:text/javascript;base64,{base64.b64encode(code).decode()}"
    return found


def _script(text: str) -> str:
    """A script that may stand within HTML: what would end it there can only be part of a string, or of a comment."""
    return text.replace("</script", r"<\/script")


class SaveHandler(ApiHandler):
    """`/save?…`: the page of this query as a file."""

    def initialize(self, views: Views, read_query: ReadQuery) -> None:
        """`read_query` knows the schema."""
        self._views = views
        self._read_query = read_query

    async def get(self) -> None:
        """HTML, whatever it holds: the page that asked makes a file of it."""
        try:
            page, plots = self._read_query(decoded(self.request.query_arguments))
        except UrlError as error:
            self.answer({"error": str(error)}, 400)
            return
        try:
            made = await asyncio.wait_for(saved_page(self._views, page, plots, self.request.query), _WAIT_SECONDS)
        except TimeoutError:
            self.answer({"error": "the data server has not sent all points yet: try again"}, 503)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="streamvis.html"')
        self.set_header("Cache-Control", "no-store")
        self.finish(made.html)


def save(grpc_uri: str, query: str, file: Path, schema_file: Path | None = None) -> tuple[int, Mapping[str, int]]:
    """Writes the page of a query, or of a whole address.

    Returns the file's size in bytes; and of which plots it has a part, with how many points they have.

    Raises SchemaError, UrlError and UsageError for what it was given, UnavailableError when the data server is away.
    """
    schema = SchemaFile(schema_file) if schema_file else None
    made = asyncio.run(_saved(grpc_uri, _without_token(query.rpartition("?")[2]), schema))
    text = made.html.encode(errors="replace")
    try:
        file.write_bytes(text)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from None
    return len(text), made.thinned


def _without_token(query: str) -> str:
    return "&".join(pair for pair in query.split("&") if not pair.startswith("token="))


async def _saved(grpc_uri: str, query: str, schema: SchemaFile | None) -> SavedPage:
    live = Live(grpc_uri, schema)
    live.start()
    try:
        await live.settle()
        if live.views.server["state"] != "live":
            raise UnavailableError(f"the data server at {grpc_uri} does not answer")
        page, plots = live.read_query(read_query_string(query))
        return await saved_page(live.views, page, plots, query)
    finally:
        await live.close()
