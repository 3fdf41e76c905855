"""Logging from inside traced functions: as further results, and by callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from streamvis.errors import UsageError
from streamvis_flax import collect, log, log_in_jit

Stored = Callable[..., dict[str, dict[str, Any]]]
Said = Callable[[], list[str]]


def points(stored: dict[str, dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Steps and values of each line, by step."""
    return {name: sorted(zip(columns["step"], columns["value"], strict=True)) for name, columns in stored.items()}


# ---- further results


def test_what_a_jitted_function_logs_is_a_further_result() -> None:
    """The function's own result is as it was, and nothing is compiled a second time."""
    traces = []

    @jax.jit
    @collect
    def learn(x: jax.Array) -> jax.Array:
        traces.append(1)
        log({"loss": x * 2, "val": {"accuracy": 0.5}})
        return x + 1

    for step in range(3):
        result, logged = learn(jnp.float32(step))
        assert (float(result), {name: float(value) for name, value in logged.items()}) == (
            step + 1,
            {"loss": 2 * step, "val/accuracy": 0.5},
        )
    assert len(traces) == 1


def test_without_collect_nothing_happens() -> None:
    """A model that logs can be used anywhere."""
    assert float(jax.jit(lambda x: (log({"x": x}), x)[1])(1.0)) == 1


def test_of_a_gradient() -> None:
    """A loss that logs is its own auxiliary output, and its gradient is as it was."""

    def loss_of(x: jax.Array) -> jax.Array:
        log({"inside": x * 3})
        return x**2

    @jax.jit
    @collect
    def learn(x: jax.Array) -> jax.Array:
        (loss, logged), gradient = jax.value_and_grad(collect(loss_of), has_aux=True)(x)
        log({**logged, "loss": loss})
        return gradient

    gradient, logged = learn(jnp.float32(2))
    assert float(gradient) == 4
    assert {name: float(value) for name, value in logged.items()} == {"inside": 6, "loss": 4}


def test_of_a_scan_of_a_vmap_and_of_both(make: Any, stored: Stored) -> None:
    """A first axis of steps and a last axis of indexes are what the callback takes."""

    def body(carry: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
        log({"carry": carry})
        return carry + 1, carry

    def scanned(start: jax.Array) -> jax.Array:
        def collected(carry: jax.Array, x: Any) -> Any:
            (carry, y), logged = collect(body)(carry, x)
            return carry, (y, logged)

        last, (_, logged) = jax.lax.scan(collected, start, length=3)
        log(logged)
        return last

    members = jax.jit(jax.vmap(collect(scanned), out_axes=(0, -1)))
    last, logged = members(jnp.array([0.0, 10.0]))
    assert last.tolist() == [3, 13]
    callback = make()
    callback(jnp.arange(3), logged)
    callback.flush(10)
    assert points(stored()) == {"carry": [(0, 0), (1, 1), (2, 2)], "carry#1": [(0, 10), (1, 11), (2, 12)]}


def test_of_remat() -> None:
    """Computed again for the gradient, it is logged once."""

    def block(x: jax.Array) -> jax.Array:
        log({"activation": x})
        return jnp.sin(x)

    def loss_of(x: jax.Array) -> Any:
        y, logged = jax.checkpoint(collect(block))(x)
        return y, logged

    gradient, logged = jax.jit(jax.grad(loss_of, has_aux=True))(jnp.float32(1))
    assert float(gradient) == pytest.approx(np.cos(1))
    assert {name: value.tolist() for name, value in logged.items()} == {"activation": 1.0}


def test_a_repeated_name_fills_further_indexes(said: Said) -> None:
    """A layer that is applied twice logs both, in order; of different shapes the last is kept, with a warning."""

    def apply(x: jax.Array) -> None:
        log({"norm": x.sum(), "shape": x})

    _, logged = collect(lambda: [apply(jnp.ones(2)), apply(jnp.ones(3))])()
    assert logged["norm"].tolist() == [2, 3]
    assert logged["shape"].shape == (3,)
    assert len(said()) == 1


@pytest.mark.parametrize(
    "transform", [jax.grad, jax.vmap, lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, length=2)]
)
def test_a_part_that_is_not_collected_is_a_clear_error(transform: Any) -> None:
    """Instead of jax's error of a leaked tracer."""

    def part(x: jax.Array) -> jax.Array:
        log({"inside": x})
        return x.sum()

    with pytest.raises(UsageError, match=r"log of inside inside a transformation .* collect"):
        jax.jit(collect(transform(part)))(jnp.ones(()) if transform is not jax.vmap else jnp.ones(2))


def test_modules_may_log() -> None:
    """Linen and nnx modules log from where the value is, and a failing function leaves nothing behind."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.Dense(2)(x)
            log({f"{self.name}/mean": x.mean()})
            return x

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return Block(name="second")(Block(name="first")(x))

    variables = Net().init(jax.random.key(0), jnp.ones((1, 3)))
    _, logged = jax.jit(collect(Net().apply))(variables, jnp.ones((1, 3)))
    assert sorted(logged) == ["first/mean", "second/mean"]

    class Linear(nnx.Linear):
        def __call__(self, x: jax.Array) -> jax.Array:  # type: ignore[override]  # nnx allows an output sharding
            y = super().__call__(x)
            log({"mean": y.mean()})
            return y

    _, logged = nnx.jit(collect(lambda model, x: model(x)))(Linear(3, 2, rngs=nnx.Rngs(0)), jnp.ones((1, 3)))
    assert list(logged) == ["mean"]
    with pytest.raises(ZeroDivisionError):
        collect(lambda: 1 / 0)()
    assert collect(lambda: log({"x": 1}))()[1]["x"].tolist() == 1


# ---- callbacks


def run(function: Callable[..., Any], *args: Any) -> None:
    jax.block_until_ready(function(*args))


def scan(body: Any, start: Any, length: int) -> Any:
    return jax.lax.scan(lambda carry, i: (body(carry, i), None), start, jnp.arange(length))[0]


CASES: dict[str, tuple[Callable[[Any], Any], dict[str, list[tuple[float, float]]]]] = {
    "jit": (lambda put: jax.jit(lambda x: put(3, x))(1.0), {"x": [(3, 1)]}),
    "without jit": (lambda put: put(3, 1.0), {"x": [(3, 1)]}),
    "scan": (
        lambda put: jax.jit(lambda x: scan(lambda c, i: put(i, c) + 1, x, 3))(0.0),
        {"x": [(0, 0), (1, 1), (2, 2)]},
    ),
    "vmap": (lambda put: jax.vmap(lambda x: put(3, x))(jnp.arange(2.0)), {"x": [(3, 0)], "x#1": [(3, 1)]}),
    "vmap of steps": (
        lambda put: jax.jit(jax.vmap(put))(jnp.arange(2), jnp.arange(2.0)),
        {"x": [(0, 0)], "x#1": [(1, 1)]},
    ),
    "vmap of vmap": (
        lambda put: jax.vmap(jax.vmap(lambda x: put(3, x)))(jnp.arange(4.0).reshape(2, 2)),
        {"x": [(3, 0)], "x#1": [(3, 1)], "x#2": [(3, 2)], "x#3": [(3, 3)]},
    ),
    "vmap of a vector": (
        lambda put: jax.vmap(lambda x: put(3, x))(jnp.arange(4.0).reshape(2, 2)),
        {"x": [(3, 0)], "x#1": [(3, 1)], "x#2": [(3, 2)], "x#3": [(3, 3)]},
    ),
    "grad": (lambda put: jax.jit(jax.grad(lambda x: put(3, x) ** 2))(1.0), {"x": [(3, 1)]}),
    "remat": (
        lambda put: jax.jit(jax.grad(lambda x: jnp.sin(jax.checkpoint(lambda y: jnp.sin(put(3, y)))(x))))(1.0),
        {"x": [(3, 1)]},
    ),
    "remat in scan": (
        lambda put: jax.jit(jax.grad(lambda x: scan(jax.checkpoint(lambda c, i: put(i, c) * 2.0), x, 3)))(1.0),
        {"x": [(0, 1), (1, 2), (2, 4)]},
    ),
    "scan in vmap": (
        lambda put: jax.jit(jax.vmap(lambda x: scan(lambda c, i: put(i, c) + 1, x, 2)))(jnp.array([0.0, 5.0])),
        {"x": [(0, 0), (1, 1)], "x#1": [(0, 5), (1, 6)]},
    ),
    "while": (
        lambda put: jax.jit(lambda: jax.lax.while_loop(lambda c: c < 2, lambda c: put(c.astype(int), c) + 1, 0.0))(),
        {"x": [(0, 0), (1, 1)]},
    ),
    "cond": (
        lambda put: jax.jit(lambda x: jax.lax.cond(x > 0, lambda: put(1, x), lambda: put(2, x)))(5.0),
        {"x": [(1, 5)]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_callback_logs_from_inside(case: str, make: Any, stored: Stored) -> None:
    """Whatever the transformation, each value is there once, under its step, an index for each element of a batch."""
    callback = make()
    program, expected = CASES[case]

    def put(step: Any, x: Any) -> Any:
        log_in_jit(callback, step, {"x": x}, epoch=1)
        return x

    run(program, put)
    callback.flush(10)
    found = stored()
    assert points(found) == expected
    assert {epoch for columns in found.values() for epoch in columns["epoch"]} == {1.0}


def test_rows_that_jax_repeats_are_stored_once(make: Any, stored: Stored) -> None:
    """JAX may run a callback again; a row of equal step, epoch and values is the same row."""
    callback = make()

    @jax.jit
    def step(i: jax.Array, x: jax.Array) -> None:
        log_in_jit(callback, i, {"x": x})

    for i, x in ((0, 1.0), (1, 1.0), (1, 1.0), (0, 1.0), (1, 2.0)):
        step(i, x)
    callback.flush(10)
    assert points(stored()) == {"x": [(0, 1), (1, 1), (1, 2)]}


def test_repetition_is_noticed_within_bounds(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of rows is bounded."""
    from streamvis_flax import in_jit

    monkeypatch.setattr(in_jit, "REMEMBERED", 3)
    receiver = in_jit._Receiver(make(), {})
    assert [receiver._is_new(row) for row in (b"a", b"b", b"c", b"a", b"d", b"a")] == [True] * 3 + [False, True, True]
    assert len(receiver._seen) == 3


def test_a_callback_that_has_ended_is_said_once(make: Any, stored: Stored, said: Said) -> None:
    """A compiled function outlives its logger without harm."""
    callback = make()
    step = jax.jit(lambda i: log_in_jit(callback, i, {"x": i}))
    step(0)
    callback.stop()
    for i in range(1, 3):
        step(i)
    jax.effects_barrier()
    assert points(stored()) == {"x": [(0, 0)]}
    assert len(said()) == 1
