"""Durations as people write them, on both ends: 10s, 1min, 1.5h, 30d."""

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
_PATTERN = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]+)", re.ASCII)


def parse_duration_us(text: str) -> int:
    """Microseconds in "30d", "16ms", "10min" or "1.5h"; UsageError for anything else, a bare number included."""
    match = _PATTERN.fullmatch(text.strip())
    unit = _ALIASES.get(match[2], match[2]) if match else ""
    if match is None or unit not in _UNITS_US:
        raise UsageError(f"{text!r} is no duration: write a number and one of {', '.join(_UNITS_US)}, such as 10min")
    return round(Decimal(match[1]) * _UNITS_US[unit])


def duration_text(microseconds: int) -> str:
    """In the largest unit that gives a whole number."""
    unit = next(name for name, size in reversed(_UNITS_US.items()) if microseconds % size == 0)
    return f"{microseconds // _UNITS_US[unit]} {unit}"
