"""Checksummed local segments of batches that no server has acknowledged.

A spool belongs to one writer: SPOOL/<writer>/000000000001.seg, …, append-only files, each named by the number of its
first batch, of records: magic, uint32 length and CRC-32 of the batch, CRC-32 of these twelve bytes, batch. Nothing is
locked or rewritten, so it works on network file systems. A torn tail — the process died within a write — ends its
segment: what precedes it is whole. What else is no record is stepped over, and costs the batches that are missing
there: their numbers tell. Acknowledged segments are deleted, damaged ones go to SPOOL/damaged; since the server
recognises batches that it has seen, replaying more than needed does no harm.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from streamvis.errors import BufferFullError, MalformedError, SpoolError
from streamvis.records import Batch
from streamvis.wire import dump_batch, load_batch

SEGMENT_BYTES = 32 << 20
REJECTED = "rejected"
DAMAGED = "damaged"

_MAGIC = b"svb2"
_HEAD = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CRC.size
_OWNER = "owner"

CLAIM_SECONDS = 60.0
"""For so long a claim of another host counts."""

_RENEWAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Batches `first` to `last` that a segment no longer holds; no `last` when nothing tells how many they were.

    `gone`: there is no such file any more.
    """

    path: Path
    first: int
    last: int | None
    gone: bool = False

    @property
    def batches(self) -> int:
        """How many they are, at least."""
        return 1 if self.last is None else self.last - self.first + 1

    def __str__(self) -> str:
        if self.last is None:
            return f"{self.path} is damaged after batch {self.first - 1}: what followed is lost"
        which = f"batch {self.first} is" if self.last == self.first else f"batches {self.first} to {self.last} are"
        if self.gone:
            return f"{self.path} is gone: {which} lost, unless a push has sent them"
        return f"{self.path} is damaged: {which} lost"


@dataclass(slots=True)
class _Segment:
    path: Path
    last: int  # the number of its last batch
    size: int
    damaged: bool = False
    held: Counter[str] = field(default_factory=Counter)  # what was added and not released, as of `Batch.contents`


class Spool:
    """Batches of one writer on disk, first in first out. One thread uses it.

    `append` adds, `read` gives the next unread batch, `acknowledge` forgets all up to a number, `rewind` makes the
    unacknowledged ones unread again.
    """

    def __init__(self, root: Path, writer: str, max_bytes: int) -> None:
        self.path = root / writer
        self.writer = writer
        self._max_bytes = max_bytes
        self._segments: list[_Segment] = []
        self._out: int | None = None
        self._in: tuple[_Segment, SegmentReader] | None = None
        self._read = 0
        self._ahead: Batch | None = None  # found in the files, for when what is absent before it has been made up
        self._absent = 0  # unread batches up to this number are in no file
        self._noted = 0  # those up to this one have been told
        self._losses: list[Loss] = []
        self._lost: Counter[str] = Counter()
        self._acknowledged = 0
        self._renew_at = 0.0
        self.last = 0

    @classmethod
    def existing(cls, path: Path) -> Spool:
        """The spool that another process left behind. Raises SpoolError when it cannot be read."""
        spool = cls(path.parent, path.name, 0)
        files = segment_files(path)
        if files:
            spool.last = spool._acknowledged = spool._read = int(files[0].stem) - 1
        tail_damaged = False
        for file in files:
            with _reading(file), SegmentReader(file) as reader:
                for batch in reader:
                    spool.writer = batch.writer
                    spool.last = max(spool.last, batch.number)
                spool._segments.append(_Segment(file, spool.last, file.stat().st_size, reader.damaged))
                tail_damaged = reader.tail_damaged
        if tail_damaged:
            spool._losses.append(Loss(files[-1], spool.last + 1, None))
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
            self._write(record, batch.number)
        except OSError as error:
            self._take_back()
            raise SpoolError(f"cannot write to the spool {self.path}: {error}") from error
        segment = self._segments[-1]
        segment.last = self.last = batch.number
        segment.size += len(record)
        segment.held.update(batch.contents())

    def read(self) -> Batch | None:
        """The next unread batch, or None when all have been read.

        In the place of one that the files no longer hold comes an empty one: numbers have no gaps. Raises SpoolError
        when a file cannot be read for now.
        """
        if self._read >= self.last:
            return None
        if self._ahead is None and self._read >= self._absent:
            self._ahead = self._find()
            self._absent = self.last if self._ahead is None else self._ahead.number - 1
            self._note_absent()
        self._read += 1
        if self._ahead is None or self._read <= self._absent:
            return Batch(self.writer, self._read)
        batch, self._ahead = self._ahead, None
        return batch

    def take_losses(self) -> list[Loss]:
        """What was found to be missing since the last call."""
        taken, self._losses = self._losses, []
        return taken

    def take_lost(self) -> Counter[str]:
        """What went with it since the last call, as of `Batch.contents`: all that was added and never released."""
        taken, self._lost = self._lost, Counter()
        return taken

    def hold(self, now: float) -> None:
        """Tells other hosts, from time to time, that this process still uses the spool. `now` is monotonic seconds."""
        if self._segments and now >= self._renew_at:
            self._renew_at = now + _RENEWAL_SECONDS
            with contextlib.suppress(OSError):  # the directory is gone, as whoever reads from it will find
                claim(self.path)

    def mark_read(self) -> None:
        """Makes every batch a read one: somebody else holds them in memory."""
        self._close_reader()
        self._read = self.last

    def rewind(self) -> None:
        """Makes every unacknowledged batch unread."""
        self._close_reader()
        self._read = self._acknowledged

    def release(self, batch: Batch) -> None:
        """What this batch holds is stored, or kept elsewhere: it is not lost with the spool."""
        segment = next((segment for segment in self._segments if segment.last >= batch.number), None)
        if segment is not None:
            segment.held -= batch.contents()

    def acknowledge(self, number: int) -> None:
        """Forgets the batches up to that number; deletes segments that hold nothing else, if the disk lets it."""
        self._acknowledged = max(self._acknowledged, number)
        if self._read < self._acknowledged:
            self.rewind()
        while self._segments and self._segments[0].last <= self._acknowledged:
            if len(self._segments) == 1:
                self._let_go()
            self._lost += self._segments[0].held
            self._remove(self._segments.pop(0))
        if not self._segments and self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def discard(self) -> None:
        """Forgets everything, of which nothing is lost."""
        for segment in self._segments:
            segment.held.clear()
        self.acknowledge(self.last)

    def clear(self) -> None:
        """Makes what is unacknowledged as if it had never been added."""
        self._let_go()
        self._close_reader()
        while self._segments:
            self._remove(self._segments.pop())
        self.last = self._read = self._acknowledged

    def close(self) -> None:
        """Closes the files; what is unacknowledged stays on disk, without an owner. Raises SpoolError."""
        self._close_reader()
        self._lose_absent_files()
        try:
            self._close_segment()
        except OSError as error:
            raise SpoolError(f"cannot finish the spool {self.path}: {error}") from error
        finally:
            with contextlib.suppress(OSError):  # where the folder could not be made there is no such file
                (self.path / _OWNER).unlink()

    def _lose_absent_files(self) -> None:
        first, kept = max(self._acknowledged, self._noted) + 1, list[_Segment]()
        for segment in self._segments:
            if segment.path.exists():
                kept.append(segment)
            else:
                self._lost += segment.held
                if first <= segment.last:
                    self._losses.append(Loss(segment.path, first, segment.last, gone=True))
            first = max(first, segment.last + 1)
        self._segments = kept

    # ---- writing

    def _write(self, record: bytes, number: int) -> None:
        if self._out is not None and os.fstat(self._out).st_nlink == 0:
            self._let_go()  # somebody deleted the file: what follows shall not go the same way
        if self._out is None or self._segments[-1].size >= SEGMENT_BYTES:
            self._open_segment(number)
        assert self._out is not None  # noqa: S101 - _open_segment set it or raised
        view = memoryview(record)
        while view:
            view = view[os.write(self._out, view) :]

    def _take_back(self) -> None:
        """Cuts off what a failed write left; if that fails too, it is the tail of its segment."""
        if self._out is not None:
            try:
                os.ftruncate(self._out, self._segments[-1].size)
            except OSError:
                self._let_go()

    def _open_segment(self, number: int) -> None:
        self._close_segment()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        claim(self.path)
        path = self.path / f"{number:012}.seg"
        self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if not self._segments or self._segments[-1].path != path:  # else there is half a record of it
            self._segments.append(_Segment(path, self.last, 0))

    def _close_segment(self) -> None:
        if self._out is not None:
            try:
                os.fsync(self._out)
            finally:
                self._let_go()

    def _let_go(self) -> None:
        if self._out is not None:
            os.close(self._out)
            self._out = None

    def _remove(self, segment: _Segment) -> None:
        with contextlib.suppress(OSError):  # what stays there is recognised by the server when it is sent again
            if segment.damaged:
                kept = self.path.parent / DAMAGED / f"{self.path.name}-{segment.path.name}"
                kept.parent.mkdir(exist_ok=True, mode=0o700)
                segment.path.rename(kept)
            else:
                segment.path.unlink(missing_ok=True)

    # ---- reading

    def _find(self) -> Batch | None:
        """The first whole batch that is unread."""
        for segment in self._segments:
            if segment.last <= self._read:
                continue
            with _reading(segment.path):
                reader = self._reader(segment)
                found = next((batch for batch in reader if batch.number > self._read), None)
            segment.damaged |= reader.damaged
            if found is not None:
                return found
        return None

    def _reader(self, segment: _Segment) -> SegmentReader:
        if self._in is None or self._in[0] is not segment:
            self._close_reader()
            self._in = segment, SegmentReader(segment.path)
        return self._in[1]

    def _note_absent(self) -> None:
        """Keeps for `take_losses`, once, what `_find` did not find."""
        first = max(self._read, self._noted) + 1
        if first <= self._absent:
            segment = next(segment for segment in self._segments if segment.last >= first)
            self._losses.append(Loss(segment.path, first, self._absent, gone=not segment.path.exists()))
            self._noted = self._absent

    def _close_reader(self) -> None:
        self._ahead, self._absent = None, 0
        if self._in is not None:
            self._in[1].close()
            self._in = None


class SegmentReader:
    """The whole batches of a segment, in order; iterated again, those that have been added.

    A file that is gone has none. `damaged` says whether it had to step over bytes, and `tail_damaged` whether it ends
    with some, unless these are a torn record.
    """

    def __init__(self, path: Path) -> None:
        self.damaged = self.tail_damaged = False
        self._file: BinaryIO | None = None
        with contextlib.suppress(FileNotFoundError):
            self._file = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Batch]:
        file = self._file
        while file is not None:
            start = file.tell()
            batch = _batch_at(file)
            if batch is None:
                file.seek(start)
                rest = file.read()
                place = _next_record(rest)
                if place is None:
                    self.tail_damaged = not _is_torn(rest)
                    self.damaged |= self.tail_damaged
                    file.seek(start)
                    return
                self.damaged = True
                file.seek(start + place)
            else:
                yield batch


def _batch_at(file: BinaryIO) -> Batch | None:
    """The batch whose record begins where the file stands, which is then behind it."""
    length, crc = _opened(file.read(_HEAD_BYTES))
    data = file.read(length)
    if not length or len(data) < length or zlib.crc32(data) != crc:
        return None
    try:
        return load_batch(data)
    except MalformedError:
        return None


def _opened(head: bytes) -> tuple[int, int]:
    """Length and CRC of the batch behind a record's head; (0, 0) for what is no head. No batch has length 0."""
    if len(head) < _HEAD_BYTES:
        return 0, 0
    magic, length, crc = _HEAD.unpack_from(head)
    valid = magic == _MAGIC and _CRC.unpack_from(head, _HEAD.size) == (zlib.crc32(head[: _HEAD.size]),)
    return (length, crc) if valid else (0, 0)


def _next_record(data: bytes) -> int | None:
    """Where the next whole record begins, after the first byte."""
    place = data.find(_MAGIC, 1)
    while place >= 0:
        begin = place + _HEAD_BYTES
        length, crc = _opened(data[place:begin])
        if length and len(data) >= begin + length and zlib.crc32(data[begin : begin + length]) == crc:
            return place
        place = data.find(_MAGIC, place + 1)
    return None


def _is_torn(rest: bytes) -> bool:
    """Whether these last bytes are the beginning of a record."""
    length, _ = _opened(rest[:_HEAD_BYTES])
    return len(rest) < _HEAD_BYTES or len(rest) < _HEAD_BYTES + length


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolError(f"cannot read {path}: {error}") from error


def _record(batch: Batch) -> bytes:
    data = dump_batch(batch)
    head = _HEAD.pack(_MAGIC, len(data), zlib.crc32(data))
    return head + _CRC.pack(zlib.crc32(head)) + data


def writer_id(scope: str) -> str:
    """The id of a new writer, and the name of its directory."""
    readable = "".join(char if char.isalnum() or char in "-_." else "_" for char in scope[:40])
    return f"{readable}-{uuid.uuid4().hex[:12]}"


def leftovers(root: Path) -> tuple[list[Path], list[Path]]:
    """Writers' spools under `root` (or `root` itself), oldest first: those left behind, and those still in use.

    Raises SpoolError when `root` is not a directory.
    """
    if not root.is_dir():
        raise SpoolError(f"there is no spool at {root}; expected a directory that a logger made")
    candidates = [root] if segment_files(root) else root.iterdir()
    found = {path: _changed(path) for path in candidates if segment_files(path)}
    paths = sorted(found, key=lambda path: found[path])
    busy = [path for path in paths if _in_use(path)]
    return [path for path in paths if path not in busy], busy


def segment_files(path: Path) -> list[Path]:
    """The segments of one writer's spool in order; what it refused or lost has other names."""
    try:
        return sorted(file for file in path.iterdir() if file.suffix == ".seg" and file.stem.isdecimal())
    except OSError:  # it is gone, or no directory
        return []


def claim(path: Path) -> None:
    """Says that this process uses the spool, in a file of its directory. Raises OSError."""
    owner, mine = path / _OWNER, f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"
    if _read_owner(path) == mine:
        os.utime(owner)
    else:
        draft = path / f"{_OWNER}-{os.getpid()}"
        draft.write_text(mine)
        draft.replace(owner)  # nobody finds half of it


def _read_owner(path: Path) -> str:
    try:
        return (path / _OWNER).read_text()
    except (OSError, ValueError):
        return ""


def _in_use(path: Path) -> bool:
    """Whether the process that last claimed it still runs; of another host, whether it did so within a minute."""
    try:
        host, pid, started = _read_owner(path).split()
        number = int(pid)
    except ValueError:
        return False
    if host != socket.gethostname():
        return time.time() - _changed(path / _OWNER) < CLAIM_SECONDS
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return _started(number) == started


def _started(pid: int) -> str:
    """What tells a process from another that had its number before; the same for all where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "unknown"


def _changed(path: Path) -> float:
    """When it was last written to, a Unix time; 0 when it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
