"""What the callback and the writer share: one run, of which the process of index 0 logs, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import jax
from flax import nnx

from streamvis.errors import UsageError
from streamvis.integration import MetricLogger


class FlaxRun:
    """Logs one run, from the process of index 0 unless `all_processes`. It starts at the first use.

    What fails is said once for each name by the logging module; training goes on. While the server is away, points
    wait in the spool. Values on a device stay there until the next flush, also if they are donated after the call.

    Args:
        scope: the run, such as "run24".
        grpc_uri: the data server; default STREAMVIS_GRPC_URI, else localhost:8081.
        all_processes: every process logs; the column `process` of each point says which.
        strict: what fails raises.
        options: those of DataLogger.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(
        self,
        scope: str,
        grpc_uri: str | None = None,
        *,
        all_processes: bool = False,
        strict: bool = False,
        **options: Any,
    ) -> None:
        if all_processes and options.get("delete_existing"):
            raise UsageError("delete_existing with all_processes: each process would replace what the others log")
        self.metrics = MetricLogger(scope, grpc_uri, strict=strict, **options)
        """What logs: for arrays of any kind, see its methods; it logs in any process."""
        self._all_processes = all_processes
        self._active: bool | None = None

    @property
    def active(self) -> bool:
        """Whether this process logs; asked at the first use, which may come after jax.distributed.initialize."""
        if self._active is None:
            self._active = self._all_processes or jax.process_index() == 0
            if self._all_processes:
                self.metrics.columns["process"] = jax.process_index()
        return self._active

    def start(self) -> Self:
        """Starts the logger, where this process logs. A second call does nothing."""
        if self.active:
            with self.metrics.contained("anything"):
                _ = self.metrics.logger
        return self

    def log(self, step: Any, metrics: Mapping[str, Any], epoch: Any = None) -> None:
        """Logs metrics under their names; see MetricLogger.log. Steps and values may be nnx variables."""
        if self.active:
            self.metrics.log(unboxed(metrics), unboxed(step), unboxed(epoch))

    def write_points(self, name: str, /, *, start_index: int = 0, **columns: Any) -> None:
        """Logs one write of any columns, such as a cloud; see DataLogger.write."""
        if self.active:
            with self.metrics.contained(name):
                self.metrics.write(name, start_index=start_index, **unboxed(columns))

    def write_config(self, values: Any) -> None:
        """Merges hyperparameters of any kind into the scope's config; see MetricLogger.log_config."""
        if self.active:
            self.metrics.log_config(values)

    def flush(self, timeout: float | None = None) -> None:
        """Returns when everything is stored or spooled, calls from within jit included, or after `timeout` seconds."""
        self._finish_callbacks()
        self.metrics.flush(timeout)

    def stop(self) -> None:
        """Flushes and closes; see DataLogger.stop."""
        self._finish_callbacks()
        self.metrics.stop()

    def _finish_callbacks(self) -> None:
        if self.metrics.started:
            with self.metrics.contained("callbacks"):
                jax.effects_barrier()  # type: ignore[no-untyped-call]  # jax does not type it

    def stats(self) -> dict[str, Any]:
        """Counters of the run; see DataLogger.stats. Empty where nothing is logged."""
        return self.metrics.logger.stats() if self.metrics.started else {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def unboxed(value: Any) -> Any:
    """The value with each nnx variable in it replaced by its array: variables change in place."""
    if issubclass(type(value), nnx.Variable):  # isinstance asks nnx, which takes as long as the write
        return value.get_value()
    if isinstance(value, Mapping):
        return {name: unboxed(item) for name, item in value.items()}
    return value
