"""Norms and histograms of tensors, computed where the tensors are: nothing here waits for a device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor


def has_norm(tensor: Tensor) -> bool:
    """Whether it has entries, dense and of real or complex numbers."""
    return bool(tensor.numel()) and not tensor.is_sparse and (tensor.is_floating_point() or tensor.is_complex())


def local(tensor: Tensor) -> Tensor:
    """What this process holds of it: of a sharded tensor its own part, without asking the other processes."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


def norm(tensor: Tensor) -> Tensor:
    """The Euclidean norm, in float32 at least."""
    size: Tensor = torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
    return size


def total_norm(norms: Iterable[Tensor]) -> Tensor:
    """The norm of all tensors together, from theirs."""
    norms = list(norms)
    return norm(torch.stack([part.to(norms[0].device, non_blocking=True) for part in norms]))


def histogram(tensor: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The centres and counts of `bins` bins of equal width between the smallest and the largest finite value.

    Not torch.histc, which waits for the device to learn that range. Values that are not finite are in no bin; of equal
    values the range is one unit wide, as numpy's. Of complex values the moduli count.
    """
    real = (tensor.abs() if tensor.is_complex() else tensor).flatten()
    values = real.to(torch.promote_types(real.dtype, torch.float32))
    finite = torch.isfinite(values)
    low = torch.where(finite, values, math.inf).amin()
    high = torch.where(finite, values, -math.inf).amax()
    alike = low >= high
    low, high = torch.where(alike, low - 0.5, low), torch.where(alike, high + 0.5, high)
    width = high / bins - low / bins  # the whole range may be too large for a float
    places = (values / width - low / width).nan_to_num(0.0).clamp(0, bins - 1).long()
    counts = torch.zeros(bins, dtype=torch.int64, device=values.device).scatter_add_(0, places, finite.long())
    parts = (torch.arange(bins, device=values.device) + 0.5) / bins
    return low * (1 - parts) + high * parts, counts


def batch_size(batch: object) -> int:
    """How many samples a batch has: the length of the first tensor in it, else 1."""
    return next(_lengths(batch), 1)


def _lengths(batch: object) -> Iterator[int]:
    if isinstance(batch, Tensor):
        yield from batch.shape[:1]
    elif isinstance(batch, Mapping):
        yield from _lengths(list(batch.values()))
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        for item in batch:
            yield from _lengths(item)
