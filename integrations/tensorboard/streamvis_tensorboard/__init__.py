"""Mirrors what streamvis logs to TensorBoard's event files, without TensorFlow.

With `STREAMVIS_TENSORBOARD_DIR=runs` in the environment every run is mirrored to `runs/SCOPE`. `TensorBoardSink` loads
when it is first used, so that listing plugins imports no tensorboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamvis_tensorboard.sink import TensorBoardSink

__all__ = ["TensorBoardSink"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'streamvis_tensorboard' has no attribute {name!r}")
    from streamvis_tensorboard.sink import TensorBoardSink  # noqa: PLC0415 - tensorboard is imported when it is used

    return TensorBoardSink


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
