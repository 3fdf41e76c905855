"""Proof mode: every way of waiting for a device fails at its line, in the thread that is watched; nothing else does."""
# ruff: noqa: PLW0108 - functions are looked up inside the block, where they are patched

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import streamvis
from streamvis.errors import SyncError
from streamvis.server.run import serving

NUMBERS: dict[str, Callable[[Any], Any]] = {
    "float(x)": float,
    "int(x)": int,
    "complex(x)": complex,
    "bool(x)": bool,
    "if x:": lambda x: 1 if x else 2,
    "np.asarray(x)": lambda x: np.asarray(x),
    "np.array(x)": lambda x: np.array(x),
    "np.array([x, x])": lambda x: np.array([x, x]),
    "f'{x:.2f}'": lambda x: f"{x:.2f}",
    "repr(x)": repr,
}
TORCH_WAITS: dict[str, Callable[[torch.Tensor], Any]] = {
    **NUMBERS,
    "x.item()": lambda x: x.item(),
    "x.cpu()": lambda x: x.cpu(),
    "x.to('cpu')": lambda x: x.to("cpu"),
    "x.to(torch.device('cpu'))": lambda x: x.to(torch.device("cpu")),
    "x.to(device='cpu')": lambda x: x.to(device="cpu"),
    "x.to(other)": lambda x: x.to(torch.zeros(())),
    "x.numpy()": lambda x: x.numpy(),
    "x.tolist()": lambda x: x.tolist(),
    "range index": lambda x: [1, 2, 3][x.int()],
    "np.float32(x)": lambda x: np.float32(x),
    "x > 0 and ...": lambda x: x > 0 and 1,
    "1 in x": lambda x: 1 in x.reshape(1),
    "torch.equal": lambda x: torch.equal(x, x),
    "torch.allclose": lambda x: torch.allclose(x, x),
    "x.nonzero()": lambda x: x.nonzero(),
    "torch.nonzero(x)": lambda x: torch.nonzero(x),
    "x[mask]": lambda x: x.reshape(1)[x.reshape(1) > 0],
    "x[:, mask]": lambda x: x.reshape(1, 1)[:, x.reshape(1) > 0],
    "torch.where(condition)": lambda x: torch.where(x > 0),
    "x.masked_select": lambda x: x.masked_select(x > 0),
    "torch.unique": lambda x: torch.unique(x),
    "torch.cuda.synchronize()": lambda _: torch.cuda.synchronize(),
    "a parameter's item": lambda x: torch.nn.Parameter(x).item(),
}
JAX_WAITS: dict[str, Callable[[jax.Array], Any]] = {
    **NUMBERS,
    "x.item()": lambda x: x.item(),
    "x.tolist()": lambda x: x.tolist(),
    "index": lambda x: [1, 2, 3][x.astype(int)],
    "np.asarray({...})": lambda x: np.asarray({"x": x}),
    "x.block_until_ready()": lambda x: x.block_until_ready(),
    "jax.block_until_ready": lambda x: jax.block_until_ready({"x": [x]}),
    "np.stack": lambda x: np.stack([x, x]),
    "np.concatenate": lambda x: np.concatenate([x.reshape(1), x.reshape(1)]),
    "jax.device_get": lambda x: jax.device_get((x, 1)),
}


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # torch's, for np.array(x)
@pytest.mark.parametrize("way", TORCH_WAITS)
def test_waiting_for_a_tensor_fails_at_its_line(way: str) -> None:
    """In the block; before and after it the same works."""
    x, wait = torch.tensor(1.0), TORCH_WAITS[way]
    with streamvis.assert_no_sync(), pytest.raises(SyncError, match="waits for the device") as caught:
        wait(x)
    assert isinstance(caught.value, AssertionError)
    if "cuda" not in way:
        wait(x)


@pytest.mark.parametrize("way", JAX_WAITS)
def test_waiting_for_a_jax_array_fails_at_its_line(way: str) -> None:
    """In the block; before and after it the same works."""
    x, wait = jnp.float32(1), JAX_WAITS[way]
    with streamvis.assert_no_sync(), pytest.raises(SyncError, match="waits for the device"):
        wait(x)
    wait(x)


def test_everything_is_put_back() -> None:
    """Also after a failure, and when blocks are nested."""
    before = [dict(vars(owner)) for owner in (torch.Tensor, torch, torch.cuda, type(jnp.ones(())), np)]
    with streamvis.assert_no_sync(), streamvis.assert_no_sync():
        torch.ones(2) * 2
    with pytest.raises(SyncError), streamvis.assert_no_sync():
        torch.ones(()).item()
    after = [dict(vars(owner)) for owner in (torch.Tensor, torch, torch.cuda, type(jnp.ones(())), np)]
    assert before == after


def test_what_waits_for_nothing_passes() -> None:
    """Arithmetic, conversions on the device, numpy's own arrays, and Adam, whose counters are on the host."""
    layer = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(layer.parameters())
    step = jax.jit(lambda x: x * 2)
    with streamvis.assert_no_sync():
        for _ in range(3):
            loss = layer(torch.ones(4, 3)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.to(torch.float64).detach().clone()
            torch.where(loss > 0, loss, 0.0)
            torch.ones(4)[torch.tensor([1, 2])]
            torch.ones(4)[1:, None]
            loss.to("cpu", non_blocking=True)
        step(jnp.ones(3)).astype(jnp.int32).sum()
        assert np.asarray([1, 2]).sum() == np.array(3)
        assert float(np.float32(1)) == 1


def test_a_closure_of_an_optimizer_may_not_wait() -> None:
    """Only the optimizer's own counters are let through."""
    layer = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(layer.parameters())

    def closure() -> float:
        loss = layer(torch.ones(4, 3)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    with streamvis.assert_no_sync(), pytest.raises(SyncError):
        optimizer.step(closure)
    with streamvis.assert_no_sync(), pytest.raises(SyncError):
        torch.ones(()).item()


def test_other_threads_may_wait() -> None:
    """A logger's own thread reads what it flushes; a data loader's does as it likes."""
    found = []
    with streamvis.assert_no_sync():
        thread = threading.Thread(target=lambda: found.append((torch.ones(()).item(), float(jnp.ones(())))))
        thread.start()
        thread.join()
    assert found == [(1.0, 1.0)]


def test_logging_device_arrays_never_waits(tmp_path: Path) -> None:
    """The first write and the thousandth, scalars and clouds, while flushes run; and the values arrive."""
    with serving() as server, streamvis.DataLogger("run", server.uri, spool_dir=tmp_path, flush_every=0.01) as logger:
        tensor, array = torch.zeros(3000), jnp.zeros(3000)
        with streamvis.assert_no_sync():
            for step in range(200):
                tensor.add_(1)
                array = array + 1
                logger.write("scalars", step=step, loss=tensor[0], other=array[0])
                logger.write("cloud", x=tensor, y=array, t=step)
        logger.flush(30)
        found = streamvis.script.fetch(server.uri, "run")
    assert found["run", "scalars", 0]["loss"].tolist() == found["run", "scalars", 0]["other"].tolist()
    assert found["run", "scalars", 0]["loss"].tolist() == list(range(1, 201))
    assert found["run", "cloud", 0]["x"].tolist() == np.repeat(np.arange(1.0, 201), 3000).tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device: torch's own guard is not tried")
def test_on_a_gpu_its_tensors_count_and_torch_guards_them() -> None:
    """Tensors on the host may be read; what no patch knows is caught by set_sync_debug_mode."""
    x = torch.ones(3, device="cuda")
    with streamvis.assert_no_sync():
        torch.ones(()).item()
        with pytest.raises(SyncError):
            x.sum().item()
        with pytest.raises(RuntimeError, match="synchronizing"):
            x[x > 0]
    assert torch.cuda.get_sync_debug_mode() == 0
