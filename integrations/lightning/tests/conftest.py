"""Both families of Lightning's classes, a real data server, and loggers that end with their test."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamvis.server.run import ServerThread, serving

STEPS, EPOCHS = 6, 2

WARNINGS = (
    # Lightning walks its containers with a check that torch 2.13 deprecates
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
    # on machines with many cores Lightning advises loading in processes of their own: nothing for 1,797 tiny images
    "ignore:The '.*_dataloader' does not have many workers:UserWarning",
    # on machines with a GPU it finds that these tests leave it alone
    "ignore:GPU available but not used:UserWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What Lightning warns of is not ours; the rest of the repository keeps its filters."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for line in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(line))


@dataclass(frozen=True)
class Tree:
    """One of the two families of classes, with a dataset and a model made of it."""

    package: ModuleType
    logger: Any
    callback: Any
    data: Any
    model: Callable[..., Any]

    def trainer(self, logger: Any, root: Path, **options: Any) -> Any:
        quiet = {f"enable_{name}": False for name in ("progress_bar", "model_summary", "checkpointing")}
        settings = {"max_epochs": EPOCHS, "accelerator": "cpu", "log_every_n_steps": 1, "default_root_dir": root}
        return self.package.Trainer(logger=logger, **{**quiet, **settings, **options})


@pytest.fixture(name="tree", scope="session", params=["pytorch_lightning", "lightning.pytorch"])
def _tree(request: pytest.FixtureRequest) -> Tree:
    import torch
    from sklearn.datasets import load_digits
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    package = importlib.import_module(request.param)
    ours = importlib.import_module(
        {"pytorch_lightning": "streamvis_lightning.pl", "lightning.pytorch": "streamvis_lightning.lightning"}[
            request.param
        ]
    )
    images, digits = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits))

    class Model(package.LightningModule):  # type: ignore[misc, name-defined]  # one of two packages
        def __init__(self, learning_rate: float = 0.1, fail_at: int | None = None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.learning_rate, self.fail_at, self.batch_size = learning_rate, fail_at, 300
            self.layer = torch.nn.Linear(64, 10)

        def train_dataloader(self) -> Any:
            return DataLoader(data, batch_size=self.batch_size)

        val_dataloader = train_dataloader

        def training_step(self, batch: Any, number: int) -> Any:
            if number == self.fail_at:
                raise LookupError("the batch is broken")
            return self.loss("train/loss", batch)

        def validation_step(self, batch: Any, _: int) -> Any:
            return {"loss": self.loss("val/loss", batch)}

        def test_step(self, batch: Any, batch_idx: int) -> Any:
            assert batch_idx < STEPS
            return self.loss("test/loss", batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.learning_rate)

        def loss(self, name: str, batch: Any) -> Any:
            loss = torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            self.log(name, loss)
            return loss

    return Tree(package, ours.StreamvisLogger, ours.StreamvisCallback, DataLoader(data, batch_size=300), Model)


@pytest.fixture(name="make")
def _make(tree: Tree, tmp_path: Path, server: ServerThread) -> Iterator[Callable[..., Any]]:
    """Loggers with a spool of the test's own, which end with the test."""
    made = []

    def make(uri: str = server.uri, kind: Any = None, **options: Any) -> Any:
        logger = (kind or tree.logger)("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})
        made.append(logger)
        return logger

    yield make
    for logger in made:
        logger.metrics.stop()


@pytest.fixture(name="arrives")
def _arrives(stored: Callable[..., Any], wait_until: Callable[..., None]) -> Callable[[int], Any]:
    """What a server that starts on that port later gets of a fit and a test."""

    def arrives(port: int) -> Any:
        with serving("memory:", port) as server:
            wait_until(lambda: "test/loss" in stored(server), 30)
            return stored(server)

    return arrives
