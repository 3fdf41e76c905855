"""A program that trains until SIGTERM comes: what Lightning does then is its own affair, also with a logger there."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from streamvis_lightning import StreamvisLogger


class Model(BoringModel):
    """Logs its loss."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        output = super().training_step(batch, batch_idx)
        self.log("train/loss", output["loss"])
        return output


class Say(Callback):
    """Says that three steps are done, and what ends the training."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            print("ready", flush=True)  # noqa: T201 - a program
            sys.stdin.readline()

    def on_exception(self, trainer: Trainer, _: LightningModule, exception: BaseException) -> None:
        print(trainer.global_step, type(exception).__name__)  # noqa: T201 - a program


if __name__ == "__main__":
    uri, folder = sys.argv[1:]
    logger = StreamvisLogger("run", grpc_uri=uri, spool_dir=f"{folder}/spool", flush_every=3600)
    logger.experiment.write("earlier", step=0, value=0.0)  # starts it before Lightning handles signals
    trainer = Trainer(
        max_epochs=-1,
        accelerator="cpu",
        callbacks=[Say()],
        logger=logger,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        default_root_dir=folder,
    )
    trainer.fit(Model())
