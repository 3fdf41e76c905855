"""Points as rows of a table: scope, name, index, then the columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from streamvis.columns import Array

KEY = ("scope", "name", "index")
"""The columns that say which series a point is of."""

ROWS = 5_000
"""How many lines `csv_lines` makes at a time."""


def labels(columns: Iterable[str]) -> dict[str, str]:
    """What the columns are called beside KEY: their own names, with `_` behind one that is taken."""
    found = {column: column for column in columns}
    for column in KEY:
        if column in found:
            label = f"{column}_"
            while label in found:
                label += "_"
            found[column] = label
    return found


def csv_header(columns: Iterable[str]) -> str:
    """The first line of a CSV file with those columns."""
    return f"{','.join(map(_cell, (*KEY, *labels(columns).values())))}\n"


def csv_lines(
    key: tuple[str, str, int], values: Mapping[str, Array], columns: Sequence[str], rows: int = ROWS
) -> Iterator[str]:
    """A line for each point of a series, in pieces of so many.

    `values` are 1-D arrays of equal length; a column that is not among them is empty. Numbers are as short as they may
    be to come back as they were in their dtype; bools are True and False.
    """
    scope, name, index = key
    begin = f"{_cell(scope)},{_cell(name)},{index}"
    length = len(next(iter(values.values()))) if values else 0
    for start in range(0, length, rows):
        count = min(rows, length - start)
        texts = [
            _texts(values[column][start : start + rows]) if column in values else [""] * count for column in columns
        ]
        yield "".join(f"{','.join((begin, *row))}\n" for row in zip(*texts, strict=True))


def _texts(values: Array) -> list[str]:
    return list(values.astype(str).tolist() if values.dtype == np.float32 else map(str, values.tolist()))


def _cell(text: str) -> str:
    """Text as RFC 4180 has it. Python 3.11's csv leaves a lone carriage return bare, which ends a line for readers."""
    return '"{}"'.format(text.replace('"', '""')) if any(special in text for special in ',"\r\n') else text
