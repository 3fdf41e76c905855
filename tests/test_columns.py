"""Typed columns: what is stored of a value, broadcasting, joining and splitting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.columns import Block, as_column, join, split
from streamvis.errors import ColumnsError, DtypeError
from tests.strategies import bits, blocks


@pytest.mark.parametrize(
    ("given_dtype", "stored"),
    [
        ("f2", "f4"),
        ("f4", "f4"),
        ("f8", "f8"),
        (">f8", "f8"),
        ("i1", "i4"),
        ("i2", "i4"),
        ("i4", "i4"),
        (">i4", "i4"),
        ("i8", "i8"),
        ("u1", "i4"),
        ("u2", "i4"),
        ("u4", "i8"),
        ("u8", "i8"),
        ("?", "?"),
    ],
)
def test_small_dtypes_widen_and_no_value_changes(given_dtype: str, stored: str) -> None:
    """Every real dtype becomes one of the five stored ones, with the same values."""
    values = np.array([0, 1, 1], given_dtype)
    column = as_column("x", values)
    assert column.dtype == np.dtype(stored)
    assert column.tolist() == [values.tolist()]


@pytest.mark.parametrize("dtype", ["c8", "c16", "S3", "U3", "O", "M8[s]", "m8[s]", "g"])
def test_other_dtypes_are_refused_by_name(dtype: str) -> None:
    """A dtype that no column can hold raises, and the message names column and dtype."""
    with pytest.raises(DtypeError, match=r"'x' has dtype .*expected a real number or bool"):
        as_column("x", np.zeros(2, dtype))


def test_unsigned_values_beyond_int64_are_refused() -> None:
    """A uint64 that int64 cannot hold raises instead of wrapping around."""
    with pytest.raises(DtypeError, match="18446744073709551615"):
        as_column("x", np.array([2**64 - 1], np.uint64))


@pytest.mark.parametrize(("shape", "stored"), [((), (1, 1)), ((3,), (1, 3)), ((2, 3), (2, 3)), ((0,), (1, 0))])
def test_rank_becomes_index_and_point(shape: tuple[int, ...], stored: tuple[int, int]) -> None:
    """Rank 0 is one point, rank 1 is points of one index, rank 2 is (index, point)."""
    assert as_column("x", np.zeros(shape)).shape == stored


def test_rank_three_is_refused() -> None:
    """A third axis has no meaning."""
    with pytest.raises(ColumnsError, match="rank 3"):
        as_column("x", np.zeros((1, 2, 3)))


def test_shapes_that_do_not_broadcast_are_refused_with_all_of_them() -> None:
    """The message lists every column's shape."""
    block = Block(1, 0, {"x": np.zeros((1, 3)), "y": np.zeros((1, 4))})
    with pytest.raises(ColumnsError, match=r"x: \(1, 3\), y: \(1, 4\)"):
        _ = block.shape


def test_a_block_keeps_a_lone_value_lazy() -> None:
    """One step beside 10,000 points takes the room of one number."""
    block = Block(1, 0, {"t": np.zeros((1, 1)), "x": np.zeros((1, 10_000))})
    assert block.points == 10_000
    assert block.nbytes == 80_008


@given(blocks(), st.integers(1, 64), st.integers(1, 9), st.integers(1, 4))
def test_pieces_of_a_split_join_to_the_same_series(
    block: Block, max_bytes: int, max_points: int, max_indexes: int
) -> None:
    """Splitting never loses, reorders or changes a point."""
    whole = {index: {name: bits(values) for name, values in columns.items()} for index, columns in block.series()}
    found: dict[int, dict[str, list[np.ndarray]]] = {}
    for piece in split(block, max_bytes, max_points, max_indexes):
        for index, columns in piece.series():
            for name, values in columns.items():
                found.setdefault(index, {}).setdefault(name, []).append(values)
    assert whole == {
        index: {name: bits(np.concatenate(values)) for name, values in columns.items()}
        for index, columns in found.items()
    }


@given(blocks(), st.integers(1, 9), st.integers(1, 4))
def test_split_keeps_to_its_limits(block: Block, max_points: int, max_indexes: int) -> None:
    """No piece has more points or indexes than asked for."""
    pieces = list(split(block, 1 << 30, max_points, max_indexes))
    assert all(piece.points <= max_points and piece.shape[0] <= max_indexes for piece in pieces)


@given(st.lists(blocks(), min_size=1, max_size=3))
def test_join_appends_along_the_points(several: list[Block]) -> None:
    """Joined blocks hold the points of each, in order."""
    names, rows = tuple(several[0].columns), several[0].shape[0]
    alike = [block for block in several if tuple(block.columns) == names and block.shape[0] == rows]
    joined = join([Block(1, 0, block.columns) for block in alike])
    assert joined.shape == (rows, sum(block.shape[1] for block in alike))
    for name in names:
        parts = [np.broadcast_to(block.columns[name], block.shape) for block in alike]
        expected = np.concatenate(parts, axis=1)
        assert bits(np.broadcast_to(joined.columns[name], joined.shape)) == bits(expected)
