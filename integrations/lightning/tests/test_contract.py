"""What Lightning asks of any logger: the behaviours that its own suite checks, in Trainers of both trees."""

from __future__ import annotations

import csv
import importlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamvis import DataLogger

STEPS, EPOCHS = 6, 2

Tree = Any
Stored = Callable[..., dict[str, dict[str, Any]]]


def recording(base: Any) -> Any:
    """A subclass that keeps what the trainer gave."""

    class Recorder(base):  # type: ignore[misc]  # one of two bases
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.given: list[tuple[dict[str, float], int]] = []
            self.ended: list[str] = []

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.given.append((dict(metrics), step))
            super().log_metrics(metrics, step)

        def finalize(self, status: str) -> None:
            self.ended.append(status)
            super().finalize(status)

    return Recorder


def test_a_subclass_sees_exactly_what_is_logged(tree: Tree, make: Any, tmp_path: Path) -> None:
    """Fit and test with one instance: each call by keyword, with its step, its names and the epoch."""
    logger = make(kind=recording(tree.logger))
    trainer, model = tree.trainer(logger, tmp_path, max_epochs=1, limit_train_batches=1), tree.model()
    trainer.fit(model, model.train_dataloader(), tree.data)
    trainer.test(model, tree.data, verbose=False)
    assert [(step, sorted(metrics)) for metrics, step in logger.given] == [
        (0, ["epoch", "train/loss"]),
        (0, ["epoch", "val/loss"]),
        (1, ["epoch", "test/loss"]),
    ]
    assert logger.ended == ["success", "success"]


def test_saving_is_free_and_ending_flushes(
    tree: Tree, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer calls `save` after every step, which waits for nothing; only the end of a fit or a test flushes."""
    flushes = []
    flush = DataLogger.flush
    monkeypatch.setattr(
        DataLogger, "flush", lambda self, timeout=None: (flushes.append(timeout), flush(self, timeout))[1]
    )
    trainer, model = tree.trainer(make(), tmp_path), tree.model()
    trainer.fit(model, tree.data, tree.data)
    trainer.test(model, tree.data, verbose=False)
    assert len(flushes) == 2


def test_beside_another_logger(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Both loggers of a list get the same metrics, the end, and the news of a checkpoint."""
    table = importlib.import_module(f"{tree.package.__name__}.loggers").CSVLogger(tmp_path)
    logger = make(kind=recording(tree.logger))
    trainer = tree.trainer([logger, table], tmp_path, enable_checkpointing=True)
    trainer.fit(tree.model(), tree.data, tree.data)
    with (Path(table.log_dir) / "metrics.csv").open() as file:
        rows = [(int(row["step"]), float(row["train/loss"])) for row in csv.DictReader(file) if row["train/loss"]]
    loss = stored()["train/loss"]
    assert list(zip(loss["step"], loss["value"], strict=True)) == rows
    assert logger.ended == ["success"]


@pytest.mark.parametrize("own", [False, True])
def test_checkpoints_go_below_name_and_version(
    tree: Tree, make: Any, config: Callable[[], Any], tmp_path: Path, own: bool
) -> None:
    """The folder is save_dir, else the trainer's root, the logger's name and the scope; the config names the file."""
    options = {"save_dir": tmp_path / "mine", "name": "digits"} if own else {}
    logger = make(**options)
    trainer = tree.trainer(logger, tmp_path, max_epochs=1, enable_checkpointing=True)
    trainer.fit(tree.model(), tree.data, tree.data)
    folder = tmp_path / ("mine/digits" if own else "lightning_logs") / "run" / "checkpoints"
    file = folder / f"epoch=0-step={STEPS}.ckpt"
    assert list(folder.iterdir()) == [file]
    assert config()["checkpoint"] == {"best": str(file)}
    assert trainer.log_dir == (str(tmp_path / "mine") if own else None)


def test_a_fit_resumes_where_its_checkpoint_ends(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """A new logger of the same scope goes on: earlier steps stay, later ones follow."""
    first = tree.trainer(make(), tmp_path, max_epochs=1)
    first.fit(tree.model(), tree.data, tree.data)
    first.save_checkpoint(tmp_path / "first.ckpt")
    second = tree.trainer(make(), tmp_path, max_epochs=2)
    second.fit(tree.model(), tree.data, tree.data, ckpt_path=tmp_path / "first.ckpt")
    assert stored()["train/loss"]["step"] == list(range(2 * STEPS))
    assert stored()["train/loss"]["epoch"] == [0] * STEPS + [1] * STEPS


@pytest.mark.parametrize("used", [False, True])
def test_a_trainer_can_be_pickled(tree: Tree, make: Any, stored: Stored, tmp_path: Path, used: bool) -> None:
    """A whole trainer survives, before and after its logger is used, and the copy logs on into the same run."""
    trainer = tree.trainer(make(), tmp_path)
    if used:
        trainer.logger.log_metrics({"loss": 1.0}, step=1)
        trainer.logger.save()
        trainer.logger.finalize("success")
    twin = pickle.loads(pickle.dumps(trainer)).logger
    assert (twin.name, twin.version, twin.save_dir) == (trainer.logger.name, "run", trainer.logger.save_dir)
    twin.log_metrics({"loss": 2.0}, step=2)
    twin.experiment.stop()
    assert stored()["loss"]["step"] == [1, 2][not used :]


def test_tuning_leaves_the_logger_alone(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Finding a learning rate or a batch size logs nothing, and gives the trainer its logger back."""
    tuner = importlib.import_module(f"{tree.package.__name__}.tuner").Tuner
    logger = make()
    model = tree.model()
    trainer = tree.trainer(logger, tmp_path, callbacks=[tree.callback()])
    tuner(trainer).lr_find(model, num_training=4)
    tuner(trainer).scale_batch_size(model, steps_per_trial=1, max_trials=2)
    assert trainer.logger is logger
    assert stored() == {}


def test_other_ranks_log_nothing(
    tree: Tree, make: Any, stored: Stored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Off rank 0 name and version are the same, and the experiment takes any call, index or assignment in vain."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    logger = make(log_graph=True)
    trainer = tree.trainer(logger, tmp_path, enable_checkpointing=True)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.log_hyperparams({"lr": 1})
    logger.log_graph(tree.model())
    logger.after_save_checkpoint(trainer.checkpoint_callback)
    assert logger.experiment.anything(1, two=2) is None
    assert logger.experiment[0].write("loss", x=1) is None
    logger.experiment["x"] = 1
    logger.save()
    logger.finalize("success")
    assert (logger.name, logger.version, logger.save_dir) == ("lightning_logs", "run", None)
    assert not logger.metrics.started
    assert stored() == {}


def test_a_logger_is_what_the_framework_expects(tree: Tree, make: Any) -> None:
    """It is one of its own class tree, with the separator that its monitors use; unused, ending it starts nothing."""
    logger = make()
    assert isinstance(logger, importlib.import_module(f"{tree.package.__name__}.loggers").Logger)
    assert logger.group_separator == "/"
    assert hasattr(type(logger), "experiment")
    logger.save()
    logger.finalize("success")
    assert not logger.metrics.started


def test_a_prefix_comes_before_each_name(make: Any, stored: Stored) -> None:
    """With a dash between; without a step the steps count on, a metric of that name sets it, and the epoch is NaN."""
    logger = make(prefix="mine")
    for step in (None, None, 7, None):
        logger.log_metrics({"loss": 1.0}, step=step)
    logger.log_metrics({"loss": 2.0, "step": 20, "epoch": 3})
    logger.log_metrics({"loss": 3.0})
    logger.finalize("success")
    loss = stored()["mine-loss"]
    assert stored().keys() == {"mine-loss"}
    assert loss["step"] == [0, 1, 7, 8, 20, 21]
    assert str(loss["epoch"]) == "[nan, nan, nan, nan, 3.0, nan]"


def test_a_step_among_the_metrics_is_the_step(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """`self.log("step", …)` decides where the others are drawn."""

    class Jumping(tree.model):  # type: ignore[misc, name-defined]  # of one of two packages
        def on_train_epoch_end(self) -> None:
            self.log("step", self.current_epoch * 100.0 + 7)
            self.log("jump", 1.0)

    tree.trainer(make(), tmp_path, max_epochs=2).fit(Jumping(), tree.data, tree.data)
    assert stored()["jump"]["step"] == [7, 107]
    assert "step" not in stored()


def test_the_monitors_of_the_framework_log(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Learning rates, the device's state and throughput arrive from the callbacks that come with Lightning."""
    callbacks = importlib.import_module(f"{tree.package.__name__}.callbacks")
    monitors = [
        callbacks.LearningRateMonitor("step"),
        callbacks.DeviceStatsMonitor(),
        callbacks.ThroughputMonitor(lambda batch: len(batch[0]), window_size=3),
    ]
    model = tree.model()
    model.flops_per_batch = 1e6  # else the throughput monitor warns
    tree.trainer(make(), tmp_path, callbacks=monitors).fit(model, tree.data, tree.data)
    found = stored()
    assert found["lr-SGD"]["value"] == pytest.approx([0.1] * STEPS * EPOCHS)
    assert found["train/samples"]["step"]
    assert any(name.startswith("DeviceStatsMonitor.on_train_batch_end/") for name in found)


def test_hyperparameters_of_module_and_data_are_merged(
    tree: Tree, make: Any, config: Callable[[], Any], tmp_path: Path
) -> None:
    """Those of a data module join the model's."""

    class Data(tree.package.LightningDataModule):  # type: ignore[misc, name-defined]  # of one of two packages
        def __init__(self, folds: int = 5) -> None:  # noqa: ARG002 - a hyperparameter
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return tree.data

        def val_dataloader(self) -> Any:
            return tree.data

    tree.trainer(make(), tmp_path, max_epochs=1).fit(tree.model(), datamodule=Data())
    assert config() == {"learning_rate": 0.1, "fail_at": None, "folds": 5}
