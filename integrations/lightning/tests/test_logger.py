"""The Lightning logger: what it promises beyond what Lightning asks of any."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import math
import pickle
import subprocess
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamvis
import streamvis_lightning
from streamvis import Client, DataLogger
from streamvis.errors import DtypeError, PluginError, UsageError
from streamvis.server.run import ServerThread
from streamvis.testing.loggers import unused_port

STEPS, EPOCHS = 6, 2

Tree = Any
Stored = Callable[..., dict[str, dict[str, Any]]]
Said = Callable[[], list[str]]


def test_fit_and_test_store_every_value(tree: Tree, make: Any, server: ServerThread, tmp_path: Path) -> None:
    """One logger serves fit and test; the server has each step with the exact value, its epoch and the time."""

    class Watched(tree.model):  # type: ignore[misc, name-defined]  # of one of two packages
        given: list[tuple[float, float]] = []  # noqa: RUF012 - of this one test

        def training_step(self, batch: Any, number: int) -> Any:
            loss = super().training_step(batch, number)
            self.given.append((loss.item(), float(self.current_epoch)))
            return loss

    began = time.time()
    trainer, model = tree.trainer(make(), tmp_path), Watched()
    trainer.fit(model, tree.data, tree.data)
    trainer.test(model, tree.data, verbose=False)
    with Client(server.uri) as client:
        points = client.fetch("run")
        assert client.config("run") == {"learning_rate": 0.1, "fail_at": None}
    found = {
        name: {column: values.tolist() for column, values in points["run", name, 0].items()} for _, name, _ in points
    }
    assert set(found) == {"train/loss", "val/loss", "test/loss"}
    loss = found["train/loss"]
    assert list(zip(loss["value"], loss["epoch"], strict=True)) == model.given
    assert loss["step"] == list(range(STEPS * EPOCHS))
    assert found["val/loss"]["step"] == [STEPS - 1, 2 * STEPS - 1]
    assert found["test/loss"]["step"] == [2 * STEPS]
    for columns in found.values():
        assert began <= columns["time"][0] <= columns["time"][-1] <= time.time()
    types = {column: values.dtype.name for column, values in points["run", "val/loss", 0].items()}
    assert types == {"step": "int64", "value": "float64", "epoch": "float64", "time": "float64"}


def test_a_failed_fit_keeps_what_it_logged(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """The error reaches the caller, and the steps before it are stored."""
    logger = make(flush_every=60.0)
    with pytest.raises(LookupError, match="the batch is broken"):
        tree.trainer(logger, tmp_path).fit(tree.model(fail_at=4), tree.data, tree.data)
    assert stored()["train/loss"]["step"] == [0, 1, 2, 3]


def test_without_a_server_the_fit_ends_and_the_data_arrives_later(
    tree: Tree, make: Any, tmp_path: Path, arrives: Callable[[int], Any], said: Said
) -> None:
    """Points wait in the spool, nothing raises, and a server that starts later gets all of them."""
    port = unused_port()
    trainer = tree.trainer(make(f"127.0.0.1:{port}"), tmp_path, callbacks=[tree.callback()])
    model = tree.model()
    trainer.fit(model, tree.data, tree.data)
    trainer.test(model, tree.data, verbose=False)
    assert sum("are kept in" in message for message in said()) == 1
    assert arrives(port)["train/loss"]["step"] == list(range(STEPS * EPOCHS))


@pytest.mark.parametrize("duplicate", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_a_copy_goes_on_with_the_same_run(
    make: Any, server: ServerThread, stored: Stored, duplicate: Callable[[Any], Any]
) -> None:
    """A copy of a used logger adds to the scope and replaces nothing; one of an unused logger is as the original."""
    with DataLogger("run", server.uri) as earlier:
        earlier.write("loss", step=0, value=0.0, epoch=0.0, time=0.0)
    logger = duplicate(make(delete_existing=True))
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    assert stored()["loss"]["value"] == [1.0]
    twin = duplicate(logger)
    twin.log_metrics({"loss": 2.0}, step=2)
    for used in (logger, twin):
        used.experiment.stop()
    assert stored()["loss"]["value"] == [1.0, 2.0]


@dataclass
class Options:
    """Hyperparameters as a dataclass."""

    depth: int
    where: Path


class Color(Enum):
    """Hyperparameters by name."""

    RED = 1


def test_hyperparameters_of_every_kind(make: Any, config: Callable[[], Any], said: Said) -> None:
    """Numbers keep their type, containers their form; all else becomes a string, said in one warning."""
    import torch

    class Unprintable:
        def __repr__(self) -> str:
            raise NotImplementedError

        @property
        def tolist(self) -> Any:
            raise LookupError

    logger = make()
    logger.log_hyperparams(None)
    logger.log_hyperparams(Namespace(lr=1e-3, layers=3, amp=True, nothing=None, name="net"))
    cycle: dict[str, Any] = {"lr": 2}
    cycle["again"] = cycle
    logger.log_hyperparams(
        {
            "numpy": [np.float32(0.5), np.int64(3), np.arange(2)],
            "torch": [torch.tensor(2), torch.zeros(2), torch.ones((), requires_grad=True)],
            "nested": {1: {"a": (1, deque([2]))}, "options": Options(2, Path("/data")), "color": Color.RED},
            "called": [torch.nn.ReLU, math.sqrt],
            "large": {"infinite": math.inf, "long": 2**70},
            "odd": [{1}, Unprintable(), np.zeros(10**6)],
            "twice": {1: "first", "1": "last"},
            "cycle": cycle,
        }
    )
    logger.finalize("success")
    found = config()
    odd = found.pop("odd")
    assert found == {
        "lr": 1e-3,
        "layers": 3,
        "amp": True,
        "nothing": None,
        "name": "net",
        "numpy": [0.5, 3, [0, 1]],
        "torch": [2, [0.0, 0.0], 1.0],
        "nested": {"1": {"a": [1, [2]]}, "options": {"depth": 2, "where": "/data"}, "color": 1},
        "called": ["torch.nn.modules.activation.ReLU", "math.sqrt"],
        "large": {"infinite": math.inf, "long": 2**70},
        "twice": {"1": "last"},
        "cycle": {"lr": 2, "again": "..."},
    }
    assert found["amp"] is True
    assert odd[0] == "{1}"
    assert "Unprintable" in odd[1]
    assert len(odd[2]) <= 400
    [message] = said()
    for note in ("odd.0 is a set", "odd.2 is a ndarray", "twice.1 is given twice", "cycle.again contains itself"):
        assert note in message


def test_the_model_may_be_part_of_the_config(tree: Tree, make: Any, config: Callable[[], Any], tmp_path: Path) -> None:
    """With `log_graph` its text and its size are there before the first step."""
    model = tree.model()
    model.layer.bias.requires_grad = False
    tree.trainer(make(log_graph=True), tmp_path, max_epochs=1).fit(model, tree.data, tree.data)
    graph = config()["graph"]
    assert (graph["parameters"], graph["trainable"]) == (650, 640)
    assert "Linear(in_features=64" in graph["model"]


def test_mistakes_are_said_once_and_cost_no_other_point(make: Any, stored: Stored, said: Said) -> None:
    """What is no number warns once, and the others are logged, whatever their values."""
    logger = make()
    for step in range(3):
        logger.log_metrics({"words": "many", "none": None, "loss": step, "bad": math.nan}, step=step)
        logger.log_metrics({"lost": 1.0}, step="first")
    logger.log_hyperparams(7)
    logger.finalize("success")
    assert stored()["loss"]["value"] == [0, 1, 2]
    assert stored().keys() == {"loss", "bad"}
    assert sorted(message.split(" of ")[0] for message in said()) == [
        f"cannot log {what}" for what in ("hyperparameters", "metrics", "none", "words")
    ]


def test_values_may_come_from_a_device_in_several_shapes(make: Any, stored: Stored) -> None:
    """A tensor is logged as it was at the call, without its graph; a vector fills an index each; names are joined."""
    import torch

    logger = make()
    weight = torch.ones((), requires_grad=True)
    values = {
        "loss": weight * 2,
        "weight": weight,
        "half": torch.tensor(0.5, dtype=torch.bfloat16),
        "each": torch.tensor([1.0, 2.0]),
        "val": {"loss": np.float16(0.5)},
    }
    logger.log_metrics(values, step=3)
    with torch.no_grad():
        for name in ("loss", "weight", "half"):
            values[name].add_(5)
    logger.finalize("success")
    found = stored()
    assert {name: (columns["step"], columns["value"]) for name, columns in found.items()} == {
        "loss": ([3], [2.0]),
        "weight": ([3], [1.0]),
        "half": ([3], [0.5]),
        "each": ([3], [1.0]),
        "each#1": ([3], [2.0]),
        "val/loss": ([3], [0.5]),
    }


def test_strict_raises(make: Any) -> None:
    """With strict=True mistakes reach the caller."""
    logger = make(strict=True)
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


def test_the_experiment_takes_arrays(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """A module may write whole clouds through `logger.experiment`, which is a DataLogger."""

    class Cloudy(tree.model):  # type: ignore[misc, name-defined]  # of one of two packages
        def on_train_epoch_end(self) -> None:
            self.logger.experiment.write("cloud", x=np.arange(4), y=np.arange(4.0), t=self.current_epoch)

    tree.trainer(make(), tmp_path).fit(Cloudy(), tree.data, tree.data)
    assert stored()["cloud"]["t"] == [0] * 4 + [1] * 4


def test_fabric_logs(server: ServerThread, stored: Stored, tmp_path: Path) -> None:
    """Fabric's log and log_dict arrive with their steps, beside another logger, and can be pickled with it."""
    import torch
    from lightning.fabric import Fabric
    from lightning.fabric.loggers import CSVLogger

    from streamvis_lightning.lightning import StreamvisLogger

    logger = StreamvisLogger("run", server.uri, spool_dir=tmp_path)
    fabric = Fabric(accelerator="cpu", devices=1, loggers=[logger, CSVLogger(tmp_path)])
    fabric.launch()
    fabric.logger.log_hyperparams({"lr": 1})
    for step in range(3):
        fabric.log_dict({"loss": torch.tensor(step / 2), "epoch": 0}, step=step)
    fabric.log("accuracy", 0.5)
    logger.experiment.stop()
    assert stored()["loss"]["value"] == [0, 0.5, 1]
    assert stored()["accuracy"]["step"] == [3]
    twin = pickle.loads(pickle.dumps(fabric.logger))
    assert twin.version == "run"


def test_the_short_names_are_those_of_the_imported_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the two trees, the framework in use decides; without one, that which is installed."""
    import lightning
    import pytorch_lightning

    from streamvis_lightning import lightning as of_lightning
    from streamvis_lightning import pl as of_pytorch_lightning

    frameworks = {"lightning": lightning, "pytorch_lightning": pytorch_lightning}
    for loaded, expected in (
        (("pytorch_lightning",), of_pytorch_lightning),
        (("lightning",), of_lightning),
        ((), of_lightning),
    ):
        for name, framework in frameworks.items():
            monkeypatch.setitem(sys.modules, name, framework)
            if name not in loaded:
                monkeypatch.delitem(sys.modules, name)
        assert streamvis_lightning.StreamvisLogger is expected.StreamvisLogger
        assert streamvis_lightning.StreamvisCallback is expected.StreamvisCallback
    with pytest.raises(AttributeError, match="StreamvisLoger"):
        _ = streamvis_lightning.StreamvisLoger


def test_without_a_framework_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether by its name or by that of its adapter."""
    for name in ("lightning", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="pip install lightning"):
        _ = streamvis_lightning.StreamvisLogger
    with pytest.raises(PluginError, match=r"^[^\n]*pip install lightning[^\n]*$"):
        streamvis.create("lightning", scope="run")


def test_created_by_name(tree: Tree) -> None:
    """The entry point brings the adapters of the logger and of the callback."""
    logger = streamvis.create("lightning", scope="run", grpc_uri="localhost:1")
    assert isinstance(logger, streamvis_lightning.StreamvisLogger)
    assert logger.version == "run"
    assert tree.logger.__name__ == type(logger).__name__
    assert isinstance(streamvis.create("lightning-callback"), streamvis_lightning.StreamvisCallback)


def test_listing_imports_no_framework() -> None:
    """The hooks and the package load neither torch nor Lightning."""
    code = (
        "import sys; from streamvis import plugins; infos = plugins.default().infos();"
        "print([info.adapters for info in infos if info.name == 'lightning'],"
        "[name for name in sys.modules if name.partition('.')[0] in ('torch', 'lightning', 'pytorch_lightning')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[('lightning', 'lightning-callback')] []\n"
