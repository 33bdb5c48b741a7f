"""What a line is drawn through instead of each reading: moving means, or means of even steps of time.

Rule of this module: it streams, in memory that a window's length does not change, and it changes what is drawn alone:
tables and thresholds stay those of the readings. A window never reaches over times in which nothing was logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import tzinfo
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog.plot.lines import Line, Overview, Single, lines_of, nothing_to_plot
from fieldlog.plot.reduce import Columns, Grid, Limit, present
from fieldlog.plot.trace import NO_TIME, Bools, ChannelLike, Floats, Micros, SeriesLike, Trace
from fieldlog.resample import Resampled, Resampler, Steps
from fieldlog_protocol.durations import duration_text, parse_duration_us
from fieldlog_protocol.errors import UsageError

_CELLS = 4096
"""A window is no finer than that: of readings that are denser those of one part of it are taken together."""
_MOST_STAIRS = 400
"""Up to so many steps are drawn as stairs."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Smooth(Line):
    """A line with the `course` of its means. Of even steps it has the extremes too and takes the place of the readings:
    each is a level from its place in `begins_us` to that in `ends_us`, where there are few."""

    course: Columns | None = None
    begins_us: Micros | None = None
    ends_us: Micros | None = None
    told: str = ""
    short: str = ""

    @property
    def in_place(self) -> bool:
        """Whether the readings themselves are not drawn."""
        return self.course is not None and self.course.reduced


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch of what a line is drawn through: a series."""

    label: str
    channels: Sequence[ChannelLike]
    utc_us: Micros
    starts: Bools
    columns: Sequence[Floats]


class Smoothing(Protocol):
    """A way to smooth. Each channel becomes `n_rows` of the same name."""

    n_rows: int

    @property
    def short(self) -> str:
        """What the means are of."""
        ...

    def smooth(self, batches: Iterable[SeriesLike]) -> Iterator[Piece]:
        """All batches of a selection, in order."""
        ...

    def drawn(self, line: Line, rows: Sequence[Columns]) -> Smooth:
        """The line with its course, which the rows of its channel make."""
        ...


def smoothing(rolling: str | None, resample: str | None, tz: tzinfo) -> Smoothing | None:
    """By durations such as 1h, of which one at most is given; None without. UsageError for what is none."""
    if rolling is not None and resample is not None:
        raise UsageError("rolling and resample both say what the line is. Nothing was plotted; give one of them")
    if rolling is not None:
        return Rolling(_above_zero_us(rolling, "rolling"))
    return None if resample is None else InSteps(Steps(_above_zero_us(resample, "resample"), tz))


def _above_zero_us(text: str, option: str) -> int:
    found = parse_duration_us(text)
    if not found:
        raise UsageError(f"{option} takes a time above zero, not {text}. Nothing was plotted")
    return found


def smoothed(lines: Sequence[Line], batches: Iterable[SeriesLike], way: Smoothing, n_columns: int) -> list[Line]:
    """`lines` with a course; `batches` are the same readings once more. Channels whose values are words stay as they are."""
    if not lines:
        return []
    first_us = min(int(line.runs[0].min()) for line in lines)
    last_us = max(int(line.runs[1].max()) for line in lines)
    overview = Overview(Grid(first_us, last_us, n_columns), with_label=any(line.label for line in lines))
    for piece in way.smooth(batches):
        overview.add(overview.reduce(piece))
    rows: dict[tuple[str, str, str], list[Columns]] = {}
    for line in overview.lines():
        rows.setdefault((line.label, line.name, line.unit), []).append(line.columns)
    return [_drawn(line, rows.get((line.label, line.name, line.unit), []), way) for line in lines]


def lines_from(
    given: Iterable[Trace | Line], n_columns: int, limits: Sequence[Limit], way: Smoothing | None, *, spread: bool
) -> list[Line]:
    """Lines that were made before, and those of traces; UsageError when there is none. Of traces each is smoothed by
    itself, since some may have the same name."""
    made: list[Line] = []
    raw: list[Trace] = []
    for one in given:
        if isinstance(one, Line):
            made.append(one)
        elif way is None:
            raw.append(one)
        elif len(present(one)[0]):
            lines = lines_of([one], n_columns, limits, spread=spread)
            made += smoothed(lines, [Single(one)], way, n_columns)
    if raw:
        made += lines_of(raw, n_columns, limits, spread=spread)
    if not made:
        raise nothing_to_plot()
    return made


def _drawn(line: Line, rows: list[Columns], way: Smoothing) -> Line:
    """Takes the rows of this line away: those of the next one of its name follow."""
    if not rows:
        return line
    found = way.drawn(line, rows[: way.n_rows])
    del rows[: way.n_rows]
    return found


def apart(lines: Iterable[Line]) -> list[Line]:
    """The same as lines without a course: readings and their means are lines of their own, or the means alone."""
    return [one for line in lines for one in (_apart(line) if isinstance(line, Smooth) else [line])]


def _apart(line: Smooth) -> list[Line]:
    plain = Line(**{part.name: getattr(line, part.name) for part in fields(Line)})
    means = replace(plain, name=f"{line.name}, {line.short}", columns=line.course or line.columns)
    if line.in_place:
        return [means]
    return [plain, replace(means, figures=replace(line.figures, limits=(), passed_us=()))]  # limits are for readings


def _smooth(line: Line, **more: Any) -> Smooth:
    return Smooth(**{part.name: getattr(line, part.name) for part in fields(Line)}, **more)


Lane = tuple[str, tuple[tuple[str, str], ...]]


def _lane(series: SeriesLike) -> Lane:
    return series.label, tuple((channel.name, channel.unit) for channel in series.channels)


def _numbers(series: SeriesLike) -> tuple[list[ChannelLike], list[npt.NDArray[Any]]]:
    """The channels that have a mean, and their columns."""
    pairs = zip(series.channels, series.columns, strict=True)
    kept = [(channel, column) for channel, column in pairs if not getattr(channel, "choices", ())]
    return [channel for channel, _ in kept], [column for _, column in kept]


# -- moving means ------------------------------------------------------------------------------------------------------


class Rolling:
    """At each reading the mean of those from half a window before to half a window after it, in its run; at the ends of a
    run of those that there are. Missing values are left out, and the line is interrupted there."""

    n_rows = 1

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us

    @property
    def short(self) -> str:
        return f"mean over {duration_text(self._window_us)}"

    def smooth(self, batches: Iterable[SeriesLike]) -> Iterator[Piece]:
        lanes: dict[Lane, _Window] = {}
        for series in batches:
            key = _lane(series)
            if key not in lanes:
                lanes[key] = _Window(series, self._window_us)
            yield from lanes[key].feed(series)
        for lane in lanes.values():
            yield from lane.rest()

    def drawn(self, line: Line, rows: Sequence[Columns]) -> Smooth:
        (row,) = rows
        course = Columns(row.utc_us, row.mean, row.mean, row.mean, row.starts, reduced=False)
        light = "lowest to highest" if line.columns.reduced else "the readings"
        told = f"line: {self.short} around each reading, light: {light}"
        return _smooth(line, course=course, told=told, short=self.short)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Readings, or a few side by side as one: `run` numbers what is not interrupted; sums and counts for each channel."""

    utc_us: Micros
    run: Ints
    sums: list[Floats]
    counts: list[Ints]

    def part(self, part: slice) -> _Cells:
        return _Cells(self.utc_us[part], self.run[part], [s[part] for s in self.sums], [c[part] for c in self.counts])

    def with_more(self, other: _Cells) -> _Cells:
        def both(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
            return [np.concatenate(pair) for pair in pairs]

        sums, counts = both(zip(self.sums, other.sums, strict=True)), both(zip(self.counts, other.counts, strict=True))
        utc_us, run = both([(self.utc_us, other.utc_us), (self.run, other.run)])
        return _Cells(utc_us, run, sums, counts)


class _Window:
    """One stream of one device: what of it a window may still reach, of which the first `_told` were given already."""

    def __init__(self, first: SeriesLike, window_us: int) -> None:
        self._label = first.label
        self._channels, columns = _numbers(first)
        self._before_us, self._after_us = window_us // 2, window_us - window_us // 2
        self._cell_us = max(1, window_us // _CELLS)
        self._levels = [_level(column) for column in columns]
        self._held: _Cells | None = None
        self._told = 0
        self._run_told = -1

    def feed(self, series: SeriesLike) -> Iterator[Piece]:
        found = self._cells(series)
        if found is None or not self._channels:
            return
        held = self._held = found if self._held is None else self._held.with_more(found)
        complete = held.utc_us + self._after_us < held.utc_us[-1]
        complete |= held.run != held.run[-1]
        yield from self._told_up_to(int(np.flatnonzero(~complete)[0]))

    def rest(self) -> Iterator[Piece]:
        if self._held is not None:
            yield from self._told_up_to(len(self._held.utc_us))

    def _told_up_to(self, end: int) -> Iterator[Piece]:
        """The means of the cells that nothing more can come to."""
        held = self._held
        if held is None or end <= self._told:
            return
        low, high = self._reach(held)
        these = slice(self._told, end)
        means = [self._means(held, i, these, low[these], high[these]) for i in range(len(self._channels))]
        run = held.run[these]
        starts = np.diff(run, prepend=self._run_told) != 0
        self._run_told = int(run[-1])
        yield Piece(self._label, self._channels, held.utc_us[these], starts, means)
        keep = int(low[end]) if end < len(low) else end
        self._held = held.part(slice(keep, None)) if keep < len(low) else None
        self._told = end - keep

    def _reach(self, held: _Cells) -> tuple[Ints, Ints]:
        """From where to where the window of each cell goes, in its run."""
        firsts = np.flatnonzero(np.diff(held.run, prepend=held.run[0] - 1))
        length = np.diff(np.append(firsts, len(held.run)))
        low, high = np.repeat(firsts, length), np.repeat(firsts + length, length)
        back = np.flatnonzero(np.diff(held.utc_us) < 0) + 1  # which only a new run does
        for begin, end in zip([0, *back.tolist()], [*back.tolist(), len(held.run)], strict=True):
            times = held.utc_us[begin:end]
            found = [
                begin + np.searchsorted(times, edges, side="right")
                for edges in (times - self._before_us, times + self._after_us)
            ]
            low[begin:end] = np.maximum(low[begin:end], found[0])
            high[begin:end] = np.minimum(high[begin:end], found[1])
        return low, high

    def _means(self, held: _Cells, index: int, these: slice, low: Ints, high: Ints) -> Floats:
        """Where a reading is missing, or infinite with nothing else around it, that stays so."""
        sums, counts = (np.concatenate([[0], np.cumsum(row[index])]) for row in (held.sums, held.counts))
        number = counts[high] - counts[low]
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = (sums[high] - sums[low]) / number + self._levels[index]
        found[held.counts[index][these] == 0] = np.nan
        return found

    def _cells(self, series: SeriesLike) -> _Cells | None:
        timed = series.utc_us != NO_TIME
        if not timed.any():
            return None
        whole = bool(timed.all())
        utc_us = series.utc_us if whole else series.utc_us[timed]
        broken = series.starts if whole else (series.starts | np.concatenate([[False], ~timed[:-1]]))[timed]
        starts = broken | (np.diff(utc_us, prepend=utc_us[:1]) < 0)
        last = self._held
        if last is None or utc_us[0] < last.utc_us[-1]:
            starts[0] = True
        run = np.cumsum(starts) + (0 if last is None else int(last.run[-1]))
        first = np.flatnonzero((np.diff(utc_us // self._cell_us, prepend=-1) != 0) | starts)
        if not len(first) or first[0]:
            first = np.concatenate([[0], first])
        _, columns = _numbers(series)
        pairs = [
            _summed(column if whole else column[timed], level, first)
            for column, level in zip(columns, self._levels, strict=True)
        ]
        end = np.append(first[1:], len(utc_us)) - 1
        middle = utc_us[first] + (utc_us[end] - utc_us[first]) // 2
        return _Cells(middle, run[first], [total for total, _ in pairs], [number for _, number in pairs])


def _level(column: npt.NDArray[Any]) -> float:
    """Sums are those of distances from it, so that they stay small."""
    there = column[np.isfinite(column)]
    return float(there[0]) if len(there) else 0.0


def _summed(column: npt.NDArray[Any], level: float, first: Ints) -> tuple[Floats, Ints]:
    there = np.isfinite(column)
    far = np.where(there, column - level, 0.0)
    return np.add.reduceat(far, first), np.add.reduceat(there, first, dtype=np.int64)


# -- even steps --------------------------------------------------------------------------------------------------------


class InSteps:
    """The mean, the lowest and the highest of each step."""

    n_rows = 3

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    @property
    def short(self) -> str:
        return f"mean of each {duration_text(self._steps.us)}"

    def smooth(self, batches: Iterable[SeriesLike]) -> Iterator[Piece]:
        lanes: dict[Lane, _Lane] = {}
        for series in batches:
            key = _lane(series)
            if key not in lanes:
                lanes[key] = _Lane(series.label, _numbers(series)[0], self._steps)
            yield from lanes[key].feed(series)
        for lane in lanes.values():
            yield from lane.rest()

    def drawn(self, line: Line, rows: Sequence[Columns]) -> Smooth:
        mean, low, high = rows
        course = Columns(mean.utc_us, low.low, mean.mean, high.high, mean.starts, reduced=True)
        begins = ends = None
        if not mean.reduced and len(mean.utc_us) <= _MOST_STAIRS:
            begins = self._steps.begin(mean.utc_us)
            ends = self._steps.end(begins)
        told = f"line: {self.short}, light: lowest to highest"
        return _smooth(line, course=course, begins_us=begins, ends_us=ends, told=told, short=self.short)


@dataclass(slots=True)
class _Lane:
    """One stream of one device."""

    label: str
    channels: list[ChannelLike]
    steps: Steps
    resampler: Resampler = field(init=False)
    last_us: Micros = field(init=False)

    def __post_init__(self) -> None:
        self.resampler = Resampler(self.steps)
        self.last_us = np.zeros(0, np.int64)

    def feed(self, series: SeriesLike) -> Iterator[Piece]:
        if self.channels and len(series.utc_us):
            yield from self._told(self.resampler.feed(series.utc_us, _numbers(series)[1]))

    def rest(self) -> Iterator[Piece]:
        found = self.resampler.rest()
        if found is not None:
            yield from self._told(found)

    def _told(self, found: Resampled) -> Iterator[Piece]:
        if not len(found):
            return
        joined = self.steps.joins(np.concatenate([self.last_us, found.begin_us]))[-len(found) :]
        self.last_us = found.begin_us[-1:]
        middle = found.begin_us + (self.steps.end(found.begin_us) - found.begin_us) // 2
        rows: list[Floats] = []
        for channel in found.channels:
            there = channel.count > 0
            low, high = (
                np.where(there, extreme.astype(np.float64), np.nan) for extreme in (channel.lowest, channel.highest)
            )
            rows += [np.where(there & np.isnan(channel.mean), low, channel.mean), low, high]
        channels = [channel for channel in self.channels for _ in range(3)]
        yield Piece(self.label, channels, middle, ~joined, rows)
