"""The server is killed at random instants under a logger: nothing is lost, nothing comes twice.

A few rounds here; STREAMVIS_KILL_ROUNDS=20 asks for more.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamvis.client import Client
from streamvis.logger import DataLogger
from streamvis.testing.loggers import unused_port

ROUNDS = int(os.environ.get("STREAMVIS_KILL_ROUNDS", "4"))
PIECE = 60_000
"""Points of one write: about half a message, so that a few writes are many batches."""


def _serve(prefix: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "streamvis", "grpc-serve", str(prefix), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert "data server on" in server.stdout.readline()
    return server


def _kill(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_of_the_server_loses_and_doubles_nothing(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Each round waits for ten unacknowledged batches, kills the server at a random instant and starts it again."""
    rng = random.Random(0)
    port = unused_port()
    server = _serve(tmp_path / "data", port)
    expected: dict[str, list[np.ndarray]] = {"bulk": [], "loss": []}
    written = 0
    with DataLogger("run", f"127.0.0.1:{port}", spool_dir=tmp_path / "spool", flush_every=0.01) as logger:
        for _ in range(ROUNDS):
            while logger.stats()["outstanding"] < 10:
                values = np.random.default_rng(written).permutation(PIECE).astype(np.float64) + written * PIECE
                logger.write("bulk", y=values)
                logger.write("loss", x=written)
                expected["bulk"].append(values)
                expected["loss"].append(np.array([written]))
                written += 1
            acknowledged = logger.stats()["batches"] - logger.stats()["outstanding"]
            target = acknowledged + rng.randrange(10)
            wait_until(lambda target=target: logger.stats()["batches"] - logger.stats()["outstanding"] >= target, 60)
            _kill(server)
            server = _serve(tmp_path / "data", port)
        logger.flush(120)
        wait_until(lambda: logger.stats()["outstanding"] == 0, 120)
    with Client(f"127.0.0.1:{port}") as client:
        bulk, loss = client.fetch("run", "bulk"), client.fetch("run", "loss")
    _kill(server)
    assert np.array_equal(bulk["run", "bulk", 0]["y"], np.concatenate(expected["bulk"]))
    assert np.array_equal(loss["run", "loss", 0]["x"], np.concatenate(expected["loss"]))
