"""One device's log in the archive, as a pull sees it: what is missing, and a place to put what arrives.

Rule of this module: everything may be repeated. A block, gap, session or sync that is already there changes nothing,
so that a pull interrupted anywhere and started again leaves the same archive. Blocks gather in memory and are stored
64 at a time, in transactions so short that two pulls into one archive do not wait for each other's link.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fieldlog.archive.accounts import Recorded, complete_sessions
from fieldlog.archive.block_rows import COLUMNS, INSERT, block_row, is_sound
from fieldlog.archive.database import in_words, transaction
from fieldlog.archive.ranges import difference, overlap, union
from fieldlog.archive.records import Gap, LoggedEvent, LogInfo, Pull, Session
from fieldlog.clock_sync import MAX_TICK, Sync
from fieldlog_protocol.blocks.block import Block, Kind, parse_block
from fieldlog_protocol.blocks.events import ClockSync, decode_events
from fieldlog_protocol.errors import BlockError, FieldlogError, UsageError

COMMIT_BLOCKS = 64
GONE = "not on the device"
OVERWRITTEN = "overwritten or erased before it was read"
NOT_SENT = "not sent"
ASK_AGAIN = frozenset({OVERWRITTEN, NOT_SENT})
_RECHECKED = 1 << 16


def now_us() -> int:
    """This computer's idea of UTC, in microseconds since 1970."""
    return time.time_ns() // 1000


class Log:
    """Handle of one log; made by `Archive.log`. Reads see what was added before, stored or not."""

    def __init__(self, connection: sqlite3.Connection, path: Path, key: int, clock: Callable[[], int] = now_us) -> None:
        self._db = connection
        self._path = path
        self._clock = clock
        self.key = key
        self.stored = 0
        self.repeated = 0
        self.conflicts: set[int] = set()
        self.spoiled: dict[int, str] = {}
        self._again: list[range] = []
        self._waiting: list[tuple[int | bytes, ...]] = []

    # -- adding -------------------------------------------------------------------------------------------------

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
        self._waiting += [block_row(self.key, wire, at_us) for wire in blocks]
        while len(self._waiting) >= COMMIT_BLOCKS:
            self._store(COMMIT_BLOCKS)

    def flush(self) -> None:
        """Store what is waiting; when that fails it goes on waiting."""
        while self._waiting:
            self._store(COMMIT_BLOCKS)

    def _store(self, at_most: int) -> None:
        rows = self._waiting[:at_most]
        came = union(range(seq, seq + 1) for row in rows if isinstance(seq := row[1], int))
        with in_words(self._path), transaction(self._db):
            done = self._db.executemany(INSERT, rows).rowcount
            for part in came:
                self._drop_spoiled(overlap(self._again, part))
            seqs = sorted({row[1] for row in rows})
            doubled = self._db.execute(
                f"SELECT seq FROM blocks WHERE log = ? AND seq IN ({', '.join('?' * len(seqs))}) "
                "GROUP BY seq HAVING count(*) > 1",
                (self.key, *seqs),
            ).fetchall()
        del self._waiting[:at_most]
        self._again = difference(self._again, came)
        self.stored += done
        self.repeated += len(rows) - done
        self.conflicts.update(seq for (seq,) in doubled)

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
        at_us = self._clock()
        news = difference(absent, self.lost())
        self._write(
            "INSERT INTO gaps VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (log, first_seq, last_seq) DO UPDATE SET reason = excluded.reason",
            [(self.key, part.start, part.stop - 1, reason, at_us) for part in absent],
        )
        return news

    def begin_pull(self) -> int:
        """Note that a pull begins; its number is for `end_pull`."""
        with in_words(self._path), transaction(self._db):
            added = self._db.execute("INSERT INTO pulls (log, started_us) VALUES (?, ?)", (self.key, self._clock()))
            return added.lastrowid or 0

    def end_pull(self, pull: int, *, blocks: int, size: int, outcome: str = "complete") -> None:
        self.flush()
        self._write(
            "UPDATE pulls SET finished_us = ?, blocks = ?, bytes = ?, outcome = ? WHERE id = ?",
            [(self._clock(), blocks, size, outcome, pull)],
        )

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with in_words(self._path), transaction(self._db):
            self._db.executemany(statement, rows)

    # -- asking -------------------------------------------------------------------------------------------------

    def info(self) -> LogInfo:
        return LogInfo(
            *self._rows("SELECT uid, log_id, serial, label, product, firmware, first_seen_us FROM logs WHERE id = ?")[0]
        )

    def missing(self, first_seq: int, next_seq: int, open_seqs: Iterable[int] = ()) -> list[range]:
        """Which seqs of `first_seq` up to before `next_seq` to ask for: not held, not known as gone, not still open."""
        gone = [range(gap.first_seq, gap.last_seq + 1) for gap in self.gaps() if gap.reason not in ASK_AGAIN]
        lacking = difference(self.absent(first_seq, next_seq), gone)
        again = overlap(self._again, range(first_seq, next_seq))
        return difference([*lacking, *again], [range(seq, seq + 1) for seq in open_seqs])

    def unread(self, first_seq: int, next_seq: int) -> list[range]:
        """Seqs in between that are neither held nor noted as a gap, and those to be asked for again."""
        lacking = difference(self.absent(first_seq, next_seq), self.lost())
        return union([*lacking, *overlap(self._again, range(first_seq, next_seq))])

    def ask_again(self, seqs: Iterable[range]) -> None:
        """From now on `missing` names these too, until they have come, whether they are held or not."""
        self._again = union([*self._again, *seqs])

    def recheck(self, first_seq: int, next_seq: int) -> list[int]:
        """Which seqs in between are held only in copies that this computer's disk has spoiled: to be asked for again.

        So many blocks are looked at as take a moment; in a longer log each pull looks at another part.
        """
        self.flush()
        parts = -(-(next_seq - first_seq) // _RECHECKED)
        turn = self._rows("SELECT count(*) FROM pulls WHERE log = ?")[0][0] % max(1, parts)
        start = first_seq + turn * _RECHECKED
        sound: set[int] = set()
        spoiled: set[int] = set()
        with in_words(self._path):
            for seq, crc, data in self._db.execute(
                "SELECT seq, crc, data FROM blocks WHERE log = ? AND seq >= ? AND seq < ?",
                (self.key, start, min(start + _RECHECKED, next_seq)),
            ):
                (sound if is_sound(seq, crc, data) else spoiled).add(seq)
        self.ask_again(range(seq, seq + 1) for seq in spoiled - sound)
        return sorted(spoiled - sound)

    def copies(self, seq: int) -> list[bytes]:
        """The blocks held under this seq, in wire form, the first that came first; more than one is a conflict."""
        self.flush()
        return [
            data for (data,) in self._rows("SELECT data FROM blocks WHERE log = ?2 AND seq = ?1 ORDER BY rowid", seq)
        ]

    def nearest_held(self, seq: int, within: range) -> int | None:
        """The highest seq up to `seq` that is held, in `within`; None when there is none."""
        self.flush()
        rows = self._rows("SELECT max(seq) FROM blocks WHERE seq <= ? AND seq >= ? AND log = ?", seq, within.start)
        found: int | None = rows[0][0]
        return found

    def absent(self, first_seq: int, next_seq: int) -> list[range]:
        """The seqs in between of which no block is held."""
        self.flush()
        found = self._rows(
            "SELECT seq + 1, following FROM (SELECT seq, lead(seq, 1, ?2) OVER (ORDER BY seq) AS following FROM "
            "(SELECT ?1 - 1 AS seq UNION SELECT seq FROM blocks WHERE log = ?3 AND seq >= ?1 AND seq < ?2)) "
            "WHERE following > seq + 1",
            first_seq,
            next_seq,
        )
        return [range(first, stop) for first, stop in found]

    def held(self) -> range:
        """From the first to the last seq held; empty when there is no block."""
        self.flush()
        first, last = self._rows("SELECT min(seq), max(seq) FROM blocks WHERE log = ?")[0]
        return range(0) if first is None else range(first, last + 1)

    def gaps(self) -> list[Gap]:
        """Gaps as they were found, less what was had after all (from a dump of the flash, say), in order of seq."""
        found = [
            Gap(*row)
            for row in self._rows(
                "SELECT first_seq, last_seq, reason, found_us FROM gaps WHERE log = ? ORDER BY first_seq, last_seq"
            )
        ]
        absent = self._absent_of([range(gap.first_seq, gap.last_seq + 1) for gap in found])
        return [
            Gap(part.start, part.stop - 1, gap.reason, gap.found_us)
            for gap in found
            for part in overlap(absent, range(gap.first_seq, gap.last_seq + 1))
        ]

    def _absent_of(self, parts: Sequence[range]) -> list[range]:
        """What of these seqs is not held, found in one query."""
        if not parts:
            return []
        absent = self.absent(min(part.start for part in parts), max(part.stop for part in parts))
        return [piece for part in union(parts) for piece in overlap(absent, part)]

    def lost(self) -> list[range]:
        """The seqs of all gaps, joined where they touch."""
        return union(range(gap.first_seq, gap.last_seq + 1) for gap in self.gaps())

    def conflicting(self) -> list[int]:
        """The seqs under which blocks of different content are held."""
        self.flush()
        return [seq for (seq,) in self._rows("SELECT seq FROM blocks WHERE log = ? GROUP BY seq HAVING count(*) > 1")]

    def sessions(self) -> list[Session]:
        """As the device told them when it was asked, completed by what its log tells."""
        return complete_sessions(self.told_sessions(), self.events(), self.recorded())

    def told_sessions(self) -> list[Session]:
        """As the device told them when it was asked."""
        rows = self._rows(
            "SELECT id, label, boot_id, start_tick, stop_tick, first_seq, last_seq, frames, reason "
            "FROM sessions WHERE log = ? ORDER BY id"
        )
        return [Session(*row) for row in rows]

    def recorded(self) -> list[Recorded]:
        """What is held of each session that has readings."""
        self.flush()
        rows = self._rows(
            "SELECT session, min(seq) AS seq, max(seq) AS last_seq, sum(n_frames), boot_id, t0 FROM "
            "(SELECT min(rowid), seq, session, n_frames, boot_id, t0 FROM blocks WHERE log = ? AND kind = 0 GROUP BY seq) "
            "GROUP BY session ORDER BY session"
        )
        return [Recorded(*row) for row in rows]

    def pulls(self) -> list[Pull]:
        return [
            Pull(*row)
            for row in self._rows(
                "SELECT started_us, finished_us, blocks, bytes, outcome FROM pulls WHERE log = ? ORDER BY id"
            )
        ]

    def blocks(self, kind: Kind) -> list[Block]:
        """All blocks of one kind in order of seq; of two with the same seq the one that came first.

        One that was spoiled on this computer's disk is left out and noted in `spoiled`.
        """
        self.flush()
        rows = self._rows(
            "SELECT seq, data FROM blocks WHERE rowid IN "
            "(SELECT min(rowid) FROM blocks WHERE log = ?1 AND kind = ?2 GROUP BY seq) ORDER BY seq",
            int(kind),
            log_last=False,
        )
        return [block for seq, data in rows if (block := self._parsed(seq, data)) is not None]

    def _parsed(self, seq: int, data: bytes) -> Block | None:
        try:
            return parse_block(data)
        except FieldlogError as error:
            self.spoiled[seq] = f"block {seq} is damaged in the archive: {error}"
            return None

    def verify(self) -> tuple[int, list[str]]:
        """How many blocks are whole, and a sentence for each that is not: every one is read again, one at a time."""
        self.flush()
        whole = 0
        with in_words(self._path):
            for *kept, data in self._db.execute(
                f"SELECT {COLUMNS} FROM blocks WHERE log = ? ORDER BY seq", (self.key,)
            ):
                seq = kept[1]
                if self._parsed(seq, data) is None:
                    continue
                if (*kept, data) == block_row(self.key, data, kept[-1]):
                    whole += 1
                else:
                    self.spoiled[seq] = (
                        f"block {seq} is damaged in the archive: what is noted of it is not what it says"
                    )
        return whole, list(self.spoiled.values())

    def events(self) -> list[LoggedEvent]:
        """What the device wrote down, in order; EVENT blocks that cannot be understood tell nothing."""
        found: list[LoggedEvent] = []
        for block in self.blocks(Kind.EVENT):
            try:
                events = decode_events(block.payload)
            except BlockError:
                continue
            header = block.header
            found += [LoggedEvent(header.seq, header.boot_id, tick, event) for tick, event in events]
        return found

    def syncs(self) -> list[Sync]:
        """All clock syncs known: those of this and other hosts, and those the device kept."""
        kept = [
            Sync(logged.boot_id, logged.event.tick, logged.event.utc_us, logged.event.err_us, logged.event.source)
            for logged in self.events()
            if isinstance(logged.event, ClockSync)
        ]
        taken = self._rows("SELECT boot_id, tick, utc_us, error_us, source FROM syncs WHERE log = ?")
        return [sync for sync in (*kept, *(Sync(*row) for row in taken)) if _plausible(sync)]

    def _rows(self, query: str, *parameters: object, log_last: bool = True) -> list[tuple[Any, ...]]:
        values = (*parameters, self.key) if log_last else (self.key, *parameters)
        with in_words(self._path):
            return self._db.execute(query, values).fetchall()


def _plausible(sync: Sync) -> bool:
    """A device may write anything: times in the years 1970 to 5000, ticks and errors that int64 can be reckoned with."""
    return 0 <= sync.tick < MAX_TICK and 0 <= sync.utc_us < 10**17 and 0 <= sync.error_us < 10**15
