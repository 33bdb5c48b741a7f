"""What the raw numbers of a log mean: channels, streams, and the SCHEMA blocks that carry their description.

Rule of this module: a description is data with exact arithmetic. A channel's value is

    (raw * multiplier + offset) * 10 ** exponent

in whole numbers up to the last step, so that 3902 at exponent -2 is the float 39.02 and nothing near it. Where the
channel is calibrated its polynomial of that is the value, in float64; the raw numbers stay what the sensor gave. The same
structs are the public types and, under their one- and two-letter keys, the CBOR of a SCHEMA block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fieldlog_protocol.blocks import cbor
from fieldlog_protocol.blocks.block import TICK_HZ, Block, Kind, capacity
from fieldlog_protocol.errors import BlockError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_COLUMNS = 255
MAX_PARTS = 0xFFFF
MAX_COEFFICIENTS = 8
"""Of a channel's calibration."""
_EXACT_FLOAT = 2**53
_EXACT_POWER = 22  # 10 ** 22 is the greatest power of ten that a float64 holds exactly


class _Representation(NamedTuple):
    dtype: str
    minimum: int
    maximum: int
    packable: bool


class ChannelType(IntEnum):
    """How a raw value is stored. A bool is 0 or 1, an enum the index of one of the channel's `choices`."""

    I8 = 0
    I16 = 1
    I32 = 2
    U8 = 3
    U16 = 4
    U32 = 5
    BOOL = 6
    ENUM = 7
    F32 = 8
    I64 = 9

    @property
    def dtype(self) -> str:
        """The little-endian numpy type code."""
        return _REPRESENTATIONS[self].dtype

    @property
    def minimum(self) -> int:
        return _REPRESENTATIONS[self].minimum

    @property
    def maximum(self) -> int:
        return _REPRESENTATIONS[self].maximum

    @property
    def is_float(self) -> bool:
        return self is ChannelType.F32

    @property
    def packable(self) -> bool:
        """Whether the packed encoding can hold it: integers of at most 32 bits."""
        return _REPRESENTATIONS[self].packable


_REPRESENTATIONS = {
    ChannelType.I8: _Representation("<i1", -(2**7), 2**7 - 1, True),
    ChannelType.I16: _Representation("<i2", -(2**15), 2**15 - 1, True),
    ChannelType.I32: _Representation("<i4", -(2**31), 2**31 - 1, True),
    ChannelType.U8: _Representation("<u1", 0, 2**8 - 1, True),
    ChannelType.U16: _Representation("<u2", 0, 2**16 - 1, True),
    ChannelType.U32: _Representation("<u4", 0, 2**32 - 1, True),
    ChannelType.BOOL: _Representation("<u1", 0, 1, True),
    ChannelType.ENUM: _Representation("<u1", 0, 2**8 - 1, True),
    ChannelType.F32: _Representation("<f4", 0, 0, False),
    ChannelType.I64: _Representation("<i8", -(2**63), 2**63 - 1, False),
}


_CHANNEL_KEYS = {
    "name": "n",
    "unit": "u",
    "type": "t",
    "multiplier": "m",
    "exponent": "e",
    "offset": "o",
    "missing": "x",
    "minimum": "lo",
    "maximum": "hi",
    "choices": "c",
    "calibration": "p",
}


class Channel(msgspec.Struct, frozen=True, omit_defaults=True, rename=_CHANNEL_KEYS):
    """One measured quantity.

    `unit` is UCUM text. `missing` is the raw value that means "no reading". `minimum` and `maximum` bound what the
    sensor can mean, in the unit. `choices` name the values of an enum. `calibration` is a polynomial of what is described
    so far, in the unit, its constant first; empty for a channel that is not calibrated.
    """

    name: str
    unit: str
    type: ChannelType
    multiplier: int = 1
    exponent: int = 0
    offset: int = 0
    missing: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    calibration: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.missing is not None and not self.type.minimum <= self.missing <= self.type.maximum:
            raise UsageError(f"channel {self.name}: the missing value {self.missing} is no {self.type.name}")
        if self.type.is_float and self.missing is not None:
            raise UsageError(f"channel {self.name}: a float needs no missing value, it has NaN")
        if self.multiplier == 0 or max(abs(self.multiplier), abs(self.offset)) >= 2**63 or abs(self.exponent) > 30:
            raise UsageError(f"channel {self.name}: {self.multiplier}e{self.exponent} is no usable scale")
        if self.calibration:
            self._require_polynomial()

    def _require_polynomial(self) -> None:
        if not self.calibratable:
            raise UsageError(f"channel {self.name}: a {self.type.name.lower()} has names for values and no calibration")
        if len(self.calibration) > MAX_COEFFICIENTS or not all(map(math.isfinite, self.calibration)):
            raise UsageError(
                f"channel {self.name}: a calibration has up to {MAX_COEFFICIENTS} finite coefficients, unlike "
                f"{', '.join(f'{number:g}' for number in self.calibration)}"
            )

    @property
    def calibratable(self) -> bool:
        """Whether its values are quantities."""
        return self.type not in (ChannelType.BOOL, ChannelType.ENUM)

    @property
    def scale(self) -> Decimal:
        """What one step of the raw value is worth, in the unit."""
        return Decimal(self.multiplier).scaleb(self.exponent)

    @property
    def decimals(self) -> int:
        """Digits behind the decimal point that a value of this channel can have."""
        return max(0, -self.exponent)

    def value(self, raw: int | float) -> float | None:
        """One reading in the unit; None when it is missing."""
        reading = float(self.values([raw])[0])
        return None if reading != reading else reading  # noqa: PLR0124

    def values(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Readings in the unit as float64, NaN where missing; correctly rounded, where it is not calibrated."""
        import numpy as np

        scaled = self._scaled(np.asarray(raw))
        return polynomial(self.calibration, scaled) if self.calibration else scaled

    def _scaled(self, column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        import numpy as np

        if self.type.is_float:
            return _scaled_floats(self, column)
        if self._fits_floats(column):
            result = _scaled_exactly(self, column)
        else:
            result = np.array([_rational(self, int(item)) for item in column], np.float64)
        if self.missing is not None:
            result[column == self.missing] = np.nan
        return result

    def _fits_floats(self, column: npt.NDArray[Any]) -> bool:
        """Whether the numerator of every value and the power of ten are whole numbers that a float64 holds exactly."""
        largest = max(abs(int(column.min())), abs(int(column.max()))) if column.size else 0
        largest = largest * abs(self.multiplier) + abs(self.offset)
        return largest * 10 ** max(0, self.exponent) <= _EXACT_FLOAT and -self.exponent <= _EXACT_POWER


def _scaled_exactly(channel: Channel, column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """One rounding only, in the division: a product with 0.01 would round twice."""
    import numpy as np

    numerator: npt.NDArray[np.float64] = column.astype(np.float64)
    if channel.multiplier != 1:
        numerator *= float(channel.multiplier)
    if channel.offset:
        numerator += float(channel.offset)
    if channel.exponent < 0:
        numerator /= float(10**-channel.exponent)
    elif channel.exponent > 0:
        numerator *= float(10**channel.exponent)
    return numerator


def _scaled_floats(channel: Channel, column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    import numpy as np

    return (column.astype(np.float64) * channel.multiplier + channel.offset) * float(Decimal(10) ** channel.exponent)


def _rational(channel: Channel, raw: int) -> float:
    numerator = raw * channel.multiplier + channel.offset
    power: int = 10 ** abs(channel.exponent)
    return numerator / power if channel.exponent < 0 else float(numerator * power)


def polynomial(coefficients: Sequence[float], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The value at each x of the polynomial whose constant comes first. What is too large for a float is infinite."""
    import numpy as np

    result = np.zeros_like(x)
    with np.errstate(over="ignore", invalid="ignore"):
        for coefficient in reversed(coefficients):
            result = result * x + coefficient
    return result


TIME_COLUMN = Channel("time", "", ChannelType.U32)


class Stream(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"id": "i", "name": "n", "period_us": "p", "channels": "c", "timed": "t", "time_resolution": "r"},
):
    """Channels that are sampled together, every `period_us` (0 = at no fixed rate).

    An addition to the block format: the payload of a `timed` stream has one more column, the first, with the time of
    each frame in units of `time_resolution` ticks since the block's t0. Without it an event-driven or jittery series
    would need a block per frame, since a block knows only its first and last instant; packed double deltas make the
    column nearly free while the series is regular.
    """

    id: int
    name: str
    period_us: int
    channels: tuple[Channel, ...]
    timed: bool = False
    time_resolution: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.id <= 0xFF or not 0 <= self.period_us < 2**48 or not 0 < self.time_resolution < 2**24:
            raise UsageError(f"stream {self.name}: id, period or time resolution out of range")
        if not self.channels or len(self.columns) > MAX_COLUMNS:
            raise UsageError(f"stream {self.name}: {len(self.columns)} columns are not 1 to {MAX_COLUMNS}")
        if self.period_us == 0 and not self.timed:
            raise UsageError(f"stream {self.name}: without a period each frame needs its time: make it timed")

    @property
    def columns(self) -> tuple[Channel, ...]:
        """What a frame of the payload consists of: the channels, behind the time where the stream is timed."""
        return (TIME_COLUMN, *self.channels) if self.timed else self.channels

    @property
    def period_ticks(self) -> float:
        return self.period_us * TICK_HZ / 1e6

    @property
    def packable(self) -> bool:
        return all(channel.type.packable for channel in self.channels)


class Schema(msgspec.Struct, frozen=True):
    """All that explains a log's blocks of one `schema_id`. `uid` is the hardware's, `log_id` the formatted store's.

    `clock_ppm`: how far off the rate of the ticks may be, temperature included; None for a crystal.
    """

    uid: bytes
    log_id: int
    firmware: str
    product: str
    schema_id: int
    streams: tuple[Stream, ...]
    clock_ppm: int | None = None

    def __post_init__(self) -> None:
        if len({stream.id for stream in self.streams}) < len(self.streams):
            raise UsageError("two streams of one schema bear the same id")

    def stream(self, stream_id: int) -> Stream | None:
        return next((stream for stream in self.streams if stream.id == stream_id), None)


class StreamRun(msgspec.Struct, frozen=True, rename={"first": "a", "total": "z", "stream": "s"}):
    """`stream` with its channels from number `first` on, as many as were put here, of `total`."""

    first: int
    total: int
    stream: Stream

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.total <= MAX_COLUMNS - self.stream.timed:
            raise UsageError(f"a schema part from channel {self.first} of {self.total} on makes no sense")


_PART_KEYS = {
    "part": "k",
    "parts": "n",
    "uid": "u",
    "log_id": "l",
    "firmware": "f",
    "product": "d",
    "schema_id": "y",
    "runs": "r",
    "clock_ppm": "p",
}


class SchemaPart(msgspec.Struct, frozen=True, omit_defaults=True, rename=_PART_KEYS):
    """What one SCHEMA block says: part of parts. A schema that fits one block is one part; else a part is one run.

    `stream` and `first` are those of the part's first run: they tell the parts of a schema apart.
    """

    part: int
    parts: int
    uid: bytes
    log_id: int
    firmware: str
    product: str
    schema_id: int
    runs: tuple[StreamRun, ...]
    clock_ppm: int | None = None

    def __post_init__(self) -> None:
        if not self.runs:
            raise UsageError("a schema part that describes no stream makes no sense")

    @property
    def stream(self) -> Stream:
        return self.runs[0].stream

    @property
    def first(self) -> int:
        return self.runs[0].first


def schema_blocks(schema: Schema, block_size: int) -> list[tuple[int, bytes]]:
    """(stream id, payload) of each SCHEMA block that describes `schema`, in order."""
    room = capacity(block_size)
    whole = _part(schema, [StreamRun(0, len(stream.channels), stream) for stream in schema.streams])
    if len(payload := cbor.dumps(whole)) <= room:
        return [(whole.stream.id, payload)]
    parts = [part for stream in schema.streams for part in _parts(schema, stream, room)]
    return [
        (part.stream.id, cbor.dumps(msgspec.structs.replace(part, part=number, parts=len(parts))))
        for number, part in enumerate(parts)
    ]


def _parts(schema: Schema, stream: Stream, room: int) -> Iterator[SchemaPart]:
    """The stream cut into runs of channels, each as long as its payload has room for; numbered later."""
    first = 0
    while first < len(stream.channels):
        length = len(stream.channels) - first
        while len(cbor.dumps(part := _part(schema, [_run(stream, first, length)], MAX_PARTS))) > room:
            length //= 2
            if length == 0:
                raise UsageError(f"channel {stream.channels[first].name} has too long a description for one block")
        yield part
        first += length


def _run(stream: Stream, first: int, length: int) -> StreamRun:
    channels = stream.channels[first : first + length]
    return StreamRun(first, len(stream.channels), msgspec.structs.replace(stream, channels=channels))


def _part(schema: Schema, runs: Iterable[StreamRun], parts: int = 1) -> SchemaPart:
    return SchemaPart(
        part=parts - 1,
        parts=parts,
        uid=schema.uid,
        log_id=schema.log_id,
        firmware=schema.firmware,
        product=schema.product,
        schema_id=schema.schema_id,
        runs=tuple(runs),
        clock_ppm=schema.clock_ppm,
    )


def parse_schema_part(payload: bytes) -> SchemaPart:
    return cbor.loads(payload, SchemaPart)


def schema_parts(blocks: Iterable[Block]) -> list[SchemaPart]:
    """The parts found in the SCHEMA blocks among `blocks`."""
    return [parse_schema_part(block.payload) for block in blocks if block.header.kind == Kind.SCHEMA]


def merge_schema(parts: Iterable[SchemaPart]) -> Schema:
    """The schema that `parts`, all of one schema_id, add up to. Repeats are welcome, order does not matter.

    A stream of which a part is missing is left out; BlockError when none is whole.
    """
    runs: dict[int, dict[int, StreamRun]] = {}
    newest: SchemaPart | None = None
    for part in parts:
        if newest is not None and part.schema_id != newest.schema_id:
            raise UsageError(f"parts of schemas {newest.schema_id} and {part.schema_id} cannot be merged")
        newest = part
        for run in part.runs:
            runs.setdefault(run.stream.id, {})[run.first] = run
    streams = tuple(stream for _, found in sorted(runs.items()) if (stream := _join(found)) is not None)
    if newest is None or not streams:
        raise BlockError("no stream of the schema is described in full: SCHEMA blocks are missing")
    said = (newest.uid, newest.log_id, newest.firmware, newest.product, newest.schema_id)
    return Schema(*said, streams, newest.clock_ppm)


def _join(found: dict[int, StreamRun]) -> Stream | None:
    """The stream whose runs of channels are `found` by their first channel's number; None when one is missing."""
    channels: list[Channel] = []
    while len(channels) in found:
        channels.extend(found[len(channels)].stream.channels)
    whole = found.get(0)
    if whole is None or len(channels) != whole.total:
        return None
    return msgspec.structs.replace(whole.stream, channels=tuple(channels))
