"""What the callbacks of both class trees share: everything but the base class."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from streamvis.errors import UsageError
from streamvis_lightning.logger import LoggerMixin
from streamvis_lightning.statistics import batch_size, has_norm, histogram, local, norm, total_norm

Scalars: TypeAlias = dict[str, Any]


def _contained(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook where there is a logger, with its failures kept out of the training loop."""

    @functools.wraps(hook)
    def run(self: CallbackMixin, *args: Any, **options: Any) -> None:
        if self._target is not None:
            with self._target.metrics.contained(hook.__name__), torch.no_grad():
                hook(self, *args, **options)

    return run


def _adding(stage: str) -> Callable[..., None]:
    """The hook that adds what a step of that stage returned to its means."""

    @_contained
    def on_batch_end(  # noqa: PLR0913, PLR0917 - Lightning's interface
        self: CallbackMixin,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(stage, outputs, batch, dataloader_idx)

    return on_batch_end


class CallbackMixin:
    """Logs what each step leaves on the device, on rank 0, and waits for the device at no time.

    It logs into the trainer's StreamvisLogger:

    * what `training_step` returns, `train/loss` and the other scalars of its dict, once per optimizer step; of
      `validation_step` and `test_step` the means over all batches, weighted by their sizes, as `val/…` and `test/…`. A
      name that has a slash already stays as it is. Of several dataloaders each is an index.
    * `gradient/norm` and `weight/norm` of all parameters before each update; of several optimizers each is an index.
      Gradients are those that the optimizer gets before clipping.
    * `learning_rate` of that update, an index for each group of parameters.
    * `throughput/batches` and `throughput/samples` per second of training.

    Of sharded parameters it takes the part of this process alone. Under `self.log` the same names would be logged
    twice: what comes that way is index 1 then, which is said once.

    Args:
        every_n_steps: how often outputs and learning rates are logged; 0 is never.
        statistics_every_n_steps: how often the rest is; default the trainer's `log_every_n_steps`.
        norms: the norms of all gradients and of all weights.
        per_parameter: also of each parameter, as `gradient/norm/NAME` and `weight/norm/NAME`.
        histograms: of each parameter, as `gradient/histogram/NAME` and `weight/histogram/NAME`: a point for each bin,
            with its centre as `value`, and `count`.
        bins: of a histogram.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(  # noqa: PLR0913 - the switches of one callback, all by keyword
        self,
        *,
        every_n_steps: int = 1,
        statistics_every_n_steps: int | None = None,
        norms: bool = True,
        per_parameter: bool = False,
        histograms: bool = False,
        bins: int = 64,
    ) -> None:
        super().__init__()
        for name, number, least in (
            ("every_n_steps", every_n_steps, 0),
            ("statistics_every_n_steps", statistics_every_n_steps or 0, 0),
            ("bins", bins, 1),
        ):
            if number < least:
                raise UsageError(f"{name} is {number!r}; expected at least {least}")
        self._every_n_steps = every_n_steps
        self._statistics_every_n_steps = statistics_every_n_steps
        self._norms = norms
        self._per_parameter = per_parameter
        self._histograms = histograms
        self._bins = bins
        self._target: LoggerMixin | None = None
        self._names: dict[int, str] = {}
        self._updated: set[int] = set()
        self._means: dict[tuple[str, int], tuple[Any, int]] = {}
        self._since: float | None = None
        self._batches = self._samples = 0

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Finds the logger; nothing of a run that failed is left."""
        found = [logger for logger in trainer.loggers if isinstance(logger, LoggerMixin)]
        self._target = found[0] if found and trainer.is_global_zero else None
        self._means, self._since, self._updated = {}, None, set()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Learns the parameters' names, once all of them exist."""
        self._names = {id(parameter): name for name, parameter in pl_module.named_parameters()}

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forgets the run."""
        self._target = None
        self._names = {}

    # ---- training

    @_contained
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Logs learning rates, and statistics of the gradients and weights."""
        number = trainer.optimizers.index(optimizer)
        if number in self._updated:
            return  # as LBFGS, which computes gradients several times for one update
        self._updated.add(number)
        if self._due(trainer, self._every_n_steps):
            before = trainer.optimizers[:number]
            first = sum(len(other.param_groups) for other in before)
            for index, group in enumerate(optimizer.param_groups, first):
                if "lr" in group:
                    self._log(trainer, {"learning_rate": group["lr"]}, start_index=index)
        if self._statistics_due(trainer):
            self._log_statistics(trainer, optimizer, number)

    @_contained
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs the outputs if there was an update, and the throughput."""
        if self._updated and self._due(trainer, self._every_n_steps):
            self._claim(trainer, _scalars("train", outputs))
        self._updated.clear()
        self._batches += 1
        self._samples += batch_size(batch)
        if self._since is None:
            self._restart_clock()
        elif self._statistics_due(trainer):
            seconds = time.perf_counter() - self._since
            rates = {"batches": self._batches / seconds, "samples": self._samples / seconds}
            self._log(trainer, {"throughput": rates})
            self._restart_clock()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """What lies between epochs counts for no throughput."""
        self._since = None

    def _restart_clock(self) -> None:
        self._since, self._batches, self._samples = time.perf_counter(), 0, 0

    # ---- evaluation

    on_validation_batch_end = _adding("val")
    on_test_batch_end = _adding("test")

    @_contained
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Logs the means."""
        self._since = None
        means, self._means = self._means, {}
        if not trainer.sanity_checking:
            for (name, index), (total, count) in means.items():
                self._claim(trainer, {name: total / count}, index)

    on_test_epoch_end = on_validation_epoch_end

    def _add(self, stage: str, outputs: Any, batch: Any, index: int) -> None:
        size = batch_size(batch)
        for name, value in _scalars(stage, outputs).items():
            total, count = self._means.get((name, index), (0.0, 0))
            self._means[name, index] = (total + value * float(size), count + size)

    # ---- writing

    def _log_statistics(self, trainer: Any, optimizer: Any, index: int) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        kinds = {
            "gradient": [(parameter, parameter.grad) for parameter in parameters],
            "weight": [(parameter, parameter) for parameter in parameters],
        }
        for kind, pairs in kinds.items():
            tensors = {
                self._names.get(id(parameter), f"{index}.{place}"): local(tensor)
                for place, (parameter, tensor) in enumerate(pairs)
                if tensor is not None and has_norm(tensor)
            }
            self._log_kind(trainer, kind, tensors, index)

    def _log_kind(self, trainer: Any, kind: str, tensors: Mapping[str, Tensor], index: int) -> None:
        if tensors and (self._norms or self._per_parameter):
            norms = {name: norm(tensor) for name, tensor in tensors.items()}
            if self._norms:
                self._log(trainer, {f"{kind}/norm": total_norm(norms.values())}, start_index=index)
            if self._per_parameter:
                self._log(trainer, {f"{kind}/norm/{name}": value for name, value in norms.items()})
        if self._histograms and self._target is not None:
            for name, tensor in tensors.items():
                label = self._target.named(f"{kind}/histogram/{name}")
                self._target.metrics.log_histogram(
                    label, *histogram(tensor, self._bins), _step(trainer), trainer.current_epoch
                )

    def _claim(self, trainer: Any, scalars: Scalars, start_index: int = 0) -> None:
        """Logs outputs, whose names `self.log` may give as well."""
        if self._target is not None:
            self._target.claimed.update(map(self._target.named, scalars))
            self._log(trainer, scalars, start_index)

    def _log(self, trainer: Any, metrics: Scalars, start_index: int = 0) -> None:
        if self._target is not None:
            named = {self._target.named(name): value for name, value in metrics.items()}
            self._target.metrics.log(named, _step(trainer), trainer.current_epoch, start_index=start_index)

    def _statistics_due(self, trainer: Any) -> bool:
        every = self._statistics_every_n_steps
        return self._due(trainer, trainer.log_every_n_steps if every is None else every)

    @staticmethod
    def _due(trainer: Any, every: int) -> bool:
        return every > 0 and (_step(trainer) + 1) % every == 0


def _step(trainer: Any) -> int:
    """The step under which `self.log` would log now."""
    step: int = trainer.fit_loop.epoch_loop._batches_that_stepped  # noqa: SLF001 - what Lightning's own callbacks read
    return step


def _scalars(stage: str, outputs: Any) -> Scalars:
    """The scalars among what a step returned, by the names that they are logged under."""
    if isinstance(outputs, (Tensor, int, float)):
        outputs = {"loss": outputs}
    pairs: Iterable[tuple[str, Any]] = outputs.items() if isinstance(outputs, Mapping) else ()
    return {
        f"{name}" if "/" in f"{name}" else f"{stage}/{name}": value.detach() if isinstance(value, Tensor) else value
        for name, value in pairs
        if isinstance(value, (int, float)) or (isinstance(value, Tensor) and not value.ndim)
    }
