"""Addresses as people give them, and the sockets at them."""

from __future__ import annotations

import errno
import re
import socket

from streamvis import StreamvisError
from streamvis.errors import UsageError
from streamvis_viewer.access import is_loopback

_GRPC_URI = re.compile(r"unix:.+|[^\s/]+:\d+")
_WEB_URI = re.compile(r"(?:http://)?(\[[0-9a-fA-F:]+\]|[^:/\[\]\s]+):(\d{1,5})/?")
_ORIGIN = re.compile(r"(?:https?://)?([A-Za-z0-9._-]+(?::\d{1,5})?)/?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")
_BACKLOG = 128


def check_grpc_uri(grpc_uri: str) -> None:
    """Raises UsageError for what is no address of a data server."""
    if not _GRPC_URI.fullmatch(grpc_uri):
        raise UsageError(f"found the data server's address {grpc_uri!r}; expected HOST:PORT or unix:PATH")


def parse_web_uri(web_uri: str) -> tuple[str, int]:
    """Host and port. Raises UsageError."""
    match = _WEB_URI.fullmatch(web_uri)
    if not match or int(match[2]) > 65535:
        raise UsageError(f"found the web address {web_uri!r}; expected HOST:PORT, such as localhost:8888")
    return match[1], int(match[2])


def is_exposed(web_uri: str) -> bool:
    """Whether other machines reach this address. Raises UsageError."""
    return not is_loopback(parse_web_uri(web_uri)[0])


def parse_prefix(prefix: str) -> str:
    """A path without its last slash, or nothing. Raises UsageError."""
    given = prefix if not prefix or prefix.startswith("/") else f"/{prefix}"
    if not _PREFIX.fullmatch(given):
        raise UsageError(f"found the prefix {prefix!r}; expected a path, such as /streamvis")
    return given.rstrip("/")


def parse_origin(origin: str) -> str:
    """A host, perhaps with a port. Raises UsageError."""
    match = _ORIGIN.fullmatch(origin)
    if not match:
        raise UsageError(f"found the origin {origin!r}; expected HOST or HOST:PORT, such as lab.example")
    return match[1]


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for all addresses of the host, on one port. Raises StreamvisError."""
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
            try:
                made = socket.create_server((address[0], port), family=family, backlog=_BACKLOG)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or not bound:  # a name may stand for more than this machine has
                    raise
                continue
            made.setblocking(False)
            bound.append(made)
            port = made.getsockname()[1]
    except OSError as error:
        for made in bound:
            made.close()
        reason = (error.strerror or str(error)).lower()
        raise StreamvisError(f"cannot listen at {host}:{port}: {reason}; choose another port or host") from None
    return bound
