"""Points as rows of a table: scope, name, index, then the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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
    return _lines([[*KEY, *labels(columns).values()]])


def csv_lines(
    key: tuple[str, str, int], values: Mapping[str, Array], columns: Sequence[str], rows: int = ROWS
) -> Iterator[str]:
    """A line for each point of a series, in pieces of so many.

    `values` are 1-D arrays of equal length; a column that is not among them is empty. Numbers are as short as they may
    be to come back as they were in their dtype; bools are True and False.
    """
    length = len(next(iter(values.values()))) if values else 0
    for start in range(0, length, rows):
        texts = [_texts(values[column][start : start + rows]) if column in values else None for column in columns]
        count = min(rows, length - start)
        yield _lines([*key, *(text[at] if text else "" for text in texts)] for at in range(count))


def _texts(values: Array) -> list[Any]:
    return list(values.astype(str).tolist() if values.dtype == np.float32 else values.tolist())


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
