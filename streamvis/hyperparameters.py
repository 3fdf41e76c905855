"""Hyperparameters of any kind in JSON's types: pure."""

from __future__ import annotations

import dataclasses
import math
import os
import reprlib
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from streamvis.errors import StreamvisError, UsageError

FAILURES = (StreamvisError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What can go wrong with a value that somebody logs."""

Notes: TypeAlias = dict[str, str]

MAX_DEPTH = 64
"""Levels, of values within containers within each other, that a store takes."""

_SMALL_ARRAY = 100
"""Entries of an array that is kept as a list."""

_LARGE_INT_BITS = 14_000
"""Python reads and writes no longer ones as text: 4300 digits."""

_REPR = reprlib.Repr()
_REPR.maxother = 400


def plain(value: Any, notes: Notes, *, lenient: bool = False) -> Any:
    """A hyperparameter in JSON's types; `notes` gets, by its dotted name, whatever could not be kept as it is.

    Numbers, bools, None, strings, lists and dicts stay what they are; numpy scalars become numbers, small arrays lists,
    paths strings, enums their values, dataclasses, argparse's and OmegaConf's containers dicts and lists, classes and
    functions their names. What else there is becomes its `repr`. It holds nothing of the value that could change.

    Raises:
        UsageError: a key that is no string, twice the same key, a container within itself or more than MAX_DEPTH deep;
            these are notes as well when `lenient`.
    """
    return _Plain(notes, lenient=lenient).of(value, "", ())


class _Plain:
    def __init__(self, notes: Notes, *, lenient: bool) -> None:
        self._notes = notes
        self._lenient = lenient

    def of(self, value: Any, path: str, inside: tuple[int, ...]) -> Any:
        """`inside`: the containers around it, by their ids."""
        try:
            simple = _simple(value)
        except Exception:  # noqa: BLE001 - code of the value's class: it raises what it likes, and the repr is kept
            return self._repr(value, path)
        if isinstance(simple, str):
            return self._text(simple, path)
        if isinstance(simple, (dict, list)):
            return self._container(value, simple, path, inside)
        if simple is None or isinstance(simple, float) or _is_short_int(simple):
            return simple
        return self._repr(value, path)

    def _container(self, value: Any, simple: dict[Any, Any] | list[Any], path: str, inside: tuple[int, ...]) -> Any:
        if id(value) in inside or (simple and len(inside) >= MAX_DEPTH - 1):
            deep = f"is nested deeper than {MAX_DEPTH} levels"
            self._mistake(path, "contains itself" if id(value) in inside else deep)
            return "..."
        inside = (*inside, id(value))
        if isinstance(simple, dict):
            return self._dict(simple.items(), path, inside)
        return [self.of(item, _joined(path, place), inside) for place, item in enumerate(simple)]

    def _dict(self, items: Iterable[tuple[Any, Any]], path: str, inside: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in items:
            name = self._text(key if isinstance(key, str) else _key(key), path)
            here = _joined(path, name)
            if not isinstance(key, str) and not self._lenient:
                raise UsageError(f"config key {name} in {path or 'the top level'} is no string")
            if name in found:
                self._mistake(here, "is given twice, of which the last is kept")
            found[name] = self.of(item, here, inside)
        return found

    def _text(self, text: str, path: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, such as a file name that is not UTF-8
            self._notes[path] = "has what is no character, which is kept as an escape"
            return text.encode(errors="backslashreplace").decode()
        return text

    def _repr(self, value: Any, path: str) -> str:
        self._notes[path] = f"is a {type(value).__name__}, of which the repr is kept"
        return self._text(_shown(value), path)

    def _mistake(self, path: str, what: str) -> None:
        if not self._lenient:
            raise UsageError(f"config {path or 'of the top level'} {what}")
        self._notes[path] = what


def _simple(value: Any) -> Any:
    """The value as a dict, a list, a string or a number, if it means one; else itself."""
    if isinstance(value, Enum):
        return _simple(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, type) and hasattr(value, "tolist") and math.prod(value.shape) <= _SMALL_ARRAY:
        return value.tolist()
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return _contents(value)


def _contents(value: Any) -> Any:
    """The container as a dict or a list; any other value itself."""
    if _is_omega(value):
        return _omega(value)
    if isinstance(value, Mapping):
        return dict(value.items())
    if isinstance(value, Namespace):
        return dict(vars(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview, range)):
        return list(value)
    return value


def _is_omega(value: Any) -> bool:
    omegaconf = sys.modules.get("omegaconf")
    return omegaconf is not None and bool(omegaconf.OmegaConf.is_config(value))


def _omega(value: Any) -> Any:
    """Its container with interpolations resolved; as they are written when one of them cannot be."""
    conf = sys.modules["omegaconf"].OmegaConf
    try:
        return conf.to_container(value, resolve=True)
    except Exception:  # noqa: BLE001 - resolvers are the user's code
        return conf.to_container(value, resolve=False)


def _is_short_int(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() <= _LARGE_INT_BITS


def _shown(value: Any) -> str:
    return _REPR.repr_instance(value, 1)  # also of one whose repr raises


def _key(key: Any) -> str:
    try:
        return str(key.value if isinstance(key, Enum) else key)
    except Exception:  # noqa: BLE001 - code of the key's class
        return _shown(key)


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
