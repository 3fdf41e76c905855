"""The patterns by which readers select scopes and names: RE2, found anywhere, a leading `!` negates."""

from __future__ import annotations

from collections import OrderedDict

import re2

from streamvis.errors import PatternError


class Pattern:
    """One pattern. Verdicts are remembered, because the same few names are asked about again and again."""

    def __init__(self, pattern: str) -> None:
        """Raises PatternError, naming the pattern and RE2's reason."""
        self._negated = pattern.startswith("!")
        self._regex = _compile(pattern, pattern[1:] if self._negated else pattern)
        self._verdicts: dict[str, bool] = {}

    def matches(self, text: str) -> bool:
        """Whether the text is selected."""
        verdict = self._verdicts.get(text)
        if verdict is None:
            verdict = self._verdicts[text] = (self._regex.search(text) is None) == self._negated
        return verdict


def _compile(shown: str, pattern: str) -> re2._Regexp[str]:
    options = re2.Options()
    options.log_errors = False  # the reason goes to whoever sent the pattern, not to stderr
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "refused"
        reason = reason.removesuffix(f": {pattern}")
        raise PatternError(
            f"pattern {shown!r} is not a regular expression that RE2 accepts: {reason}", reason
        ) from None
    except UnicodeEncodeError:
        reason = "it has a lone surrogate"
        raise PatternError(f"pattern {shown!r} is not valid text: {reason}", reason) from None


class Patterns:
    """Compiled patterns, the most recently used ones kept."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._kept: OrderedDict[str, Pattern] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, pattern: str) -> Pattern:
        """The compiled pattern. Raises PatternError."""
        found = self._kept.get(pattern)
        if found is None:
            found = self._kept[pattern] = Pattern(pattern)
        self._kept.move_to_end(pattern)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return found
