"""What all our pages share: templates, errors as pages, the gate that every request passes, and its login page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import bokeh
from jinja2 import Environment, PackageLoader
from tornado.escape import parse_qs_bytes
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from streamvis_viewer.access import Access
from streamvis_viewer.query import UrlError

STATIC = Path(__file__).parent / "static"
BOKEH = Path(bokeh.__file__).parent / "server" / "static" / "js"
COOKIE_DAYS = 30

_FAILED = 500
_WRONG = {404: "There is no such page", 405: "This address does not take that"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@cache
def templates() -> Environment:
    """The HTML templates; whatever they insert is escaped."""
    return Environment(loader=PackageLoader("streamvis_viewer"), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def decoded(arguments: Mapping[str, list[bytes]]) -> dict[str, list[str]]:
    """A URL's query as text."""
    return {key: [value.decode(errors="replace") for value in values] for key, values in arguments.items()}


def read_query_string(text: str) -> dict[str, list[str]]:
    """The text after the question mark of a URL, as a request's arguments."""
    return decoded(parse_qs_bytes(text, keep_blank_values=True))


class PageHandler(RequestHandler):
    """Answers with pages."""

    def set_default_headers(self) -> None:
        """A page loads nothing from elsewhere, and tells nobody elsewhere where it is."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    @property
    def access(self) -> Access:
        """What this viewer grants."""
        return cast(Access, self.settings["access"])

    @property
    def prefix(self) -> str:
        """What stands before every path, for a viewer behind a reverse proxy."""
        return str(self.settings["prefix"])

    def page(self, name: str, status: int = 200, **values: Any) -> None:
        """Answers with a template."""
        self.set_status(status)
        self.finish(templates().get_template(name).render(prefix=self.prefix, **values))

    def problem(self, status: int, title: str, error: UrlError | None = None, text: str = "") -> None:
        """Answers with a page that says what was found, what was expected and what there is."""
        self.page(
            "error.html",
            status,
            title=title,
            text=text,
            problems=error.problems if error else (),
            offers=error.offers if error else (),
            address=self.request.uri,
        )

    def decode_argument(self, value: bytes, name: str | None = None) -> str:  # noqa: ARG002 - the base class's signature
        """What is no UTF-8 names nothing, which is no reason to refuse the address."""
        return value.decode(errors="replace")

    def write_error(self, status_code: int, **_: Any) -> None:
        """A failure of ours, or an address that is wrong."""
        if status_code in _WRONG:
            self.problem(status_code, _WRONG[status_code])
        elif status_code < _FAILED:
            self.problem(status_code, "This request cannot be answered")
        else:
            self.problem(status_code, "The viewer has failed", text="Its log says more. Please report it.")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Only failures of ours."""
        if not isinstance(value, HTTPError) or value.status_code >= _FAILED:
            super().log_exception(typ, value, tb)


class NotFoundHandler(PageHandler):
    """Every address that is none of ours."""

    def prepare(self) -> None:
        """Answers all methods alike."""
        self.problem(404, _WRONG[404])


class ForeignHostHandler(PageHandler):
    """An answer for names that are not known to be ours."""

    def prepare(self) -> None:
        """Says how to allow the name, and nothing else."""
        text = "The viewer answers under this machine's names and addresses; its option --origin allows others."
        self.page("refused.html", 403, title="This name is not known to be the viewer's", text=text)


class LoginHandler(PageHandler):
    """Asks for the access token, and leaves a cookie with whoever knows it."""

    def get(self, *_: str) -> None:
        """From a link with `token=…`, which then disappears from the address."""
        rest = {key: values for key, values in decoded(self.request.arguments).items() if key != "token"}
        query = urlencode(rest, doseq=True, safe=",;")
        self._admit(self.get_query_argument("token", ""), self.request.path + (f"?{query}" if query else ""))

    def post(self, *_: str) -> None:
        """From the form."""
        self._admit(self.get_body_argument("token", ""), self.request.uri or "/")

    def _admit(self, given: str, target: str) -> None:
        if self.access.token and not self.access.is_token(given):
            wrong = "This token is not the viewer's." if given else ""
            self.page("refused.html", 403, title="This viewer asks for its token", text=wrong, form=True)
            return
        if self.access.token:
            self.set_cookie(
                self.access.cookie_name(self.request),
                self.access.cookie,
                expires_days=COOKIE_DAYS,
                path=self.prefix or "/",
                httponly=True,
                samesite="Lax",
                secure=self.request.protocol == "https",
            )
        self.redirect("/" + target.lstrip("/\\"))


class FileHandler(PageHandler, StaticFileHandler):
    """Files of a folder; what is not there is answered with a page."""


class AssetHandler(FileHandler):
    """Our scripts and styles, which change with every version: browsers ask whether theirs are still good."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - the base class's signature
        """Caches nothing unasked."""
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")


class WebApplication(Application):
    """All routes, behind one gate: a route that is added later is guarded too."""

    def __init__(self, routes: list[tuple[Any, ...]], access: Access, prefix: str, **settings: Any) -> None:
        """`prefix` is empty, or begins with a slash and ends without one."""
        everything = [
            *routes,
            (r"/assets/(.*)", AssetHandler, {"path": str(STATIC)}),
            (r"/bokeh/(.*\.js)", FileHandler, {"path": str(BOKEH)}),
        ]
        super().__init__(
            [(f"{prefix}{pattern}", *rest) for pattern, *rest in everything],
            default_handler_class=NotFoundHandler,
            log_function=lambda _: None,
            access=access,
            prefix=prefix,
            **settings,
        )
        self._open = tuple(f"{prefix}/{folder}/" for folder in ("assets", "bokeh"))

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # type: ignore[override] # a private name of tornado's
        """The handler of a request, or the one that refuses it."""
        access: Access = self.settings["access"]
        if not access.is_own_host(request.host):
            return self.get_handler_delegate(request, ForeignHostHandler)
        if request.path.startswith(self._open):
            return super().find_handler(request, **kwargs)
        if "token" in request.arguments or not access.knows_token(request):
            return self.get_handler_delegate(request, LoginHandler)
        return super().find_handler(request, **kwargs)
