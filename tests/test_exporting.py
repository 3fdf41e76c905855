"""Points in files of other programs: `streamvis export` and the tables behind it."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet

from streamvis import DataLogger, Points
from streamvis.cli import main
from streamvis.server.run import serving
from streamvis.tables import KEY, csv_header, csv_lines, labels

STRANGE = 'lo,ss "a"\n<b>→\u202e🙂'
TIMES = np.array([2.0**40, math.nan, -0.0])


@pytest.fixture(name="uri", scope="module")
def _uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with three names of a scope, one of them with a strange name and columns like the table's own."""
    folder = tmp_path_factory.mktemp("exporting")
    with serving(str(folder / "data"), 0) as server, DataLogger("run", server.uri, spool_dir=folder) as logger:
        logger.write("loss", x=[1, 2, 3], y=np.float32([0.1, 0.2, 0.3]))
        logger.write("waves", x=[1, 2], y=[[0.5, math.inf], [2.0, 3.0]])
        logger.write(STRANGE, name=[True, False, True], time=TIMES)
        logger.flush()
        yield server.uri


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_csv_goes_to_standard_output(uri: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A row per point; what a series lacks is empty; numbers come back as they were."""
    assert run("export", uri, "run") == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    header, *rows = csv.reader(io.StringIO(out.decode(), newline=""))
    assert header == [*KEY, "x", "y", "name_", "time"]
    assert rows[:3] == [["run", "loss", "0", str(x), f"0.{x}", "", ""] for x in (1, 2, 3)]
    assert [row[2:5] for row in rows[3:7]] == [
        ["0", "1", "0.5"],
        ["0", "2", "inf"],
        ["1", "1", "2.0"],
        ["1", "2", "3.0"],
    ]
    assert {row[1] for row in rows[7:]} == {STRANGE}
    assert [row[5] for row in rows[7:]] == ["True", "False", "True"]
    np.testing.assert_array_equal([float(row[6]) for row in rows[7:]], TIMES)


def test_names_are_chosen(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Only their columns are there; one that does not exist is an error that says how to find out."""
    assert run("export", uri, "run", "waves") == 0
    assert capfd.readouterr().out.splitlines()[:2] == ["scope,name,index,x,y", "run,waves,0,1,0.5"]
    assert run("export", uri, "run", "waves", "wavess") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"Error: scope 'run' has no name 'wavess'; `streamvis names {uri} run` lists its names\n"


def test_files_hold_what_the_server_holds(uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """CSV and Parquet have the same rows; dtypes are kept in Parquet, and nothing else is left beside the files."""
    for name in ("points.csv", "points.parquet"):
        assert run("export", uri, "run", "--output", str(tmp_path / name)) == 0
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["points.csv", "points.parquet"]
    table = parquet.read_table(tmp_path / "points.parquet")
    assert [str(table.schema.field(name).type) for name in ("index", "x", "name_", "time")] == [
        "int64", "int64", "bool", "double",
    ]  # fmt: skip
    read = pd.read_csv(tmp_path / "points.csv")
    assert read["name"].tolist() == table["name"].to_pylist() == ["loss"] * 3 + ["waves"] * 4 + [STRANGE] * 3
    np.testing.assert_array_equal(read["time"], table["time"].to_pandas())
    np.testing.assert_allclose(read["y"], table["y"].to_pandas(), rtol=1e-7)


def test_a_failure_leaves_the_file_as_it_was(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file becomes another only once that is whole."""
    path = tmp_path / "points.csv"
    path.write_text("earlier")

    def fail(*_: object) -> Iterator[str]:
        yield "half of"
        raise OSError("no space left")

    monkeypatch.setattr("streamvis.tables.csv_lines", fail)
    assert run("export", uri, "run", "--output", str(path)) == 1
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("points.csv", "earlier")]


def test_parquet_without_pyarrow_says_what_to_install(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line, and no file."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run("export", uri, "run", "--output", str(tmp_path / "points.parquet")) == 2
    assert "pip install pyarrow" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_ends_it_quietly(tmp_path: Path) -> None:
    """`streamvis export … | head` prints no error."""
    with serving(str(tmp_path / "data"), 0) as server:
        with DataLogger("run", server.uri, spool_dir=tmp_path) as logger:
            logger.write("many", x=np.arange(200_000.0))
        command = [sys.executable, "-m", "streamvis", "export", server.uri, "run"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline() == b"scope,name,index,x\n"
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 1


@given(st.lists(st.sampled_from(["scope", "name", "index", "index_", "index__", "x"]), unique=True))
def test_labels_are_unique_beside_the_key(columns: list[str]) -> None:
    """No column hides another or the key."""
    found = labels(columns)
    assert list(found) == columns
    assert len({*KEY, *found.values()}) == len(KEY) + len(columns)


@given(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_]).flatmap(
        lambda dtype: hnp.arrays(dtype, st.integers(0, 12))
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.integers(1, 5),
)
@example(np.zeros(2), "\r", 1)
def test_csv_brings_every_value_back(values: np.ndarray, name: str, rows: int) -> None:  # type: ignore[type-arg]
    """Whatever the dtype, the name and the size of the pieces: a value read in its dtype is the value written."""
    text = csv_header(["v"]) + "".join(csv_lines(("run", name, 3), {"v": values}, ["v"], rows))
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["scope"], row["name"], row["index"]) for row in read] == [("run", name, "3")] * len(values)
    texts = [row["v"] for row in read]
    back = [text == "True" for text in texts] if values.dtype == np.bool_ else texts
    np.testing.assert_array_equal(np.array(back, values.dtype), values)


def test_data_frames_and_tables_keep_columns_called_like_the_key() -> None:
    """The column has a `_` behind its name."""
    points = Points({("run", "a", 0): {"index": np.array([7, 8]), "x": np.array([1, 2])}})
    assert points.to_pandas().to_dict("list") == points.to_arrow().to_pydict()
    assert points.to_arrow().to_pydict() == {
        "scope": ["run"] * 2, "name": ["a"] * 2, "index": [0] * 2, "index_": [7, 8], "x": [1, 2],
    }  # fmt: skip
