"""The table of payload encodings, and the choice among them.

Rule of this module: an encoding is one row here and one module beside it; nothing else asks which it is.
"""

from __future__ import annotations

from fieldlog_protocol.blocks.block import Encoding, capacity
from fieldlog_protocol.blocks.codec import Codec
from fieldlog_protocol.blocks.packed import PackedCodec
from fieldlog_protocol.blocks.raw import RawCodec, frame_dtype
from fieldlog_protocol.blocks.rawc import RESOLUTION, RawcCodec
from fieldlog_protocol.blocks.schema import TIME_COLUMN, Channel, Stream
from fieldlog_protocol.blocks.timeline import ROUNDING_TICKS, tolerance_ticks

CODECS: dict[int, Codec] = {
    Encoding.RAW: RawCodec(),
    Encoding.PACKED: PackedCodec(),
    Encoding.RAWC: RawcCodec(),
}

_PACKED_LEAST_FRAMES = 16  # of RAW's width: a block with fewer would be code bytes before all


def payload_columns(stream: Stream, encoding: int) -> tuple[Channel, ...]:
    """What a frame of such a payload consists of: in a RAWC one, too, the time comes before the channels."""
    return (TIME_COLUMN, *stream.channels) if encoding == Encoding.RAWC else stream.columns


def payload_resolution(stream: Stream, encoding: int) -> int | None:
    """The ticks that the payload's time column counts in; None where there is none and the instants lie on a line."""
    if encoding == Encoding.RAWC:
        return RESOLUTION
    return stream.time_resolution if stream.timed else None


def instant_error_ticks(stream: Stream, encoding: int) -> float:
    """How far the instant that a block tells of a frame may lie from the one at which it was taken.

    A payload's time column counts what is over; without one the line is as close as an encoder has to keep it.
    """
    resolution = payload_resolution(stream, encoding)
    return tolerance_ticks(stream) + ROUNDING_TICKS if resolution is None else float(resolution)


def preferred_encoding(stream: Stream, block_size: int) -> Encoding:
    """Packed wherever the stream's types allow it and a block has room for some frames."""
    width = frame_dtype(tuple(column.type for column in stream.columns)).itemsize
    return Encoding.PACKED if stream.packable and width * _PACKED_LEAST_FRAMES <= capacity(block_size) else Encoding.RAW
