"""The arithmetic of a boot's time between two syncs, and beyond them. Arrays in, arrays out.

Rule of this module: a tick gets the same time whatever other ticks it is asked for with. Work is done in pieces that fit
a cache, in as few steps as it can be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fieldlog.clock_oscillator import Oscillator
from fieldlog.clock_sync import US_PER_TICK, Sync

Ints = npt.NDArray[np.int64]

CHUNK = 1 << 14
_DAY_US = 86_400e6
_BEFORE_ALL = -(2**63)


@dataclass(frozen=True, slots=True)
class Course:
    """From the tick `first` on, x nominal microseconds after `knot`: UTC is `rate` * x later than there, and its error,
    of (c0, c1, c2), is c0 + c1 * x + c2 * x * x."""

    first: int
    knot: Sync
    rate: float
    error: tuple[float, float, float]


def between(left: Sync, right: Sync, oscillator: Oscillator) -> list[Course]:
    """From one knot up to the next: a straight line, and as error what the rate may have wandered meanwhile.

    A rate that changes by r once between two knots takes the truth off the line by r * x * (length - x) / length, at
    most. What comes and goes with the day adds up to no more than its integral over the better half of one.
    """
    length_us = (right.tick - left.tick) * US_PER_TICK
    rate, rise = ((right.utc_us - left.utc_us) / length_us, (right.error_us - left.error_us) / length_us)
    seasonal, daily = 1e-6 * oscillator.seasonal_ppm / length_us, 2e-6 * oscillator.daily_ppm / length_us
    most_us = _DAY_US / math.pi * 1e-6 * oscillator.daily_ppm

    def course(first: int, bow: float, more_us: float) -> Course:
        return Course(first, left, rate, (left.error_us + more_us, rise + bow * length_us, -bow))

    middle_us = length_us / 2
    beyond_us2 = middle_us * middle_us - most_us / daily if daily else 0.0
    if beyond_us2 <= 0:
        return [course(left.tick, seasonal + daily, 0)]
    reach_us = math.sqrt(beyond_us2)
    ends = [left.tick + math.ceil(end_us / US_PER_TICK) for end_us in (middle_us - reach_us, middle_us + reach_us)]
    return [
        course(left.tick, seasonal + daily, 0),
        course(ends[0], seasonal, most_us),
        course(ends[1], seasonal + daily, 0),
    ]


def before(knot: Sync, rate: float, growth_ppm: float) -> list[Course]:
    """Before the first knot: an error that grows with the distance."""
    return [Course(_BEFORE_ALL, knot, rate, (knot.error_us, -growth_ppm / 1e6, 0))]


def after(knot: Sync, rate: float, growth_ppm: float) -> list[Course]:
    """From the last knot on: the same."""
    return [Course(knot.tick, knot, rate, (knot.error_us, growth_ppm / 1e6, 0))]


def fill(courses: Sequence[Course], ticks: Ints, utc: Ints, error: Ints) -> None:
    """Times of `ticks`, which ascend, put into `utc` and `error`."""
    edges = np.searchsorted(ticks, [course.first for course in courses[1:]]).tolist()
    for course, (start, stop) in zip(courses, pairwise([0, *edges, len(ticks)]), strict=True):
        for at in range(start, stop, CHUNK):
            some = slice(at, min(at + CHUNK, stop))
            _fill(course, ticks[some], utc[some], error[some])


def _fill(course: Course, ticks: Ints, utc: Ints, error: Ints) -> None:
    constant, linear, square = course.error
    x = (ticks - course.knot.tick) * US_PER_TICK
    found = x * square
    found += linear
    found *= x
    found += constant
    error[:] = np.ceil(found, out=found)
    x *= course.rate
    utc[:] = np.rint(x, out=x)
    utc += course.knot.utc_us
