"""Carries compaction out: small transactions, each a step of what `compaction` plans and `merging` computes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import TypeAlias

from streamvis.codec import EncodedBlock
from streamvis.errors import MalformedError, StoreError
from streamvis.storage import sizes
from streamvis.storage.compaction import (
    HEADERS,
    SMALL_BYTES,
    STEP_READS,
    Agenda,
    Backlog,
    Header,
    Merge,
    Slice,
    StaleError,
    Step,
    weight,
)
from streamvis.storage.merging import DamagedError, Stored, merge
from streamvis.storage.session import Session, select, singles

_COUNTS = "SELECT topic_id, count(*) FROM block GROUP BY topic_id"
_FLOOR = "SELECT floor FROM clock WHERE shard = ?"
_SET_FLOOR = "UPDATE clock SET floor = ? WHERE shard = ?"
_BACKLOG = "SELECT coalesce(sum(1 + length(payload) / ?), 0) FROM block WHERE seq > ?"
_SLICE = (
    "SELECT topic_id, idx, k, n, columns, CASE WHEN length(payload) <= ? THEN payload END, crc, seq, level, "
    "coalesce(length(payload), 0) FROM block WHERE seq > ? ORDER BY seq LIMIT ?"
)
_HEADERS = (
    "SELECT seq, idx, k, n, level, columns FROM block WHERE topic_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
_STORED = "SELECT seq, parts, topic_id, idx, k, n, columns, payload, crc FROM block WHERE seq IN ({keys})"
_DELETE = "DELETE FROM block WHERE seq = ?"
_PUT = (
    "INSERT INTO block (shard, seq, topic_id, idx, k, n, level, parts, crc, columns, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

Sessions: TypeAlias = Callable[[], AbstractContextManager[Session]]

_log = logging.getLogger(__name__)


class Compactor:
    """Merges the blocks of one store. For the committing thread alone."""

    def __init__(self, writing: Sessions, reading: Sessions, shard: int) -> None:
        """`writing` and `reading` begin a transaction and a snapshot."""
        self._writing = writing
        self._reading = reading
        self._shard = shard
        self._agenda: Agenda | None = None
        self.resized: set[int] = set()
        """Topics whose blocks were merged; to be cleared by whoever wants to know."""

    def appended(self, payloads: Sequence[bytes | memoryview]) -> None:
        """Blocks with these payloads were written."""
        if self._agenda and payloads:
            self._agenda.backlog.add(sum(weight(len(payload)) for payload in payloads), time.monotonic())

    def step(self) -> float:
        """See Store.compact."""
        now = time.monotonic()
        if self._agenda is None:
            self._agenda = self._open(now)
        if self._agenda.slice_is_next():
            self._gather(self._agenda, now)
        else:
            self._sweep(self._agenda, now)
        return self._agenda.wait(now)

    def _open(self, now: float) -> Agenda:
        with self._reading() as session:
            ((floor,),) = session.execute(_FLOOR, (self._shard,))
            ((backlog,),) = session.execute(_BACKLOG, (SMALL_BYTES, floor))
            agenda = Agenda(Backlog(floor, backlog, now))
            agenda.note(dict(session.execute(_COUNTS)), now)
        return agenda

    # ---- in the order of writing

    def _gather(self, agenda: Agenda, now: float) -> None:
        backlog = agenda.backlog
        if backlog.due > now:
            return
        cut, limit = Slice(agenda.damaged), backlog.slice_blocks
        stored: dict[int, Stored] = {}
        try:
            with self._writing() as session:
                with closing(session.execute(_SLICE, (SMALL_BYTES, backlog.floor, limit))) as rows:
                    for row in rows:
                        block, (seq, level, size) = EncodedBlock._make(row[:7]), row[7:]
                        cut.add(block.topic, Header(seq, block.index, block.k, block.n, level, block.columns), size)
                        stored[seq] = Stored(seq, None, block)
                        if cut.full:
                            break
                for planned in cut.finish():
                    stored[planned.seqs[-1]] = self._replace(session, planned, [stored[seq] for seq in planned.seqs])
                session.execute(_SET_FLOOR, (max(cut.seq, backlog.floor), self._shard))
        except MalformedError as error:
            agenda.damaged.add(_report(DamagedError(cut.seq, cut.topic, error)))
        except DamagedError as error:
            agenda.damaged.add(_report(error))
        else:
            backlog.passed(cut, ended=cut.blocks < limit and not cut.full)
            agenda.note(cut.left, now)

    # ---- topic by topic

    def _sweep(self, agenda: Agenda, now: float) -> None:
        step = Step()
        try:
            self._plan(agenda, step, now)
            self._make(step.merges)
        except StaleError:
            agenda.abandon(step.topics, now)
        except DamagedError as error:
            agenda.abandon([*step.topics, error.topic], now, _report(error))
        except StoreError:
            agenda.abandon(step.topics, now)
            raise

    def _plan(self, agenda: Agenda, step: Step, now: float) -> None:
        with self._reading() as session:
            while sweep := agenda.sweep(now):
                step.take(sweep)
                if sweep.planner.merges or step.reads == STEP_READS:
                    break
                if sweep.ended:
                    agenda.finish(sweep)
                    continue
                step.reads += 1
                rows = session.execute(_HEADERS, (sweep.topic, sweep.position, agenda.backlog.floor, HEADERS))
                try:
                    sweep.feed(list(map(Header._make, rows)))
                except MalformedError as error:
                    raise DamagedError(sweep.position, sweep.topic, error) from error

    def _make(self, merges: Sequence[Merge]) -> None:
        if merges:
            with self._writing() as session:
                for planned in merges:
                    rows = sorted(select(session, _STORED, singles(planned.seqs)))
                    if len(rows) != len(planned.seqs):
                        raise StaleError
                    self._replace(
                        session, planned, [Stored(row[0], row[1], EncodedBlock._make(row[2:])) for row in rows]
                    )

    def _replace(self, session: Session, planned: Merge, stored: Sequence[Stored]) -> Stored:
        """Puts one block in the place of several."""
        merged = merge(stored, dense=planned.dense)
        new = merged.block
        head = self._shard, merged.seq, new.topic, new.index, new.k, new.n, planned.level
        session.executemany(_DELETE, singles(planned.seqs))
        session.execute(_PUT, (*head, merged.parts, new.crc, new.columns, new.payload))
        sizes.resize(session, new.topic, _bytes(merged) - sum(map(_bytes, stored)))
        self.resized.add(new.topic)
        return merged


def _bytes(stored: Stored) -> int:
    return len(stored.block.columns) + len(stored.block.payload) + len(stored.parts or b"")


def _report(error: DamagedError) -> int:
    """Says which block cannot be read; gives its number."""
    _log.error("block %d of topic %d is damaged and left as it is: %s", error.seq, error.topic, error)
    return error.seq
