"""Syncs that do not rule each other out, and yet imply a rate that the oscillator hardly has. No I/O here.

Either a computer's clock was wrong, or the oscillator is out of its figures. As long as nobody knows which, the error
covers both; a second stretch of the same rate beside the first shows that it is the oscillator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from fieldlog.clock_oscillator import Oscillator
from fieldlog.clock_sync import US_PER_TICK, Sync

_NOTABLE_US = (
    1_000_000  # less comes from a computer's clock that is just being set right: covered, and not worth a word
)


@dataclass(frozen=True, slots=True)
class Strain:
    """Between two knots next to each other: the rate that they imply, and by how much at least that is too much.

    `margin_us` is how far from the truth the line may be at either of them; `confirmed`: another stretch has that rate.
    """

    left: Sync
    right: Sync
    ppm: float
    excess_ppm: float
    margin_us: int
    confirmed: bool

    @property
    def notable(self) -> bool:
        return self.margin_us > _NOTABLE_US


def strains(knots: Sequence[Sync], oscillator: Oscillator) -> list[Strain]:
    """Where knots in tick order, no two of them too close to tell a rate, imply more than the oscillator's tolerance."""
    stretches = list(pairwise(knots))
    beside = zip([None, *stretches], stretches, [*stretches[1:], None], strict=False)
    return [
        found
        for before, here, after in beside
        if (found := _strain(here, [other for other in (before, after) if other], oscillator)) is not None
    ]


def widened(knots: Sequence[Sync], found: Iterable[Strain]) -> tuple[Sync, ...]:
    """The knots with an error that covers the strains on either side of them."""
    margins: dict[Sync, int] = {}
    for strain in found:
        for knot in (strain.left, strain.right):
            margins[knot] = max(margins.get(knot, 0), strain.margin_us)
    return tuple(replace(knot, error_us=knot.error_us + margins.get(knot, 0)) for knot in knots)


def _strain(here: tuple[Sync, Sync], beside: Iterable[tuple[Sync, Sync]], oscillator: Oscillator) -> Strain | None:
    elapsed_us, ppm, doubt_ppm = _rate(here)
    excess_ppm = abs(ppm) - doubt_ppm - oscillator.tolerance_ppm
    if excess_ppm <= 0:
        return None
    confirmed = any(_same_rate(here, other, oscillator.change_ppm) for other in beside)
    # one clock right and the other wrong: the true rate may be anything that the oscillator does
    margin_ppm = excess_ppm if confirmed else abs(ppm) + oscillator.tolerance_ppm
    return Strain(*here, ppm, excess_ppm, math.ceil(elapsed_us * margin_ppm / 1e6), confirmed)


def _rate(stretch: tuple[Sync, Sync]) -> tuple[float, float, float]:
    """(elapsed_us, by how many ppm UTC runs faster than the ticks, give or take how many)."""
    left, right = stretch
    elapsed_us = (right.tick - left.tick) * US_PER_TICK
    ppm = ((right.utc_us - left.utc_us) / elapsed_us - 1) * 1e6
    return elapsed_us, ppm, (left.error_us + right.error_us) / elapsed_us * 1e6


def _same_rate(here: tuple[Sync, Sync], other: tuple[Sync, Sync], change_ppm: float) -> bool:
    """Whether two stretches differ by no more than temperature can do, errors counted against them."""
    (_, ppm, doubt_ppm), (_, other_ppm, other_doubt_ppm) = _rate(here), _rate(other)
    return abs(ppm - other_ppm) + doubt_ppm + other_doubt_ppm <= change_ppm
