"""Readings out of the archive: planned on the index, decoded a batch at a time, in memory that does not grow.

Rule of this module: a batch is a bounded number of blocks and frames of one stream in one session. What lies outside
the times asked for is never decoded. A block that cannot be read is left out and reported, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlog.archive.ahead import ahead
from fieldlog.archive.columns import Columns
from fieldlog.archive.database import in_words
from fieldlog.archive.places import device_value, stream_value
from fieldlog.archive.plan import Bools, Ints, Plan, Planner, chosen_channels, inside, longest_step_ticks, times_of
from fieldlog.archive.selection import Selection
from fieldlog.archive.series import Series, join
from fieldlog.archive.source import Source
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME
from fieldlog.clock_sync import US_PER_TICK
from fieldlog.text import count, printable
from fieldlog_protocol.blocks.block import is_whole
from fieldlog_protocol.blocks.codecs import instant_error_ticks
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import BlockError, UsageError

if TYPE_CHECKING:
    from fieldlog.archive.arrow import Layout


class Unreadable(NamedTuple):
    """Why a block cannot be read. `whole`: its CRC-32 is right, so that no other copy of it says anything else."""

    why: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.why}. Its CRC-32 is right: the device wrote it so" if self.whole else self.why


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a plan. `unreadable`: why, by seq; `ended_unread`: what follows the plan's last block begins anew."""

    plan: Plan
    series: Series | None
    unreadable: dict[int, Unreadable]
    ended_unread: bool


class Readings:
    """A selection of readings. Iterate for whole series; `batches` for pieces of them in bounded memory; both at will."""

    def __init__(self, path: Path, sources: Sequence[Source], selection: Selection) -> None:
        self.path = path
        self.selection = selection
        self.sources = sources
        self._planner = Planner(path, sources, selection)
        self._unreadable: dict[tuple[str, int], Unreadable] = {}
        with in_words(path):
            self._require_channels()

    def _require_channels(self) -> None:
        known = list(dict.fromkeys(name for source in self.sources for name in source.schemas.channel_names()))
        unknown = [name for name in self.selection.channels or () if name not in known]
        if unknown:
            raise UsageError(
                f"there is no channel {unknown[0]!r}. Channels of this device: {', '.join(map(printable, known)) or 'none'}"
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
        self._planner.undescribed.clear()
        yield from self.settled(ahead(self.jobs(self.plans() if plans is None else plans)))

    def plans(self) -> Iterator[Plan]:
        """The blocks of the selection, batch by batch; nothing is decoded."""
        return self._planner.plans()

    def jobs(self, plans: Iterable[Plan]) -> Iterator[Callable[[], Decoded]]:
        """For each plan the decoding of its blocks, which are fetched now; any thread may do it."""
        for plan in plans:
            with in_words(self.path):
                data = plan.source.data(plan.rows)
            yield partial(self._decode, plan, data)

    def settled(self, decoded: Iterable[Decoded]) -> Iterator[Series]:
        """The series of what was decoded, which is all of the selection, in order; none is empty."""
        self._unreadable.clear()
        last: Decoded | None = None
        for found in decoded:
            plan, series = found.plan, found.series
            self._unreadable |= {(plan.source.info.name, seq): why for seq, why in found.unreadable.items()}
            if series is not None and last is not None and plan.follows(last.plan) and last.ended_unread:
                series.starts[:1] = True
            last = found
            if series is not None and len(series):
                yield series

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

    @property
    def units(self) -> dict[str, str]:
        """The unit (UCUM) of each channel's column in all of these tables."""
        return self._layout().units

    def _layout(self) -> Layout:
        from fieldlog.archive import arrow

        ids: dict[Source, set[int]] = {}
        for source, _, stream_id in self._planner.parts():
            ids.setdefault(source, set()).add(stream_id)
        streams = [stream for source, found in ids.items() for stream in source.schemas.streams(found)]
        places = arrow.Partitions(
            tuple(dict.fromkeys(device_value(source.info.uid) for source in ids)),
            tuple(dict.fromkeys(map(stream_value, streams))),
        )
        return arrow.Layout(Columns(streams, self.selection.channels), places)

    def untimed(self) -> int:
        """How many readings there are whose time is not known, so that none is in a selection by time; from the index."""
        anytime = replace(self.selection, start_us=None, end_us=None)
        return sum(_untimed(plan) for plan in Planner(self.path, self.sources, anytime).plans())

    @property
    def problems(self) -> list[str]:
        """What could not be read, one sentence each, as far as it was iterated; clock and seq troubles at once."""
        return [
            *self.left_out,
            *self.conflicts,
            *self.clock_warnings,
        ]

    @property
    def conflicts(self) -> list[str]:
        """Those of the problems that are about different contents of one number: every block is whole."""
        return [text for source in self.sources for text in source.conflicts()]

    @property
    def left_out(self) -> list[str]:
        """Those of the problems that are about readings that are not there, as far as it was iterated."""
        found = self.undescribed
        spoiled = {(source.info.name, seq) for source in self.sources for seq in source.log.spoiled}
        found += [_kept(name, why) for (name, seq), why in self._unreadable.items() if (name, seq) not in spoiled]
        for source in self.sources:
            found += [f"{source.info.name}: {text}." for text in source.log.spoiled.values()]
        return found

    @property
    def undecodable(self) -> list[str]:
        """Those of them about blocks that are whole, and of which another copy would be of no more use."""
        return [_kept(name, why) for (name, _), why in self._unreadable.items() if why.whole]

    @property
    def lacks(self) -> bool:
        """Whether blocks of the selection could not be read, as far as it was iterated."""
        return bool(self._unreadable or self._planner.undescribed)

    @property
    def undescribed(self) -> list[str]:
        """Those of them about whole blocks whose description is missing."""
        return [
            f"{name}: nothing held describes {count(number, 'block')} of schema {schema_id}: kept, and not decoded before "
            "a pull, another archive or a dump brings the description."
            for (name, schema_id), number in self._planner.undescribed.items()
        ]

    @property
    def clock_warnings(self) -> list[str]:
        """Those of the problems that are about times alone: every block is whole."""
        return [f"{source.info.name}: {warning}" for source in self.sources for warning in source.clock.warnings]

    def _decode(self, plan: Plan, data: list[bytes]) -> Decoded:
        try:
            return Decoded(plan, self._series(plan, decode_frames(data, plan.stream)), {}, ended_unread=False)
        except BlockError:
            return self._decode_one_by_one(plan, data)

    def _decode_one_by_one(self, plan: Plan, data: list[bytes]) -> Decoded:
        """The blocks that decode, decoded together; what follows one that does not starts anew."""
        unreadable: dict[int, Unreadable] = {}
        good: Bools = np.ones(len(data), np.bool_)
        starts = plan.starts.copy()
        for index, wire in enumerate(data):
            try:
                decode_frames([wire], plan.stream)
            except BlockError as error:
                unreadable[int(plan.rows.seq[index])] = Unreadable(str(error), is_whole(wire))
                good[index] = False
                starts[index + 1 : index + 2] = True
        if not good.any():
            return Decoded(plan, None, unreadable, ended_unread=True)
        frames = decode_frames([wire for wire, whole in zip(data, good, strict=True) if whole], plan.stream)
        return Decoded(plan, self._series(plan.where(good, starts), frames), unreadable, ended_unread=not good[-1])

    def _series(self, plan: Plan, frames: Frames) -> Series:
        source, stream = plan.source, plan.stream
        boots = frames.per_frame("boot_id").astype(np.uint16)
        times = times_of(source.clock, boots, frames.ticks)
        chosen = chosen_channels(stream, self.selection)
        series = Series(
            log=source.info,
            stream=stream,
            session=plan.session,
            channels=tuple(stream.channels[i] for i in chosen),
            utc_us=times.utc_us,
            error_us=_widened(times.error_us, stream, frames),
            quality=times.quality,
            boot_id=boots,
            tick=frames.ticks,
            starts=_starts(stream, plan, frames),
            raw=[frames.columns[i] for i in chosen],
        )
        if not self.selection.bounded:
            return series
        return series.where(inside(self.selection, times.utc_us, times.utc_us))


def _kept(name: str, why: Unreadable) -> str:
    return f"{name}: {why}. It was kept and left out."


def _untimed(plan: Plan) -> int:
    times = times_of(plan.source.clock, plan.rows.boot_id, plan.rows.t0)
    return int(plan.rows.n_frames[times.utc_us == UNKNOWN_TIME].sum())


def _widened(error_us: Ints, stream: Stream, frames: Frames) -> Ints:
    """The error of the clock, in place, and of the instants themselves: blocks do not tell every tick exactly."""
    encodings = frames.headers["encoding"]
    of_block = np.zeros(len(encodings), np.int64)
    for encoding in np.unique(encodings).tolist():
        of_block[encodings == encoding] = ceil(instant_error_ticks(stream, encoding) * US_PER_TICK)
    more_us = of_block[:1] if (of_block == of_block[:1]).all() else np.repeat(of_block, np.diff(frames.starts))
    np.minimum(error_us, UNBOUNDED - more_us, out=error_us)
    error_us += more_us
    return error_us


def _starts(stream: Stream, plan: Plan, frames: Frames) -> Bools:
    """Where a reading must not be joined to the one before: inside a block too, which two equal pauses can fill."""
    starts = np.zeros(len(frames.ticks), dtype=np.bool_)
    if stream.period_us:
        starts[1:] = frames.ticks[1:] - frames.ticks[:-1] > longest_step_ticks(stream)
    starts[frames.starts[:-1]] = plan.starts
    return starts
