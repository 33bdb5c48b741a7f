"""Readings out of the archive: planned on the index, decoded a batch at a time, in memory that does not grow.

Rule of this module: a batch is a bounded number of blocks and frames of one stream in one session. What lies outside
the times asked for is never decoded. A block that cannot be read is left out and reported, and the rest goes on.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlog.archive.database import damaged, in_words
from fieldlog.archive.describe import Schemas
from fieldlog.archive.log import Log
from fieldlog.archive.records import LogInfo
from fieldlog.archive.selection import Selection
from fieldlog.archive.series import Series, join
from fieldlog.archive.timing import clock_model
from fieldlog.clock_model import UNKNOWN_TIME, ClockModel, Times
from fieldlog_protocol.blocks.block import Flag, Kind
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import BlockError, UsageError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BATCH_BLOCKS = 1024
BATCH_FRAMES = 1 << 18
_MAX_STEP_PERIODS = 1.5


class _Row(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class _Planned:
    """A block to decode, and whether its first frame may be joined to the last frame of the block before."""

    row: _Row
    starts: bool


class _Source:
    """One log with all that is derived from it."""

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

    def rows(self, session: int, stream: int) -> Iterator[_Row]:
        """The blocks of one stream in one session in order of seq; of two with one seq, the one that came first."""
        last_seq = -1
        while True:
            found = self._db.execute(
                "SELECT min(rowid), seq, schema_id, boot_id, t0, span, n_frames, flags FROM blocks "
                "WHERE log = ? AND kind = ? AND stream = ? AND session = ? AND seq > ? "
                f"GROUP BY seq ORDER BY seq LIMIT {BATCH_BLOCKS}",
                (self.log.key, int(Kind.DATA), stream, session, last_seq),
            ).fetchall()
            if not found:
                return
            yield from map(_Row._make, found)
            last_seq = found[-1][1]

    def data(self, rows: Sequence[_Row]) -> list[bytes]:
        marks = ", ".join("?" * len(rows))
        found = self._db.execute(
            f"SELECT rowid, data FROM blocks WHERE rowid IN ({marks})", [row.rowid for row in rows]
        )
        by_row: dict[int, bytes] = dict(found.fetchall())
        if len(by_row) < len(rows):  # the file's index and its table contradict each other
            raise damaged(self._path)
        return [by_row[row.rowid] for row in rows]

    def lost_between(self, first_seq: int, last_seq: int) -> bool:
        return any(gap.start < last_seq and gap.stop > first_seq + 1 for gap in self.absent)


class Readings:
    """A selection of readings. Iterate for whole series; `batches` for pieces of them in bounded memory; both at will."""

    def __init__(self, database: sqlite3.Connection, path: Path, logs: Sequence[Log], selection: Selection) -> None:
        self._path = path
        self._selection = selection
        self._sources = [_Source(database, path, log) for log in logs]
        self._undescribed: Counter[tuple[str, int]] = Counter()
        self._unreadable: dict[tuple[str, int], str] = {}
        with in_words(path):
            self._require_channels()

    def _require_channels(self) -> None:
        known = list(dict.fromkeys(name for source in self._sources for name in source.schemas.channel_names()))
        unknown = [name for name in self._selection.channels or () if name not in known]
        if unknown:
            raise UsageError(
                f"There is no channel {unknown[0]!r}. Channels of this device: {', '.join(known) or 'none'}."
            )

    def __iter__(self) -> Iterator[Series]:
        """Whole series: one per session, stream and description of it."""
        pieces: list[Series] = []
        for piece in self.batches():
            if pieces and not piece.continues(pieces[0]):
                yield join(pieces)
                pieces = []
            pieces.append(piece)
        if pieces:
            yield join(pieces)

    def batches(self) -> Iterator[Series]:
        """Pieces of series, in order; none is empty."""
        self._undescribed.clear()
        self._unreadable.clear()
        for source in self._sources:
            with in_words(self._path):
                parts = [part for part in source.parts() if self._wants(source.log.key, part[0])]
            for session, stream_id in parts:
                yield from self._stream_batches(source, session, stream_id)

    @property
    def problems(self) -> list[str]:
        """What could not be read, one sentence each, as far as it was iterated; clock and seq troubles at once."""
        found = [
            f"{count} blocks of {name} were kept but not decoded: nothing held describes their schema {schema_id}."
            for (name, schema_id), count in self._undescribed.items()
        ]
        found += [f"{name}: {text}. It was kept and left out." for (name, _), text in self._unreadable.items()]
        for source in self._sources:
            found += [f"{source.info.name}: {text}." for text in source.log.spoiled.values()]
            found += _conflicts(source)
        return found + self.clock_warnings

    @property
    def clock_warnings(self) -> list[str]:
        """Those of the problems that are about times alone: every block is whole."""
        return [warning for source in self._sources for warning in source.clock.warnings]

    def _wants(self, log: int, session: int) -> bool:
        return self._selection.sessions is None or (log, session) in self._selection.sessions

    def _stream_batches(self, source: _Source, session: int, stream_id: int) -> Iterator[Series]:
        before: _Row | None = None
        rows = source.rows(session, stream_id)
        while True:
            with in_words(self._path):
                chunk = _take(rows)
            if not chunk:
                return
            for stream, run in self._described(source, stream_id, chunk):
                planned = self._plan(source, stream, run, before)
                series = self._series(source, stream, session, planned)
                before = None if (source.info.name, run[-1].seq) in self._unreadable else run[-1]
                if series is not None and len(series):
                    yield series

    def _described(self, source: _Source, stream_id: int, rows: list[_Row]) -> Iterator[tuple[Stream, list[_Row]]]:
        """Runs of blocks with the same description; blocks without one are counted."""
        for stream, run in groupby(rows, key=lambda row: source.schemas.stream(row.schema_id, stream_id, row.seq)):
            found = list(run)
            if stream is None:
                self._undescribed.update((source.info.name, row.schema_id) for row in found)
            elif self._chosen(stream):
                yield stream, found

    def _chosen(self, stream: Stream) -> list[int]:
        """The numbers of the stream's channels that are wanted."""
        names = self._selection.channels
        return [i for i, channel in enumerate(stream.channels) if names is None or channel.name in names]

    def _plan(self, source: _Source, stream: Stream, rows: list[_Row], before: _Row | None) -> list[_Planned]:
        """The blocks of `rows` that reach into the times wanted."""
        wanted = self._within(source.clock, rows)
        planned: list[_Planned] = []
        previous = before if before and self._within(source.clock, [before])[0] else None
        for row, want in zip(rows, wanted, strict=True):
            if want:
                planned.append(_Planned(row, previous is None or not _joined(source, stream, previous, row)))
            previous = row if want else None
        return planned

    def _within(self, clock: ClockModel, rows: Sequence[_Row]) -> list[bool]:
        if not self._selection.bounded:
            return [True] * len(rows)
        ends = [[row.t0 for row in rows], [row.end for row in rows]]
        boots = np.array([row.boot_id for row in rows])
        first, last = (_times(clock, boots, np.array(ticks, dtype=np.int64)).utc_us for ticks in ends)
        inside: list[bool] = _inside(self._selection, first, last).tolist()
        return inside

    def _series(self, source: _Source, stream: Stream, session: int, planned: list[_Planned]) -> Series | None:
        if not planned:
            return None
        with in_words(self._path):
            data = source.data([plan.row for plan in planned])
        readable = self._readable(source.info.name, stream, planned, data)
        if readable is None:
            return None
        planned, frames = readable
        boots = frames.per_frame("boot_id").astype(np.uint16)
        times = _times(source.clock, boots, frames.ticks)
        keep = (
            _inside(self._selection, times.utc_us, times.utc_us)
            if self._selection.bounded
            else np.ones(len(boots), dtype=np.bool_)
        )
        starts = _starts(stream, planned, frames) | np.concatenate([[False], ~keep[:-1]])
        chosen = self._chosen(stream)
        return Series(
            log=source.info,
            stream=stream,
            session=session,
            channels=tuple(stream.channels[i] for i in chosen),
            utc_us=times.utc_us[keep],
            error_us=times.error_us[keep],
            quality=times.quality[keep],
            boot_id=boots[keep],
            tick=frames.ticks[keep],
            starts=starts[keep],
            raw=[frames.columns[i][keep] for i in chosen],
        )

    def _readable(
        self, name: str, stream: Stream, planned: list[_Planned], data: list[bytes]
    ) -> tuple[list[_Planned], Frames] | None:
        """The blocks that decode, decoded together; the others are reported, and what follows one starts anew."""
        try:
            return planned, decode_frames(data, stream)
        except BlockError:
            pass
        good: list[tuple[_Planned, bytes]] = []
        after_bad = False
        for plan, wire in zip(planned, data, strict=True):
            try:
                decode_frames([wire], stream)
            except BlockError as error:
                self._unreadable[name, plan.row.seq] = str(error)
                after_bad = True
            else:
                good.append((_Planned(plan.row, plan.starts or after_bad), wire))
                after_bad = False
        if not good:
            return None
        return [plan for plan, _ in good], decode_frames([wire for _, wire in good], stream)


def _take(rows: Iterator[_Row]) -> list[_Row]:
    """The next blocks, few enough and with few enough frames for one batch."""
    taken: list[_Row] = []
    frames = 0
    for row in rows:
        taken.append(row)
        frames += row.n_frames
        if len(taken) == BATCH_BLOCKS or frames >= BATCH_FRAMES:
            break
    return taken


def _joined(source: _Source, stream: Stream, before: _Row, row: _Row) -> bool:
    """Whether nothing was lost between two blocks of a stream.

    Where there is a period, the ticks alone tell, whatever else happened (a seal on request, another stream's lost
    block, a clock that crept). Where there is none, only the device's own flag and a missing seq can.
    """
    if row.boot_id != before.boot_id or row.t0 < before.end:
        return False
    if stream.period_us:
        return row.t0 - before.end <= stream.period_ticks * _MAX_STEP_PERIODS
    return not row.flags & Flag.GAP and not source.lost_between(before.seq, row.seq)


def _starts(stream: Stream, planned: Sequence[_Planned], frames: Frames) -> Bools:
    """Where a reading must not be joined to the one before: inside a block too, which two equal pauses can fill."""
    starts = np.zeros(len(frames.ticks), dtype=np.bool_)
    if stream.period_us:
        starts[1:] = np.diff(frames.ticks) > stream.period_ticks * _MAX_STEP_PERIODS
    starts[frames.starts[:-1]] = [plan.starts for plan in planned]
    return starts


def _times(clock: ClockModel, boots: npt.NDArray[Any], ticks: Ints) -> Times:
    """Times of ticks of several boots; boots lie in runs."""
    edges = [0, *(np.flatnonzero(np.diff(boots)) + 1).tolist(), len(boots)]
    runs = [clock.utc(int(boots[a]), ticks[a:b]) for a, b in pairwise(edges) if b > a]
    return Times(
        np.concatenate([run.utc_us for run in runs]),
        np.concatenate([run.error_us for run in runs]),
        np.concatenate([run.quality for run in runs]),
    )


def _inside(selection: Selection, first_us: Ints, last_us: Ints) -> Bools:
    inside: Bools = first_us != UNKNOWN_TIME
    if selection.start_us is not None:
        inside &= last_us >= selection.start_us
    if selection.end_us is not None:
        inside &= first_us < selection.end_us
    return inside


def _conflicts(source: _Source) -> list[str]:
    seqs = source.log.conflicting()
    if not seqs:
        return []
    text = (
        f"{source.info.name}: {len(seqs)} blocks (first: {seqs[0]}) were read with different contents under the same "
        "number, so two devices or two logs are mixed here. All are kept; the one that came first is shown."
    )
    return [text]
