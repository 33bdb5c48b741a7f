"""From any number of readings to what a screen can show, with every extreme kept and no gap joined.

A column of pixels shows the lowest, the mean and the highest of the readings that fall into it. Two columns are joined
only when the last reading of one and the first of the next belong to the same run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldlog.plot.trace import NO_TIME, Bools, Floats, Micros, Trace


@dataclass(frozen=True, slots=True)
class Columns:
    """What is drawn of one trace, in time order within a run; `starts` where the line is interrupted."""

    utc_us: Micros
    low: Floats
    mean: Floats
    high: Floats
    starts: Bools
    reduced: bool

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
        return self.utc_us[lonely], self.mean[lonely]


def present(trace: Trace) -> tuple[Micros, Floats, Bools]:
    """(times, values, starts) without missing values and unknown times; what they interrupted starts anew."""
    known = ~np.isnan(trace.values) & (trace.utc_us != NO_TIME)
    starts = np.zeros(len(known), dtype=np.bool_) if trace.starts is None else trace.starts
    run = np.cumsum(starts | np.concatenate([[True], ~known[:-1]]))[known]
    return trace.utc_us[known], trace.values[known], np.diff(run, prepend=-1) != 0


def reduce(trace: Trace, begin_us: int, end_us: int, n_columns: int) -> Columns:
    """`trace` between two times in at most about `n_columns` columns; as it is when it has no more than three times that."""
    utc_us, values, starts = present(trace)
    if len(values) <= 3 * n_columns:
        return Columns(utc_us, values, values, values, starts, reduced=False)
    column = ((utc_us - begin_us) * (n_columns / max(end_us - begin_us, 1))).astype(np.int64)
    first = np.flatnonzero(np.diff(column, prepend=-1))
    run = np.cumsum(starts)
    last = np.append(first[1:], len(values)) - 1
    count = last - first + 1
    return Columns(
        utc_us=utc_us[first] + (utc_us[last] - utc_us[first]) // 2,
        low=np.minimum.reduceat(values, first),
        mean=np.add.reduceat(values, first) / count,
        high=np.maximum.reduceat(values, first),
        starts=np.concatenate([[True], run[first[1:]] != run[last[:-1]]]),
        reduced=True,
    )


def uncovered(all_traces: list[Trace]) -> tuple[Micros, Micros]:
    """(begins, ends) of the times, between the first and the last reading, in which no trace has a run."""
    spans = [_runs(trace) for trace in all_traces]
    begins = np.concatenate([begin for begin, _ in spans])
    ends = np.concatenate([end for _, end in spans])
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    open_after = np.flatnonzero(begins[1:] > ends[:-1])
    return ends[open_after], begins[open_after + 1]


def _runs(trace: Trace) -> tuple[Micros, Micros]:
    utc_us, _, starts = present(trace)
    first = np.flatnonzero(starts)
    last = np.append(first[1:], len(utc_us))[: len(first)] - 1
    return utc_us[first], utc_us[last]
