"""Values, units and sparklines as a live view writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fieldlog.text import printable
from fieldlog.unit_signs import unit_sign
from fieldlog_protocol.blocks.schema import Channel

SPARKS = "▁▂▃▄▅▆▇█"
PLAIN_SPARKS = "_.-=+*#@"
_MOST_DECIMALS = 9
_WIDEST = 14
"""Digits that are still read; greater numbers are written with an exponent."""


def unit_text(channel: Channel) -> str:
    return printable(unit_sign(channel.unit))


def value_text(channel: Channel, value: float) -> str:
    """With as many decimals as its steps call for; "-" where it is missing."""
    if math.isnan(value):
        return "-"
    if math.isinf(value) or channel.type.is_float:
        return f"{value:.6g}"
    text = f"{value:.{_decimals(channel)}f}"
    return text if len(text) <= _WIDEST else f"{value:.6g}"


def _decimals(channel: Channel) -> int:
    """Enough to tell two steps of the raw value apart."""
    step = abs(float(channel.scale))
    if len(channel.calibration) > 1 and channel.calibration[1]:
        step *= abs(channel.calibration[1])
    return min(max(0, math.ceil(-math.log10(step) - 1e-9)), _MOST_DECIMALS)


def spark(values: Sequence[float], marks: str = SPARKS) -> str:
    """A mark for each value between the lowest and the highest of them, blank for NaN; a line that is level is low."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(_mark(value, low, high, marks) for value in values)


def _mark(value: float, low: float, high: float, marks: str) -> str:
    if math.isnan(value):
        return " "
    span = high - low
    share = (value - low) / span if span > 0 and math.isfinite(span) else 0.0
    return marks[min(max(int(share * len(marks)), 0), len(marks) - 1) if math.isfinite(share) else -1]


def age_text(seconds: float) -> str:
    """How long ago: whole seconds, minutes or hours."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
