"""Data servers in processes of their own, for tests that stop, kill or measure them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def server_process(
    prefix: Path, errors: int | IO[str] = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`streamvis grpc-serve`, warnings being errors, and its address. `errors`: where its stderr goes."""
    command = [sys.executable, "-W", "error", "-m", "streamvis", "grpc-serve", str(prefix), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.match(r"data server on (\S+),", line)
            assert found, line
            yield process, found[1]
        finally:
            process.kill()
