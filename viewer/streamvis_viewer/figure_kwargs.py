"""Which figure_kwargs a schema may give: parts of Bokeh's figure, checked by Bokeh itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bokeh.models import LinearAxis, Title
from bokeh.plotting import figure

PARTS: Mapping[str, type[Title | LinearAxis]] = {"title": Title, "xaxis": LinearAxis, "yaxis": LinearAxis}
LEGEND_KEYS = ("title", "visible")

_FREE = re.compile(r"(background|border|outline)_|min_border|toolbar_location$")
_SUBJECT = re.compile(r"^failed to validate \w+\(.*?\)\.")


class FigureError(ValueError):
    """figure_kwargs that no figure takes; `path` leads to the key."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


def check(kwargs: Mapping[str, Any]) -> None:
    """Whether a figure can be built with them. Raises FigureError."""
    for key, value in kwargs.items():
        if key == "legend":
            _check_keys((key,), value, LEGEND_KEYS)
        elif key in PARTS:
            _check_part(key, {"text": value} if key == "title" and isinstance(value, str) else value)
        elif key in _free_names():
            _check_value(figure, (key,), key, value)
        else:
            raise _unknown((key,), key, [*PARTS, "legend", *_free_names()])


def _free_names() -> list[str]:
    return sorted(filter(_FREE.match, figure.properties()))


def _check_keys(path: tuple[str, ...], value: Any, allowed: Iterable[str]) -> None:
    if not isinstance(value, dict):
        raise FigureError(path, f"found {value!r}; expected a mapping")
    for key in value:
        if key not in allowed:
            raise _unknown((*path, str(key)), key, allowed)


def _check_part(part: str, value: Any) -> None:
    _check_keys((part,), value, sorted(PARTS[part].properties()))
    for key, entry in value.items():
        _check_value(PARTS[part], (part, key), key, entry)


def _check_value(model: type, path: tuple[str, ...], key: str, value: Any) -> None:
    try:
        model(**{key: value})
    except ValueError as error:
        reason = _SUBJECT.sub("", " ".join(str(error).split()))
        raise FigureError(path, f"found {value!r}; {reason}") from None


def _unknown(path: tuple[str, ...], key: object, allowed: Iterable[str]) -> FigureError:
    names = list(allowed)
    near = difflib.get_close_matches(str(key), names, 3)
    listed = ", ".join(names) if len(names) <= 12 else f"properties of Bokeh's {path[0] if len(path) > 1 else 'figure'}"
    hint = f", did you mean {' or '.join(near)}?" if near else ""
    return FigureError(path, f"found the unknown key {key!r}; allowed: {listed}{hint}")
