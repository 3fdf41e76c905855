"""Reads everything in the file of a SqliteStore and says what is damaged, without changing it.

SQLite's own check finds what is wrong with the pages, the rows and their order; the CRC of each block, and of the list
of its parts, finds what is wrong with its points, that of each topic and config what is wrong with those.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamvis.codec import EncodedBlock, decode
from streamvis.errors import MalformedError, StoreDamagedError
from streamvis.storage.merging import unpack_parts
from streamvis.storage.sql import row_crc
from streamvis.storage.sqlite import check_clock, check_tables, opened
from streamvis.wire import load_config

_CHUNK = 256
_MOST_FAULTS = 20
"""Lines of SQLite's own check."""

_COLUMNS = "SELECT seq, parts, topic_id, idx, k, n, columns, payload, crc FROM block "
_NEXT = _COLUMNS + "WHERE seq > ? ORDER BY seq LIMIT ?"
_ONE = _COLUMNS + "WHERE seq = ?"
_INDEXED = "SELECT seq FROM block INDEXED BY block_topic WHERE topic_id IS NOT NULL AND seq > ?"


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that cannot be read. `block` is the number of a block, 0 where it is none."""

    what: str
    reason: str
    block: int = 0
    scope: str = ""
    name: str = ""


@dataclass(slots=True)
class Findings:
    """What was read, and what is damaged."""

    topics: int = 0
    blocks: int = 0
    points: int = 0
    damages: list[Damage] = field(default_factory=list)


def check(prefix: str | os.PathLike[str], progress: Callable[[int], object] = lambda _: None) -> Findings:
    """Reads all of `<prefix>.sqlite`, also beside a running server. `progress` gets how many blocks were read.

    Raises NotFoundError when there is no such file, StoreFormatError when it is not ours, StoreError when it cannot be
    opened at all.
    """
    findings = Findings()
    with opened(prefix) as (path, session):
        try:
            check_tables(session, path)
        except sqlite3.DatabaseError as error:  # as of one that was cut: this reads what there is of it
            findings.damages.append(Damage("the file", f"cannot be opened: {error}"))
            session.execute("PRAGMA writable_schema=1")
        return _Check(path, session, findings, progress).run()


class _Check:
    def __init__(
        self, path: Path, session: sqlite3.Connection, findings: Findings, progress: Callable[[int], object]
    ) -> None:
        self._path = path
        self._session = session
        self._progress = progress
        self._findings = findings
        self._topics: dict[int, tuple[str, str, list[str]]] = {}

    def run(self) -> Findings:
        self._check_structure()
        with self._noting("the clock"):
            check_clock(self._session, self._path)
        with self._noting("the topics"):
            self._read_topics()
        with self._noting("the configs"):
            self._read_configs()
        for row in self._rows():
            self._check_block(*row)
        return self._findings

    def _check_structure(self) -> None:
        with self._noting("the file"):
            for (line,) in self._session.execute(f"PRAGMA integrity_check({_MOST_FAULTS})"):
                faults = [] if line == "ok" else str(line).splitlines()
                self._findings.damages += [Damage("the file", fault) for fault in faults if not fault.startswith("***")]

    def _read_topics(self) -> None:
        for *row, crc in self._session.execute("SELECT id, scope, name, columns, deleted, changed, crc FROM topic"):
            id_, scope, name, columns, *_ = row
            try:
                self._topics[id_] = scope, name, list(json.loads(columns))
                if self._topics[id_][2]:  # else it was purged, and nothing of it is read any more
                    _check_crc(row, crc)
            except (MalformedError, TypeError, ValueError) as error:
                self._note(Damage(f"topic {id_}", f"it cannot be read: {error}", 0, str(scope), str(name)))
        self._findings.topics = len(self._topics)

    def _read_configs(self) -> None:
        for *row, crc in self._session.execute("SELECT name, config, changed, crc FROM scope"):
            scope, config, _ = row
            try:
                load_config(config)
                _check_crc(row, crc)
            except (MalformedError, TypeError) as error:
                self._note(Damage(f"the config of {scope!r}", str(error), 0, str(scope)))

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """The blocks in order; from where they cannot be read on, those that the index knows, one by one."""
        last = 0
        try:
            while rows := self._session.execute(_NEXT, (last, _CHUNK)).fetchall():
                for row in rows:
                    last = _next(row[0], last)
                    yield row
        except sqlite3.DatabaseError as error:
            self._note(Damage("the blocks", f"cannot be read in order: {error}"))
            yield from self._rows_one_by_one(last)

    def _rows_one_by_one(self, last: int) -> Iterator[tuple[Any, ...]]:
        seqs: list[int] = []
        with self._noting("the index of the blocks"):
            seqs += sorted(seq for (seq,) in self._session.execute(_INDEXED, (last,)))
        for seq in seqs:
            with self._noting(f"block {seq}", seq):
                yield from self._session.execute(_ONE, (seq,)).fetchall()

    def _check_block(self, seq: int, parts: bytes | None, *fields: Any) -> None:
        block = EncodedBlock._make(fields)
        scope, name, columns = self._topics.get(block.topic, ("", "", None))
        self._findings.blocks += 1
        self._progress(self._findings.blocks)
        try:
            self._findings.points += _check_points(block, columns)
            if parts is not None:
                _check_parts(parts, seq, block.n)
        except (MalformedError, TypeError) as error:  # a damaged file gives anything in the place of numbers and bytes
            self._note(Damage(f"block {seq} of topic {block.topic}", str(error), seq, scope, name))

    def _note(self, damage: Damage) -> None:
        self._findings.damages.append(damage)

    @contextmanager
    def _noting(self, what: str, block: int = 0) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, StoreDamagedError) as error:
            self._note(Damage(what, f"cannot be read: {error}", block))


def _next(seq: object, last: int) -> int:
    if not isinstance(seq, int) or seq <= last:
        raise sqlite3.DatabaseError(f"row {seq} follows row {last}")
    return seq


def _check_crc(row: Sequence[Any], crc: object) -> None:
    if row_crc(row) != crc:
        raise MalformedError("its CRC does not match")


def _check_points(block: EncodedBlock, columns: Sequence[str] | None) -> int:
    """How many points a block has. Without columns its topic was purged, and it is about to be freed."""
    if columns is None:
        raise MalformedError(f"there is no topic {block.topic}")
    return decode(block, columns).points if columns else 0


def _check_parts(parts: bytes, seq: int, n: int) -> None:
    numbers, points = unpack_parts(parts)
    if numbers[-1] != seq or points.sum() != n:
        raise MalformedError(f"its parts have {points.sum()} points up to number {numbers[-1]}; it has {n}")
