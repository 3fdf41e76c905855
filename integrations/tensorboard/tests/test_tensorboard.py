"""The TensorBoard mirror: what TensorBoard's own reader finds in the files is what was logged."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamvis_tensorboard
from streamvis import Block, Client, DataLogger
from streamvis.server.run import ServerThread, serving
from streamvis_tensorboard import TensorBoardSink


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="logger")
def _logger(server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataLogger:
    """A logger of a program whose environment asks for the mirror."""
    monkeypatch.setenv("STREAMVIS_TENSORBOARD_DIR", str(tmp_path / "runs"))
    return DataLogger("run24", server.uri, spool_dir=tmp_path / "spool", flush_every=0.05)


@pytest.fixture(name="sink")
def _sink(tmp_path: Path) -> Iterator[TensorBoardSink]:
    sink = TensorBoardSink(tmp_path / "runs", "run24")
    yield sink
    sink.close()


def reader(folder: Path, run: str = "run24") -> Any:
    """TensorBoard's own reader of one run."""
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    return EventMultiplexer({run: str(folder / "runs" / run)}, size_guidance={"tensors": 0}).Reload()


def scalars(folder: Path, tag: str, run: str = "run24") -> list[tuple[int, float]]:
    """Steps and values of one series, as TensorBoard draws it."""
    found = reader(folder, run).Tensors(run, tag)
    return [(event.step, float(event.tensor_proto.float_val[0])) for event in found]


def tags(folder: Path) -> set[str]:
    return set(reader(folder).Runs()["run24"]["tensors"])


def block(**columns: Any) -> Block:
    return Block(1, 0, {name: np.atleast_2d(values) for name, values in sorted(columns.items())})


def test_scalars_come_back_from_the_files(logger: DataLogger, server: ServerThread, tmp_path: Path) -> None:
    """Every point of a run is in the server and, as float32, in TensorBoard, with its step and its time."""
    values = [0.1, 1e30, math.inf, -2.5]
    with logger:
        for step, value in enumerate(values):
            logger.write("train/loss", step=step, value=value, epoch=0.0, time=1e9 + step)
            logger.write("plain", x=2**40 + step, y=value)
    assert scalars(tmp_path, "train/loss") == [(step, np.float32(value)) for step, value in enumerate(values)]
    assert scalars(tmp_path, "plain") == [(2**40 + step, np.float32(value)) for step, value in enumerate(values)]
    events = reader(tmp_path).Tensors("run24", "train/loss")
    assert [event.wall_time for event in events] == [1e9 + step for step in range(4)]
    with Client(server.uri) as client:
        assert client.fetch("run24", "plain")["run24", "plain", 0]["y"].tolist() == values


def test_an_index_and_a_column_each_have_a_series(sink: TensorBoardSink, tmp_path: Path) -> None:
    """Index 0 has the name, further ones their number behind it; of several columns each has its own name."""
    began = time.time()
    sink.write([("loss", block(x=[1, 2], y=[[0.5, 1.0], [2.0, 3.0]])), ("two", block(step=7, a=1.0, b=True))])
    assert tags(tmp_path) == {"loss", "loss/1", "two/a", "two/b"}
    assert scalars(tmp_path, "loss/1") == [(1, 2.0), (2, 3.0)]
    assert scalars(tmp_path, "two/b") == [(7, 1.0)]
    assert began <= reader(tmp_path).Tensors("run24", "loss")[0].wall_time <= time.time()


def test_histograms_come_back_with_their_bins(sink: TensorBoardSink, tmp_path: Path) -> None:
    """The columns value and count become one histogram for each step."""
    centres, counts = [0.5, 1.5, 2.5, -1.0, 1.0], [3, 0, 1, 2, 2]
    sink.write([("weights", block(step=[4, 4, 4, 9, 9], value=centres, count=counts, time=5.0, epoch=1.0))])
    first, second = reader(tmp_path).Tensors("run24", "weights")
    assert (first.step, first.wall_time, second.step) == (4, 5.0, 9)
    from tensorboard.util.tensor_util import make_ndarray

    # left, right, count
    assert make_ndarray(first.tensor_proto).tolist() == [[0, 1, 3], [1, 2, 0], [2, 3, 1]]
    assert make_ndarray(second.tensor_proto).tolist() == [[-2, 0, 2], [0, 2, 2]]


def test_hyperparameters_come_back_merged(sink: TensorBoardSink, tmp_path: Path) -> None:
    """They are those of TensorBoard's tab; what a later write replaces is gone."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    sink.write_config({"lr": 0.5, "optimizer": {"name": "sgd", "momentum": 0.9}, "sizes": [1, 2], "old": {"a": 1}})
    sink.write_config({"lr": 0.25, "optimizer": {"name": "adam"}, "old": True, "none": None})
    file = next((tmp_path / "runs" / "run24").iterdir())
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    last = list(EventFileLoader(str(file)).Load())[-1].summary.value[0].metadata.plugin_data
    start = HParamsPluginData.FromString(last.content).session_start_info
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert (last.plugin_name, start.group_name) == ("hparams", "run24")
    assert found == {
        "lr": 0.25,
        "optimizer.name": "adam",
        "optimizer.momentum": 0.9,
        "sizes": "[1, 2]",
        "old": True,
        "none": "null",
    }


def test_what_has_no_step_is_left_out_and_said_once(
    sink: TensorBoardSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cloud has no place in TensorBoard; the rest of its flush has."""
    with caplog.at_level(logging.WARNING, "streamvis"):
        for _ in range(2):
            sink.write([("cloud", block(x=[0.5, 1.5], y=[1.0, 2.0], t=3)), ("loss", block(x=1, y=2.0))])
    assert tags(tmp_path) == {"loss"}
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["TensorBoard does not get 'cloud'"]


@pytest.mark.parametrize(
    ("scope", "folder"), [("a/b", "a/b"), ("../up", "_/up"), ("/etc", "_/etc"), ("a//b\n", "a/_/b_"), (".", "_")]
)
def test_files_stay_below_the_folder(scope: str, folder: str, tmp_path: Path) -> None:
    """Whatever a scope is called, its files are in folders below the one that was given."""
    sink = TensorBoardSink(tmp_path, scope)
    sink.write([("loss", block(x=1, y=2.0))])
    sink.close()
    assert len([*(tmp_path / folder).iterdir()]) == 1


def test_after_a_failure_a_new_file_begins(sink: TensorBoardSink, tmp_path: Path) -> None:
    """A full disk costs the flush that met it, no other; TensorBoard reads both files."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    sink.write([("loss", block(x=1, y=1.0))])
    sink.close()
    sink._writer = RecordWriter(Path("/dev/full").open("wb"))  # noqa: SIM115 - the sink closes it
    with pytest.raises(OSError, match="No space"):
        sink.write([("loss", block(x=2, y=2.0))])
    sink.write([("loss", block(x=3, y=3.0))])
    assert [step for step, _ in scalars(tmp_path, "loss")] == [1, 3]


def test_a_folder_that_cannot_be_made_harms_nobody(
    server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """The run goes on, its points are stored, and the counters say what is wrong."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STREAMVIS_TENSORBOARD_DIR", str(tmp_path / "file"))
    with DataLogger("run24", server.uri, spool_dir=tmp_path / "spool") as logger:
        logger.write("loss", x=1, y=2.0)
        logger.flush(10)
        wait_until(lambda: logger.stats()["sinks"]["tensorboard"]["errors"])
        assert "NotADirectoryError" in logger.stats()["sinks"]["tensorboard"]["last_error"]
    with Client(server.uri) as client:
        assert client.fetch("run24", "loss")["run24", "loss", 0]["y"].tolist() == [2]


def test_without_the_variable_nothing_is_mirrored(
    logger: DataLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installing the package alone writes no files."""
    monkeypatch.delenv("STREAMVIS_TENSORBOARD_DIR")
    with logger:
        logger.write("loss", x=1, y=2.0)
    assert logger.stats()["sinks"] == {}
    assert not (tmp_path / "runs").exists()


def test_listing_imports_no_tensorboard() -> None:
    """The hooks and the package load no tensorboard, the sink no TensorFlow, and a misspelt name is an error."""
    code = (
        "import sys, streamvis_tensorboard.hooks as hooks; hooks.streamvis_sinks(None); import streamvis_tensorboard;"
        "print('tensorboard' in sys.modules, 'TensorBoardSink' in dir(streamvis_tensorboard));"
        "streamvis_tensorboard.TensorBoardSink; print('tensorflow' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "False True\nFalse\n"
    with pytest.raises(AttributeError, match="TensorbordSink"):
        _ = streamvis_tensorboard.TensorbordSink
