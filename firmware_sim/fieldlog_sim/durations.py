"""Durations and buffer counts as people write them on the simulator's command line."""

from __future__ import annotations

import re
from decimal import Decimal

from fieldlog_protocol.errors import UsageError

_US = {
    "us": 1,
    "µs": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 7 * 86_400_000_000,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]+)", re.ASCII)
_BUFFERS = re.compile(r"(\d+)x(\d+)", re.ASCII)


def parse_duration(text: str) -> int:
    """Microseconds in "30d", "16ms", "10min" or "1.5h"; UsageError for anything else, a bare number included."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or match[2] not in _US:
        raise UsageError(f"{text!r} is no duration: write a number and one of {', '.join(_US)}, such as 10min")
    return round(Decimal(match[1]) * _US[match[2]])


def parse_buffers(text: str) -> tuple[int, int]:
    """Size and number of message buffers in "384x4"."""
    match = _BUFFERS.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} does not tell buffers: write size and number, such as 384x4")
    size, count = int(match[1]), int(match[2])
    if not 64 <= size <= 65_535 or not 2 <= count <= 255:  # a request and its reply each take one
        raise UsageError(f"{text!r}: a buffer has 64 to 65535 bytes, and there are 2 to 255 of them")
    return size, count
