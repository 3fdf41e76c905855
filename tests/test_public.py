"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import streamvis

HEAVY = ("bokeh", "grpc", "jax", "numpy", "tornado", "torch")


def test_all_is_what_is_exported() -> None:
    """`__all__` has every name that loads, and no other."""
    assert streamvis.__all__ == sorted({*streamvis._HOMES, "script"}, key=str)


@pytest.mark.parametrize("name", streamvis.__all__)
def test_every_public_name_loads(name: str) -> None:
    """Each name of `__all__` can be had and is listed by `dir`."""
    assert getattr(streamvis, name) is not None
    assert name in dir(streamvis)


def test_a_misspelt_name_is_an_attribute_error() -> None:
    """Names load lazily, but a typo fails as it does anywhere."""
    with pytest.raises(AttributeError, match="DataLoger"):
        streamvis.DataLoger  # type: ignore[attr-defined]  # noqa: B018 - the typo is the test


def test_the_version_is_that_of_the_distribution() -> None:
    """`__version__` and the package's metadata agree."""
    assert streamvis.__version__ == version("streamvis")


def test_importing_the_package_imports_nothing_heavy() -> None:
    """`import streamvis` costs next to nothing."""
    code = f"import sys, streamvis; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
