"""Torch tensors: copied in the order of the caller's stream, moved together on a stream of our own."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor  # there is no public name for it

from streamvis.arrays import Form
from streamvis.arrays.lanes import Lane, QueuedLane, lane_for
from streamvis.columns import Array
from streamvis.errors import DtypeError

_COLUMNS = {
    torch.float16: "<f4",
    torch.bfloat16: "<f4",
    torch.float8_e4m3fn: "<f4",
    torch.float8_e5m2: "<f4",
    torch.float32: "<f4",
    torch.float64: "<f8",
    torch.int8: "<i4",
    torch.int16: "<i4",
    torch.int32: "<i4",
    torch.int64: "<i8",
    torch.uint8: "<i4",
    torch.uint16: "<i4",
    torch.uint32: "<i8",
    torch.uint64: "<i8",
    torch.bool: "|b1",
}
_UNKNOWN_TO_NUMPY = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)

_log = logging.getLogger("streamvis")


class Adapter:
    """Tensors of any device and stream. A snapshot is a flat tensor on the device."""

    name = "torch"

    def __init__(self) -> None:
        self.transfers = 0
        self._lanes: dict[torch.device, Lane | None] = {}

    def accepts(self, kind: type) -> bool:
        """Whether it is a kind of tensor."""
        return issubclass(kind, torch.Tensor)

    def describe(self, value: torch.Tensor) -> Form:
        """See ArrayAdapter."""
        refusal = _refusal(value)
        if refusal:
            raise DtypeError(refusal)
        device, dtype = value.device, value.dtype
        on_host = device.type == "cpu" or self._lane(device) is None
        nbytes = value.numel() * dtype.itemsize
        return Form(tuple(value.shape), np.dtype(_COLUMNS[dtype]), (device, dtype), nbytes, on_host)

    def copier(self, forms: Sequence[Form]) -> Callable[[Sequence[torch.Tensor]], torch.Tensor | None]:
        """See ArrayAdapter. One kernel, whatever the number of values."""
        device, dtype = cast("tuple[torch.device, torch.dtype]", forms[0].place)
        lane = self._lane(device)
        shapes = [form.shape for form in forms]
        numbers = not any(shapes)  # then stacking compares the shapes
        flatten = _flatten_numbers if numbers else _flatten
        size = torch.Size([sum(map(math.prod, shapes))])

        def copy(values: Sequence[torch.Tensor]) -> torch.Tensor | None:
            for value in values:
                if value.dtype is not dtype:
                    return None
            if not numbers and [value.shape for value in values] != shapes:
                return None
            try:
                if lane is None:
                    return flatten([_waiting(value) for value in values])
                lane.check()
                flat = flatten(values)
            except (RuntimeError, TypeError) as error:
                raise DtypeError(f"cannot be copied: {error}") from error
            if flat.shape != size or flat.device != device or flat.layout is not torch.strided:
                return None
            if is_functorch_wrapped_tensor(flat):
                return None
            lane.enqueued()
            return flat

        return copy

    def transfer(self, runs: Sequence[Sequence[torch.Tensor]]) -> list[Array]:
        """See ArrayAdapter. One copy per device and dtype, and one for each large snapshot."""
        moved: dict[int, Array] = {}
        for device in dict.fromkeys(run[0].device for run in runs):
            groups: dict[torch.dtype, list[int]] = {}
            for place, run in enumerate(runs):
                if run[0].device == device:
                    groups.setdefault(run[0].dtype, []).append(place)
            lane = self._lane(device) or QueuedLane()
            flats, copies = lane.move([[it for place in places for it in runs[place]] for places in groups.values()])
            self.transfers += copies
            for flat, places in zip(flats, groups.values(), strict=True):
                moved.update(_cut(flat, places, runs))
        return [moved[place] for place in range(len(runs))]

    def _lane(self, device: torch.device) -> Lane | None:
        try:
            return self._lanes[device]
        except KeyError:
            return self._lanes.setdefault(device, lane_for(device))


def _cut(
    flat: torch.Tensor, places: Sequence[int], runs: Sequence[Sequence[torch.Tensor]]
) -> Iterator[tuple[int, Array]]:
    """The runs of these places, out of the one array in which they arrived."""
    array = (flat.float() if flat.dtype in _UNKNOWN_TO_NUMPY else flat).numpy()
    start = 0
    for place in places:
        count, size = len(runs[place]), runs[place][0].numel()
        yield place, array[start : start + count * size].reshape(count, size)
        start += count * size


def _flatten_numbers(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of rank 0 each. Recorded by autograd and let go at once, which costs less than to forbid it."""
    return torch.stack(values if isinstance(values, (list, tuple)) else list(values)).detach()


def _flatten(values: Sequence[torch.Tensor]) -> torch.Tensor:
    detached = [value.detach() for value in values]
    if len(detached) == 1:
        return detached[0].clone(memory_format=torch.contiguous_format).view(-1)
    return torch.cat([value.reshape(-1) for value in detached])


def _waiting(value: torch.Tensor) -> torch.Tensor:
    _notice(value.device.type)
    return value.detach().cpu()


@functools.cache
def _notice(kind: str) -> None:
    _log.warning("write waits for a device of type %r, whose streams it does not know; said once", kind)


def _refusal(value: torch.Tensor) -> str:  # noqa: PLR0911 - a list of reasons
    """Why the tensor cannot be stored, and what to do; empty when it can."""
    kind = type(value)
    if kind.__module__ == "torch._subclasses.fake_tensor" or value.device.type == "meta":
        return "is a tensor without data (meta, or traced by torch.compile or torch.export): write real values"
    if value.is_nested:
        return "is a nested tensor: write its parts, or x.values()"
    if value.layout is not torch.strided:
        return f"is a sparse tensor ({value.layout}): write x.to_dense() or x.values()"
    if value.is_quantized:
        return f"is a quantized tensor ({value.dtype}): write x.dequantize()"
    if value.is_complex():
        return f"is complex ({value.dtype}): write x.real and x.imag, or x.abs(), as columns of their own"
    if value.dtype not in _COLUMNS:
        return f"has dtype {value.dtype}, which cannot be stored: write x.float()"
    if is_functorch_wrapped_tensor(value):
        return "is inside torch.func (vmap, grad, …): return it from the transformed function, and write it outside"
    if hasattr(value, "full_tensor"):
        return (
            "is a DTensor: write x.to_local(), this process's part, or x.full_tensor(), which every process must call"
        )
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return (
            f"is a {kind.__module__}.{kind.__qualname__}, a tensor of another kind inside: write a plain torch.Tensor"
        )
    return ""
