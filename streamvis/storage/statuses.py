"""What writers say about themselves, in SQL stores: one row each, the latest, moved with the batch that brings it."""

from __future__ import annotations

from collections.abc import Mapping

from streamvis.records import Report, Status
from streamvis.storage.session import Session

SCHEMA = """
CREATE TABLE status (writer TEXT PRIMARY KEY, scope TEXT NOT NULL, state TEXT NOT NULL,
                     heartbeat DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION NOT NULL,
                     updated DOUBLE PRECISION NOT NULL, counters TEXT NOT NULL, heard DOUBLE PRECISION NOT NULL);
CREATE INDEX status_scope ON status (scope);
"""

_PUT = (
    "INSERT INTO status (writer, scope, state, heartbeat, started, updated, counters, heard) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (writer) DO UPDATE SET "
    "scope = excluded.scope, state = excluded.state, heartbeat = excluded.heartbeat, started = excluded.started, "
    "updated = excluded.updated, counters = excluded.counters, heard = excluded.heard"
)
_REPORTS = (
    "SELECT writer, scope, state, heartbeat, started, updated, counters, heard FROM status WHERE "
    "EXISTS (SELECT 1 FROM topic WHERE topic.scope = status.scope AND NOT deleted) "
    "OR EXISTS (SELECT 1 FROM scope WHERE name = status.scope AND config <> '{}') "
    "OR NOT EXISTS (SELECT 1 FROM topic WHERE topic.scope = status.scope AND deleted) "
    "AND NOT EXISTS (SELECT 1 FROM scope WHERE name = status.scope AND deleted_config IS NOT NULL) "
    "ORDER BY started, writer"
)


def put(session: Session, statuses: Mapping[str, Status], heard: float) -> None:
    """Keeps the statuses in the place of those that the same writers sent before."""
    rows = (
        (writer, s.scope, s.state, s.heartbeat, s.started, s.updated, s.counters, heard)
        for writer, s in statuses.items()
    )
    session.executemany(_PUT, rows)


def reports(session: Session) -> list[Report]:
    """The latest status of every writer, but for scopes that are in the trash as a whole."""
    return [Report(writer, Status(*status), heard) for writer, *status, heard in session.execute(_REPORTS)]
