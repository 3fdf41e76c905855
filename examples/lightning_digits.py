"""A Lightning Trainer, logged to streamvis: python examples/lightning_digits.py [GRPC_URI [EPOCHS]]."""

from __future__ import annotations

import sys

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from streamvis_lightning import StreamvisCallback, StreamvisLogger


class Digits(pl.LightningModule):
    """A small network that tells handwritten digits apart."""

    def __init__(self, hidden: int = 64, learning_rate: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()  # these go to the logger, too
        self.learning_rate = learning_rate
        self.network = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def training_step(self, batch: list[torch.Tensor], _: int) -> dict[str, torch.Tensor]:
        """What it returns is logged from the device; `self.log` would wait for it."""
        return self.measure(batch)

    def validation_step(self, batch: list[torch.Tensor], _: int) -> dict[str, torch.Tensor]:
        """Of these the means over all held-out images are logged."""
        return self.measure(batch)

    def measure(self, batch: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The loss, and the share of images that are recognised."""
        images, digits = batch
        logits = self.network(images)
        accuracy = (logits.argmax(dim=1) == digits).float().mean()
        return {"loss": nn.functional.cross_entropy(logits, digits), "accuracy": accuracy}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent with momentum."""
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=0.9)


def main(grpc_uri: str | None = None, epochs: str = "30") -> None:
    """Trains; what knows of streamvis is the logger and the callback."""
    pl.seed_everything(0)
    images, digits = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits))
    training, validation = random_split(data, [len(data) - 300, 300])
    logger = StreamvisLogger("lightning", grpc_uri, delete_existing=True)
    callback = StreamvisCallback(statistics_every_n_steps=1)
    trainer = pl.Trainer(max_epochs=int(epochs), logger=logger, callbacks=[callback], enable_checkpointing=False)
    trainer.fit(Digits(), DataLoader(training, 50, shuffle=True), DataLoader(validation, 300))


if __name__ == "__main__":
    main(*sys.argv[1:])
