"""Arrays of every kind keep the contract; and what each framework has of its own.

The CUDA rows run where there is a CUDA device; elsewhere pytest lists them as skipped, with that reason.
"""

from __future__ import annotations

import array as plain_arrays
import gc
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from streamvis.arrays import Adapters
from streamvis.buffer import Buffer
from streamvis.columns import Array
from streamvis.errors import DtypeError
from streamvis.testing import ArrayContract
from streamvis.testing.arrays import LARGE, taken

NUMBERS = {
    "float32": "f4",
    "float64": "f8",
    "float16": "f4",
    "int8": "i4",
    "int16": "i4",
    "int32": "i4",
    "int64": "i8",
    "uint8": "i4",
    "uint16": "i4",
    "uint32": "i8",
    "uint64": "i8",
    "bool": "?",
}


def stored(value: Any) -> Any:
    """What one write of that column becomes, as a list."""
    buffer = Buffer()
    buffer.add("a", 0, {"x": value})
    return taken(buffer)["a", 0]["x"].tolist()


def refusal(value: Any) -> str:
    """Why a write of that column is refused; the next write is stored."""
    buffer = Buffer()
    with pytest.raises(DtypeError) as caught:
        buffer.add("loss", 0, {"step": 1, "y": value})
    buffer.add("loss", 0, {"step": 2, "y": 0.5})
    assert taken(buffer)["loss", 0]["step"].tolist() == [2]
    message = str(caught.value)
    assert message.startswith("write('loss'): column 'y' ")
    return message


# ---- the host


class TestHost(ArrayContract):
    """Numpy's arrays."""

    dtypes = NUMBERS

    def array(self, values: Array, dtype: str) -> Any:
        return np.array(values).astype(dtype)

    def spoilers(self) -> Sequence[Callable[[Any], object]]:
        return [lambda array: array.fill(0), lambda array: np.subtract(array.view("i1"), 1, out=array.view("i1"))]

    def views(self, grid: Any) -> Sequence[tuple[Any, Array]]:
        return [*super().views(grid), (grid.T, np.arange(12).reshape(3, 4).T), (grid[1, :1].repeat(3), np.full(3, 4))]


class _Protocol:
    """No numpy array, but it shows its memory by one of numpy's protocols."""

    def __init__(self) -> None:
        self.values = np.arange(3.0)


class HasArray(_Protocol):
    """By `__array__`."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.values


class HasInterface(_Protocol):
    """By `__array_interface__`."""

    @property
    def __array_interface__(self) -> Any:
        return self.values.__array_interface__


class HasDlpack(_Protocol):
    """By DLPack."""

    device: ClassVar[tuple[int, int]] = (1, 0)

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.values.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class Elsewhere(HasDlpack):
    """By DLPack, in the memory of a device."""

    device = (2, 0)


class ElsewhereWithArray(Elsewhere, HasArray):
    """By `__array__`, which copies it from the memory of a device."""


@pytest.mark.parametrize("kind", [HasArray, HasInterface, HasDlpack])
def test_what_numpy_can_read_is_copied(kind: type[_Protocol]) -> None:
    """By `__array__`, `__array_interface__` or DLPack; its memory may be reused at once."""
    buffer, value = Buffer(), kind()
    buffer.add("a", 0, {"x": value})
    value.values[:] = 7
    assert taken(buffer)["a", 0]["x"].tolist() == [0, 1, 2]


def test_sequences_and_buffers_are_arrays() -> None:
    """Lists, tuples, ranges, array.array, memoryview."""
    for value in ([0.5, 1], (0.5, 1), plain_arrays.array("d", [0.5, 1]), memoryview(np.array([0.5, 1]))):
        assert stored(value) == [0.5, 1]
    assert stored(range(3)) == [0, 1, 2]


def test_memory_on_another_device_is_refused() -> None:
    """DLPack says where it is; nobody knows how to copy it without waiting."""
    assert "is not in the host's memory; copy it to the host yourself" in refusal(Elsewhere())


def test_a_copy_that_waits_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Arrays of unknown frameworks that numpy can read all the same are stored, with one notice."""
    assert stored(ElsewhereWithArray()) == stored(ElsewhereWithArray()) == [0, 1, 2]
    assert len([record for record in caplog.records if "waits for the device" in record.message]) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a", "is a builtins.str; expected a number"),
        (None, "is a builtins.NoneType"),
        (1j, "is a builtins.complex"),
        (np.array(["a"]), "has dtype <U1"),
        (np.array([None]), "has dtype object"),
        (np.datetime64("2026-01-01"), "has dtype datetime64"),
        (np.longdouble(1), "has dtype float128|has dtype longdouble"),
        ([[1], [1, 2]], "is a builtins.list of which numpy makes no array"),
        ([torch.ones(()), torch.ones(())], "is a list of torch arrays: write their stack"),
        ([[jnp.ones(())]], "is a list of jax arrays: write their stack"),
    ],
)
def test_other_values_are_refused(value: Any, message: str) -> None:
    """The message names the series, the column and what was found."""
    assert any(part in refusal(value) for part in message.split("|"))


def test_only_the_chosen_kind_is_admitted() -> None:
    """Beside numbers and numpy's arrays, which every logger takes."""
    buffer = Buffer(Adapters(only="jax"))
    buffer.add("a", 0, {"x": jnp.ones(()), "y": np.ones(1), "z": 1})
    with pytest.raises(DtypeError, match="column 'x' is a torch array, and this logger has tensor_type='jax'"):
        buffer.add("a", 0, {"x": torch.ones(()), "y": np.ones(1), "z": 1})
    with pytest.raises(DtypeError, match="tensor_type='numpy'"):
        Buffer(Adapters(only="numpy")).add("a", 0, {"x": torch.ones(())})


def test_frameworks_are_imported_when_their_first_array_is_seen() -> None:
    """Logging numbers and numpy arrays loads neither torch nor jax; logging one of them does not load the other."""
    program = """
import sys, numpy as np
from streamvis.buffer import Buffer
buffer = Buffer()
buffer.add("a", 0, {"x": np.zeros(5000), "y": 1.0})
buffer.drain()
assert not {"torch", "jax"} & set(sys.modules)
import torch
buffer.add("a", 0, {"x": torch.zeros(5000), "y": 1.0})
buffer.drain()
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# ---- torch


class TorchContract(ArrayContract):
    """Torch's tensors, on a device."""

    device: ClassVar[str]
    dtypes: ClassVar = {**NUMBERS, "bfloat16": "f4", "float8_e4m3fn": "f4", "float8_e5m2": "f4"}

    def array(self, values: Array, dtype: str) -> Any:
        kind = getattr(torch, dtype)
        values = np.array(values)
        return torch.from_numpy(values.astype("f8" if kind.is_floating_point else "i8")).to(self.device, kind)

    def spoilers(self) -> Sequence[Callable[[Any], object]]:
        return [lambda tensor: tensor.zero_(), _write_data, lambda tensor: tensor.set_(), _reuse]

    def views(self, grid: Any) -> Sequence[tuple[Any, Array]]:
        return [
            *super().views(grid),
            (grid.t(), np.arange(12).reshape(3, 4).T),
            (grid[:, :1].expand(3, 5), np.repeat([[0], [4], [8]], 5, axis=1)),
            (grid[1, 1].expand(3), np.full(3, 5)),
        ]


class TestTorch(TorchContract):
    """On the host, where the same code runs as on a GPU, but for streams and pinned memory."""

    device = "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device: the CUDA rows are not run")
class TestTorchCuda(TorchContract):
    """On a GPU; benchmarks/p9_gpu.py tries harder."""

    device = "cuda"


def _write_data(tensor: torch.Tensor) -> None:
    tensor.data[:] = torch.zeros_like(tensor)


def _reuse(tensor: torch.Tensor) -> None:
    """Lets go of the memory, and asks the allocator for as much again."""
    like = torch.zeros_like(tensor)
    tensor.set_()
    del like


def test_training_in_place_does_not_change_what_was_written() -> None:
    """Parameters and gradients at the call, through optimizer steps and gradients that are zeroed in place."""
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    buffer, expected = Buffer(), list[Any]()
    for step in range(5):
        loss = layer(torch.ones(3, 2)).pow(2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        buffer.add("train", 0, {"step": step, "loss": loss, "bias": layer.bias[0], "grad": layer.bias.grad})
        expected.append((loss.item(), layer.bias[0].item(), layer.bias.grad[0].item()))  # type: ignore[index]
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            loss.zero_()
    found = taken(buffer)["train", 0]
    assert list(zip(found["loss"].tolist(), found["bias"].tolist(), found["grad"].tolist(), strict=True)) == expected
    assert len(set(expected)) == 5


def test_the_graph_is_not_kept() -> None:
    """What the loss was computed from is freed as soon as the program lets it go."""
    buffer = Buffer()
    activations = torch.ones(10, requires_grad=True) * 2
    freed = weakref.ref(activations)
    loss = (activations * activations).sum()
    buffer.add("a", 0, {"x": loss, "y": loss})
    buffer.add("a", 0, {"x": loss.expand(LARGE), "y": loss})
    del activations, loss
    gc.collect()
    assert freed() is None
    assert taken(buffer)["a", 0]["x"].tolist() == [40] * (LARGE + 1)


def test_tensors_of_every_mode_and_class_of_torch_are_taken() -> None:
    """Inference tensors, parameters, buffers, leaves that require gradients, under no_grad and inference mode."""
    with torch.inference_mode():
        inference = torch.ones(())
        assert stored(inference) == [1]
    assert stored(inference) == [1]
    assert stored(torch.nn.Parameter(torch.ones(()))) == [1]
    assert stored(torch.nn.Buffer(torch.ones(2))) == [1, 1]
    assert stored(torch.ones(2, requires_grad=True)) == [1, 1]
    assert stored(torch.tensor([1 + 2j, 3 - 4j]).conj().imag) == [-2, 4]
    assert stored(torch.tensor([1 + 2j, 3 - 4j]).conj().imag[1]) == [4]
    with torch.no_grad():
        assert stored(torch.ones(2, requires_grad=True)) == [1, 1]


def test_large_and_small_numbers_of_torch_are_exact() -> None:
    """Nothing passes through float32, also when ints and floats are written together."""
    buffer = Buffer()
    for _ in range(3):
        buffer.add(
            "a",
            0,
            {"big": torch.tensor(2**62 + 1), "half": torch.tensor(0.1, dtype=torch.float64), "f": torch.tensor(0.1)},
        )
    found = taken(buffer)["a", 0]
    assert found["big"].tolist() == [2**62 + 1] * 3
    assert found["half"].tolist() == [0.1] * 3
    assert found["f"].tolist() == [float(np.float32(0.1))] * 3


@pytest.mark.filterwarnings("ignore")  # torch deprecates quantisation and calls nested tensors a prototype
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(2, 2).to_sparse(), r"is a sparse tensor \(torch.sparse_coo\): write x.to_dense\(\)"),
        (lambda: torch.ones(2, 2).to_sparse_csr(), "is a sparse tensor"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), r"is a quantized.*x.dequantize\(\)"),
        (lambda: torch.ones(2, device="meta"), "is a tensor without data"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "is a nested tensor"),
        (lambda: torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged), "is a nested tensor"),
        (lambda: torch.ones(2, dtype=torch.complex64), r"is complex \(torch.complex64\): write x.real and x.imag"),
        (lambda: torch.empty(2, dtype=torch.bits8), "has dtype torch.bits8, which cannot be stored"),
    ],
)
def test_tensors_without_plain_numbers_are_refused(make: Callable[[], torch.Tensor], message: str) -> None:
    """Each with what it is and what to do."""
    assert re.search(message, refusal(make()))


def test_fake_tensors_are_refused() -> None:
    """What torch.export and torch.compile trace with has no data."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(2)
    assert "is a tensor without data" in refusal(fake)


def test_tensors_inside_transforms_are_refused() -> None:
    """Under vmap one tensor stands for many, under grad for a trace; also when the name was written outside before."""
    buffer = Buffer()
    buffer.add("a", 0, {"x": torch.ones(()), "y": torch.ones(())})

    def write(x: torch.Tensor) -> torch.Tensor:
        buffer.puts["a"]({"x": x, "y": x})
        buffer.add("a", 0, {"x": x, "y": x})
        return x.sum()

    for transform in (torch.func.vmap, torch.func.grad):
        with pytest.raises(DtypeError, match="is inside torch"):
            transform(write)(torch.ones(3) if transform is torch.func.vmap else torch.ones(()))
    assert taken(buffer)["a", 0]["x"].tolist() == [1]


def test_distributed_tensors_are_refused(tmp_path: Any) -> None:
    """Never a collective: one process alone would wait for ever."""
    from torch.distributed.tensor import DTensor, Replicate, init_device_mesh

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        assert "write x.to_local()" in refusal(DTensor.from_local(torch.ones(2), mesh, [Replicate()]))
    finally:
        torch.distributed.destroy_process_group()


def test_subclasses_that_hold_other_tensors_are_refused() -> None:
    """Their data is not where a tensor's is."""
    from torch.testing._internal.two_tensor import TwoTensor

    assert "a tensor of another kind inside" in refusal(TwoTensor(torch.ones(2), torch.ones(2)))


def test_an_unsigned_number_that_does_not_fit_is_lost_alone_and_named() -> None:
    """Its size is known at the flush only: nobody waits for it at the call."""
    buffer = Buffer()
    for value in (1, 2**63, 3):
        buffer.add("a", 0, {"x": torch.tensor(value, dtype=torch.uint64)})
    drained = buffer.drain()
    assert drained.blocks[0].columns["x"].tolist() == [[1, 3]]
    ((points, reason),) = drained.unreadable.values()
    assert (points, reason) == (
        1,
        "DtypeError: column 'x' holds 9223372036854775808, which does not fit int64: write it as a float",
    )


# ---- jax


class TestJax(ArrayContract):
    """JAX's arrays on the host, with 32 bits as by default."""

    dtypes: ClassVar = {
        "float32": "f4",
        "float16": "f4",
        "bfloat16": "f4",
        "float8_e4m3fn": "f4",
        "int4": "i4",
        "int8": "i4",
        "int16": "i4",
        "int32": "i4",
        "uint8": "i4",
        "uint16": "i4",
        "uint32": "i8",
        "bool": "?",
    }

    def array(self, values: Array, dtype: str) -> Any:
        return jnp.asarray(np.array(values)).astype(getattr(jnp, dtype))

    def spoilers(self) -> Sequence[Callable[[Any], object]]:
        return [lambda array: array.delete(), _donate, _donate_in_steps]

    def views(self, grid: Any) -> Sequence[tuple[Any, Array]]:
        if grid.dtype == jnp.int4:
            return []  # which has no 11
        return [*super().views(grid), (grid.T, np.arange(12).reshape(3, 4).T), (grid[1, 1].repeat(3), np.full(3, 5))]


class TestJax64(TestJax):
    """With 64 bits, which a program may have switched on just where it made the arrays."""

    dtypes: ClassVar = {"float64": "f8", "int64": "i8", "uint64": "i8", "float32": "f4"}
    number = "float64"

    def array(self, values: Array, dtype: str) -> Any:
        with jax.enable_x64(True):
            return super().array(values, dtype)

    def spoilers(self) -> Sequence[Callable[[Any], object]]:
        return [jax.enable_x64(True)(spoil) for spoil in super().spoilers()]


_clear = jax.jit(lambda array: (array * 0).astype(array.dtype), donate_argnums=0)


def _donate(array: jax.Array) -> None:
    jax.block_until_ready(_clear(array))
    assert array.is_deleted()


def _donate_in_steps(array: jax.Array) -> None:
    for _ in range(3):
        array = _clear(array)
    array.delete()


@pytest.mark.parametrize("size", [1, 8, 512, 100_000])
def test_an_array_that_is_donated_after_each_write_is_stored_as_it_was(size: int) -> None:
    """The training state, step by step, though each step reuses its memory; also of sizes that need no padding."""
    step = jax.jit(lambda state: state + 1, donate_argnums=0)
    buffer, state = Buffer(), jnp.zeros(size)
    for number in range(4):
        buffer.add("a", 0, {"step": number, "x": state})
        state = step(state)
    assert taken(buffer)["a", 0]["x"].tolist() == np.repeat([0.0, 1, 2, 3], size).tolist()


def test_a_traced_value_is_refused_with_the_three_ways_to_log_it() -> None:
    """In jit, grad, vmap and scan; a constant written while JAX traces is refused as well."""
    buffer, constant = Buffer(), jnp.ones(())
    buffer.add("a", 0, {"x": constant})

    def write(x: jax.Array) -> jax.Array:
        buffer.add("a", 0, {"x": x})
        return x

    def write_constant(x: jax.Array) -> jax.Array:
        buffer.puts["a"]({"x": constant})
        buffer.add("a", 0, {"x": constant})
        return x

    def scan(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda carry, _: (carry, write(carry)), x, None, 3)[0]

    for transformed in (jax.jit(write), jax.grad(write), scan, jax.jit(write_constant)):
        with pytest.raises(DtypeError, match=r"return it from the jitted.*lax\.scan.*streamvis_flax\.log_in_jit"):
            transformed(jnp.ones(()))
    with pytest.raises(DtypeError, match="is traced by JAX"):
        jax.vmap(write)(jnp.ones(3))
    assert taken(buffer)["a", 0]["x"].tolist() == [1]


def test_arrays_without_numbers_are_refused() -> None:
    """Random keys, complex numbers, and what has been donated before the write."""
    assert "write jax.random.key_data(x)" in refusal(jax.random.key(0))
    assert "write x.real and x.imag" in refusal(jnp.ones(2, jnp.complex64))
    gone = jnp.ones(3)
    _donate(gone)
    assert "has been deleted or donated: write it before" in refusal(gone)


def test_an_array_that_was_deleted_is_refused_by_a_name_that_was_written_before() -> None:
    """The quick way of a write says the same as the first."""
    buffer, gone = Buffer(), jnp.ones(())
    for _ in range(3):
        buffer.add("a", 0, {"x": jnp.ones(())})
    gone.delete()
    with pytest.raises(DtypeError, match="deleted"):
        buffer.puts["a"]({"x": gone})
    with pytest.raises(DtypeError, match=r"write\('a'\): column 'x' has been deleted or donated"):
        buffer.add("a", 0, {"x": gone})
    assert taken(buffer)["a", 0]["x"].tolist() == [1] * 3


def test_a_traced_value_among_others_is_refused_by_its_own_write() -> None:
    """What could be copied with others is left as it is, and the message names the series."""
    buffer, names = Buffer(), ("a", "b")
    values = [jnp.ones(()), jnp.ones(())]
    buffer.together(names, values)

    def write(x: jax.Array) -> jax.Array:
        for name, value in zip(names, buffer.together(names, [x, values[1]]), strict=True):
            buffer.add(name, 0, {"x": value})
        return x

    with pytest.raises(DtypeError, match=r"write\('a'\): column 'x' is traced by JAX"):
        jax.jit(write)(jnp.ones(()))
    values[0].delete()
    a, b = buffer.together(names, values)
    with pytest.raises(DtypeError, match=r"write\('a'\): column 'x' has been deleted"):
        buffer.add("a", 0, {"x": a})
    buffer.add("b", 0, {"x": b})
    assert {name: columns["x"].tolist() for (name, _), columns in taken(buffer).items()} == {"b": [1]}


def test_a_failed_computation_costs_its_own_points_alone() -> None:
    """JAX reports what a callback raised when the result is read, which is at the flush. It spoils its process."""
    program = """
import jax, jax.numpy as jnp
from streamvis.buffer import Buffer

def fail(_):
    raise OSError("no disk")

slow = jax.jit(lambda a: (a @ a @ a).sum())
failing = jax.jit(lambda x: jax.pure_callback(fail, jax.ShapeDtypeStruct((), jnp.float32), x))
failing.lower(jax.block_until_ready(slow(jnp.ones((1500, 1500))))).compile()

def failed():
    while True:
        try:
            return failing(slow(jnp.ones((1500, 1500))))
        except jax.errors.JaxRuntimeError:
            continue  # the slow one was done already, so that jax failed at the call

buffer = Buffer()
for step in range(5):
    x = jnp.float32(step)
    buffer.add("a", 0, {"step": step, "x": failed() if step == 2 else x})
    buffer.add("b", 0, {"x": x})
drained = buffer.drain()
assert [block.columns["x"].tolist() for block in drained.blocks] == [[[0, 1, 3, 4]], [[0, 1, 2, 3, 4]]]
((points, reason),) = drained.unreadable.values()
assert points == 1 and reason.startswith("JaxRuntimeError: "), reason
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=100, capture_output=True)


def test_searching_for_nans_does_not_stop_the_logging_of_one() -> None:
    """With jax_debug_nans, which makes every other jitted function raise."""
    nan = jnp.float32(np.nan)
    with jax.debug_nans(True):
        assert np.isnan(stored(nan)).all()


def test_without_jit_the_same_is_stored() -> None:
    """jax.disable_jit, for those who look for a mistake."""
    with jax.disable_jit():
        assert stored(jnp.arange(3.0)) == [0, 1, 2]
        assert stored(jnp.float32(2)) == [2]


class _Compilations:
    """Counts what JAX compiles."""

    def __init__(self) -> None:
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, _: float, **__: Any) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


_compilations = _Compilations()


def test_nothing_is_compiled_after_the_first_writes_and_flushes() -> None:
    """Whatever the number of writes between two flushes, and whatever shapes come once."""
    buffer = Buffer()
    values = [jnp.float32(step) * 2 for step in range(8)]
    names = tuple(f"metric{place}" for place in range(8))
    ragged = [jnp.asarray(np.zeros(size, np.float32)) for size in range(2000, 2030)]

    def write(count: int) -> None:
        for step in range(count):
            buffer.add("train", 0, {"step": step, **{f"m{place}": value for place, value in enumerate(values)}})
            buffer.add("cloud", 0, {"x": ragged[0], "y": ragged[0]})
            for name, value in zip(names, buffer.together(names, values), strict=True):
                buffer.add(name, 0, {"step": step, "x": value})
        buffer.drain()

    for count in (1, 2, 65):
        write(count)
    before = _compilations.count
    assert before
    for count in (1, 3, 64, 66, 129):
        write(count)
    for array in ragged:
        buffer.add("ragged", 0, {"x": array})
    buffer.drain()
    assert _compilations.count == before


def test_arrays_on_several_devices() -> None:
    """Replicated and sharded arrays, and single ones on either device, on two devices of one process."""
    program = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from streamvis.buffer import Buffer
from streamvis.testing.arrays import taken
devices = jax.devices()
assert len(devices) == 2
mesh = Mesh(np.array(devices), ("d",))
step = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
buffer = Buffer()
for number in range(3):
    replicated = jax.device_put(jnp.float32(number), NamedSharding(mesh, P()))
    sharded = jax.device_put(jnp.arange(4.0) + number, NamedSharding(mesh, P("d")))
    grid = jax.device_put(jnp.arange(8.0).reshape(2, 4) + number, NamedSharding(mesh, P("d", None)))
    one, other = (jax.device_put(jnp.float32(number), device) for device in devices)
    buffer.add("scalars", 0, {"x": replicated, "y": one, "z": other, "step": number})
    buffer.add("sharded", 0, {"x": sharded, "y": replicated, "z": jax.device_put(jnp.arange(4.0), devices[1])})
    buffer.add("grid", 0, {"x": grid, "y": sharded})
    for array in (replicated, sharded, grid, one, other):
        step(array)
found = taken(buffer)
assert {name: values.tolist() for name, values in found["scalars", 0].items()} == {
    name: [0, 1, 2] for name in ("step", "x", "y", "z")
}
assert found["sharded", 0]["x"].tolist() == [0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5]
assert found["sharded", 0]["y"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
assert found["grid", 1]["x"].tolist() == [4, 5, 6, 7, 5, 6, 7, 8, 6, 7, 8, 9]
"""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=100, env=environment)


def test_a_device_whose_streams_nobody_knows_is_copied_by_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on MPS without events, or XLA: the values are right all the same, and it is said once."""
    monkeypatch.setattr("streamvis.arrays.torch.lane_for", lambda _: None)
    buffer = Buffer()
    for step in range(5):
        tensor = torch.full((3,), float(step))
        buffer.add("a", 0, {"x": tensor, "y": tensor})
        tensor.zero_()
    assert taken(buffer)["a", 0]["x"].tolist() == np.repeat(np.arange(5.0), 3).tolist()
    assert [record.getMessage() for record in caplog.records if "write waits for" in record.getMessage()] == [
        "write waits for a device of type 'cpu', whose streams it does not know; said once"
    ]


def test_a_jax_array_that_is_spread_over_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to write instead: to gather it, every process would have to take part."""
    spread = jnp.ones(4)
    monkeypatch.setattr(type(spread), "is_fully_addressable", property(lambda _: False))
    monkeypatch.setattr(type(spread), "is_fully_replicated", property(lambda _: False))
    with pytest.raises(DtypeError, match=r"write\('a'\): column 'x' is spread over processes.*process_allgather"):
        Buffer().add("a", 0, {"x": spread})
