"""The schema: which plots there are and how they draw what was logged. Pure; knows neither data nor pages.

Every fault names the file, the line, the key, what was found and what is allowed; all of them are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

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

from streamvis_viewer import patterns
from streamvis_viewer.faults import DEFAULTS, Models, Places, SchemaError, did_you_mean, read_yaml, shown
from streamvis_viewer.glyphs import Glyph, GlyphOptions, registry
from streamvis_viewer.palettes import DEFAULT_PALETTE, known_palette

KEY_LETTERS = {"s": "scope", "n": "name", "i": "index"}


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """Part of a key function: a hyperparameter of the scope, with dots between nested names."""

    config: str


KeyPart: TypeAlias = str | ConfigKey


_KEY_ITEM = re.compile(r"\(((?:\\.|[^()\\])+)\)|.", re.DOTALL)


def key_parts(value: Any) -> tuple[KeyPart, ...]:
    """A key function's parts from a string such as "sni" or "s(lr)", or a list such as [s, {config: lr}].

    Within the parentheses a backslash stands before further ones, and before itself. Raises ValueError.
    """
    if isinstance(value, str):
        items = [ConfigKey(_unescaped(match[1])) if match[1] else match[0] for match in _KEY_ITEM.finditer(value)]
    else:
        items = list(value) if isinstance(value, (list, tuple)) else [value]
    parts = tuple(_key_part(item) for item in items)
    if not parts:
        raise ValueError("is empty; allowed: any of the letters s (scope), n (name), i (index), in any order")
    return parts


def key_text(parts: Iterable[KeyPart]) -> str:
    """A key function as a string, which `key_parts` reads."""
    return "".join(f"({_escaped(part.config)})" if isinstance(part, ConfigKey) else part for part in parts)


def _escaped(config: str) -> str:
    return re.sub(r"[()\\]", r"\\\g<0>", config)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


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

    @property
    def splits(self) -> bool:
        """Whether columns of which it says nothing split a series."""
        return True

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
    """The schema in a YAML text; `source` names it in errors. Raises SchemaError, with all faults."""
    document, places = read_yaml(text, source)
    if not isinstance(document, dict) or not document:
        raise SchemaError(f"{source}: found {shown(document)}; expected a mapping from plot names to plots")
    bodies = {name: body or {} for name, body in document.items() if _is_plot(places, name, body)}
    defaults = bodies.pop(DEFAULTS, {})
    try:
        plots = {name: _plot(places, name, merged(defaults, body)) for name, body in bodies.items()}
    except RecursionError:
        raise SchemaError(f"{source}: found a mapping that holds itself; expected plots") from None
    if not plots and not places.faults:
        places.note((DEFAULTS,), "found nothing beside it; expected at least one plot, such as loss: {columns: [x, y]}")
    if places.faults:
        raise SchemaError(*places.faults)
    return Schema({name: plot for name, plot in plots.items() if plot}, source)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings merged deeply; `over` wins."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


# ---- faults, noted


def _is_plot(places: Places, name: Any, body: Any) -> bool:
    if not isinstance(name, str) or not name or set(name) & set(",;"):
        expected = "text without comma or semicolon" if isinstance(name, str) else f"text, such as '{name}' in quotes"
        places.note((str(name),), f"found {shown(name)} as a plot's name; expected {expected}")
        return False
    if body is not None and not isinstance(body, dict):
        places.note((name,), f"found {shown(body)}; expected a mapping with keys such as columns")
        return False
    return True


def _plot(places: Places, name: str, body: Mapping[str, Any]) -> Plot | None:
    """The plot, or nothing where it cannot even be said what it draws."""
    try:
        plot = Plot.model_validate(body)
    except ValidationError as error:
        places.note_invalid((name,), error, _MODELS)
        plot = None
    _note_glyph(places, name, body.get("glyph_kind", "line"), _mapping(body, "glyph_kwargs"), plot)
    _note_figure(places, name, _mapping(body, "figure_kwargs"))
    return plot


def _mapping(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _note_glyph(places: Places, name: str, kind: Any, kwargs: Mapping[str, Any], plot: Plot | None) -> None:
    kinds = registry()
    if not isinstance(kind, str):
        return  # it has been noted
    if kind not in kinds:
        found = f"found {shown(kind)}{did_you_mean(kind, kinds)}"
        places.note((name, "glyph_kind"), f"{found}; allowed: {', '.join(sorted(kinds))}")
        return
    glyph = kinds[kind]
    if plot and len(plot.columns) < glyph.columns:
        found = f"found {shown(plot.columns)}; expected {glyph.columns} columns, which {kind} draws"
        places.note((name, "columns"), found)
    try:
        glyph.options.model_validate(kwargs)
    except ValidationError as error:
        places.note_invalid((name, "glyph_kwargs"), error, {(): glyph.options}, whose=f" for {kind}")


def _note_figure(places: Places, name: str, kwargs: Mapping[str, Any]) -> None:
    from streamvis_viewer.figure_kwargs import faults  # noqa: PLC0415 - the only part that needs Bokeh

    for path, message in faults(kwargs):
        places.note((name, "figure_kwargs", *path), message)


_MODELS: Models = {(): Plot, ("color",): Color, ("filter_opts",): FilterOpts}
