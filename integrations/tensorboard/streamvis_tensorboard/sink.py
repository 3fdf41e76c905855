"""The sink: one event file of one run."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from streamvis import Block
from streamvis_tensorboard.events import block_events, config_events, flat, step_column

_log = logging.getLogger("streamvis")

_numbers = itertools.count()


class TensorBoardSink:
    """Mirrors a run to an event file in `folder/scope`, which `tensorboard --logdir folder` shows.

    Scalars and histograms by step, and hyperparameters. A topic without an integer column `step` or `x` has no place
    in TensorBoard: it is left out, which is said once. TensorBoard keeps values as float32. After a failure, such as a
    full disk, the next flush begins a new file. Raises OSError from its methods.
    """

    def __init__(self, folder: str | os.PathLike[str], scope: str) -> None:
        self.folder = Path(folder, *map(_safe, scope.split("/")))
        self._scope = scope
        self._writer: RecordWriter | None = None
        self._config: dict[str, Any] = {}
        self._left_out: set[str] = set()

    def write(self, blocks: Sequence[tuple[str, Block]]) -> None:
        """Adds a flush to the file; see `streamvis.hookspecs.Sink`."""
        self._add(event for name, block in blocks for event in self._events(name, block))

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Adds the hyperparameters so far, merged."""
        for name, value in flat(values).items():
            replaced = [old for old in self._config if f"{old}.".startswith(f"{name}.") or name.startswith(f"{old}.")]
            for old in replaced:
                del self._config[old]
            self._config[name] = value
        self._add(config_events(self._config, self._scope))

    def close(self) -> None:
        """Closes the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _events(self, name: str, block: Block) -> Iterable[Event]:
        step = step_column(block)
        if step is not None:
            return block_events(name, block, step)
        if name not in self._left_out:
            self._left_out.add(name)
            _log.warning("TensorBoard does not get %r: it has no integer column step or x", name)
        return ()

    def _add(self, events: Iterable[Event]) -> None:
        try:
            writer = self._writer or self._open()
            for event in events:
                writer.write(event.SerializeToString())
            writer.flush()
        except OSError:  # the next flush begins a new file: readers stop at a torn end
            with contextlib.suppress(OSError):
                self.close()
            raise

    def _open(self) -> RecordWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        unique = f"{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers):04d}"
        self._writer = writer = RecordWriter((self.folder / f"events.out.tfevents.{unique}").open("wb"))
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        return writer


def _safe(part: str) -> str:
    """A folder's name for one part of a scope, which stays below the folder above it."""
    name = re.sub(r"[\x00-\x1f\\:]", "_", part)
    return name if name.strip(".") else "_"
