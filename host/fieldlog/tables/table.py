"""What a file of readings is to whoever plots it: batches of rows, and series made of them.

Rule of this module: nothing is made up. Where a file does not say what interrupts a line, readings that came evenly before
are not joined over more than one and a half of their distance; those that did not come evenly are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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


@dataclass(slots=True)
class _Course:
    """One channel of one device, so far."""

    last_us: int | None = None
    period_us: float | None = None

    def starts(self, utc_us: Micros) -> Bools:
        """Where a reading is not to be joined to the one before."""
        before = utc_us[:1] if self.last_us is None else np.array([self.last_us])
        steps = np.diff(np.concatenate([before, utc_us]))
        if self.period_us is None and len(steps) > _FEW:
            self.period_us = _period_us(steps[1:])
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
        """The readings of one channel: cells that are empty are none."""
        valued, timed = ~np.isnan(column), rows.utc_us != NO_TIME
        there = valued & timed
        if not timed.all() and (valued & ~timed).any():
            self._untimed.setdefault((rows.label, name), []).append(column[valued & ~timed])
        if not there.any():
            return
        utc_us = rows.utc_us[there]
        starts = self._courses.setdefault((rows.label, name), _Course()).starts(utc_us)
        quality = None if rows.quality is None else rows.quality[there]
        yield FileSeries(rows.label, [name], utc_us, starts, [column[there]], quality)
