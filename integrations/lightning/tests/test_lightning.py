"""The Lightning logger in real Trainers of both class trees, against a real data server."""

from __future__ import annotations

import copy
import csv
import importlib
import importlib.util
import math
import pickle
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import streamvis
import streamvis_lightning
from streamvis import Client, DataLogger
from streamvis.errors import DtypeError, UsageError
from streamvis.server.run import ServerThread, serving

pytestmark = [
    pytest.mark.filterwarnings(line)
    for line in (
        # Lightning walks its containers with a check that torch 2.13 deprecates
        r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
        # on machines with many cores Lightning advises loading in processes of their own: nothing for 1,797 tiny images
        "ignore:The '.*_dataloader' does not have many workers:UserWarning",
        # on machines with a GPU it finds that these tests leave it alone
        "ignore:GPU available but not used:UserWarning",
    )
]

STEPS, EPOCHS = 6, 2


@dataclass(frozen=True)
class Tree:
    """One of the two families of classes, with a dataset and a model made of it."""

    package: ModuleType
    logger: Any
    data: Any
    model: Callable[..., Any]

    def trainer(self, logger: Any, root: Path, **options: Any) -> Any:
        quiet = {f"enable_{name}": False for name in ("progress_bar", "model_summary", "checkpointing")}
        settings = {"max_epochs": EPOCHS, "accelerator": "cpu", "log_every_n_steps": 1, "default_root_dir": root}
        return self.package.Trainer(logger=logger, **{**quiet, **settings, **options})


@pytest.fixture(name="tree", scope="module", params=["pytorch_lightning", "lightning.pytorch"])
def _tree(request: pytest.FixtureRequest) -> Tree:
    import torch
    from sklearn.datasets import load_digits
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    package = importlib.import_module(request.param)
    home = {"pytorch_lightning": "pl", "lightning.pytorch": "lightning"}[request.param]
    images, digits = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits))

    class Model(package.LightningModule):  # type: ignore[misc, name-defined]  # one of two packages
        def __init__(self, learning_rate: float = 0.1, fail_at: int | None = None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.learning_rate, self.fail_at = learning_rate, fail_at
            self.layer = torch.nn.Linear(64, 10)

        def training_step(self, batch: Any, number: int) -> Any:
            if number == self.fail_at:
                raise LookupError("the batch is broken")
            return self._loss("train/loss", batch)

        def validation_step(self, batch: Any, _: int) -> None:
            self._loss("val/loss", batch)

        def test_step(self, batch: Any, batch_idx: int) -> None:
            assert batch_idx < STEPS
            self._loss("test/loss", batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.learning_rate)

        def _loss(self, name: str, batch: Any) -> Any:
            loss = torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            self.log(name, loss)
            return loss

    logger = importlib.import_module(f"streamvis_lightning.{home}").StreamvisLogger
    return Tree(package, logger, DataLoader(data, batch_size=300), Model)


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="make")
def _make(tree: Tree, tmp_path: Path, server: ServerThread) -> Iterator[Callable[..., Any]]:
    """Loggers with a spool of the test's own, which end with the test."""
    assert server.uri  # it outlives the loggers
    made = []

    def make(uri: str, kind: Any = None, **options: Any) -> Any:
        logger = (kind or tree.logger)("run", uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})
        made.append(logger)
        return logger

    yield make
    for logger in made:
        if logger._logger is not None:
            logger._logger.stop()


def stored(server: ServerThread) -> dict[str, dict[str, Any]]:
    """All columns of each metric as lists."""
    with Client(server.uri) as client:
        return {
            name: {column: values.tolist() for column, values in columns.items()}
            for (_, name, _), columns in client.fetch("run").items()
        }


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What streamvis reported."""
    return [record.getMessage() for record in caplog.records if record.name == "streamvis"]


def recording(base: Any) -> Any:
    """A subclass that keeps what the trainer gave."""

    class Recorder(base):  # type: ignore[misc]  # one of two bases
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.given: list[tuple[dict[str, float], int]] = []

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.given.append((dict(metrics), step))
            super().log_metrics(metrics, step)

    return Recorder


def test_fit_and_test_store_every_value(tree: Tree, make: Any, server: ServerThread, tmp_path: Path) -> None:
    """One logger serves fit and test; the server has each step with the exact value, epoch and time."""
    logger, began = make(server.uri, recording(tree.logger)), time.time()
    trainer, model = tree.trainer(logger, tmp_path), tree.model()
    trainer.fit(model, tree.data, tree.data)
    trainer.test(model, tree.data, verbose=False)
    found = stored(server)
    assert set(found) == {"train/loss", "val/loss", "test/loss"}
    for name, columns in found.items():
        given = [(step, metrics[name], metrics["epoch"]) for metrics, step in logger.given if name in metrics]
        assert list(zip(columns["step"], columns["value"], columns["epoch"], strict=True)) == given
        assert began <= columns["time"][0] <= columns["time"][-1] <= time.time()
    assert found["train/loss"]["step"] == list(range(STEPS * EPOCHS))
    assert found["val/loss"]["step"] == [STEPS - 1, 2 * STEPS - 1]
    assert found["test/loss"]["step"] == [2 * STEPS]
    with Client(server.uri) as client:
        types = {column: values.dtype.name for column, values in client.fetch("run")["run", "val/loss", 0].items()}
        assert client.config("run") == {"learning_rate": 0.1, "fail_at": None}
    assert types == {"step": "int64", "value": "float64", "epoch": "float64", "time": "float64"}


def test_beside_another_logger(tree: Tree, make: Any, server: ServerThread, tmp_path: Path) -> None:
    """Both loggers of a list get the same metrics."""
    table = importlib.import_module(f"{tree.package.__name__}.loggers").CSVLogger(tmp_path)
    tree.trainer([make(server.uri), table], tmp_path).fit(tree.model(), tree.data, tree.data)
    with (Path(table.log_dir) / "metrics.csv").open() as file:
        rows = [(int(row["step"]), float(row["train/loss"])) for row in csv.DictReader(file) if row["train/loss"]]
    loss = stored(server)["train/loss"]
    assert list(zip(loss["step"], loss["value"], strict=True)) == rows


@pytest.mark.parametrize("own", [False, True])
def test_checkpoints_go_below_name_and_version(
    tree: Tree, make: Any, server: ServerThread, tmp_path: Path, own: bool
) -> None:
    """The folder is save_dir, else the trainer's root, then the logger's name and the scope."""
    options = {"save_dir": tmp_path / "mine", "name": "digits"} if own else {}
    trainer = tree.trainer(make(server.uri, **options), tmp_path, max_epochs=1, enable_checkpointing=True)
    trainer.fit(tree.model(), tree.data, tree.data)
    folder = tmp_path / ("mine/digits" if own else "lightning_logs") / "run" / "checkpoints"
    assert [file.name for file in folder.iterdir()] == [f"epoch=0-step={STEPS}.ckpt"]


def test_a_failed_fit_keeps_what_it_logged(tree: Tree, make: Any, server: ServerThread, tmp_path: Path) -> None:
    """The error reaches the caller, and the steps before it are stored."""
    logger = make(server.uri, flush_every=60.0)
    with pytest.raises(LookupError, match="the batch is broken"):
        tree.trainer(logger, tmp_path).fit(tree.model(fail_at=4), tree.data, tree.data)
    assert stored(server)["train/loss"]["step"] == [0, 1, 2, 3]


def test_without_a_server_the_fit_ends_and_the_data_arrives_later(
    tree: Tree, make: Any, tmp_path: Path, wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Points wait in the spool, nothing raises, and a server that starts later gets all of them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    trainer, model = tree.trainer(make(f"127.0.0.1:{port}"), tmp_path), tree.model()
    trainer.fit(model, tree.data, tree.data)
    trainer.test(model, tree.data, verbose=False)
    assert ["are kept in" in message for message in said(caplog)] == [True]
    with serving("memory:", port) as server:
        wait_until(lambda: "test/loss" in stored(server), 30)
        assert stored(server)["train/loss"]["step"] == list(range(STEPS * EPOCHS))


@pytest.mark.parametrize("duplicate", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_a_copy_goes_on_with_the_same_run(make: Any, server: ServerThread, duplicate: Callable[[Any], Any]) -> None:
    """Before and after use a logger can be pickled; the copy adds to the scope and replaces nothing."""
    with DataLogger("run", server.uri) as earlier:
        earlier.write("loss", step=0, value=0.0, epoch=0.0, time=0.0)
    fresh = duplicate(make(server.uri))
    assert (fresh.name, fresh.version, fresh.save_dir) == ("lightning_logs", "run", None)
    logger = make(server.uri, delete_existing=True)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    assert stored(server)["loss"]["value"] == [1.0]
    twin = duplicate(logger)
    twin.log_metrics({"loss": 2.0}, step=2)
    twin.experiment.stop()
    assert stored(server)["loss"]["value"] == [1.0, 2.0]


def test_a_trainer_can_be_pickled(tree: Tree, make: Any, server: ServerThread, tmp_path: Path) -> None:
    """A whole trainer with a used logger survives, and its logger logs on."""
    trainer = tree.trainer(make(server.uri), tmp_path)
    trainer.logger.log_metrics({"loss": 1.0}, step=1)
    trainer.logger.finalize("success")
    twin = pickle.loads(pickle.dumps(trainer)).logger
    twin.log_metrics({"loss": 2.0}, step=2)
    twin.experiment.stop()
    assert stored(server)["loss"]["step"] == [1, 2]


def test_finalize_and_save_cost_nothing_before_use(make: Any, server: ServerThread) -> None:
    """A logger that was never used starts nothing when it ends."""
    logger = make(server.uri)
    logger.save()
    logger.finalize("success")
    assert logger._logger is None


def test_other_ranks_log_nothing(make: Any, server: ServerThread, monkeypatch: pytest.MonkeyPatch, tree: Tree) -> None:
    """Off rank 0 name and version are the same, and the experiment takes any call without effect."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    logger = make(server.uri)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.log_hyperparams({"lr": 1})
    assert logger.experiment.anything(1) is None
    logger.finalize("success")
    assert (logger.name, logger.version) == ("lightning_logs", "run")
    assert logger._logger is None
    assert issubclass(tree.logger, importlib.import_module(f"{tree.package.__name__}.loggers").Logger)


def test_prefix_and_missing_steps(make: Any, server: ServerThread) -> None:
    """The prefix comes before each name; without a step the steps count on, and without an epoch it is NaN."""
    logger = make(server.uri, prefix="mine")
    for step in (None, None, 7, None):
        logger.log_metrics({"loss": 1.0}, step=step)
    logger.finalize("success")
    loss = stored(server)["mine-loss"]
    assert loss["step"] == [0, 1, 7, 8]
    assert np.isnan(loss["epoch"]).all()


@dataclass
class Options:
    """Hyperparameters as a dataclass."""

    depth: int
    where: Path


def test_hyperparameters_of_every_kind(make: Any, server: ServerThread, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers keep their type, containers their form; all else becomes a string, and nothing raises."""
    import torch

    class Unprintable:
        def __repr__(self) -> str:
            raise NotImplementedError

    logger = make(server.uri)
    logger.log_hyperparams(None)
    logger.log_hyperparams(Namespace(lr=1e-3, layers=3, amp=True, nothing=None, name="net"))
    logger.log_hyperparams(
        {
            "numpy": [np.float32(0.5), np.int64(3), np.arange(2)],
            "torch": [torch.tensor(2), torch.zeros(2)],
            "nested": {1: {"a": (1, 2)}, "options": Options(2, Path("/data"))},
            "called": [torch.nn.ReLU, math.sqrt],
            "odd": [{1}, Unprintable(), np.zeros(10**6)],
        }
    )
    cycle: dict[str, Any] = {}
    cycle["cycle"] = cycle
    logger.log_hyperparams(cycle)
    logger.finalize("success")
    with Client(server.uri) as client:
        config = client.config("run")
    odd = config.pop("odd")
    assert config == {
        "lr": 1e-3,
        "layers": 3,
        "amp": True,
        "nothing": None,
        "name": "net",
        "numpy": [0.5, 3, "array([0, 1])"],
        "torch": [2, "tensor([0., 0.])"],
        "nested": {"1": {"a": [1, 2]}, "options": {"depth": 2, "where": "/data"}},
        "called": ["torch.nn.modules.activation.ReLU", "math.sqrt"],
    }
    assert config["amp"] is True
    assert odd[0] == "{1}"
    assert "Unprintable" in odd[1]
    assert len(odd[2]) <= 400
    assert ["RecursionError" in message for message in said(caplog)] == [True]


def test_mistakes_are_said_once_and_cost_no_other_point(
    make: Any, server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    """A metric that is no number warns once, and the others are logged."""
    logger = make(server.uri)
    for step in range(3):
        logger.log_metrics({"words": "many", "vector": [1, 2], "loss": step}, step=step)
        logger.log_metrics({"lost": 1.0}, step="first")
    logger.finalize("success")
    assert stored(server).keys() == {"loss"}
    assert stored(server)["loss"]["value"] == [0, 1, 2]
    assert sorted(message.split(" of ")[0] for message in said(caplog)) == [
        "cannot log metrics",
        "cannot log vector",
        "cannot log words",
    ]


def test_strict_raises(make: Any, server: ServerThread) -> None:
    """With strict=True mistakes reach the caller."""
    logger = make(server.uri, strict=True)
    with pytest.raises(ValueError, match="could not convert string"):
        logger.log_metrics({"words": "many"}, step=1)
    with pytest.raises(OverflowError):
        logger.log_metrics({"loss": 10**400}, step=1)
    with pytest.raises(DtypeError):
        logger.log_metrics({"loss": 1.0}, step=2**70)


def test_wrong_arguments_raise_before_the_fit(tree: Tree) -> None:
    """The constructor refuses what cannot work."""
    with pytest.raises(UsageError, match="scope"):
        tree.logger("")
    with pytest.raises(TypeError, match="flush_evry"):
        tree.logger("run", flush_evry=1)


def test_the_experiment_takes_arrays(tree: Tree, make: Any, server: ServerThread, tmp_path: Path) -> None:
    """A module may write whole clouds through `logger.experiment`, which is a DataLogger."""

    class Cloudy(tree.model):  # type: ignore[misc, name-defined]  # of one of two packages
        def on_train_epoch_end(self) -> None:
            self.logger.experiment.write("cloud", x=np.arange(4), y=np.arange(4.0), t=self.current_epoch)

    tree.trainer(make(server.uri), tmp_path).fit(Cloudy(), tree.data, tree.data)
    assert stored(server)["cloud"]["t"] == [0] * 4 + [1] * 4


def test_fabric_logs(server: ServerThread, tmp_path: Path) -> None:
    """Fabric's log and log_dict arrive with their steps."""
    from lightning.fabric import Fabric

    from streamvis_lightning.lightning import StreamvisLogger

    logger = StreamvisLogger("run", server.uri, spool_dir=tmp_path)
    fabric = Fabric(accelerator="cpu", devices=1, loggers=logger)
    for step in range(3):
        fabric.log_dict({"loss": step / 2}, step=step)
    logger.experiment.stop()
    assert stored(server)["loss"]["value"] == [0, 0.5, 1]


def test_the_short_name_is_that_of_the_imported_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the two classes, the framework in use decides; without one, that which is installed."""
    import lightning
    import pytorch_lightning

    from streamvis_lightning.lightning import StreamvisLogger as Lightning
    from streamvis_lightning.pl import StreamvisLogger as PyTorchLightning

    frameworks = {"lightning": lightning, "pytorch_lightning": pytorch_lightning}
    for loaded, expected in (
        (("pytorch_lightning",), PyTorchLightning),
        (("lightning",), Lightning),
        ((), Lightning),
    ):
        for name, framework in frameworks.items():
            monkeypatch.setitem(sys.modules, name, framework)
            if name not in loaded:
                monkeypatch.delitem(sys.modules, name)
        assert streamvis_lightning.StreamvisLogger is expected
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="pip install lightning"):
        _ = streamvis_lightning.StreamvisLogger
    with pytest.raises(AttributeError, match="StreamvisLoger"):
        _ = streamvis_lightning.StreamvisLoger


def test_created_by_name(server: ServerThread, tree: Tree) -> None:
    """The entry point brings the adapter `lightning`."""
    logger = streamvis.create("lightning", scope="run", grpc_uri=server.uri)
    assert isinstance(logger, streamvis_lightning.StreamvisLogger)
    assert logger.version == "run"
    assert tree.logger.__name__ == type(logger).__name__


def test_listing_imports_no_framework() -> None:
    """The hooks and the package load neither torch nor Lightning."""
    code = (
        "import sys, streamvis_lightning.hooks as hooks; hooks.streamvis_adapters();"
        "print([name for name in sys.modules if name.partition('.')[0] in ('torch', 'lightning', 'pytorch_lightning')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[]\n"
