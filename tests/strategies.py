"""Hypothesis strategies that several test files use."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamvis.columns import DTYPES, Array, Block

dtypes = st.sampled_from(DTYPES)


@st.composite
def columns(draw: st.DrawFn, *, max_side: int = 6) -> dict[str, Array]:
    """One to four columns of any storable dtype that broadcast together to (k, n), with every bit pattern."""
    k, n = draw(st.integers(1, max_side)), draw(st.integers(0, max_side))
    names = draw(st.sets(st.sampled_from("abcxyz"), min_size=1, max_size=4))
    return {name: draw(_column(k, n)) for name in sorted(names)}


@st.composite
def neighbours(draw: st.DrawFn, *, max_side: int = 5, max_blocks: int = 8) -> list[Block]:
    """Blocks of one topic, first index, k and dtypes: what a series in several flushes may be."""
    k, kinds = draw(st.integers(1, 3)), draw(st.lists(dtypes, min_size=1, max_size=3))
    lengths = draw(st.lists(st.integers(0, max_side), min_size=1, max_size=max_blocks))
    return [
        Block(7, 3, {f"c{place}": draw(_column(k, n, dtype)) for place, dtype in enumerate(kinds)} | _full(k, n))
        for n in lengths
    ]


def _full(k: int, n: int) -> dict[str, Array]:
    """A column that has both axes, whatever the others have."""
    return {"full": np.arange(k * n, dtype="<i4").reshape(k, n)}


@st.composite
def _column(draw: st.DrawFn, k: int, n: int, dtype: np.dtype[Any] | None = None) -> Array:
    dtype = draw(dtypes) if dtype is None else dtype
    shape = (draw(st.sampled_from([1, k])), draw(st.sampled_from([1, n])))
    size = shape[0] * shape[1]
    kind = draw(st.sampled_from(["any", "constant", "run"]))
    if kind == "run":
        with np.errstate(all="ignore"):
            first, step = draw(st.integers(-5, 5)), draw(st.integers(-3, 3))
            return (np.arange(size) * step + first).astype(dtype).reshape(shape)
    if kind == "constant":
        return np.full(shape, draw(hnp.from_dtype(dtype)), dtype)
    if dtype.kind == "b":
        return draw(hnp.arrays(dtype, shape))
    return draw(hnp.arrays(np.dtype(f"<u{dtype.itemsize}"), shape)).view(dtype)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A block with any index and columns."""
    return Block(draw(st.integers(0, 2**40)), draw(st.integers(0, 1000)), draw(columns()))


def bits(values: Array) -> list[Any]:
    """What tells NaN payloads and -0.0 apart: dtype, shape and bytes."""
    return [values.dtype, values.shape, np.ascontiguousarray(values).tobytes()]
