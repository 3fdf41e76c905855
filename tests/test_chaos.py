"""Nothing is lost, doubled or altered, whatever dies when. `make chaos` plays a thousand rounds.

STREAMVIS_CHAOS_ROUNDS says how many, STREAMVIS_CHAOS_SEED with which seed they begin: the name of a failed test has its
seed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos import Episode

ROUNDS = 8
"""Lives of the server in one episode, which has one store."""
EPISODES = max(1, int(os.environ.get("STREAMVIS_CHAOS_ROUNDS", "16")) // ROUNDS)
FIRST_SEED = int(os.environ.get("STREAMVIS_CHAOS_SEED", "0"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + EPISODES))
def test_chaos(seed: int, tmp_path: Path) -> None:
    """Loggers write, readers follow, topics come and go, and the server is killed at random instants."""
    Episode(seed, tmp_path).play(ROUNDS)
