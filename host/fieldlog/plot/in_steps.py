"""Means and extremes of even steps of time, as a line that is drawn in place of the readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fieldlog.plot.course import Lane, Piece, Smooth, lane_of, numbers_of, with_course
from fieldlog.plot.lines import Line
from fieldlog.plot.reduce import Columns
from fieldlog.plot.trace import ChannelLike, Floats, Micros, SeriesLike
from fieldlog.resample import Resampled, Resampler, Steps
from fieldlog_protocol.durations import duration_text

_MOST_STAIRS = 400
"""Up to so many steps are drawn as stairs."""


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
            key = lane_of(series)
            if key not in lanes:
                lanes[key] = _Lane(series.label, numbers_of(series)[0], self._steps)
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
        return with_course(line, course=course, begins_us=begins, ends_us=ends, told=told, short=self.short)


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
            yield from self._told(self.resampler.feed(series.utc_us, numbers_of(series)[1]))

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
