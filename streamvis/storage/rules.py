"""What every engine decides alike: how configs merge, what a handle is bound to, why a declaration is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from streamvis.errors import ConflictError
from streamvis.records import Declaration, Topic

REJECTED = 0
"""What a handle is bound to after its declaration was rejected. Topic ids are above 0."""

GONE = -1
"""What a handle is bound to when its topic was deleted before a repeated batch declared it again."""

STILL_REJECTED = "its declaration on this stream was rejected; declare it again with the topic's columns"


def merge(values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A new mapping: keys of `patch` win, mappings on both sides merge deeply."""
    merged = dict(values)
    for key, value in patch.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def rejection(declaration: Declaration, topic: Topic) -> str:
    """Why a declaration does not fit the live topic of its name."""
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
