"""The encoder's half of the packed encoding: residuals, what each way to pack them costs, and the bits themselves.

Rule of this module: what a group costs depends on its own frames and the two before it alone, is exact to the bit, and
never falls when a frame is added to it. The format is told in `packed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.codec import Column, Indices

GROUP = 64
VALUE, DELTA, DOUBLE, SLOPE = range(4)
PREDICTORS = 4
PREDICTOR_SHIFT = 6
PLAIN = 31  # packings from here on are plain widths
SLOPE_BITS = 32
MASK = 0xFFFFFFFF
_CODE_BITS = 8

Words: TypeAlias = npt.NDArray[np.uint32]
Codes: TypeAlias = npt.NDArray[np.uint8]


def word(residual: int) -> int:
    """The zigzag form of one residual, given as any number that is the same modulo 2**32."""
    residual &= MASK
    return (residual << 1) & MASK ^ (MASK if residual >> 31 else 0)


def _zigzag(residuals: Words) -> Words:
    signs = (residuals.view(np.int32) >> 31).view(np.uint32)
    return (residuals << np.uint32(1)) ^ signs


def _words(columns: Sequence[Column]) -> Words:
    """The columns as one array (column, frame) of 32-bit patterns."""
    return np.stack([column.astype(np.int64).astype(np.uint32) for column in columns])


def _signed(columns: Sequence[Column]) -> npt.NDArray[np.bool_]:
    return np.array([column.dtype.kind == "i" for column in columns])


def _residuals(frames: Words, slopes: Words, signed: npt.NDArray[np.bool_]) -> Words:
    """(predictor, column, group, frame of the group), filled up with zeros.

    Of `frames` (column, frame) the first is the one before the first group; `slopes` are the deltas before that.
    """
    columns, count = frames.shape
    values = frames[:, 1:]
    deltas = values - frames[:, :-1]
    firsts = np.repeat(deltas[:, ::GROUP], GROUP, axis=1)[:, : count - 1]
    groups = -(-(count - 1) // GROUP)
    result = np.zeros((PREDICTORS, columns, groups * GROUP), np.uint32)
    kept = result[:, :, : count - 1]
    kept[VALUE] = np.where(signed[:, None], _zigzag(values), values)
    kept[DELTA] = _zigzag(deltas)
    kept[DOUBLE] = _zigzag(deltas - np.concatenate([slopes[:, None], deltas], axis=1)[:, :-1])
    kept[SLOPE] = _zigzag(deltas - firsts)
    return result.reshape(PREDICTORS, columns, groups, GROUP)


def _counts(frames: int) -> Indices:
    """The lengths of the groups behind the first of so many frames."""
    return np.minimum(GROUP, frames - 1 - np.arange(0, frames - 1, GROUP))


def _plane_bits(widths: Indices | int, counts: Indices) -> Indices:
    return (widths * counts + 7) // 8 * 8


def _best(widths: Indices, sums: Callable[[int], Indices], counts: Indices) -> tuple[Codes, Indices]:
    """The code of each column and group, and the bits that it costs without its code byte.

    `widths` (predictor, column, group) are of the greatest residuals; `sums` tells, likewise, the sum of what is left
    of them above k bits.
    """
    # From k = the width on, a plain plane of any predictor is cheaper.
    useful = min(PLAIN, int(widths[:SLOPE].min(axis=0).max(initial=0)))
    ks = np.arange(useful)[:, None, None, None]
    plain = _plane_bits(widths, counts)
    rice = np.array([sums(k) for k in range(useful)]).reshape(useful, *widths.shape) + counts + _plane_bits(ks, counts)
    bits = np.concatenate([plain[None], rice])
    bits[:, SLOPE] += SLOPE_BITS
    choice = bits.reshape(-1, *widths.shape[1:]).argmin(axis=0)[None]
    way, predictor = np.divmod(choice, PREDICTORS)
    packing = np.where(way == 0, PLAIN + np.take_along_axis(widths, predictor, axis=0), way - 1)
    cheapest = np.take_along_axis(bits.reshape(-1, *widths.shape[1:]), choice, axis=0)
    return (predictor << PREDICTOR_SHIFT | packing)[0].astype(np.uint8), cheapest[0]


def _best_of_groups(residuals: Words, counts: Indices) -> tuple[Codes, Indices]:
    def sums(k: int) -> Indices:
        left: Indices = (residuals >> np.uint32(k)).sum(axis=3, dtype=np.int64)
        return left

    return _best(_bit_lengths(residuals.max(axis=3)), sums, counts)


def _best_of_beginnings(residuals: Words) -> tuple[Codes, Indices]:
    """Of one group (predictor, column, frame), as if it ended with each of its frames."""

    def sums(k: int) -> Indices:
        return (residuals >> np.uint32(k)).cumsum(axis=2, dtype=np.int64)

    return _best(_bit_lengths(np.maximum.accumulate(residuals, axis=2)), sums, np.arange(1, GROUP + 1))


def _bit_lengths(values: Words) -> Indices:
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def bits_of_group(
    frames: Sequence[Sequence[int]], slopes: Sequence[int], signed: Sequence[bool]
) -> tuple[list[int], int]:
    """The codes of one group, which follows the first of `frames`, and all its bits with the code bytes."""
    words = (np.array(frames, np.int64).T & MASK).astype(np.uint32)
    before = (np.array(slopes, np.int64) & MASK).astype(np.uint32)
    codes, bits = _best_of_groups(_residuals(words, before, np.array(signed)), _counts(len(frames)))
    return codes[:, 0].tolist(), int(bits.sum()) + _CODE_BITS * len(codes)


def count_that_fits(columns: Sequence[Column], capacity: int) -> int:
    """How many of the leading frames fit a payload of `capacity` bytes."""
    left = 8 * (capacity - sum(column.itemsize for column in columns))
    count = len(columns[0])
    if left < 0 or count < 2:
        return 0 if left < 0 else count
    residuals = _block_residuals(columns)
    sizes = _best_of_groups(residuals, _counts(count))[1].sum(axis=0) + _CODE_BITS * len(columns)
    full = int(np.searchsorted(np.cumsum(sizes), left, side="right"))
    if full == len(sizes):
        return count
    partial = _count_in_group(residuals[:, :, full], left - int(sizes[:full].sum()))
    return min(count, 1 + full * GROUP + partial)


def _count_in_group(residuals: Words, left: int) -> int:
    """How many frames of one group (predictor, column, frame) fit so many bits."""
    bits = _best_of_beginnings(residuals)[1].sum(axis=0) + _CODE_BITS * len(residuals[0])
    return int(np.count_nonzero(bits <= left))


def _block_residuals(columns: Sequence[Column]) -> Words:
    frames = _words(columns)
    return _residuals(frames, np.zeros(len(columns), np.uint32), _signed(columns))


def pack(columns: Sequence[Column]) -> bytes:
    """The payload that holds all frames."""
    head = b"".join(column[:1].tobytes() for column in columns)
    if len(columns[0]) == 1:
        return head
    residuals = _block_residuals(columns)
    counts = _counts(len(columns[0]))
    codes, _ = _best_of_groups(residuals, counts)
    planes: list[bytes] = [head]
    quotients: list[Words] = []
    for group, count in enumerate(counts.tolist()):
        planes.append(codes[:, group].tobytes())
        for column, code in enumerate(codes[:, group].tolist()):
            predictor, packing = code >> PREDICTOR_SHIFT, code % (1 << PREDICTOR_SHIFT)
            series = residuals[predictor, column, group, :count]
            if predictor == SLOPE:
                # As the first frame of its group the slope is the delta there.
                planes.append(unzigzag(residuals[DELTA, column, group, :1]).tobytes())
            planes.append(_plane(series, packing if packing < PLAIN else packing - PLAIN))
            if packing < PLAIN:
                quotients.append(series >> np.uint32(packing))
    return b"".join([*planes, _unary(quotients)])


def _plane(series: Words, width: int) -> bytes:
    """The low `width` bits of each residual, one behind the other."""
    bits = series[:, None] >> np.arange(width, dtype=np.uint32) & np.uint32(1)
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def _unary(quotients: Sequence[Words]) -> bytes:
    if not quotients:
        return b""
    ones = np.cumsum(np.concatenate(quotients).astype(np.int64) + 1) - 1
    bits = np.zeros(int(ones[-1]) + 1, np.uint8)
    bits[ones] = 1
    return np.packbits(bits, bitorder="little").tobytes()[::-1]


def unzigzag(words: Words) -> npt.NDArray[np.int32]:
    return (words >> np.uint32(1)).view(np.int32) ^ -(words & np.uint32(1)).view(np.int32)
