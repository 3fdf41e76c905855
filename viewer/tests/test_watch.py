"""A schema that is edited while it is in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamvis_viewer.faults import SchemaError
from streamvis_viewer.watch import SchemaFile

GOOD = "loss: {columns: [x, y]}\n"
BETTER = "loss: {columns: [x, y], glyph_kind: scatter}\n"
BAD = "loss:\n  columns: [x, y]\n  glyph_kind: pie\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "plots.yaml"
    made.write_text(GOOD)
    return made


def replace(path: Path, text: str) -> None:
    """As editors do: a new file in the place of the old one, so that it counts as changed however quick we are."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


def test_an_edit_is_taken_in(path: Path) -> None:
    """Once; and nothing is read while nothing changes."""
    file = SchemaFile(path)
    assert not file.refresh()
    replace(path, BETTER)
    assert file.refresh()
    assert file.schema.plots["loss"].glyph_kind == "scatter"
    assert not file.refresh()


def test_a_broken_edit_leaves_the_last_good_schema(path: Path) -> None:
    """And says where the fault is, until it is mended."""
    file = SchemaFile(path)
    good = file.schema
    replace(path, BAD)
    assert file.refresh()
    assert file.schema == good
    assert file.error.startswith(f"{path}, line 3: loss.glyph_kind: found 'pie'")
    replace(path, GOOD)
    assert file.refresh()
    assert (file.schema, file.error) == (good, "")


def test_an_edit_that_changes_no_plot_is_no_news(path: Path) -> None:
    """A comment, or the same text written again."""
    file = SchemaFile(path)
    replace(path, f"# a remark\n{GOOD}")
    assert not file.refresh()


def test_a_file_that_is_gone_is_an_error_that_ends_when_it_is_back(path: Path) -> None:
    """As when a branch is changed under a viewer."""
    file = SchemaFile(path)
    path.unlink()
    assert file.refresh()
    assert "cannot be read" in file.error
    path.write_text(GOOD)
    assert file.refresh()
    assert not file.error


def test_there_must_be_a_good_schema_to_begin_with(path: Path) -> None:
    """A viewer does not start on a broken file."""
    path.write_text(BAD)
    with pytest.raises(SchemaError, match="pie"):
        SchemaFile(path)
