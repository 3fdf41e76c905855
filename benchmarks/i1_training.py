"""I1: what logging adds to a step of a Lightning Trainer, beside its own loggers, and of a JAX loop, beside clu's."""

from __future__ import annotations

import logging
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from _harness import REPEATS, Server, data_server, logger_options, show, stopwatch

from streamvis import Client

STEPS = 400
METRICS = 8

Loop = Callable[[str], float]
"""Trains under a run's name, and gives microseconds per step until its logger has taken everything."""


def main() -> None:
    """Prints microseconds per step above those of the same loop without a logger."""
    warnings.simplefilter("ignore")
    with data_server() as server:
        lightning = _added(_lightning_loops(server))
        jax = _added(_jax_loops(server))
        _check(server, "ours", ["train/loss", "train/accuracy"])
        _check(server, "callback", ["train/loss", "train/accuracy", "learning_rate"])
        _check(server, "writer", [f"metric{number}" for number in range(METRICS)])
    for peer in ("CSVLogger", "TensorBoardLogger"):
        show("I1 Trainer, 2 metrics by self.log", lightning["ours"], "µs", peer=(peer, lightning[peer]))
        show("I1 Trainer, 2 metrics by callback", lightning["callback"], "µs", peer=(peer, lightning[peer]))
    show("I1 the same and norms, each step", lightning["norms"], "µs")
    for peer in ("clu with TensorBoard", "clu, asynchronous"):
        show(f"I1 jitted loop, {METRICS} metrics by writer", jax["writer"], "µs", peer=(peer, jax[peer]))
    show(
        f"I1 jitted loop, {METRICS} metrics by callback", jax["callback"], "µs", peer=("device_get", jax["device_get"])
    )


def _added(loops: Mapping[str, Loop]) -> dict[str, float]:
    """Of each loop, the median of what it takes above the bare one of its round; the first round warms up."""
    rounds = [{name: loop(f"{name}{number}") for name, loop in loops.items()} for number in range(REPEATS + 1)]
    return {name: statistics.median(times[name] - times["bare"] for times in rounds[1:]) for name in loops}


def _check(server: Server, run: str, names: list[str]) -> None:
    with Client(server.uri) as client:
        for repeat in range(REPEATS + 1):
            points = client.fetch(f"{run}{repeat}")
            for name in names:
                assert len(points[f"{run}{repeat}", name, 0]["step"]) == STEPS


def _lightning_loops(server: Server) -> dict[str, Loop]:
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from streamvis_lightning.lightning import StreamvisCallback, StreamvisLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    folder = server.directory
    data = torch.utils.data.TensorDataset(torch.randn(STEPS * 8, 16), torch.randint(4, (STEPS * 8,)))

    class Model(pl.LightningModule):
        def __init__(self, logs: bool) -> None:
            super().__init__()
            self.logs = logs
            self.layers = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))

        def training_step(self, batch: Any, _: int) -> Any:
            logits = self.layers(batch[0])
            loss = torch.nn.functional.cross_entropy(logits, batch[1])
            accuracy = (logits.argmax(1) == batch[1]).float().mean()
            if self.logs:
                self.log_dict({"train/loss": loss, "train/accuracy": accuracy})
            return {"loss": loss, "accuracy": accuracy}

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def fit(logs: bool, logger: Callable[[str], Any], **switches: Any) -> Loop:
        def loop(run: str) -> float:
            callbacks = [StreamvisCallback(**switches)] if switches else []
            quiet = {f"enable_{name}": False for name in ("progress_bar", "model_summary", "checkpointing")}
            chosen = logger(run)
            trainer = pl.Trainer(
                accelerator="cpu", max_epochs=1, log_every_n_steps=1, logger=chosen, callbacks=callbacks, **quiet
            )
            with stopwatch() as seconds:
                trainer.fit(Model(logs), torch.utils.data.DataLoader(data, 8))
            if isinstance(chosen, StreamvisLogger):
                chosen.experiment.stop()
            return seconds() / STEPS * 1e6

        return loop

    def ours(run: str) -> Any:
        return StreamvisLogger(run, **logger_options(server))

    return {
        "bare": fit(False, lambda _: False),
        "CSVLogger": fit(True, lambda run: CSVLogger(folder / "csv", run)),
        "TensorBoardLogger": fit(True, lambda run: TensorBoardLogger(folder / "tensorboard", run)),
        "ours": fit(True, ours),
        "callback": fit(False, ours, statistics_every_n_steps=STEPS),
        "norms": fit(False, lambda run: ours(f"norms of {run}"), statistics_every_n_steps=1),
    }


def _jax_loops(server: Server) -> dict[str, Loop]:
    import jax
    import jax.numpy as jnp

    from streamvis_flax import StreamvisCallback, StreamvisWriter

    metric_writers, tensorboard = _clu()
    batch = jnp.ones((64, 64))

    @jax.jit
    def learn(state: Any) -> Any:
        state = jnp.tanh(state @ batch / 64 + 0.1)
        return state, {f"metric{number}": state[number].mean() for number in range(METRICS)}

    def train(log: Callable[[int, Any], None], end: Callable[[], None]) -> float:
        state = jnp.ones((64, 64))
        with stopwatch() as seconds:
            for step in range(STEPS):
                state, metrics = learn(state)
                log(step, metrics)
            end()
        return seconds() / STEPS * 1e6

    def bare(_: str) -> float:
        return train(lambda step, metrics: None, lambda: None)  # noqa: ARG005 - as every log

    def device_get(_: str) -> float:
        return train(lambda step, metrics: jax.device_get(metrics), lambda: None)  # noqa: ARG005 - as every log

    def clu(wrap: Callable[[Any], Any]) -> Loop:
        def loop(run: str) -> float:
            writer = wrap(tensorboard(str(server.directory / "clu" / run)))
            return train(lambda step, metrics: writer.write_scalars(step, jax.device_get(metrics)), writer.flush)

        return loop

    def writer(run: str) -> float:
        with StreamvisWriter(run, **logger_options(server)) as writer:
            return train(writer.write_scalars, writer.flush)

    def callback(run: str) -> float:
        with StreamvisCallback(f"callback of {run}", **logger_options(server)) as callback:
            return train(callback, callback.flush)

    return {
        "bare": bare,
        "device_get": device_get,
        "clu with TensorBoard": clu(lambda writer: writer),
        "clu, asynchronous": clu(metric_writers.AsyncWriter),
        "writer": writer,
        "callback": callback,
    }


def _clu() -> tuple[Any, Any]:
    """The writers of clu, and that which writes through torch's TensorBoard: its other one would need TensorFlow."""
    missing = ModuleType("clu.metric_writers.summary_writer")
    missing.SummaryWriter = None  # type: ignore[attr-defined]  # imported, never called
    sys.modules[missing.__name__] = missing
    from clu import metric_writers
    from clu.metric_writers.torch_tensorboard_writer import TorchTensorboardWriter

    return metric_writers, TorchTensorboardWriter


if __name__ == "__main__":
    main()
