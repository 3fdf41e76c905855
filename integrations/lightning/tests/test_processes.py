"""The Lightning logger where Lightning starts processes or makes the objects itself."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamvis import Client
from streamvis.server.run import ServerThread

Stored = Callable[..., dict[str, dict[str, Any]]]

SPAWNED = Path(__file__).with_name("spawned.py")

CONFIG = """
seed_everything: 0
model: {{learning_rate: 0.05}}
trainer:
  max_epochs: 1
  accelerator: cpu
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: streamvis_lightning.{logger}
    init_args: {{scope: run, grpc_uri: "{uri}", spool_dir: {folder}/spool, flush_every: 0.05}}
  callbacks:
    - class_path: streamvis_lightning.{callback}
      init_args: {{per_parameter: true}}
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_spawned_processes_log_once(server: ServerThread, stored: Stored, tmp_path: Path) -> None:
    """The logger travels to both; only that of rank 0 logs; that of rank 1 takes any call; both agree on paths."""
    command = [sys.executable, "-W", "ignore", SPAWNED, server.uri, tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [rank["experiment"] for rank in ranks] == ["DataLogger", "_DummyExperiment"]
    assert [rank["nothing"] for rank in ranks] == [None, None]
    assert ranks[0]["path"] == ranks[1]["path"] == f"{tmp_path}/lightning_logs/run/checkpoints"
    found = stored()
    assert found["train/loss"]["step"] == [0, 1, 2]
    assert found["gradient/norm"]["step"] == [0, 1, 2]
    assert found["earlier"]["step"] == [0]
    assert list((tmp_path / "lightning_logs" / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_at_sigterm_lightning_ends_the_training_in_its_own_way(
    server: ServerThread, stored: Stored, tmp_path: Path
) -> None:
    """It finishes the step and tells its callbacks, though the logger had been there first; nothing is lost."""
    command = [sys.executable, "-W", "ignore", SPAWNED.with_name("terminated.py"), server.uri, tmp_path]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGTERM)
        out, err = program.communicate("\n", timeout=100)
    assert (program.returncode, out) == (0, "3 SIGTERMException\n"), err
    assert stored()["train/loss"]["step"] == [0, 1, 2]


@pytest.fixture(name="cli")
def _cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """LightningCLI in a folder of the test's own; later tests are programs without it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # LightningCLI calls what jsonargparse deprecates
    monkeypatch.setattr(sys, "argv", ["train.py", "fit", "--config", "config.yml", "--trainer.limit_train_batches=3"])
    yield importlib.import_module("lightning.pytorch.cli").LightningCLI
    del sys.modules["lightning.pytorch.cli"]


@pytest.mark.parametrize("home", ["", "lightning."])
def test_a_cli_makes_logger_and_callback_from_their_class_paths(
    cli: Any, server: ServerThread, stored: Stored, tmp_path: Path, home: str
) -> None:
    """A YAML file names them, with their own arguments and those of DataLogger; the CLI keeps its config beside."""
    from lightning.pytorch.demos.boring_classes import BoringModel

    class Model(BoringModel):
        def __init__(self, learning_rate: float = 0.1) -> None:  # noqa: ARG002 - a hyperparameter
            super().__init__()
            self.save_hyperparameters()

    names = {"logger": f"{home}StreamvisLogger", "callback": f"{home}StreamvisCallback"}
    (tmp_path / "config.yml").write_text(CONFIG.format(uri=server.uri, folder=tmp_path, **names))
    cli(Model).trainer.logger.experiment.stop()
    assert stored()["gradient/norm/layer.weight"]["step"] == [0, 1, 2]
    with Client(server.uri) as client:
        assert client.config("run")["learning_rate"] == 0.05
    assert (tmp_path / "config.yaml").exists()
    assert next((tmp_path / "lightning_logs" / "run" / "checkpoints").iterdir())
