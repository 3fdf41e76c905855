"""What this package adds to streamvis; it imports no tensorboard."""

from __future__ import annotations

from typing import Any

from streamvis import hookimpl
from streamvis_tensorboard import settings


@hookimpl
def streamvis_sinks(run: Any) -> list[Any]:
    """A mirror of the run, where STREAMVIS_TENSORBOARD_DIR says so."""
    folder = settings.log_dir()
    if folder is None:
        return []
    from streamvis_tensorboard import TensorBoardSink  # noqa: PLC0415 - tensorboard is imported when it is used

    return [TensorBoardSink(folder, run.scope)]
