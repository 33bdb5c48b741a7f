"""Readings over even steps of time: how many, their mean, the lowest and the highest.

Rule of this module: it knows arrays only. It streams: a step is told as soon as a later one begins, and memory holds one
open step. A step without readings is not there; nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog.zone_offsets import offsets_us
from fieldlog_protocol.durations import duration_text
from fieldlog_protocol.errors import UsageError

Ints: TypeAlias = npt.NDArray[np.int64]
Numbers: TypeAlias = npt.NDArray[Any]
Bools: TypeAlias = npt.NDArray[np.bool_]

DAY_US = 86_400_000_000
_MONDAY_US = 4 * DAY_US  # 1970-01-05
_UNKNOWN = np.iinfo(np.int64).min  # what NaT is


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of `us` microseconds on the clocks of a zone: days begin at its midnight, weeks on Monday.

    Where clocks are put forward or back in the middle of a step it is an hour shorter or longer; an hour that comes twice
    is two of an hour.
    """

    us: int
    tz: tzinfo = UTC

    def __post_init__(self) -> None:
        if self.us <= 0 or (DAY_US % self.us if self.us < DAY_US else self.us % DAY_US):
            raise UsageError(
                f"steps of {duration_text(self.us)} do not fill a day: take a part of it, such as 10min, 1h or 6h, or "
                "whole days"
            )

    def begin(self, utc_us: Ints) -> Ints:
        """When the step of each moment begins, in UTC."""
        offset = offsets_us(self.tz, utc_us)
        local = (utc_us + offset - _MONDAY_US) // self.us * self.us + _MONDAY_US
        begin = local - offset
        if self.tz is UTC:
            return begin
        # the clocks may have been changed since
        return local - offsets_us(self.tz, begin)

    def end(self, begin_us: Ints) -> Ints:
        """When the next step after each of those that begin then begins."""
        later = self.begin(begin_us + self.us + self.us // 2)
        before = self.begin(later - 1)  # what follows an hour that was left out may be shorter than half a step
        return np.where(before == begin_us, later, before)

    def joins(self, begin_us: Ints) -> Bools:
        """Of steps in order, whether each follows the one before without an empty one in between; the first does not."""
        joined = np.zeros(len(begin_us), np.bool_)
        joined[1:] = self.begin(begin_us[1:] - 1) == begin_us[:-1]
        return joined


@dataclass(frozen=True, slots=True)
class Stepped:
    """One channel over some steps. All arrays are as long as there are steps; where `count` is 0 the others mean nothing.

    `total` is the sum; `lowest` and `highest` have the type of the values.
    """

    count: Ints
    total: Numbers
    lowest: Numbers
    highest: Numbers

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """NaN where there was no value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: npt.NDArray[np.float64] = self.total / self.count
        return found

    def part(self, part: slice) -> Stepped:
        return Stepped(self.count[part], self.total[part], self.lowest[part], self.highest[part])


@dataclass(frozen=True, slots=True)
class Resampled:
    """Steps, in order of the readings, that had at least one: when each begins in UTC, and every channel over them."""

    begin_us: Ints
    channels: list[Stepped]

    def __len__(self) -> int:
        return len(self.begin_us)

    def part(self, part: slice) -> Resampled:
        return Resampled(self.begin_us[part], [channel.part(part) for channel in self.channels])


class Resampler:
    """Feed it readings, batch after batch in order of time; then `rest` is the last step.

    Where time goes back a step that was told already may come again, with what came later.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._open: Resampled | None = None

    def feed(self, utc_us: Ints, columns: Sequence[Numbers], known: Sequence[Bools | None] | None = None) -> Resampled:
        """The steps that are complete. `columns` are integers or floats, each as long as the times; `known` tells which of
        their values are there: None, all of them. NaN and what is infinite never are. A reading whose time is NaT is in no step."""
        timed = utc_us != _UNKNOWN
        given = [_known(*pair) & timed for pair in zip(columns, known or [None] * len(columns), strict=True)]
        begin = self._steps.begin(utc_us[timed])
        found = _reduced(begin, [column[timed] for column in columns], [flags[timed] for flags in given])
        if not len(found):
            return found
        if self._open is not None:
            found = _continued(self._open, found)
        self._open = found.part(slice(len(found) - 1, None))
        return found.part(slice(0, len(found) - 1))

    def rest(self) -> Resampled | None:
        """The step that is still open; then nothing is."""
        found, self._open = self._open, None
        return found


def _known(column: Numbers, known: Bools | None) -> Bools:
    there = np.ones(len(column), np.bool_) if known is None else known
    return there & np.isfinite(column) if column.dtype.kind == "f" else there


def _reduced(begin_us: Ints, columns: Sequence[Numbers], known: Sequence[Bools]) -> Resampled:
    first = np.flatnonzero(np.diff(begin_us, prepend=begin_us[:1] - 1))
    return Resampled(begin_us[first], [_stepped(*pair, first) for pair in zip(columns, known, strict=True)])


def _stepped(column: Numbers, known: Bools, first: Ints) -> Stepped:
    if not len(first):
        return Stepped(first, column[:0], column[:0], column[:0])
    limits: Any = np.finfo(column.dtype) if column.dtype.kind == "f" else np.iinfo(column.dtype)
    zero, least, most = (column.dtype.type(number) for number in (0, limits.min, limits.max))
    everything = bool(known.all())
    summed = column if everything else np.where(known, column, zero)
    return Stepped(
        np.add.reduceat(known, first, dtype=np.int64),
        np.add.reduceat(summed, first, dtype=_sum_type(column)),
        np.minimum.reduceat(column if everything else np.where(known, column, most), first),
        np.maximum.reduceat(column if everything else np.where(known, column, least), first),
    )


def _sum_type(column: Numbers) -> Any:
    """Integers add up exactly, unless a sum of so large ones could pass the end of their type."""
    return np.int64 if column.dtype.kind in "iub" and column.dtype.itemsize <= 4 else np.float64


def _continued(before: Resampled, now: Resampled) -> Resampled:
    """The step that was open, and what came after: one step where they are the same."""
    if before.begin_us[-1] != now.begin_us[0]:
        pairs = zip(before.channels, now.channels, strict=True)
        return Resampled(np.concatenate([before.begin_us, now.begin_us]), [_chained(*pair) for pair in pairs])
    for old, new in zip(before.channels, now.channels, strict=True):
        new.count[0] += old.count[-1]
        new.total[0] += old.total[-1]
        new.lowest[0] = min(new.lowest[0], old.lowest[-1])
        new.highest[0] = max(new.highest[0], old.highest[-1])
    return now


def _chained(before: Stepped, now: Stepped) -> Stepped:
    pairs = ((getattr(part, name) for part in (before, now)) for name in ("count", "total", "lowest", "highest"))
    return Stepped(*(np.concatenate(list(pair)) for pair in pairs))
