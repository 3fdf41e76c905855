"""Runs `streamvis` commands as child processes: starts them, waits until they are ready, ends them."""

from __future__ import annotations

import math
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from streamvis.errors import StreamvisError

READY_TIMEOUT = 60.0
END_TIMEOUT = 15.0


class Child:
    """One `streamvis` command in a process of its own, whose output is passed on.

    It gets a process group of its own, so that Ctrl-C reaches only this program, which ends its children in order.
    """

    def __init__(self, *arguments: str, echo: Callable[[str], None]) -> None:
        self.name = arguments[0]
        self._echo = echo
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(  # noqa: S603 - this program itself, no shell
            [sys.executable, "-m", "streamvis", *arguments], stdout=subprocess.PIPE, text=True, process_group=0
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {self.name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def wait_for(self, pattern: str, timeout: float = READY_TIMEOUT) -> str:
        """What the first group of the pattern matches in a line of its output. Raises StreamvisError."""
        deadline = time.monotonic() + timeout
        while True:
            match = next(filter(None, (re.search(pattern, line) for line in tuple(self._lines))), None)
            if match:
                return match[1]
            if not self._reader.is_alive():
                raise self.ended()
            if time.monotonic() > deadline:
                raise StreamvisError(f"streamvis {self.name} was not ready within {timeout:.0f} seconds")
            with self._news:
                self._news.wait(0.1)

    def ended(self) -> StreamvisError:
        """The error that says that it ended by itself."""
        return StreamvisError(f"streamvis {self.name} ended with exit code {self._process.wait()}; it says why above")

    def end(self) -> None:
        """Asks it to end, and kills it if it has not within some seconds."""
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)
        if self._process.stdout:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.append(line)
            self._echo(line.rstrip("\n"))
            with self._news:
                self._news.notify_all()


class Children:
    """Child processes that end together."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self._echo = echo
        self._children: list[Child] = []

    def start(self, *arguments: str) -> Child:
        """Starts `streamvis ARGUMENTS`."""
        child = Child(*arguments, echo=self._echo)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raises StreamvisError when one has ended by itself."""
        for child in self._children:
            if not child.running:
                raise child.ended()

    def watch(self, seconds: float = math.inf) -> None:
        """Returns after that time. Raises StreamvisError when one has ended by itself."""
        deadline = time.monotonic() + seconds
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            self.check()

    def end(self) -> None:
        """Ends them, the latest first."""
        for child in reversed(self._children):
            child.end()


@contextmanager
def children(echo: Callable[[str], None]) -> Iterator[Children]:
    """Child processes that end when the block is left, also by Ctrl-C and SIGTERM."""
    with terminable():
        family = Children(echo)
        try:
            yield family
        finally:
            family.end()


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM raise KeyboardInterrupt, so that it ends this program as Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def free_port(preferred: int) -> int:
    """The preferred port of this machine, or any other when it is taken."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise StreamvisError("no port of 127.0.0.1 is free")
