"""The direction of imports, as the import-linter contracts in pyproject.toml draw it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_only_flow_down() -> None:
    """Every contract about who imports whom is kept."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", ["streamvis", "viewer/streamvis_viewer", "integrations/flax/streamvis_flax"])
def test_packages_say_that_they_are_typed(package: str) -> None:
    """Type checkers of users see our types."""
    assert (ROOT / package / "py.typed").exists()
