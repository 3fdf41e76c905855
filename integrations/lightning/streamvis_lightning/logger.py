"""What the loggers of both class trees share: everything but the base class."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_only

from streamvis import DataLogger
from streamvis.integration import MetricLogger
from streamvis_lightning.media import MediaMixin

FLUSH_SECONDS = 10.0
"""How long the end of a fit, validation or test waits for what it logged to be stored or spooled."""

_GRAPH_CHARACTERS = 20_000

_CLI = {"lightning.pytorch.cli", "pytorch_lightning.cli"}


class LoggerMixin(MediaMixin, ABC):
    """Logs each metric as a topic with the columns step, value, epoch and time, on rank 0.

    `epoch` is NaN where the trainer gives none; `time` is in Unix seconds. What fails is said once per metric by the
    logging module; training goes on. While the server is away, points wait in the spool. A pickled copy goes on with
    the same scope; it replaces nothing, whatever `delete_existing` says, once the original has started.

    Values that go through `self.log` are numbers already: the trainer has waited for the device. Those that
    StreamvisCallback logs, or `logger.experiment.write`, stay on the device until the next flush.

    Args:
        scope: the run, such as "run24"; also the `version` that names the folder of checkpoints.
        grpc_uri: the data server; default STREAMVIS_GRPC_URI, else localhost:8081.
        name: what the folder above the version is called.
        save_dir: where checkpoints go; default the trainer's `default_root_dir`, under LightningCLI the current folder.
        prefix: put before each metric's name, with a "-" between.
        log_graph: the config gets the model's text and its numbers of parameters.
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
        log_graph: bool = False,
        strict: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self._name = name
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._prefix = prefix and f"{prefix}-"
        self._log_graph = log_graph
        self._next_step = 0
        self.claimed: set[str] = set()
        """Names that StreamvisCallback logs: the same from `self.log` is index 1."""
        self.metrics = MetricLogger(scope, grpc_uri, strict=strict, **options)
        """What logs: see its methods for arrays of any kind."""

    @property
    def name(self) -> str:
        """What the folder above the version is called."""
        return self._name

    @property
    def version(self) -> str:
        """The scope."""
        return self.metrics.scope

    @property
    def save_dir(self) -> str | None:
        """Where checkpoints go; None for the trainer's `default_root_dir`. LightningCLI needs a folder: the current."""
        if self._save_dir is None and not _CLI.isdisjoint(sys.modules):
            return "."
        return self._save_dir

    @property
    @abstractmethod
    def experiment(self) -> DataLogger:
        """The running DataLogger, started at the first use; on other ranks than 0 an object that does nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers, or values that are still on a device. Without a `step`, it is one more than at the last call.

        The metric `epoch` becomes a column of the others; `step`, unless given as an argument, is the step.
        """
        with self.metrics.contained("metrics"):
            metrics = dict(metrics)
            number = metrics.pop("step", self._next_step) if step is None else step
            if isinstance(number, (int, float, np.number)):  # of one on a device the logger does not ask
                self._next_step = int(number) + 1
            epoch = metrics.pop("epoch", None)
            named = {self.named(name): value for name, value in metrics.items()}
            twice = {name: named.pop(name) for name in self.claimed & named.keys()}
            self.metrics.log(named, number, epoch)
            for name in twice:
                self.metrics.say(name, f"{name} comes from StreamvisCallback and, as index 1, from self.log")
            self.metrics.log(twice, number, epoch, start_index=1)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None, *_: Any, **__: Any) -> None:
        """Merges hyperparameters of any kind into the scope's config: see MetricLogger.log_config."""
        self.metrics.log_config(params)

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Puts the model's text and its numbers of parameters into the config, with the argument `log_graph`."""
        if self._log_graph:
            sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
            graph = {
                "model": str(model)[:_GRAPH_CHARACTERS],
                "parameters": sum(size for size, _ in sizes),
                "trainable": sum(size for size, trainable in sizes if trainable),
            }
            self.metrics.log_config({"graph": graph})

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Puts the paths of the best and the last checkpoint into the config, as `checkpoint`."""
        with self.metrics.contained("checkpoint"):
            paths = {kind: getattr(checkpoint_callback, f"{kind}_model_path", "") for kind in ("best", "last")}
            self.metrics.log_config({"checkpoint": {kind: path for kind, path in paths.items() if path}})

    def finalize(self, status: str) -> None:
        """Returns when everything is stored or spooled, or after FLUSH_SECONDS; the logger stays usable."""
        self.metrics.flush(FLUSH_SECONDS)

    def named(self, metric: str) -> str:
        """The metric's name with the prefix before it."""
        return self._prefix + metric

    @property
    def last_step(self) -> int:
        """That of the metrics logged last, 0 before."""
        return max(0, self._next_step - 1)
