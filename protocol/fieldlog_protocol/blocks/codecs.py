"""The table of payload encodings, and the choice among them.

Rule of this module: an encoding is one row here and one module beside it; nothing else asks which it is.
"""

from __future__ import annotations

from fieldlog_protocol.blocks.block import Encoding, capacity
from fieldlog_protocol.blocks.codec import Codec
from fieldlog_protocol.blocks.packed import PackedCodec
from fieldlog_protocol.blocks.raw import RawCodec
from fieldlog_protocol.blocks.schema import Stream

CODECS: dict[int, Codec] = {
    Encoding.RAW: RawCodec(),
    Encoding.PACKED: PackedCodec(),
}

# Room for the packed columns' heads and two groups of 8-bit residuals: below that RAW wastes less.
_PACKED_LEAST_BYTES_PER_COLUMN = 5 + 2 * (1 + 2 * 8)


def preferred_encoding(stream: Stream, block_size: int) -> Encoding:
    """Packed wherever the stream's types allow it and a block holds more than a group or two of it."""
    wide = len(stream.columns) * _PACKED_LEAST_BYTES_PER_COLUMN > capacity(block_size)
    return Encoding.RAW if wide or not stream.packable else Encoding.PACKED
