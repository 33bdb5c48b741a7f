"""One log of the archive as readers of its data see it: which blocks there are, and what their times and names rest on.

Rule of this module: planning touches the index alone; a block's bytes are fetched when its readings are wanted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.archive.database import damaged
from fieldlog.archive.describe import Schemas
from fieldlog.archive.log import Log
from fieldlog.archive.ranges import ALL_SEQS
from fieldlog.archive.records import LogInfo
from fieldlog.archive.row_types import whole_numbers
from fieldlog.archive.timing import clock_model
from fieldlog.clock_model import ClockModel
from fieldlog.text import count
from fieldlog_protocol.blocks.block import Kind

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BATCH_BLOCKS = 1024


class Rows:
    """DATA blocks as the index knows them, in order of seq: an int64 array per column, all of one length."""

    __slots__ = ("_table",)
    COLUMNS = ("rowid", "seq", "schema_id", "boot_id", "t0", "span", "n_frames", "flags")

    def __init__(self, table: Ints) -> None:
        """`table` is (block, column)."""
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, part: slice | Bools) -> Rows:
        return Rows(self._table[part])

    def __add__(self, other: Rows) -> Rows:
        return Rows(np.concatenate([self._table, other._table]))

    @property
    def rowid(self) -> Ints:
        return self._table[:, 0]

    @property
    def seq(self) -> Ints:
        return self._table[:, 1]

    @property
    def schema_id(self) -> Ints:
        return self._table[:, 2]

    @property
    def boot_id(self) -> Ints:
        return self._table[:, 3]

    @property
    def t0(self) -> Ints:
        return self._table[:, 4]

    @property
    def span(self) -> Ints:
        return self._table[:, 5]

    @property
    def n_frames(self) -> Ints:
        return self._table[:, 6]

    @property
    def flags(self) -> Ints:
        return self._table[:, 7]

    @property
    def end(self) -> Ints:
        return self.t0 + self.span


NO_ROWS = Rows(np.empty((0, len(Rows.COLUMNS)), np.int64))
_FIRST_OF_SEQ = (
    "SELECT min(rowid), seq, schema_id, boot_id, t0, span, n_frames, flags FROM blocks "
    "WHERE log = ? AND kind = ? AND stream = ? AND session = ? AND seq >= ? AND seq < ? GROUP BY seq ORDER BY seq"
)
"""Of two blocks with one seq, the one that came first."""


def _data_of(rowids: list[int]) -> tuple[str, list[int]]:
    """The query for the bytes of some blocks, and its values: with the last one repeated up to a power of two, since a
    connection keeps the statements that it was given, and of these there shall be few."""
    count = 1 << (len(rowids) - 1).bit_length() if rowids else 0
    marks = ", ".join("?" * count)
    return f"SELECT rowid, data FROM blocks WHERE rowid IN ({marks})", rowids + rowids[-1:] * (count - len(rowids))


class Source:
    """One log with all that is derived from it. What is derived is derived once: a source is as old as its first use."""

    def __init__(self, database: sqlite3.Connection, path: Path, log: Log, info: LogInfo) -> None:
        self._db = database
        self._path = path
        self.log = log
        self.info = info

    @cached_property
    def schemas(self) -> Schemas:
        return Schemas(self.log.each_block(Kind.SCHEMA))

    @cached_property
    def clock(self) -> ClockModel:
        return clock_model(self._db, self._path, self.log)

    @cached_property
    def absent(self) -> list[range]:
        held = self.log.held()
        return self.log.absent(held.start, held.stop)

    def conflicts(self) -> list[str]:
        """A sentence where blocks of different content are held under one number."""
        seqs = self.log.conflicting()
        if not seqs:
            return []
        text = (
            f"{self.info.name}: {count(len(seqs), 'block')} (first: {seqs[0]}) came with different contents under the same "
            "number, so two devices or two logs are mixed here. All are kept; the one that came first is shown."
        )
        return [text]

    def parts(self) -> list[tuple[int, int]]:
        """(session, stream) of all data, in order of session."""
        return self._parts

    @cached_property
    def _parts(self) -> list[tuple[int, int]]:
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

    def rows(self, session: int, stream: int, seqs: range = ALL_SEQS) -> Iterator[Rows]:
        """The blocks of one stream in one session in order of seq, a batch at a time."""
        start = seqs.start
        while start < seqs.stop:
            found = self._rows(f"{_FIRST_OF_SEQ} LIMIT {BATCH_BLOCKS}", session, stream, start, seqs.stop)
            if not len(found):
                return
            yield found
            start = int(found.seq[-1]) + 1

    def row_before(self, session: int, stream: int, seq: int) -> Rows:
        """The last block of a stream in one session before `seq`; none where there is none."""
        return self._rows(f"{_FIRST_OF_SEQ} DESC LIMIT 1", session, stream, 0, seq)

    def _rows(self, query: str, session: int, stream: int, start: int, stop: int) -> Rows:
        found = self._all(query, (self.log.key, int(Kind.DATA), stream, session, start, stop))
        return Rows(whole_numbers(found, Rows.COLUMNS, self._damaged))

    def data(self, rows: Rows) -> list[bytes]:
        """The blocks in wire form."""
        rowids: list[int] = rows.rowid.tolist()
        by_row: dict[int, bytes] = dict(self._all(*_data_of(rowids)))
        if len(by_row) < len(rowids) or set(map(type, by_row.values())) - {bytes}:
            raise self._damaged()  # the file's index and its table contradict each other, or a type's bit flipped
        return [by_row[rowid] for rowid in rowids]

    def checks(self, rows: Rows) -> Ints:
        """The CRC of each block."""
        if not len(rows):
            return np.empty(0, np.int64)
        found = self._all(
            "SELECT rowid, crc FROM blocks WHERE log = ? AND seq >= ? AND seq <= ?",
            (self.log.key, int(rows.seq[0]), int(rows.seq[-1])),
        )
        table = whole_numbers(found, ("rowid", "crc"), self._damaged)
        table = table[np.argsort(table[:, 0])]
        checks: Ints = table[:, 1]
        at = np.minimum(np.searchsorted(table[:, 0], rows.rowid), len(table) - 1)
        if not len(table) or (table[at, 0] != rows.rowid).any():
            raise self._damaged()
        return checks[at]

    def lost_between(self, first_seqs: Ints, last_seqs: Ints) -> Bools:
        """Whether blocks are missing for good or not had yet between each first seq and its last."""
        starts = np.array([part.start for part in self.absent], np.int64)
        stops = np.array([part.stop for part in self.absent], np.int64)
        lost: Bools = np.zeros(len(first_seqs), np.bool_)
        if len(starts):
            nearest = np.searchsorted(stops, first_seqs + 1, side="right")
            lost = (nearest < len(starts)) & (starts[np.minimum(nearest, len(starts) - 1)] < last_seqs)
        return lost

    def _all(self, query: str, values: Sequence[int]) -> list[tuple[Any, ...]]:
        """Rows as they are, not looked at one by one."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        return cursor.execute(query, values).fetchall()

    def _damaged(self) -> Exception:
        return damaged(self._path)
