"""Hooks in the shape of clu's PeriodicAction: called with every step, they act now and then."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streamvis_flax.run import FlaxRun


class _Periodic(ABC):
    """Acts on steps that `every_steps` divides, on those of `on_steps`, and `every_secs` seconds after it last acted.

    A call gives whether it acted; the first never does.
    """

    def __init__(
        self,
        *,
        every_steps: int | None = None,
        every_secs: float | None = None,
        on_steps: Iterable[int] | None = None,
    ) -> None:
        self._every_steps = every_steps
        self._every_secs = every_secs
        self._on_steps = frozenset(on_steps or ())
        self._acted: float | None = None

    def __call__(self, step: int, t: float | None = None) -> bool:
        """To be called with every step; `t` is the time in seconds, default the clock's."""
        now = time.monotonic() if t is None else t
        if self._acted is None:
            self._acted = now
            return False
        if not self._is_due(step, now - self._acted):
            return False
        self._act(step)
        self._acted = now
        return True

    def _is_due(self, step: int, seconds: float) -> bool:
        return (
            (self._every_steps is not None and step % self._every_steps == 0)
            or (self._every_secs is not None and seconds > self._every_secs)
            or step in self._on_steps
        )

    @abstractmethod
    def _act(self, step: int) -> None: ...


class StreamvisHook(_Periodic):
    """Logs what `metrics(step)` gives then; keywords as clu's PeriodicAction: every_steps, every_secs, on_steps."""

    def __init__(self, run: FlaxRun, metrics: Callable[[int], Mapping[str, Any]], **when: Any) -> None:
        super().__init__(**when)
        self._run = run
        self._metrics = metrics

    def _act(self, step: int) -> None:
        self._run.log(step, self._metrics(step))


class StreamvisFlush(_Periodic):
    """Waits until everything is stored or spooled, or `timeout` seconds; keywords as clu's PeriodicAction."""

    def __init__(self, run: FlaxRun, *, timeout: float = 10.0, **when: Any) -> None:
        super().__init__(**when)
        self._run = run
        self._timeout = timeout

    def _act(self, step: int) -> None:  # noqa: ARG002 - as of every hook
        self._run.flush(self._timeout)
