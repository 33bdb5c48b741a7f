"""From a CSV file to sensors: which columns are channels, how they are grouped into streams, and when rows are read.

Rule of this module: what is left out, sorted or rounded is reported; what is broken is refused.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.schema import MAX_COLUMNS, ChannelType, Stream
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.log_store import BLOCK_SIZE
from fieldlog_sim.noise import Integers
from fieldlog_sim.replay.numbers import Series, is_numeric, parse_column, to_series
from fieldlog_sim.replay.player import ReplaySensor, Timeline, live_start
from fieldlog_sim.replay.table import Column, Table, read_table
from fieldlog_sim.replay.times import read_times, unreadable_time
from fieldlog_sim.sensors import Raw

_SECOND_US = 1_000_000
_EQUAL_US = _SECOND_US / TICK_HZ  # steps that differ by no more are the same to a device
_GAP = 1.5  # periods; a shorter step is jitter
# A gap ends a block: where more steps than this are gaps, blocks would stay nearly empty.
_GAPS = 0.02
_BLOCK_FRAMES = 1000  # of an irregular stream, at most, whose times one block must be able to tell


@dataclass(frozen=True, slots=True)
class Replay:
    """A file ready to be replayed. `report` says what was not taken as it stands."""

    sensors: tuple[ReplaySensor, ...]
    report: tuple[str, ...]
    period_us: int
    _timeline: Timeline

    @property
    def start_us(self) -> int:
        """A moment before the first reading."""
        return self._timeline.first_us - _SECOND_US

    @property
    def end_us(self) -> int:
        """A moment after the last reading, and before the next."""
        return self._timeline.last_us + min(self.period_us // 2, _SECOND_US)

    @property
    def rows(self) -> int:
        return len(self._timeline.utc_us)

    def continue_at(self, utc_us: int) -> None:
        """The device is ready at `utc_us`: soon after it the file is read over again, and not before. The first call
        counts, so that devices that share a file read it together."""
        if self._timeline.live_us is None:
            self._timeline.live_us = live_start(self._timeline, utc_us, self.period_us)


def load_replay(
    path: Path,
    *,
    period_us: int | None = None,
    units: Mapping[str, str] | None = None,
    now_us: int | None = None,
) -> Replay:
    """UsageError, with the line, where the file cannot be replayed.

    `period_us` spaces the rows of a file without times; such a file, and one whose times count from an unknown
    beginning, is laid so that it ends at `now_us`, default the present.
    """
    table, cut = _without_a_torn_time(read_table(path))
    utc_us, time_columns, notes = _times(table, period_us, now_us)
    order, sorting = _order(utc_us)
    utc_us = utc_us[order]
    series, reports = _series(table, time_columns, units or {})
    step_us, regular = _steps(utc_us)
    timeline = Timeline(utc_us, int(utc_us[-1] - utc_us[0]) + (step_us or _SECOND_US))
    groups = _groups(series, step_us, regular=regular)
    sensors = tuple(
        ReplaySensor(
            _stream(number, len(groups), group, step_us, regular=regular),
            timeline,
            _stacked(group, order),
        )
        for number, group in enumerate(groups)
    )
    return Replay(sensors, (*table.notes, *cut, *notes, *sorting, *reports), step_us or _SECOND_US, timeline)


def _without_a_torn_time(table: Table) -> tuple[Table, tuple[str, ...]]:
    """A file that ends in the midst of a row's time, or before it, does not tell when that row was read."""
    if table.torn_cells is None:
        return table, ()
    whole = table.without_last_row()
    times = read_times(whole)
    if times is None or max(times.columns) < table.torn_cells - 1:
        return table, ()
    return whole, ("the last row ends before its time does: it is left out",)


def _times(
    table: Table, period_us: int | None, now_us: int | None
) -> tuple[Integers, tuple[int, ...], tuple[str, ...]]:
    """Instants of the rows in the file's order, the columns they came from, and what is to be said about them."""
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    times = read_times(table)
    if times is not None and not times.elapsed:
        ignored = () if period_us is None else ("the file has times of its own: the replay period given is not used",)
        return times.utc_us, times.columns, (*times.notes, *ignored, *_too_early(times.utc_us))
    if times is not None:
        name = table.columns[times.columns[0]].name
        note = f"column {name} counts from an unknown beginning: the last row is laid at the present"
        return times.utc_us + (now_us - int(times.utc_us.max())), times.columns, (note,)
    if period_us is None:
        raise UsageError(_no_time(table))
    if period_us <= 0:
        raise UsageError("the replay period must be longer than nothing")
    return now_us - period_us * np.arange(table.rows - 1, -1, -1, dtype=np.int64), (), ()


def _too_early(utc_us: Integers) -> tuple[str, ...]:
    rows = int((utc_us < 0).sum())
    if not rows:
        return ()
    return (f"{rows} of {len(utc_us)} rows are from before 1970, which no device can tell: their times are lost",)


def _no_time(table: Table) -> str:
    reason = unreadable_time(table) or "no column holds times"
    return (
        f"{table.path}: {reason}. Nothing was replayed; write times as ISO 8601, such as 2013-01-01T06:00:00Z, as "
        "31.12.2013 06:00:00, or as seconds since 1970, or tell the time between rows with --replay-period."
    )


def _order(utc_us: Integers) -> tuple[Integers, tuple[str, ...]]:
    backwards = int((np.diff(utc_us) < 0).sum())
    order = np.argsort(utc_us, kind="stable")
    if not backwards:
        return order, ()
    return order, (f"the rows were not in the order of time at {backwards} places: they were sorted",)


def _series(
    table: Table, time_columns: Sequence[int], units: Mapping[str, str]
) -> tuple[list[Series], tuple[str, ...]]:
    """The numeric columns, and what is to be said about all."""
    columns = [column for number, column in enumerate(table.columns) if number not in time_columns]
    _check_units(table, columns, units)
    series: list[Series] = []
    left_out: list[str] = []
    for column in columns:
        parsed = parse_column(column, decimal_comma=table.source.delimiter != ",")
        if is_numeric(parsed):
            unit = units.get(column.name, units.get(column.heading, column.unit))
            series.append(to_series(column.name, unit, parsed))
        else:
            left_out.append(f"column {column.name} holds no numbers: it is left out")
    if not series:
        raise UsageError(f"{table.path} has no column of numbers. Nothing was replayed; give a file with readings.")
    return series, (*left_out, *(note for item in series for note in item.notes))


def _check_units(table: Table, columns: Sequence[Column], units: Mapping[str, str]) -> None:
    known = {column.name for column in columns} | {column.heading for column in columns}
    if unknown := sorted(set(units) - known):
        names = ", ".join(column.name for column in columns)
        raise UsageError(f"{table.path} has no column {unknown[0]!r} that could have a unit. Its columns are: {names}")


def _steps(utc_us: Integers) -> tuple[int, bool]:
    """The period, 0 where there is none, and whether the rows keep to it but for gaps."""
    steps = np.diff(utc_us)
    steps = steps[steps > 0]
    if not len(steps):
        return 0, False
    values, counts = np.unique(steps, return_counts=True)
    period = int(values[np.argmax(counts)])
    equal = np.abs(steps - period) <= _EQUAL_US
    gaps = steps >= _GAP * period
    regular = len(steps) == len(utc_us) - 1 and bool((equal | gaps).all()) and gaps.mean() <= max(_GAPS, 2 / len(steps))
    if regular:
        return period, True
    middle = int(np.median(steps))
    near = np.abs(steps - middle) <= middle / 4
    return (middle if near.mean() >= 0.5 else 0), False


def _groups(series: Sequence[Series], period_us: int, *, regular: bool) -> list[Sequence[Series]]:
    """A row is a frame: the columns in their order, cut only where a frame would not fit a block."""
    groups: list[Sequence[Series]] = []
    while series:
        longest = min(len(series), MAX_COLUMNS)
        fitting = bisect_left(
            range(1, longest + 1), True, key=lambda length: not _fits(series[:length], period_us, regular=regular)
        )
        groups.append(series[:fitting])
        series = series[fitting:]
    return groups


def _stacked(group: Sequence[Series], order: Integers) -> Raw:
    """The columns side by side. No number of numpy's holds both 64-bit integers and floats: together they stay Python's."""
    columns = [item.raw[order] for item in group]
    types = {item.channel.type for item in group}
    if {ChannelType.I64, ChannelType.F32} <= types:
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


def _fits(group: Sequence[Series], period_us: int, *, regular: bool) -> bool:
    try:
        BlockEncoder(_stream(0, 1, group, period_us, regular=regular), BLOCK_SIZE)
    except UsageError:
        return False
    return True


def _stream(number: int, count: int, group: Sequence[Series], period_us: int, *, regular: bool) -> Stream:
    ticks = period_us * TICK_HZ / _SECOND_US
    return Stream(
        id=number,
        name="readings" if count == 1 else f"readings {number + 1}",
        period_us=period_us,
        channels=tuple(item.channel for item in group),
        timed=not regular,
        time_resolution=1 if regular else max(1, ceil(ticks * _BLOCK_FRAMES / 2**32)),
    )
