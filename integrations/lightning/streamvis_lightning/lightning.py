"""The logger for `lightning.pytorch` and Fabric, and the callback."""

from __future__ import annotations

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from streamvis import DataLogger
from streamvis_lightning.callback import CallbackMixin
from streamvis_lightning.logger import LoggerMixin

__all__ = ["StreamvisCallback", "StreamvisLogger"]


class StreamvisLogger(LoggerMixin, Logger):
    """Logs what a `lightning.pytorch.Trainer` or a Fabric logs: see LoggerMixin for arguments and promises."""

    @property
    @rank_zero_experiment
    def experiment(self) -> DataLogger:
        """The running DataLogger, started at the first use; on other ranks than 0 an object that does nothing."""
        return self.metrics.logger


class StreamvisCallback(CallbackMixin, Callback):
    """Logs straight from the device in a `lightning.pytorch.Trainer`: see CallbackMixin for arguments and promises."""
