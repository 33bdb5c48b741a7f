"""What stands at the ticks of a value axis: every label is whole, so that nothing has to be added to it in the mind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from fieldlog.plot.style import clean

_PLAIN_FROM, _PLAIN_BELOW = 1e-3, 1e7
_MAX_DECIMALS = 17
_LEAST_EXPONENT = -306  # smaller powers of ten are not exact enough to divide by
_MOST_OF_WORD = 16


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """`value`, one of `ticks`, with the decimals that tell them apart and, where large or small, a power of 1000."""
    exponent = _exponent(max(map(abs, ticks), default=0.0))
    decimals = _decimals(ticks, exponent)
    if 0 < exponent <= decimals:  # large and close together: shorter in full
        exponent, decimals = 0, _decimals(ticks, 0)
    scale = 10.0**exponent
    digits = f"{value / scale:.{decimals}f}"
    if not float(digits):
        return "0"
    return digits.replace("-", "\N{MINUS SIGN}") + (f"e{exponent}" if exponent else "")


def state_text(value: float, words: Sequence[str]) -> str:
    """The word of a state, its number where it has none, and nothing between two states."""
    number = round(value)
    if abs(value - number) > 1e-6:
        return ""
    return clean(words[number], _MOST_OF_WORD) if 0 <= number < len(words) and words[number] else str(number)


def _exponent(largest: float) -> int:
    if largest == 0 or _PLAIN_FROM <= largest < _PLAIN_BELOW:
        return 0
    return max(3 * math.floor(math.log10(largest) / 3), _LEAST_EXPONENT)


def _decimals(ticks: Sequence[float], exponent: int) -> int:
    """The fewest that give every tick, in that power of ten, within a hundredth of the distance between them."""
    scaled = [tick / 10.0**exponent for tick in ticks]
    steps = [abs(b - a) for a, b in pairwise(scaled) if a != b]
    tolerance = min(steps, default=abs(scaled[0]) if scaled else 0.0) / 100
    enough = (n for n in range(_MAX_DECIMALS) if all(abs(round(tick, n) - tick) <= tolerance for tick in scaled))
    return next(enough, _MAX_DECIMALS)
