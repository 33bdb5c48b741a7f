"""Channels and their calibrations, by the names that files give them.

Rule: no I/O. A channel is meant by its own name where that is the only one, else by stream/channel.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from msgspec import structs

from fieldlog.config.model import ChannelKey, Coefficients
from fieldlog.config.schema import nearest
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import MAX_COEFFICIENTS, Channel
from fieldlog_protocol.errors import UsageError


@dataclass(frozen=True, slots=True)
class NamedChannel:
    """A channel of a device. `stream_id` and `position` are how the device names it."""

    key: ChannelKey
    stream_id: int
    position: int
    channel: Channel


def named_channels(streams: Sequence[StreamInfo]) -> Iterator[NamedChannel]:
    """All channels, in the device's order."""
    for stream in streams:
        for position, channel in enumerate(stream.channels):
            yield NamedChannel(ChannelKey(stream.name, channel.name), stream.id, position, channel)


def find_channel(name: str, streams: Sequence[StreamInfo]) -> NamedChannel:
    """The channel of that name, or of that stream/channel; raises UsageError for none and for more than one."""
    known = list(named_channels(streams))
    found = [channel for channel in known if name in (channel.key.channel, str(channel.key))]
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(str(channel.key) for channel in found)
        raise UsageError(f"the device has more than one channel {name!r}: {both}. Name the stream too")
    names = [name for channel in known for name in (channel.key.channel, str(channel.key))]
    hint = nearest(name, names) or "It has " + ", ".join(map(str, (channel.key for channel in known)))
    raise UsageError(f"the device has no channel {name!r}. {hint}")


def with_calibrations(streams: Sequence[StreamInfo], wanted: Mapping[ChannelKey, Coefficients]) -> list[StreamInfo]:
    """The streams as they will be when their channels have these calibrations."""
    return [
        replace(
            stream,
            channels=tuple(
                structs.replace(
                    channel, calibration=wanted.get(ChannelKey(stream.name, channel.name), channel.calibration)
                )
                for channel in stream.channels
            ),
        )
        for stream in streams
    ]


def short_name(channel: NamedChannel, streams: Sequence[StreamInfo]) -> str | None:
    """The shortest name by which it is found; None where nothing tells it from another."""
    for name in (channel.key.channel, str(channel.key)):
        try:
            if find_channel(name, streams) == channel:
                return name
        except UsageError:
            continue
    return None


def coefficients(name: str, channel: Channel, value: object) -> Coefficients:
    """A calibration as a file gives it; raises UsageError for what is none."""
    if not isinstance(value, list):
        raise UsageError(f"{name} cannot be {value!r}: a calibration is a list of numbers, constant first")
    numbers = tuple(_number(name, item) for item in cast("list[object]", value))
    if numbers and not channel.calibratable:
        raise UsageError(f"{name} cannot be calibrated: its values are names, not numbers")
    if numbers and not any(numbers[1:]) and not holds(channel.calibration, numbers):
        raise UsageError(
            f"{name} cannot be {value!r}: that would make every reading {numbers[0]:g}. An offset is [{numbers[0]:g}, 1]"
        )
    if len(numbers) > MAX_COEFFICIENTS:
        raise UsageError(f"{name} has {len(numbers)} coefficients, and a calibration has up to {MAX_COEFFICIENTS}")
    return numbers


def _number(name: str, item: object) -> float:
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        shown = str(item).lower() if isinstance(item, bool) else repr(item)
        raise UsageError(f"{name} has a coefficient {shown}, which is no number")
    try:
        number = float(item)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UsageError(f"{name} has a coefficient {number}, and calibrations are finite")
    return number


def holds(present: Coefficients, wanted: Coefficients) -> bool:
    """Whether a device that may keep 32-bit floats has these coefficients already."""
    return len(present) == len(wanted) and all(
        has in (wish, _as_f32(wish)) for has, wish in zip(present, wanted, strict=True)
    )


def _as_f32(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return number
