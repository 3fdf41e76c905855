"""Who may see and do what: own hosts only, an access token if the viewer has one, and signed pages for all that acts.

Three questions, asked in this order of every request:

* Is the host that it names ours? A foreign name that points at this machine (DNS rebinding) gets no answer.
* Does it know the access token? From the header `Authorization: Bearer …` of programs, or the cookie of a browser.
* If it acts or reads data: did a page of ours, served by this process, send it? Its origin and its signed token say so.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from functools import cache
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

PAGE_HEADER = "Streamvis-Page"
"""The header that carries a page's token."""


class Access:
    """What one viewer process grants. `token` is empty when everybody who reaches the port may look."""

    def __init__(self, token: str = "", hosts: Iterable[str] = ()) -> None:
        self.token = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._key = secrets.token_bytes(32)
        self._login = hmac.digest(b"streamvis login", token.encode(), "sha256").hex()  # the same after a restart

    # ---- hosts

    def is_own_host(self, host: str) -> bool:
        """Whether a host, perhaps with a port, is a name that nobody else can point at us.

        That is an address, this machine's own name, or one that was allowed.
        """
        host = host.lower()
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return host in self._hosts or name in self._hosts or name in _own_names() or _is_address(name)

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a page of ours speaks: its host is the one that it calls, or one that was allowed."""
        given = urlsplit(origin).netloc.lower()
        if not given or not self.is_own_host(given):
            return False
        return given == host.lower() or given in self._hosts or urlsplit(f"//{given}").hostname in self._hosts

    # ---- the access token

    def knows_token(self, request: HTTPServerRequest) -> bool:
        """Whether a request may see anything at all."""
        if not self.token:
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        cookie = request.cookies.get(self.cookie_name(request))
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._login.encode())

    def is_token(self, given: str) -> bool:
        """Whether this is the access token."""
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    @staticmethod
    def cookie_name(request: HTTPServerRequest) -> str:
        """Viewers on one host share its cookies, whatever their ports: each has a name of its own."""
        return f"streamvis-{hashlib.sha256(request.host.encode()).hexdigest()[:8]}"

    @property
    def cookie(self) -> str:
        """What the cookie of those who know the token holds."""
        return self._login

    # ---- pages

    def page_token(self) -> str:
        """For one page; good as long as this process lives."""
        nonce = secrets.token_hex(8)
        return f"{nonce}.{self._signature(nonce)}"

    def is_page_token(self, given: str) -> bool:
        """Whether this process has signed it."""
        nonce, _, signature = given.partition(".")
        return hmac.compare_digest(signature.encode(errors="replace"), self._signature(nonce).encode())

    def is_own_page(self, request: HTTPServerRequest) -> bool:
        """Whether a page of ours sent the request; for everything that changes or exports what is stored.

        Browsers leave the origin out of some requests of a page to its own host; the token then says it all.
        """
        origin = request.headers.get("Origin")
        own = origin is None or self.is_own_origin(origin, request.host)
        return own and self.is_page_token(request.headers.get(PAGE_HEADER, ""))

    def _signature(self, nonce: str) -> str:
        return hmac.digest(self._key, nonce.encode(errors="replace"), "sha256").hex()


@cache
def _own_names() -> frozenset[str]:
    return frozenset({"localhost", socket.gethostname().lower(), socket.getfqdn().lower()})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    name = host.strip("[]")
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)
