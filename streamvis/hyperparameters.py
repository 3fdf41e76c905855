"""Hyperparameters of any kind in JSON's types: pure."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import reprlib
from argparse import Namespace
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from streamvis.errors import StreamvisError

FAILURES = (StreamvisError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What can go wrong with a value that somebody logs."""

Notes: TypeAlias = dict[str, str]

_SMALL_ARRAY = 100
"""Entries of an array that is kept as a list."""

_REPR = reprlib.Repr()
_REPR.maxother = 400


def plain(value: Any, notes: Notes, path: str = "", inside: tuple[int, ...] = ()) -> Any:
    """A hyperparameter in JSON's types; `notes` gets, by its dotted name, whatever could not be kept as it is."""
    with contextlib.suppress(*FAILURES):  # an object that cannot even be looked at is kept by its repr
        value = _reduced(value)
    if id(value) in inside:
        notes[path] = "contains itself"
        return "..."
    inside = (*inside, id(value))
    if isinstance(value, Mapping):
        return _plain_dict(value, notes, path, inside)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, range)):
        return [plain(item, notes, _joined(path, place), inside) for place, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    notes[path] = f"is a {type(value).__name__}, of which the repr is kept"
    return _REPR.repr_instance(value, 1)


def _plain_dict(value: Mapping[Any, Any], notes: Notes, path: str, inside: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = str(key)
        if name in found:
            notes[_joined(path, name)] = "is given twice, of which the last is kept"
        found[name] = plain(item, notes, _joined(path, name), inside)
    return found


def _reduced(value: Any) -> Any:  # noqa: PLR0911 - one line per kind
    """What a value of a class of its own means in containers, numbers and strings."""
    if isinstance(value, Namespace):
        return vars(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, type) and hasattr(value, "tolist") and math.prod(value.shape) <= _SMALL_ARRAY:
        return value.tolist()
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
