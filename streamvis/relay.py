"""A Write stream for forked children: gRPC does not survive a fork, so a fresh process speaks it for them.

Where gRPC was loaded before the fork, a channel that the child opens may hang, whatever GRPC_ENABLE_FORK_SUPPORT says
(tried with gRPC 1.85). The relay is an interpreter that reads batches from its standard input and writes answers to
its standard output, each behind its length. It ends with its input, which is the end of the child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import IO

from streamvis.errors import StreamvisError, UnavailableError, from_status
from streamvis.records import Ack, Batch
from streamvis.transport import GrpcLink, Link, loaded_before_fork
from streamvis.wire import dump_ack, dump_batch, load_ack, load_batch

_HEAD = struct.Struct("<?I")
"""Whether it is the last message, a status and the text of an error; the length of what follows."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from streamvis.relay import relay; relay(sys.argv[1])"


def open_link(uri: str, on_ack: Callable[[Ack], None], on_lost: Callable[[StreamvisError], None]) -> Link:
    """A Write stream to that address, in the way that works in this process."""
    return (RelayLink if loaded_before_fork() else GrpcLink)(uri, on_ack, on_lost)


class RelayLink:
    """A Write stream that a process of its own holds open."""

    def __init__(self, uri: str, on_ack: Callable[[Ack], None], on_lost: Callable[[StreamvisError], None]) -> None:
        self._requests: SimpleQueue[Batch | None] = SimpleQueue()
        self._closed = False
        command = [sys.executable, "-c", _PROGRAM, uri, *sys.path]
        self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        threads = ((self._write, ()), (self._read, (uri, on_ack, on_lost)))
        for run, arguments in threads:
            threading.Thread(target=run, args=arguments, name="streamvis-relay", daemon=True).start()

    def send(self, batch: Batch) -> None:
        """Queues the batch for the relay."""
        self._requests.put(batch)

    def close(self) -> None:
        """Ends the relay."""
        self._closed = True
        self._requests.put(None)
        self._process.kill()
        self._process.wait()

    def _write(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError), self._process.stdin as pipe:  # the relay has ended, as its output says
            for batch in iter(self._requests.get, None):
                _send(pipe, dump_batch(batch))

    def _read(self, uri: str, on_ack: Callable[[Ack], None], on_lost: Callable[[StreamvisError], None]) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        error: StreamvisError = UnavailableError(f"the process that relays to {uri} has ended")
        with self._process.stdout as pipe:
            for last, data in _received(pipe):
                if last:
                    error = from_status(*data.decode().split(" ", 1))
                else:
                    on_ack(load_ack(data))
        self._process.wait()
        if not self._closed:
            on_lost(error)


def relay(uri: str) -> None:
    """Relays between standard input and output and that address until one of them ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all of a job: the child's last batches come after it
    answers = sys.stdout.buffer

    def on_lost(error: StreamvisError) -> None:
        _send(answers, f"{error.status} {error}".encode(), last=True)
        os._exit(0)  # the main thread waits for input

    link = GrpcLink(uri, lambda ack: _send(answers, dump_ack(ack)), on_lost)
    for _, data in _received(sys.stdin.buffer):
        link.send(load_batch(data))
    link.close()


def _send(pipe: IO[bytes], data: bytes, *, last: bool = False) -> None:
    pipe.write(_HEAD.pack(last, len(data)))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Messages until the pipe's end; a message that is cut off does not count."""
    while len(head := pipe.read(_HEAD.size)) == _HEAD.size:
        last, length = _HEAD.unpack(head)
        data = pipe.read(length)
        if len(data) == length:
            yield last, data
