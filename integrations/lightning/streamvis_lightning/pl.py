"""The logger and the callback for `pytorch_lightning`."""

from __future__ import annotations

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from streamvis import DataLogger
from streamvis_lightning.callback import CallbackMixin
from streamvis_lightning.logger import LoggerMixin

__all__ = ["StreamvisCallback", "StreamvisLogger"]


class StreamvisLogger(LoggerMixin, Logger):
    """Logs what a `pytorch_lightning.Trainer` logs: see LoggerMixin for arguments and promises."""

    @property
    @rank_zero_experiment
    def experiment(self) -> DataLogger:
        """The running DataLogger, started at the first use; on other ranks than 0 an object that does nothing."""
        return self.metrics.logger


class StreamvisCallback(CallbackMixin, Callback):
    """Logs straight from the device in a `pytorch_lightning.Trainer`: see CallbackMixin for arguments and promises."""
