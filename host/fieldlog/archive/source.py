"""One log of the archive as readers of its data see it: which blocks there are, and what their times and names rest on.

Rule of this module: planning touches the index alone; a block's bytes are fetched when its readings are wanted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from fieldlog.archive.database import damaged
from fieldlog.archive.describe import Schemas
from fieldlog.archive.log import Log
from fieldlog.archive.records import LogInfo
from fieldlog.archive.timing import clock_model
from fieldlog.clock_model import ClockModel
from fieldlog_protocol.blocks.block import Kind

BATCH_BLOCKS = 1024
ALL_SEQS = range(2**32)


class Row(NamedTuple):
    """One DATA block as the index knows it."""

    rowid: int
    seq: int
    schema_id: int
    boot_id: int
    t0: int
    span: int
    n_frames: int
    flags: int

    @property
    def end(self) -> int:
        return self.t0 + self.span


class Source:
    """One log with all that is derived from it. What is derived is derived once: a source is as old as its first use."""

    def __init__(self, database: sqlite3.Connection, path: Path, log: Log) -> None:
        self._db = database
        self._path = path
        self.log = log

    @cached_property
    def info(self) -> LogInfo:
        return self.log.info()

    @cached_property
    def schemas(self) -> Schemas:
        return Schemas(self.log.blocks(Kind.SCHEMA))

    @cached_property
    def clock(self) -> ClockModel:
        return clock_model(self._db, self._path, self.log)

    @cached_property
    def absent(self) -> list[range]:
        held = self.log.held()
        return self.log.absent(held.start, held.stop)

    def parts(self) -> list[tuple[int, int]]:
        """(session, stream) of all data, in order of session."""
        found = self._db.execute(
            "SELECT DISTINCT session, stream FROM blocks WHERE log = ? AND kind = ? ORDER BY session, stream",
            (self.log.key, int(Kind.DATA)),
        )
        return found.fetchall()

    def frames(self) -> int:
        """How many readings the index knows of; blocks that came twice with different content count twice."""
        query = "SELECT sum(n_frames) FROM blocks WHERE log = ? AND kind = ?"
        (found,) = self._db.execute(query, (self.log.key, int(Kind.DATA))).fetchone()
        return found or 0

    def windows(self, session: int, stream: int, length: int) -> list[range]:
        """The seqs in which a stream has data in one session, in pieces that begin at multiples of `length`."""
        found = self._db.execute(
            "SELECT DISTINCT seq / ? FROM blocks WHERE log = ? AND kind = ? AND stream = ? AND session = ? ORDER BY 1",
            (length, self.log.key, int(Kind.DATA), stream, session),
        )
        return [range(number * length, (number + 1) * length) for (number,) in found]

    def rows(self, session: int, stream: int, seqs: range = ALL_SEQS) -> Iterator[Row]:
        """The blocks of one stream in one session in order of seq; of two with one seq, the one that came first."""
        after = seqs.start - 1
        while True:
            found = self._db.execute(
                "SELECT min(rowid), seq, schema_id, boot_id, t0, span, n_frames, flags FROM blocks "
                "WHERE log = ? AND kind = ? AND stream = ? AND session = ? AND seq > ? AND seq < ? "
                f"GROUP BY seq ORDER BY seq LIMIT {BATCH_BLOCKS}",
                (self.log.key, int(Kind.DATA), stream, session, after, seqs.stop),
            ).fetchall()
            if not found:
                return
            yield from map(Row._make, found)
            after = found[-1][1]

    def row_before(self, session: int, stream: int, seq: int) -> Row | None:
        """The last block of a stream in one session before `seq`."""
        found = self._db.execute(
            "SELECT min(rowid), seq, schema_id, boot_id, t0, span, n_frames, flags FROM blocks "
            "WHERE log = ? AND kind = ? AND stream = ? AND session = ? AND seq < ? "
            "GROUP BY seq ORDER BY seq DESC LIMIT 1",
            (self.log.key, int(Kind.DATA), stream, session, seq),
        ).fetchone()
        return None if found is None else Row._make(found)

    def data(self, rows: Sequence[Row]) -> list[bytes]:
        """The blocks in wire form."""
        marks = ", ".join("?" * len(rows))
        found = self._db.execute(
            f"SELECT rowid, data FROM blocks WHERE rowid IN ({marks})", [row.rowid for row in rows]
        )
        by_row: dict[int, bytes] = dict(found.fetchall())
        if len(by_row) < len(rows):  # the file's index and its table contradict each other
            raise damaged(self._path)
        return [by_row[row.rowid] for row in rows]

    def checks(self, seqs: range) -> dict[int, int]:
        """The CRC of every block in between, by rowid."""
        found = self._db.execute(
            "SELECT rowid, crc FROM blocks WHERE log = ? AND seq >= ? AND seq < ?",
            (self.log.key, seqs.start, seqs.stop),
        )
        return dict(found.fetchall())

    def lost_between(self, first_seq: int, last_seq: int) -> bool:
        return any(gap.start < last_seq and gap.stop > first_seq + 1 for gap in self.absent)
