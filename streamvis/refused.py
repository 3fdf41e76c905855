"""What a server refused of one writer: kept under SPOOL/rejected until somebody pushes it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from streamvis.records import CONFIGS, Batch
from streamvis.spool import REJECTED, Spool, writer_id


class Refused:
    """An ordinary spool of a writer that no server has heard of, so that a push of it is stored once, like any other.

    It has what was refused and nothing else of its batches; what it declares replaces nothing.
    """

    def __init__(self, root: Path, scope: str, max_bytes: int) -> None:
        self._spool = Spool(root / REJECTED, writer_id(scope), max_bytes)

    @property
    def path(self) -> Path:
        """The directory where it is."""
        return self._spool.path

    def keep(self, refused: Batch) -> None:
        """Keeps what was refused of a batch, as `only` gives it. Raises BufferFullError or SpoolError."""
        declarations = tuple(replace(declared, replace=False) for declared in refused.declarations)
        spool, number = self._spool, self._spool.last + 1
        spool.append(replace(refused, writer=spool.writer, number=number, declarations=declarations, status=None))

    def hold(self, now: float) -> None:
        """Tells others, from time to time, that there may come more. `now` is monotonic seconds."""
        self._spool.hold(now)

    def close(self) -> None:
        """Leaves it to whoever pushes it. Raises SpoolError."""
        self._spool.close()


def only(batch: Batch, handles: Collection[int]) -> Batch:
    """The part of the batch that belongs to these handles."""
    return replace(
        batch,
        configs=batch.configs if CONFIGS in handles else (),
        declarations=tuple(declared for declared in batch.declarations if declared.handle in handles),
        blocks=tuple(block for block in batch.blocks if block.topic in handles),
    )
