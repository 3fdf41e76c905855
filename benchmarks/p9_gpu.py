"""P9: what a write of device arrays costs beside a bare copy, and whether every value of long runs is the right one.

One command for a machine with a GPU; on one without, the rows that need none run on the host, and the others are named.
Each run of STEPS steps writes while flushes move what was written, changes the arrays at once in one of the ways in
which training does, and compares every stored value with the one that was there when `write` returned.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from _harness import REPEATS, Server, check_series, data_server, logger_options, show

from streamvis import Client, DataLogger, assert_no_sync
from streamvis.errors import DtypeError

STEPS = 10_000
METRICS = 8
WARM_UP, CALLS = 200, 400  # too few writes for an early flush
BATCH, LAST_BATCH, BATCHES = 256, 37, 100
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"

Expected = dict[str, dict[str, np.ndarray]]
"""By name the columns that have to be stored."""

Write = Callable[..., None]


@dataclass
class Compilations:
    """What JAX has compiled so far."""

    count: int = field(default=0)

    def __post_init__(self) -> None:
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, _: float, **__: Any) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


def main() -> None:
    """Prints the cost of writes and of the runs, and what was not run."""
    gpu = torch.cuda.get_device_name() if CUDA else "no CUDA device"
    print(f"torch {torch.__version__} on {DEVICE} ({gpu}); jax {jax.__version__} on {jax.default_backend()}")
    compilations = Compilations()
    with data_server() as server:
        _show_writes(server, compilations)
        for name, run, needs_cuda in RUNS:
            if needs_cuda and not CUDA:
                print(f"P9 {name}: NOT RUN, there is no CUDA device here")
                continue
            _show_run(server, name, run)
    if jax.default_backend() == "cpu":
        print("P9 the rows of JAX ran in the host's memory: jax sees no accelerator here")


# ---- what a write costs


def _show_writes(server: Server, compilations: Compilations) -> None:
    tensors = {f"m{number}": torch.full((), number, device=DEVICE, dtype=torch.float32) for number in range(METRICS)}
    arrays = {name: jnp.float32(number) + 0 for number, name in enumerate(tensors)}
    stack = jax.jit(lambda *values: jnp.stack(values))
    for kind, values, bare in (("torch", tensors, torch.stack), ("jax", arrays, lambda values: stack(*values))):
        with DataLogger(f"{kind} writes", flush_every=60, **logger_options(server)) as logger:
            cost = _write_cost(logger, values, bare, compilations)
        peer = ("one copy of them", cost.bare)
        show(f"P9 write of {METRICS} {kind} scalars", cost.write, "µs", peer=peer, at_most=3, goal_is_ratio=True)
        show(f"P9 {METRICS} topics of a {kind} scalar each", cost.topics, "µs", peer=peer)
        show(f"P9 {kind} transfers per flush of two dtypes", cost.transfers, "", at_most=2)
        if kind == "jax":
            show("P9 compilations after warm-up", cost.compilations, "", at_most=0)


@dataclass(frozen=True)
class Cost:
    """Microseconds of a write of all scalars, of one each, and of a bare copy; and what flushes do."""

    write: float
    topics: float
    bare: float
    transfers: float
    compilations: int


def _write_cost(
    logger: DataLogger, values: dict[str, Any], bare: Callable[[tuple[Any, ...]], Any], compilations: Compilations
) -> Cost:
    names, floats = tuple(values), tuple(values.values())
    whole = {name: value.astype("int32") if hasattr(value, "astype") else value.int() for name, value in values.items()}

    def write(step: int) -> None:
        logger.write("floats", step=step, **values)

    def write_topics(step: int) -> None:
        for name, value in zip(names, logger.together(names, floats), strict=True):
            logger.write(name, step=step, x=value)

    def round_of(calls: int) -> tuple[float, float, float]:
        ours, copies = _per_call(write, calls), _per_call(lambda _: bare(floats), calls)
        logger.write("ints", step=0, **whole)
        logger.flush()
        topics = _per_call(write_topics, calls)
        logger.flush()
        return ours, topics, copies

    for _ in range(2):
        round_of(WARM_UP)
    compiled, before = compilations.count, logger.stats()["transfers"]
    times = [round_of(CALLS) for _ in range(REPEATS)]
    transfers = (logger.stats()["transfers"] - before) / REPEATS - 1  # the flush of the topics is one more
    return Cost(*map(statistics.median, zip(*times, strict=True)), transfers, compilations.count - compiled)


def _per_call(call: Callable[[int], object], calls: int) -> float:
    """Microseconds, of the host alone: what is enqueued on a device is not waited for."""
    start = time.perf_counter_ns()
    for step in range(calls):
        call(step)
    return (time.perf_counter_ns() - start) / calls / 1e3


# ---- long runs


def _show_run(server: Server, name: str, run: Callable[[Write], Expected]) -> None:
    bare = _timed(run, lambda *_, **__: None)[0]
    with DataLogger(name, flush_every=0.05, **logger_options(server)) as logger:
        seconds, expected = _timed(run, logger.write)
        logger.flush()
        flushes = logger.stats()["flushes"]
    with Client(server.uri) as client:
        found = client.fetch(name)
    assert {key[1] for key in found} == set(expected)
    for series, columns in expected.items():
        check_series(found[name, series, 0], columns)
    checked = sum(values.size for columns in expected.values() for values in columns.values())
    label = f"P9 {name}, {STEPS} steps"
    show(label, seconds / STEPS * 1e6, "µs", peer=("without a logger", bare / STEPS * 1e6))
    print(f"   {checked} values checked one by one, {flushes} flushes")


def _timed(run: Callable[[Write], Expected], write: Write) -> tuple[float, Expected]:
    start = time.perf_counter()
    expected = run(write)
    return time.perf_counter() - start, expected


def _in_place(write: Write) -> Expected:
    """A tensor that is changed by add_, through .data and by zero_grad after each write."""
    weight = torch.zeros(3, device=DEVICE, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    with assert_no_sync():
        for step in range(STEPS):
            weight.grad.add_(step)
            write("weight", step=step, x=weight[0])
            write("gradient", step=step, x=weight.grad[1])
            weight.data.add_(1)
            weight.grad.zero_()
    steps = np.arange(STEPS)
    return {name: {"step": steps, "x": steps.astype("f4")} for name in ("weight", "gradient")}


def _last_batch(write: Write) -> Expected:
    """The losses of each sample; the last batch of every epoch is smaller."""
    sizes = [LAST_BATCH if step % BATCHES == BATCHES - 1 else BATCH for step in range(STEPS)]
    losses = torch.zeros(BATCH, device=DEVICE)
    with assert_no_sync():
        for step, size in enumerate(sizes):
            losses.add_(1)
            write("losses", step=step, x=losses[:size])
    steps = np.repeat(np.arange(STEPS), sizes)
    return {"losses": {"step": steps, "x": (steps + 1).astype("f4")}}


def _two_streams(write: Write) -> Expected:
    """Two streams whose work takes long, each with a tensor of its own that the next step changes."""
    streams = [torch.cuda.Stream() for _ in range(2)]
    counters = [torch.zeros((), device=DEVICE) for _ in streams]
    work = [torch.ones(512, 512, device=DEVICE) for _ in streams]
    torch.cuda.synchronize()
    with assert_no_sync():
        for step in range(STEPS):
            for number, (stream, counter, matrix) in enumerate(zip(streams, counters, work, strict=True)):
                with torch.cuda.stream(stream):
                    matrix.copy_(matrix @ matrix / 512)
                    counter.add_(matrix[0, 0] / matrix[0, 0])
                    write(f"stream{number}", step=step, x=counter)
    return _counted("stream0", "stream1")


def _graph(write: Write) -> Expected:
    """The output of a CUDA graph, which each replay overwrites; a write inside the capture is refused."""
    counter = torch.zeros((), device=DEVICE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        counter.add_(1)
        with _refused():
            write("graph", step=-1, x=counter)
    counter.zero_()
    torch.cuda.synchronize()
    with assert_no_sync():
        for step in range(STEPS):
            graph.replay()
            write("graph", step=step, x=counter)
    return _counted("graph")


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except DtypeError as error:
        assert "captured" in str(error)  # noqa: PT017 - no test: a run without a logger refuses nothing


def _donated(write: Write) -> Expected:
    """The state of a jitted step that donates it, as scalar and as array."""
    learn = jax.jit(lambda scalar, array: (scalar + 1, array + 1), donate_argnums=(0, 1))
    scalar, array = jnp.float32(0) + 0, jnp.zeros(100)
    with assert_no_sync():
        for step in range(STEPS):
            write("scalar", step=step, x=scalar)
            write("array", step=step, x=array)
            scalar, array = learn(scalar, array)
    steps = np.arange(STEPS)
    return {
        "scalar": {"step": steps, "x": steps.astype("f4")},
        "array": {"step": np.repeat(steps, 100), "x": np.repeat(steps, 100).astype("f4")},
    }


def _jax_last_batch(write: Write) -> Expected:
    """As the one of torch, with donated losses."""
    learn = jax.jit(lambda losses: losses + 1, donate_argnums=0)
    whole, last = jnp.zeros(BATCH), jnp.zeros(LAST_BATCH)
    sizes = [LAST_BATCH if step % BATCHES == BATCHES - 1 else BATCH for step in range(STEPS)]
    values, seen = np.empty(STEPS, "f4"), {BATCH: 0, LAST_BATCH: 0}
    with assert_no_sync():
        for step, size in enumerate(sizes):
            seen[size] += 1
            values[step] = seen[size]
            if size == BATCH:
                whole = learn(whole)
                write("losses", step=step, x=whole)
            else:
                last = learn(last)
                write("losses", step=step, x=last)
    return {"losses": {"step": np.repeat(np.arange(STEPS), sizes), "x": np.repeat(values, sizes)}}


def _counted(*names: str) -> Expected:
    steps = np.arange(STEPS)
    return {name: {"step": steps, "x": (steps + 1).astype("f4")} for name in names}


RUNS: list[tuple[str, Callable[[Write], Expected], bool]] = [
    ("torch, in place", _in_place, False),
    ("torch, a smaller last batch", _last_batch, False),
    ("torch, two producer streams", _two_streams, True),
    ("torch, replays of a CUDA graph", _graph, True),
    ("jax, donated", _donated, False),
    ("jax, a smaller last batch", _jax_last_batch, False),
]


if __name__ == "__main__":
    main()
