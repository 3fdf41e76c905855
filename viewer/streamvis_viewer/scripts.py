"""Our scripts, and which of them import which others."""

from __future__ import annotations

import re
from functools import cache

from streamvis_viewer.web import STATIC

IMPORT = re.compile(r'(from |import )"\./([a-z]+\.js)"')


@cache
def needed(entry: str) -> tuple[str, ...]:
    """A script and all that it imports: who is told so loads them at once, not one level after the other."""
    found: dict[str, None] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += [match[2] for match in IMPORT.finditer(text(name))]
    return tuple(found)


@cache
def text(name: str) -> str:
    """A script's code."""
    return (STATIC / name).read_text(encoding="utf-8")
