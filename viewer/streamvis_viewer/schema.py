"""The schema: which plots there are and how they draw what was logged. Pure; knows neither data nor pages.

Every error names the file, the line, the key, what was found and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from streamvis import Topic
from streamvis.errors import UsageError
from streamvis_viewer import patterns
from streamvis_viewer.glyphs import Glyph, GlyphOptions, registry
from streamvis_viewer.palettes import DEFAULT_PALETTE, known_palette

KeyPath: TypeAlias = tuple[str | int, ...]
Marks: TypeAlias = Mapping[KeyPath, int]

DEFAULTS = "DEFAULTS"
KEY_LETTERS = {"s": "scope", "n": "name", "i": "index"}


class SchemaError(UsageError):
    """A schema that cannot be used."""


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """Part of a key function: a hyperparameter of the scope, with dots between nested names."""

    config: str


KeyPart: TypeAlias = str | ConfigKey


_KEY_ITEM = re.compile(r"\(([^()]+)\)|.", re.DOTALL)


def key_parts(value: Any) -> tuple[KeyPart, ...]:
    """A key function's parts from a string such as "sni" or "s(lr)", or a list such as [s, {config: lr}].

    Raises ValueError.
    """
    if isinstance(value, str):
        items = [ConfigKey(match[1]) if match[1] else match[0] for match in _KEY_ITEM.finditer(value)]
    else:
        items = list(value) if isinstance(value, (list, tuple)) else [value]
    parts = tuple(_key_part(item) for item in items)
    if not parts:
        raise ValueError("is empty; allowed: any of the letters s (scope), n (name), i (index), in any order")
    return parts


def key_text(parts: Iterable[KeyPart]) -> str:
    """A key function as a string, which `key_parts` reads."""
    return "".join(f"({part.config})" if isinstance(part, ConfigKey) else part for part in parts)


def _key_part(item: Any) -> KeyPart:
    if isinstance(item, ConfigKey) or (isinstance(item, str) and item in KEY_LETTERS):
        return item
    if isinstance(item, dict) and set(item) == {"config"} and isinstance(item["config"], str):
        return ConfigKey(item["config"])
    raise ValueError(
        f"has {item!r}; allowed: any of the letters s (scope), n (name), i (index), in any order, "
        "and (HYPERPARAMETER), or a list of letters with {config: HYPERPARAMETER}"
    )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Color(_Strict):
    """What decides a series' label and colour."""

    key_fun: Annotated[tuple[KeyPart, ...], BeforeValidator(key_parts)] = ("s", "n", "i")
    palette: Annotated[str, AfterValidator(known_palette)] = DEFAULT_PALETTE


class FilterOpts(_Strict):
    """Which columns get a slider."""

    column: str | None = None
    columns: list[str] = []

    @model_validator(mode="after")
    def _some(self) -> FilterOpts:
        if not self.all:
            raise ValueError("names no column; expected {column: t} or {columns: [t, layer]}")
        return self

    @property
    def all(self) -> list[str]:
        """The columns, however they were given."""
        return ([self.column] if self.column else []) + self.columns


class Plot(_Strict):
    """One plot of a schema."""

    names: str | None = None
    glyph_kind: str = "line"
    glyph_kwargs: dict[str, Any] = {}
    columns: Annotated[list[str], Field(min_length=2)]
    color: Color = Color()
    figure_kwargs: dict[str, Any] = {}
    filter_opts: FilterOpts | None = None
    ignore: list[str] = []

    @field_validator("names")
    @classmethod
    def _pattern(cls, names: str | None) -> str | None:
        if names is not None:
            patterns.matcher(names)
        return names

    @property
    def sliders(self) -> tuple[str, ...]:
        """Columns with a slider."""
        return tuple(self.filter_opts.all) if self.filter_opts else ()

    @property
    def drawn(self) -> tuple[str, ...]:
        """Columns that the kind of drawing draws: horizontal, vertical, and perhaps more."""
        return tuple(self.columns[: self.glyph.columns])

    def over(self, column: str) -> Plot:
        """The same over another horizontal column, if one is given; the one before it is ignored then."""
        before = self.columns[0]
        if not column or column == before:
            return self
        ignore = [name for name in (*self.ignore, before) if name != column]
        return self.model_copy(update={"columns": [column, *self.columns[1:]], "ignore": ignore})

    @property
    def needed(self) -> frozenset[str]:
        """Columns that a topic must have to be drawn here."""
        return frozenset((*self.drawn, *self.sliders))

    @property
    def glyph(self) -> Glyph:
        """The kind of drawing."""
        return registry()[self.glyph_kind]

    @property
    def glyph_options(self) -> GlyphOptions:
        """`glyph_kwargs`, with defaults."""
        return self.glyph.options.model_validate(self.glyph_kwargs)


@dataclass(frozen=True, slots=True)
class Schema:
    """Plots by name, in the order of the file."""

    plots: Mapping[str, Plot] = field(default_factory=dict)
    source: str = ""


def load(path: Path) -> Schema:
    """The schema in a YAML file. Raises SchemaError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemaError(f"{path}: the schema cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path}: found bytes that are not UTF-8 ({error.reason}); expected YAML text") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> Schema:
    """The schema in a YAML text; `source` names it in errors. Raises SchemaError."""
    document, marks = _read_yaml(text, source)
    context = _Context(source, marks)
    if not isinstance(document, dict) or not document:
        raise SchemaError(f"{source}: found {_shown(document)}; expected a mapping from plot names to plots")
    for name, body in document.items():
        context.check_plot(name, body)
    defaults = document.get(DEFAULTS) or {}
    plots = {
        name: context.plot(name, merged(defaults, body or {})) for name, body in document.items() if name != DEFAULTS
    }
    if not plots:
        raise SchemaError(f"{source}: found only {DEFAULTS}; expected at least one plot, such as loss: {{columns: …}}")
    return Schema(plots, source)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings merged deeply; `over` wins."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


# ---- errors with their place


@dataclass(frozen=True, slots=True)
class _Context:
    source: str
    marks: Marks

    def error(self, path: KeyPath, message: str) -> SchemaError:
        line = self._line(path)
        place = f"{self.source}, line {line}" if line else self.source
        return SchemaError(f"{place}: {'.'.join(map(str, path))}: {message}")

    def _line(self, path: KeyPath) -> int:
        """The line of the deepest known part of a key, as written in the plot, else in DEFAULTS."""
        for known in (path, (DEFAULTS, *path[1:])):
            if known in self.marks and len(known) > 1:
                return self.marks[known]
        return self._line(path[:-1]) if len(path) > 1 else self.marks.get(path, 0)

    def check_plot(self, name: Any, body: Any) -> None:
        if not isinstance(name, str) or not name or set(name) & set(",;"):
            raise self.error((str(name),), f"found {name!r} as a plot's name; expected text without comma or semicolon")
        if body is not None and not isinstance(body, dict):
            raise self.error((name,), f"found {_shown(body)}; expected a mapping with keys such as columns")

    def plot(self, name: str, body: Mapping[str, Any]) -> Plot:
        try:
            plot = Plot.model_validate(body)
        except ValidationError as error:
            raise self._from_pydantic((name,), error, _FIELDS) from None
        self._check_glyph(name, plot)
        self._check_figure(name, plot.figure_kwargs)
        return plot

    def _check_glyph(self, name: str, plot: Plot) -> None:
        kinds = registry()
        if plot.glyph_kind not in kinds:
            allowed = ", ".join(sorted(kinds))
            raise self.error((name, "glyph_kind"), f"found {plot.glyph_kind!r}; allowed: {allowed}")
        kind = kinds[plot.glyph_kind]
        if len(plot.columns) < kind.columns:
            found = f"found {_shown(plot.columns)}; expected {kind.columns} columns, which {plot.glyph_kind} draws"
            raise self.error((name, "columns"), found)
        options = kind.options
        try:
            options.model_validate(plot.glyph_kwargs)
        except ValidationError as error:
            raise self._from_pydantic((name, "glyph_kwargs"), error, {(): options}) from None

    def _check_figure(self, name: str, kwargs: Mapping[str, Any]) -> None:
        from streamvis_viewer.figure_kwargs import FigureError, check  # noqa: PLC0415 - the only part that needs Bokeh

        try:
            check(kwargs)
        except FigureError as error:
            raise self.error((name, "figure_kwargs", *error.path), str(error)) from None

    def _from_pydantic(
        self, prefix: KeyPath, error: ValidationError, fields: Mapping[KeyPath, type[BaseModel]]
    ) -> SchemaError:
        problem = error.errors(include_url=False)[0]
        path = tuple(problem["loc"])
        kind, found = problem["type"], problem["input"]
        if kind == "extra_forbidden":
            allowed = ", ".join(fields[path[:-1]].model_fields) if path[:-1] in fields else ""
            return self.error((*prefix, *path), f"found the unknown key {path[-1]!r}; allowed: {allowed}")
        if kind == "missing":
            return self.error(
                prefix, f"found no {path[-1]!r}; expected it, such as {_EXAMPLES.get(str(path[-1]), '…')}"
            )
        message = str(problem["ctx"]["error"]) if kind == "value_error" else f"expected: {problem['msg'].lower()}"
        message = message.removeprefix(f"found {found!r}, which ")
        return self.error((*prefix, *path), f"found {_shown(found)}; {message}")


_FIELDS: Mapping[KeyPath, type[BaseModel]] = {(): Plot, ("color",): Color, ("filter_opts",): FilterOpts}
_EXAMPLES = {"columns": "columns: [x, y]"}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _read_yaml(text: str, source: str) -> tuple[Any, Marks]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise SchemaError(f"{source}{place}: found {error.problem or 'a fault'}; expected valid YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SchemaError(f"{source}: found {error}; expected valid YAML") from None
    marks: dict[KeyPath, int] = {}
    for path, line in _marks(node, ()):
        if path in marks and path and isinstance(path[-1], str):
            where = ".".join(map(str, path))
            raise SchemaError(f"{source}, line {line}: {where}: found it a second time, first on line {marks[path]}")
        marks[path] = line
    return document, marks


def _marks(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _marks(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*path, number), value.start_mark.line + 1
            yield from _marks(value, (*path, number))


# ---- without a file

_HORIZONTAL = ("step", "x", "epoch", "time", "t")
_VERTICAL = ("value", "y")

_SHAPES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("scatter", ("x", "y"), "t"),
    ("line", ("value", "count"), "step"),  # from here on what the integrations log: a histogram,
    ("heatmap", ("x", "y", "value"), "step"),  # an image,
    ("heatmap", ("x", "y", "green"), "step"),  # one in colours, of which green is nearest to what is seen,
    ("line", ("second", "value"), "step"),  # a sound
)
"""What has many points for each value of a slider: the kind, the columns drawn, the slider's. The first that fits."""


def infer(topics: Iterable[Topic]) -> Schema:
    """A plot for each name that was logged: those of _SHAPES with a slider, such as a cloud; anything else a line."""
    shapes: dict[str, tuple[str, ...]] = {}
    columns: dict[str, set[str]] = {}  # of all runs: one may log more of a name than another
    for topic in topics:
        shapes.setdefault(topic.name, topic.columns)
        columns.setdefault(topic.name, set()).update(topic.columns)
    plots: dict[str, Plot] = {}
    for name in sorted(shapes):
        if len(shapes[name]) >= 2:
            plots[_plot_name(name, plots)] = _inferred(name, shapes[name], columns[name])
    return Schema(plots, "the data")


def _plot_name(name: str, taken: Mapping[str, Plot]) -> str:
    plain = name.replace(",", "_").replace(";", "_").strip() or "_"
    while plain in taken:
        plain += "_"
    return plain


def _inferred(name: str, columns: Sequence[str], known: Collection[str]) -> Plot:
    kind, drawn, slider = next(
        (shape for shape in _SHAPES if {*shape[1], shape[2]} <= set(columns)), ("line", _line(columns), None)
    )
    return Plot(
        names=patterns.exactly(name),
        glyph_kind=kind,
        columns=list(drawn),
        filter_opts=FilterOpts(column=slider) if slider else None,
        ignore=sorted(set(known) - {*drawn, slider}),
        color=Color(key_fun=("s",) if kind == "scatter" else ("s", "i")),
        figure_kwargs={
            "title": {"text": name},
            "xaxis": {"axis_label": drawn[0]},
            "yaxis": {"axis_label": drawn[1]},
        },
    )


def _line(columns: Sequence[str]) -> tuple[str, str]:
    horizontal = next((c for c in _HORIZONTAL if c in columns), columns[0])
    rest = [column for column in columns if column != horizontal]
    return horizontal, next((c for c in _VERTICAL if c in rest), rest[0])
