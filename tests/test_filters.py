"""How patterns select."""

from __future__ import annotations

import pytest

from streamvis.errors import PatternError
from streamvis.filters import Pattern, Patterns


@pytest.mark.parametrize(
    ("pattern", "text", "selected"),
    [
        ("loss", "train/loss", True),
        ("^loss", "train/loss", False),
        (".*", "", True),
        ("", "anything", True),
        ("!loss", "train/loss", False),
        ("!loss", "accuracy", True),
        ("!", "anything", False),
        ("[!]", "a!b", True),
        ("é.", "caféé", True),
    ],
)
def test_patterns_are_found_anywhere_and_negated_by_a_mark(pattern: str, text: str, selected: bool) -> None:
    """A pattern need not match from the start; a leading exclamation mark turns it around."""
    assert Pattern(pattern).matches(text) is selected
    assert Pattern(pattern).matches(text) is selected


@pytest.mark.parametrize("pattern", ["(a", "!(a", "(?=a)", r"(a)\1", "a{1001}", "\ud800"])
def test_a_refused_pattern_is_named_with_the_reason(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The error quotes the pattern, in one line, and nothing else is printed."""
    with pytest.raises(PatternError) as caught:
        Pattern(pattern)
    assert repr(pattern) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_patterns_are_kept_up_to_a_number() -> None:
    """The same pattern is compiled once; those not used for long are let go."""
    patterns = Patterns(size=2)
    first = patterns.get("a")
    assert patterns.get("a") is first
    patterns.get("b")
    patterns.get("a")
    patterns.get("c")
    assert len(patterns) == 2
    assert patterns.get("a") is first
