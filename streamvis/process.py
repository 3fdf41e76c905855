"""What becomes of running loggers when their process forks, exits or is told to terminate."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, Protocol

from streamvis.heartbeat import End


class Member(Protocol):
    """What must come to its end before the process does. Its methods do not raise."""

    def ask(self, end: End) -> None:
        """Asks it to end and returns at once; a further call does nothing. Any thread and signal handler may call."""

    def wait(self) -> None:
        """Returns when it has ended, after `ask`, or when its time is up."""

    def hurry(self) -> None:
        """Asks it to bring what it holds to safety now, and returns at once."""

    def disown(self) -> None:
        """In a forked child: it goes on in the parent alone."""


class Process:
    """This process, and what must end before it. Threads may share it.

    A forked child disowns what it inherited. When the program exits, everything ends, all at the same time. So it does
    at SIGTERM, of which the program dies then, as it would without us — where nobody handles SIGTERM and the first
    member enters on the main thread; handlers of others stay, before and after.
    """

    def __init__(self) -> None:
        self._members: set[Member] = set()
        self._follows = False
        self._finalizer: Any = None
        atexit.register(self.end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._disown)

    def enter(self, member: Member) -> None:
        """The process does not end before the member has ended or left."""
        self._members.add(member)
        self._end_with_multiprocessing()
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not _is_caught(signal.SIGTERM):
            _handle(signal.SIGTERM, self._terminate)

    def leave(self, member: Member) -> None:
        """It has ended; a further call does nothing."""
        self._members.discard(member)
        if not self._members:
            self._release()

    def end(self) -> None:
        """Ends all members: the program exits, because of an exception unless that was of an interactive session."""
        error = sys.exc_info()[1] or getattr(sys, "last_value", None)
        died = isinstance(error, Exception) and not hasattr(sys, "ps1")
        self._end("crashed" if died else "finished")

    def _end(self, end: End) -> None:
        members = list(self._members)
        for member in members:
            member.ask(end)
        for member in members:
            member.wait()

    def _terminate(self, number: int, _: object) -> None:
        others = signal.getsignal(number) != self._terminate  # a handler that came later calls this one: it decides
        if others or os.getpid() == 1:  # the first process of a container does not die of it
            for member in list(self._members):
                member.hurry()
            return
        self._end("crashed")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _release(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._terminate:
            _handle(signal.SIGTERM, signal.SIG_DFL)

    def _disown(self) -> None:
        for member in self._members:
            member.disown()
        self._members.clear()
        self._release()

    def _end_with_multiprocessing(self) -> None:
        """Children of multiprocessing may exit without exit handlers; they run what its own finalizers are."""
        util = sys.modules.get("multiprocessing.util")
        if util is None:
            return
        if not self._follows:
            self._follows = True
            util.register_after_fork(self, Process._end_with_multiprocessing)  # which forgets finalizers
        is_child = sys.modules["multiprocessing.process"].parent_process() is not None
        if is_child and not (self._finalizer and self._finalizer.still_active()):
            self._finalizer = util.Finalize(None, self.end, exitpriority=0)


@functools.cache
def this() -> Process:
    """The process that this is."""
    return Process()


def _handle(number: int, handler: Any) -> None:
    with contextlib.suppress(ValueError):  # the main thread alone may
        signal.signal(number, handler)


def _is_caught(number: int) -> bool:
    """Whether anybody handles the signal, native code included, of which `signal.getsignal` knows nothing."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False  # not on Linux
    caught = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)
