"""What the loggers of both class trees share: everything but the base class."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import reprlib
import time
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from streamvis import DataLogger, StreamvisError

FLUSH_SECONDS = 10.0
"""How long the end of a fit, validation or test waits for what it logged to be stored or spooled."""

_FAILURES = (StreamvisError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_REPR = reprlib.Repr()
_REPR.maxother = 400

_log = logging.getLogger("streamvis")


class LoggerMixin(ABC):
    """Logs each metric as a topic with the columns step, value, epoch and time.

    `epoch` is NaN where the trainer gives none; `time` is in Unix seconds. What fails is reported once per metric by
    the logging module; training goes on. While the server is away, points wait in the spool. A pickled copy goes on
    with the same scope and replaces nothing, whatever `delete_existing` says.

    Values that go through `self.log` are numbers already: the trainer has waited for the device. Those given to
    `logger.experiment.write` take the way of `DataLogger.write`.

    Args:
        scope: the run, such as "run24"; also the `version` that names the folder of checkpoints.
        grpc_uri: the data server; default STREAMVIS_GRPC_URI, else localhost:8081.
        name: what the folder above the version is called.
        save_dir: where checkpoints go; default the trainer's `default_root_dir`.
        prefix: put before each metric's name, with a "-" between.
        strict: what fails raises.
        options: those of DataLogger.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(  # noqa: PLR0913 - what the built-in loggers take, all but the first two by keyword
        self,
        scope: str,
        grpc_uri: str | None = None,
        *,
        name: str = "lightning_logs",
        save_dir: str | os.PathLike[str] | None = None,
        prefix: str = "",
        strict: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self._scope = scope
        self._name = name
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._prefix = prefix and f"{prefix}-"
        self._strict = strict
        self._options: dict[str, Any] = {"grpc_uri": grpc_uri, "strict": strict, **options}
        self._logger: DataLogger | None = None
        self._next_step = 0
        self._reported: set[str] = set()
        self._make()  # wrong arguments raise here, not in the middle of a fit

    @property
    def name(self) -> str:
        """What the folder above the version is called."""
        return self._name

    @property
    def version(self) -> str:
        """The scope."""
        return self._scope

    @property
    def save_dir(self) -> str | None:
        """Where checkpoints go; None for the trainer's `default_root_dir`."""
        return self._save_dir

    @property
    @abstractmethod
    def experiment(self) -> DataLogger:
        """The running DataLogger, started at the first use; on other ranks than 0 an object that does nothing."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers. Without a `step`, it is one more than at the last call."""
        with self._contained("metrics"):
            number, now = self._next_step if step is None else int(step), time.time()
            self._next_step = number + 1
            epoch = float(metrics.get("epoch", math.nan))
            for name, value in metrics.items():
                if name != "epoch":
                    with self._contained(name):
                        self.experiment.write(
                            self._prefix + name, step=number, value=float(value), epoch=epoch, time=now
                        )

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None, *_: Any, **__: Any) -> None:
        """Merges hyperparameters into the scope's config; what is neither number, string nor container, by its repr."""
        with self._contained("hyperparameters"):
            self.experiment.write_config(_plain({} if params is None else params))

    def finalize(self, status: str) -> None:  # noqa: ARG002 - part of Lightning's interface
        """Returns when everything is stored or spooled, or after FLUSH_SECONDS; the logger stays usable."""
        if self._logger is not None:
            with self._contained("everything"):
                self._logger.flush(FLUSH_SECONDS)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_logger": None, "_options": self._options | {"delete_existing": False}}

    def _started(self) -> DataLogger:
        if self._logger is None:
            self._logger = self._make().start()
        return self._logger

    def _make(self) -> DataLogger:
        return DataLogger(self._scope, **self._options)

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
                _log.warning("cannot log %s of %r, said once: %s: %s", what, self._scope, type(error).__name__, error)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one line per kind
    """A hyperparameter in JSON's types."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Namespace):
        return _plain(vars(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, torch.Tensor)) and not value.ndim:
        return _plain(value.item())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return _REPR.repr_instance(value, 1)
