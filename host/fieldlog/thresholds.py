"""Thresholds as people put them, "temperature=30 Cel", and as a logger compares them: whole raw numbers.

Rule: the raw level is the first one on the asked side of the value, reckoned exactly, also from another unit, or by the
channel's calibration where it has one. What a sensor's numbers can never be is no threshold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, inf

from fieldlog.config.schema import nearest
from fieldlog.config.units import code, convert, unit_name
from fieldlog.recording import StreamInfo
from fieldlog.text import printable
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.errors import UsageError

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?"
_FORM = re.compile(rf"(?P<channel>.+?)\s*=\s*(?P<value>{_NUMBER})\s*(?P<unit>.*)")
_POWERS = str.maketrans("²³", "23")
_GRAVITY = "g", "[g]"
"""As people write it, who do not mean grams, and its UCUM code."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """`level` is a raw number of a channel, by position; it triggers itself, and what is above it, or `below`."""

    stream: int
    channel: int
    level: int
    below: bool


def parse_threshold(text: str, streams: Sequence[StreamInfo], *, below: bool) -> Threshold:
    """CHANNEL=VALUE UNIT on one of these streams, in any unit that measures the same; STREAM/CHANNEL where two streams have
    one of that name."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no threshold: write CHANNEL=VALUE UNIT, such as 'temperature=30 Cel'")
    stream, position = _find(match["channel"], streams)
    channel = stream.channels[position]
    level, raw_below = raw_level(channel, _in_own_unit(channel, match["value"], match["unit"]), below=below)
    return Threshold(stream.id, position, level, raw_below)


def _in_own_unit(channel: Channel, number: str, typed: str) -> Fraction:
    """The value in the channel's unit, which is meant where none is typed."""
    if _is_unit_of(channel, typed):
        return Fraction(number)
    try:
        return convert(Fraction(number), typed.translate(_POWERS), channel.unit.translate(_POWERS))
    except UsageError as error:
        raise UsageError(f"{channel.name} cannot be compared with '{number} {printable(typed)}': {error}") from None


def _is_unit_of(channel: Channel, typed: str) -> bool:
    """Whether what is typed is the channel's own unit, however either spells it."""
    own, typed = channel.unit.translate(_POWERS), typed.translate(_POWERS)
    return typed in ("", own, unit_name(own)) or code(typed) == code(own) or (typed, own) == _GRAVITY


def _find(name: str, streams: Sequence[StreamInfo]) -> tuple[StreamInfo, int]:
    found = [
        (stream, position)
        for stream in streams
        for position, channel in enumerate(stream.channels)
        if name in (channel.name, f"{stream.name}/{channel.name}")
    ]
    if len(found) == 1:
        return found[0]
    known = [f"{stream.name}/{channel.name}" for stream in streams for channel in stream.channels]
    what = f"more than one channel {name!r}" if found else f"no channel {name!r}"
    hint = "" if found else nearest(name, [channel.name for stream in streams for channel in stream.channels])
    raise UsageError(f"there is {what} in what is to be recorded: {', '.join(known)}. {hint}".rstrip(". "))


def raw_level(channel: Channel, value: Fraction | Decimal, *, below: bool) -> tuple[int, bool]:
    """The raw number from which on a reading is at the value or beyond it, and whether beyond means below it."""
    if channel.type.is_float:
        raise UsageError(f"{channel.name} has floating-point numbers, and a logger compares whole ones only")
    raw_below = turned(channel, below)
    least, most = _reach(channel)
    exact = Fraction(value)
    level = _calibrated_level(channel, exact, below=below) if channel.calibration else _level(channel, exact, raw_below)
    reachable = least <= level if raw_below else level <= most
    if not reachable:
        raise UsageError(
            f"{channel.name} can never be at or {'below' if below else 'above'} "
            f"{_with_unit(f'{_float(exact):.15g}', channel)}: it is between {_range_text(channel)}. Nothing was changed"
        )
    return min(max(level, least), most), raw_below


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def _level(channel: Channel, value: Fraction, raw_below: bool) -> int:
    raw = (value / Fraction(10) ** channel.exponent - channel.offset) / channel.multiplier
    return floor(raw) if raw_below else ceil(raw)


def _reach(channel: Channel) -> tuple[int, int]:
    """Between which raw numbers readings are. A calibration holds where its sensor does."""
    least, most = channel.type.minimum, channel.type.maximum
    if not channel.calibration or channel.minimum is None or channel.maximum is None:
        return least, most
    ends = [_level(channel, Fraction(str(value)), raw_below=False) for value in (channel.minimum, channel.maximum)]
    return max(least, min(ends)), min(most, max(ends))


def _calibrated_level(channel: Channel, value: Fraction, *, below: bool) -> int:
    """By halving what is between the raw numbers that are not there yet and those that are."""
    _require_one_way(channel)
    wanted = _float(value)
    least, most = _reach(channel)
    yet, there = (most + 1, least - 1) if turned(channel, below) else (least - 1, most + 1)
    while abs(yet - there) > 1:
        raw = (yet + there) // 2
        reading = value_of(channel, raw)
        if reading <= wanted if below else reading >= wanted:
            there = raw
        else:
            yet = raw
    return there


def _require_one_way(channel: Channel) -> None:
    """A calibration that turns around has no level from which on all readings are beyond a value."""
    from numpy.polynomial.polynomial import polyder, polyroots, polyval

    ends = sorted(_scaled(channel, raw) for raw in _reach(channel))
    slope = polyder(channel.calibration) if len(channel.calibration) > 1 else [0.0]
    roots = sorted(root.real for root in polyroots(slope) if ends[0] < root.real < ends[1])
    pieces = pairwise([ends[0], *roots, ends[1]])
    if len({bool(polyval((low + high) / 2, slope) > 0) for low, high in pieces}) > 1 or not any(slope):
        raise UsageError(
            f"the calibration of {channel.name} does not rise or fall all the way, so no threshold of its sensor stands for "
            "a value. Nothing was changed; see `fieldlog calibrate`"
        )


def _range_text(channel: Channel) -> str:
    """What its numbers can be, in its unit."""
    ends = sorted(value_of(channel, raw) for raw in _reach(channel))
    return f"{ends[0]:.15g} and {_with_unit(f'{ends[1]:.15g}', channel)}"


def _with_unit(value: object, channel: Channel) -> str:
    return f"{value} {channel.unit}".rstrip()


def turned(channel: Channel, below: bool) -> bool:
    """Below as readings are or as raw numbers are, made into the other: a negative factor turns them around."""
    if not channel.calibration:
        return below != (channel.multiplier < 0)
    least, most = _reach(channel)
    return below != (value_of(channel, most) < value_of(channel, least))


def value_of(channel: Channel, level: int) -> float:
    """The value in the channel's unit that a raw level stands for."""
    scaled = _scaled(channel, level)
    if not channel.calibration:
        return scaled
    value = 0.0
    for coefficient in reversed(channel.calibration):
        value = value * scaled + coefficient
    return value


def _scaled(channel: Channel, level: int) -> float:
    return float((Decimal(level) * channel.multiplier + channel.offset).scaleb(channel.exponent))
