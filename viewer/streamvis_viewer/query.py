"""Reading a URL's query: one value, a list, a number, a pattern, with all faults collected. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from streamvis.errors import PatternError, UsageError
from streamvis_viewer import patterns
from streamvis_viewer.faults import elided, perhaps, shown

T = TypeVar("T")

_ITEM = re.compile(r",((?:\((?:\\.|[^()\\])*\)|[^,])*)", re.DOTALL)  # of which no comma within parentheses is an end


@dataclass(frozen=True, slots=True)
class Problem:
    """A key of the URL that cannot be used."""

    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.key}: found {self.found}; expected {self.expected}"


class UrlError(UsageError):
    """A URL that describes no page; `offers` are the schema's plots."""

    def __init__(self, problems: Sequence[Problem], offers: Sequence[str]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)
        self.offers = tuple(offers)


class Query:
    """The values of a query by key. What cannot be read becomes a problem, and its default."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = {key: list(given) for key, given in values.items()}
        self.problems: list[Problem] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def fault(self, key: str, found: str, expected: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(elided(key), found, expected))

    def check_keys(self, allowed: Collection[str]) -> None:
        """Every other key is a fault; Bokeh's own may always stand there."""
        for key in self._values:
            if key not in allowed and not key.startswith("bokeh-"):
                self.fault(key, "an unknown key", f"{perhaps(key, allowed)}keys among {', '.join(allowed)}")

    def all(self, key: str) -> list[str]:
        """All values of a key that may be repeated."""
        return self._values.get(key, [])

    def one(self, key: str) -> str:
        """The value of a key that may stand there once, else nothing."""
        values = self.all(key)
        if len(values) > 1:
            self.fault(key, f"it {len(values)} times", "it once")
        return values[0] if values else ""

    def read(self, key: str, read: Callable[[str], T], default: T, expected: str) -> T:
        """One value; `read` raises ValueError for what it refuses."""
        text = self.one(key)
        if key not in self:
            return default
        try:
            return read(text)
        except ValueError:
            self.fault(key, shown(text) if text else "nothing", expected)
            return default

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of a few words."""
        return self.read(key, one_of(allowed), default, f"one of {', '.join(allowed)}")

    def list(self, key: str, count: int, read: Callable[[str], T], default: T, expected: str) -> list[T]:
        """As many values as there are plots or tracks, separated by commas."""
        text = self.one(key)
        if key not in self or not count:
            return [default] * count
        if not text and count > 1:
            self.fault(key, "nothing", f"{expected}, separated by commas")
            return [default] * count
        parts = [part.strip() for part in _ITEM.findall(f",{text}")]
        if len(parts) != count:
            self.fault(key, f"{len(parts)} in {shown(text)}", f"{expected}: {count}")
            return [default] * count
        values = []
        for part in parts:
            try:
                values.append(read(part))
            except ValueError:
                self.fault(key, shown(part) if part else "nothing", f"{expected}, separated by commas")
                return [default] * count
        return values

    def names(self, key: str) -> tuple[str, ...]:
        """Any number of names, separated by commas, each once."""
        parts = (part.strip() for part in self.one(key).split(","))
        return tuple(dict.fromkeys(filter(None, parts)))

    def pattern(self, key: str, text: str) -> str:
        """A pattern that RE2 takes."""
        try:
            patterns.matcher(text)
        except PatternError as error:
            found = f"{shown(text)}, which RE2 refuses: {error.reason}"
            self.fault(key, found, "an RE2 pattern, found anywhere; a leading ! negates")
        return text


def one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    """Reads one of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return read
