"""A copy of the file of a SqliteStore as of one moment, also while a server writes to it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from streamvis.errors import ConflictError
from streamvis.storage.base import new_timeline
from streamvis.storage.sqlite import data_file, opened, translated


def back_up(prefix: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Writes what is committed in `<prefix>.sqlite` to `<target>.sqlite`, without free pages; gives that path.

    The copy begins a timeline of its own: whoever goes back to it stores again under numbers that the original gave.
    Returns when it is on the disk. Raises NotFoundError when there is nothing to copy, ConflictError when the target
    exists, StoreError when either cannot be used; then there is no target.
    """
    copy = data_file(target)
    partial = Path(f"{copy}-partial")
    with opened(prefix) as (_, session):
        if copy.exists():
            raise ConflictError(f"{copy} exists; choose another prefix for the copy")
        partial.unlink(missing_ok=True)
        try:
            session.execute("VACUUM INTO ?", (str(partial),))
            _begin_timeline(partial)
            _sync(partial)
            partial.rename(copy)
            _sync(copy.parent)
        finally:
            partial.unlink(missing_ok=True)
    return copy


def _begin_timeline(path: Path) -> None:
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as session:
        session.execute("UPDATE clock SET timeline = ?", (new_timeline(),))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
