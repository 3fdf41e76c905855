"""Regular expressions of users: RE2, found anywhere, negated by a leading `!`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import re2

from streamvis.filters import Pattern


@functools.lru_cache(maxsize=256)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches. Raises PatternError for what RE2 refuses."""
    return Pattern(pattern).matches


def exactly(*texts: str) -> str:
    """The pattern that matches these texts alone."""
    escaped = "|".join(re2.escape(text) for text in texts)
    return f"^{escaped}$" if len(texts) == 1 else f"^({escaped})$"
