"""What a file of readings is to whoever plots it: batches of rows, and series made of them.

Rule of this module: nothing is made up. Where a file does not say what interrupts a line, readings that came evenly before
are not joined over more than one and a half of their distance; those that did not come evenly are. An empty cell is a missing
value where a reading was due; in other rows it is none, as they are those of other streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Micros = npt.NDArray[np.int64]

NO_TIME = np.iinfo(np.int64).min
_FEW = 8
"""So many distances at least say whether readings come evenly."""
_EVEN_SHARE, _EVEN_WITHIN = 0.8, 0.1
_MAX_STEP_PERIODS = 1.5
_DUE_WITHIN, _DUE_BEFORE = 0.1, 0.75
"""In periods: how far from its time a reading is still the one that was due, and how long before the next one it is."""

_MOST_WAITING = 1_000_000
"""So many empty cells side by side may turn out to be missing values; after more of them nothing was logged."""


@dataclass(frozen=True, slots=True)
class Name:
    """A channel, as far as a file names it. `held`: a value is told when it is another one, and holds until the next;
    `states`: the words of values that are no quantities."""

    name: str
    unit: str = ""
    held: bool = False
    states: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FileSeries:
    """A batch of readings of one device, as plots take them; NaN where a value is missing. Without `quality` a file tells
    nothing of how its times are known."""

    label: str
    channels: Sequence[Name]
    utc_us: Micros
    starts: Bools
    columns: Sequence[Floats]
    quality: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file that belong together. Without `starts` an empty cell says nothing: the reading may be one of another
    stream."""

    label: str
    utc_us: Micros
    columns: Sequence[tuple[Name, Floats]]
    starts: Bools | None = None
    quality: npt.NDArray[np.uint8] | None = None


class Table(Protocol):
    """A file of readings."""

    @property
    def channels(self) -> Sequence[Name]:
        """Those that can be plotted; of a long table none is known before it is read."""
        ...

    @property
    def left_out(self) -> Sequence[str]:
        """A sentence for each column that holds no numbers."""
        ...

    @property
    def names_devices(self) -> bool:
        """Whether it tells several devices apart."""
        ...

    def span_us(self) -> tuple[int, int]:
        """The earliest and the latest time; (0, 0) where there is none."""
        ...

    def rows(self) -> Iterator[Rows]: ...


@dataclass(frozen=True, slots=True)
class _Cells:
    """Some of a column; NaN where a cell is empty."""

    utc_us: Micros
    values: Floats
    quality: npt.NDArray[np.uint8] | None

    def at(self, places: npt.NDArray[Any]) -> _Cells:
        quality = None if self.quality is None else self.quality[places]
        return _Cells(self.utc_us[places], self.values[places], quality)

    def after(self, before: _Cells | None) -> _Cells:
        if before is None or not len(before.utc_us):
            return self
        quality = None
        if self.quality is not None and before.quality is not None:
            quality = np.concatenate([before.quality, self.quality])
        times, values = np.concatenate([before.utc_us, self.utc_us]), np.concatenate([before.values, self.values])
        return _Cells(times, values, quality)


@dataclass(slots=True)
class _Course:
    """One channel of one device, so far. `waiting`: cells of which the next value will tell what they are."""

    last_us: int | None = None
    period_us: float | None = None
    waiting: _Cells | None = None

    def readings(self, cells: _Cells) -> tuple[_Cells, Bools]:
        """The cells that are readings, and where one is not to be joined to the one before."""
        cells = cells.after(self.waiting)
        valued = ~np.isnan(cells.values)
        self._learn(cells.utc_us[valued])
        due, later = self._due(cells.utc_us, valued)
        self.waiting = cells.at(later)
        kept = cells.at(valued | due)
        return kept, self._starts(kept.utc_us)

    def _learn(self, utc_us: Micros) -> None:
        before = utc_us[:0] if self.last_us is None else np.array([self.last_us])
        steps = np.diff(np.concatenate([before, utc_us]))
        if self.period_us is None and len(steps) >= _FEW:
            self.period_us = _period_us(steps)

    def _due(self, utc_us: Micros, valued: Bools) -> tuple[Bools, npt.NDArray[np.int64]]:
        """(which empty cells are missing values, which will be if a value follows at all). One is due a whole number of
        periods after the reading before it, unless that comes a little later: the row is then one of another stream."""
        due = np.zeros(len(utc_us), np.bool_)
        if not self.period_us or valued.all() or (np.diff(utc_us) < 0).any():
            return due, np.empty(0, np.int64)
        empty, found = np.flatnonzero(~valued), utc_us[valued]
        place = np.searchsorted(found, utc_us[empty], side="right")
        first = found[:1] if self.last_us is None else np.array([self.last_us])
        before = np.concatenate([first, found])[place] if len(first) else utc_us[empty]
        after = np.append(found, np.iinfo(np.int64).max)[place]
        periods = (utc_us[empty] - before) / self.period_us
        number = np.rint(periods)
        is_due = (number >= 1) & (np.abs(periods - number) <= _DUE_WITHIN)
        is_due &= after - utc_us[empty] >= self.period_us * _DUE_BEFORE
        chosen = np.flatnonzero(is_due)
        repeated = np.flatnonzero((np.diff(before[chosen]) == 0) & (np.diff(number[chosen]) == 0)) + 1
        chosen = np.delete(chosen, repeated)
        followed = place[chosen] < len(found)
        due[empty[chosen[followed]]] = True
        return due, empty[chosen[~followed]][:_MOST_WAITING]

    def _starts(self, utc_us: Micros) -> Bools:
        if not len(utc_us):
            return np.empty(0, np.bool_)
        before = utc_us[:1] if self.last_us is None else np.array([self.last_us])
        steps = np.diff(np.concatenate([before, utc_us]))
        starts: Bools = steps < 0
        if self.period_us:
            starts |= steps > self.period_us * _MAX_STEP_PERIODS
        if self.last_us is None:
            starts[0] = True
        self.last_us = int(utc_us[-1])
        return starts


def _period_us(steps: npt.NDArray[np.int64]) -> float:
    """The usual distance; 0 where there is none."""
    middle = float(np.median(steps))
    even = np.abs(steps - middle) <= middle * _EVEN_WITHIN
    return middle if middle > 0 and even.mean() >= _EVEN_SHARE else 0.0


@dataclass(slots=True)
class SeriesOf:
    """Makes series of rows, in their order."""

    _courses: dict[tuple[str, Name], _Course] = field(default_factory=dict[tuple[str, Name], _Course])
    _untimed: dict[tuple[str, Name], list[Floats]] = field(default_factory=dict[tuple[str, Name], list[Floats]])

    def series(self, all_rows: Iterable[Rows]) -> Iterator[FileSeries]:
        for rows in all_rows:
            if rows.starts is not None:
                names, columns = [name for name, _ in rows.columns], [column for _, column in rows.columns]
                yield FileSeries(rows.label, names, rows.utc_us, rows.starts, columns, rows.quality)
            else:
                yield from (found for name, column in rows.columns for found in self._alone(rows, name, column))
        for (label, name), parts in self._untimed.items():  # at the end, where they interrupt no line
            values = np.concatenate(parts)
            times, starts = np.full(len(values), NO_TIME, np.int64), np.zeros(len(values), np.bool_)
            yield FileSeries(label, [name], times, starts, [values])

    def _alone(self, rows: Rows, name: Name, column: Floats) -> Iterator[FileSeries]:
        """The readings of one channel."""
        timed = rows.utc_us != NO_TIME
        cells = _Cells(rows.utc_us, column, rows.quality)
        if not timed.all():
            lost = column[~timed & ~np.isnan(column)]
            if len(lost):
                self._untimed.setdefault((rows.label, name), []).append(lost)
            cells = cells.at(timed)
        found, starts = self._courses.setdefault((rows.label, name), _Course()).readings(cells)
        if len(starts):
            yield FileSeries(rows.label, [name], found.utc_us, starts, [found.values], found.quality)
