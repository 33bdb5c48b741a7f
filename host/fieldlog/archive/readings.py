"""Readings out of the archive: planned on the index, decoded a batch at a time, in memory that does not grow.

Rule of this module: a batch is a bounded number of blocks and frames of one stream in one session. What lies outside
the times asked for is never decoded. A block that cannot be read is left out and reported, and the rest goes on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from fieldlog.archive.columns import Columns
from fieldlog.archive.database import in_words
from fieldlog.archive.places import device_value, stream_value
from fieldlog.archive.selection import Selection
from fieldlog.archive.series import Series, join
from fieldlog.archive.source import BATCH_BLOCKS, NO_ROWS, Rows, Source
from fieldlog.clock_model import UNKNOWN_TIME, ClockModel, Times
from fieldlog.text import count
from fieldlog_protocol.blocks.block import Flag
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import BlockError, UsageError

if TYPE_CHECKING:
    from fieldlog.archive.arrow import Layout

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

In = TypeVar("In")
Out = TypeVar("Out")

BATCH_FRAMES = 1 << 18
BATCH_VALUES = 1 << 20
_THREADS = 2  # what memory holds are this many batches and one; numpy lets go of the interpreter for most of its work
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


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What became of a plan. `unreadable`: why, by seq; `ended_unread`: what follows the plan's last block begins anew."""

    series: Series | None
    unreadable: dict[int, str]
    ended_unread: bool


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
                f"there is no channel {unknown[0]!r}. Channels of this device: {', '.join(known) or 'none'}"
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
        last: tuple[Plan, _Decoded] | None = None
        for plan, decoded in _ahead(self._decode, self._fetched(self.plans() if plans is None else plans)):
            self._unreadable |= {(plan.source.info.name, seq): text for seq, text in decoded.unreadable.items()}
            series = decoded.series
            if series is not None and last is not None and plan.follows(last[0]) and last[1].ended_unread:
                series.starts[:1] = True
            last = plan, decoded
            if series is not None and len(series):
                yield series

    def _fetched(self, plans: Iterable[Plan]) -> Iterator[tuple[Plan, list[bytes]]]:
        for plan in plans:
            with in_words(self._path):
                yield plan, plan.source.data(plan.rows)

    def plans(self) -> Iterator[Plan]:
        """The blocks of the selection, batch by batch; nothing is decoded."""
        for source, session, stream_id in self._parts():
            before = self._before(source, session, stream_id)
            for stream, rows in self._runs(source, session, stream_id):
                chosen, starts = self._chosen_rows(source, stream, rows, before)
                if chosen.any():
                    yield Plan(source, session, stream, rows, starts).where(chosen, starts)
                before = rows[-1:]

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
        return [
            *self.left_out,
            *(text for source in self._sources for text in source.conflicts()),
            *self.clock_warnings,
        ]

    @property
    def left_out(self) -> list[str]:
        """Those of the problems that are about readings that are not there, as far as it was iterated."""
        found = self.undescribed
        spoiled = {(source.info.name, seq) for source in self._sources for seq in source.log.spoiled}
        found += [
            f"{name}: {text}. It was kept and left out."
            for (name, seq), text in self._unreadable.items()
            if (name, seq) not in spoiled
        ]
        for source in self._sources:
            found += [f"{source.info.name}: {text}." for text in source.log.spoiled.values()]
        return found

    @property
    def lacks(self) -> bool:
        """Whether blocks of the selection could not be read, as far as it was iterated."""
        return bool(self._unreadable or self._undescribed)

    @property
    def undescribed(self) -> list[str]:
        """Those of them about whole blocks whose description is missing."""
        return [
            f"{name}: nothing held describes {count(number, 'block')} of schema {schema_id}: kept, and not decoded before "
            "a pull, another archive or a dump brings the description."
            for (name, schema_id), number in self._undescribed.items()
        ]

    @property
    def clock_warnings(self) -> list[str]:
        """Those of the problems that are about times alone: every block is whole."""
        return [warning for source in self._sources for warning in source.clock.warnings]

    def _runs(self, source: Source, session: int, stream_id: int) -> Iterator[tuple[Stream, Rows]]:
        """The index, a batch at a time; blocks without a description are counted."""
        for batch in self._row_batches(source, session, stream_id):
            for stream, part in source.schemas.runs(stream_id, batch.schema_id, batch.seq):
                rows = batch[part]
                if stream is None:
                    self._undescribed.update((source.info.name, number) for number in rows.schema_id.tolist())
                elif self._chosen(stream):
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

    def _chosen(self, stream: Stream) -> list[int]:
        """The numbers of the stream's channels that are wanted."""
        names = self._selection.channels
        return [i for i, channel in enumerate(stream.channels) if names is None or channel.name in names]

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
        return _inside(self._selection, first, last)

    def _decode(self, fetched: tuple[Plan, list[bytes]]) -> tuple[Plan, _Decoded]:
        plan, data = fetched
        try:
            return plan, _Decoded(self._series(plan, decode_frames(data, plan.stream)), {}, ended_unread=False)
        except BlockError:
            return plan, self._decode_one_by_one(plan, data)

    def _decode_one_by_one(self, plan: Plan, data: list[bytes]) -> _Decoded:
        """The blocks that decode, decoded together; what follows one that does not starts anew."""
        unreadable: dict[int, str] = {}
        good: Bools = np.ones(len(data), np.bool_)
        starts = plan.starts.copy()
        for index, wire in enumerate(data):
            try:
                decode_frames([wire], plan.stream)
            except BlockError as error:
                unreadable[int(plan.rows.seq[index])] = str(error)
                good[index] = False
                starts[index + 1 : index + 2] = True
        if not good.any():
            return _Decoded(None, unreadable, ended_unread=True)
        frames = decode_frames([wire for wire, whole in zip(data, good, strict=True) if whole], plan.stream)
        return _Decoded(self._series(plan.where(good, starts), frames), unreadable, ended_unread=not good[-1])

    def _series(self, plan: Plan, frames: Frames) -> Series:
        source, stream = plan.source, plan.stream
        boots = frames.per_frame("boot_id").astype(np.uint16)
        times = times_of(source.clock, boots, frames.ticks)
        chosen = self._chosen(stream)
        series = Series(
            log=source.info,
            stream=stream,
            session=plan.session,
            channels=tuple(stream.channels[i] for i in chosen),
            utc_us=times.utc_us,
            error_us=times.error_us,
            quality=times.quality,
            boot_id=boots,
            tick=frames.ticks,
            starts=_starts(stream, plan, frames),
            raw=[frames.columns[i] for i in chosen],
        )
        if not self._selection.bounded:
            return series
        return series.where(_inside(self._selection, times.utc_us, times.utc_us))


def _decodes(data: list[bytes], stream: Stream) -> bool:
    try:
        decode_frames(data, stream)
    except BlockError:
        return False
    return True


def _ahead(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """`work` done on each item, in order, in threads that are a little ahead of whoever takes the results."""
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > _THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


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
        joined &= step <= stream.period_ticks * _MAX_STEP_PERIODS
    else:
        joined &= (rows.flags[1:] & Flag.GAP) == 0
        joined &= ~source.lost_between(rows.seq[:-1], rows.seq[1:])
    return joined


def _starts(stream: Stream, plan: Plan, frames: Frames) -> Bools:
    """Where a reading must not be joined to the one before: inside a block too, which two equal pauses can fill."""
    starts = np.zeros(len(frames.ticks), dtype=np.bool_)
    if stream.period_us:
        starts[1:] = frames.ticks[1:] - frames.ticks[:-1] > stream.period_ticks * _MAX_STEP_PERIODS
    starts[frames.starts[:-1]] = plan.starts
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
