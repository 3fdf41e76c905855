"""SqliteStore: one file in WAL mode, locked for one server, durable at every commit.

One connection writes, a few read, one copies the WAL back. The writer never does that between commits
(`wal_autocheckpoint=0`), except when the WAL has grown past its limit: PASSIVE checkpoints beside continuous writing
copy pages but never let the WAL start over.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Lock

from streamvis.errors import (
    NotFoundError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
)
from streamvis.storage.base import TIMELINES, new_timeline
from streamvis.storage.session import Session
from streamvis.storage.sql import FIRST_CLOCK, SCHEMA, SqlStore

APPLICATION_ID = 0x53545256  # "STRV"
FORMAT = 1
"""The version of the tables, SQLite's user_version."""

WAL_LIMIT = 64 << 20
"""Bytes of the WAL file above which the committing thread copies it back and starts it over."""

_PAGE_SIZE = 4096
_WRITER_CACHE_KIB = 65536
_BUSY_SECONDS = 10.0
_RESTART_MILLISECONDS = 100
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_COPY = "go on with a copy that was made before"
# An index ends with the rowid, which is seq: naming it would store it twice.
_SCHEMA = SCHEMA.format(key="INTEGER PRIMARY KEY", blob="BLOB", topic_order="topic_id")
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}


class SqliteStore(SqlStore):
    """The data of `<prefix>.sqlite`. Raises StoreLockedError, StoreFormatError or StoreError if it cannot be used."""

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.path = data_file(prefix)
        self._wal = Path(f"{self.path}-wal")
        self._wal_full_at = WAL_LIMIT
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        self._checkpointing = Lock()
        with ExitStack() as resources:
            resources.enter_context(_locked(Path(f"{os.fspath(prefix)}.lock")))
            with translated(self.path):
                check_format(self.path)
                self._writer = self._connect(resources)
                _create(self._writer)
                check_tables(self._writer, self.path)
                timeline = check_clock(self._writer, self.path)
                _enter_wal(self._writer, self.path)
                self._writer.execute(f"PRAGMA cache_size=-{_WRITER_CACHE_KIB}")
                self._checkpointer = self._connect(resources)
            self._resources = resources.pop_all()
        super().__init__(timeline)

    def _connect(self, resources: ExitStack | None = None) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        if resources:
            resources.callback(connection.close)
        for pragma in ("synchronous=FULL", "fullfsync=1", "wal_autocheckpoint=0"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with translated(self.path):
            self._check_open()
            self._bound_wal()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                # A failed statement may have rolled back by itself.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def _bound_wal(self) -> None:
        """Starts the WAL over when it has grown past its limit.

        The file keeps its length, as writing over it is twice as fast as extending it; that it grows again tells that
        it is full again. It is cut only after a reader kept it from starting over for long.
        """
        size = _size(self._wal)
        if size <= self._wal_full_at:
            return
        mode = "RESTART" if size < 2 * WAL_LIMIT else "TRUNCATE"
        with self._checkpointing:
            self._writer.execute(f"PRAGMA busy_timeout={_RESTART_MILLISECONDS}")
            ((busy, _, _),) = self._writer.execute(f"PRAGMA wal_checkpoint({mode})")
            self._writer.execute(f"PRAGMA busy_timeout={round(_BUSY_SECONDS * 1000)}")
        # A reader was in the way: again a little later, not at every commit.
        self._wal_full_at = size + WAL_LIMIT // 4 if busy else max(WAL_LIMIT, _size(self._wal))

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(self.path):
            self._check_open()
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
                connection.execute("PRAGMA query_only=1")
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._idle.append(connection)
                if self._closed:
                    self._close_idle()

    def checkpoint(self) -> None:
        """Copies what is committed from the WAL into the file, beside reading and writing; for a thread of its own."""
        with self._checkpointing:
            # On a full disk the next append says so; the WAL keeps what was to be copied.
            if not self._closed:
                with suppress(StoreFullError), translated(self.path):
                    self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def close(self) -> None:
        """See Store."""
        with self._checkpointing:
            self._closed = True
            self._close_idle()
            self._resources.close()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self.path} was closed; open the store again")


def data_file(prefix: str | os.PathLike[str]) -> Path:
    """Where the data of a prefix are."""
    return Path(f"{os.fspath(prefix)}.sqlite")


@contextmanager
def opened(prefix: str | os.PathLike[str]) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """The data file of a prefix, opened to be read beside its server, and its path.

    Raises NotFoundError when there is none, StoreFormatError when it is not ours, StoreError when it cannot be read.
    """
    path = data_file(prefix)
    if not path.is_file():
        raise NotFoundError(f"there is no {path}; expected the prefix that the data server was started with")
    with translated(path):
        check_format(path)
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as session:
            yield path, session


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises what SQLite and the system raise as StoreErrors."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _FULL:
            raise StoreFullError(
                f"no space left to write {path}: nothing was stored; free some and write again"
            ) from error
        if code & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise StoreDamagedError(
                f"{path} is damaged ({error}): `streamvis check {path.with_suffix('')}` says where; {_COPY}"
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreFormatError(f"{path} is not a data file of streamvis; choose another prefix") from error
        raise StoreError(f"{path} cannot be used: {error}") from error
    except UnicodeDecodeError as error:  # SQLite's own words about what it found
        raise StoreDamagedError(f"{path} is damaged ({error}); {_COPY}") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error.strerror}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock file. It is never removed: a file that another server opened just before would lock nothing."""
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreLockedError(
                    f"{path} is locked: another server uses this data; stop it or choose another prefix"
                ) from None
            yield


def check_format(path: Path) -> None:
    """Raises StoreFormatError if there are data of others; reads without SQLite, which may write to what it opens."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    user_version, application_id = int.from_bytes(header[60:64]), int.from_bytes(header[68:72])
    if header and (not header.startswith(_MAGIC) or application_id != APPLICATION_ID):
        raise StoreFormatError(f"{path} is not a data file of streamvis; choose another prefix")
    if header and user_version != FORMAT:
        raise StoreFormatError(f"{path} has format {user_version}; this version of streamvis reads format {FORMAT}")


def _create(connection: sqlite3.Connection) -> None:
    """Makes the tables if there are none.

    In one transaction, and before WAL mode, so that the main file says from the start whose it is.
    """
    ((version,),) = connection.execute("PRAGMA user_version")
    if not version:
        connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; {_SCHEMA} "
            f"{FIRST_CLOCK.format(timeline=new_timeline())} COMMIT;"
        )


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreFormatError unless the tables are those that `_create` makes."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_SCHEMA)
        if _tables(connection) != _tables(fresh):
            raise StoreFormatError(
                f"{path} has other tables than this version of streamvis makes; choose another prefix"
            )


def check_clock(connection: sqlite3.Connection, path: Path) -> int:
    """The store's timeline. Raises StoreDamagedError if that is none, or if the clock could give a number twice."""
    clocks = list(connection.execute("SELECT timeline, seq FROM clock"))
    latest = "SELECT coalesce(max(seq), 0) FROM block UNION ALL SELECT coalesce(max(changed), 0) FROM topic"
    given = [seq for (seq,) in connection.execute(latest)]
    if len(clocks) == 1 and {*map(type, [*clocks[0], *given])} == {int}:
        ((timeline, seq),) = clocks
        if timeline in TIMELINES and seq >= max(given):
            return int(timeline)
    raise StoreDamagedError(f"{path} is damaged: its clock says {clocks}, but it gave the numbers {given}; {_COPY}")


def _tables(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def _enter_wal(connection: sqlite3.Connection, path: Path) -> None:
    ((mode,),) = connection.execute("PRAGMA journal_mode=WAL")
    if mode != "wal":
        raise StoreError(f"{path}: its file system cannot do write-ahead logging; choose a local disk")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
