"""The page's URL: which plots stand where, and what they show. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from streamvis.errors import PatternError, UsageError
from streamvis_viewer import patterns
from streamvis_viewer.schema import KeyPart, Plot, Schema, key_parts

AXES = ("lin", "xlog", "ylog", "xylog")
KEYS = ("rows", "cols", "width", "height", "scopes", "names", "axes", "color", "ignore", "gl")
LATER = ("window", "stride", "filter", "smooth")
GL = ("force", "off")
MAX_PLOTS = 64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """A key of the URL that cannot be used."""

    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.key}: found {self.found}; expected {self.expected}"


class UrlError(UsageError):
    """A URL that describes no page; `offers` are the schema's plots."""

    def __init__(self, problems: Sequence[Problem], offers: Sequence[str]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)
        self.offers = tuple(offers)


@dataclass(frozen=True, slots=True)
class Cell:
    """A place on the page: `key` names it, `plot` is the schema's plot that it shows."""

    key: str
    plot: str
    weight: float = 1.0
    names: str = ".*"
    axes: str = "lin"
    color: tuple[KeyPart, ...] | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """A row or a column of cells."""

    weight: float
    cells: tuple[Cell, ...]

    @property
    def template(self) -> str:
        """CSS grid tracks of the cells."""
        return _template(cell.weight for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Page:
    """What one URL shows. Weights are weights: each cell gets its part of its track, each track of the page."""

    direction: str
    tracks: tuple[Track, ...]
    scopes: str = ".*"
    ignore: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order of the URL."""
        return tuple(cell for track in self.tracks for cell in track.cells)

    @property
    def template(self) -> str:
        """CSS grid tracks of the rows or columns."""
        return _template(track.weight for track in self.tracks)


def _template(weights: Iterator[float]) -> str:
    return " ".join(f"minmax(0,{weight:g}fr)" for weight in weights)


def parse(query: Mapping[str, Sequence[str]], schema: Schema) -> Page:
    """The page that a URL's query describes. Raises UrlError, which lists all problems."""
    return _Reader({key: list(values) for key, values in query.items()}, schema).page()


class _Reader:
    def __init__(self, query: Mapping[str, list[str]], schema: Schema) -> None:
        self._query = query
        self._schema = schema
        self._problems: list[Problem] = []

    def page(self) -> Page:
        self._check_keys()
        direction = self._direction()
        grid = self._grid(direction) if direction else []
        count = sum(map(len, grid))
        rows = direction == "rows"
        cell_key, track_key = ("width", "height") if rows else ("height", "width")
        weights = self._numbers(cell_key, count, "one per plot")
        outer = self._numbers(track_key, len(grid), f"one per {'row' if rows else 'column'}")
        names = self._names([plot for track in grid for plot in track])
        axes = self._list("axes", count, _axis, "lin", f"one of {', '.join(AXES)} per plot")
        colors = self._list("color", count, key_parts, None, "letters of s, n, i per plot, such as s or sn")
        scopes = self._pattern("scopes", self._one("scopes") or ".*")
        ignore = tuple(filter(None, (part.strip() for part in (self._one("ignore") or "").split(","))))
        self._list("gl", 1, _gl, None, " or ".join(GL))
        if self._problems:
            raise UrlError(self._problems, list(self._schema.plots))
        numbered = enumerate(plot for track in grid for plot in track)
        cells = (Cell(f"p{n}", plot, weights[n], names[n], axes[n], colors[n]) for n, plot in numbered)
        tracks = tuple(Track(weight, tuple(islice(cells, len(t)))) for weight, t in zip(outer, grid, strict=True))
        return Page(direction, tracks, scopes, ignore)

    def _fault(self, key: str, found: str, expected: str) -> None:
        self._problems.append(Problem(key, found, expected))

    def _one(self, key: str) -> str:
        values = self._query.get(key, [])
        if len(values) > 1:
            self._fault(key, f"it {len(values)} times", "it once")
        return values[0] if values else ""

    def _check_keys(self) -> None:
        for key in self._query:
            if key in LATER:
                self._fault(key, f"{self._query[key][0]!r}", "no such key: this version of the viewer cannot do it yet")
            elif key not in KEYS and not key.startswith("bokeh-"):
                self._fault(key, "an unknown key", f"keys among {', '.join(KEYS)}")

    def _direction(self) -> str:
        given = [key for key in ("rows", "cols") if key in self._query]
        if len(given) != 1:
            found = "neither" if not given else "both"
            self._fault("rows, cols", found, "exactly one of them, such as rows=A,B;C")
            return ""
        return given[0]

    def _grid(self, direction: str) -> list[list[str]]:
        grid = [[name.strip() for name in track.split(",")] for track in self._one(direction).split(";")]
        flat = [name for track in grid for name in track]
        for name in dict.fromkeys(flat):
            if not name:
                self._fault(direction, "an empty plot name", "names between commas and semicolons, such as A,B;C")
            elif name not in self._schema.plots:
                self._fault(direction, f"the plot {name!r}", f"plots among {_names_of(self._schema.plots)}")
        if len(flat) > MAX_PLOTS:
            self._fault(direction, f"{len(flat)} plots", f"at most {MAX_PLOTS}")
        return grid

    def _numbers(self, key: str, count: int, each: str) -> list[float]:
        return self._list(key, count, _weight, 1.0, f"positive numbers, {each}")

    def _list(self, key: str, count: int, read: Callable[[str], T], default: T, expected: str) -> list[T]:
        text = self._one(key)
        if not text or not count:
            if key in self._query and count and not text:
                self._fault(key, "nothing", f"{expected}, separated by commas")
            return [default] * count
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != count:
            self._fault(key, f"{len(parts)} in {text!r}", f"{expected}: {count}")
            return [default] * count
        values = []
        for part in parts:
            try:
                values.append(read(part))
            except ValueError:
                self._fault(key, repr(part), expected)
                return [default] * count
        return values

    def _names(self, plots: Sequence[str]) -> list[str]:
        given = [self._pattern("names", value) for value in self._query.get("names", [])]
        if len(given) not in {0, 1, len(plots)} and plots:
            self._fault(
                "names", f"it {len(given)} times", f"it once for all plots, or once for each of the {len(plots)}"
            )
            return [".*"] * len(plots)
        if given:
            return given if len(given) == len(plots) else given * len(plots)
        return [self._schema.plots.get(plot, _NO_PLOT).names or ".*" for plot in plots]

    def _pattern(self, key: str, value: str) -> str:
        try:
            patterns.matcher(value)
        except PatternError as error:
            self._fault(key, str(error).removeprefix("found "), "an RE2 pattern, found anywhere; a leading ! negates")
        return value


_NO_PLOT = Plot(columns=["x", "y"])


def _names_of(plots: Mapping[str, Plot]) -> str:
    return ", ".join(plots) if plots else "those that appear once something is logged"


def _weight(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)
    return value


def _axis(text: str) -> str:
    if text not in AXES:
        raise ValueError(text)
    return text


def _gl(text: str) -> str | None:
    if text not in GL:
        raise ValueError(text)
    return text
