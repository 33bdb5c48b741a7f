"""One device's log in the archive, as a pull sees it: what is missing, and a place to put what arrives.

Rule of this module: everything may be repeated. A block, gap, session or sync that is already there changes nothing,
so that a pull interrupted anywhere and started again leaves the same archive. Blocks gather in memory and are stored
64 at a time, or after a few seconds where they come slowly, in transactions so short that two pulls into one archive do
not wait for each other's link. While they arrive nobody waits for the disk either: what is stored then outlives this
program, and with the next `flush` a power failure too.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from fieldlog.archive.block_rows import COLUMNS, INSERT, block_row, is_as_stored, is_sound
from fieldlog.archive.database import in_words, transaction
from fieldlog.archive.log_view import ASK_AGAIN, GONE, NOT_SENT, OVERWRITTEN, LogView
from fieldlog.archive.ranges import difference, overlap, union
from fieldlog.archive.records import Pull, Session
from fieldlog.clock_sync import Sync
from fieldlog_protocol.errors import FieldlogError, UsageError

__all__ = ["ASK_AGAIN", "GONE", "IMPORTED", "NOT_SENT", "OVERWRITTEN", "Log", "now_us"]

COMMIT_BLOCKS = 64
_COMMIT_AFTER_US = 2_000_000
IMPORTED = "imported from"
_RECHECKED = 1 << 15
_CLOSE = 4


def now_us() -> int:
    """This computer's idea of UTC, in microseconds since 1970."""
    return time.time_ns() // 1000


class Log(LogView):
    """Handle of one log; made by `Archive.log`. Reads see what was added before, stored or not."""

    def __init__(self, connection: sqlite3.Connection, path: Path, key: int, clock: Callable[[], int] = now_us) -> None:
        super().__init__(connection, path, key)
        self._clock = clock
        self.stored = 0
        self.repeated = 0
        self.conflicts: set[int] = set()
        self._again: list[range] = []
        self._waiting: list[tuple[int | bytes, ...]] = []
        self._waiting_since_us = 0
        self._unsynced = False

    def __repr__(self) -> str:
        try:
            info = self.info()
        except FieldlogError:  # of an archive that is closed, say
            return f"<Log {self.key} of {str(self._path)!r}>"
        return f"<Log of {info.name!r}: uid {info.uid}, log_id {info.log_id}>"

    def describe(self, *, serial: str = "", label: str = "", product: str = "", firmware: str = "") -> None:
        """What the device says it is called now; empty leaves what was known."""
        self._write(
            "UPDATE logs SET serial = coalesce(nullif(?, ''), serial), label = coalesce(nullif(?, ''), label), "
            "product = coalesce(nullif(?, ''), product), firmware = coalesce(nullif(?, ''), firmware) WHERE id = ?",
            [(serial, label, product, firmware, self.key)],
        )

    def add_blocks(self, blocks: Iterable[bytes], *, received_us: int | None = None) -> None:
        """Take blocks in wire form. BlockError when one is damaged: then none of this call is taken."""
        at_us = self._clock() if received_us is None else received_us
        if not self._waiting:
            self._waiting_since_us = at_us
        self._waiting += [block_row(self.key, wire, at_us) for wire in blocks]
        while len(self._waiting) >= COMMIT_BLOCKS:
            self._store(COMMIT_BLOCKS)
            self._waiting_since_us = at_us
        if received_us is None and abs(at_us - self._waiting_since_us) > _COMMIT_AFTER_US:
            self.settle()

    def flush(self) -> None:
        """Store what is waiting; when that fails it goes on waiting. What was stored is then on the disk for good."""
        self.settle()
        if self._unsynced:
            with in_words(self._path), transaction(self._db, synchronous="FULL"):
                self._db.execute(
                    "UPDATE logs SET id = id WHERE id = ?", (self.key,)
                )  # what is written before goes with it
            self._unsynced = False

    def settle(self) -> None:
        """Store what is waiting, so that what is read next shows it. The disk may take its time: `flush` waits for that."""
        while self._waiting:
            self._store(COMMIT_BLOCKS)

    def _transaction(self) -> AbstractContextManager[None]:
        self._unsynced = True
        return transaction(self._db, synchronous="NORMAL")

    def _store(self, at_most: int) -> None:
        rows = self._waiting[:at_most]
        came = union(range(seq, seq + 1) for row in rows if isinstance(seq := row[1], int)) if self._again else []
        with in_words(self._path), self._transaction():
            done = self._db.executemany(INSERT, rows).rowcount
            for part in came:
                self._drop_spoiled(overlap(self._again, part))
            doubled = self._doubled({seq for row in rows if isinstance(seq := row[1], int)})
        del self._waiting[:at_most]
        self._again = difference(self._again, came)
        self.stored += done
        self.repeated += len(rows) - done
        self.conflicts.update(doubled)

    def _doubled(self, seqs: set[int]) -> list[int]:
        """Of these seqs those that are held in more than one form."""
        if max(seqs) - min(seqs) < _CLOSE * len(seqs):  # to walk along all in between takes a fifth of the time
            which, named = "seq BETWEEN ? AND ?", [min(seqs), max(seqs)]
        else:
            which, named = f"seq IN ({', '.join('?' * len(seqs))})", sorted(seqs)
        found = self._db.execute(
            f"SELECT seq FROM blocks WHERE log = ? AND {which} GROUP BY seq HAVING count(*) > 1", (self.key, *named)
        )
        return [seq for (seq,) in found if seq in seqs]

    def _drop_spoiled(self, parts: Iterable[range]) -> None:
        """Of blocks that have just come again: copies here that nobody can read, under whatever CRC they stood."""
        for part in parts:
            spoiled = [
                (rowid,)
                for rowid, seq, crc, data in self._db.execute(
                    "SELECT rowid, seq, crc, data FROM blocks WHERE log = ? AND seq >= ? AND seq < ?",
                    (self.key, part.start, part.stop),
                )
                if not is_sound(seq, crc, data)
            ]
            self._db.executemany("DELETE FROM blocks WHERE rowid = ?", spoiled)

    def add_syncs(self, syncs: Iterable[Sync]) -> None:
        """Clock syncs taken by this host; those the device kept are in its EVENT blocks."""
        self._write(
            "INSERT OR IGNORE INTO syncs VALUES (?, ?, ?, ?, ?, ?)",
            [(self.key, s.boot_id, s.tick, s.utc_us, s.error_us, s.source) for s in syncs],
        )

    def add_sessions(self, sessions: Iterable[Session]) -> None:
        """Sessions as the device tells them; a later account of the same session replaces the earlier."""
        self._write(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self.key,
                    s.id,
                    s.label,
                    s.boot_id,
                    s.start_tick,
                    s.stop_tick,
                    s.first_seq,
                    s.last_seq,
                    s.frames,
                    s.reason,
                )
                for s in sessions
            ],
        )

    def add_gap(self, first_seq: int, last_seq: int, reason: str = GONE) -> list[range]:
        """Seqs that the device did not give; answers those that were news. See `add_gaps`."""
        if last_seq < first_seq:
            raise UsageError(f"a gap from seq {first_seq} to {last_seq} ends before it begins")
        return self.add_gaps([range(first_seq, last_seq + 1)], reason)

    def add_gaps(self, parts: Iterable[range], reason: str) -> list[range]:
        """Seqs that the device did not give; answers those that were news.

        Only those that are GONE are not asked for again: a device may be wrong about what it holds, once.
        """
        wanted = union(parts)
        if not wanted:
            return []
        absent = self._absent_of(wanted)
        news = difference(absent, self.lost())
        with in_words(self._path), self._transaction():
            self._note_gaps(absent, reason)
        return news

    def _note_gaps(self, parts: list[range], reason: str) -> None:
        """Each seq stands in one row: what is noted for this reason stays, other rows give way to it."""
        rows = self._gap_rows()
        parts = difference(parts, [seqs for seqs, why, _ in rows if why == reason])
        outdated = [row for row in rows if overlap(parts, row[0])]
        left = [(piece, why, at_us) for seqs, why, at_us in outdated for piece in difference([seqs], parts)]
        self._db.executemany(
            "DELETE FROM gaps WHERE log = ? AND first_seq = ? AND last_seq = ?",
            [(self.key, seqs.start, seqs.stop - 1) for seqs, _, _ in outdated],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?)",
            [
                (self.key, piece.start, piece.stop - 1, why, at_us)
                for piece, why, at_us in (*left, *((part, reason, self._clock()) for part in parts))
            ],
        )

    def add_pulls(self, pulls: Iterable[Pull]) -> None:
        """Pulls that another archive tells of; one that is here already is the one that began at the same instant."""
        known = {pull.started_us: pull for pull in self.pulls()}
        news = [pull for pull in pulls if pull.started_us not in known]
        self._write(
            "INSERT INTO pulls (log, started_us, finished_us, blocks, bytes, outcome) VALUES (?, ?, ?, ?, ?, ?)",
            [(self.key, *astuple(pull)) for pull in news],
        )

    def seen_since(self, first_seen_us: int) -> None:
        """The log was known elsewhere at this time already."""
        self._write("UPDATE logs SET first_seen_us = min(first_seen_us, ?) WHERE id = ?", [(first_seen_us, self.key)])

    def begin_pull(self, outcome: str = "interrupted") -> int:
        """Note that a pull begins; its number is for `end_pull`. `outcome`: what is to stand there if it is broken off."""
        with in_words(self._path), self._transaction():
            added = self._db.execute(
                "INSERT INTO pulls (log, started_us, outcome) VALUES (?, ?, ?)", (self.key, self._clock(), outcome)
            )
            return added.lastrowid or 0

    def end_pull(self, pull: int, *, blocks: int, size: int, outcome: str = "complete") -> None:
        self.settle()
        self._write(
            "UPDATE pulls SET finished_us = ?, blocks = ?, bytes = ?, outcome = ? WHERE id = ?",
            [(self._clock(), blocks, size, outcome, pull)],
        )
        self.flush()

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with in_words(self._path), self._transaction():
            self._db.executemany(statement, rows)

    def missing(self, first_seq: int, next_seq: int, open_seqs: Iterable[int] = ()) -> list[range]:
        """Which seqs of `first_seq` up to before `next_seq` to ask for: not held, not known as gone, not still open."""
        lacking = difference(self.absent(first_seq, next_seq), self.gone())
        again = overlap(self._again, range(first_seq, next_seq))
        return difference([*lacking, *again], [range(seq, seq + 1) for seq in open_seqs])

    def ask_again(self, seqs: Iterable[range]) -> None:
        """From now on `missing` names these too, until they have come, whether they are held or not."""
        self._again = union([*self._again, *seqs])

    def recheck(self, first_seq: int, next_seq: int, *, everything: bool = False) -> list[int]:
        """Which seqs in between are held only in copies that this computer's disk has spoiled: to be asked for again.

        So many blocks are looked at as take a moment, unless it is to be `everything`; in a longer log each pull looks
        at another part.
        """
        self.settle()
        most = max(1, next_seq - first_seq) if everything else _RECHECKED
        parts = -(-(next_seq - first_seq) // most)
        turn = self._rows("SELECT count(*) FROM pulls WHERE log = ?")[0][0] % max(1, parts)
        start = first_seq + turn * most
        sound: set[int] = set()
        spoiled: set[int] = set()
        with in_words(self._path):
            for row in self._db.execute(
                f"SELECT {COLUMNS} FROM blocks WHERE log = ? AND seq >= ? AND seq < ?",
                (self.key, start, min(start + most, next_seq)),
            ):
                (sound if is_as_stored(row) else spoiled).add(row[1])
        self.ask_again(range(seq, seq + 1) for seq in spoiled - sound)
        return sorted(spoiled - sound)
