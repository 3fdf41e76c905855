"""A small reverse proxy, as it stands before a viewer in a lab: another address, another host, the path passed on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager


class ReverseProxy:
    """Forwards every connection to one upstream; `forward_host` says whether the browser's Host header stays."""

    def __init__(self, upstream: str, forward_host: bool) -> None:
        self._host, _, port = upstream.rpartition(":")
        self._port = int(port)
        self._forward_host = forward_host
        self.paths: list[str] = []

    async def serve(self, ready: Future[int], stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        ready.set_result(server.sockets[0].getsockname()[1])
        await stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
            upstream_writer.write(self._rewritten(head).encode("latin-1"))
            await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))

    def _rewritten(self, head: str) -> str:
        """One request a connection, unless it becomes a websocket."""
        first, *lines = head.rstrip("\r\n").split("\r\n")
        self.paths.append(first.split(" ")[1])
        headers = [line.partition(": ") for line in lines]
        upgrades = any(name.lower() == "upgrade" for name, _, _ in headers)
        dropped = {"connection"} if not upgrades else set()
        if not self._forward_host:
            dropped.add("host")
        kept = [f"{name}: {value}" for name, _, value in headers if name.lower() not in dropped]
        if not upgrades:
            kept.append("Connection: close")
        if not self._forward_host:
            kept.append(f"Host: {self._host}:{self._port}")
        return "\r\n".join([first, *kept, "X-Forwarded-For: 192.0.2.1", "", ""])


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def reverse_proxy(upstream: str, forward_host: bool = False) -> Iterator[tuple[int, ReverseProxy]]:
    """Its port at 127.0.0.1, and itself."""
    proxy = ReverseProxy(upstream, forward_host)
    ready: Future[int] = Future()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        ends.append((asyncio.get_running_loop(), stop))
        await proxy.serve(ready, stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield ready.result(20), proxy
    finally:
        loop, stop = ends[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
