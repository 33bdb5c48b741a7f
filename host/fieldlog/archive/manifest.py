"""What each file of derived readings was derived from, and its outlines. Kept beside their folder, since polars takes no
other file in it.

Rule of this module: whoever has a manifest open is the only one who writes derived readings; the lock goes with the
process, and whoever reads waits for it: ArchiveError when that takes too long. A manifest is as disposable as the
readings: one that cannot be read is begun anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fieldlog.archive.database import BUSY_TIMEOUT_S, begin, begin_to_read, in_words, transaction
from fieldlog.archive.outline_file import Packed
from fieldlog_protocol.errors import VerificationError

_VERSION = 1
_TABLE = (
    "CREATE TABLE files (name TEXT PRIMARY KEY, origin BLOB NOT NULL, rows INTEGER NOT NULL, size INTEGER NOT NULL, "
    "hash BLOB NOT NULL)"
)

_STAMP = "CREATE TABLE IF NOT EXISTS stamp (archive BLOB NOT NULL)"
_OUTLINES = "CREATE TABLE IF NOT EXISTS outlines (name TEXT PRIMARY KEY, head BLOB NOT NULL, data BLOB NOT NULL)"
_PAGE_SIZE = 16_384


class Entry(NamedTuple):
    """`origin` is a hash of what the file was derived from, `hash` one of its bytes. Without `rows` there is no file."""

    origin: bytes
    rows: int
    size: int
    hash: bytes


class Manifest:
    """An open manifest; a dict of entries that is written through."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path
        self.entries = _entries(connection)
        self._outlined = {name for (name,) in connection.execute("SELECT name FROM outlines")}

    def put(self, name: str, entry: Entry, packed: Packed | None = None) -> None:
        """A file, and its outlines, where they are other ones."""
        with in_words(self._path), transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (name, *entry))
            if packed is not None:
                self._db.execute("INSERT OR REPLACE INTO outlines VALUES (?, ?, ?)", (name, packed.head, packed.data))
        self.entries[name] = entry
        if packed is not None:
            self._outlined.add(name)

    def drop(self, name: str) -> None:
        with in_words(self._path), transaction(self._db):
            self._db.execute("DELETE FROM files WHERE name = ?", (name,))
            self._db.execute("DELETE FROM outlines WHERE name = ?", (name,))
        del self.entries[name]

    def is_outlined(self, name: str) -> bool:
        """Whether there are outlines of a file, which one of an older version lacks."""
        return name in self._outlined

    def stamp(self, archive: bytes | None) -> None:
        """From now on the files show all of an archive with this stamp; None: of none."""
        with in_words(self._path), transaction(self._db):
            self._db.execute("DELETE FROM stamp")
            if archive is not None:
                self._db.execute("INSERT INTO stamp VALUES (?)", (archive,))


def _entries(connection: sqlite3.Connection) -> dict[str, Entry]:
    return {name: Entry(*rest) for name, *rest in connection.execute("SELECT * FROM files")}


@contextmanager
def hold(path: Path) -> Generator[Manifest]:
    """The manifest at `path`, made when it is new or spoiled, for this process alone.

    ArchiveError when another process holds it for too long, or the disk refuses.
    """
    try:
        connection, manifest = _locked(path)
    except VerificationError:
        path.unlink()
        connection, manifest = _locked(path)
    with closing(connection):
        yield manifest


def _locked(path: Path) -> tuple[sqlite3.Connection, Manifest]:
    with in_words(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")  # of a new one; outlines are large
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # from the first lock until the connection is closed
            begin(connection, "EXCLUSIVE")
            if connection.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                connection.execute("DROP TABLE IF EXISTS files")
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute(_STAMP)
            connection.execute(_OUTLINES)
            connection.execute("COMMIT")
            return connection, Manifest(connection, path)
        except BaseException:
            connection.close()
            raise


@contextmanager
def _reading(path: Path) -> Generator[sqlite3.Connection]:
    with in_words(path), closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)) as connection:
        begin_to_read(connection)
        yield connection


def read(path: Path) -> dict[str, Entry] | None:
    """What the manifest at `path` says; None when there is none, or none that can be read."""
    if not path.exists():
        return None
    try:
        with _reading(path) as connection:
            return _entries(connection)
    except VerificationError:
        return None


def read_stamp(path: Path) -> bytes | None:
    """The stamp of the archive that the files show all of; None when that is not known."""
    if not path.exists():
        return None
    try:
        with _reading(path) as connection:
            if not _has_table(connection, "stamp"):
                return None
            row = connection.execute("SELECT archive FROM stamp").fetchone()
            return None if row is None else bytes(row[0])
    except VerificationError:
        return None


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    return found is not None


def read_heads(path: Path) -> dict[str, bytes]:
    """The heads of all outlines; none where they cannot be read."""
    try:
        found = _outlines(path, "SELECT name, head FROM outlines")
        return {name: head for name, head in found if isinstance(head, bytes)}
    except VerificationError:
        return {}


def read_outlines(path: Path, name: str) -> Packed | None:
    """The outlines of one file, in any thread; None where they cannot be read."""
    try:
        found = _outlines(path, "SELECT head, data FROM outlines WHERE name = ?", name)
    except VerificationError:
        return None
    return Packed(*found[0]) if found and set(map(type, found[0])) == {bytes} else None


def _outlines(path: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with _reading(path) as connection:
        return connection.execute(query, values).fetchall() if _has_table(connection, "outlines") else []
