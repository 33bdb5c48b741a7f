"""What the oscillators of devices can do: figures, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Oscillator:
    """What a device's clock may do, in parts per million."""

    limit_ppm: float
    """Two syncs that imply more than this cannot both be right."""
    tolerance_ppm: float
    """Rate against nominal, temperature included."""
    change_ppm: float
    """Rate now against a rate measured under other conditions."""
    daily_ppm: float
    """How far days and nights, sun and shade, take the rate off its mean; over a day they cancel out."""
    seasonal_ppm: float
    """How far the mean of a day goes with weather and season, between two syncs."""


CRYSTAL = Oscillator(limit_ppm=500, tolerance_ppm=100, change_ppm=70, daily_ppm=30, seasonal_ppm=15)
RC = Oscillator(limit_ppm=50_000, tolerance_ppm=50_000, change_ppm=20_000, daily_ppm=10_000, seasonal_ppm=5_000)
_WORST_PPM = 100_000


def oscillator_of(ppm: float | None) -> Oscillator:
    """What a clock does that may be off by `ppm`, as its device says; None: a crystal.

    A crystal's temperature tells more than the figure on its package, and an RC clock's is in proportion to it.
    """
    if ppm is None or ppm <= CRYSTAL.limit_ppm:
        return CRYSTAL
    bound = min(ppm, _WORST_PPM)
    share = bound / RC.tolerance_ppm
    return Oscillator(
        limit_ppm=max(bound, RC.limit_ppm),
        tolerance_ppm=bound,
        change_ppm=share * RC.change_ppm,
        daily_ppm=share * RC.daily_ppm,
        seasonal_ppm=share * RC.seasonal_ppm,
    )
