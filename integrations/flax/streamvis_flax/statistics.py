"""Norms and histograms of pytrees, computed on the device in one compiled call each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import meta

Result = TypeVar("Result")


def named_leaves(tree: Any) -> dict[str, jax.Array]:
    """The real and complex arrays of a pytree, an nnx module or an nnx state, by their paths joined with slashes."""
    if isinstance(tree, nnx.Module):
        tree = nnx.state(tree, nnx.Param)
    if isinstance(tree, nnx.State):
        tree = nnx.to_pure_dict(tree)
    leaves, _ = jax.tree_util.tree_flatten_with_path(meta.unbox(tree))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.size
    }


def _unchecked(function: Callable[..., Result]) -> Callable[..., Result]:
    """Without jax's search for NaNs, which waits for every result: those of a model are what one wants to see."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Result:
        with jax.debug_nans(False), jax.debug_infs(False):
            return function(*args, **options)

    return run


@_unchecked
@jax.jit
def norms(leaves: Mapping[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The Euclidean norm of all leaves together, and of each, in float32 at least."""
    squares = {name: jnp.square(_real(leaf)).sum() for name, leaf in leaves.items()}
    total = sum(squares.values(), start=jnp.zeros(()))
    return jnp.sqrt(total), {name: jnp.sqrt(square) for name, square in squares.items()}


@_unchecked
@functools.partial(jax.jit, static_argnames="bins")
def histograms(leaves: Mapping[str, jax.Array], bins: int) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Of each leaf, the centres and counts of `bins` bins of equal width between its extreme finite values.

    Values that are not finite are in no bin; of equal values the range is one unit wide, as numpy's. Of complex values
    the moduli count.
    """
    return {name: _histogram(_real(leaf).ravel(), bins) for name, leaf in leaves.items()}


def _histogram(values: jax.Array, bins: int) -> tuple[jax.Array, jax.Array]:
    finite = jnp.isfinite(values)
    low = jnp.where(finite, values, jnp.inf).min()
    high = jnp.where(finite, values, -jnp.inf).max()
    alike = low >= high
    low, high = jnp.where(alike, low - 0.5, low), jnp.where(alike, high + 0.5, high)
    width = high / bins - low / bins  # the whole range may be too large for a float
    places = jnp.nan_to_num(values / width - low / width).clip(0, bins - 1).astype(jnp.int32)
    counts = jnp.zeros(bins, jnp.int32).at[places].add(finite.astype(jnp.int32))
    parts = (jnp.arange(bins) + 0.5) / bins
    return low * (1 - parts) + high * parts, counts


def _real(array: jax.Array) -> jax.Array:
    return jnp.abs(array) if jnp.iscomplexobj(array) else widened(array)


def widened(array: jax.Array) -> jax.Array:
    """The array with floats of less than 32 bits as float32."""
    floats = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32)) if floats else array
