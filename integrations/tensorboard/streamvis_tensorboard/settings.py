"""The only reader of this package's environment variable."""

from __future__ import annotations

import os
from pathlib import Path


def log_dir() -> Path | None:
    """STREAMVIS_TENSORBOARD_DIR: where event files go; None, when it is not set, mirrors nothing."""
    value = os.environ.get("STREAMVIS_TENSORBOARD_DIR")
    return Path(value) if value else None
