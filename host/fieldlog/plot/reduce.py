"""From any number of readings to what a screen can show, with every extreme kept and no gap joined.

A column of pixels shows the lowest, the mean and the highest of the readings that fall into it. Two columns are joined
only when the last reading of one and the first of the next belong to the same run. Readings come in batches of any size:
what is kept of a batch does not grow with it. A batch may be reduced in any thread; `Gathered` takes them in their order.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.plot.trace import NO_TIME, Bools, Floats, Micros, Trace

Numbers = npt.NDArray[Any]
"""Values as they are kept: whole numbers, or floats with NaN where one is missing."""
Spans = tuple[Micros, Micros]
"""(begins, ends)."""

_RAW_PER_COLUMN = 3
"""Up to so many readings for each column are drawn as they are."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is drawn of one trace, in time order within a run; `starts` where the line is interrupted. Of values that hold
    until the next `last` is the one that each column ends with: their line has steps, and goes through no mean."""

    utc_us: Micros
    low: Floats
    mean: Floats
    high: Floats
    starts: Bools
    reduced: bool
    last: Floats | None = None

    @property
    def level(self) -> Floats:
        """What the line goes through."""
        return self.mean if self.last is None else self.last

    def course(self) -> tuple[Micros, Floats]:
        """(times, values) of the line, with NaN where it is interrupted."""
        return self.joined(self.mean) if self.last is None else self._stepped(self.last, self.last)

    def strokes(self) -> tuple[Micros, Floats]:
        """(times, values) from lowest to highest, column by column; between columns of held values there is none."""
        apart = self if self.last is None else replace(self, starts=np.ones(len(self.starts), np.bool_))
        return apart.joined(self.low, self.high)

    def edge(self, row: Floats) -> tuple[Micros, Floats]:
        """(times, values) along an extreme of each column."""
        return self.joined(row) if self.last is None else self._stepped(self.last, row)

    def _stepped(self, last: Floats, row: Floats) -> tuple[Micros, Floats]:
        """At each column `row`, and then `last`, which holds up to the next one of the run."""
        ends = np.where(np.append(self.starts[1:], True), self.utc_us, np.append(self.utc_us[1:], self.utc_us[-1:]))
        times = np.stack([self.utc_us, self.utc_us, ends], axis=1).ravel()
        values = np.stack([row, last, last], axis=1).ravel()
        breaks = np.flatnonzero(self.starts[1:]) + 1
        return np.insert(times, breaks * 3, self.utc_us[breaks]), np.insert(values, breaks * 3, np.nan)

    def joined(self, *rows: Floats) -> tuple[Micros, Floats]:
        """(times, values) of the points of `rows` column by column, with NaN where the line is interrupted."""
        times = np.repeat(self.utc_us, len(rows))
        values = np.stack(rows, axis=1).ravel()
        breaks = np.flatnonzero(self.starts[1:]) + 1
        at = breaks * len(rows)
        return np.insert(times, at, self.utc_us[breaks]), np.insert(values, at, np.nan)

    def alone(self) -> tuple[Micros, Floats]:
        """The points with no neighbour to draw a line to."""
        lonely = self.starts & np.append(self.starts[1:], True)
        return self.utc_us[lonely], self.level[lonely]


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that readings of one channel shall not pass: from above, or `below` it."""

    channel: str
    value: float
    below: bool = False

    def passed(self, values: Numbers) -> Bools:
        found: Bools = values < self.value if self.below else values > self.value
        return found


class Grid:
    """The columns of a picture: `n_columns` of even width between two times."""

    def __init__(self, begin_us: int, end_us: int, n_columns: int) -> None:
        self.begin_us, self.end_us = begin_us, max(end_us, begin_us + 1)
        self.n_columns = n_columns
        self._found = threading.local()
        steps = np.arange(1, n_columns) * ((self.end_us - begin_us) / n_columns)
        self._edges: Micros = begin_us + np.ceil(steps).astype(np.int64)

    @property
    def column_us(self) -> float:
        return (self.end_us - self.begin_us) / self.n_columns

    @property
    def most_raw(self) -> int:
        """Up to so many readings are drawn as they are."""
        return _RAW_PER_COLUMN * self.n_columns

    def cells(self, utc_us: Micros) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._edges, utc_us, side="right")

    def firsts(self, utc_us: Micros) -> npt.NDArray[np.int64]:
        """Where the column is another than that of the reading before; `utc_us` is not empty.

        The channels of a stream share their times, so that what was found for the same array is given again.
        """
        last: tuple[Micros, npt.NDArray[np.int64]] | None = getattr(self._found, "last", None)
        if last is None or last[0] is not utc_us:
            last = self._found.last = (utc_us, self._firsts(utc_us))
        return last[1]

    def _firsts(self, utc_us: Micros) -> npt.NDArray[np.int64]:
        if (utc_us[1:] >= utc_us[:-1]).all():
            found = np.unique(np.searchsorted(utc_us, self._edges))
            return np.concatenate([[0], found[(found > 0) & (found < len(utc_us))]])
        return np.flatnonzero(np.diff(self.cells(utc_us), prepend=-1))


@dataclass(frozen=True, slots=True)
class Reduced:
    """Consecutive columns of a batch, or of several: for each its number, first and last time, and its values; `final` is
    the last of these."""

    cell: npt.NDArray[np.int64]
    first_us: Micros
    last_us: Micros
    low: Floats
    high: Floats
    total: Floats
    count: npt.NDArray[np.int64]
    starts: Bools
    final: Floats


@dataclass(frozen=True, slots=True)
class Piece:
    """What a batch adds to one trace. `raw` is None where the batch alone is too large to be drawn as it is.

    `squares`: sum of the squared distances from `level`. `passed_us`: for each limit, how long it was passed; a reading
    stands for the time up to the next one of its run.
    """

    columns: Reduced
    runs: Spans
    raw: tuple[Micros, Numbers, Bools] | None
    n_missing: int
    level: float
    squares: float
    passed_us: tuple[int, ...]
    passed_last: tuple[bool, ...]
    broken_after: bool

    @property
    def count(self) -> int:
        return int(self.columns.count.sum())


def runs(utc_us: Micros, starts: Bools) -> Spans:
    """(begins, ends) of the runs; what stands before the first start is one too."""
    if not len(utc_us):
        return utc_us, utc_us
    first = np.flatnonzero(starts)
    if not len(first) or first[0]:
        first = np.concatenate([[0], first])
    return utc_us[first], utc_us[np.append(first[1:], len(utc_us)) - 1]


def join_runs(parts: Sequence[Spans], joined: Sequence[bool]) -> Spans:
    """The spans of several parts; the first of a part that is `joined` goes on where the last of the one before ended."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    begins = [begin[1:] if on else begin for (begin, _), on in zip(parts, joined, strict=True)]
    ends = [end[:-1] if on else end for (_, end), on in zip(parts, [*joined[1:], False], strict=True)]
    return np.concatenate(begins), np.concatenate(ends)


def known(utc_us: Micros, values: Numbers, starts: Bools) -> tuple[Micros, Numbers, Bools]:
    """Those with a value and a known time; what follows one that is left out starts anew. What is infinite is none: no axis
    could show it, and it would leave nothing of a mean."""
    there: Bools = utc_us != NO_TIME
    if values.dtype.kind == "f":
        there &= np.isfinite(values)
    if there.all():
        return utc_us, values, starts
    group = np.cumsum(starts | np.concatenate([[False], ~there[:-1]]))[there]
    opened = np.diff(group, prepend=0) != 0
    return utc_us[there], values[there], opened


def present(trace: Trace) -> tuple[Micros, Floats, Bools]:
    """(times, values, starts) without missing values and unknown times; what they interrupted starts anew."""
    starts = np.zeros(len(trace.values), dtype=np.bool_) if trace.starts is None else trace.starts.copy()
    starts[:1] = True
    return known(trace.utc_us, trace.values, starts)


def piece(
    utc_us: Micros, values: Numbers, starts: Bools, grid: Grid, limits: tuple[Limit, ...] = (), *, spread: bool = False
) -> Piece | None:
    """A batch of one trace, reduced; None where no reading of it has both a value and a known time.

    Where `starts[0]` is false the batch goes on where the one before ended. `spread`: `squares` are wanted. A reading whose
    time is not known is no missing value.
    """
    n_readings, all_us = len(values), utc_us
    broken_after = n_readings > 0 and not len(known(utc_us[-1:], values[-1:], starts[-1:])[0])
    utc_us, values, starts = known(utc_us, values, starts)
    if not len(values):
        return None
    level = float(values[0]) if spread else 0.0
    return Piece(
        columns=_reduced(utc_us, values, starts, grid),
        runs=runs(utc_us, starts),
        raw=(utc_us, values, starts) if len(values) <= grid.most_raw else None,
        n_missing=int(np.count_nonzero(all_us != NO_TIME)) - len(values) if len(values) < n_readings else 0,
        level=level,
        squares=float(np.square(values - level).sum()) if spread else 0.0,
        passed_us=tuple(_passed_us(utc_us, values, starts, limit) for limit in limits),
        passed_last=tuple(bool(limit.passed(values[-1:])[0]) for limit in limits),
        broken_after=broken_after,
    )


def _opened(found: Piece) -> Piece:
    """The same, beginning anew."""
    if found.columns.starts[0]:
        return found
    starts = found.columns.starts.copy()
    starts[0] = True
    raw = found.raw
    if raw is not None:
        raw = (raw[0], raw[1], raw[2].copy())
        raw[2][0] = True
    return replace(found, columns=replace(found.columns, starts=starts), raw=raw)


def _reduced(utc_us: Micros, values: Numbers, starts: Bools, grid: Grid) -> Reduced:
    first = grid.firsts(utc_us)
    last = np.append(first[1:], len(utc_us)) - 1
    exact = np.int64 if values.dtype.kind in "iu" else np.float64
    return Reduced(
        cell=grid.cells(utc_us[first]),
        first_us=utc_us[first],
        last_us=utc_us[last],
        low=np.minimum.reduceat(values, first).astype(np.float64),
        high=np.maximum.reduceat(values, first).astype(np.float64),
        total=np.add.reduceat(values, first, dtype=exact).astype(np.float64),
        count=last - first + 1,
        starts=starts[first],
        final=values[last].astype(np.float64),
    )


def _passed_us(utc_us: Micros, values: Numbers, starts: Bools, limit: Limit) -> int:
    counted = limit.passed(values[:-1]) & ~starts[1:]
    return int((utc_us[1:] - utc_us[:-1])[counted].sum())


class Gathered:
    """Takes the pieces of one trace in their order."""

    def __init__(self, grid: Grid, n_limits: int = 0) -> None:
        self._most_raw = grid.most_raw
        self._columns: list[Reduced] = []
        self._runs: list[Spans] = []
        self._raw: list[tuple[Micros, Numbers, Bools]] | None = []
        self._moments: list[tuple[int, float, float, float]] = []
        self._last: Piece | None = None
        self.held = False
        self.count = 0
        self.n_missing = 0
        self.passed_us = [0] * n_limits

    def add(self, found: Piece | None, n_missing: int = 0) -> None:
        """The next piece; None where none of its readings, `n_missing`, has a value."""
        self.n_missing += n_missing if found is None else found.n_missing
        if found is None:
            self._last = None if n_missing else self._last
            return
        before, self._last = self._last, None if found.broken_after else found
        if before is None or found.columns.starts[0]:
            found = _opened(found)
        else:
            self._stretch_to(found, before)
        self.count += found.count
        self._columns.append(found.columns)
        self._runs.append(found.runs)
        self.passed_us = [a + b for a, b in zip(self.passed_us, found.passed_us, strict=True)]
        self._moments.append((found.count, found.level, float(found.columns.total.sum()), found.squares))
        self._keep_raw(found)

    def interrupt(self) -> None:
        """What follows must not be joined to what came before."""
        self._last = None

    def _stretch_to(self, found: Piece, before: Piece) -> None:
        step_us = int(found.columns.first_us[0] - before.columns.last_us[-1])
        self.passed_us = [
            us + (step_us if last else 0) for us, last in zip(self.passed_us, before.passed_last, strict=True)
        ]

    def _keep_raw(self, found: Piece) -> None:
        if self._raw is not None and found.raw is not None and self.count <= self._most_raw:
            self._raw.append(found.raw)
        else:
            self._raw = None

    @property
    def runs(self) -> Spans:
        """The spans of time without a break."""
        joined = [not columns.starts[0] for columns in self._columns]
        return join_runs(self._runs, joined)

    @property
    def mean(self) -> float:
        return sum(total for _, _, total, _ in self._moments) / self.count

    @property
    def deviation(self) -> float:
        """The standard deviation; where the pieces were made with `spread`."""
        mean = self.mean
        parts = (
            squares - 2 * (mean - level) * (total - n * level) + n * (mean - level) ** 2
            for n, level, total, squares in self._moments
        )
        return float(np.sqrt(max(0.0, sum(parts)) / self.count))

    @property
    def columns(self) -> Columns:
        """What is drawn; there is a reading at least."""
        if self._raw is not None:
            utc_us, values, starts = (np.concatenate(arrays) for arrays in zip(*self._raw, strict=True))
            plain: Floats = values.astype(np.float64)
            last = plain if self.held else None
            return Columns(utc_us, plain, plain, plain, starts.astype(np.bool_), reduced=False, last=last)
        return _merged(self._columns, held=self.held)


def _merged(parts: list[Reduced], *, held: bool) -> Columns:
    """Neighbours of one column become one."""
    cell, first_us, last_us, low, high, total, count, starts, final = (
        np.concatenate([getattr(part, name) for part in parts]) for name in Reduced.__slots__
    )
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    last = np.append(first[1:], len(cell)) - 1
    return Columns(
        utc_us=first_us[first] + (last_us[last] - first_us[first]) // 2,
        low=np.minimum.reduceat(low, first),
        mean=np.add.reduceat(total, first) / np.add.reduceat(count, first),
        high=np.maximum.reduceat(high, first),
        starts=starts[first].astype(np.bool_),
        reduced=True,
        last=final[last] if held else None,
    )


def reduce(trace: Trace, begin_us: int, end_us: int, n_columns: int) -> Columns:
    """`trace` between two times in at most about `n_columns` columns; as it is when it has no more than three times that."""
    grid = Grid(begin_us, end_us, n_columns)
    gathered = Gathered(grid)
    gathered.add(piece(*present(trace), grid))
    return gathered.columns


def uncovered(all_spans: list[Spans]) -> Spans:
    """(begins, ends) of the times, between the first and the last reading, that none of the spans covers."""
    begins = np.concatenate([begin for begin, _ in all_spans])
    ends = np.concatenate([end for _, end in all_spans])
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    open_after = np.flatnonzero(begins[1:] > ends[:-1])
    return ends[open_after], begins[open_after + 1]
