"""JAX arrays: copied on their device by one jitted call per write, moved in stacks of a fixed count.

Nothing compiles per count: a stack has always STACK members, the last one repeated where fewer wait. An array that
was not there before is copied without compiling; one of the same shape that comes again is worth it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from streamvis.arrays import Form
from streamvis.columns import Array
from streamvis.errors import DtypeError

STACK = 64
WIDTHS = (8, 64, 512)
"""Elements of a packed snapshot: padding to few widths makes many signatures share their stacks."""

MANY_SIGNATURES = 4096
"""How many are remembered at most, for programs whose arrays never have the same shape twice."""

_STACK_BYTES = 256 << 10
"""Stacks are stacked again up to this size."""

_TRACED = (
    "is traced by JAX, where values do not exist yet. There are three ways: return it from the jitted function and "
    "write the result; from lax.scan return it among the stacked ys and write them once, with step=arange(n); or call "
    "streamvis_flax.log_in_jit inside"
)

_Snapshot: TypeAlias = "jax.Array | tuple[jax.Array, ...]"

_R = TypeVar("_R")


class Adapter:
    """Arrays of this process's devices. A snapshot is packed to one of WIDTHS, or a tuple of copies."""

    name = "jax"

    def __init__(self) -> None:
        self.transfers = 0
        self._seen: set[Hashable] = set()

    def accepts(self, kind: type) -> bool:
        """Whether it is a kind of jax array; tracers are."""
        return issubclass(kind, (jax.Array, jax.core.Tracer))

    def describe(self, value: jax.Array) -> Form:
        """See ArrayAdapter."""
        if isinstance(value, jax.core.Tracer):
            raise DtypeError(_TRACED)
        column = _column(value)
        if value.is_deleted():
            raise DtypeError("has been deleted or donated: write it before the call that donates it")
        if not (value.is_fully_addressable or value.is_fully_replicated):
            raise DtypeError(
                "is spread over processes, and gathering it would need all of them: write a reduction that is computed "
                "inside jit, or jax.experimental.multihost_utils.process_allgather(x) called by every process"
            )
        sharding = value.sharding
        alone = len(sharding.device_set) > 1 and not value.is_fully_replicated
        on_host = next(iter(sharding.device_set)).platform == "cpu"  # type: ignore[attr-defined]  # a gap in its stubs
        nbytes = math.prod(value.shape) * value.dtype.itemsize
        return Form(value.shape, column, None if alone else (sharding, value.dtype), nbytes, on_host)

    def copier(self, forms: Sequence[Form]) -> Callable[[Sequence[jax.Array]], _Snapshot | None]:
        """See ArrayAdapter. One jitted call, whatever the number of values."""
        shapes = tuple(form.shape for form in forms)
        place = cast("tuple[jax.sharding.Sharding, Any] | None", forms[0].place)
        # Several devices that hold the same: the copy of one will do, and needs no other process to take part.
        replicated = place is not None and len(place[0].device_set) > 1
        size = sum(map(math.prod, shapes))
        width = next((width for width in WIDTHS if size <= width), None) if place is not None else None
        pack = _packer(width)
        is_new = self._is_new if any(shapes) else _never
        # What a jitted function returns has the same aval and sharding each time: comparing identities is enough.
        like: list[tuple[Any, Any]] = [(None, None)] * len(forms)

        def copy(values: Sequence[jax.Array]) -> _Snapshot | None:
            for number, value in enumerate(values):
                aval, sharding = like[number]
                if value.aval is not aval or value.sharding is not sharding:
                    if self.describe(value) != forms[number]:
                        return None
                    like[number] = value.aval, value.sharding
            try:
                if replicated:
                    values = [value.addressable_data(0) for value in values]
                if is_new((shapes, place)):
                    return tuple(jax.device_put(list(values), may_alias=False))
                copied = _checked_by_nobody(pack, values) if _is_searching() else pack(*values)
            except (RuntimeError, ValueError, TypeError) as error:
                raise DtypeError(f"cannot be copied: {error}") from error
            if isinstance(copied, jax.core.Tracer):
                raise DtypeError(f"is written while JAX traces. {_TRACED}")
            return (copied,) if width is None else cast("jax.Array", copied)

        return copy

    def transfer(self, runs: Sequence[Sequence[_Snapshot]]) -> list[Array]:
        """See ArrayAdapter. One copy per dtype and width of packed snapshots, all begun before the first is read."""
        return _checked_by_nobody(self._transfer, (runs,)) if _is_searching() else self._transfer(runs)

    def _transfer(self, runs: Sequence[Sequence[_Snapshot]]) -> list[Array]:
        packed: dict[Any, list[jax.Array]] = defaultdict(list)
        places = [_sort(run, packed) for run in runs]
        stacks = {kind: _stacked(arrays) for kind, arrays in packed.items()}
        loose = [array for run in runs for snapshot in run if isinstance(snapshot, tuple) for array in snapshot]
        moving = [*itertools.chain.from_iterable(stacks.values()), *loose]
        for array in moving:
            array.copy_to_host_async()
        self.transfers += len(moving)
        rows = {kind: np.concatenate([_rows(stack, kind) for stack in of]) for kind, of in stacks.items()}
        return [
            _assembled(run, rows[kind][first:last] if kind else None)
            for run, (kind, first, last) in zip(runs, places, strict=True)
        ]

    def _is_new(self, signature: Hashable) -> bool:
        """Whether arrays of these shapes come for the first time."""
        if signature in self._seen:
            return False
        if len(self._seen) >= MANY_SIGNATURES:
            self._seen.clear()
        self._seen.add(signature)
        return True


def _never(_: Hashable) -> bool:
    return False


def _stacked(arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """As few arrays as hold these in order; the last ones may come several times."""
    level = list(arrays)
    while len(level) > 1 and (level[0].ndim == 1 or STACK * level[0].nbytes <= _STACK_BYTES):
        level = [_stack()(*_filled(level[start : start + STACK])) for start in range(0, len(level), STACK)]
    return level


def _filled(members: list[jax.Array]) -> list[jax.Array]:
    return members + members[-1:] * (STACK - len(members))


@functools.cache
def _stack() -> Any:
    return jax.jit(lambda *members: jnp.stack(members))


@functools.cache
def _packer(width: int | None) -> Any:
    """Copies arrays, flat and back to back, with zeros up to the width; a single one without a width as it is."""

    def pack(*values: jax.Array) -> jax.Array:
        if width is None and len(values) == 1:
            return jnp.copy(values[0])
        flat = jnp.concatenate([value.reshape(-1) for value in values])
        return jnp.copy(flat if width is None else jnp.pad(flat, (0, width - flat.size)))

    return jax.jit(pack)


def _sort(run: Sequence[_Snapshot], packed: dict[Any, list[jax.Array]]) -> tuple[Any, int, int]:
    """Puts a run's packed snapshots beside others of their kind; gives the kind, None for none, and the place."""
    mine = [snapshot for snapshot in run if not isinstance(snapshot, tuple)]
    if not mine:
        return None, 0, 0
    kind = (mine[0].shape, mine[0].dtype, mine[0].sharding)  # all are, for they have the same forms
    group = packed[kind]
    group += mine
    return kind, len(group) - len(mine), len(group)


def _assembled(run: Sequence[_Snapshot], rows: Array | None) -> Array:
    """The run in order, from the rows of its packed snapshots and its loose ones."""
    if rows is not None and len(rows) == len(run):
        return rows
    packed = iter(() if rows is None else rows)
    found = [_joined(snapshot) if isinstance(snapshot, tuple) else next(packed) for snapshot in run]
    size = min(map(len, found))  # the packed ones are padded
    return np.stack([row[:size] for row in found])


def _joined(arrays: Sequence[jax.Array]) -> Array:
    return np.concatenate([_host(array).reshape(-1) for array in arrays])


def _rows(stack: jax.Array, kind: Any) -> Array:
    return _host(stack).reshape(-1, *kind[0])


def _host(array: jax.Array) -> Array:
    """In a dtype that numpy knows."""
    values = np.asarray(array)
    return values if values.dtype.isbuiltin == 1 else values.astype("<f4" if _is_float(array) else "<i4")


def _is_float(array: jax.Array) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


def _column(value: jax.Array) -> np.dtype[Any]:
    """The dtype of the column that holds it. Raises DtypeError."""
    dtype = value.dtype
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        raise DtypeError(f"holds {dtype}, not numbers: write jax.random.key_data(x)")
    if dtype.kind == "b":
        return np.dtype("|b1")
    if jnp.issubdtype(dtype, jnp.floating):
        return np.dtype("<f8" if dtype.itemsize == 8 else "<f4")
    if jnp.issubdtype(dtype, jnp.integer):
        return np.dtype("<i8" if dtype.itemsize == 8 or dtype == np.uint32 else "<i4")
    raise DtypeError(f"has dtype {dtype}, which cannot be stored: write x.real and x.imag, or abs(x), as columns")


def _is_searching() -> bool:
    config: Any = jax.config
    return bool(config.jax_debug_nans or config.jax_debug_infs)


def _checked_by_nobody(call: Callable[..., _R], arguments: Sequence[Any]) -> _R:
    """Calls without jax's search for NaNs, which waits for every result and would not let NaNs be logged."""
    with jax.debug_nans(False), jax.debug_infs(False):
        return call(*arguments)
