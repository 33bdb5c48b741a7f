"""Times as cells: ISO 8601 in any zone, by integer arithmetic and tables of days and seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from functools import cache

import numpy as np

from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.export.cells import Cells, Ints, cells_of, repeated, side_by_side
from fieldlog.export.texts import TimeUnit
from fieldlog.zone_offsets import offsets_us

_DAY_S = 86_400
_FEW = 256


def time_cells(utc_us: Ints, unit: TimeUnit, tz: tzinfo, *, separator: str = "T", offset: bool = True) -> Cells:
    """2013-07-01T12:00:00+02:00 with as many decimals as the unit has, `offset` or not; empty where it is unknown.

    What is finer than the unit is cut off, never rounded: no time is shown beyond an end that it lies before.
    """
    known = utc_us != UNKNOWN_TIME
    if not known.any():
        return np.zeros((len(utc_us), 0), np.uint8)
    moments = np.where(known, utc_us, utc_us[known][0])
    offset_us = offsets_us(tz, moments)
    local_s, fraction_us = np.divmod(moments + offset_us, 1_000_000)
    day, second = np.divmod(local_s, _DAY_S)
    parts = [_each(day, _day_texts), repeated(separator, len(day)), _clock().take(second, axis=0)]
    parts += _fraction(fraction_us, unit)
    if offset:
        parts.append(_each(offset_us, _offset_texts))
    cells = side_by_side(parts)
    cells[~known] = 0
    return cells


def _each(numbers: Ints, texts: Callable[[Ints], list[str]]) -> Cells:
    """Of numbers of which many are the same each is put into text once."""
    low, high = int(numbers.min()), int(numbers.max())
    if high - low <= _FEW:
        return cells_of(texts(np.arange(low, high + 1))).take(numbers - low, axis=0)
    different, index = np.unique(numbers, return_inverse=True)
    return cells_of(texts(different)).take(index, axis=0)


def _day_texts(days: Ints) -> list[str]:
    texts: list[str] = np.datetime_as_string(days.view("datetime64[D]")).tolist()
    return texts


def _offset_texts(offset_us: Ints) -> list[str]:
    return [offset_text(us) for us in offset_us.tolist()]


def offset_text(offset_us: int) -> str:
    """+02:00; with seconds where a zone of long ago had some."""
    seconds = abs(offset_us) // 1_000_000
    shown = f"{'-' if offset_us < 0 else '+'}{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
    return f"{shown}:{seconds % 60:02d}" if seconds % 60 else shown


@cache
def _clock() -> Cells:
    """hh:mm:ss of each second of a day."""
    second = np.arange(_DAY_S)
    hh, mm, ss = (_numbers(2).take(part, axis=0) for part in (second // 3600, second // 60 % 60, second % 60))
    colon = repeated(":", _DAY_S)
    return side_by_side([hh, colon, mm, colon, ss])


@cache
def _numbers(digits: int) -> Cells:
    """All numbers of so many digits, with leading zeros."""
    return cells_of([f"{number:0{digits}d}" for number in range(10**digits)])


def _fraction(fraction_us: Ints, unit: TimeUnit) -> list[Cells]:
    if unit == "s":
        return []
    ms, us = np.divmod(fraction_us, 1000)
    point = repeated(".", len(ms))
    thousandths = _numbers(3).take(ms, axis=0)
    return [point, thousandths] if unit == "ms" else [point, thousandths, _numbers(3).take(us, axis=0)]
