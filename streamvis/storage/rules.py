"""What every engine decides alike: how configs merge, what a handle is bound to, why a declaration is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from streamvis.errors import ConflictError, UsageError
from streamvis.hyperparameters import MAX_DEPTH
from streamvis.records import Declaration, Topic
from streamvis.wire import dump_config, load_config

REJECTED = 0
"""What a handle is bound to after its declaration was rejected. Topic ids are above 0."""

GONE = -1
"""What a handle is bound to when its topic was deleted before a repeated batch declared it again."""

MAX_CONFIG_BYTES = 1 << 20
MAX_CONFIG_DEPTH = MAX_DEPTH

STILL_REJECTED = "its declaration on this stream was rejected; declare it again with the topic's columns"


def merge(values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A new mapping: keys of `patch` win, mappings on both sides merge deeply."""
    merged = dict(values)
    for key, value in patch.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def merged_config(scope: str, values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The scope's whole config after a patch, as it comes back from JSON. Raises UsageError if it is too much."""
    if _is_deeper(patch, MAX_CONFIG_DEPTH):
        raise UsageError(
            f"config of {scope!r} is nested deeper than {MAX_CONFIG_DEPTH} levels; nothing of it was stored"
        )
    encoded = dump_config(merge(values, patch))
    if len(encoded) > MAX_CONFIG_BYTES:
        raise UsageError(
            f"config of {scope!r} would have {len(encoded)} bytes; at most {MAX_CONFIG_BYTES}: "
            "nothing of it was stored; write large values as points or files"
        )
    return load_config(encoded)


def _is_deeper(value: Any, levels: int) -> bool:
    level: list[Any] = [value]
    for _ in range(levels):
        level = [child for each in level for child in _children(each)]
    return bool(level)


def _children(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def binding(declaration: Declaration, live: Topic | None) -> tuple[int, str]:
    """What a handle is bound to, given the live topic of its name; why, if the declaration is rejected."""
    if live is None:
        return GONE, ""
    return (live.id, "") if live.columns == declaration.columns else (REJECTED, _rejection(declaration, live))


def _rejection(declaration: Declaration, topic: Topic) -> str:
    stored, declared = ", ".join(topic.columns), ", ".join(declaration.columns)
    return (
        f"{topic.name!r} in scope {topic.scope!r} has the columns {stored}; this writer declares {declared}: "
        "use another name, or replace what is stored"
    )


def to_restore(names: Sequence[str], trash: Iterable[Topic], live: Collection[str]) -> list[Topic]:
    """Of a scope's trash, in the order of deletion, what comes back. Raises ConflictError."""
    latest = {topic.name: topic for topic in trash if not names or topic.name in names}
    for topic in latest.values():
        if topic.name in live:
            raise ConflictError(
                f"scope {topic.scope!r} has a live topic {topic.name!r}; delete that one, or restore other names: "
                "nothing was restored"
            )
    return sorted(latest.values(), key=lambda topic: topic.id)


def not_in_trash(scope: str, names: Sequence[str], done: str) -> str:
    """What to say when there is nothing to restore or to purge."""
    what = f"none of {', '.join(map(repr, names))}" if names else "nothing"
    return f"the trash holds {what} of scope {scope!r}; nothing was {done}"


def missing(scope: str, names: tuple[str, ...]) -> str:
    """What to say when there is nothing to delete."""
    found = f"scope {scope!r} holds none of {', '.join(map(repr, names))}" if names else f"there is no scope {scope!r}"
    return f"{found}; nothing was deleted"
