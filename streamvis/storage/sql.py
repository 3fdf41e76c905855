"""What the SQL engines share: the tables, and every statement but the dialect's own.

An engine supplies transactions, snapshots and the types of its schema. All numbers come from the one row of `clock`,
read under its lock when a transaction begins and written before it ends.
"""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar
from zlib import crc32

from streamvis.clock import steady_time
from streamvis.codec import EncodedBlock
from streamvis.errors import MalformedError, NotFoundError, StoreDamagedError
from streamvis.records import Ack, Config, Report, Topic, TopicSize, Usage, pack_cursor
from streamvis.storage import sizes, statuses
from streamvis.storage.base import FREE_BYTES, PAGE_BYTES, Catalog, Commit, Extent, Page, Store, Submission
from streamvis.storage.compactor import Compactor
from streamvis.storage.merging import Stored, clip, parts_bound, parts_upto
from streamvis.storage.plan import Plan
from streamvis.storage.rules import GONE, merge, missing, not_in_trash, to_restore
from streamvis.storage.session import Session, select, singles
from streamvis.wire import dump_config, load_config

SCHEMA = (
    """
CREATE TABLE clock  (shard INTEGER PRIMARY KEY, timeline INTEGER NOT NULL, seq BIGINT NOT NULL,
                     floor BIGINT NOT NULL DEFAULT 0);
CREATE TABLE scope  (shard INTEGER NOT NULL, name TEXT PRIMARY KEY, config TEXT NOT NULL, changed BIGINT NOT NULL,
                     crc BIGINT NOT NULL, deleted_config TEXT, config_deleted_at DOUBLE PRECISION);
CREATE INDEX scope_changed ON scope (changed);
CREATE TABLE topic  (shard INTEGER NOT NULL, id {key}, scope TEXT NOT NULL, name TEXT NOT NULL, columns TEXT NOT NULL,
                     deleted BOOLEAN NOT NULL, changed BIGINT NOT NULL, crc BIGINT NOT NULL,
                     deleted_at DOUBLE PRECISION);
CREATE UNIQUE INDEX topic_live ON topic (scope, name) WHERE NOT deleted;
CREATE INDEX topic_trash ON topic (scope) WHERE deleted;
CREATE INDEX topic_changed ON topic (changed);
CREATE TABLE block  (shard INTEGER NOT NULL, seq {key}, topic_id BIGINT NOT NULL, idx INTEGER NOT NULL,
                     k INTEGER NOT NULL, n INTEGER NOT NULL, level SMALLINT NOT NULL DEFAULT 0, parts {blob},
                     crc BIGINT NOT NULL, columns {blob} NOT NULL, payload {blob} NOT NULL);
CREATE INDEX block_topic ON block ({topic_order});
CREATE TABLE writer (shard INTEGER NOT NULL, id TEXT PRIMARY KEY, number BIGINT NOT NULL);
"""
    + sizes.SCHEMA
    + statuses.SCHEMA
)

FIRST_CLOCK = "INSERT INTO clock (shard, timeline, seq) VALUES (0, {timeline}, 0);"
"""Makes the one clock of a new store."""

_SET_CLOCK = "UPDATE clock SET seq = ? WHERE shard = ?"
_NUMBERS = "SELECT id, number FROM writer WHERE id IN ({keys})"
_LIVE = "SELECT id FROM topic WHERE NOT deleted AND id IN ({keys})"
_TOPIC = "SELECT id, scope, name, columns, deleted, changed FROM topic "
_TRASH = _TOPIC + "WHERE deleted AND scope = ? AND columns <> '[]' ORDER BY changed"
_NAMED = (
    "WITH wanted (a, b) AS (VALUES {keys}) SELECT id, scope, name, columns, deleted, changed "
    "FROM wanted JOIN topic ON scope = a AND name = b WHERE NOT deleted"
)
_LIVE_OF = _TOPIC + "WHERE NOT deleted AND scope IN ({keys})"
_CHANGED = 5
_CONFIGS_OF = "SELECT changed, name, config FROM scope WHERE name IN ({keys})"
_CONFIGS = "SELECT name, config FROM scope WHERE name IN ({keys})"
_PUT_NUMBER = (
    "INSERT INTO writer (shard, id, number) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET number = excluded.number"
)
_PUT_TOPIC = (
    "INSERT INTO topic (shard, id, scope, name, columns, deleted, changed, crc, deleted_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET deleted = excluded.deleted, "
    "changed = excluded.changed, crc = excluded.crc, deleted_at = excluded.deleted_at"
)
_PUT_CONFIG = (
    "INSERT INTO scope (shard, name, config, changed, crc) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET config = excluded.config, changed = excluded.changed, crc = excluded.crc"
)
_PUT_BLOCK = (
    "INSERT INTO block (shard, seq, topic_id, idx, k, n, crc, columns, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PAGE = (
    "SELECT topic_id, idx, k, n, columns, payload, crc, seq, parts FROM block "
    "WHERE topic_id = ? AND seq > ? AND (seq <= ? OR parts < ?) ORDER BY seq"
)
_EXTENTS = "SELECT idx, k, n, seq, parts FROM block WHERE topic_id = ? AND (seq <= ? OR parts < ?) ORDER BY seq"
_LENGTHS = "SELECT idx, k, sum(n) FROM block WHERE topic_id = ? GROUP BY idx, k"

_DELETED_CONFIG = "SELECT deleted_config FROM scope WHERE name = ? AND deleted_config IS NOT NULL"
_PUT_DELETED_CONFIG = "UPDATE scope SET deleted_config = ?, config_deleted_at = ? WHERE name = ?"
_DELETED_CONFIGS = (
    "SELECT name, length(deleted_config), config_deleted_at FROM scope WHERE deleted_config IS NOT NULL {condition}"
    "ORDER BY changed"
)
_PURGE_TOPIC = "UPDATE topic SET columns = '[]' WHERE id = ?"
_PURGED = (  # a cross join, for SQLite to begin with the topics
    "SELECT seq, length(block.columns) + length(payload) FROM topic CROSS JOIN block "
    "WHERE topic.columns = '[]' AND topic_id = id ORDER BY id, seq"
)
_FREE_BLOCK = "DELETE FROM block WHERE seq = ?"

_MAX_SEQ = 2**63 - 1


class SqlStore(Store):
    """The store over SQL. An engine gives transactions and snapshots, and overrides `lock_clock` if it must."""

    shard: ClassVar[int] = 0
    """Which row of `clock` numbers the changes; there is one yet."""

    lock_clock: ClassVar[str] = "SELECT seq FROM clock WHERE shard = ?"
    """Reads the clock so that no other transaction moves it before this one ends."""

    def __init__(self, timeline: int) -> None:
        self.timeline = timeline
        self._compactor = Compactor(self._writing, self._reading, self.shard)
        self._ledger = sizes.Ledger()

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Session]:
        """One transaction: committed durably at the end, rolled back when an exception passes."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Session]:
        """One snapshot."""

    def append(self, submissions: Sequence[Submission]) -> tuple[list[Ack], Commit]:
        """See Store."""
        with self._writing() as session:
            plan = self._begin(session)
            _load(session, plan, submissions)
            acks = [plan.submit(submission) for submission in submissions]
            self._store(session, plan)
        plan.bind()
        self._ledger.touch({block.topic for block in plan.blocks}, {topic.scope for _, topic in plan.topics})
        self._compactor.appended([block.payload for block in plan.blocks])
        cursor = pack_cursor({self.timeline: plan.seq})
        return [replace(ack, cursor=cursor) if ack.stored else ack for ack in acks], plan.commit()

    def set_config(self, config: Config) -> Commit:
        """See Store."""
        with self._writing() as session:
            plan = self._begin(session)
            plan.values = _configs(session, {config.scope})
            plan.configure(config)
            self._store(session, plan)
        return plan.commit()

    def delete(self, scope: str, names: Sequence[str] = ()) -> Commit:
        """See Store."""
        with self._writing() as session:
            plan = self._begin(session)
            doomed = [topic for topic in _live(session, scope) if not names or topic.name in names]
            config = {} if names else _configs(session, {scope}).get(scope, {})
            forget = bool(config)
            if not doomed and not forget:
                raise NotFoundError(missing(scope, tuple(names)))
            for topic in doomed:
                plan.tombstone(topic)
            if forget:
                plan.replace_config(scope, {})
                session.execute(_PUT_DELETED_CONFIG, (dump_config(config).decode(), time.time(), scope))
            self._store(session, plan)
        self._ledger.touch(scopes=[scope])
        return plan.commit()

    def restore(self, scope: str, names: Sequence[str] = ()) -> Commit:
        """See Store."""
        with self._writing() as session:
            plan = self._begin(session)
            live = {topic.name for topic in _live(session, scope)}
            topics = to_restore(names, _topics(session, _TRASH, scope), live)
            config = None if names else _deleted_config(session, scope)
            if not topics and config is None:
                raise NotFoundError(not_in_trash(scope, names, "restored"))
            for topic in topics:
                plan.restore(topic)
            if config is not None:
                plan.replace_config(scope, merge(config, _configs(session, {scope})[scope]))
                session.execute(_PUT_DELETED_CONFIG, (None, None, scope))
            self._store(session, plan)
        self._ledger.touch(scopes=[scope])
        return plan.commit()

    def purge(self, scope: str, names: Sequence[str] = ()) -> int:
        """See Store."""
        with self._writing() as session:
            topics = [topic for topic in _topics(session, _TRASH, scope) if not names or topic.name in names]
            config = None if names else _deleted_config(session, scope)
            if not topics and config is None:
                raise NotFoundError(not_in_trash(scope, names, "purged"))
            session.executemany(_PURGE_TOPIC, singles(topic.id for topic in topics))
            sizes.drop(session, (topic.id for topic in topics))
            if config is not None:
                session.execute(_PUT_DELETED_CONFIG, (None, None, scope))
        self._ledger.touch(scopes=[scope])
        return len(topics)

    def free(self, max_bytes: int = FREE_BYTES) -> bool:
        """See Store."""
        with self._writing() as session:
            freed, doomed, left = 0, [], False
            with closing(session.execute(_PURGED)) as rows:
                for seq, size in rows:
                    left = freed >= max_bytes
                    if left:
                        break
                    freed += max(size, PAGE_BYTES)
                    doomed.append(seq)
            session.executemany(_FREE_BLOCK, singles(doomed))
        return left

    def _begin(self, session: Session) -> Plan:
        ((seq,),) = session.execute(self.lock_clock, (self.shard,))
        return Plan(seq, self.shard)

    def _store(self, session: Session, plan: Plan) -> None:
        shard, now = self.shard, time.time()
        topics = (
            (shard, *row, row_crc(row), now if t.deleted else None)
            for seq, t in plan.topics
            for row in [(t.id, t.scope, t.name, json.dumps(t.columns), t.deleted, seq)]
        )
        configs = (
            (shard, *row, row_crc(row))
            for seq, c in plan.configs
            for row in [(c.scope, dump_config(c.values).decode(), seq)]
        )
        numbers = ((shard, writer, number) for writer, number in plan.new_numbers.items())
        session.executemany(_PUT_TOPIC, topics)
        session.executemany(_PUT_CONFIG, configs)
        session.executemany(_PUT_BLOCK, plan.rows)
        sizes.add(session, plan.rows)
        session.executemany(_PUT_NUMBER, numbers)
        statuses.put(session, plan.statuses, steady_time())
        if plan.topics or plan.configs or plan.blocks:
            session.execute(_SET_CLOCK, (plan.seq, shard))

    def seq(self) -> int:
        """See Store."""
        with self._reading() as session:
            return self._clock(session)

    def _clock(self, session: Session) -> int:
        ((seq,),) = session.execute("SELECT seq FROM clock WHERE shard = ?", (self.shard,))
        return int(seq)

    def catalog(self, after: int = 0, scopes: Collection[str] | None = None) -> Catalog:
        """See Store."""
        if scopes is not None and not after:
            return self._live_of(scopes)
        alive = "" if after else "AND NOT deleted "
        after = min(after, _MAX_SEQ)
        with self._reading() as session:
            seq = self._clock(session)
            topics = list(session.execute(_TOPIC + f"WHERE changed > ? {alive}ORDER BY changed", (after,)))
            configs = list(
                session.execute("SELECT name, config FROM scope WHERE changed > ? ORDER BY changed", (after,))
            )
        wholes = [Config(scope, load_config(text.encode())) for scope, text in configs]
        changed = Catalog(seq, tuple(map(_topic, topics)), tuple(whole for whole in wholes if after or whole.values))
        return changed.only(scopes)

    def _live_of(self, scopes: Collection[str]) -> Catalog:
        with self._reading() as session:
            seq = self._clock(session)
            topics = sorted(select(session, _LIVE_OF, singles(scopes)), key=itemgetter(_CHANGED))
            configs = sorted(select(session, _CONFIGS_OF, singles(scopes)))
        wholes = [Config(scope, load_config(text.encode())) for _, scope, text in configs]
        return Catalog(seq, tuple(map(_topic, topics)), tuple(whole for whole in wholes if whole.values))

    def page(self, topic: int, after: int, upto: int, max_bytes: int, previous: Page | None = None) -> Page:
        """See Store."""
        after, upto = min(after, _MAX_SEQ), min(upto, _MAX_SEQ)
        blocks, seqs = list[EncodedBlock](), list[int]()
        size, last = 0, previous.after if previous else after
        seen = previous.seen if previous else {}
        bounds = topic, last, upto, parts_bound(upto)
        with self._reading() as session, closing(session.execute(_PAGE, bounds)) as rows:
            for row in rows:  # the innermost loop of every fetch
                whole = EncodedBlock._make(row[:7])
                seq, parts = row[7:]
                _check_sound(whole, seq)
                floor = after if parts is None else max(after, seen.get(row[1:3], 0))
                block = whole if parts is None else _clipped(Stored(seq, parts, whole), floor, upto)
                if block is None:
                    continue
                size += len(block.columns) + len(block.payload)
                if blocks and size > max_bytes:
                    return Page(tuple(blocks), seqs[-1], done=False, seen={**seen, **_seen(blocks, seqs, upto)})
                blocks.append(block)
                seqs.append(seq)
        return Page(tuple(blocks), seqs[-1] if seqs else last, done=True)

    def compact(self) -> float:
        """See Store."""
        wait = self._compactor.step()
        self._ledger.touch(self._compactor.resized)
        self._compactor.resized.clear()
        return wait

    def extents(self, topic: int, upto: int) -> list[Extent]:
        """See Store."""
        upto = min(upto, _MAX_SEQ)
        with self._reading() as session:
            rows = list(session.execute(_EXTENTS, (topic, upto, parts_bound(upto))))
        return [Extent(index, k, *parts_upto(n, seq, parts, upto)) for index, k, n, seq, parts in rows]

    def usage(self) -> list[Usage]:
        """See Store."""
        return self._ledger.usage(self._reading)

    def topic_sizes(self, scope: str | None = None, *, deleted: bool = False) -> list[TopicSize]:
        """See Store."""
        condition = ("deleted" if deleted else "NOT deleted") + ("" if scope is None else " AND scope = ?")
        parameters = () if scope is None else (scope,)
        with self._reading() as session:
            topics = list(session.execute(sizes.TOPICS.format(condition=condition), parameters))
            configs = (
                list(
                    session.execute(
                        _DELETED_CONFIGS.format(condition="" if scope is None else "AND name = ? "), parameters
                    )
                )
                if deleted
                else []
            )
        return [TopicSize(*topic) for topic in topics] + [
            TopicSize(scope_, "", 0, size, when) for scope_, size, when in configs
        ]

    def reports(self) -> list[Report]:
        """See Store."""
        with self._reading() as session:
            return statuses.reports(session)

    def lengths(self, topic: int) -> Mapping[int, int]:
        """See Store."""
        points: defaultdict[int, int] = defaultdict(int)
        with self._reading() as session:
            for first, k, n in session.execute(_LENGTHS, (topic,)):
                for index in range(first, first + k):
                    points[index] += n
        return dict(sorted(points.items()))


def row_crc(row: Sequence[str | int]) -> int:
    """The CRC32 of what a topic is (id, scope, name, columns, deleted, changed), or a config (scope, values, changed).

    Reading does not look at it: `streamvis check` does.
    """
    return crc32("\0".join(str(int(field)) if isinstance(field, int) else field for field in row).encode())


def _check_sound(block: EncodedBlock, seq: int) -> None:
    """A damaged file may give anything in the place of numbers and bytes."""
    _, index, k, n, columns, payload, crc = block
    try:
        sound = (index | k | n | crc) >> 32 == 0 and type(columns) is type(payload) is bytes
    except TypeError:
        sound = False
    if not sound:
        raise _damaged(block, seq, "it has something else where its numbers and bytes should be")


def _clipped(stored: Stored, after: int, upto: int) -> EncodedBlock | None:
    try:
        return clip(stored, after, upto)
    except MalformedError as error:
        raise _damaged(stored.block, stored.seq, error) from error


def _damaged(block: EncodedBlock, seq: int, reason: object) -> StoreDamagedError:
    return StoreDamagedError(
        f"block {seq} of topic {block.topic} is damaged: {reason}; `streamvis check` names all that are"
    )


def _seen(blocks: Sequence[EncodedBlock], seqs: Sequence[int], upto: int) -> dict[tuple[int, int], int]:
    return {(block.index, block.k): min(seq, upto) for block, seq in zip(blocks, seqs, strict=True)}


def _load(session: Session, plan: Plan, submissions: Sequence[Submission]) -> None:
    """Everything that the group's batches need to know, one statement per table."""
    batches = [submission.batch for submission in submissions]
    bound = {
        submission.bindings.get(block.topic, GONE) for submission in submissions for block in submission.batch.blocks
    }
    names = {(declaration.scope, declaration.name) for batch in batches for declaration in batch.declarations}
    topics = [_topic(row) for row in select(session, _NAMED, names)]
    plan.named = {(topic.scope, topic.name): topic for topic in topics}
    plan.live = {topic.id for topic in topics}.union(id_ for (id_,) in select(session, _LIVE, singles(bound)))
    plan.numbers = dict(select(session, _NUMBERS, singles({batch.writer for batch in batches})))
    plan.values = _configs(session, {config.scope for batch in batches for config in batch.configs})


def _topics(session: Session, statement: str, scope: str) -> list[Topic]:
    return [_topic(row) for row in session.execute(statement, (scope,))]


def _live(session: Session, scope: str) -> list[Topic]:
    return _topics(session, _TOPIC + "WHERE NOT deleted AND scope = ? ORDER BY id", scope)


def _deleted_config(session: Session, scope: str) -> dict[str, Any] | None:
    return next((load_config(text.encode()) for (text,) in session.execute(_DELETED_CONFIG, (scope,))), None)


def _configs(session: Session, scopes: Collection[str]) -> dict[str, dict[str, Any]]:
    return {scope: load_config(text.encode()) for scope, text in select(session, _CONFIGS, singles(scopes))}


def _topic(row: tuple[int, str, str, str, int, int]) -> Topic:
    id_, scope, name, columns, deleted, changed = row
    # What changed a live topic is its declaration, whose number is its id, or else a restore.
    return Topic(id_, scope, name, _columns(columns), bool(deleted), 0 if deleted or changed == id_ else changed)


@lru_cache(maxsize=1024)
def _columns(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
