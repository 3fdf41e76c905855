"""The `streamvis` program. Bodies of commands import what they need, so that `--help` is quick."""

from __future__ import annotations

from streamvis.cli import changing, demos, exporting, extensions, files, operating, reading, servers, sizes
from streamvis.cli.program import main, program

__all__ = [
    "changing",
    "demos",
    "exporting",
    "extensions",
    "files",
    "main",
    "operating",
    "program",
    "reading",
    "servers",
    "sizes",
]
