"""The logger for `lightning.pytorch` and Fabric."""

from __future__ import annotations

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger

from streamvis import DataLogger
from streamvis_lightning.logger import LoggerMixin

__all__ = ["StreamvisLogger"]


class StreamvisLogger(LoggerMixin, Logger):
    """Logs what a `lightning.pytorch.Trainer` or a Fabric logs: see LoggerMixin for arguments and promises."""

    @property
    @rank_zero_experiment
    def experiment(self) -> DataLogger:
        """The running DataLogger, started at the first use; on other ranks than 0 an object that does nothing."""
        return self._started()
