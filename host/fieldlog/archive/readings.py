"""Readings out of the archive: planned on the index, decoded a batch at a time, in memory that does not grow.

Rule of this module: a batch is a bounded number of blocks and frames of one stream in one session. What lies outside
the times asked for is never decoded. A block that cannot be read is left out and reported, and the rest goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlog.archive.columns import Columns
from fieldlog.archive.database import in_words
from fieldlog.archive.places import device_value, stream_value
from fieldlog.archive.selection import Selection
from fieldlog.archive.series import Series, join
from fieldlog.archive.source import BATCH_BLOCKS, Row, Source
from fieldlog.clock_model import UNKNOWN_TIME, ClockModel, Times
from fieldlog_protocol.blocks.block import Flag
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import BlockError, UsageError

if TYPE_CHECKING:
    from fieldlog.archive.arrow import Layout

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BATCH_FRAMES = 1 << 18
_MAX_STEP_PERIODS = 1.5


@dataclass(frozen=True, slots=True)
class Planned:
    """A block to decode, and whether its first frame may be joined to the last frame of the block before."""

    row: Row
    starts: bool


class Plan(NamedTuple):
    """A batch of blocks of one stream in one session, with one description."""

    source: Source
    session: int
    stream: Stream
    blocks: list[Planned]

    def follows(self, other: Plan) -> bool:
        """Whether both are of the same stream in the same session."""
        return (self.source, self.session, self.stream.id) == (other.source, other.session, other.stream.id)

    def begun_anew(self) -> Plan:
        """The same, not joined to what was before."""
        first = [Planned(block.row, starts=True) for block in self.blocks[:1]]
        return self._replace(blocks=first + self.blocks[1:])


class Readings:
    """A selection of readings. Iterate for whole series; `batches` for pieces of them in bounded memory; both at will."""

    def __init__(self, path: Path, sources: Sequence[Source], selection: Selection) -> None:
        self._path = path
        self._selection = selection
        self._sources = sources
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

    def batches(self, plans: Iterable[Plan] | None = None) -> Iterator[Series]:
        """Pieces of series, in order; none is empty. `plans` are those of this selection, where they were made before."""
        self._undescribed.clear()
        self._unreadable.clear()
        last: Plan | None = None
        for plan in self.plans() if plans is None else plans:
            broken = last is not None and plan.follows(last) and self._ended_unread(last)
            series = self._series(plan.begun_anew() if broken else plan)
            last = plan
            if series is not None and len(series):
                yield series

    def plans(self) -> Iterator[Plan]:
        """The blocks of the selection, batch by batch; nothing is decoded."""
        for source, session, stream_id in self._parts():
            before = self._before(source, session, stream_id)
            for stream, rows in self._runs(source, session, stream_id):
                yield Plan(source, session, stream, self._plan(source, stream, rows, before))
                before = rows[-1]

    def _ended_unread(self, plan: Plan) -> bool:
        return bool(plan.blocks) and (plan.source.info.name, plan.blocks[-1].row.seq) in self._unreadable

    def _parts(self) -> Iterator[tuple[Source, int, int]]:
        for source in self._sources:
            with in_words(self._path):
                parts = source.parts()
            for session, stream_id in parts:
                if self._selection.wants(source.log.key, session, stream_id):
                    yield source, session, stream_id

    def record_batches(self) -> Any:
        """A pyarrow.RecordBatchReader: batch after batch in bounded memory, each decoded when it is asked for."""
        from fieldlog.archive import arrow

        return arrow.reader(self._layout(), self.batches())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """What lets polars, DuckDB and others read this object as it is."""
        return self.record_batches().__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> Any:
        """A pyarrow.Table of all of it; each field's metadata tells its `unit`."""
        return self.record_batches().read_all()

    def to_pandas(self) -> Any:
        """A pandas.DataFrame of all of it; `attrs["units"]` tells the unit of each column."""
        from fieldlog.archive import arrow

        return arrow.to_pandas(self._layout(), self.to_arrow())

    def to_polars(self) -> Any:
        """A polars.DataFrame of all of it."""
        from fieldlog.archive import arrow

        return arrow.to_polars(self.to_arrow())

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """An array per column: datetime64[us] with NaT where the time is unknown, NaN where a value is missing."""
        from fieldlog.archive import arrow

        return arrow.to_numpy(self.to_arrow())

    def _layout(self) -> Layout:
        from fieldlog.archive import arrow

        ids: dict[Source, set[int]] = {}
        for source, _, stream_id in self._parts():
            ids.setdefault(source, set()).add(stream_id)
        streams = [stream for source, found in ids.items() for stream in source.schemas.streams(found)]
        places = arrow.Partitions(
            tuple(dict.fromkeys(device_value(source.info.uid) for source in ids)),
            tuple(dict.fromkeys(map(stream_value, streams))),
        )
        return arrow.Layout(Columns(streams, self._selection.channels), places)

    @property
    def problems(self) -> list[str]:
        """What could not be read, one sentence each, as far as it was iterated; clock and seq troubles at once."""
        conflicts = [text for source in self._sources for text in _conflicts(source)]
        return [*self.left_out, *conflicts, *self.clock_warnings]

    @property
    def left_out(self) -> list[str]:
        """Those of the problems that are about readings that are not there, as far as it was iterated."""
        found = [
            f"{count} blocks of {name} were kept but not decoded: nothing held describes their schema {schema_id}."
            for (name, schema_id), count in self._undescribed.items()
        ]
        found += [f"{name}: {text}. It was kept and left out." for (name, _), text in self._unreadable.items()]
        for source in self._sources:
            found += [f"{source.info.name}: {text}." for text in source.log.spoiled.values()]
        return found

    @property
    def clock_warnings(self) -> list[str]:
        """Those of the problems that are about times alone: every block is whole."""
        return [warning for source in self._sources for warning in source.clock.warnings]

    def _runs(self, source: Source, session: int, stream_id: int) -> Iterator[tuple[Stream, list[Row]]]:
        """The index, a batch at a time."""
        rows = source.rows(session, stream_id, self._selection.seqs)
        while True:
            with in_words(self._path):
                chunk = _take(rows)
            if not chunk:
                return
            yield from self._described(source, stream_id, chunk)

    def _before(self, source: Source, session: int, stream_id: int) -> Row | None:
        """The block before the first of the selection, when it can be read."""
        if not self._selection.seqs.start:
            return None
        with in_words(self._path):
            row = source.row_before(session, stream_id, self._selection.seqs.start)
            data = [] if row is None else source.data([row])
        stream = None if row is None else source.schemas.stream(row.schema_id, stream_id, row.seq)
        return row if stream is not None and _decodes(data, stream) else None

    def _described(self, source: Source, stream_id: int, rows: list[Row]) -> Iterator[tuple[Stream, list[Row]]]:
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

    def _plan(self, source: Source, stream: Stream, rows: list[Row], before: Row | None) -> list[Planned]:
        """The blocks of `rows` that reach into the times wanted."""
        wanted = self._within(source.clock, rows)
        planned: list[Planned] = []
        previous = before if before and self._within(source.clock, [before])[0] else None
        for row, want in zip(rows, wanted, strict=True):
            if want:
                planned.append(Planned(row, previous is None or not _joined(source, stream, previous, row)))
            previous = row if want else None
        return planned

    def _within(self, clock: ClockModel, rows: Sequence[Row]) -> list[bool]:
        if not self._selection.bounded:
            return [True] * len(rows)
        ends = [[row.t0 for row in rows], [row.end for row in rows]]
        boots = np.array([row.boot_id for row in rows])
        first, last = (times_of(clock, boots, np.array(ticks, dtype=np.int64)).utc_us for ticks in ends)
        inside: list[bool] = _inside(self._selection, first, last).tolist()
        return inside

    def _series(self, plan: Plan) -> Series | None:
        source, session, stream, planned = plan
        if not planned:
            return None
        with in_words(self._path):
            data = source.data([plan.row for plan in planned])
        readable = self._readable(source.info.name, stream, planned, data)
        if readable is None:
            return None
        planned, frames = readable
        boots = frames.per_frame("boot_id").astype(np.uint16)
        times = times_of(source.clock, boots, frames.ticks)
        chosen = self._chosen(stream)
        series = Series(
            log=source.info,
            stream=stream,
            session=session,
            channels=tuple(stream.channels[i] for i in chosen),
            utc_us=times.utc_us,
            error_us=times.error_us,
            quality=times.quality,
            boot_id=boots,
            tick=frames.ticks,
            starts=_starts(stream, planned, frames),
            raw=[frames.columns[i] for i in chosen],
        )
        if not self._selection.bounded:
            return series
        return series.where(_inside(self._selection, times.utc_us, times.utc_us))

    def _readable(
        self, name: str, stream: Stream, planned: list[Planned], data: list[bytes]
    ) -> tuple[list[Planned], Frames] | None:
        """The blocks that decode, decoded together; the others are reported, and what follows one starts anew."""
        try:
            return planned, decode_frames(data, stream)
        except BlockError:
            pass
        good: list[tuple[Planned, bytes]] = []
        after_bad = False
        for plan, wire in zip(planned, data, strict=True):
            try:
                decode_frames([wire], stream)
            except BlockError as error:
                self._unreadable[name, plan.row.seq] = str(error)
                after_bad = True
            else:
                good.append((Planned(plan.row, plan.starts or after_bad), wire))
                after_bad = False
        if not good:
            return None
        return [plan for plan, _ in good], decode_frames([wire for _, wire in good], stream)


def _decodes(data: list[bytes], stream: Stream) -> bool:
    try:
        decode_frames(data, stream)
    except BlockError:
        return False
    return True


def _take(rows: Iterator[Row]) -> list[Row]:
    """The next blocks, few enough and with few enough frames for one batch."""
    taken: list[Row] = []
    frames = 0
    for row in rows:
        taken.append(row)
        frames += row.n_frames
        if len(taken) == BATCH_BLOCKS or frames >= BATCH_FRAMES:
            break
    return taken


def _joined(source: Source, stream: Stream, before: Row, row: Row) -> bool:
    """Whether nothing was lost between two blocks of a stream.

    Where there is a period, the ticks alone tell, whatever else happened (a seal on request, another stream's lost
    block, a clock that crept). Where there is none, only the device's own flag and a missing seq can.
    """
    if row.boot_id != before.boot_id or row.t0 < before.end:
        return False
    if stream.period_us:
        return row.t0 - before.end <= stream.period_ticks * _MAX_STEP_PERIODS
    return not row.flags & Flag.GAP and not source.lost_between(before.seq, row.seq)


def _starts(stream: Stream, planned: Sequence[Planned], frames: Frames) -> Bools:
    """Where a reading must not be joined to the one before: inside a block too, which two equal pauses can fill."""
    starts = np.zeros(len(frames.ticks), dtype=np.bool_)
    if stream.period_us:
        starts[1:] = np.diff(frames.ticks) > stream.period_ticks * _MAX_STEP_PERIODS
    starts[frames.starts[:-1]] = [plan.starts for plan in planned]
    return starts


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


def _inside(selection: Selection, first_us: Ints, last_us: Ints) -> Bools:
    inside: Bools = first_us != UNKNOWN_TIME
    if selection.start_us is not None:
        inside &= last_us >= selection.start_us
    if selection.end_us is not None:
        inside &= first_us < selection.end_us
    return inside


def _conflicts(source: Source) -> list[str]:
    seqs = source.log.conflicting()
    if not seqs:
        return []
    text = (
        f"{source.info.name}: {len(seqs)} blocks (first: {seqs[0]}) were read with different contents under the same "
        "number, so two devices or two logs are mixed here. All are kept; the one that came first is shown."
    )
    return [text]
