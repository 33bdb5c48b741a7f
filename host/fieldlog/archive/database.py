"""The SQLite file under the archive: opening it, its tables, and its errors in words.

Rule of this module: a file that is not ours, or newer than this program, is not written to. WAL lets readers and one
writer work at once; a second writer waits. Every sqlite3 error leaves here as one sentence of ours.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType

from fieldlog.archive.row_types import checked_rows
from fieldlog.interrupts import look
from fieldlog_protocol.errors import FieldlogError, UsageError, VerificationError

FILE_NAME = "archive.sqlite"
APPLICATION_ID = 0x464C4F47  # "FLOG"
VERSION = 1
BUSY_TIMEOUT_S = 30.0
_DEAF_MS = 100  # so long SQLite waits by itself, and no signal is heard
_HURRY_S = 2.0
_LONGEST_WAIT_S: ContextVar[float] = ContextVar("_LONGEST_WAIT_S", default=math.inf)
_ONE_THREAD = sqlite3.threadsafety < 3  # DuckDB and polars ask for readings from threads of theirs, where SQLite can
_PAGE_SIZE = 16_384  # blocks of 1 KiB: a file 19 % larger than they are; 42 % in SQLite's usual pages of 4 KiB

# A block belongs to a row of `logs` rather than to (uid, log_id) spelled out in each: the same key, 30 bytes shorter.
# `blocks_by_stream` holds all that planning a read needs, so that no BLOB is touched before its readings are wanted.
# Events and boots are in the blocks themselves and are read from there: what is stored once cannot disagree.
_TABLES = """
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL, log_id INTEGER NOT NULL, serial TEXT NOT NULL DEFAULT '',
    label TEXT NOT NULL DEFAULT '', product TEXT NOT NULL DEFAULT '', firmware TEXT NOT NULL DEFAULT '',
    first_seen_us INTEGER NOT NULL, UNIQUE (uid, log_id));
CREATE TABLE blocks (
    log INTEGER NOT NULL REFERENCES logs, seq INTEGER NOT NULL, crc INTEGER NOT NULL, kind INTEGER NOT NULL,
    stream INTEGER NOT NULL, session INTEGER NOT NULL, schema_id INTEGER NOT NULL, boot_id INTEGER NOT NULL,
    t0 INTEGER NOT NULL, span INTEGER NOT NULL, n_frames INTEGER NOT NULL, utc INTEGER NOT NULL,
    flags INTEGER NOT NULL, dropped INTEGER NOT NULL, received_us INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (log, seq, crc));
CREATE INDEX blocks_by_stream ON blocks (
    log, kind, stream, session, seq, schema_id, boot_id, t0, span, n_frames, utc, flags, dropped, received_us);
CREATE TABLE syncs (
    log INTEGER NOT NULL REFERENCES logs, boot_id INTEGER NOT NULL, tick INTEGER NOT NULL, utc_us INTEGER NOT NULL,
    error_us INTEGER NOT NULL, source TEXT NOT NULL, UNIQUE (log, boot_id, tick, utc_us, error_us, source));
CREATE TABLE sessions (
    log INTEGER NOT NULL REFERENCES logs, id INTEGER NOT NULL, label TEXT NOT NULL, boot_id INTEGER NOT NULL,
    start_tick INTEGER NOT NULL, stop_tick INTEGER, first_seq INTEGER NOT NULL, last_seq INTEGER,
    frames INTEGER NOT NULL, reason TEXT NOT NULL, UNIQUE (log, id));
CREATE TABLE gaps (
    log INTEGER NOT NULL REFERENCES logs, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    reason TEXT NOT NULL, found_us INTEGER NOT NULL, UNIQUE (log, first_seq, last_seq));
CREATE TABLE pulls (
    id INTEGER PRIMARY KEY, log INTEGER NOT NULL REFERENCES logs, started_us INTEGER NOT NULL, finished_us INTEGER,
    blocks INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, outcome TEXT NOT NULL DEFAULT 'interrupted');
"""

_NO_MORE = (
    "Its disk takes no more: it is full, over a quota or faulty. What was stored before is safe, and what was not is still "
    "where it came from: make room and repeat this"
)
_SENTENCES = {
    sqlite3.SQLITE_FULL: "The disk is full. What was stored before is safe, and what was not is still where it came "
    "from: free some space and repeat this",
    sqlite3.SQLITE_READONLY: "It may not be written to. Nothing was changed: check its permissions",
    sqlite3.SQLITE_PERM: "It may not be opened. Nothing was changed: check its permissions",
    sqlite3.SQLITE_BUSY: "Another program has been writing to it for too long. What was stored before is safe: "
    "repeat this when the other one is done",
    sqlite3.SQLITE_LOCKED: "Another program holds it. What was stored before is safe: repeat this when that is done",
    sqlite3.SQLITE_CANTOPEN: "It cannot be opened. Nothing was changed: check that the folder exists and its permissions",
    # the index beside a write-ahead log, whose first bytes find no room
    **dict.fromkeys((sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN), _NO_MORE),
    sqlite3.SQLITE_IOERR: "Its disk reports an error. What was stored before should be safe: check the disk",
}
_SPOILED = (
    "Could not decode to UTF-8",
    "no such table",
    "no such column",
    "unsupported file format",
    "malformed database schema",
)
"""What sqlite3 says, under the code of any error, of a file that is not as this program wrote it."""
_CLOSED = "Cannot operate on a closed database"
_IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NOT_OURS = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


class ArchiveError(FieldlogError):
    """The archive cannot be read or written now; what it holds is untouched."""


@contextmanager
def in_words(path: Path) -> Generator[None]:
    """Turns sqlite3's errors into one sentence about the archive at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except UnicodeDecodeError as error:  # sqlite3's own words about a spoiled file quote the file
        raise damaged(path) from error


def _translated(error: sqlite3.Error, path: Path) -> FieldlogError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _NOT_OURS or str(error).startswith(_SPOILED):
        return damaged(path)
    if str(error).startswith(_CLOSED):
        return UsageError(f"the archive {path} is closed already, and what it holds is safe: read while it is open")
    unknown = f"{str(error).rstrip('.')}. What was stored before is safe"
    return ArchiveError(f"the archive {path}: {_SENTENCES.get(code) or _SENTENCES.get(code & 0xFF, unknown)}")


def damaged(path: Path) -> VerificationError:
    """The file is not as this program wrote it."""
    return VerificationError(
        f"{path} is damaged or not an archive of fieldlog. It was left as it is: name another one, or restore it"
    )


def locate(path: Path) -> Path:
    """The archive's file: `path` itself when it is one, else the file of that name in the folder `path`."""
    return path if path.is_file() or path.suffix == ".sqlite" else path / FILE_NAME


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """A connection to the archive file `path`, made with its tables when it is new and `writable`."""
    if not writable and not path.exists():
        raise _nothing_at(path)
    with in_words(path):
        connection = _opened(path, writable)
        try:
            _require_ours(connection, path, writable)
            if writable:
                _prepare(connection)
            connection.row_factory = checked_rows(lambda: damaged(path))
        except BaseException:
            connection.close()
            raise
    return connection


def _nothing_at(path: Path) -> UsageError:
    return UsageError(f"there is no archive at {path}. Nothing was made; pull a device first, or name another one")


def _opened(path: Path, writable: bool) -> sqlite3.Connection:
    if writable:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(f"the archive's folder {path.parent} cannot be made: {error.strerror}") from error
        return sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=_ONE_THREAD)
    try:
        return _read_only(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if (error.sqlite_errorcode & 0xFF) in _IN_USE:
            raise
        # on a read-only medium WAL cannot make its index beside the file
        _require_no_wal(path)
        return _read_only(path, "mode=ro&immutable=1")


def _require_no_wal(path: Path) -> None:
    """Refuse to read the file alone where a program that was killed has left the last of it in its write-ahead log."""
    wal = Path(f"{path.resolve()}-wal")
    if wal.exists() and wal.stat().st_size:
        raise ArchiveError(
            f"the archive {path}: a program that wrote to it was broken off, and the last that it stored is in {wal}, which "
            "can be read only in a folder that may be written to. Nothing was changed: copy both files into such a folder, "
            "and name that"
        )


def _read_only(path: Path, options: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?{options}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=_ONE_THREAD
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _require_ours(connection: sqlite3.Connection, path: Path, writable: bool) -> None:
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    application, version = _number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version")
    if tables and application != APPLICATION_ID:
        raise VerificationError(f"{path} is a database of another program. It was left as it is: name another archive")
    if not tables and not writable:
        raise _nothing_at(path)
    if version > VERSION:
        raise UsageError(
            f"the archive {path} was written by a newer fieldlog (format {version}, known here: {VERSION}). "
            "It was left as it is: update fieldlog"
        )


def _prepare(connection: sqlite3.Connection) -> None:
    if not _number(connection, "PRAGMA application_id"):
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        with transaction(connection):
            # again, now that no other process can be doing the same
            if not _number(connection, "PRAGMA application_id"):
                _create(connection)
    # a pull may be followed by an erase: what is reported as stored must outlive a power failure
    connection.execute("PRAGMA synchronous = FULL")


def _create(connection: sqlite3.Connection) -> None:
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _number(connection: sqlite3.Connection, query: str) -> int:
    with closing(connection.execute(query)) as cursor:
        return int(cursor.fetchone()[0])


def transaction(connection: sqlite3.Connection, *, synchronous: str | None = None) -> _Transaction:
    """For a `with` block: all of it or nothing; begun for writing at once, so that two writers queue up and never deadlock.

    `synchronous` is set for it and those after it. After NORMAL it is there for every program at once, but reaches the disk
    when the system likes, or with the next one after FULL: until then a power failure may undo the last of them, whole.
    """
    return _Transaction(connection, synchronous)


class _Transaction:
    """No generator: one that an interrupt leaves half-way ends when it is collected, in the middle of something else."""

    def __init__(self, connection: sqlite3.Connection, synchronous: str | None) -> None:
        self._connection = connection
        self._synchronous = synchronous

    def __enter__(self) -> None:
        try:
            undo(self._connection)  # an interrupt may have come before the last one could be ended
            if self._synchronous is not None:
                self._connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            begin(self._connection)
        except BaseException:
            undo(self._connection)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            undo(self._connection)


def undo(connection: sqlite3.Connection) -> None:
    """What was begun and not ended."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def begin(connection: sqlite3.Connection, how: str = "IMMEDIATE") -> None:
    """Wait for other writers, as long as the connection's timeout says, or a moment `in_a_hurry`; interrupts end that."""
    _patiently(connection, f"BEGIN {how}")


def begin_to_read(connection: sqlite3.Connection) -> None:
    """Wait likewise where readers have to, as they need not with a write-ahead log; what is read is of one moment then."""
    connection.execute("BEGIN")
    _patiently(connection, "SELECT count(*) FROM sqlite_master")


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    patience_ms = _number(connection, "PRAGMA busy_timeout")
    until_s = time.monotonic() + min(patience_ms / 1000, _LONGEST_WAIT_S.get())
    try:
        connection.execute(f"PRAGMA busy_timeout = {min(patience_ms, _DEAF_MS)}")
        while not _done(connection, statement, last=time.monotonic() >= until_s):
            look()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")


def _done(connection: sqlite3.Connection, statement: str, *, last: bool) -> bool:
    try:
        with closing(connection.execute(statement)) as cursor:
            cursor.fetchone()
    except sqlite3.OperationalError as error:
        if last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


@contextmanager
def in_a_hurry() -> Generator[None]:
    """What waits for other writers in this block does not wait for long: the program is to end, or can do without."""
    token = _LONGEST_WAIT_S.set(_HURRY_S)
    try:
        yield
    finally:
        _LONGEST_WAIT_S.reset(token)
