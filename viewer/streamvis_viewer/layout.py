"""The page's URL: which plots stand where, what they show, and how the page's controls stand. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from streamvis_viewer.faults import elided, perhaps, shown
from streamvis_viewer.query import Query, UrlError, one_of
from streamvis_viewer.schema import KeyPart, Plot, Schema, key_parts

AXES = ("lin", "xlog", "ylog", "xylog")
GRID = ("rows", "cols", "width", "height")
"""Keys that say where the plots stand."""
SHOWN = ("scopes", "names", "x", "axes", "window", "stride", "filter", "ignore", "color")
"""Keys that say what the plots show; `smooth` is one too."""
LOOK = ("smooth", "xrange", "yrange", "fit", "at", "speed", "group", "runs", "hide", "only", "style")
"""Keys that mirror the controls that a person has moved; the page's script reads them."""
PAGE = ("link", "cross", "drag", "focus", "theme", "panel", "gl")
"""Likewise, for what concerns the page as a whole."""
KEYS = (*GRID, *SHOWN, *LOOK, *PAGE)

GROUPS = ("label", "scope", "name", "index")
HIDDEN = re.compile(rf"([{''.join(group[0] for group in GROUPS)}]):.*", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # what the page's script reads alike
STYLED = re.compile(rf"[{''.join(group[0] for group in GROUPS)}]:([^:]*):.*", re.DOTALL)
STYLES = ("solid", "dashed", "dotted", "dotdash", "dashdot", "circle", "square", "triangle")
"""Words for how one series is drawn, beside what multiplies its width or size."""
MOST_TIMES = 10.0
THEMES = ("auto", "light", "dark")
GL = ("auto", "force", "off")
PANEL_PIXELS = (160, 800)
MAX_PLOTS = 64
MOST_NAMED = 12
"""Plots of the schema that a message names."""
MAX_SPEED = 60.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A place on the page: `key` names it, `plot` is the schema's plot that it shows."""

    key: str
    plot: str
    weight: float = 1.0
    names: str = ".*"
    x: str = ""
    """The horizontal column; empty: the schema's."""
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
    filter: tuple[str, ...] = ()
    """Columns that become sliders, in plots whose topics have them."""
    window: int = 0
    """Points that become one, their mean; 0: every point."""
    stride: int = 0
    """Points from one window to the next; 0: as many as the window has."""
    smooth: float = 0.0
    """The weight of what came before in an exponential moving average, from 0 to below 1."""
    theme: str = "auto"
    panel: int | None = None
    """The width of the list of runs in CSS pixels, 0 when it is closed, None for the default."""

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
    reader = _Reader(Query(query), schema)
    page = reader.page()
    if reader.query.problems:
        raise UrlError(reader.query.problems, list(schema.plots))
    return page


class _Reader:
    def __init__(self, query: Query, schema: Schema) -> None:
        self.query = query
        self._schema = schema

    def page(self) -> Page:
        query = self.query
        query.check_keys(KEYS)
        direction = self._direction()
        grid = self._grid(direction) if direction else []
        count = sum(map(len, grid))
        self._check_look(count)
        return Page(
            direction,
            tuple(self._tracks(direction == "rows", grid, count)),
            query.pattern("scopes", query.one("scopes") or ".*"),
            ignore=query.names("ignore"),
            filter=query.names("filter"),
            window=query.read("window", _count, 0, "a number of points, at least 1"),
            stride=self._stride(),
            smooth=query.read("smooth", _fraction, 0.0, "a number from 0 to below 1"),
            theme=query.choice("theme", THEMES, "auto"),
            panel=query.read(
                "panel", _panel, None, f"off, or a width from {PANEL_PIXELS[0]} to {PANEL_PIXELS[1]} pixels"
            ),
        )

    def _direction(self) -> str:
        given = [key for key in ("rows", "cols") if key in self.query]
        if len(given) != 1:
            found = "neither" if not given else "both"
            self.query.fault("rows, cols", found, "exactly one of them, such as rows=A,B;C")
            return ""
        return given[0]

    def _grid(self, direction: str) -> list[list[str]]:
        grid = [[name.strip() for name in track.split(",")] for track in self.query.one(direction).split(";")]
        flat = [name for track in grid for name in track]
        for name in dict.fromkeys(flat):
            if not name:
                self.query.fault(direction, "an empty plot name", "names between commas and semicolons, such as A,B;C")
            elif name not in self._schema.plots:
                self.query.fault(direction, f"the plot {shown(name)}", self._plots_like(name))
        if len(flat) > MAX_PLOTS:
            self.query.fault(direction, f"{len(flat)} plots", f"at most {MAX_PLOTS}")
        return grid

    def _plots_like(self, name: str) -> str:
        plots = list(self._schema.plots)
        if not plots:
            return "plots that appear once something is logged"
        more = f" and {len(plots) - MOST_NAMED} more" if len(plots) > MOST_NAMED else ""
        return f"{perhaps(name, plots)}plots among {', '.join(map(elided, plots[:MOST_NAMED]))}{more}"

    def _tracks(self, rows: bool, grid: Sequence[Sequence[str]], count: int) -> Iterator[Track]:
        cell_key, track_key = ("width", "height") if rows else ("height", "width")
        weights = self.query.list(cell_key, count, _weight, 1.0, "positive numbers, one per plot")
        outer = self.query.list(
            track_key, len(grid), _weight, 1.0, f"positive numbers, one per {'row' if rows else 'column'}"
        )
        plots = [plot for track in grid for plot in track]
        names = self._names(plots)
        axes = self.query.list("axes", count, one_of(AXES), "lin", f"one of {', '.join(AXES)} per plot")
        colors = self.query.list(
            "color", count, _color, None, "letters of s, n, i and (HYPERPARAMETER) per plot, such as s or s(lr)"
        )
        over = self.query.list("x", count, str, "", "columns, or nothing, one per plot")
        cells = (Cell(f"p{n}", plot, weights[n], names[n], over[n], axes[n], colors[n]) for n, plot in enumerate(plots))
        return (Track(weight, tuple(islice(cells, len(track)))) for weight, track in zip(outer, grid, strict=True))

    def _names(self, plots: Sequence[str]) -> list[str]:
        given = [self.query.pattern("names", value) for value in self.query.all("names")]
        if len(given) not in {0, 1, len(plots)} and plots:
            expected = f"it once for all plots, or once for each of the {len(plots)}"
            self.query.fault("names", f"it {len(given)} times", expected)
            return [".*"] * len(plots)
        if given:
            return given if len(given) == len(plots) else given * len(plots)
        return [self._schema.plots.get(plot, _NO_PLOT).names or ".*" for plot in plots]

    def _stride(self) -> int:
        stride = self.query.read("stride", _count, 0, "a number of points, at least 1")
        if "stride" in self.query and "window" not in self.query:
            self.query.fault("stride", "it without window", "both, or window alone")
        return stride

    def _check_look(self, count: int) -> None:
        query = self.query
        for key in ("xrange", "yrange"):
            query.list(key, count, _range, None, "LOW:HIGH, or nothing, per plot")
        query.choice("fit", ("all", "robust"), "all")
        query.read("at", _values, None, "COLUMN:VALUE, separated by commas")
        query.read("speed", _speed, None, f"steps per second, above 0 and at most {MAX_SPEED:g}")
        query.pattern("runs", query.one("runs"))
        hidden, only = self._hidden("hide"), self._hidden("only")
        if hidden & only:
            query.fault("hide, only", f"both for {(hidden & only).pop()!r}", "those to hide, or the only ones to show")
        self._check_styles()
        query.choice("group", GROUPS, "label")
        query.choice("link", ("none", "x"), "none")
        query.choice("cross", ("on", "off"), "on")
        query.choice("drag", ("pan", "zoom"), "pan")
        query.read("focus", _up_to(count), None, f"the number of a plot, 1 to {count}")
        query.choice("gl", GL, "auto")

    def _check_styles(self) -> None:
        for value in self.query.all("style"):
            found = STYLED.fullmatch(value)
            if not (found and all(map(_is_style, found[1].split(",")))):
                self.query.fault("style", shown(value), f"l:STYLE:LABEL, or s:, n:, i:, where STYLE is {_STYLE}")

    def _hidden(self, key: str) -> set[str]:
        """The kinds of text that a key hides by."""
        kinds = [HIDDEN.fullmatch(value) for value in self.query.all(key)]
        if not all(kinds):
            found = next(value for value, kind in zip(self.query.all(key), kinds, strict=True) if not kind)
            self.query.fault(key, shown(found), "l:LABEL, s:SCOPE, n:NAME or i:INDEX, once for each")
        return {kind[1] for kind in kinds if kind}


_STYLE = f"words of {', '.join(STYLES)}, and a number up to {MOST_TIMES:g} that multiplies the width, with commas"

_NO_PLOT = Plot(columns=["x", "y"])


def _color(text: str) -> tuple[KeyPart, ...] | None:
    return key_parts(text)


def _finite(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip(" ")):
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _weight(text: str) -> float:
    value = _finite(text)
    if value <= 0:
        raise ValueError(text)
    return value


def _int(text: str) -> int:
    if not _INTEGER.fullmatch(text.strip(" ")):
        raise ValueError(text)
    return int(text)


def _is_style(word: str) -> bool:
    try:
        return word in STYLES or _weight(word) <= MOST_TIMES
    except ValueError:
        return False


def _count(text: str) -> int:
    value = _int(text)
    if not 1 <= value < 1 << 31:
        raise ValueError(text)
    return value


def _fraction(text: str) -> float:
    value = _finite(text)
    if not 0 <= value < 1:
        raise ValueError(text)
    return value


def _speed(text: str) -> float | None:
    value = _weight(text)
    if value > MAX_SPEED:
        raise ValueError(text)
    return value


def _panel(text: str) -> int | None:
    if text == "off":
        return 0
    value = _int(text)
    if not PANEL_PIXELS[0] <= value <= PANEL_PIXELS[1]:
        raise ValueError(text)
    return value


def _up_to(count: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        if not 1 <= _int(text) <= count:
            raise ValueError(text)
        return _int(text)

    return read


def _range(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    low, colon, high = text.partition(":")
    if not colon or _finite(low) == _finite(high):
        raise ValueError(text)
    return _finite(low), _finite(high)


def _values(text: str) -> dict[str, float] | None:
    pairs = [part.rpartition(":") for part in text.split(",")]
    if not all(column for column, _, _ in pairs):
        raise ValueError(text)
    return {column: _finite(value) for column, _, value in pairs}
