"""A schema file that is being edited: read again when it changes; after a broken edit the last good one stands."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from streamvis_viewer.faults import SchemaError
from streamvis_viewer.schema import Schema, load

Stamp: TypeAlias = tuple[int, int, int] | None


class SchemaFile:
    """The schema in a file, as it last could be read."""

    def __init__(self, path: Path) -> None:
        """Reads it. Raises SchemaError: there is no good one yet."""
        self._path = path
        self._stamp = _stamp(path)
        self.schema: Schema = load(path)
        self.error = ""
        """Why the file as it stands now cannot be used; empty when it can."""

    def refresh(self) -> bool:
        """Reads the file if it has changed since; whether that changed the schema or the error."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        before = self.schema, self.error
        try:
            self.schema, self.error = load(self._path), ""
        except SchemaError as error:
            self.error = str(error)
        return (self.schema, self.error) != before


def _stamp(path: Path) -> Stamp:
    """What differs between two versions of a file; None while there is none, as between two steps of some editors."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
