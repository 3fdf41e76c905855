"""Runs a data server: in a process of its own until a signal, or inside this one for tests and tools."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import platform
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import grpc

from streamvis.errors import ConflictError
from streamvis.server.broadcast import Broadcast
from streamvis.server.service import SERVICE_NAME, Service, rpc_handler
from streamvis.server.standard import Health, standard_handlers
from streamvis.storage import open_store
from streamvis.storage.base import Store
from streamvis.transport import MESSAGE_LIMIT

STOP_SECONDS = 2.0
"""How long what is under way may go on after the server was told to stop."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.so_reuseport", 0),  # else two servers share a port, and clients reach either by chance
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # allows the pings of quiet subscriptions
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),  # finds clients that vanished without a word, and ends their streams
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_concurrent_streams", 1024),  # of one connection; further calls of it wait
)


def run_server(
    data_prefix: str,
    port: int,
    host: str = "127.0.0.1",
    ready: Callable[[str], None] | None = None,
    open_store: Callable[[str], Store] = open_store,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops with everything acknowledged on disk; for the main thread.

    `ready` is called with the server's address once it answers. `host` may be `unix:path`; then the port has no
    meaning. Raises StoreError when the data cannot be used and ConflictError when the address cannot.
    """
    _keep_big_blocks()
    _collect_seldom()
    with contextlib.closing(open_store(data_prefix)) as store:
        asyncio.run(_run_until_signal(store, address(host, port), ready or (lambda _: None)))


async def _run_until_signal(store: Store, where: str, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await _serve(store, where, ready, stop)


class ServerThread:
    """A data server in a thread of this process."""

    def __init__(
        self,
        data_prefix: str = "memory:",
        port: int = 0,
        host: str = "127.0.0.1",
        broadcast: Broadcast | None = None,
        open_store: Callable[[str], Store] = open_store,
    ) -> None:
        """Returns when it answers at `uri`. Raises StoreError and ConflictError as `run_server` does."""
        store = open_store(data_prefix)
        self._ready: Future[str] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(store, address(host, port), broadcast), name="streamvis-server", daemon=True
        )
        self._thread.start()
        self.uri = self._ready.result()

    def _run(self, store: Store, where: str, broadcast: Broadcast | None) -> None:
        with contextlib.closing(store):
            try:
                asyncio.run(self._main(store, where, broadcast))
            except Exception as error:
                if self._ready.done():
                    raise
                self._ready.set_exception(error)

    async def _main(self, store: Store, where: str, broadcast: Broadcast | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await _serve(store, where, self._ready.set_result, self._stop, broadcast)

    def stop(self) -> None:
        """Stops as SIGTERM does. A second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@contextlib.contextmanager
def serving(
    data_prefix: str = "memory:",
    port: int = 0,
    host: str = "127.0.0.1",
    broadcast: Broadcast | None = None,
    open_store: Callable[[str], Store] = open_store,
) -> Iterator[ServerThread]:
    """A data server in this process, at `server.uri`, for as long as the block runs."""
    server = ServerThread(data_prefix, port, host, broadcast, open_store)
    try:
        yield server
    finally:
        server.stop()


async def _serve(
    store: Store,
    where: str,
    ready: Callable[[str], None],
    stop: asyncio.Event,
    broadcast: Broadcast | None = None,
) -> None:
    server = grpc.aio.server(options=_OPTIONS)
    bound = _bind(server, where)
    service, health = Service(store, broadcast), Health([SERVICE_NAME])
    try:
        server.add_generic_rpc_handlers((rpc_handler(service), *standard_handlers(health)))
        await server.start()
        ready(bound)
        await stop.wait()
    finally:
        health.stop()
        service.stop(STOP_SECONDS)
        # A connection whose peer stands still closes when the system gives it up: nobody waits for that.
        await asyncio.wait([asyncio.create_task(server.stop(STOP_SECONDS))], timeout=STOP_SECONDS + 0.5)
        await service.close()


def address(host: str, port: int) -> str:
    """A host and a port as gRPC writes them."""
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(server: grpc.aio.Server, where: str) -> str:
    """Binds the address and returns it with the port that it got. Raises ConflictError."""
    _check_free(where)
    try:
        port = server.add_insecure_port(where)
    except RuntimeError:
        raise ConflictError(f"cannot listen at {where}; choose another port or host") from None
    return where if where.startswith("unix:") else f"{where.rpartition(':')[0]}:{port}"


def _check_free(where: str) -> None:
    """Raises ConflictError with the system's reason, which gRPC would print instead."""
    try:
        if where.startswith("unix:"):
            _check_path(where.removeprefix("unix:"))
        else:
            _check_port(where)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConflictError(f"cannot listen at {where}: {reason.lower()}; choose another port or host") from None


def _check_port(where: str) -> None:
    host, _, port = where.rpartition(":")
    family, kind, protocol, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a stopped server leaves is no obstacle
        probe.bind(target)


def _check_path(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(path) == 0:
            raise OSError(0, "another server answers there")


def _keep_big_blocks() -> None:
    """Makes glibc keep large buffers: else each message pays for fresh pages, which costs a factor of three."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 256 << 20)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 512 << 20)  # M_TRIM_THRESHOLD


def _collect_seldom() -> None:
    """Looks for cycles of garbage after every 5,000 new objects instead of 700, and never among what was imported.

    Blocks are many, live long and have no cycles: under steady load the collector went through all of the latest
    commits again and again, a tenth of the server's time, in stalls of more than 0.1 s.
    """
    gc.freeze()
    gc.set_threshold(5000, 20, 20)
