"""What the tests of all integrations share: a real data server, and what it has of the scope `run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamvis import Client
from streamvis.server.run import ServerThread, serving


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving("memory:") as server:
        yield server


@pytest.fixture(name="stored")
def _stored(server: ServerThread) -> Callable[..., dict[str, dict[str, Any]]]:
    """All columns of each metric as lists; of an index other than 0 under name#index."""

    def stored(of: ServerThread = server) -> dict[str, dict[str, Any]]:
        with Client(of.uri) as client:
            return {
                f"{name}#{index}" if index else name: {column: values.tolist() for column, values in columns.items()}
                for (_, name, index), columns in client.fetch("run").items()
            }

    return stored


@pytest.fixture(name="config")
def _config(server: ServerThread) -> Callable[[], dict[str, Any]]:
    """The hyperparameters that are stored."""

    def config() -> dict[str, Any]:
        with Client(server.uri) as client:
            return client.config("run")

    return config


@pytest.fixture(name="said")
def _said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What streamvis reported."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "streamvis"]
