"""Thresholds as people put them, "temperature=30 Cel", and as a logger compares them: whole raw numbers.

Rule: the raw level is the first one on the asked side of the value, reckoned exactly. What a sensor's numbers can never
be is no threshold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.errors import UsageError

_FORM = re.compile(r"(?P<channel>.+?)\s*=\s*(?P<value>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>.*)")
_SHOWN_AS = {"°C": "Cel", "g": "[g]", "degC": "Cel"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """`level` is a raw number of a channel, by position; it triggers itself, and what is above it, or `below`."""

    stream: int
    channel: int
    level: int
    below: bool


def parse_threshold(text: str, streams: Sequence[StreamInfo], *, below: bool) -> Threshold:
    """CHANNEL=VALUE UNIT on one of these streams; STREAM/CHANNEL where two streams have one of that name."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no threshold: write CHANNEL=VALUE UNIT, such as 'temperature=30 Cel'")
    stream, position = _find(match["channel"], streams)
    channel = stream.channels[position]
    unit = _SHOWN_AS.get(match["unit"], match["unit"])
    if unit and unit != channel.unit:
        raise UsageError(
            f"{match['unit']!r} is not the unit of {channel.name}: give the threshold in {channel.unit or 'no unit'}"
        )
    level, raw_below = raw_level(channel, Decimal(match["value"]), below=below)
    return Threshold(stream.id, position, level, raw_below)


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
    raise UsageError(f"there is {what} in what is to be recorded: {', '.join(known)}")


def raw_level(channel: Channel, value: Decimal, *, below: bool) -> tuple[int, bool]:
    """The raw number from which on a reading is at the value or beyond it, and whether beyond means below it."""
    if channel.type.is_float:
        raise UsageError(f"{channel.name} has floating-point numbers, and a logger compares whole ones only")
    raw = (value.scaleb(-channel.exponent) - channel.offset) / channel.multiplier
    raw_below = turned(channel, below)
    level = int(raw.to_integral_value(ROUND_FLOOR if raw_below else ROUND_CEILING))
    least, most = channel.type.minimum, channel.type.maximum
    reachable = least <= level if raw_below else level <= most
    if not reachable:
        raise UsageError(
            f"{channel.name} can never be at or {'below' if below else 'above'} {_with_unit(value, channel)}: it is "
            f"between {_range_text(channel)}. Nothing was changed"
        )
    return min(max(level, least), most), raw_below


def _range_text(channel: Channel) -> str:
    """What its numbers can be, in its unit."""
    ends = sorted(value_of(channel, raw) for raw in (channel.type.minimum, channel.type.maximum))
    return f"{ends[0]:.15g} and {_with_unit(f'{ends[1]:.15g}', channel)}"


def _with_unit(value: object, channel: Channel) -> str:
    return f"{value} {channel.unit}".rstrip()


def turned(channel: Channel, below: bool) -> bool:
    """Below as readings are or as raw numbers are, made into the other: a negative factor turns them around."""
    return below != (channel.multiplier < 0)


def value_of(channel: Channel, level: int) -> float:
    """The value in the channel's unit that a raw level stands for."""
    return float((Decimal(level) * channel.multiplier + channel.offset).scaleb(channel.exponent))
