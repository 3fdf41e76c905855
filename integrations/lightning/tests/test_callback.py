"""The Lightning callback: what it logs, from where, and that it never waits for a device."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis.errors import UsageError

STEPS, EPOCHS = 6, 2

Tree = Any
Stored = Callable[..., dict[str, dict[str, Any]]]
Said = Callable[[], list[str]]


def deferring(tree: Tree) -> Any:
    """A model that leaves logging to the callback, and keeps what there was to log."""
    import torch

    class Deferring(tree.model):  # type: ignore[misc, name-defined]  # of one of two packages
        def __init__(self) -> None:
            super().__init__()
            self.returned: dict[str, list[float]] = {}
            self.gradients: list[float] = []
            self.weights: list[float] = []

        def training_step(self, batch: Any, _: int) -> Any:
            loss, right = self.measure(batch)
            return {"loss": loss, "accuracy": right, "custom/loss": loss, "logits": batch[0], "note": "text"}

        def validation_step(self, batch: Any, _: int) -> Any:
            loss, right = self.measure(batch)
            return {"loss": loss, "accuracy": right, "size": len(batch[0])}

        def test_step(self, batch: Any, batch_idx: int) -> Any:
            assert batch_idx < STEPS
            return self.measure(batch)[0]

        def on_before_optimizer_step(self, _: Any) -> None:
            parameters = list(self.parameters())
            self.gradients.append(torch.cat([parameter.grad.flatten() for parameter in parameters]).norm())
            self.weights.append(torch.cat([parameter.detach().flatten() for parameter in parameters]).norm())

        def measure(self, batch: Any) -> tuple[Any, Any]:
            logits = self.layer(batch[0])
            return torch.nn.functional.cross_entropy(logits, batch[1]), (logits.argmax(1) == batch[1]).float().mean()

    return Deferring()


def test_it_logs_what_steps_return(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Each step's scalars, means over validation and test, and what the optimizer saw, under their steps and epochs."""
    import torch

    model, trainer = deferring(tree), tree.trainer(make(), tmp_path, callbacks=[tree.callback()])
    trainer.fit(model, tree.data, tree.data)
    trainer.test(model, tree.data, verbose=False)
    found = stored()
    steps = list(range(STEPS * EPOCHS))
    assert set(found) == {
        *("train/loss", "train/accuracy", "custom/loss", "val/loss", "val/accuracy", "val/size", "test/loss"),
        *("gradient/norm", "weight/norm", "learning_rate", "throughput/batches", "throughput/samples"),
    }
    for name in ("train/loss", "custom/loss", "gradient/norm", "weight/norm", "learning_rate"):
        assert found[name]["step"] == steps
        assert found[name]["epoch"] == [0.0] * STEPS + [1.0] * STEPS
    assert found["gradient/norm"]["value"] == pytest.approx([float(value) for value in model.gradients], rel=1e-5)
    assert found["weight/norm"]["value"] == pytest.approx([float(value) for value in model.weights], rel=1e-5)
    assert found["learning_rate"]["value"] == [0.1] * STEPS * EPOCHS
    assert found["val/loss"]["step"] == [STEPS - 1, 2 * STEPS - 1]
    images, digits = tree.data.dataset.tensors
    with torch.no_grad():
        whole = model.measure((images, digits))
    assert found["val/loss"]["value"][-1] == pytest.approx(float(whole[0]), rel=1e-5)
    assert found["val/accuracy"]["value"][-1] == pytest.approx(float(whole[1]), rel=1e-5)
    assert found["test/loss"]["value"] == [pytest.approx(float(whole[0]), rel=1e-5)]
    assert all(rate > 0 for rate in found["throughput/samples"]["value"])


def test_statistics_of_each_parameter(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Norms and histograms by name, every few steps; a histogram has every weight once."""
    callback = tree.callback(per_parameter=True, histograms=True, bins=8, statistics_every_n_steps=4)
    tree.trainer(make(), tmp_path, max_epochs=1, callbacks=[callback]).fit(deferring(tree), tree.data, tree.data)
    found = stored()
    for kind in ("gradient", "weight"):
        total, weight, bias = (found[f"{kind}/norm{name}"] for name in ("", "/layer.weight", "/layer.bias"))
        assert total["step"] == weight["step"] == [3]
        assert total["value"][0] == pytest.approx(np.hypot(weight["value"][0], bias["value"][0]))
        histogram = found[f"{kind}/histogram/layer.weight"]
        assert histogram["step"] == [3] * 8
        assert sum(histogram["count"]) == 640
        assert np.diff(histogram["value"]).std() == pytest.approx(0, abs=1e-6)
    assert len(found["train/loss"]["step"]) == STEPS


def test_it_waits_for_no_device(tree: Tree, make: Any, stored: Stored, tmp_path: Path, monkeypatch: Any) -> None:
    """During a fit, none of what synchronises is called by us on the training thread."""
    import torch

    ours: list[str] = []
    training = threading.current_thread()
    for name in ("item", "cpu", "tolist", "numpy", "__float__", "__int__", "__bool__", "__array__"):
        original = getattr(torch.Tensor, name)

        def spy(self: Any, *args: Any, _name: str = name, _original: Any = original, **options: Any) -> Any:
            caller = traceback.extract_stack(limit=2)[0]
            if threading.current_thread() is training and "streamvis" in caller.filename:
                ours.append(f"{_name} in {caller.filename}:{caller.lineno}")
            return _original(self, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, spy)
    logger, callback = make(flush_every=60.0), tree.callback(per_parameter=True, histograms=True)
    tree.trainer(logger, tmp_path, max_epochs=1, callbacks=[callback]).fit(deferring(tree), tree.data, tree.data)
    assert ours == []
    assert len(stored()["train/loss"]["step"]) == STEPS
    stats = logger.experiment.stats()
    assert stats["transfers"] <= 3 * stats["flushes"]  # one for each dtype
    assert stats["flushes"] <= 3  # one soon after the first write, one at the end


def test_the_same_name_from_self_log_is_another_index(
    tree: Tree, make: Any, stored: Stored, tmp_path: Path, said: Said
) -> None:
    """Nothing is lost or mixed up when a model that logs itself gets the callback; one warning says so."""
    tree.trainer(make(), tmp_path, max_epochs=1, callbacks=[tree.callback()]).fit(tree.model(), tree.data, tree.data)
    found = stored()
    assert found["train/loss"]["value"] == pytest.approx(found["train/loss#1"]["value"], rel=1e-6)
    assert sorted(message.split(" comes")[0] for message in said()) == ["train/loss", "val/loss"]


def test_accumulated_batches_are_one_step(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Outputs are logged once per update, under the steps that `self.log` would use."""
    options = {"accumulate_grad_batches": 3, "max_epochs": 2, "callbacks": [tree.callback()]}
    tree.trainer(make(), tmp_path, **options).fit(deferring(tree), tree.data, tree.data)
    found = stored()
    assert found["train/loss"]["step"] == found["gradient/norm"]["step"] == [0, 1, 2, 3]
    assert found["val/loss"]["step"] == [1, 3]


def test_each_optimizer_group_and_dataloader_is_an_index(tree: Tree, make: Any, stored: Stored, tmp_path: Path) -> None:
    """Manual optimisation with two optimizers, one of two groups, and two validation sets."""
    import torch

    class Manual(type(deferring(tree))):  # type: ignore[misc]  # made for this test
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.other = torch.nn.Linear(64, 10)

        def training_step(self, batch: Any, _: int) -> Any:
            loss, _right = self.measure(batch)
            loss = loss + self.other(batch[0]).square().mean()
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
            return {"loss": loss}

        def on_before_optimizer_step(self, _: Any) -> None:
            pass

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return super().validation_step(batch, batch_idx)["loss"] + dataloader_idx

        def configure_optimizers(self) -> Any:
            groups = [{"params": [self.layer.weight]}, {"params": [self.layer.bias], "lr": 0.2}]
            return [torch.optim.SGD(groups, lr=0.1), torch.optim.SGD(self.other.parameters(), lr=0.3)]

    tree.trainer(make(), tmp_path, max_epochs=1, callbacks=[tree.callback()]).fit(
        Manual(), tree.data, [tree.data, tree.data]
    )
    found = stored()
    rates = [found[name]["value"][0] for name in ("learning_rate", "learning_rate#1", "learning_rate#2")]
    assert rates == [0.1, 0.2, 0.3]
    assert found["gradient/norm"]["value"] != found["gradient/norm#1"]["value"]
    assert found["val/loss#1"]["value"][0] == pytest.approx(found["val/loss"]["value"][0] + 1)
    assert len(found["train/loss"]["step"]) == STEPS


def test_gradients_that_are_computed_again_are_logged_once(
    tree: Tree, make: Any, stored: Stored, tmp_path: Path
) -> None:
    """LBFGS does so, up to twenty times for one update."""
    import torch

    class Searching(type(deferring(tree))):  # type: ignore[misc]  # made for this test
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), lr=0.1)

    model = Searching()
    tree.trainer(make(), tmp_path, max_epochs=1, callbacks=[tree.callback()]).fit(model, tree.data, tree.data)
    found = stored()
    assert len(model.gradients) > STEPS
    for name in ("train/loss", "gradient/norm", "learning_rate"):
        assert found[name]["step"] == list(range(STEPS))
    assert found["gradient/norm"]["value"][0] == pytest.approx(float(model.gradients[0]), rel=1e-5)


def test_odd_models_are_logged_as_far_as_possible(
    tree: Tree, make: Any, stored: Stored, tmp_path: Path, said: Said
) -> None:
    """Complex and integer parameters, an optimizer without a learning rate, and outputs by number."""
    import torch

    class Rateless(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            rate = self.param_groups[0].pop("lr")
            closure()
            self.param_groups[0]["lr"] = rate
            super().step()

    class Odd(type(deferring(tree))):  # type: ignore[misc]  # made for this test
        def __init__(self) -> None:
            super().__init__()
            self.wave = torch.nn.Parameter(torch.full((3,), 3 + 4j))
            self.table = torch.nn.Parameter(torch.arange(3), requires_grad=False)

        def training_step(self, batch: Any, _: int) -> Any:
            loss = self.measure(batch)[0]
            return {"loss": loss + 0 * self.wave.abs().sum(), 7: loss.detach()}

        def on_before_optimizer_step(self, _: Any) -> None:
            pass

        def configure_optimizers(self) -> Any:
            return Rateless(self.parameters(), lr=0.1)

    callback = tree.callback(per_parameter=True, histograms=True, bins=4)
    tree.trainer(make(), tmp_path, max_epochs=1, callbacks=[callback]).fit(Odd(), tree.data, tree.data)
    found = stored()
    assert found["train/7"]["value"] == found["train/loss"]["value"]
    assert found["weight/norm/wave"]["value"] == pytest.approx([75**0.5] * STEPS)
    assert found["weight/histogram/wave"]["count"][:4] == [0, 0, 3, 0]
    assert len(found["gradient/norm"]["step"]) == STEPS
    assert "weight/norm/table" not in found
    assert "learning_rate" not in found
    assert said() == []


def test_wrong_arguments_raise_before_the_fit(tree: Tree) -> None:
    """The constructor refuses what cannot work."""
    for option, message in (("every_n_steps", "-1"), ("statistics_every_n_steps", "-1"), ("bins", "0")):
        with pytest.raises(UsageError, match=f"{option} is {message}; expected at least"):
            tree.callback(**{option: int(message)})


def test_without_our_logger_it_does_nothing(tree: Tree, tmp_path: Path) -> None:
    """A trainer without a logger, or with another's, trains as ever."""
    tree.trainer(False, tmp_path, max_epochs=1, callbacks=[tree.callback()]).fit(deferring(tree), tree.data, tree.data)


def test_its_failures_do_not_end_the_fit(tree: Tree, make: Any, stored: Stored, tmp_path: Path, said: Said) -> None:
    """What goes wrong in a hook is said once, and the other hooks go on; strict raises."""

    class Broken(tree.callback):  # type: ignore[misc, name-defined]  # of one of two packages
        def _log_statistics(self, *_: Any) -> None:
            raise ZeroDivisionError("of all norms")

    callback = Broken()
    tree.trainer(make(), tmp_path, callbacks=[callback]).fit(deferring(tree), tree.data, tree.data)
    assert len(stored()["train/loss"]["step"]) == STEPS * EPOCHS
    assert [message.split(" of ")[0] for message in said()] == ["cannot log on_before_optimizer_step"]
    with pytest.raises(ZeroDivisionError):
        tree.trainer(make(strict=True), tmp_path, callbacks=[callback]).fit(deferring(tree), tree.data, tree.data)


@pytest.mark.parametrize(
    "values",
    [[0.0, 1.0, 2.0, 4.0], [3.0, 3.0], [1.0, np.nan, np.inf, 2.0, -np.inf], [np.nan], [3e38, -3e38]],
)
def test_histograms_are_those_of_numpy(values: list[float]) -> None:
    """Over the finite values, in bins of equal width, whatever the tensor's type and shape."""
    import torch

    from streamvis_lightning.statistics import histogram

    finite = np.asarray([value for value in values if np.isfinite(value)])
    centres, counts = histogram(torch.tensor(values).reshape(1, -1), 4)
    if not len(finite):
        assert counts.tolist() == [0] * 4
        return
    expected, edges = np.histogram(finite, 4)
    assert counts.tolist() == expected.tolist()
    assert centres.tolist() == pytest.approx(((edges[1:] + edges[:-1]) / 2).tolist(), rel=1e-5)


def test_statistics_of_half_precision(tree: Tree) -> None:
    """Norms and histograms of bfloat16 and float16 are computed in float32, of float64 in float64."""
    import torch

    from streamvis_lightning.statistics import batch_size, histogram, norm, total_norm

    assert tree
    for dtype, wide in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        values = torch.full((100, 100), 300.0, dtype=dtype)
        assert norm(values).dtype == wide
        assert total_norm([norm(values), norm(values)]).item() == pytest.approx(300 * 100 * 2**0.5, rel=1e-2)
        assert histogram(values, 4)[1].sum() == 10_000
    nested = {"a": "text", "b": [None, (torch.zeros(7, 2),)]}
    assert [batch_size(batch) for batch in (nested, torch.zeros(()), None, "text", [])] == [7, 1, 1, 1, 1]


def test_of_a_sharded_parameter_the_part_of_this_process_counts(tmp_path: Path) -> None:
    """No other process is asked, which would wait for it."""
    import torch
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    from streamvis_lightning.statistics import local, norm

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        sharded = distribute_tensor(torch.ones(4, requires_grad=True), init_device_mesh("cpu", (1,)), [Shard(0)])
        part = local(sharded)
        assert not isinstance(part, DTensor)
        assert (norm(part).item(), part.requires_grad) == (2, False)
    finally:
        distributed.destroy_process_group()
