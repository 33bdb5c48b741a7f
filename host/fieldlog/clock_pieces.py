"""The arithmetic of a boot's time between two syncs, and beyond them. Arrays in, arrays out.

Rule of this module: a tick gets the same time whatever other ticks it is asked for with. Microseconds are nominal ones
since the line's origin on the way in, and of UTC since then on the way out; work is done in pieces that fit a cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

CHUNK = 1 << 14
_DAY_US = 86_400e6


@dataclass(frozen=True, slots=True)
class Between:
    """From one knot up to the next: a straight line, and as error what the rate may have wandered meanwhile.

    A rate that changes by r once between two knots takes the truth off the line by r times `bow`, at most. What comes
    and goes with the day adds up to no more than its integral over the better half of one.
    """

    first_us: float
    last_us: float
    utc_us: tuple[int, int]
    error_us: tuple[int, int]
    daily_ppm: float
    seasonal_ppm: float

    def fill(self, x: Floats, utc: Ints, error: Ints) -> None:
        length_us = self.last_us - self.first_us
        x -= self.first_us
        bow = length_us - x
        bow *= x  # times `length_us`, by which all that it is multiplied with is divided
        daily = bow * (2e-6 * self.daily_ppm / length_us)
        np.minimum(daily, _DAY_US / math.pi * 1e-6 * self.daily_ppm, out=daily)
        bow *= 1e-6 * self.seasonal_ppm / length_us
        bow += daily
        np.multiply(x, (self.error_us[1] - self.error_us[0]) / length_us, out=daily)
        daily += self.error_us[0]
        bow += daily
        error[:] = np.ceil(bow, out=bow)
        x *= (self.utc_us[1] - self.utc_us[0]) / length_us
        x += self.utc_us[0]
        utc[:] = np.rint(x, out=x)


@dataclass(frozen=True, slots=True)
class Beyond:
    """Before the first knot or from the last one on: UTC per nominal time, and an error that grows with the distance."""

    end_us: float
    utc_us: int
    error_us: int
    rate: float
    growth_ppm: float

    def fill(self, x: Floats, utc: Ints, error: Ints) -> None:
        x -= self.end_us
        far = np.abs(x)
        far *= self.growth_ppm / 1e6
        far += self.error_us
        error[:] = np.ceil(far, out=far)
        x *= self.rate
        x += self.utc_us
        utc[:] = np.rint(x, out=x)


def fill(piece: Between | Beyond, ticks: Ints, us_per_tick: float, utc: Ints, error: Ints) -> None:
    """Times of `ticks` since the origin, put into `utc` and `error`."""
    for start in range(0, len(ticks), CHUNK):
        some = slice(start, start + CHUNK)
        piece.fill(np.multiply(ticks[some], us_per_tick, dtype=np.float64), utc[some], error[some])
