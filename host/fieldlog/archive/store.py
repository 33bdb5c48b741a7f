"""The archive: logs of many devices in one file, the source of truth for all that was ever read from them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fieldlog.archive.database import ArchiveError, connect, in_a_hurry, in_words, locate, transaction
from fieldlog.archive.log import Log, now_us
from fieldlog.archive.records import LONGEST_UID, LogInfo, told_apart
from fieldlog.archive.selection import Selection
from fieldlog_protocol.errors import FieldlogError, UsageError

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.source import Source


def open_archive(
    path: str | Path, *, writable: bool = True, empty: bool = True, clock: Callable[[], int] = now_us
) -> Archive:
    """The archive in folder `path` (or in that file), made when it is not there and `writable`: at once, or with its
    first log where `empty` ones are of no use.

    Several programs may have it open, and write, at once. Raises UsageError when there is none to read or it is of a
    newer format, VerificationError when the file is no archive, ArchiveError when it cannot be opened.
    """
    file = locate(Path(path))
    later = writable and not empty and not file.exists()
    return Archive(None if later else connect(file, writable=writable), file, clock)


def exists(path: str | Path) -> bool:
    """Whether there is an archive in folder `path`, or in that file."""
    return locate(Path(path)).exists()


_STAMPED = (
    "SELECT id, uid, log_id FROM logs ORDER BY id",
    "SELECT count(*), max(rowid), sum(crc) FROM blocks",
    "SELECT * FROM syncs ORDER BY log, boot_id, tick, utc_us, error_us, source",
    "SELECT log, first_seq, last_seq FROM gaps ORDER BY log, first_seq, last_seq",
)


class Archive:
    """An open archive; a context manager. Leaving it stores what is waiting, after an error too."""

    def __init__(self, connection: sqlite3.Connection | None, path: Path, clock: Callable[[], int] = now_us) -> None:
        self._connection = connection
        self._clock = clock
        self._open_logs: dict[int, Log] = {}
        self.path = path

    def __repr__(self) -> str:
        return f"<Archive {str(self.path)!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with nullcontext() if _has_time(error) else in_a_hurry():
                self.flush()
        except FieldlogError as failed:
            if error is None:
                raise
            if _is_interrupt(error):
                error.args = (f"some of what arrived last is not in the archive. {failed}",)
        finally:
            if self._connection is not None:
                self._connection.close()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.path, writable=True)
        return self._connection

    def close(self) -> None:
        self.__exit__(None, None, None)

    def flush(self) -> None:
        """Store all blocks that are waiting."""
        for log in self._open_logs.values():
            log.flush()

    def log(self, uid: bytes, log_id: int) -> Log:
        """The log of a device since its store was formatted, made when it is new. UsageError when no log is so called."""
        if not 0 < len(uid) <= LONGEST_UID or not 0 <= log_id < 1 << 32:
            raise UsageError(
                f"there is no log {log_id} of a device {uid.hex()!r}: a uid has 1 to {LONGEST_UID} bytes, and a log id lies "
                "between 0 and 4294967295. Nothing was stored"
            )
        found = self._key(uid.hex(), log_id)
        if found is None:
            with in_words(self.path), transaction(self._db, synchronous="FULL"):
                self._db.execute(
                    "INSERT OR IGNORE INTO logs (uid, log_id, first_seen_us) VALUES (?, ?, ?)",
                    (uid.hex(), log_id, self._clock()),
                )
            found = self._key(uid.hex(), log_id)
        return self._handle(found or 0)

    def logs(self) -> list[Log]:
        """All logs, in the order in which they were first seen."""
        if self._connection is None and not self.path.exists():
            return []  # and no empty one is left behind where nothing comes to be stored
        with in_words(self.path):
            keys = self._db.execute("SELECT id FROM logs ORDER BY id").fetchall()
        return [self._handle(key) for (key,) in keys]

    def select(self, device: str | None = None) -> list[Log]:
        """The logs of one device, named by uid (hex), serial or label; the only one when no name is given.

        UsageError when it is unknown, or when the name fits several devices.
        """
        return self._selected(self._known(), device)

    def _known(self, logs: Iterable[Log] | None = None) -> list[tuple[Log, LogInfo]]:
        return [(log, log.info()) for log in (self.logs() if logs is None else logs)]

    def _selected(self, known: Sequence[tuple[Log, LogInfo]], device: str | None) -> list[Log]:
        """`select` among these logs."""
        named = [(log, info) for log, info in known if device is None or _is_called(info, device)]
        uids = dict.fromkeys(info.uid for _, info in named)
        if len(uids) == 1:
            return [log for log, _ in named]
        described = {info.uid: _described(info) for _, info in (named or known)}  # a device may have several logs
        listed = "; ".join(described.values()) or "none"
        if not uids:
            what = "the archive holds no device" if device is None else f"the archive holds no device {device!r}"
            next_step = "Read it out first, or name one of these"
            if any(session.label == device for log, _ in known for session in log.sessions()):
                next_step = f"A session is called {device!r}: name it as the session (--session or session=)"
            raise UsageError(f"{what}. Devices in it: {listed}. {next_step}")
        if device is None:
            raise UsageError(
                f"the archive holds {len(uids)} devices: {listed}. Choose one (--device or device=) by its uid, serial number "
                "or label, or all (--all)"
            )
        raise UsageError(f"{device!r} fits {len(uids)} devices: {listed}. Name one by its uid")

    def readings(
        self,
        device: str | Iterable[str] | None = None,
        session: int | str | Iterable[int | str] | None = None,
        channels: str | Iterable[str] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
    ) -> Readings:
        """The readings of one device, or of those named: of some sessions (ids or labels), of some channels, from `start` up
        to before `end`. Without a name the archive must hold one device only. A number that no session has may be a label.

        Times are datetimes that say their offset, or text in ISO 8601, which is meant in UTC where it says none.

        Nothing is decoded before it is asked for. UsageError when the selection makes no sense.
        """
        from fieldlog.archive.readings import Readings

        self.flush()
        names = [device] if device is None or isinstance(device, str) else device
        known = self._known()
        logs = list(dict.fromkeys(log for name in names for log in self._selected(known, name)))
        return Readings(self.path, self.sources(logs), Selection.of(logs, session, channels, start, end))

    def sources(self, logs: Iterable[Log] | None = None) -> list[Source]:
        """Logs, or all there are, as readers of their data see them: those of several devices by names of their own."""
        from fieldlog.archive.source import Source

        known = self._known(logs)
        infos = told_apart([info for _, info in known])
        return [Source(self._db, self.path, log, info) for (log, _), info in zip(known, infos, strict=True)]

    def digest(self) -> str:
        """A hash of what was read from devices: logs, blocks, sessions, gaps; not of when and how often it was read."""
        self.flush()
        total = hashlib.sha256()
        for log in sorted(self.logs(), key=lambda log: (log.info().uid, log.info().log_id)):
            info = log.info()
            known = (info.uid, info.log_id, info.serial, info.label, info.product, info.firmware)
            total.update(repr((known, log.sessions(), log.lost())).encode())
            with in_words(self.path):
                for seq, data in self._db.execute(
                    "SELECT seq, data FROM blocks WHERE log = ? ORDER BY seq, crc", (log.key,)
                ):
                    total.update(seq.to_bytes(4, "little") + data)
        return total.hexdigest()

    def stamp(self) -> bytes:
        """A hash that changes whenever readings or their times may: cheap, where `digest` reads every block."""
        self.flush()
        total = hashlib.sha256(b"1")
        with in_words(self.path):
            for query in _STAMPED:
                total.update(repr([tuple(row) for row in self._db.execute(query)]).encode())
        return total.digest()

    def _key(self, uid: str, log_id: int) -> int | None:
        with in_words(self.path):
            row = self._db.execute("SELECT id FROM logs WHERE uid = ? AND log_id = ?", (uid, log_id)).fetchone()
        return None if row is None else int(row[0])

    def _handle(self, key: int) -> Log:
        if key not in self._open_logs:
            self._open_logs[key] = Log(self._db, self.path, key, self._clock)
        return self._open_logs[key]


def _has_time(error: BaseException | None) -> bool:
    """Whether it may wait for other writers as long as ever: neither was it interrupted nor has it waited just now."""
    return error is None or (isinstance(error, Exception) and not isinstance(error, ArchiveError))


def _is_interrupt(error: BaseException) -> bool:
    """Ctrl-C, or a task that was cancelled."""
    return not isinstance(error, Exception | SystemExit | GeneratorExit)


def _is_called(info: LogInfo, name: str) -> bool:
    return name in {info.serial, info.label, *info.names_apart} - {""} or name.lower().removeprefix("uid-") == info.uid


def _described(info: LogInfo) -> str:
    names = " ".join(name for name in (info.label, info.serial) if name)
    return f"{info.uid} ({names})" if names else info.uid
