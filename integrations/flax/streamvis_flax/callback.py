"""The callback of a training loop, whether it uses linen's TrainState, nnx or plain JAX."""

from __future__ import annotations

import dataclasses
from typing import Any

from streamvis.errors import UsageError
from streamvis_flax.run import FlaxRun, unboxed
from streamvis_flax.statistics import histograms, named_leaves, norms


class StreamvisCallback(FlaxRun):
    """Logs each metric of a step as a topic with the columns step, value, epoch and time.

        with StreamvisCallback("run24") as callback:
            for batch in batches:
                state, metrics = train_step(state, batch)
                callback(state, metrics)

    Nothing in a call waits for the device: what the step computed moves to the host at the next flush, in one transfer
    with everything else. Values may be donated or changed in place afterwards.

    Args:
        scope: the run, such as "run24".
        grpc_uri: the data server; default STREAMVIS_GRPC_URI, else localhost:8081.
        every: of the calls, each n-th logs its metrics.
        statistics_every: of the calls with `params` or `grads`, each n-th logs statistics of them.
        histograms: these are, besides the norms of all and of each array, histograms of each.
        bins: of a histogram.
        all_processes: every process logs; the column `process` of each point says which. Else the first does.
        strict: what fails raises.
        options: those of DataLogger.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(  # noqa: PLR0913 - the switches of one callback, all but the first two by keyword
        self,
        scope: str,
        grpc_uri: str | None = None,
        *,
        every: int = 1,
        statistics_every: int = 100,
        histograms: bool = False,
        bins: int = 64,
        all_processes: bool = False,
        strict: bool = False,
        **options: Any,
    ) -> None:
        for name, number in (("every", every), ("statistics_every", statistics_every), ("bins", bins)):
            if number < 1:
                raise UsageError(f"{name} is {number!r}; expected at least 1")
        super().__init__(scope, grpc_uri, all_processes=all_processes, strict=strict, **options)
        self._every = every
        self._statistics_every = statistics_every
        self._histograms = histograms
        self._bins = bins
        self._calls = self._calls_with_trees = 0

    def __call__(self, step: Any, metrics: Any, *, epoch: Any = None, params: Any = None, grads: Any = None) -> None:
        """Logs one step's metrics, and now and then statistics of its parameters and gradients.

        `step` is a number, on the host or on a device, or what has one: a TrainState or an nnx.Optimizer. `metrics` is
        a dict, a dataclass or a NamedTuple, or what computes one: an nnx.MultiMetric or a clu Collection; the epoch may
        be one of them. `params` and `grads` are pytrees, nnx modules or nnx states.

        Of steps that ran in one `scan`, `step` and the values are arrays: a point for each. A value with one axis more
        than the step has an index for each entry of its last axis, as of a `vmap` over an ensemble.
        """
        step = getattr(step, "step", step)
        if self._calls % self._every == 0:
            with self.metrics.contained("metrics"):
                self.log(step, _as_dict(metrics), epoch)
        self._calls += 1
        if params is not None or grads is not None:
            if self._calls_with_trees % self._statistics_every == 0:
                self.log_statistics(step, params=params, grads=grads, epoch=epoch)
            self._calls_with_trees += 1

    def log_statistics(self, step: Any, *, params: Any = None, grads: Any = None, epoch: Any = None) -> None:
        """Logs `weight/norm` and `gradient/norm`, of each array `…/norm/PATH`, and histograms as `…/histogram/PATH`."""
        for kind, tree in (("weight", params), ("gradient", grads)):
            if tree is not None and self.active:
                with self.metrics.contained(f"{kind} statistics"):
                    self._log_tree(kind, tree, getattr(step, "step", step), epoch)

    def _log_tree(self, kind: str, tree: Any, step: Any, epoch: Any) -> None:
        leaves = named_leaves(tree)
        total, each = norms(leaves)
        self.log(step, {f"{kind}/norm": total, **{f"{kind}/norm/{name}": norm for name, norm in each.items()}}, epoch)
        if self._histograms:
            for name, (centres, counts) in histograms(leaves, self._bins).items():
                self.metrics.log_histogram(f"{kind}/histogram/{name}", centres, counts, unboxed(step), unboxed(epoch))


def _as_dict(metrics: Any) -> Any:
    if hasattr(metrics, "compute"):
        return metrics.compute()
    if hasattr(metrics, "_asdict"):
        return metrics._asdict()
    if dataclasses.is_dataclass(metrics):
        return {field.name: getattr(metrics, field.name) for field in dataclasses.fields(metrics)}
    return metrics
