"""Logging from inside a traced function by callbacks to the host, where no result can be passed out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from streamvis.integration import flat
from streamvis_flax.run import FlaxRun
from streamvis_flax.statistics import widened

REMEMBERED = 65_536
"""Rows of one call whose repetition is noticed."""


def log_in_jit(run: FlaxRun, step: Any, metrics: Mapping[str, Any], *, epoch: Any = math.nan) -> None:
    """Logs numbers from inside jit, scan, while, cond, vmap, grad and remat, wherever they are computed.

    Each call of the host is a transfer: prefer `collect` where values can be results. JAX may run a callback again or
    in another order: each row carries its step, and one that repeats an earlier row of this call in step, epoch and
    values is stored once. Under `vmap` each element is an index. Use one callback or writer per compiled function:
    it stays bound to the one it was traced with. `run.flush` waits for callbacks.
    """
    values = {name: widened(jnp.asarray(value)) for name, value in flat(metrics)}
    receiver = _Receiver(run, {name: value.ndim for name, value in values.items()})
    _emitter(receiver)(*jax.lax.stop_gradient((jnp.asarray(step), jnp.asarray(epoch), *values.values())))


def _emitter(receive: Callable[..., None]) -> Callable[..., jax.Array]:
    """What calls the host once for a whole batch: under vmap the batch axes come first."""

    @custom_vmap
    def emit(*arrays: jax.Array) -> jax.Array:
        jax.debug.callback(receive, *arrays)
        return jnp.zeros(())

    @emit.def_vmap
    def batched(size: int, mapped: list[bool], *arrays: jax.Array) -> tuple[jax.Array, bool]:
        whole = [
            array if is_mapped else jnp.broadcast_to(array, (size, *array.shape))
            for array, is_mapped in zip(arrays, mapped, strict=True)
        ]
        return emit(*whole), False

    return emit


class _Receiver:
    """Takes on the host what one call in a traced function gives: it copies, calls no jax, and waits for nothing."""

    def __init__(self, run: FlaxRun, ranks: Mapping[str, int]) -> None:
        self._run = run
        self._ranks = ranks
        self._seen: dict[int, None] = {}

    def __call__(self, *given: Any) -> None:
        with self._run.metrics.contained("a callback"):  # an error here would end the computation
            step, epoch, *values = (np.array(array) for array in given)
            if self._run.active and self._is_new(b"".join(array.tobytes() for array in (step, epoch, *values))):
                for (name, rank), value in zip(self._ranks.items(), values, strict=True):
                    self._write(name, step, epoch, value, value.ndim - rank)

    def _write(self, name: str, step: Any, epoch: Any, value: Any, batch_axes: int) -> None:
        """Writes one value as (index, 1): its batch axes, which step and epoch share, and what axes it had before."""
        columns = {"step": step, "value": value, "epoch": epoch}
        for column, array in columns.items():
            aligned = array.reshape(
                array.shape[:batch_axes] + (1,) * (value.ndim - array.ndim) + array.shape[batch_axes:]
            )
            columns[column] = np.broadcast_to(aligned, value.shape).reshape(-1, 1)
        with self._run.metrics.contained(name):
            self._run.metrics.write(name, **columns, time=time.time())

    def _is_new(self, row: bytes) -> bool:
        key = hash(row)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
