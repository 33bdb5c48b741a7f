"""Which blocks a selection of readings needs, batch by batch, and which of them begin anew.

Rule of this module: it works on the index and decodes no value, but a block before the selection to learn whether it can
be. A batch is a bounded number of blocks and frames of one stream in one session; what lies outside the times asked for
is in none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.archive.database import in_words
from fieldlog.archive.selection import Selection
from fieldlog.archive.source import BATCH_BLOCKS, NO_ROWS, Rows, Source
from fieldlog.clock_model import UNKNOWN_TIME, ClockModel, Times
from fieldlog_protocol.blocks.block import Flag
from fieldlog_protocol.blocks.decode import decode_frames
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import BlockError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BATCH_FRAMES = 1 << 18
BATCH_VALUES = 1 << 20
_MAX_STEP_PERIODS = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A batch of blocks of one stream in one session, with one description. `starts` is true where the first frame of a
    block must not be joined to the last frame of the block before."""

    source: Source
    session: int
    stream: Stream
    rows: Rows
    starts: Bools

    def follows(self, other: Plan) -> bool:
        """Whether both are of the same stream in the same session."""
        return (self.source, self.session, self.stream.id) == (other.source, other.session, other.stream.id)

    def where(self, chosen: Bools, starts: Bools) -> Plan:
        """Some of the blocks."""
        return replace(self, rows=self.rows[chosen], starts=starts[chosen])


class Planner:
    """The batches of a selection. `undescribed` counts blocks without a description, by log and schema, as far as it went."""

    def __init__(self, path: Path, sources: Sequence[Source], selection: Selection) -> None:
        self._path = path
        self._sources = sources
        self._selection = selection
        self.undescribed: Counter[tuple[str, int]] = Counter()

    def plans(self) -> Iterator[Plan]:
        """The blocks of the selection, batch by batch; nothing is decoded."""
        for source, session, stream_id in self.parts():
            before = self._before(source, session, stream_id)
            for stream, rows in self._runs(source, session, stream_id):
                chosen, starts = self._chosen_rows(source, stream, rows, before)
                if chosen.any():
                    yield Plan(source, session, stream, rows, starts).where(chosen, starts)
                before = rows[-1:]

    def parts(self) -> Iterator[tuple[Source, int, int]]:
        for source in self._sources:
            with in_words(self._path):
                parts = source.parts()
            for session, stream_id in parts:
                if self._selection.wants(source.log.key, session, stream_id):
                    yield source, session, stream_id

    def _runs(self, source: Source, session: int, stream_id: int) -> Iterator[tuple[Stream, Rows]]:
        """The index, a batch at a time; blocks without a description are counted."""
        for batch in self._row_batches(source, session, stream_id):
            for stream, part in source.schemas.runs(stream_id, batch.schema_id, batch.seq):
                rows = batch[part]
                if stream is None:
                    self.undescribed.update((source.info.name, number) for number in rows.schema_id.tolist())
                elif chosen_channels(stream, self._selection):
                    yield stream, rows

    def _row_batches(self, source: Source, session: int, stream_id: int) -> Iterator[Rows]:
        found = source.rows(session, stream_id, self._selection.seqs)
        widest = max((len(stream.columns) for stream in source.schemas.streams({stream_id})), default=1)
        most = max(1, min(BATCH_FRAMES, BATCH_VALUES // max(1, widest)))
        waiting = NO_ROWS
        while True:
            with in_words(self._path):
                more = next(found, NO_ROWS)
            waiting += more
            while len(waiting) and (not len(more) or _fills(waiting, most)):
                size = _batch_size(waiting, most)
                yield waiting[:size]
                waiting = waiting[size:]
            if not len(more):
                return

    def _before(self, source: Source, session: int, stream_id: int) -> Rows:
        """The block before the first of the selection, when it can be read."""
        if not self._selection.seqs.start:
            return NO_ROWS
        with in_words(self._path):
            row = source.row_before(session, stream_id, self._selection.seqs.start)
            data = source.data(row)
        if not len(row):
            return NO_ROWS
        stream = source.schemas.stream(int(row.schema_id[0]), stream_id, int(row.seq[0]))
        return row if stream is not None and _decodes(data, stream) else NO_ROWS

    def _chosen_rows(self, source: Source, stream: Stream, rows: Rows, before: Rows) -> tuple[Bools, Bools]:
        """Which blocks reach into the times wanted, and which of them begin anew."""
        known = before + rows
        wanted = self._within(source.clock, known)
        starts: Bools = np.ones(len(known), np.bool_)
        starts[1:] = ~(wanted[:-1] & _joined(source, stream, known))
        return wanted[len(before) :], starts[len(before) :]

    def _within(self, clock: ClockModel, rows: Rows) -> Bools:
        if not self._selection.bounded:
            return np.ones(len(rows), np.bool_)
        first, last = (times_of(clock, rows.boot_id, ticks).utc_us for ticks in (rows.t0, rows.end))
        return inside(self._selection, first, last)


def longest_step_ticks(stream: Stream) -> float:
    """Readings of a stream with a period that are further apart are not joined: whole ticks make a step up to one longer."""
    return max(stream.period_ticks * _MAX_STEP_PERIODS, ceil(stream.period_ticks))


def chosen_channels(stream: Stream, selection: Selection) -> list[int]:
    """The numbers of the stream's channels that are wanted."""
    names = selection.channels
    return [i for i, channel in enumerate(stream.channels) if names is None or channel.name in names]


def _decodes(data: list[bytes], stream: Stream) -> bool:
    try:
        decode_frames(data, stream)
    except BlockError:
        return False
    return True


def _batch_size(rows: Rows, most_frames: int) -> int:
    """How many of the blocks fill one batch: few enough, and with few enough frames."""
    frames = np.cumsum(rows.n_frames[:BATCH_BLOCKS])
    return min(int(np.searchsorted(frames, most_frames)) + 1, BATCH_BLOCKS, len(rows))


def _fills(rows: Rows, most_frames: int) -> bool:
    return len(rows) >= BATCH_BLOCKS or int(rows.n_frames.sum()) >= most_frames


def _joined(source: Source, stream: Stream, rows: Rows) -> Bools:
    """Whether nothing was lost between each two neighbours of these blocks of a stream.

    Where there is a period, the ticks alone tell, whatever else happened (a seal on request, another stream's lost
    block, a clock that crept). Where there is none, only the device's own flag and a missing seq can.
    """
    step = rows.t0[1:] - rows.end[:-1]
    joined: Bools = (rows.boot_id[1:] == rows.boot_id[:-1]) & (step >= 0)
    if stream.period_us:
        joined &= step <= longest_step_ticks(stream)
    else:
        joined &= (rows.flags[1:] & Flag.GAP) == 0
        joined &= ~source.lost_between(rows.seq[:-1], rows.seq[1:])
    return joined


def times_of(clock: ClockModel, boots: npt.NDArray[Any], ticks: Ints) -> Times:
    """Times of ticks of several boots; boots lie in runs."""
    edges = [0, *(np.flatnonzero(boots[1:] != boots[:-1]) + 1).tolist(), len(boots)]
    runs = [clock.utc(int(boots[a]), ticks[a:b]) for a, b in pairwise(edges) if b > a]
    if len(runs) == 1:
        return runs[0]
    return Times(
        np.concatenate([run.utc_us for run in runs]),
        np.concatenate([run.error_us for run in runs]),
        np.concatenate([run.quality for run in runs]),
    )


def inside(selection: Selection, first_us: Ints, last_us: Ints) -> Bools:
    """Which of these stretches of time reach into the times wanted."""
    inside: Bools = first_us != UNKNOWN_TIME
    if selection.start_us is not None:
        inside &= last_us >= selection.start_us
    if selection.end_us is not None:
        inside &= first_us < selection.end_us
    return inside
