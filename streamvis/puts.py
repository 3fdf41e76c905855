"""The quick way to append a row: a function made for columns like those of the write that came before.

It is compiled, as dataclasses are, because a loop over the columns would double what a write costs; of column numbers
alone, and of nothing that a user named. What a write of two numbers spends, in ns of the 720 that it once took: the put
called by keywords rather than with their dict 100, a tuple of name and index as its key 55, asking whether anything is
the matter 20, `__next__` rather than `next` 15. Of the 450 left, Python's own call of `write` is 145, packing 60,
the columns taken out of the dict 50, the tick 20, `len` 15; no key of the order would be cheaper that threads keep. A
keyword `start_index` of `write` itself is 40 of Python's 145. Names and types shared among the puts of many topics, as
globals instead of cells, gained nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from streamvis.columns import DTYPES
from streamvis.rows import Rows

REFUSED = sys.maxsize
"""What a put answers to columns unlike those that it was made for: it has taken nothing."""

Put: TypeAlias = Callable[[Mapping[str, Any]], int]
"""Appends a row of columns like its layout's: gives the bytes of rows that wait, or what `grown` says, or REFUSED.

Raises KeyError for other columns, DtypeError for what cannot be copied, struct.error for a number that does not fit.
"""

_NUMBER, _ELEMENT, _ARRAY = "{0}", "{0}.item()", "{0}.tobytes()"
"""What is packed of a value on the host."""


def put_for(rows: Rows, columns: Mapping[str, Any], ticks: Iterator[int], grown: Callable[[Rows], int]) -> Put | None:
    """The quick way to append writes like the one of these columns, which made the layout; None if it has none."""
    ways = [(place, _packed(columns[name])) for place, name in enumerate(columns) if name in rows.host_columns]
    if any(way is None for _, way in ways):
        return None
    places = {name: place for place, name in enumerate(columns)}
    groups = tuple(tuple(places[name] for name in group.forms) for group in rows.groups)
    values = columns.values()
    return _maker(len(columns), tuple(ways), groups)(
        rows,
        ticks,
        grown,
        tuple(columns),
        [type(value) for value in values],
        [getattr(value, "dtype", None) for value in values],
        [getattr(value, "shape", None) for value in values],
    )


def _packed(value: Any) -> str | None:
    """How a value on the host is packed; None for one that has to be converted first."""
    if isinstance(value, (bool, int, float, np.generic)):
        return _NUMBER
    if type(value) is np.ndarray and value.dtype in DTYPES:
        return _ELEMENT if value.size == 1 else _ARRAY
    return None


_HEAD = """
def make(rows, ticks, grown, names, kinds, dtypes, shapes):
    data, pack, snapshots = rows.data, rows.pack, rows.snapshots
    [{names}], [{kinds}], [{dtypes}], [{shapes}] = names, kinds, dtypes, shapes
    [{copies}] = [group.copy for group in rows.groups]
    def put(columns):
        nonlocal data
        {values}
        if not ({checks}):
            return {refused}
        {rest}
    return put
"""
_ON_HOST = """
        data += pack(next(ticks), {packed})
        return len(data)
"""
_ON_DEVICES = """
        {takes}
        if {missing}:
            return {refused}
        number = next(ticks)
        row = pack(number, {packed})
        snapshots[number] = {taken}
        data += row
        return grown(rows)
"""


@lru_cache(maxsize=1024)
def _maker(count: int, ways: tuple[tuple[int, str], ...], groups: tuple[tuple[int, ...], ...]) -> Callable[..., Put]:
    """What makes the puts of so many columns: some on the host, packed in these ways, some on devices, in groups."""
    columns, arrays = range(count), [place for place, way in ways if way is not _NUMBER]
    checks = [
        *(f"type(value{place}) is kind{place}" for place in columns),
        *(f"value{place}.dtype is dtype{place} and value{place}.shape == shape{place}" for place in arrays),
        f"len(columns) == {count}",
    ]
    parts = {
        "names": _each("name{}, ", columns),
        "kinds": _each("kind{}, ", columns),
        "dtypes": _each("dtype{}, ", columns),
        "shapes": _each("shape{}, ", columns),
        "copies": _each("copy{}, ", range(len(groups))),
        "values": _each("value{0} = columns[name{0}]; ", columns),
        "checks": " and ".join(checks),
        "takes": "".join(f"taken{it} = copy{it}(({_each('value{}, ', group)})); " for it, group in enumerate(groups)),
        "missing": " or ".join(f"taken{it} is None" for it in range(len(groups))),
        "taken": _each("taken{}, ", range(len(groups))),
        "packed": "".join(f"{way.format(f'value{place}')}, " for place, way in ways),
        "refused": REFUSED,
    }
    rest = (_ON_DEVICES if groups else _ON_HOST).strip().format(**parts)
    scope: dict[str, Any] = {}
    exec(_HEAD.format(rest=rest, **parts), scope)  # noqa: S102 - of numbers alone
    maker: Callable[..., Put] = scope["make"]
    return maker


def _each(text: str, numbers: Iterable[int]) -> str:
    return "".join(text.format(number) for number in numbers)
