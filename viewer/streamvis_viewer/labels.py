"""What a series is called and which colour it gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from streamvis import Topic
from streamvis_viewer.palettes import palette_colors
from streamvis_viewer.schema import ConfigKey, KeyPart

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

QUALITATIVE = 20
"""Palettes longer than this are scales: labels spread over them instead of taking neighbours."""

_SEPARATOR = " · "


def label(parts: Sequence[KeyPart], topic: Topic, index: int, config: Mapping[str, Any]) -> str:
    """The values of a key function, in its order."""
    named = {"s": topic.scope, "n": topic.name, "i": str(index)}
    return _SEPARATOR.join(
        f"{part.config}={_config_value(config, part.config)}" if isinstance(part, ConfigKey) else named[part]
        for part in parts
    )


def with_values(label: str, columns: Iterable[str], values: Iterable[float]) -> str:
    """The label of the part of a series in which these columns have these values."""
    return _SEPARATOR.join((label, *(f"{column}={value:g}" for column, value in zip(columns, values, strict=True))))


def _config_value(config: Mapping[str, Any], name: str) -> str:
    value: Any = config
    if name in config:
        return _shown(config[name])
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return "?"
        value = value[part]
    return _shown(value)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def is_scale(palette: str) -> bool:
    """Whether the colours of labels depend on how many labels there are."""
    return len(palette_colors(palette)) > QUALITATIVE


def colors(palette: str, numbers: Sequence[int], count: int) -> Array:
    """RGBA bytes, four for each label number; `count` labels share the palette."""
    table = _table(palette)
    places = np.asarray(numbers, "i8")
    if len(table) > QUALITATIVE:
        places = np.rint(places * ((len(table) - 1) / max(count - 1, 1))).astype("i8")
    picked: Array = table[places % len(table)].reshape(-1)
    return picked


@cache
def _table(palette: str) -> Array:
    return np.array([_rgba(color) for color in palette_colors(palette)], "u1")


def _rgba(color: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#")[:6])
    return red, green, blue, 255
