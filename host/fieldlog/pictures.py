"""From an archive to what plots take: lines made as small as the picture, and the events of its devices.

Rule of this module: it joins the archive and the plots, which know nothing of each other. Readings come from the Parquet
files while those show all that the archive holds, and from the blocks else; a batch at a time either way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog.archive.ahead import ahead
from fieldlog.archive.derived import Derived, derived
from fieldlog.archive.plan import Plan, times_of
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.plot.course import Smoothing
from fieldlog.plot.events import Event
from fieldlog.plot.lines import Batch, Line, Overview, span_us
from fieldlog.plot.outlined import OutlinedSeries, OutlineLike
from fieldlog.plot.reduce import Grid, Limit
from fieldlog.plot.smooth import smoothed
from fieldlog.plot.trace import Bools, Micros, SeriesLike, nature_of, timed
from fieldlog.same_names import Owner, shared_names, title_of
from fieldlog_protocol.blocks.events import Boot, ClockSync, ConfigChange, Mark, SessionStart, SessionStop
from fieldlog_protocol.blocks.events import Event as Logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldlog.archive.readings import Readings
    from fieldlog.archive.selection import Selection
    from fieldlog.archive.store import Archive
    from fieldlog_protocol.blocks.schema import Channel, Stream


_ENOUGH = 0.8
"""Which share of the times in which readings were looked for must have some. Row groups and files may reach far beyond what is
wanted of them, and a few columns would then be all of the picture."""


@dataclass(frozen=True, slots=True)
class Found:
    """The readings of a selection, not read yet: in which times they lie, and the batches of them. `n_unseen`: readings
    without a known time that are in no batch. `titles`: what channels are called that several streams have, by their name."""

    first_us: int
    last_us: int
    from_parquet: bool
    jobs: Callable[[], Iterator[Unread]]
    n_unseen: int = 0
    titles: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

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


def find(archive: Archive, readings: Readings, *, apart: bool = True) -> Found:
    """Where the readings of a selection are, and from when to when. `apart`: channels that several streams have are told apart
    by their names."""
    files = derived(archive, readings)
    return _in_blocks(readings, apart=apart) if files is None else _in_files(files, apart=apart)


def _in_files(files: Derived, *, apart: bool) -> Found:
    owned = [(file.session, file.stream, file.channels) for file in files.files]
    retell = _Retelling.of(owned if apart else ())

    def jobs() -> Iterator[Unread]:
        return (retell(batch, batch.file.stream) for batch in files.batches())

    return Found(files.first_us, files.last_us, True, jobs, files.n_unseen, retell.titles)


def _in_blocks(readings: Readings, *, apart: bool) -> Found:
    plans = list(readings.plans())
    first_us, last_us = _span_us(plans, readings)
    owned = [((plan.source, plan.session), plan.stream, plan.stream.channels) for plan in plans]
    retell = _Retelling.of(owned if apart else ())

    def jobs() -> Iterator[Unread]:
        return (retell(_Read(series), series.stream) for series in readings.batches(plans))

    return Found(first_us, last_us, False, jobs, titles=retell.titles)


@dataclass(frozen=True, slots=True)
class _Told:
    """A channel under the name that it has in a picture; what is `held` is told when it happens, until the next."""

    name: str
    unit: str
    states: tuple[str, ...] | None
    held: bool


@dataclass(frozen=True, slots=True)
class _ToldSeries:
    """A batch of such."""

    label: str
    channels: tuple[_Told, ...]
    utc_us: Micros
    starts: Bools
    quality: npt.NDArray[np.uint8] | None
    columns: Sequence[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _ToldOutline:
    label: str
    channels: tuple[_Told, ...]
    outline: OutlineLike
    alike: int


@dataclass(frozen=True, slots=True)
class _Retelling:
    """How channels are told in a picture. `shared`: (name, unit) of those that several streams of a session have; `titles`:
    what these are called, by name."""

    shared: frozenset[tuple[str, str]]
    titles: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, owned: Iterable[tuple[Hashable, Stream, Sequence[Channel]]]) -> _Retelling:
        """`owned`: session, stream and channels of all that is in the picture."""
        owners = {
            Owner(session, stream.id, channel.name, channel.unit): title_of(stream.name, channel.name)
            for session, stream, channels in owned
            for channel in channels
        }
        shared = shared_names(owners)
        titles: dict[str, dict[str, None]] = {}
        for owner, title in owners.items():
            if (owner.name, owner.unit) in shared:
                titles.setdefault(owner.name, {})[title] = None
        return cls(shared, {name: tuple(found) for name, found in titles.items()})

    def __call__(self, job: Unread, stream: Stream) -> Unread:
        shared = any((channel.name, channel.unit) in self.shared for channel in stream.channels)
        return _Retold(job, stream, self) if shared or not stream.period_us else job

    def channels(self, series: SeriesLike | OutlinedSeries, stream: Stream) -> tuple[_Told, ...]:
        held = not stream.period_us
        return tuple(
            _Told(
                title_of(stream.name, one.name) if (one.name, one.unit) in self.shared else one.name,
                one.unit,
                nature_of(series, one).states,
                held,
            )
            for one in series.channels
        )


@dataclass(frozen=True, slots=True)
class _Retold:
    """A batch of a stream whose channels are told in another way than the device tells them."""

    job: Unread
    stream: Stream
    how: _Retelling

    def read(self) -> _ToldSeries:
        found = self.job.read()
        return _ToldSeries(
            found.label,
            self.how.channels(found, self.stream),
            found.utc_us,
            found.starts,
            getattr(found, "quality", None),
            found.columns,
        )

    def outlined(self) -> _ToldOutline | None:
        """None for what holds: the last value of a column of pixels counts then, and no outline tells it."""
        found = self.job.outlined() if self.stream.period_us else None
        if found is None:
            return None
        return _ToldOutline(found.label, self.how.channels(found, self.stream), found.outline, found.alike)


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
    """The lines of a picture that is `n_columns` wide, and how many readings they are made of; in a `way` smoothed. A limit of
    a channel that several streams have holds for all of them."""
    titled = [replace(one, channel=title) for one in limits for title in found.titles.get(one.channel, [one.channel])]
    made_of = partial(_overview, found, n_columns, titled, spread=spread, with_label=with_label)
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
