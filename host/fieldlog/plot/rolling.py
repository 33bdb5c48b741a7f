"""Moving means, a batch after the other, in memory that the window's length does not change.

Rule of this module: a window never reaches over times in which nothing was logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.plot.course import Lane, Piece, Smooth, lane_of, numbers_of, with_course
from fieldlog.plot.lines import Line
from fieldlog.plot.reduce import Columns
from fieldlog.plot.trace import NO_TIME, Floats, Micros, SeriesLike
from fieldlog_protocol.durations import duration_text

_CELLS = 4096
"""A window is no finer than that: of readings that are denser those of one part of it are taken together."""

Ints = npt.NDArray[np.int64]


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
            key = lane_of(series)
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
        return with_course(line, course=course, told=told, short=self.short)


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
        self._channels, columns = numbers_of(first)
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
        _, columns = numbers_of(series)
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
