"""A fit in two spawned processes on the CPU: spawned.py GRPC_URI FOLDER. Notes are left in FOLDER/rankN.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from streamvis_lightning import StreamvisCallback, StreamvisLogger


class Model(BoringModel):
    """Returns its loss and logs nothing itself."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The loss."""
        return super().training_step(batch, batch_idx)["loss"]


class Witness(Callback):
    """Notes what a rank sees as soon as it may use its logger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002
        """The experiment exists already."""
        experiment = trainer.logger.experiment
        self.seen = {
            "experiment": type(experiment).__name__,
            "nothing": experiment.write("earlier", step=0, rank=trainer.global_rank),
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """The folder of checkpoints is known."""
        checkpoints = next(callback for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint))
        self.seen["path"] = str(checkpoints.dirpath)
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(self.seen))


def main(uri: str, folder: str) -> None:
    """Three steps in each of two processes."""
    logger = StreamvisLogger("run", uri, spool_dir=Path(folder) / "spool", delete_existing=True)
    trainer = pl.Trainer(
        accelerator="cpu",
        strategy="ddp_spawn",
        devices=2,
        max_epochs=1,
        limit_train_batches=3,
        limit_val_batches=1,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        logger=logger,
        callbacks=[StreamvisCallback(), Witness(Path(folder))],
    )
    trainer.fit(Model())
    assert not logger.metrics.started


if __name__ == "__main__":
    main(*sys.argv[1:])
