"""Durations as people write them, on both ends: 10s, 1min, 1.5h, 2h30min, 30d."""

from __future__ import annotations

import re
from decimal import Decimal

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


def duration_text(microseconds: int) -> str:
    """In the largest unit that gives a whole number."""
    unit = next(name for name, size in reversed(_UNITS_US.items()) if microseconds % size == 0)
    return f"{microseconds // _UNITS_US[unit]} {unit}"
