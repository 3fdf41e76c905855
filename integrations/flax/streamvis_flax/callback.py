"""The callback of a training loop, whether it uses linen's TrainState, nnx or plain JAX."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import jax

from streamvis import DataLogger, StreamvisError

_FAILURES = (StreamvisError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_log = logging.getLogger("streamvis")


class StreamvisCallback:
    """Logs each metric of a step as a topic with the columns step, value, epoch and time.

        with StreamvisCallback("run24") as callback:
            for step, batch in enumerate(batches):
                state, metrics = train_step(state, batch)
                callback(step, metrics)

    Logs in the process of index 0 alone, and starts at the first use. What fails is reported once per metric by the
    logging module; training goes on. While the server is away, points wait in the spool.

    Each value is converted by `float()` in the call, which waits for the device when it is a jax array: for the speed
    of a loop that never waits, call it every few steps. That arrays stay on the device until the next flush arrives
    with the logger's jax adapter.

    Args:
        scope: the run, such as "run24".
        grpc_uri: the data server; default STREAMVIS_GRPC_URI, else localhost:8081.
        strict: what fails raises.
        options: those of DataLogger.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(self, scope: str, grpc_uri: str | None = None, *, strict: bool = False, **options: Any) -> None:
        self.logger = DataLogger(scope, grpc_uri, strict=strict, **options)
        """For arrays and whatever else is no metric. It runs, once started, in the process of index 0 alone."""
        self._strict = strict
        self._active: bool | None = None
        self._reported: set[str] = set()

    def start(self) -> Self:
        """Starts the logger, in the process of index 0. A second call does nothing."""
        if self._active is None:
            self._active = jax.process_index() == 0
            if self._active:
                self.logger.start()
        return self

    def __call__(self, step: Any, metrics: Mapping[str, Any], *, epoch: Any = None) -> None:
        """Logs numbers, and numpy or jax scalars, under their names. The epoch may also be one of the metrics."""
        with self._contained("metrics"):
            self.start()
            if not self._active:
                return
            number, now = int(step), time.time()
            when = float(metrics.get("epoch", math.nan) if epoch is None else epoch)
            for name, value in metrics.items():
                if name != "epoch":
                    with self._contained(name):
                        self.logger.write(name, step=number, value=float(value), epoch=when, time=now)

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Merges hyperparameters into the scope's config; see DataLogger.write_config."""
        with self._contained("hyperparameters"):
            self.start()
            if self._active:
                self.logger.write_config(values)

    def flush(self, timeout: float | None = None) -> None:
        """Returns when everything is stored or spooled, or after `timeout` seconds."""
        if self._active:
            with self._contained("everything"):
                self.logger.flush(timeout)

    def stop(self) -> None:
        """Flushes and closes; see DataLogger.stop."""
        self.logger.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def _contained(self, what: str) -> Iterator[None]:
        """Training does not end because a point cannot be logged."""
        try:
            yield
        except _FAILURES as error:
            if self._strict:
                raise
            if what not in self._reported:
                self._reported.add(what)
                scope, kind = self.logger.scope, type(error).__name__
                _log.warning("cannot log %s of %r, said once: %s: %s", what, scope, kind, error)
