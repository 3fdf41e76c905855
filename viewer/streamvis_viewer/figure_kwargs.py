"""Which figure_kwargs a schema may give: parts of Bokeh's figure, checked by Bokeh itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from bokeh.models import LinearAxis, Title
from bokeh.plotting import figure

from streamvis_viewer.faults import shown, unknown_key

PARTS: Mapping[str, type[Title | LinearAxis]] = {"title": Title, "xaxis": LinearAxis, "yaxis": LinearAxis}
LEGEND_KEYS = ("title", "visible")

_FREE = re.compile(r"(background|border|outline)_|min_border|toolbar_location$")
_SUBJECT = re.compile(r"^failed to validate \w+\(.*?\)\.")


Fault: TypeAlias = tuple[tuple[str, ...], str]
"""The path of a key, and what is wrong there."""


def faults(kwargs: Mapping[str, Any]) -> Iterator[Fault]:
    """Why no figure can be built with them; nothing if one can."""
    free = _free_names()
    for key, value in kwargs.items():
        if key == "legend":
            yield from _wrong_keys((key,), value, LEGEND_KEYS)
        elif key in PARTS:
            yield from _wrong_part(key, {"text": value} if key == "title" and isinstance(value, str) else value)
        elif key in free:
            yield from _wrong_value(figure, (key,), key, value)
        else:
            known = [*PARTS, "legend", *free]
            listed = f"{', '.join((*PARTS, 'legend'))}, and what a figure's background, border and outline have"
            yield (str(key),), unknown_key(key, known, listed)


def _free_names() -> list[str]:
    return sorted(filter(_FREE.match, figure.properties()))


def _wrong_keys(path: tuple[str, ...], value: Any, allowed: Sequence[str], listed: str = "") -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield path, f"found {shown(value)}; expected a mapping"
        return
    for key in value:
        if key not in allowed:
            yield (*path, str(key)), unknown_key(key, allowed, listed)


def _wrong_part(part: str, value: Any) -> Iterator[Fault]:
    known = sorted(PARTS[part].properties())
    yield from _wrong_keys((part,), value, known, f"properties of Bokeh's {PARTS[part].__name__}")
    for key, entry in value.items() if isinstance(value, dict) else ():
        if key in known:
            yield from _wrong_value(PARTS[part], (part, key), key, entry)


def _wrong_value(model: type, path: tuple[str, ...], key: str, value: Any) -> Iterator[Fault]:
    try:
        model(**{key: value})
    except ValueError as error:
        reason = _SUBJECT.sub("", " ".join(str(error).split()))
        said = reason.strip().removeprefix(f"{key}: ").removeprefix(f"{value!r} ").partition(", got ")[0]
        yield path, f"found {shown(value)}{', which' if said.startswith('is ') else ';'} {said}"
