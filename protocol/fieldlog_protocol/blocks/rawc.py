"""RAWC payloads: RAW frames, each with its time and a check value, that a slow logger programs as it takes them.

Rule of this module: what was programmed so far can be read again without anything that was still to come. Power that
fails costs the frame being written, not the block: `recover` makes of a page without a trailer the block that it would
have become, had it been sealed behind its last whole frame. Nothing of it is guessed, so that it needs no mark.

The payload is a u16, the bytes per frame, then the frames: the values of the columns as RAW has them, of which the first
is the time, a u32 of RESOLUTION ticks since t0; then the check byte. It is programmed after its frame, and is a CRC-8
with the polynomial 0x2F, begun with 0xFF and inverted at the end (AUTOSAR, Specification of CRC Routines, CRC8H2F;
Hamming distance 4 up to 119 bits: P. Koopman, T. Chakravarty, DSN 2004). Where that gives 0xFF it is written as 0, for
0xFF is what an erased byte reads: a frame without its check byte is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fieldlog_protocol.blocks.block import HEADER, TRAILER, Block, Encoding, Kind, parse_header
from fieldlog_protocol.blocks.codec import Batch, Column, Fit, Indices, Types
from fieldlog_protocol.blocks.raw import RawMeter, frame_dtype
from fieldlog_protocol.errors import BlockError

RESOLUTION = 32
"""Ticks, about a millisecond: a block can last 48 days, and its instants are nearer than a slow stream's tolerance."""

_POLYNOMIAL = 0x2F
_WIDTH_BYTES = 2
_CHECK_BYTES = 1
_TIME_BYTES = 4
_ERASED = 0xFF


class RawcCodec:
    def meter(self, types: Types, capacity: int) -> RawMeter:
        return RawMeter(_frames_in(capacity, _width(types)))

    def fit(self, columns: Sequence[Column], capacity: int) -> Fit:
        width = sum(column.dtype.itemsize for column in columns) + _CHECK_BYTES
        count = min(len(columns[0]), _frames_in(capacity, width))
        return Fit(count, lambda: self.encode([column[:count] for column in columns]))

    def encode(self, columns: Sequence[Column]) -> bytes:
        frames = np.empty(len(columns[0]), [(f"c{index}", column.dtype) for index, column in enumerate(columns)])
        for index, column in enumerate(columns):
            frames[f"c{index}"] = column
        size = frames.dtype.itemsize
        data = frames.tobytes()
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        head = (size + _CHECK_BYTES).to_bytes(_WIDTH_BYTES, "little")
        return head + b"".join(piece + bytes([check_value(piece)]) for piece in pieces)

    def least_length(self, types: Types, counts: Indices) -> Indices:
        return _WIDTH_BYTES + counts * _width(types)

    def decode(self, types: Types, batch: Batch) -> list[Column]:
        """The check bytes are not looked at: a block's CRC-32 covers them."""
        width = _width(types)
        widths = batch.data[batch.offsets[:, None] + np.arange(_WIDTH_BYTES)].view("<u2")[:, 0]
        if (batch.lengths != _WIDTH_BYTES + batch.counts * width).any() or (widths != width).any():
            raise BlockError("its RAWC payload is longer or shorter than its frames")
        checked = np.dtype([*((f"c{index}", type_.dtype) for index, type_ in enumerate(types)), ("check", "u1")])
        starts = (batch.offsets + _WIDTH_BYTES).tolist()
        data = batch.data.tobytes()
        spans = zip(starts, (batch.lengths - _WIDTH_BYTES).tolist(), strict=True)
        frames = np.frombuffer(b"".join(data[start : start + length] for start, length in spans), checked)
        return [np.ascontiguousarray(frames[f"c{index}"]) for index in range(len(types))]


def _width(types: Types) -> int:
    return frame_dtype(types).itemsize + _CHECK_BYTES


def _frames_in(capacity: int, width: int) -> int:
    return max(0, capacity - _WIDTH_BYTES) // width


def check_value(frame: bytes) -> int:
    """The check byte behind these bytes of a frame."""
    register = _ERASED
    for byte in frame:
        register = _TABLE[register ^ byte]
    register ^= 0xFF
    return 0 if register == _ERASED else register


def _shifted(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ _POLYNOMIAL) & 0xFF if byte & 0x80 else byte << 1
    return byte


_TABLE = tuple(map(_shifted, range(256)))


def recover(page: bytes) -> Block | None:
    """The block of a page whose RAWC frames were programmed and whose trailer was not; None where there is no frame."""
    try:
        header = parse_header(page)
    except BlockError:
        return None
    if header.kind != Kind.DATA or header.encoding != Encoding.RAWC:
        return None
    start, stop = HEADER.size + _WIDTH_BYTES, len(page) - TRAILER.size
    width = int.from_bytes(page[HEADER.size : start], "little")
    count = _whole_frames(page[start:stop], width)
    if count == 0:
        return None
    end = start + count * width
    last = int.from_bytes(page[end - width : end - width + _TIME_BYTES], "little")
    return Block(replace(header, check=0), count, last * RESOLUTION, page[HEADER.size : end])


def _whole_frames(data: bytes, width: int) -> int:
    if width <= _TIME_BYTES + _CHECK_BYTES:
        return 0
    for count, at in enumerate(range(0, len(data) - width + 1, width)):
        if check_value(data[at : at + width - 1]) != data[at + width - 1]:
            return count
    return len(data) // width
