"""Offsets of a time zone from UTC, for whole arrays of moments.

Rule of this module: all is integers, microseconds since 1970, so that no moment is rounded and none is told twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK_US = 7 * 86_400_000_000
_LAST_US = 253_000_000_000_000_000
"""What a calendar holds with any offset: in the year 9987."""
_FEW = 1000


class _Week(NamedTuple):
    """The offset at the beginning of a week, and the one that is in force from `change_us` on; no zone changes twice."""

    before_us: int
    change_us: int
    after_us: int


def offsets_us(tz: tzinfo, utc_us: Ints) -> Ints:
    """The offset in force at each moment."""
    if tz is UTC or not len(utc_us):
        return np.zeros(len(utc_us), np.int64)
    number = utc_us // _WEEK_US
    low, high = int(number.min()), int(number.max())
    if high - low <= _FEW:
        different, index = np.arange(low, high + 1), number - low
    else:
        different, index = np.unique(number, return_inverse=True)
    before, change, after = np.array([_week(tz, week) for week in different.tolist()], np.int64).T
    offsets: Ints = before.take(index)
    changed = utc_us >= change.take(index)
    offsets[changed] = after.take(index)[changed]
    return offsets


@lru_cache(maxsize=4 * _FEW)
def _week(tz: tzinfo, number: int) -> _Week:
    begin, end = number * _WEEK_US, (number + 1) * _WEEK_US
    before, after = _offset_us(tz, begin), _offset_us(tz, end)
    return _Week(before, begin if before == after else _change(tz, begin, end), after)


def _change(tz: tzinfo, before_us: int, after_us: int) -> int:
    """When the offset of `after_us` came into force: zones change on a whole second."""
    low, high = before_us // 1_000_000, after_us // 1_000_000
    offset = _offset_us(tz, after_us)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset_us(tz, middle * 1_000_000) == offset else (middle, high)
    return high * 1_000_000


def _offset_us(tz: tzinfo, utc_us: int) -> int:
    moment = _EPOCH + timedelta(microseconds=min(max(utc_us, 0), _LAST_US))
    return (moment.astimezone(tz).utcoffset() or timedelta()) // timedelta(microseconds=1)
