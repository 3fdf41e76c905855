"""What packages that plug a framework into streamvis share: metrics, and keeping failures out of the training loop."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from streamvis.errors import UsageError
from streamvis.hyperparameters import FAILURES, Notes, plain
from streamvis.logger import DataLogger

_log = logging.getLogger("streamvis")


class MetricLogger:
    """Logs the metrics of one run: each is a topic with the columns step, value, epoch and time.

    `epoch` is NaN where there is none, `time` is in Unix seconds. Values on a device stay there until the flush, as for
    `DataLogger.write`. What fails is said once for each name by the logging module, and training goes on. It starts at
    the first use. A pickled copy goes on with the same scope; once the original has started, the copy replaces nothing,
    whatever `delete_existing` says. Threads may share it.

    Args:
        scope: the run, such as "run24".
        grpc_uri: the data server; default STREAMVIS_GRPC_URI, else localhost:8081.
        strict: what fails raises.
        columns: further columns of every metric, such as {"process": 1}.
        options: those of DataLogger.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(
        self,
        scope: str,
        grpc_uri: str | None = None,
        *,
        strict: bool = False,
        columns: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.scope = scope
        self.strict = strict
        self.columns = dict(columns or {})
        """What every point has besides."""
        self._options = {"grpc_uri": grpc_uri, "strict": strict, **options}
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._started = False
        self._logger = DataLogger(scope, grpc_uri, strict=strict, **options)  # where wrong arguments raise

    @property
    def logger(self) -> DataLogger:
        """For arrays and whatever else is no metric: the running DataLogger, started at the first use."""
        if not self._started:
            with self._lock:
                if not self._started:
                    self._logger.start()
                    self._started = True
        return self._logger

    @property
    def started(self) -> bool:
        """Whether it has been used."""
        return self._started

    def log(self, metrics: Mapping[str, Any], step: Any, epoch: Any = None, *, start_index: int = 0) -> None:
        """Logs numbers, and arrays wherever they live, under their names; nested dicts join theirs with a slash.

        A value of the step's shape is one line: a number, or as many points as there are steps. One with a further,
        last axis is a line (an index) for each of its entries. The epoch may also be one of the metrics.
        """
        with self.contained("metrics"):
            if not isinstance(metrics, Mapping):
                raise UsageError(f"found {type(metrics).__name__}, expected a dict of names and values")
            number, now = _integer(step), time.time()
            when = _number(metrics.get("epoch", math.nan) if epoch is None else epoch)
            axes = getattr(number, "ndim", 0)
            write = self.logger.write

            def write_one(name: str, lines: Any) -> None:
                try:  # as `contained`, whose context costs as much as the write
                    write(name, start_index=start_index, step=number, value=lines, epoch=when, time=now, **self.columns)
                except FAILURES as error:
                    self._contain(name, error)

            seen: set[str] = set()
            arrays: list[tuple[str, Any]] = []
            for name, value in flat(metrics):
                if name == "epoch":
                    continue
                if name in seen:
                    self.say(name, f"{name} of {self.scope!r} is given twice in one call; both are stored")
                seen.add(name)
                if type(value) is float:
                    write_one(name, value)
                else:
                    arrays.append((name, value))
            if arrays:
                for name, lines in self._together(arrays, axes):
                    write_one(name, lines)

    def _together(self, metrics: Sequence[tuple[str, Any]], axes: int) -> Iterator[tuple[str, Any]]:
        """The lines of metrics, those on devices copied by one call."""
        names, lines = list[str](), list[Any]()
        for name, value in metrics:
            try:
                lines.append(_lines(_number(value), axes))
                names.append(name)
            except FAILURES as error:
                self._contain(name, error)
        return zip(names, self.logger.together(tuple(names), lines) if len(names) > 1 else lines, strict=True)

    def log_histogram(self, name: str, centres: Any, counts: Any, step: Any, epoch: Any = None) -> None:
        """Logs a histogram: a point for each bin, with its centre as `value`, and the column `count` besides."""
        with self.contained(name):
            when = math.nan if epoch is None else epoch
            self.write(name, step=_integer(step), value=centres, count=counts, epoch=_number(when), time=time.time())

    def write(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        """Logs one write of any columns, and those that every metric has."""
        self.logger.write(name, start_index=start_index, **columns, **self.columns)

    def log_config(self, params: Any) -> None:
        """Merges hyperparameters of any kind into the scope's config.

        As DataLogger.write_config, but that what it would raise for is said once instead.
        """
        with self.contained("hyperparameters"):
            notes: Notes = {}
            config = plain({} if params is None else params, notes, lenient=True)
            if not isinstance(config, dict):
                raise UsageError(f"found {type(params).__name__}, expected a dict")
            if notes:
                listed = "; ".join(f"{name} {note}" for name, note in notes.items())
                self.say("config", f"hyperparameters of {self.scope!r}: {listed}")
            self.logger.write_config(config)

    def flush(self, timeout: float | None = None) -> None:
        """Returns when everything is stored or spooled, or after `timeout` seconds. Nothing before the first use."""
        if self._started:
            with self.contained("everything"):
                self._logger.flush(timeout)

    def stop(self) -> None:
        """Flushes and closes; see DataLogger.stop."""
        self._logger.stop()

    @contextlib.contextmanager
    def contained(self, what: str) -> Iterator[None]:
        """Training does not end because a point cannot be logged."""
        try:
            yield
        except FAILURES as error:
            self._contain(what, error)

    def _contain(self, what: str, error: Exception) -> None:
        if self.strict:
            raise error
        kind, reason = type(error).__name__, next(iter(str(error).splitlines()), "")
        self.say(f"{what}: {kind}", f"cannot log {what} of {self.scope!r}: {kind}: {reason}")

    def say(self, what: str, message: str) -> None:
        """Warns, once about each thing."""
        if what not in self._said:
            self._said.add(what)
            _log.warning("%s (said once)", message)

    def __getstate__(self) -> dict[str, Any]:
        replaces = self._options.get("delete_existing", False) and not self._started
        return {
            **{name: value for name, value in self.__dict__.items() if name not in ("_lock", "_logger", "_started")},
            "_options": {**self._options, "delete_existing": replaces},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._started = False
        self._logger = DataLogger(self.scope, **self._options)


def flat(metrics: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dicts, their names joined with slashes."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", value


def _integer(step: Any) -> Any:
    if _is_array(step):
        return step
    try:
        return int(step)
    except FAILURES as error:
        raise UsageError(f"the step is {step!r:.80}; expected a whole number") from error


def _number(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, (list, tuple)) else value if _is_array(value) else float(value)


def _lines(value: Any, axes: int) -> Any:
    """The value as (index, point) if it has an axis more than the step, which has `axes`."""
    if getattr(value, "ndim", 0) != axes + 1:
        return value
    return value.T if axes else value[:, None]


def _is_array(value: Any) -> bool:
    return not isinstance(value, np.generic) and hasattr(value, "ndim") and hasattr(value, "dtype")
