"""Randomness that is a function: the same numbers for the same seed and place, in whatever order and pieces they are
asked for. So a test can tell what a sensor must have read, and a simulated past does not depend on how it was sampled.

Whole numbers throughout, so that every machine has the same noise.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

# The uniforms of which a normal is the sum: four of 16 bits have this standard deviation.
_SIGMA_OF_FOUR = 2.0**16 * (4 / 12) ** 0.5
_MIDDLE_OF_FOUR = 4 * (2**16 - 1) / 2
_OCTAVE = 4  # each octave of a wander is so many times as quick as the one before
_FINEST_S = 16.0


def stream_seed(*parts: object) -> int:
    """A seed of 64 bits that stands for `parts` together."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def bits(seed: int, place: Integers) -> npt.NDArray[np.uint64]:
    """64 random bits for each place (the finaliser of SplitMix64)."""
    mixed = place.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed & (2**64 - 1))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def uniform(seed: int, place: Integers) -> Floats:
    """From 0 up to 1."""
    return np.ldexp((bits(seed, place) >> np.uint64(11)).astype(np.float64), -53)


def normal(seed: int, place: Integers) -> Floats:
    """Nearly normal, mean 0 and deviation 1, within 3.5 of them."""
    pieces = np.ascontiguousarray(bits(seed, place)).view(np.uint16).reshape(-1, 4)
    total: Floats = pieces.sum(axis=1, dtype=np.float64)
    return (total - _MIDDLE_OF_FOUR) / _SIGMA_OF_FOUR


def wander(seed: int, utc_us: Integers, sigma: float, tau_s: float) -> Floats:
    """A walk around 0 that forgets in about `tau_s`, with the deviation `sigma`: octaves of noise, each between knots,
    whose variances fall with their periods as those of a first-order process do."""
    periods_s = [4.0 * tau_s]
    while periods_s[-1] / _OCTAVE >= _FINEST_S:
        periods_s.append(periods_s[-1] / _OCTAVE)
    total = sum(periods_s)
    result = np.zeros(utc_us.shape)
    for octave, period_s in enumerate(periods_s):
        # Halfway between two knots the deviation is 0.71 of that at one: 2/3 of the variance on the average.
        amplitude = sigma * (1.5 * period_s / total) ** 0.5
        result += amplitude * _between_knots(stream_seed(seed, octave), utc_us, round(period_s * 1e6))
    return result


def _between_knots(seed: int, utc_us: Integers, period_us: int) -> Floats:
    knot, rest = np.divmod(utc_us, period_us)
    start = normal(seed, knot)
    return start + (normal(seed, knot + 1) - start) * (rest / period_us)
