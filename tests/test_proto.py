"""The generated code is what the pinned compiler makes of the protocol."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILER = ROOT / ".venv-proto" / "bin"
PROTOCOLS = ["streamvis", "health", "reflection"]


@pytest.mark.skipif(
    not (COMPILER / "protoc-gen-mypy").exists(),
    reason="`make .venv-proto/.stamp` installs the compiler, which has wheels for Python 3.11 and 3.12",
)
def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """Compiling the protocol again gives the files that are checked in, byte for byte."""
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    protocols = [f"streamvis/v1/{name}.proto" for name in PROTOCOLS]
    subprocess.run(
        [COMPILER / "python", "-m", "grpc_tools.protoc", "-I.", *outputs, *protocols],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{COMPILER}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    generated = [path.name for path in (ROOT / "streamvis" / "v1").glob("*_pb2*")]
    assert len(generated) == 4 + 2 * 2
    for name in generated:
        made = (tmp_path / "streamvis" / "v1" / name).read_text()
        assert made == (ROOT / "streamvis" / "v1" / name).read_text(), f"{name} differs: run `make proto`"
