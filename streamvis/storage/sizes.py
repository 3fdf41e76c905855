"""The sizes of topics in SQL stores: rows of their own, moved in the transactions that write, merge or purge blocks.

So what is asked about sizes reads no block, and nothing has to be counted when a server starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from operator import itemgetter
from threading import Lock
from typing import Any

from streamvis.records import Size, Usage
from streamvis.storage.session import Session, select, singles

SCHEMA = """
CREATE TABLE size (topic_id {key}, points BIGINT NOT NULL, bytes BIGINT NOT NULL);
"""

_ADD = (
    "INSERT INTO size (topic_id, points, bytes) VALUES (?, ?, ?) "
    "ON CONFLICT (topic_id) DO UPDATE SET points = size.points + excluded.points, bytes = size.bytes + excluded.bytes"
)
_RESIZE = "UPDATE size SET bytes = bytes + ? WHERE topic_id = ?"
_DROP = "DELETE FROM size WHERE topic_id = ?"
_USAGE = (
    "SELECT scope, deleted, min(id), count(*), sum(coalesce(points, 0)), sum(coalesce(bytes, 0)) "
    "FROM topic LEFT JOIN size ON topic_id = id WHERE {condition} AND columns <> '[]' GROUP BY scope, deleted"
)
_SCOPES = "SELECT DISTINCT scope FROM topic WHERE id IN ({keys})"
_OF_SCOPE = ("scope = ? AND NOT deleted", "scope = ? AND deleted")  # each has an index
TOPICS = (
    "SELECT scope, name, coalesce(points, 0), coalesce(bytes, 0), deleted_at "
    "FROM topic LEFT JOIN size ON topic_id = id WHERE columns <> '[]' AND {condition} ORDER BY changed"
)


def add(session: Session, rows: Iterable[tuple[Any, ...]]) -> None:
    """Counts blocks, given as rows (shard, seq, topic, index, k, n, crc, columns, payload)."""
    sizes: dict[int, list[int]] = {}
    for _, _, topic, _, k, n, _, columns, payload in rows:
        size = sizes.get(topic)
        if size is None:
            size = sizes[topic] = [0, 0]
        size[0] += k * n
        size[1] += len(columns) + len(payload)
    session.executemany(_ADD, ((topic, points, bytes_) for topic, (points, bytes_) in sizes.items()))


def resize(session: Session, topic: int, growth: int) -> None:
    """The topic's blocks take so many bytes more, or less, than before."""
    session.execute(_RESIZE, (growth, topic))


def drop(session: Session, topics: Iterable[int]) -> None:
    """Forgets topics."""
    session.executemany(_DROP, ((topic,) for topic in topics))


class Ledger:
    """What each scope takes: added up once, then anew for those scopes alone that were touched since. Thread-safe.

    For a store that no other process writes to.
    """

    def __init__(self) -> None:
        self._asking = Lock()
        self._known: dict[str, tuple[int, Usage]] | None = None  # with the first topic's id
        self._touching = Lock()
        self._topics: set[int] = set()
        self._scopes: set[str] = set()

    def touch(self, topics: Iterable[int] = (), scopes: Iterable[str] = ()) -> None:
        """These topics, or topics of these scopes, have changed: to be called after the commit."""
        with self._touching:
            self._topics.update(topics)
            self._scopes.update(scopes)

    def usage(self, reading: Callable[[], AbstractContextManager[Session]]) -> list[Usage]:
        """What each scope takes, oldest first. `reading` begins a snapshot."""
        with self._asking:
            with self._touching:
                topics, scopes = self._topics, self._scopes
                self._topics, self._scopes = set(), set()
            known, self._known = self._known, None  # nothing is known if the following fails
            with reading() as session:
                if known is None:
                    known = _added_up(session)
                else:
                    scopes.update(scope for (scope,) in select(session, _SCOPES, singles(topics)))
                    for scope in scopes:
                        known.pop(scope, None)
                        known.update(_added_up(session, scope))
            self._known = known
            return [usage for _, usage in sorted(known.values(), key=itemgetter(0))]


def _added_up(session: Session, scope: str | None = None) -> dict[str, tuple[int, Usage]]:
    conditions, parameters = (("TRUE",), ()) if scope is None else (_OF_SCOPE, (scope,))
    found: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        for owner, deleted, first, *size in session.execute(_USAGE.format(condition=condition), parameters):
            entry = found.setdefault(owner, {"first": first})
            entry["first"] = min(entry["first"], first)
            entry["trash" if deleted else "live"] = Size(*size)
    return {owner: (entry.pop("first"), Usage(owner, **entry)) for owner, entry in found.items()}
