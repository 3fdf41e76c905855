"""A copy of the file of a SqliteStore as of one moment, also while a server writes to it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from streamvis.errors import ConflictError, NotFoundError
from streamvis.storage.sqlite import check_format, translated


def back_up(prefix: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Writes what is committed in `<prefix>.sqlite` to `<target>.sqlite`, without free pages; gives that path.

    Returns when it is on the disk. Raises NotFoundError when there is nothing to copy, ConflictError when the target
    exists, StoreError when either cannot be used; then there is no target.
    """
    source, copy = (Path(f"{os.fspath(path)}.sqlite") for path in (prefix, target))
    partial = Path(f"{copy}-partial")
    if not source.is_file():
        raise NotFoundError(f"there is no {source}; expected the prefix that the data server was started with")
    if copy.exists():
        raise ConflictError(f"{copy} exists; choose another prefix for the copy")
    with translated(source):
        check_format(source)
        partial.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                connection.execute("VACUUM INTO ?", (str(partial),))
            _sync(partial)
            partial.rename(copy)
            _sync(copy.parent)
        finally:
            partial.unlink(missing_ok=True)
    return copy


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
