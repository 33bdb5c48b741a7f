"""Packed payloads, "split Rice": residuals in groups of 64, each cut into a quotient and k low bits.

Rule of this module: all arithmetic is modulo 2**32, in the encoder and in the decoder, so that any 32-bit column comes
back exactly; and nothing here walks over single values in Python but `PackedMeter`, which is what a device does.

The payload, for C columns:

    head     the first frame, as RAW codes it; it is in no group
    groups   of 64 frames, the last one as long as it is: C code bytes, then per column its plane
    unary    one plane for the whole block. It begins with the lowest bit of the payload's last byte and runs
             backwards through the bytes, so that a device fills its page from both ends until they meet

A code byte is predictor << 6 | packing. What is packed are the residuals r under the predictor, in zigzag form (0, -1,
1, -2 as 0, 1, 2, 3), but unsigned values as they are:

    0 value    the value itself
    1 delta    what it is more than the value before
    2 smooth   what it is more than M >> 2; then M grows by r. M is four times a smoothed value: of noise about a level
               a quarter of the step is followed. A group begins with M = the sum of the four values before it
    3 trend    what the delta is more than T >> 1; then T grows by r. T is twice a smoothed delta. A group begins with
               T = the sum of the two deltas before it. A block's first group begins with T = twice the i32 that stands
               before the plane, which is the first delta there

What is before a block's first frame counts as equal to it. M and T are 32-bit numbers with a sign. As both are what
they began with plus the sum of the residuals so far, a decoder needs no loop to undo them.

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

from fieldlog_protocol.blocks.codec import Batch, Column, Fit, Indices, Types
from fieldlog_protocol.blocks.packing import (
    DELTA,
    GROUP,
    LEAD,
    MASK,
    PLAIN,
    PREDICTOR_SHIFT,
    SLOPE_BITS,
    SMOOTH_SHIFT,
    TREND,
    TREND_SHIFT,
    VALUE,
    bits_of_group,
    fit,
    pack,
    word,
)
from fieldlog_protocol.blocks.raw import frame_dtype
from fieldlog_protocol.blocks.unpacking import unpack

_PACKING = (1 << PREDICTOR_SHIFT) - 1
_SIGN = 1 << 31


class PackedCodec:
    def meter(self, types: Types, capacity: int) -> PackedMeter:
        return PackedMeter(types, capacity)

    def fit(self, columns: Sequence[Column], capacity: int) -> Fit:
        return fit(columns, capacity)

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
        self._opens = True
        self._lead: list[list[int]] = []
        self._group: list[list[int]] = []
        self._states: list[tuple[int, int]] = []  # M and T of each column
        self._bound = self._closed

    def admit(self, frame: Sequence[Any]) -> bool:
        if not self._lead:
            return self._admit_first(list(frame))
        bound = self._bound + self._growth(frame)
        if bound > self._capacity or len(self._group) == GROUP - 1:
            frames = [*self._lead, *self._group, list(frame)]
            codes, bits = bits_of_group(frames, self._signed, opens=self._opens)
            if self._closed + bits > self._capacity:
                return False
            # Each column's plane may still grow by the bits that fill up its last byte.
            self._codes, bound = codes, self._closed + bits + 7 * len(codes)
            if len(self._group) == GROUP - 1:
                self._closed += bits
                self._opens = False
                self._open_group(frames[-LEAD:])
                return True
        self._states = [self._grown(column, value) for column, value in enumerate(frame)]
        self._group.append(list(frame))
        self._bound = bound
        return True

    def _admit_first(self, frame: list[int]) -> bool:
        if self._closed > self._capacity:
            return False
        self._open_group([frame] * LEAD)
        return True

    def _open_group(self, lead: list[list[int]]) -> None:
        self._group, self._lead = [], lead
        self._states = [(sum(values), values[-1] - values[-3]) for values in zip(*lead, strict=True)]
        self._bound = self._start_bound()

    def _start_bound(self) -> int:
        """The bound of a group without frames: its codes, slopes where they say so, and planes yet to be filled up."""
        sloped = self._opens * sum(code >> PREDICTOR_SHIFT == TREND for code in self._codes)
        return self._closed + (8 + 7) * len(self._codes) + SLOPE_BITS * sloped

    def _growth(self, frame: Sequence[int]) -> int:
        return sum(self._cost(column, code, frame[column]) for column, code in enumerate(self._codes))

    def _cost(self, column: int, code: int, value: int) -> int:
        """Bits of one more residual under `code`; more than any capacity when a plain width cannot hold it."""
        predictor = code >> PREDICTOR_SHIFT
        unsigned = predictor == VALUE and not self._signed[column]
        residual = value if unsigned else word(self._residuals(column, value)[predictor])
        packing = code & _PACKING
        if packing < PLAIN:
            return 1 + packing + (residual >> packing)
        width = packing - PLAIN
        return width if residual >> width == 0 else self._capacity + 1

    def _residuals(self, column: int, value: int) -> tuple[int, int, int, int]:
        """Of each predictor, modulo 2**32."""
        delta = value - (self._group or self._lead)[-1][column]
        smooth, trend = self._state(column, delta)
        return value, delta, value - (_with_sign(smooth) >> SMOOTH_SHIFT), delta - (_with_sign(trend) >> TREND_SHIFT)

    def _state(self, column: int, delta: int) -> tuple[int, int]:
        """M and T before a value that is `delta` more than the last; what opens a block is its own slope."""
        smooth, trend = self._states[column]
        return smooth, delta << TREND_SHIFT if self._opens and not self._group else trend

    def _grown(self, column: int, value: int) -> tuple[int, int]:
        _, delta, *residuals = self._residuals(column, value)
        smooth, trend = self._state(column, delta)
        return smooth + residuals[0], trend + residuals[1]


def _with_sign(state: int) -> int:
    return (state & MASK ^ _SIGN) - _SIGN
