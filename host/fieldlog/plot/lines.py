"""Many batches of readings to the lines of one picture, in memory that does not grow with them.

overview = Overview(Grid(begin_us, end_us, n_columns))
for series in batches:  # `reduce` may be done in any threads, `add` takes the results in order
    overview.add(overview.reduce(series))
figure = timeseries(overview.lines())
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.plot.outlined import OutlinedSeries, is_fine, outlined_piece
from fieldlog.plot.reduce import (
    Columns,
    Gathered,
    Grid,
    Limit,
    Piece,
    Spans,
    join_runs,
    known,
    piece,
    present,
    runs,
)
from fieldlog.plot.trace import Bools, ChannelLike, Micros, Nature, SeriesLike, Trace, nature_of
from fieldlog_protocol.errors import UsageError

OWN_CLOCK, BETWEEN, NEVER_SET = 2, 3, 4
"""Of a series' `quality`: time as the device believed it, time that is only known to lie between two others, and none."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the readings of a line come to. `deviation` is None where it was not asked for; `passed_us` has an entry for
    each limit of the line, of the `covered_us` without a break."""

    count: int
    n_missing: int
    lowest: float
    highest: float
    mean: float
    deviation: float | None
    covered_us: int
    limits: tuple[Limit, ...] = ()
    passed_us: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A trace made as small as the picture. `runs`: where it has values without a break; `logged`: where readings were
    taken, with a value or without. `doubtful`: by quality, where the time is not as sure as a sync makes it. `states`: the
    words of values that are no quantities. `eventful`: they are told when something happens, so that a share of the readings
    is none of the time."""

    label: str
    name: str
    unit: str
    columns: Columns
    runs: Spans
    logged: Spans
    figures: Figures
    doubtful: tuple[tuple[int, Spans], ...] = ()
    states: tuple[str, ...] | None = None
    eventful: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.label}: {self.name}" if self.label else self.name


@dataclass(frozen=True, slots=True)
class Batch:
    """What one piece of a series comes to: see `Overview.reduce`. `count`: readings with a known time, beside `n_untimed`
    without."""

    label: str
    names: Sequence[tuple[str, str, int]]
    natures: Sequence[Nature]
    pieces: Sequence[Piece | None]
    count: int
    n_untimed: int
    logged: Spans
    starts: bool
    doubtful: Sequence[tuple[int, Spans]]


@dataclass(slots=True)
class _Stream:
    """When the lines that share their times were logged."""

    logged: list[Spans]
    joined: list[bool]
    doubtful: list[tuple[int, Spans]]


def span_us(lines: Sequence[Line]) -> tuple[int, int]:
    """From the first reading to the last, or to the end of the last step."""
    begin_us = min(int(line.columns.utc_us.min()) for line in lines)
    end_us = max(int(line.columns.utc_us.max()) for line in lines)
    begin_us = min(begin_us, *(int(line.runs[0].min()) for line in lines))
    end_us = max(end_us, *(int(line.runs[1].max()) for line in lines))
    return begin_us, end_us


class Overview:
    """All lines of a picture. With `with_label` each has the label of its series, to tell devices apart."""

    def __init__(
        self, grid: Grid, limits: Sequence[Limit] = (), *, spread: bool = False, with_label: bool = False
    ) -> None:
        self._grid = grid
        self._limits = tuple(limits)
        self._spread = spread
        self._with_label = with_label
        self._gathered: dict[tuple[str, str, str, int], tuple[Gathered, _Stream]] = {}
        self._natures: dict[tuple[str, str, str, int], Nature] = {}

    def reduce(self, series: SeriesLike) -> Batch:
        """A batch of readings of one stream, reduced; any thread may do it."""
        pieces = [
            piece(series.utc_us, values, series.starts, self._grid, self._limits_of(channel.name), spread=self._spread)
            for channel, values in zip(series.channels, series.columns, strict=True)
        ]
        utc_us, _, starts = known(series.utc_us, np.empty(len(series.utc_us), np.int8), series.starts)
        return Batch(
            label=series.label if self._with_label else "",
            names=_names(series.channels),
            natures=[nature_of(series, channel) for channel in series.channels],
            pieces=pieces,
            count=len(utc_us),
            n_untimed=len(series.utc_us) - len(utc_us),
            logged=runs(utc_us, starts),
            starts=bool(starts[:1].any()),
            doubtful=_doubtful(series),
        )

    def reduce_outline(self, series: OutlinedSeries) -> Batch | None:
        """The same of what is known of a batch without its readings; None where it takes the readings, as it does where some
        have no time."""
        outline = series.outline
        if series.alike <= self._grid.most_raw or not is_fine(outline, self._grid):
            return None
        if (outline.quality == NEVER_SET).any():
            return None
        pieces: list[Piece | None] = []
        for channel, one in zip(series.channels, outline.channels, strict=True):
            told, found = outlined_piece(outline, one, self._grid, self._limits_of(channel.name))
            if not told:
                return None
            pieces.append(found)
        begins, ends = outline.quality_spans
        return Batch(
            label=series.label if self._with_label else "",
            names=_names(series.channels),
            natures=[nature_of(series, channel) for channel in series.channels],
            pieces=pieces,
            count=outline.rows,
            n_untimed=0,
            logged=outline.logged,
            starts=outline.starts,
            doubtful=[
                (kind, (begins[outline.quality == kind], ends[outline.quality == kind]))
                for kind in (OWN_CLOCK, BETWEEN)
                if (outline.quality == kind).any()
            ],
        )

    def add(self, batch: Batch) -> None:
        """The next batch, in order."""
        streams: dict[int, _Stream] = {}
        for key, nature, found in zip(batch.names, batch.natures, batch.pieces, strict=True):
            gathered, stream = self._of(batch.label, key)
            gathered.held |= nature.held
            self._natures.setdefault((batch.label, *key), nature)
            gathered.add(found, batch.count)
            if found is None and batch.n_untimed:
                gathered.interrupt()
            streams[id(stream)] = stream
        for stream in streams.values():
            if len(batch.logged[0]):
                stream.joined.append(bool(stream.logged) and not batch.starts)
                stream.logged.append(batch.logged)
                stream.doubtful += batch.doubtful

    def _of(self, label: str, key: tuple[str, str, int]) -> tuple[Gathered, _Stream]:
        full = (label, *key)
        if full not in self._gathered:
            n_limits = len(self._limits_of(key[0]))
            self._gathered[full] = (Gathered(self._grid, n_limits), _Stream([], [], []))
        return self._gathered[full]

    def _limits_of(self, name: str) -> tuple[Limit, ...]:
        return tuple(limit for limit in self._limits if limit.channel == name)

    def lines(self) -> list[Line]:
        """A line for each channel that has a value at a known time."""
        return [
            Line(
                label=label,
                name=name,
                unit=unit,
                columns=gathered.columns,
                runs=gathered.runs,
                logged=join_runs(stream.logged, stream.joined),
                figures=self._figures(gathered, self._limits_of(name)),
                doubtful=tuple(stream.doubtful),
                states=self._natures[label, name, unit, number].states,
                eventful=self._natures[label, name, unit, number].eventful,
            )
            for (label, name, unit, number), (gathered, stream) in self._gathered.items()
            if gathered.count
        ]

    def _figures(self, gathered: Gathered, limits: tuple[Limit, ...]) -> Figures:
        columns = gathered.columns
        begins, ends = gathered.runs
        return Figures(
            count=gathered.count,
            n_missing=gathered.n_missing,
            lowest=float(columns.low.min()),
            highest=float(columns.high.max()),
            mean=gathered.mean,
            deviation=gathered.deviation if self._spread else None,
            covered_us=int((ends - begins).sum()),
            limits=limits,
            passed_us=tuple(gathered.passed_us),
        )


def _names(channels: Sequence[ChannelLike]) -> list[tuple[str, str, int]]:
    """Each with how many of the same name and unit came before it."""
    seen: Counter[tuple[str, str]] = Counter()
    names: list[tuple[str, str, int]] = []
    for channel in channels:
        key = (channel.name, channel.unit)
        names.append((*key, seen[key]))
        seen[key] += 1
    return names


def _doubtful(series: SeriesLike) -> list[tuple[int, Spans]]:
    quality: npt.NDArray[Any] | None = getattr(series, "quality", None)
    if quality is None or not len(quality) or quality.max() < OWN_CLOCK:
        return []
    return [
        (kind, _spans_of(series.utc_us, quality == kind)) for kind in (OWN_CLOCK, BETWEEN) if (quality == kind).any()
    ]


def _spans_of(utc_us: Micros, chosen: Bools) -> Spans:
    """From the first to the last of those chosen, wherever several stand side by side."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return utc_us[edges[::2]], utc_us[edges[1::2] - 1]


def lines_of(
    traces: Iterable[Trace], n_columns: int, limits: Sequence[Limit] = (), *, spread: bool = False
) -> list[Line]:
    """Lines of traces that are there in full, over all of their time; UsageError when none has a value to draw."""
    drawn = [(trace, *present(trace)) for trace in traces]
    times = [utc_us for _, utc_us, _, _ in drawn if len(utc_us)]
    if not times:
        raise nothing_to_plot()
    grid = Grid(min(int(t.min()) for t in times), max(int(t.max()) for t in times), n_columns)
    lines: list[Line] = []
    for trace, *_ in drawn:
        overview = Overview(grid, limits, spread=spread)
        overview.add(overview.reduce(Single(trace)))
        lines += overview.lines()
    return lines


def nothing_to_plot() -> UsageError:
    return UsageError("there is nothing to plot: no reading in this selection has both a value and a known time")


class Single:
    """A trace in the shape of a series."""

    label = ""

    def __init__(self, trace: Trace) -> None:
        self.utc_us = trace.utc_us
        self.starts = np.zeros(len(trace.values), np.bool_) if trace.starts is None else trace.starts.copy()
        self.starts[:1] = True
        self.channels = [trace]
        self.columns = [trace.values]
