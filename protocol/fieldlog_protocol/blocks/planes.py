"""Planes of 64 numbers of `width` bits each, the lowest bit first: those of many groups at once, in numpy.

Rule of this module: it reads what is there. Where a group has fewer numbers, what stands behind its plane is read as
well and means nothing; behind the last one there are GATHER_MARGIN bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.codec import Bytes, Indices
from fieldlog_protocol.blocks.packing import GROUP, MASK, Words

Numbers: TypeAlias = Bytes | Words

_WORD = 8  # bytes
_TABLE_BITS = 14  # the near caches hold a table of so many


def numbers(data: Bytes, offsets: Indices, width: int) -> Numbers:
    """Those of the plane at each of `offsets`, as (plane, number): a byte each where it holds them, else 32 bits."""
    together = _together(width)
    if together == 0:
        return _by_lanes(data, offsets, width)
    indices = _indices(_pieces(data, offsets, _WORD * width), width * together)
    found: Bytes = _table(width, together)[indices].view(np.uint8)
    return found


@cache
def _together(width: int) -> int:
    """How many numbers one look into a table gives; 0 where they are too wide for one."""
    return next((n for n in (8, 4, 2) if 0 < n * width <= _TABLE_BITS), 0)


@cache
def _table(width: int, together: int) -> npt.NDArray[Any]:
    """For all that so many numbers can be on the wire, these numbers as bytes of one word."""
    wire = np.arange(1 << width * together)[:, None]
    parts = wire >> width * np.arange(together) & (1 << width) - 1
    return parts.astype(np.uint8).view(f"<u{together}")[:, 0]


def _pieces(data: Bytes, offsets: Indices, length: int) -> Bytes:
    """So many bytes from each of `offsets` on, with a word behind them, as (offset, byte)."""
    length += _WORD
    anywhere = np.ndarray((len(data) - length + 1,), f"V{length}", data, strides=(1,))
    return anywhere[offsets].view(np.uint8).reshape(-1, length)


def _indices(pieces: Bytes, bits: int) -> npt.NDArray[Any]:
    """Each piece cut into numbers of so many bits, of which eight bytes hold a whole number at every place."""
    if bits == _WORD:
        return pieces[:, :-_WORD]
    count = 8 * (pieces.shape[1] - _WORD) // bits
    step = next(n for n in (2, 4) if n * bits % 8 == 0)
    words = np.ndarray((len(pieces), count // step), "<u8", pieces, strides=(pieces.shape[1], step * bits // 8))
    result = np.empty((*words.shape, step), np.uint16)
    for part in range(step):
        np.bitwise_and(
            words >> np.uint64(part * bits), np.uint64((1 << bits) - 1), result[:, :, part], casting="unsafe"
        )
    return result.reshape(len(pieces), count)


@cache
def _lanes(width: int) -> int:
    """How many numbers of a plane one 64-bit word can serve, wherever in its first byte they begin."""
    return next(n for n in (8, 4, 2, 1) if max(start * width & 7 for start in range(0, GROUP, n)) + n * width <= 64)


def _by_lanes(data: Bytes, offsets: Indices, width: int) -> Words:
    if width == 0:
        return np.zeros((len(offsets), GROUP), np.uint32)
    lanes, low = _lanes(width), np.uint32(MASK >> 32 - width)
    bits = np.arange(0, GROUP, lanes, dtype=np.uint64) * np.uint64(width)
    words = np.ndarray((len(data) - _WORD + 1,), "<u8", data, strides=(1,))[
        offsets[:, None] + (bits >> np.uint64(3)).astype(np.int64)
    ]
    words >>= bits & np.uint64(7)
    halves = words.view("<u4")[:, ::2]
    result = np.empty((len(offsets), GROUP // lanes, lanes), np.uint32)
    for lane in range(lanes):
        if lane:
            words >>= np.uint64(width)
        np.bitwise_and(halves, low, result[:, :, lane])
    return result.reshape(-1, GROUP)
