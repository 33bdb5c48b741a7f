"""Which columns readings have outside the archive: their names, units and types, the same for whatever is read together.

Rule of this module: a column has one unit and one type in all files and tables that share it, since most readers go by
the first file they meet. The name belongs to the unit that was seen first with it; the same name in another unit carries
that unit. Names that differ in case only are told apart too: SQL does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

RESERVED: tuple[str, ...] = (
    "time",
    "error_us",
    "quality",
    "starts",
    "boot",
    "tick",
    "log",
    "device",
    "session",
    "stream",
)


class Kind(IntEnum):
    """What the values of a column are. Of numbers that share a column the widest decides."""

    INT32 = 0
    INT64 = 1
    FLOAT = 2
    BOOL = 3
    TEXT = 4

    @property
    def number(self) -> bool:
        return self <= Kind.FLOAT


@dataclass(frozen=True, slots=True)
class Column:
    """`binary`: the values are multiples of a power of two, so that many of their bits are zero. `optional`: one may be
    missing, of some channel or since a stream has no such channel."""

    name: str
    unit: str
    kind: Kind
    binary: bool
    optional: bool


class _Key(NamedTuple):
    """What makes channels share a column. `nth` counts channels of one name and unit in one stream."""

    name: str
    unit: str
    family: Kind
    nth: int


class Columns:
    """The columns of some streams, of which `wanted` channels (None: all)."""

    def __init__(self, streams: Iterable[Stream], wanted: Collection[str] | None = None) -> None:
        found: dict[_Key, list[Channel]] = {}
        described = list(streams)
        for stream in described:
            for key, channel in zip(_keys(stream.channels), stream.channels, strict=True):
                found.setdefault(key, []).append(channel)
        named = dict(zip(found, _names(found), strict=True))
        chosen = {key: channels for key, channels in found.items() if wanted is None or key.name in wanted}
        self._places = {key: place for place, key in enumerate(chosen)}
        self.all = tuple(_column(named[key], key.unit, channels, len(described)) for key, channels in chosen.items())

    def places(self, stream: Stream, channels: Collection[Channel]) -> list[int]:
        """The number of the column of each of `channels`, which are some of the stream's."""
        keys = zip(_keys(stream.channels), stream.channels, strict=True)
        return [self._places[key] for key, channel in keys if channel in channels]


def _keys(channels: Sequence[Channel]) -> list[_Key]:
    seen: Counter[tuple[str, str, Kind]] = Counter()
    keys: list[_Key] = []
    for channel in channels:
        kind = _kind(channel)
        label = (channel.name, channel.unit, Kind.FLOAT if kind.number else kind)
        keys.append(_Key(*label, seen[label]))
        seen[label] += 1
    return keys


def _kind(channel: Channel) -> Kind:
    if channel.type is ChannelType.ENUM and channel.choices:
        return Kind.TEXT
    if (channel.multiplier, channel.offset, channel.exponent) == (1, 0, 0) and channel.type is ChannelType.BOOL:
        return Kind.BOOL
    if channel.type.is_float or channel.exponent < 0 or channel.calibration:
        return Kind.FLOAT
    ends = [whole_value(channel, raw) for raw in (channel.type.minimum, channel.type.maximum)]
    widths = [
        kind for kind, bits in ((Kind.INT32, 31), (Kind.INT64, 63)) if -(2**bits) <= min(ends) <= max(ends) < 2**bits
    ]
    return widths[0] if widths else Kind.FLOAT


def whole_value(channel: Channel, raw: int) -> int:
    """The value of a channel whose values are whole numbers."""
    power: int = 10**channel.exponent
    return (raw * channel.multiplier + channel.offset) * power


def _names(keys: Iterable[_Key]) -> list[str]:
    """A name for each, no two of them equal to SQL."""
    taken = set(RESERVED)
    names: list[str] = []
    for key in keys:
        plain = key.name or "channel"
        with_unit = f"{plain} [{key.unit}]" if key.unit else plain
        candidates = [plain, with_unit, *(f"{with_unit} {number}" for number in range(2, len(names) + 3))]
        name = next(name for name in candidates if name.lower() not in taken)
        taken.add(name.lower())
        names.append(name)
    return names


def _column(name: str, unit: str, channels: Sequence[Channel], streams: int) -> Column:
    """A stream has no column twice."""
    optional = len(channels) < streams or any(
        channel.type.is_float or channel.missing is not None for channel in channels
    )
    return Column(name, unit, max(map(_kind, channels)), all(map(_is_binary, channels)), optional)


def _is_binary(channel: Channel) -> bool:
    denominator = Fraction(channel.scale).denominator
    return not channel.calibration and (channel.type.is_float or denominator & (denominator - 1) == 0)
