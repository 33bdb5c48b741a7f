"""What the archive tells of one device's log.

Rule of this module: it only asks, and what it answers includes what was added a moment ago, stored or not.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fieldlog.archive.accounts import Recorded, complete_sessions, session_texts
from fieldlog.archive.block_rows import COLUMNS, is_as_stored
from fieldlog.archive.database import damaged, in_words
from fieldlog.archive.ranges import overlap, union
from fieldlog.archive.records import Gap, LoggedEvent, LogInfo, Pull, Session
from fieldlog.clock_sync import MAX_TICK, Sync
from fieldlog_protocol.blocks.block import Block, Kind, parse_block
from fieldlog_protocol.blocks.events import ClockSync, decode_events
from fieldlog_protocol.blocks.schema import parse_schema_part
from fieldlog_protocol.errors import BlockError, FieldlogError

GONE = "not on the device"
OVERWRITTEN = "overwritten or erased before it was read"
NOT_SENT = "not sent"
ASK_AGAIN = frozenset({OVERWRITTEN, NOT_SENT})

_UID = re.compile("(?:[0-9a-f]{2})*")


class LogView:
    """The asking half of a `Log`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, key: int) -> None:
        self._db = connection
        self._path = path
        self.key = key
        self.spoiled: dict[int, str] = {}

    def settle(self) -> None:
        """Store what is waiting, where anything is."""

    def info(self) -> LogInfo:
        rows = self._rows("SELECT uid, log_id, serial, label, product, firmware, first_seen_us FROM logs WHERE id = ?")
        if not rows or not _UID.fullmatch(rows[0][0]):
            raise damaged(self._path)
        return LogInfo(*rows[0])

    def count(self) -> int:
        """How many blocks are held, copies with other content included."""
        self.settle()
        return int(self._rows("SELECT count(*) FROM blocks WHERE log = ?")[0][0])

    def holds(self, seq: int, crc: int) -> bool:
        """Whether this very block is held."""
        self.settle()
        return bool(self._rows("SELECT count(*) FROM blocks WHERE seq = ? AND crc = ? AND log = ?", seq, crc)[0][0])

    def stored_blocks(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(seq, CRC, moment of arrival, wire form) of every block as it is on the disk, be it whole or not."""
        with in_words(self._path):
            yield from self._db.execute(
                "SELECT seq, crc, received_us, data FROM blocks WHERE log = ? ORDER BY seq, rowid", (self.key,)
            )

    def copies(self, seq: int) -> list[bytes]:
        """The blocks held under this seq, in wire form, the first that came first; more than one is a conflict."""
        self.settle()
        return [
            data for (data,) in self._rows("SELECT data FROM blocks WHERE log = ?2 AND seq = ?1 ORDER BY rowid", seq)
        ]

    def nearest_held(self, seq: int, within: range) -> int | None:
        """The highest seq up to `seq` that is held, in `within`; None when there is none."""
        self.settle()
        rows = self._rows("SELECT max(seq) FROM blocks WHERE seq <= ? AND seq >= ? AND log = ?", seq, within.start)
        found: int | None = rows[0][0]
        return found

    def first_held(self, within: range) -> int | None:
        """The lowest seq held, in `within`; None when there is none."""
        self.settle()
        rows = self._rows(
            "SELECT min(seq) FROM blocks WHERE seq >= ? AND seq < ? AND log = ?", within.start, within.stop
        )
        found: int | None = rows[0][0]
        return found

    def absent(self, first_seq: int, next_seq: int) -> list[range]:
        """The seqs in between of which no block is held."""
        self.settle()
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
        self.settle()
        first, last = self._rows("SELECT min(seq), max(seq) FROM blocks WHERE log = ?")[0]
        return range(0) if first is None else range(first, last + 1)

    def gaps(self) -> list[Gap]:
        """Gaps as they were found, less what was had after all (from a dump of the flash, say), in order of seq."""
        found = self._gap_rows()
        absent = self._absent_of([seqs for seqs, _, _ in found])
        return [
            Gap(part.start, part.stop - 1, reason, found_us)
            for seqs, reason, found_us in found
            for part in overlap(absent, seqs)
        ]

    def _gap_rows(self) -> list[tuple[range, str, int]]:
        """(seqs, reason, moment) of each gap as it was found."""
        rows = self._rows(
            "SELECT first_seq, last_seq, reason, found_us FROM gaps WHERE log = ? ORDER BY first_seq, last_seq"
        )
        return [(range(first, last + 1), reason, found_us) for first, last, reason, found_us in rows]

    def _absent_of(self, parts: Sequence[range]) -> list[range]:
        """What of these seqs is not held, found in one query."""
        if not parts:
            return []
        absent = self.absent(min(part.start for part in parts), max(part.stop for part in parts))
        return [piece for part in union(parts) for piece in overlap(absent, part)]

    def lost(self) -> list[range]:
        """The seqs of all gaps, joined where they touch."""
        return union(range(gap.first_seq, gap.last_seq + 1) for gap in self.gaps())

    def gone(self) -> list[range]:
        """Gaps that are not asked for again."""
        return union(range(gap.first_seq, gap.last_seq + 1) for gap in self.gaps() if gap.reason not in ASK_AGAIN)

    def conflicting(self) -> list[int]:
        """The seqs under which blocks of different content are held."""
        self.settle()
        return [seq for (seq,) in self._rows("SELECT seq FROM blocks WHERE log = ? GROUP BY seq HAVING count(*) > 1")]

    def sessions(self) -> list[Session]:
        """As the device told them when it was asked, completed by what its log tells."""
        return complete_sessions(self.told_sessions(), self.events(), self.recorded())

    def session_texts(self) -> dict[int, tuple[str, dict[str, str]]]:
        """Label and metadata of each session that has any: no more than a few events is looked at, however long it is."""
        return session_texts(self.told_sessions(), self.events())

    def told_sessions(self) -> list[Session]:
        """As the device told them when it was asked."""
        rows = self._rows(
            "SELECT id, label, boot_id, start_tick, stop_tick, first_seq, last_seq, frames, reason "
            "FROM sessions WHERE log = ? ORDER BY id"
        )
        return [Session(*row) for row in rows]

    def recorded(self) -> list[Recorded]:
        """What is held of each session that has readings."""
        self.settle()
        held = (
            "FROM (SELECT min(rowid), session, seq, boot_id, t0, span, n_frames FROM blocks WHERE log = ? AND kind = 0 "
            "GROUP BY stream, session, seq) GROUP BY session ORDER BY session"
        )
        first = self._rows(f"SELECT session, min(seq) AS seq, boot_id, t0 {held}")  # of the row with the least seq
        last = self._rows(f"SELECT max(seq) AS seq, boot_id, t0 + span AS tick {held}")
        frames = self._rows(f"SELECT sum(n_frames) {held}")
        return [Recorded(*start, *end, *total) for start, end, total in zip(first, last, frames, strict=True)]

    def stretches(self) -> list[tuple[int, int, int, int, int]]:
        """(session, stream, boot, first tick, last tick) of what is held of each stream, session by session."""
        self.settle()
        rows = self._rows(
            "SELECT session, stream, boot_id, min(t0), max(t0 + span) FROM blocks WHERE log = ? AND kind = 0 "
            "GROUP BY session, stream, boot_id ORDER BY session, stream, boot_id"
        )
        return [(session, stream, boot_id, first, last) for session, stream, boot_id, first, last in rows]

    def pulls(self) -> list[Pull]:
        return [
            Pull(*row)
            for row in self._rows(
                "SELECT started_us, finished_us, blocks, bytes, outcome FROM pulls WHERE log = ? ORDER BY id"
            )
        ]

    def blocks(self, kind: Kind) -> list[Block]:
        """All blocks of one kind in order of seq: see `each_block`."""
        return list(self.each_block(kind))

    def each_block(self, kind: Kind, *, newest_first: bool = False) -> Iterator[Block]:
        """The blocks of one kind in order of seq, one at a time; of two with the same seq the one that came first.

        One that was spoiled on this computer's disk is left out and noted in `spoiled`.
        """
        self.settle()
        order = "DESC" if newest_first else "ASC"
        rowids = self._rows(
            f"SELECT min(rowid) FROM blocks WHERE log = ?1 AND kind = ?2 GROUP BY +seq ORDER BY +seq {order}",
            int(kind),
            log_last=False,
        )
        for (rowid,) in rowids:
            for seq, data in self._rows("SELECT seq, data FROM blocks WHERE rowid = ? AND log = ?", rowid):
                block = self._parsed(seq, data)
                if block is not None:
                    yield block

    def _parsed(self, seq: int, data: bytes) -> Block | None:
        try:
            return parse_block(data)
        except FieldlogError as error:
            self.spoiled[seq] = f"block {seq} is damaged in the archive: {error}"
            return None

    def verify(self) -> tuple[int, list[str]]:
        """How many blocks are whole, and a sentence for each that is not: every one is read again, one at a time."""
        self.settle()
        self.spoiled.clear()
        whole = 0
        with in_words(self._path):
            for *kept, data in self._db.execute(
                f"SELECT {COLUMNS} FROM blocks WHERE log = ? ORDER BY seq", (self.key,)
            ):
                seq = kept[1]
                if self._parsed(seq, data) is None:
                    continue
                if is_as_stored((*kept, data)):
                    whole += 1
                else:
                    self.spoiled[seq] = (
                        f"block {seq} is damaged in the archive: what is noted of it is not what it says"
                    )
        return whole, list(self.spoiled.values())

    def identities(self) -> set[tuple[bytes, int]]:
        """(uid, log_id) as the descriptions among the blocks name them."""
        found: set[tuple[bytes, int]] = set()
        for payload in {block.payload for block in self.each_block(Kind.SCHEMA)}:
            with suppress(BlockError):
                part = parse_schema_part(payload)
                found.add((part.uid, part.log_id))
        return found

    def events(self) -> list[LoggedEvent]:
        """What the device wrote down, in order; EVENT blocks that cannot be understood tell nothing."""
        found: list[LoggedEvent] = []
        for block in self.each_block(Kind.EVENT):
            try:
                events = decode_events(block.payload)
            except BlockError:
                continue
            header = block.header
            found += [LoggedEvent(header.seq, header.boot_id, tick, event, header.session) for tick, event in events]
        return found

    def syncs(self) -> list[Sync]:
        """All clock syncs known: those of this and other hosts, and those the device kept."""
        kept = [
            Sync(logged.boot_id, logged.event.tick, logged.event.utc_us, logged.event.err_us, logged.event.source)
            for logged in self.events()
            if isinstance(logged.event, ClockSync)
        ]
        return [sync for sync in (*kept, *self.taken_syncs()) if _plausible(sync)]

    def taken_syncs(self) -> list[Sync]:
        """Those that hosts took."""
        return [
            Sync(*row) for row in self._rows("SELECT boot_id, tick, utc_us, error_us, source FROM syncs WHERE log = ?")
        ]

    def _rows(self, query: str, *parameters: object, log_last: bool = True) -> list[tuple[Any, ...]]:
        values = (*parameters, self.key) if log_last else (self.key, *parameters)
        with in_words(self._path):
            return self._db.execute(query, values).fetchall()


def _plausible(sync: Sync) -> bool:
    """A device may write anything: times in the years 1970 to 5000, ticks and errors that int64 can be reckoned with."""
    return 0 <= sync.tick < MAX_TICK and 0 <= sync.utc_us < 10**17 and 0 <= sync.error_us < 10**15
