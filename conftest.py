"""What every test of the repository shares."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(name="wait_until", scope="session")
def _wait_until() -> Callable[..., None]:
    """Polls a condition until it holds; fails after the deadline in seconds."""

    def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"the condition did not become true within {timeout} s")
            time.sleep(0.002)

    return wait_until


@pytest.fixture
def resting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics rest as soon as nothing is written, so that compaction has an end which a test can wait for."""
    monkeypatch.setattr("streamvis.storage.compaction.REST_SECONDS", 0.0)
