"""Faults of a schema: where they stand, what was found there, and what is allowed. Pure."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError

from streamvis.errors import UsageError

KeyPath: TypeAlias = tuple[str | int, ...]
Models: TypeAlias = Mapping[KeyPath, type[BaseModel]]

DEFAULTS = "DEFAULTS"
"""The key of what is merged under every plot."""

MOST_SHOWN = 80
"""Characters of a value that are shown."""


class SchemaError(UsageError):
    """A schema that cannot be used; `faults` has a line for each thing that is wrong with it."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Places:
    """Where the keys of a YAML text stand; collects what is wrong with them."""

    source: str
    lines: Mapping[KeyPath, int]
    faults: list[str] = field(default_factory=list)

    def note(self, path: KeyPath, message: str) -> None:
        """Notes a fault, once: what stands in DEFAULTS is wrong for many plots."""
        written, line = self._written(path)
        fault = f"{self.source}{f', line {line}' if line else ''}: {'.'.join(map(str, written))}: {message}"
        if fault not in self.faults:
            self.faults.append(fault)

    def note_invalid(self, prefix: KeyPath, error: ValidationError, models: Models, whose: str = "") -> None:
        """Notes what pydantic has found, unknown keys first: what they were meant to be is not missing."""
        problems = error.errors(include_url=False)
        unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
        meant = set()
        for problem in unknown:
            *above, key = problem["loc"]
            allowed = list(models[tuple(above)].model_fields) if tuple(above) in models else []
            meant.add(near(key, allowed))
            self.note((*prefix, *problem["loc"]), unknown_key(key, allowed, whose=whose))
        for problem in problems:
            key = problem["loc"][-1] if problem["loc"] else ""
            if problem["type"] == "missing" and key not in meant:
                self.note(prefix, f"found no {key!r}; expected it, such as {_EXAMPLES.get(str(key), '…')}")
            elif problem["type"] not in {"missing", "extra_forbidden"}:
                self.note((*prefix, *problem["loc"]), _wrong_value(problem, models))

    def _written(self, path: KeyPath) -> tuple[KeyPath, int]:
        """A key as it stands in the text, in its plot, else in DEFAULTS; and its line, or the line of what it lacks."""
        if path in self.lines:
            return path, self.lines[path]
        default = (DEFAULTS, *path[1:])
        if len(path) > 1 and default in self.lines:
            return default, self.lines[default]
        return path, self._written(path[:-1])[1] if path else 0


_EXAMPLES = {"columns": "columns: [x, y]"}


def unknown_key(key: object, allowed: Sequence[str], listed: str = "", whose: str = "") -> str:
    """What is said of a key that means nothing; `listed` stands for the allowed ones where there are very many."""
    found = f"found the unknown key {shown(key)}{did_you_mean(key, allowed)}"
    return f"{found}; allowed{whose}: {listed or ', '.join(allowed)}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question in parentheses; nothing where nothing is like the word."""
    meant = near(word, known)
    return f" (did you mean {meant}?)" if meant else ""


def perhaps(word: object, known: Iterable[str]) -> str:
    """The beginning of what was expected instead; nothing where nothing is like the word."""
    meant = near(word, known)
    return f"{meant}, perhaps; " if meant else ""


def near(word: object, known: Iterable[str]) -> str:
    """The one of some words that may have been meant; nothing where none is like it."""
    return next(iter(difflib.get_close_matches(str(word)[:MOST_SHOWN], list(known), 1)), "")


def shown(value: object) -> str:
    """A value as a fault shows it."""
    return elided(_REPR.repr(value))


def elided(text: str) -> str:
    """The beginning of a text that is long, else all of it."""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


_REPR = reprlib.Repr()  # of what aliases have made very large, it looks at a part alone
_REPR.maxstring = _REPR.maxother = 2 * MOST_SHOWN


def _wrong_value(problem: Any, models: Models) -> str:
    kind, found, limits = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "value_error":
        reason = str(limits["error"]).removeprefix(f"pattern {found!r} ")
        return (
            f"found {shown(found)}{', which' if reason.partition(' ')[0] in {'is', 'has', 'names'} else ';'} {reason}"
        )
    if kind in {"model_type", "dict_type"}:
        model = models.get(tuple(problem["loc"]))
        expected = f"a mapping with keys among {', '.join(model.model_fields)}" if model else "a mapping"
    elif kind == "list_type":
        expected = "a list, such as [x, y]"
    elif kind == "too_short":
        expected = f"a list of at least {limits['min_length']}"
    elif kind == "string_type":
        expected = "text" if isinstance(found, dict | list) or found is None else f"text, such as '{found}' in quotes"
    else:
        expected = problem["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    return f"found {shown(found)}; expected {expected}"


# ---- YAML and its lines


def read_yaml(text: str, source: str) -> tuple[Any, Places]:
    """What a YAML text says, and where; keys that stand in it twice are noted. Raises SchemaError if it is no YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise SchemaError(_no_yaml(error, text, source)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SchemaError(f"{source}: found what is not valid YAML: {' '.join(str(error).split())}") from None
    lines: dict[KeyPath, int] = {}
    places = Places(source, lines)
    twice: set[KeyPath] = set()
    for path, line in _marks(node, (), set()):
        if path in lines and isinstance(path[-1], str) and path[:-1] not in twice:
            twice.add(path)
            where = ".".join(map(str, path))
            places.faults.append(f"{source}, line {line}: {where}: found it a second time, first on line {lines[path]}")
        lines.setdefault(path, line)
    return document, places


def _no_yaml(error: yaml.MarkedYAMLError, text: str, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or "a fault").removeprefix("but ").removeprefix("found ")
    if not mark:
        return f"{source}: found what is not valid YAML: {problem}"
    lines = text.splitlines()
    found = shown(lines[mark.line].rstrip()) if mark.line < len(lines) else "the end of the file"
    hint = "; indent with spaces" if "'\\t'" in problem else ""
    context = f" ({error.context}, from line {error.context_mark.line + 1})" if error.context_mark else ""
    return f"{source}, line {mark.line + 1}: found {found}, which is not valid YAML: {problem}{hint}{context}"


def _marks(node: Any, path: KeyPath, seen: set[int]) -> Iterator[tuple[KeyPath, int]]:
    """The line of each key. What an alias stands for is visited once: it may hold itself, or be very much."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _marks(value, below, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*path, number), value.start_mark.line + 1
            yield from _marks(value, (*path, number), seen)
