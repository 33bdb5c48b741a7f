"""Packed payloads, "split Rice": residuals in groups of 64, each cut into a quotient and k low bits.

Rule of this module: all arithmetic is modulo 2**32, in the encoder and in the decoder, so that any 32-bit column comes
back exactly; and nothing here walks over single values in Python but `PackedMeter`, which is what a device does.

The payload, for C columns:

    head     the first frame, as RAW codes it; it is in no group
    groups   of 64 frames, the last one as long as it is: C code bytes, then per column its plane
    unary    one plane for the whole block. It begins with the lowest bit of the payload's last byte and runs
             backwards through the bytes, so that a device fills its page from both ends until they meet

A code byte is predictor << 6 | packing. What is packed are the residuals under the predictor, in zigzag form (0, -1, 1,
-2 as 0, 1, 2, 3), but unsigned values as they are:

    0 value    the value itself
    1 delta    what it is more than the value before
    2 double   what the delta is more than the delta before; before the first delta of a block there is a 0
    3 slope    what the delta is more than the group's first delta, which stands before the plane as an i32

    packing 0 to 30    k: the plane holds the k low bits of each residual, and the unary plane gets, per residual, as many
                       zeros as the rest of it says, and a one
    packing 31 to 63   width = packing - 31: the plane holds the residuals whole, `width` bits each; nothing is unary

Planes are filled from the least significant bit and end on a byte. The encoder takes what costs the fewest bits; thus
noise costs two bytes in a hundred more than RAW at worst, and a column at rest a byte per group. A device needs the page, the
group's frames as RAW has them, and a few words per column: 1.6 KB for three channels and 1024-byte blocks. The golden
rule of such codes, and the split of quotients and remainders, are R. F. Rice's (JPL Publication 79-22).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fieldlog_protocol.blocks.codec import Batch, Column, Indices, Types
from fieldlog_protocol.blocks.packing import (
    DELTA,
    DOUBLE,
    GROUP,
    PLAIN,
    PREDICTOR_SHIFT,
    SLOPE,
    SLOPE_BITS,
    VALUE,
    bits_of_group,
    count_that_fits,
    pack,
    word,
)
from fieldlog_protocol.blocks.raw import frame_dtype
from fieldlog_protocol.blocks.unpacking import unpack

_FIRST_WINDOW = 8  # groups looked at first when a block is filled in bulk; doubled until the block is full
_PACKING = (1 << PREDICTOR_SHIFT) - 1


class PackedCodec:
    def meter(self, types: Types, capacity: int) -> PackedMeter:
        return PackedMeter(types, capacity)

    def fit(self, columns: Sequence[Column], capacity: int) -> int:
        available = len(columns[0])
        window = _FIRST_WINDOW * GROUP + 1
        while True:
            offered = min(window, available)
            count = count_that_fits([column[:offered] for column in columns], capacity)
            if count < offered or offered == available:
                return count
            window *= 2

    def encode(self, columns: Sequence[Column]) -> bytes:
        return pack(columns)

    def least_length(self, types: Types, counts: Indices) -> Indices:
        return frame_dtype(types).itemsize + (counts + (GROUP - 2)) // GROUP * len(types)

    def decode(self, types: Types, batch: Batch) -> list[Column]:
        return unpack(types, batch)


class PackedMeter:
    """The size of a packed payload, frame by frame.

    What the codes that were best last would cost is a bound that each frame raises in a few steps; only when it
    reaches the capacity is the best choice for the open group looked for.
    """

    def __init__(self, types: Types, capacity: int) -> None:
        self._signed = [type_.minimum < 0 for type_ in types]
        self._capacity = 8 * capacity
        self._closed = 8 * frame_dtype(types).itemsize
        self._codes = [DELTA << PREDICTOR_SHIFT] * len(types)
        self._group: list[list[int]] = []
        self._before: list[int] = []
        self._slopes = [0] * len(types)
        self._bound = self._closed

    def admit(self, frame: Sequence[Any]) -> bool:
        if not self._before:
            return self._admit_first(frame)
        bound = self._bound + self._growth(frame)
        if bound > self._capacity or len(self._group) == GROUP - 1:
            codes, bits = bits_of_group([self._before, *self._group, list(frame)], self._slopes, self._signed)
            if self._closed + bits > self._capacity:
                return False
            # Each column's plane may still grow by the bits that fill up its last byte.
            self._codes, bound = codes, self._closed + bits + 7 * len(codes)
            if len(self._group) == GROUP - 1:
                self._close_group(list(frame), bits)
                return True
        self._group.append(list(frame))
        self._bound = bound
        return True

    def _admit_first(self, frame: Sequence[Any]) -> bool:
        if self._closed > self._capacity:
            return False
        self._before = list(frame)
        self._bound = self._start_bound()
        return True

    def _close_group(self, frame: list[int], bits: int) -> None:
        self._slopes = [value - last for value, last in zip(frame, self._group[-1], strict=True)]
        self._closed += bits
        self._group, self._before = [], frame
        self._bound = self._start_bound()

    def _start_bound(self) -> int:
        """The bound of a group without frames: its codes, slopes where they say so, and planes yet to be filled up."""
        sloped = sum(code >> PREDICTOR_SHIFT == SLOPE for code in self._codes)
        return self._closed + (8 + 7) * len(self._codes) + SLOPE_BITS * sloped

    def _growth(self, frame: Sequence[int]) -> int:
        return sum(self._cost(column, code, frame[column]) for column, code in enumerate(self._codes))

    def _cost(self, column: int, code: int, value: int) -> int:
        """Bits of one more residual under `code`; more than any capacity when a plain width cannot hold it."""
        residual = self._residual(column, code >> PREDICTOR_SHIFT, value)
        packing = code & _PACKING
        if packing < PLAIN:
            return 1 + packing + (residual >> packing)
        width = packing - PLAIN
        return width if residual >> width == 0 else self._capacity + 1

    def _residual(self, column: int, predictor: int, value: int) -> int:
        if predictor == VALUE:
            return word(value) if self._signed[column] else value
        last = self._group[-1][column] if self._group else self._before[column]
        delta = value - last
        if predictor == DOUBLE:
            delta -= self._delta_before(column, last)
        elif predictor == SLOPE:
            delta -= self._group[0][column] - self._before[column] if self._group else delta
        return word(delta)

    def _delta_before(self, column: int, last: int) -> int:
        if not self._group:
            return self._slopes[column]
        return last - (self._group[-2][column] if len(self._group) > 1 else self._before[column])
