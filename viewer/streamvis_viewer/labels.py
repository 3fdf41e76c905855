"""What a series is called. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamvis import Topic
from streamvis_viewer.schema import ConfigKey, KeyPart

_SEPARATOR = " · "


def label(parts: Sequence[KeyPart], topic: Topic, index: int, config: Mapping[str, Any]) -> str:
    """The values of a key function, in its order."""
    named = {"s": topic.scope, "n": topic.name, "i": str(index)}
    return _SEPARATOR.join(
        f"{part.config}={_config_value(config, part.config)}" if isinstance(part, ConfigKey) else named[part]
        for part in parts
    )


def without_index(parts: Sequence[KeyPart]) -> Sequence[KeyPart]:
    """The parts that tell series apart where there is one index; all of them, if that were none."""
    return [part for part in parts if part != "i"] or parts


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
