"""The last readings of a stream, as a screen or a window needs them, and what all since the beginning add up to.

Rule: bounded memory, and no reading is averaged away: a bin of time shows what lies farthest from the middle of all.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog.live.frames import Frames, Layout

Floats: TypeAlias = npt.NDArray[np.float64]

KEPT = 16_384
"""Frames: 16 s of 1 kHz."""
_RATED = 256
"""Frames that a rate is taken of."""
_STEP_S = 1.0
_GAP = 1.5


@dataclass(slots=True)
class Trail:
    """`total` and `lost` count frames since the beginning; `newest`, `lowest` and `highest` are of each channel, NaN before any."""

    layout: Layout
    total: int = 0
    lost: int = 0
    newest: Floats = field(init=False)
    lowest: Floats = field(init=False)
    highest: Floats = field(init=False)
    _used: int = 0
    _seconds: Floats = field(init=False)
    _values: Floats = field(init=False)

    def __post_init__(self) -> None:
        channels = len(self.layout.positions)
        self.newest = np.full(channels, np.nan)
        self.lowest = np.full(channels, np.nan)
        self.highest = np.full(channels, np.nan)
        self._seconds = np.empty(2 * KEPT)
        self._values = np.empty((channels, 2 * KEPT))

    @property
    def seconds(self) -> Floats:
        """UTC of the readings kept, oldest first."""
        return self._seconds[: self._used]

    @property
    def values(self) -> Floats:
        """(channels, readings kept)."""
        return self._values[:, : self._used]

    @property
    def rate_hz(self) -> float:
        """Frames a second lately, 0 while it is not known."""
        apart_s = np.diff(self.seconds[-_RATED:])
        if not len(apart_s):
            return 0.0
        usual = apart_s[apart_s <= _GAP * np.median(apart_s)]  # gaps are no part of it
        return len(usual) / float(usual.sum()) if usual.sum() > 0 else 0.0

    def add(self, frames: Frames) -> None:
        columns = np.array([column[-KEPT:] for column in frames.columns]).reshape(len(frames.columns), -1)
        self.total += len(frames)
        self.lost += frames.lost
        if not len(frames):
            return
        self.newest = columns[:, -1]
        with warnings.catch_warnings():  # of channels whose readings are all missing
            warnings.simplefilter("ignore", RuntimeWarning)
            self.lowest = np.fmin(self.lowest, np.fmin.reduce(columns, axis=1))
            self.highest = np.fmax(self.highest, np.fmax.reduce(columns, axis=1))
        self._keep(frames.utc_us[-KEPT:] / 1e6, columns)

    def forget(self) -> None:
        """Drop what is kept: it cannot be compared with what comes."""
        self._used = 0

    def _keep(self, seconds: Floats, columns: Floats) -> None:
        """In order of time, also where the clock was found to be a little off; after a greater step nothing before it
        is kept."""
        if self._used and seconds[0] < self.seconds[-1]:
            if seconds[0] < self.seconds[-1] - _STEP_S:
                self.forget()
            else:
                seconds = np.maximum(seconds, self.seconds[-1])
        if self._used + len(seconds) > 2 * KEPT:
            kept = slice(self._used - KEPT, self._used)
            self._seconds[:KEPT] = self._seconds[kept].copy()
            self._values[:, :KEPT] = self._values[:, kept].copy()
            self._used = KEPT
        place = slice(self._used, self._used + len(seconds))
        self._seconds[place] = seconds
        self._values[:, place] = columns
        self._used = place.stop

    def bins(self, count: int, window_s: float, now_s: float) -> Floats:
        """(channels, count) of the last `window_s` up to now, NaN where nothing was read; at most a bin for each reading.

        Bins lie at whole multiples of their width, so that what was shown moves on and does not change.
        """
        width_s = max(window_s / count, 1 / self.rate_hz if self.rate_hz else 0.0)
        last = math.floor(now_s / width_s)
        number = np.floor(self.seconds / width_s).astype(np.int64) - (last - count + 1)
        begin = int(np.searchsorted(number, 0))
        end = int(np.searchsorted(number, count))
        return _farthest(self.values[:, begin:end], number[begin:end], count)


def _farthest(values: Floats, number: npt.NDArray[np.int64], count: int) -> Floats:
    """Of each bin the value farthest from the middle of all."""
    shown = np.full((len(values), count), np.nan)
    if not len(number):
        return shown
    starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
    low = np.fmin.reduceat(values, starts, axis=1)
    high = np.fmax.reduceat(values, starts, axis=1)
    with np.errstate(all="ignore"):
        middle = (np.fmin.reduce(low, axis=1) + np.fmax.reduce(high, axis=1))[:, None] / 2
        shown[:, number[starts]] = np.where(high - middle >= middle - low, high, low)
    return shown
