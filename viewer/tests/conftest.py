"""What the viewer's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from streamvis.server.run import ServerThread
from streamvis.server.run import serving as data_serving
from streamvis_viewer import serving
from viewer.tests.layer_page import chromium

expect.set_options(timeout=20_000)  # a machine may be busy; what comes at once is not waited for


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium for the tests of one file."""
    with chromium() as started:
        yield started


@pytest.fixture
def data() -> Iterator[ServerThread]:
    """A data server that has nothing yet."""
    with data_serving("memory:") as server:
        yield server


@pytest.fixture
def url(data: ServerThread, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a viewer of it, with the plots of the test file's SCHEMA, in plots.yaml."""
    schema = tmp_path / "plots.yaml"
    schema.write_text(request.module.SCHEMA)
    with serving("127.0.0.1:0", data.uri, schema) as address:
        yield address
