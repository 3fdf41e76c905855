"""Points as CSV: what a plot shows, in full precision, with all columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from streamvis.tables import csv_header, csv_lines
from streamvis_viewer.landing import ApiHandler
from streamvis_viewer.series import Run, SeriesStore

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST_SERIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Series:
    """What one series is called."""

    scope: str
    name: str
    index: int

    @classmethod
    def read(cls, value: Any) -> Series:
        """From [scope, name, index]. Raises ValueError."""
        match value:
            case [str(scope), str(name), int(index)]:
                return cls(scope, name, index)
            case _:
                raise ValueError(value)


def csv_text(store: SeriesStore, wanted: Sequence[Series]) -> Iterator[str]:
    """A header, then a line for each point, series after series in the order of writing; in pieces, as others wait.

    Columns are those of any of the series; where one lacks a column, there is nothing. Numbers are as short as they may
    be to come back as they were.
    """
    topics = {(topic.scope, topic.name): topic for topic in store.topics.values()}
    found = [(series, topics[series.scope, series.name]) for series in wanted if (series.scope, series.name) in topics]
    columns = list(dict.fromkeys(column for _, topic in found for column in topic.columns))
    yield csv_header(columns)
    for series, topic in found:
        for run in store.runs(topic.id):
            if run.index <= series.index < run.end:
                yield from csv_lines((series.scope, series.name, series.index), _row(run, series.index), columns)


def _row(run: Run, index: int) -> dict[str, Array]:
    """The columns of one series of the run."""
    return {name: values[0 if len(values) == 1 else index - run.index] for name, values in run.columns().items()}


class CsvHandler(ApiHandler):
    """`/csv`: the body is {"series": [[scope, name, index], …]}."""

    def initialize(self, store: SeriesStore) -> None:
        """The points that pages show are there."""
        self._store = store

    async def post(self) -> None:
        """The lines as they are made."""
        try:
            wanted = [Series.read(value) for value in json.loads(self.request.body)["series"]]
        except (ValueError, KeyError, TypeError):
            self.answer({"error": "expected {series: [[scope, name, index], …]}"}, 400)
            return
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        for text in csv_text(self._store, wanted):
            self.write(text.encode(errors="replace"))
            await self.flush()
        await self.finish()
