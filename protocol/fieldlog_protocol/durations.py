"""Durations as people write them, on both ends: 10s, 1min, 1.5h, 2h30min, 30d; and periods, as 100Hz too."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from fieldlog_protocol.errors import UsageError

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 7 * 86_400_000_000,
}
_ALIASES = {"µs": "us"}
_RATE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(k?)hz", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]+)\s*", re.ASCII)


_MOST_CHARACTERS = 100
"""Longer than whatever somebody means; numbers without end would be told in sentences without end."""


def parse_duration_us(text: str) -> int:
    """Microseconds in "30d", "16ms", "1.5h" or "2h30min"; UsageError for anything else, a bare number included."""
    words = text.strip()
    if len(words) > _MOST_CHARACTERS:
        raise UsageError(f"{words[:20]!r}... is no duration: no more than {_MOST_CHARACTERS} characters make one")
    parts = list(_PART.finditer(words))
    units = [_ALIASES.get(part[2], part[2]) for part in parts]
    whole = "".join(part[0] for part in parts) == words
    if not parts or not whole or not _UNITS_US.keys() >= set(units):
        raise UsageError(f"{text!r} is no duration: write a number and one of {', '.join(_UNITS_US)}, such as 10min")
    return round(sum(Decimal(part[1]) * _UNITS_US[unit] for part, unit in zip(parts, units, strict=True)))


def parse_period_us(text: str) -> int:
    """The same of a sampling period, which may be given as a rate such as "100Hz"; UsageError where that is no whole number
    of microseconds."""
    words = text.strip()
    rate = _RATE.fullmatch(words) if len(words) <= _MOST_CHARACTERS else None
    if rate is None:
        return parse_duration_us(text)
    per_s = Fraction(rate[1]) * (1000 if rate[2] else 1)
    if not per_s:
        raise UsageError(f"{words} is no sampling rate: it would never take a reading")
    period_us = 1_000_000 / per_s
    if period_us.denominator != 1:
        raise UsageError(f"{words} {_no_whole(period_us)}")
    return int(period_us)


def _no_whole(period_us: Fraction) -> str:
    """Why a period cannot be had, and the nearest ones that can."""
    least = period_us.numerator // period_us.denominator
    near = [f"{us}us ({_rate_text(us)})" for us in (least, least + 1) if us]
    return f"is no whole number of microseconds between readings: write {' or '.join(near)}"


def _rate_text(period_us: int) -> str:
    return f"{1_000_000 / period_us:.9g} Hz"


def duration_text(microseconds: int) -> str:
    """In the largest unit that gives a whole number."""
    unit = next(name for name, size in reversed(_UNITS_US.items()) if microseconds % size == 0)
    return f"{microseconds // _UNITS_US[unit]} {unit}"
