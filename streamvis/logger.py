"""DataLogger and AsyncDataLogger: what a training program calls."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import struct
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np

from streamvis import plugins, settings
from streamvis.arrays import Adapters, ArrayAdapter
from streamvis.buffer import HIGH_WATER, Buffer, check_text
from streamvis.errors import BufferFullError, FlushTimeoutError, StateError, UsageError
from streamvis.heartbeat import End
from streamvis.hookspecs import Run, Sink
from streamvis.hyperparameters import Notes, plain
from streamvis.plugins import Plugins
from streamvis.puts import REFUSED
from streamvis.sender import Life, OnFull, Sender, SenderOptions
from streamvis.transport import check_uri

TensorType: TypeAlias = Literal["numpy", "torch", "jax"]

_ROOM_SECONDS = 0.005
"""How often an asyncio program looks whether there is room again."""

_log = logging.getLogger("streamvis")


class DataLogger:
    """Logs points of one scope. Threads may share it; a forked child may not, and is told so once.

    A pickled copy logs to the same scope as a writer of its own, and replaces nothing; it runs if the original did. A
    logger that nobody holds any more, or that still runs when the program exits or is terminated, ends as by `stop`.

    A value is stored as it is when `write` returns, whatever happens to it afterwards. `write` never waits for a
    device, the network or a disk, except with `on_full="block"` at the limit. While the server is away, what was
    written is kept in `spool_dir`; it is sent when the server answers, or by `streamvis push`.

    Args:
        scope: the run, such as "run24".
        grpc_uri: the data server, host:port or unix:path; default STREAMVIS_GRPC_URI, else localhost:8081.
        tensor_type: "numpy", "torch" or "jax" admits, beside numbers and numpy arrays, that kind alone; None any.
        delete_existing: the first write to a name replaces what the scope holds under it.
        flush_every: seconds between flushes; after a quiet interval the first write is sent 5 ms later.
        max_host_bytes: how much may wait in the host's memory.
        max_device_bytes: how much may wait on a device.
        on_full: at these limits "spool" to disk, "block" the writer, or "raise" BufferFullError.
        spool_dir: default $XDG_STATE_HOME/streamvis/spool.
        spool_max_bytes: how much may wait on disk.
        stop_timeout: seconds that `stop` takes at most.
        strict: failures of the environment raise as well, not only the caller's mistakes.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(  # noqa: PLR0913 - the options of a run, all but the first two by keyword
        self,
        scope: str,
        grpc_uri: str | None = None,
        *,
        tensor_type: TensorType | None = None,
        delete_existing: bool = False,
        flush_every: float = 2.0,
        max_host_bytes: int = 256 << 20,
        max_device_bytes: int = 64 << 20,
        on_full: OnFull = "spool",
        spool_dir: str | os.PathLike[str] | None = None,
        spool_max_bytes: int = 10 << 30,
        stop_timeout: float = 10.0,
        strict: bool = False,
    ) -> None:
        check_text("scope", scope)
        self.scope = scope
        self.grpc_uri = check_uri(grpc_uri or settings.grpc_uri())
        if on_full not in get_args(OnFull):
            raise UsageError(f"on_full is {on_full!r}; expected one of {', '.join(get_args(OnFull))}")
        _check_seconds(flush_every=flush_every, stop_timeout=stop_timeout)
        _check_bytes(max_host_bytes=max_host_bytes, max_device_bytes=max_device_bytes, spool_max_bytes=spool_max_bytes)
        _check_bools(delete_existing=delete_existing, strict=strict)
        self._tensor_type = tensor_type
        self._options = SenderOptions(
            uri=self.grpc_uri,
            flush_every=flush_every,
            max_host_bytes=max_host_bytes,
            max_device_bytes=max_device_bytes,
            on_full=on_full,
            spool_dir=_as_folder(spool_dir) if spool_dir is not None else settings.spool_dir(),
            spool_max_bytes=spool_max_bytes,
            stop_timeout=stop_timeout,
            strict=strict,
            replace=delete_existing,
        )
        self._begin()

    def _begin(self) -> None:
        self._buffer = Buffer(_adapters(self._tensor_type), self._options.max_device_bytes // 4)
        self._buffer.attention = True
        self._sender: Sender | None = None
        self._refused: Counter[str] = Counter()
        self._hurries = 0
        self._said_forked = False
        self._noted: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_buffer", "_sender", "_refused", "_hurries", "_said_forked", "_noted")
        kept = {name: value for name, value in self.__dict__.items() if name not in own}
        running = self._sender is not None and self._sender.life is not Life.STOPPED
        return {**kept, "_options": replace(self._options, replace=False), "_running": running}

    def __setstate__(self, state: dict[str, Any]) -> None:
        running = state.pop("_running")
        self.__dict__.update(state)
        self._begin()
        if running:
            self.start()

    def start(self) -> Self:
        """Starts the background thread; the server need not be there. Raises StateError the second time."""
        if self._sender is not None:
            raise StateError(f"logger of {self.scope!r} {self._sender.life.value}; a logger starts once")
        run = Run(self.scope, self.grpc_uri)
        loaded = plugins.default()
        sinks = loaded.collect("streamvis_sinks", Sink, run=run)
        tell_end = functools.partial(_tell_end, loaded, run)
        sender = Sender(self.scope, self._buffer, self._options, sinks, tell_end)
        sender.start()
        self._sender = sender
        weakref.finalize(self, sender.ask).atexit = False
        loaded.notify("streamvis_run_started", run=run)
        return self

    def write(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        """Logs points: columns broadcast together to (index, point), the first index being `start_index`.

        A number is one point, rank 1 is n points of one index, rank 2 is (index, point).

        Raises:
            ColumnsError: names other than at the first write of `name`, or shapes that do not broadcast.
            DtypeError: a value that no column can hold.
            StateError: before `start` or after `stop`.
            BufferFullError: at the limit, with `on_full="raise"`, or lost points when strict.
        """
        try:
            size = self._buffer.puts[(name, start_index) if start_index != 0 else name](columns)
        except (KeyError, TypeError, ValueError, struct.error):
            size = REFUSED  # the first of its kind, or one of which `add` says what is wrong
        if size >= HIGH_WATER:
            if size < REFUSED:
                self._hurry()
            elif not self._buffer.attention or self._attend(name, columns):
                self._add(name, start_index, columns)

    def together(self, names: tuple[str, ...], values: Sequence[Any]) -> list[Any]:
        """Copies values that will be written one by one: arrays on devices by one call for each device and dtype.

        Gives what to write in their places, once or several times; the values themselves may change or be donated by
        then. `names` tells calls with values of the same kinds from others, as in

            for name, value in zip(names, logger.together(names, values)):
                logger.write(name, x=step, y=value)
        """
        return self._buffer.together(names, values)

    def write_config(self, values: Any) -> None:
        """Merges hyperparameters into the scope's config: later keys win, nested dicts merge.

        Takes a dict with string keys, a dataclass, an argparse.Namespace or an OmegaConf. Numbers, bools, None,
        strings, lists and dicts come back as they are; numpy scalars as numbers, small arrays as lists, paths as
        strings, enums as their values, classes and functions as their names; anything else as its `repr`, with one
        warning. Raises UsageError for what is no dict, for other keys, and for what contains itself or is more than 64
        levels deep.
        """
        notes: Notes = {}
        config = plain(values, notes)
        if not isinstance(config, dict):
            raise UsageError(f"config is a {type(values).__name__}; expected a dict with string keys")
        if self._forked():
            return
        sender = self._running_sender()
        if new := notes.keys() - self._noted:
            self._noted |= new
            listed = "; ".join(f"{path} {note}" for path, note in notes.items() if path in new)
            _log.warning("config of %r: %s (said once)", self.scope, listed)
        sender.configure(config)

    def flush(self, timeout: float | None = None) -> None:
        """Returns when everything written so far is stored or, while the server is away, spooled: see `stats`.

        Raises:
            FlushTimeoutError: it took longer than `timeout` seconds; nothing is lost.
            RejectedError: the server refused points, such as columns that disagree with another process's.
            StateError: before `start` or after `stop`.
        """
        if self._forked():
            return
        if not self._running_sender().flush(timeout):
            raise FlushTimeoutError(f"flush of {self.scope!r} took longer than {timeout} s; it goes on")

    def stop(self) -> None:
        """Flushes and closes within `stop_timeout` seconds; what the server has not taken by then is spooled."""
        self._stop("finished")

    def _stop(self, end: End) -> None:
        if self._sender is not None and self._sender.life is not Life.FORKED:
            self._sender.ask(end)
            self._sender.wait()

    def stats(self) -> dict[str, Any]:
        """Counters of this run.

        writes, points, bytes (encoded), flushes, batches, outstanding (batches not acknowledged), retries, spooled
        (batches), spool_bytes, waiting_writes, waiting_bytes, connected, errors; rejected: name → reason; dropped:
        name → points that are lost, and configs under "config"; sinks: plugin → its points, waiting_points,
        waiting_bytes, lag (seconds), dropped, errors and last_error. Raises StateError before `start`.
        """
        if self._sender is None:
            raise self._misused()
        stats = self._sender.stats()
        stats["dropped"] = dict(Counter(stats["dropped"]) + self._refused)
        return stats

    def __enter__(self) -> Self:
        return self if self._runs() else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop("crashed" if isinstance(error, Exception) else "finished")

    def _add(self, name: str, start_index: int, columns: Mapping[str, Any]) -> None:
        buffer = self._buffer
        size = buffer.add(name, start_index, columns)
        if size >= HIGH_WATER or buffer.early or buffer.piece_bytes >= self._options.max_host_bytes // 8:
            self._hurry()

    def _hurry(self) -> None:
        """Much waits: flush now, and write no more before that once it is too much."""
        buffer, sender, options = self._buffer, self._sender, self._options
        if sender is not None:
            sender.hurry()
            self._hurries += 1
            # The numbers of all names take a moment to count, while this is called for every write.
            host = sender.held_bytes  # before what it may take out next, lest that counts twice
            host += buffer.piece_bytes if self._hurries % 64 else buffer.nbytes()
            device = buffer.device_bytes
            if device >= options.max_device_bytes or host >= options.max_host_bytes:
                sender.full = buffer.attention = True

    def _attend(self, name: str, columns: Mapping[str, Any]) -> bool:
        """What `write` does when something is the matter; whether it may go on."""
        sender = self._sender
        if sender is None or sender.life is not Life.RUNNING:
            return self._refuse()
        if sender.quiet:
            sender.wake()
        if not sender.full:
            self._buffer.attention = False
            return True
        if self._options.on_full == "block":
            self._wait_for_room()
            return self._runs() or self._refuse()
        if self._options.on_full == "raise" or self._options.strict:
            raise BufferFullError(self._told_full(name))
        sender.hurry()
        self._refused[name] += _points(columns)
        if self._refused.total() == 1:
            _log.error("points of %r are lost: memory is full and the spool cannot keep up; see stats()", name)
        return False

    def _told_full(self, name: str) -> str:
        options = self._options
        on_device = self._buffer.device_bytes >= options.max_device_bytes
        limit = "max_device_bytes" if on_device else "max_host_bytes"
        waiting = f"{self.scope!r} has {getattr(options, limit)} bytes waiting to be sent"
        return f"write({name!r:.80}): {waiting}; use flush() to wait for room, a larger {limit}, or on_full='spool'"

    def _wait_for_room(self) -> None:
        while self._needs_room and self._sender is not None:
            self._sender.make_room(1.0)

    @property
    def _needs_room(self) -> bool:
        """Whether a write has to wait until something was sent."""
        return self._options.on_full == "block" and self._runs() and self._sender is not None and self._sender.full

    def _runs(self) -> bool:
        return self._sender is not None and self._sender.life is Life.RUNNING

    def _refuse(self) -> bool:
        if not self._forked():
            raise self._misused()
        return False

    def _misused(self) -> StateError:
        state = "has not been started: call start() or use `with`" if self._sender is None else self._sender.life.value
        return StateError(f"logger of {self.scope!r} {state}")

    def _forked(self) -> bool:
        """Whether this is a forked child, which is told once that nothing is logged here."""
        if self._sender is None or self._sender.life is not Life.FORKED:
            return False
        if not self._said_forked:
            self._said_forked = True
            _log.warning(
                "logger of %r does nothing in the forked child %d: start a logger there, or use the spawn start method",
                self.scope,
                os.getpid(),
            )
        return True

    def _running_sender(self) -> Sender:
        if self._sender is None or self._sender.life is not Life.RUNNING:
            raise self._misused()
        return self._sender


class _Core(DataLogger):
    """The DataLogger inside an asyncio one, which waits for room itself, before it writes."""

    def _wait_for_room(self) -> None:
        pass

    def wait_for_room(self) -> None:
        """With `on_full="block"` at the limit: returns when there is room."""
        super()._wait_for_room()

    async def room(self) -> None:
        """Lets other tasks run, and with `on_full="block"` at the limit returns when there is room."""
        while self._needs_room and self._sender is not None:
            self._sender.hurry()
            await asyncio.sleep(_ROOM_SECONDS)


class AsyncDataLogger:
    """The same logger for asyncio programs: `write` yields to the loop, `flush` and `stop` are awaitable.

    Takes the arguments of DataLogger. Nothing awaited blocks the loop: at the limit, `await write` with
    `on_full="block"` lets other tasks run until there is room, where `write_sync` makes them wait.
    """

    def __init__(self, scope: str, grpc_uri: str | None = None, **options: Any) -> None:
        self._logger = _Core(scope, grpc_uri, **options)

    @property
    def scope(self) -> str:
        """The run."""
        return self._logger.scope

    @property
    def grpc_uri(self) -> str:
        """The data server."""
        return self._logger.grpc_uri

    def start(self) -> Self:
        """Starts the background thread; see DataLogger.start."""
        self._logger.start()
        return self

    async def write(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        """Logs points and lets other tasks run; see DataLogger.write."""
        await self._logger.room()
        self._logger.write(name, start_index=start_index, **columns)
        await asyncio.sleep(0)

    def write_sync(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        """Logs points without yielding; see DataLogger.write."""
        self._logger.wait_for_room()
        self._logger.write(name, start_index=start_index, **columns)

    def write_config(self, values: Any) -> None:
        """Merges hyperparameters into the scope's config; see DataLogger.write_config."""
        self._logger.write_config(values)

    async def yield_to_flush(self) -> None:
        """Lets other tasks run."""
        await asyncio.sleep(0)

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as DataLogger.flush
        """Returns when everything written so far is stored or spooled; see DataLogger.flush."""
        await asyncio.to_thread(self._logger.flush, timeout)

    async def stop(self) -> None:
        """Flushes and closes; see DataLogger.stop."""
        await asyncio.to_thread(self._logger.stop)

    def stats(self) -> dict[str, Any]:
        """Counters of this run; see DataLogger.stats."""
        return self._logger.stats()

    async def __aenter__(self) -> Self:
        self._logger.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._logger.__exit__, kind, error, trace)


def _points(columns: Mapping[str, Any]) -> int:
    """How many points a write would have been, as far as shapes tell; at least 1."""
    shapes = [(len(it),) if isinstance(it, (list, tuple)) else getattr(it, "shape", ()) for it in columns.values()]
    try:
        return max(1, math.prod(np.broadcast_shapes(*shapes)))
    except (TypeError, ValueError):
        return 1


def _tell_end(loaded: Plugins, run: Run, delivered: bool) -> None:
    loaded.notify("streamvis_run_finished", run=run, status="finished" if delivered else "failed")


def _check_seconds(**given: Any) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value < math.inf:
            raise UsageError(f"{name} is {value!r}; expected seconds, more than 0")


def _check_bytes(**given: Any) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value <= 0:
            raise UsageError(f"{name} is {value!r}; expected an int of bytes, more than 0, as in {name}=1 << 30")


def _check_bools(**given: Any) -> None:
    for name, value in given.items():
        if not isinstance(value, (bool, np.bool_)):
            raise UsageError(f"{name} is {value!r}; expected True or False")


def _as_folder(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise UsageError(f"spool_dir is {path!r}; expected a path")
    return Path(path)


def _adapters(tensor_type: str | None) -> Adapters:
    brought = [adapter for _, adapter in plugins.default().collect("streamvis_array_types", ArrayAdapter)]
    adapters = Adapters(brought, tensor_type)
    if tensor_type is not None and tensor_type not in adapters.names:
        known = ", ".join(adapters.names)
        raise UsageError(f"tensor_type is {tensor_type!r}; expected None or one of {known}")
    return adapters
