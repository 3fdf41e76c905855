"""What the integrations share, without any framework."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import Client, DataLogger
from streamvis.errors import DtypeError, StateError
from streamvis.integration import MetricLogger
from streamvis.server.run import ServerThread, serving


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="make")
def _make(server: ServerThread, tmp_path: Path) -> Iterator[Callable[..., MetricLogger]]:
    made = []

    def make(**options: Any) -> MetricLogger:
        made.append(
            MetricLogger("run", server.uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})
        )
        return made[-1]

    yield make
    for metrics in made:
        metrics.stop()


def stored(server: ServerThread, name: str, index: int = 0) -> dict[str, list[Any]]:
    with Client(server.uri) as client:
        series = client.fetch("run", name).get(("run", name, index), {})
        return {column: values.tolist() for column, values in series.items()}


def test_it_starts_at_the_first_use_once(make: Callable[..., MetricLogger], server: ServerThread) -> None:
    """Whatever thread comes first; ending an unused one does nothing."""
    unused, used = make(), make()
    unused.flush()
    assert not unused.started
    threads = [threading.Thread(target=lambda: used.log({"loss": 1.0}, 1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used.flush(10)
    assert stored(server, "loss")["step"] == [1] * 8


def test_every_point_has_the_columns_of_its_run(make: Callable[..., MetricLogger], server: ServerThread) -> None:
    """Such as the process that logged it, beside those of each metric and of each histogram."""
    metrics = make(columns={"process": 3})
    metrics.log({"loss": 0.5, "epoch": 2}, np.int32(7))
    metrics.log_histogram("weights", np.array([0.5, 1.5]), np.array([4, 6]), 7, epoch=2)
    metrics.flush(10)
    loss = stored(server, "loss")
    assert loss.pop("time")[0] > 1e9
    assert loss == {"step": [7], "value": [0.5], "epoch": [2.0], "process": [3]}
    weights = stored(server, "weights")
    assert (weights["value"], weights["count"], weights["process"]) == ([0.5, 1.5], [4, 6], [3, 3])


def test_a_name_given_twice_is_stored_twice_and_said(
    make: Callable[..., MetricLogger], server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    """Nested dicts join their names, which may then be equal."""
    metrics = make()
    metrics.log({"val": {"loss": 1.0}, "val/loss": 2.0}, 1)
    metrics.flush(10)
    assert stored(server, "val/loss")["value"] == [1, 2]
    assert len(caplog.records) == 1


def test_what_a_stopped_one_is_given_is_said_once(
    make: Callable[..., MetricLogger], caplog: pytest.LogCaptureFixture
) -> None:
    """It raises only when strict."""
    metrics = make()
    for _ in range(2):
        metrics.log({"loss": 1.0}, 1)
        metrics.stop()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["cannot log loss of 'run'"]
    strict = make(strict=True)
    strict.log({"loss": 1.0}, 1)
    strict.stop()
    with pytest.raises(StateError):
        strict.log({"loss": 1.0}, 1)
    with pytest.raises(DtypeError):
        make(strict=True).log({"loss": 1.0}, 2**80)


def test_a_copy_of_a_used_one_replaces_nothing(make: Callable[..., MetricLogger], server: ServerThread) -> None:
    """It says once more what its original has said, and adds to the same scope."""
    with DataLogger("run", server.uri) as earlier:
        earlier.write("loss", step=0, value=0.0, epoch=0.0, time=0.0)
    metrics = make(delete_existing=True)
    metrics.log({"loss": 1.0}, 1)
    metrics.flush(10)
    twin = pickle.loads(pickle.dumps(metrics))
    twin.log({"loss": 2.0}, 2)
    twin.stop()
    assert stored(server, "loss")["step"] == [1, 2]


def test_what_is_wrong_is_one_line_that_says_what_was_expected(
    make: Callable[..., MetricLogger], server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once for each name and kind of error, however often and long it comes."""

    class Odd:
        def __float__(self) -> float:
            raise RuntimeError("first line\nsecond line")

    metrics = make()
    for _ in range(2):
        metrics.log(0.5, 1)  # type: ignore[arg-type]  # the mistake
        metrics.log({"odd": Odd(), "loss": 1.0}, 1)
        metrics.log({"odd": "many"}, 1)
    metrics.flush(10)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot log metrics of 'run': UsageError: found float, expected a dict of names and values (said once)",
        "cannot log odd of 'run': RuntimeError: first line (said once)",
        "cannot log odd of 'run': ValueError: could not convert string to float: 'many' (said once)",
    ]
    assert stored(server, "loss")["step"] == [1, 1]
    other = make()
    other.log({"loss": 1.0}, None)
    assert (
        caplog.records[-1]
        .getMessage()
        .startswith("cannot log metrics of 'run': UsageError: the step is None; expected a whole number")
    )
