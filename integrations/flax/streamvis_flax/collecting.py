"""Logging from inside a traced function: what it logs comes out as one more result, through any transformation."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from flax.core import tracers

from streamvis.errors import UsageError
from streamvis.integration import flat

Logged: TypeAlias = dict[str, jax.Array]

Result = TypeVar("Result")

_log = logging.getLogger("streamvis")


@dataclass(slots=True)
class _Frame:
    """One call of a collected function: where it is traced, and what it logged so far."""

    trace: Any
    values: dict[str, list[jax.Array]] = field(default_factory=dict)


def _current_trace() -> Any:
    return tracers.current_trace()  # type: ignore[no-untyped-call]  # flax does not type it


class _Frames(threading.local):
    def __init__(self) -> None:
        self.stack: list[_Frame] = []


_frames = _Frames()


def collect(function: Callable[..., Result]) -> Callable[..., tuple[Result, Logged]]:
    """The function with what `log` was given inside it as a second result: a dict of arrays.

        learn = jax.jit(collect(train_step))
        state, logged = learn(state, batch)
        callback(state, logged)

    No value leaves the device early, none is lost or doubled, and nothing is compiled twice. Inside a transformation
    of a part, collect that part and pass on what it logged:

        (loss, logged), grads = jax.value_and_grad(collect(loss_of), has_aux=True)(params)
        log(logged)

    For `scan` the collected body returns `(carry, y), logged`; let it give `carry, (y, logged)`: `logged` comes out
    with a first axis of steps. Of `vmap` give it `out_axes=(0, -1)`: a last axis of indexes. See docs/flax.md.
    """

    @functools.wraps(function)
    def collected(*args: Any, **options: Any) -> tuple[Result, Logged]:
        frame = _Frame(_current_trace())
        _frames.stack.append(frame)
        try:
            result = function(*args, **options)
        finally:
            _frames.stack.pop()
        return result, {name: _joined(name, values) for name, values in frame.values.items()}

    return collected


def log(metrics: Mapping[str, Any]) -> None:
    """Gives metrics to the `collect` around this function; without one, nothing happens, as with `sow`.

    A name that is given again fills further indexes: one value each, in order. Nested dicts join their names with a
    slash. Raises UsageError inside a transformation, such as `scan` or `grad`, whose function is not collected itself.
    """
    if not _frames.stack:
        return
    frame = _frames.stack[-1]
    if frame.trace != _current_trace():
        names = ", ".join(metrics)
        raise UsageError(
            f"log of {names} inside a transformation (scan, grad, vmap, cond, …) of a function that is not collected: "
            "wrap that function in collect and pass on what it logged, or use log_in_jit"
        )
    for name, value in flat(metrics):
        frame.values.setdefault(name, []).append(jax.lax.stop_gradient(jnp.asarray(value)))


def _joined(name: str, values: list[jax.Array]) -> jax.Array:
    if len(values) == 1:
        return values[0]
    if len({value.shape for value in values}) > 1:
        _log.warning("%s was logged %d times in different shapes in one step: the last is kept", name, len(values))
        return values[-1]
    return jnp.stack(values, axis=-1)
