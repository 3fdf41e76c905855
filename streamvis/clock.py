"""Unix time that never jumps: it tells for how long somebody is silent, whatever is done to the machine's clock."""

from __future__ import annotations

import functools
import time


def steady_time() -> float:
    """Seconds since 1970 by the clock as it stood at the first call; from then on they only pass."""
    return _origin() + time.monotonic()


@functools.cache
def _origin() -> float:
    return time.time() - time.monotonic()
