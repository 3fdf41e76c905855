"""Checksummed local segments of batches that no server has acknowledged.

A spool belongs to one writer: SPOOL/<writer>/00000001.seg, …, append-only files of records: magic, uint32 length,
uint32 CRC-32, batch. Nothing is locked or rewritten, so it works on network file systems. A torn tail — the process
died within a write — ends its segment: what precedes it is whole. Acknowledged segments are deleted; since the server
recognises batches that it has seen, replaying more than needed does no harm.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from streamvis.errors import BufferFullError, MalformedError, SpoolError
from streamvis.records import Batch
from streamvis.wire import dump_batch, load_batch

SEGMENT_BYTES = 32 << 20
REJECTED = "rejected"

_RECORD = struct.Struct("<4sII")
_MAGIC = b"svb1"
_OWNER = "owner"


@dataclass(slots=True)
class _Segment:
    path: Path
    last: int  # the number of its last batch
    size: int


class Spool:
    """Batches of one writer on disk, first in first out. One thread uses it.

    `append` adds, `read` gives the next unread batch, `acknowledge` forgets all up to a number, `rewind` makes the
    unacknowledged ones unread again.
    """

    def __init__(self, root: Path, writer: str, max_bytes: int) -> None:
        self.path = root / writer
        self._max_bytes = max_bytes
        self._segments: list[_Segment] = []
        self._made = 0
        self._out: int | None = None
        self._in: BinaryIO | None = None
        self._read = 0
        self._acknowledged = 0
        self.last = 0

    @classmethod
    def existing(cls, path: Path) -> Spool:
        """The spool that another process left behind. Raises MalformedError when it is damaged."""
        spool = cls(path.parent, path.name, 0)
        for segment in sorted(path.glob("*.seg")):
            numbers = [batch.number for batch in read_segment(segment)]
            if numbers and not spool._segments:
                spool._acknowledged = spool._read = numbers[0] - 1
            spool.last = numbers[-1] if numbers else spool.last
            spool._segments.append(_Segment(segment, spool.last, segment.stat().st_size))
        return spool

    @property
    def acknowledged(self) -> int:
        """The number before the first batch that is kept."""
        return self._acknowledged

    @property
    def empty(self) -> bool:
        """Whether every batch has been acknowledged."""
        return self.last <= self._acknowledged

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, batch: Batch) -> None:
        """Adds a batch; returns when the operating system has it.

        Raises BufferFullError when the spool's limit is reached, SpoolError when the disk refuses.
        """
        record = _record(batch)
        if self.nbytes + len(record) > self._max_bytes:
            raise BufferFullError(
                f"the spool {self.path} has reached its limit of {self._max_bytes} bytes: "
                "bring the server back or raise spool_max_bytes"
            )
        try:
            self._write(record)
        except OSError as error:
            raise SpoolError(f"cannot write to the spool {self.path}: {error}") from error
        segment = self._segments[-1]
        segment.last = self.last = batch.number
        segment.size += len(record)

    def read(self) -> Batch | None:
        """The next unread batch, or None when all have been read. Raises SpoolError for a damaged one."""
        segment = next((segment for segment in self._segments if segment.last > self._read), None)
        if segment is None:
            return None
        if self._in is None or self._in.name != str(segment.path):
            self._close_reader()
            self._in = segment.path.open("rb")
        for batch in _records(self._in):
            if batch.number > max(self._read, self._acknowledged):
                self._read = batch.number
                return batch
        raise SpoolError(f"{segment.path} is damaged: it ends after batch {self._read}, expected up to {segment.last}")

    def mark_read(self) -> None:
        """Makes every batch a read one: somebody else holds them in memory."""
        self._read = self.last
        self._close_reader()

    def rewind(self) -> None:
        """Makes every unacknowledged batch unread."""
        self._read = self._acknowledged
        self._close_reader()

    def acknowledge(self, number: int) -> None:
        """Forgets the batches up to that number; deletes segments that hold nothing else."""
        self._acknowledged = max(self._acknowledged, number)
        while self._segments and self._segments[0].last <= self._acknowledged:
            if len(self._segments) == 1:
                self._close_segment()
            self._segments.pop(0).path.unlink(missing_ok=True)
        if not self._segments and self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def discard(self) -> None:
        """Forgets everything."""
        self.acknowledge(self.last)

    def close(self) -> None:
        """Closes the files; what is unacknowledged stays on disk, without an owner."""
        self._close_reader()
        self._close_segment()
        with contextlib.suppress(OSError):  # where the folder could not be made there is no such file
            (self.path / _OWNER).unlink()

    def _write(self, record: bytes) -> None:
        if self._out is None or self._segments[-1].size >= SEGMENT_BYTES:
            self._open_segment()
        assert self._out is not None  # noqa: S101 - _open_segment set it or raised
        view = memoryview(record)
        while view:
            view = view[os.write(self._out, view) :]

    def _open_segment(self) -> None:
        self._close_segment()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.path / _OWNER).write_text(f"{socket.gethostname()} {os.getpid()}")
        self._made += 1
        path = self.path / f"{self._made:08}.seg"
        self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._segments.append(_Segment(path, self.last, 0))

    def _close_reader(self) -> None:
        if self._in is not None:
            self._in.close()
            self._in = None

    def _close_segment(self) -> None:
        if self._out is not None:
            os.fsync(self._out)
            os.close(self._out)
            self._out = None


def read_segment(path: Path) -> Iterator[Batch]:
    """The whole batches of a segment, in order; stops at a torn tail. Raises MalformedError for a damaged record."""
    with path.open("rb") as file:
        yield from _records(file)


def _records(file: BinaryIO) -> Iterator[Batch]:
    while len(head := file.read(_RECORD.size)) == _RECORD.size:
        magic, length, crc = _RECORD.unpack(head)
        if magic != _MAGIC:
            raise MalformedError(f"{file.name} is damaged or no spool segment: no record before byte {file.tell()}")
        data = file.read(length)
        if len(data) < length:
            return
        if zlib.crc32(data) != crc:
            raise MalformedError(f"{file.name} is damaged: the record before byte {file.tell()} fails its CRC")
        yield load_batch(data)


def _record(batch: Batch) -> bytes:
    data = dump_batch(batch)
    return _RECORD.pack(_MAGIC, len(data), zlib.crc32(data)) + data


def keep_rejected(root: Path, batch: Batch) -> Path:
    """Appends a batch that the server refused to SPOOL/rejected/<writer>.seg, and gives that path."""
    path = root / REJECTED / f"{batch.writer}.seg"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("ab") as file:
        file.write(_record(batch))
    return path


def leftovers(root: Path) -> tuple[list[Path], list[Path]]:
    """Writers' spools under `root` (or `root` itself), oldest first: those left behind, and those still in use.

    Raises SpoolError when `root` is not a directory.
    """
    if not root.is_dir():
        raise SpoolError(f"there is no spool at {root}; expected a directory that a logger made")
    candidates = [root] if any(root.glob("*.seg")) else [path for path in root.iterdir() if path.name != REJECTED]
    found = sorted((path for path in candidates if any(path.glob("*.seg"))), key=lambda path: path.stat().st_mtime)
    return [path for path in found if not _in_use(path)], [path for path in found if _in_use(path)]


def _in_use(path: Path) -> bool:
    """Whether the logger that made it still runs; on another host, whether it wrote within the last minute."""
    try:
        host, pid = (path / _OWNER).read_text().split()
    except (OSError, ValueError):
        return False
    if host != socket.gethostname():
        return time.time() - max(segment.stat().st_mtime for segment in path.iterdir()) < 60
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
