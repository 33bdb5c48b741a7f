"""The table of payload encodings, and the choice among them.

Rule of this module: an encoding is one row here and one module beside it; nothing else asks which it is.
"""

from __future__ import annotations

from fieldlog_protocol.blocks.block import Encoding, capacity
from fieldlog_protocol.blocks.codec import Codec
from fieldlog_protocol.blocks.packed import PackedCodec
from fieldlog_protocol.blocks.raw import RawCodec, frame_dtype
from fieldlog_protocol.blocks.schema import Stream

CODECS: dict[int, Codec] = {
    Encoding.RAW: RawCodec(),
    Encoding.PACKED: PackedCodec(),
}

_PACKED_LEAST_FRAMES = 16  # of RAW's width: a block with fewer would be code bytes before all


def preferred_encoding(stream: Stream, block_size: int) -> Encoding:
    """Packed wherever the stream's types allow it and a block has room for some frames."""
    width = frame_dtype(tuple(column.type for column in stream.columns)).itemsize
    return Encoding.PACKED if stream.packable and width * _PACKED_LEAST_FRAMES <= capacity(block_size) else Encoding.RAW
