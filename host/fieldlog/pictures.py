"""From an archive to what plots take: lines made as small as the picture, and the events of its devices.

Rule of this module: it joins the archive and the plots, which know nothing of each other. Readings come from the Parquet
files while those show all that the archive holds, and from the blocks else; a batch at a time either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog.archive.ahead import ahead
from fieldlog.archive.derived import Derived, DerivedBatch, derived
from fieldlog.archive.plan import Plan, times_of
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.plot.course import Smoothing
from fieldlog.plot.events import Event
from fieldlog.plot.lines import Batch, Line, Overview, span_us
from fieldlog.plot.outlined import OutlinedSeries
from fieldlog.plot.reduce import Grid, Limit
from fieldlog.plot.smooth import smoothed
from fieldlog.plot.trace import Bools, Micros, SeriesLike, nature_of, timed
from fieldlog_protocol.blocks.events import Boot, ClockSync, ConfigChange, Mark, SessionStart, SessionStop
from fieldlog_protocol.blocks.events import Event as Logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldlog.archive.readings import Readings
    from fieldlog.archive.selection import Selection
    from fieldlog.archive.store import Archive


_ENOUGH = 0.8
"""Which share of the times in which readings were looked for must have some. Row groups and files may reach far beyond what is
wanted of them, and a few columns would then be all of the picture."""


@dataclass(frozen=True, slots=True)
class Found:
    """The readings of a selection, not read yet: in which times they lie, and the batches of them. `n_unseen`: readings
    without a known time that are in no batch."""

    first_us: int
    last_us: int
    from_parquet: bool
    jobs: Callable[[], Iterator[Unread]]
    n_unseen: int = 0

    def series(self) -> Iterator[SeriesLike]:
        """Batch after batch."""
        return ahead(job.read for job in self.jobs())

    def batches(self, overview: Overview) -> Iterator[Batch]:
        """Every batch reduced, in order; two at a time where they come from Parquet files."""
        return ahead(partial(_reduced, job, overview) for job in self.jobs())


class Timed:
    """The readings of a selection whose time is known, batch after batch, as often as wanted, for pictures that are not drawn
    over time: what time is not known of is not among those asked of files either. `n_untimed`: the others, once it was gone
    through."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self.n_untimed = found.n_unseen

    def __call__(self) -> Iterator[SeriesLike]:
        n_untimed = self._found.n_unseen
        for series in self._found.series():
            kept = timed(series)
            n_untimed += len(series.utc_us) - len(kept.utc_us)
            if len(kept.utc_us):
                yield kept
        self.n_untimed = n_untimed


class Unread(Protocol):
    """A batch of readings: all of it, or what it comes to, where that is known."""

    def read(self) -> SeriesLike: ...
    def outlined(self) -> OutlinedSeries | None: ...


def _reduced(job: Unread, overview: Overview) -> Batch:
    outline = job.outlined()
    found = None if outline is None else overview.reduce_outline(outline)
    return overview.reduce(job.read()) if found is None else found


def find(archive: Archive, readings: Readings) -> Found:
    """Where the readings of a selection are, and from when to when."""
    files = derived(archive, readings)
    return _in_blocks(readings) if files is None else _in_files(files)


def _in_files(files: Derived) -> Found:
    def jobs() -> Iterator[Unread]:
        return (_Events(batch) if batch.file.eventful else batch for batch in files.batches())

    return Found(files.first_us, files.last_us, True, jobs, files.n_unseen)


@dataclass(frozen=True, slots=True)
class _Told:
    """A channel of what is told when it happens: its values hold until the next."""

    name: str
    unit: str
    states: tuple[str, ...] | None
    held: bool = True


@dataclass(frozen=True, slots=True)
class _EventSeries:
    """A batch of such."""

    label: str
    channels: tuple[_Told, ...]
    utc_us: Micros
    starts: Bools
    quality: npt.NDArray[np.uint8]
    columns: list[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Events:
    """A batch of such that is always read, since the last value of a column of pixels counts, and no outline tells it."""

    batch: DerivedBatch

    def read(self) -> _EventSeries:
        found = self.batch.read()
        channels = tuple(
            _Told(channel.name, channel.unit, nature_of(found, channel).states) for channel in found.channels
        )
        return _EventSeries(found.label, channels, found.utc_us, found.starts, found.quality, found.columns)

    def outlined(self) -> None:
        return None


def _in_blocks(readings: Readings) -> Found:
    plans = list(readings.plans())
    first_us, last_us = _span_us(plans, readings)

    return Found(first_us, last_us, False, lambda: map(_Read, readings.batches(plans)))


def in_batches(first_us: int, last_us: int, series: Callable[[], Iterable[SeriesLike]]) -> Found:
    """Readings that lie elsewhere than in an archive, to be gone through as often as is wanted."""
    return Found(first_us, last_us, False, lambda: map(_Read, series()))


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch that was read already."""

    series: SeriesLike

    def read(self) -> SeriesLike:
        return self.series

    def outlined(self) -> None:
        return None


def _span_us(plans: Sequence[Plan], readings: Readings) -> tuple[int, int]:
    """As far as the times of blocks are known; (0, 0) where none is."""
    ends = [
        times_of(plan.source.clock, plan.rows.boot_id, ticks).utc_us
        for plan in plans
        for ticks in (plan.rows.t0, plan.rows.end)
    ]
    times = np.concatenate([np.empty(0, np.int64), *ends])
    times = times[times != UNKNOWN_TIME]
    if not len(times):
        return 0, 0
    wanted = readings.selection
    first_us, last_us = int(times.min()), int(times.max())
    return (
        first_us if wanted.start_us is None else max(first_us, wanted.start_us),
        last_us if wanted.end_us is None else min(last_us, wanted.end_us),
    )


class Counted(NamedTuple):
    """Readings that are in a picture, and those that cannot be, since their time is not known."""

    plotted: int
    untimed: int


def lines(
    found: Found,
    n_columns: int,
    limits: Sequence[Limit] = (),
    *,
    spread: bool = False,
    with_label: bool = False,
    way: Smoothing | None = None,
) -> tuple[list[Line], Counted]:
    """The lines of a picture that is `n_columns` wide, and how many readings they are made of; in a `way` smoothed."""
    made_of = partial(_overview, found, n_columns, limits, spread=spread, with_label=with_label)
    made, counted = made_of(found.first_us, found.last_us)
    first_us, last_us = span_us(made) if made else (found.first_us, found.last_us)
    if last_us - first_us < _ENOUGH * (found.last_us - found.first_us):
        made, counted = made_of(first_us, last_us)
    return (made if way is None else smoothed(made, found.series(), way, n_columns)), counted


def _overview(
    found: Found,
    n_columns: int,
    limits: Sequence[Limit],
    first_us: int,
    last_us: int,
    *,
    spread: bool,
    with_label: bool,
) -> tuple[list[Line], Counted]:
    grid = Grid(first_us, last_us, n_columns)
    overview = Overview(grid, limits, spread=spread, with_label=with_label)
    plotted, untimed = 0, found.n_unseen
    for batch in found.batches(overview):
        overview.add(batch)
        plotted += batch.count
        untimed += batch.n_untimed
    return overview.lines(), Counted(plotted, untimed)


def events(readings: Readings) -> list[Event]:
    """What the devices of a selection wrote down in the times that were chosen, where its time is known."""
    told: list[Event] = []
    for source in readings.sources:
        for logged in source.log.events():
            kind = _KINDS.get(type(logged.event))
            if kind is None:
                continue
            times = times_of(source.clock, np.array([logged.boot_id]), np.array([logged.tick], np.int64))
            utc_us = int(times.utc_us[0])
            if utc_us != UNKNOWN_TIME and _is_chosen(readings.selection, utc_us):
                told.append(Event(utc_us, kind, _text(logged.event), source.info.name))
    return told


def _is_chosen(wanted: Selection, utc_us: int) -> bool:
    return (wanted.start_us is None or wanted.start_us <= utc_us) and (wanted.end_us is None or utc_us < wanted.end_us)


_KINDS: dict[type[Logged], str] = {
    Boot: "boot",
    SessionStart: "start",
    SessionStop: "stop",
    Mark: "mark",
    ConfigChange: "config",
    ClockSync: "sync",
}


def _text(event: Logged) -> str:
    if isinstance(event, Mark):
        return event.text
    if isinstance(event, Boot):
        return f"restart: {event.reason}" if event.reason else ""
    if isinstance(event, SessionStart):
        return f"start {event.label}" if event.label else ""
    if isinstance(event, SessionStop):
        return f"stop: {event.reason}" if event.reason else ""
    return ""
