"""The encoder's half of the packed encoding: residuals, what each way to pack them costs, and the bits themselves.

Rule of this module: what a group costs depends on its own frames and the LEAD before it alone, is exact to the bit,
and never falls when a frame is added to it. Arrays have the frames of a group first, so that whatever walks over them
does a step for all columns and groups at once. The format is told in `packed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.codec import Column, Fit, Indices

GROUP = 64
LEAD = 4  # frames before a group that its predictions begin with
VALUE, DELTA, SMOOTH, TREND = range(4)
PREDICTORS = 4
PREDICTOR_SHIFT = 6
SMOOTH_SHIFT, TREND_SHIFT = 2, 1
PLAIN = 31  # packings from here on are plain widths
SLOPE_BITS = 32
MASK = 0xFFFFFFFF
_CODE_BITS = 8
_SHORT_SUM_BITS = 26  # so wide may residuals be whose sum over a group has 32 bits
_PREDICTOR_CODES = np.arange(PREDICTORS)[:, None, None] << PREDICTOR_SHIFT
_STATE_SHIFTS = np.array([SMOOTH_SHIFT, TREND_SHIFT], np.int32)[:, None, None]

Words: TypeAlias = npt.NDArray[np.uint32]
Values: TypeAlias = npt.NDArray[np.int32]
Codes: TypeAlias = npt.NDArray[np.uint8]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of all columns: `residuals` (frame, predictor, column, group), 0 behind the last, and their `counts`.

    `opens`: the first group is a block's first.
    """

    residuals: Words
    counts: Indices
    opens: bool

    def part(self, start: int, stop: int) -> _Groups:
        return _Groups(self.residuals[..., start:stop], self.counts[start:stop], self.opens and start == 0)

    def until(self, frames: int) -> _Groups:
        """Those of the leading frames."""
        counts = _counts(frames)
        kept = self.residuals[..., : len(counts)].copy()
        if frames:
            kept[counts[-1] :, ..., -1] = 0
        return _Groups(kept, counts, self.opens)


def word(residual: int) -> int:
    """The zigzag form of one residual, given as any number that is the same modulo 2**32."""
    residual &= MASK
    return (residual << 1) & MASK ^ (MASK if residual >> 31 else 0)


def unzigzag(words: Words) -> Values:
    result = (words & np.uint32(1)).view(np.int32)
    np.negative(result, result)
    result ^= (words >> np.uint32(1)).view(np.int32)
    return result


def _counts(frames: int) -> Indices:
    """The lengths of the groups of so many frames."""
    return np.minimum(GROUP, frames - np.arange(0, frames, GROUP))


def _groups(frames: Values, signed: Flags, *, opens: bool) -> _Groups:
    """Of `frames` (column, frame) the first LEAD are those before the first group."""
    columns, count = frames.shape[0], frames.shape[1] - LEAD
    groups = -(-count // GROUP)
    padded = np.zeros((columns, LEAD + groups * GROUP), np.int32)
    padded[:, : LEAD + count] = frames
    grouped = (columns, groups, GROUP)
    result = np.empty((GROUP, PREDICTORS, columns, groups), np.int32)
    result[:, ::2] = padded[:, LEAD:].reshape(grouped).transpose(2, 0, 1)[:, None]
    result[:, 1::2] = (padded[:, LEAD:] - padded[:, LEAD - 1 : -1]).reshape(grouped).transpose(2, 0, 1)[:, None]
    states = _states(padded, groups)
    if opens:
        states[1, :, 0] = result[0, DELTA, :, 0] << TREND_SHIFT
    _predict(result[:, SMOOTH:], states)
    result[GROUP - (groups * GROUP - count) :, :, :, -1] = 0
    words = ((result << 1) ^ (result >> 31)).view(np.uint32)
    words[:, VALUE, ~signed] = result[:, VALUE, ~signed].view(np.uint32)
    return _Groups(words, _counts(count), opens)


def _states(frames: Values, groups: int) -> Values:
    """What SMOOTH and TREND begin each group with, as (SMOOTH and TREND, column, group)."""
    leads = [frames[:, before : before + groups * GROUP : GROUP] for before in range(LEAD)]
    return np.stack([leads[0] + leads[1] + leads[2] + leads[3], leads[3] - leads[1]])


def _predict(series: Values, states: Values) -> None:
    """Makes residuals of values and deltas (frame, SMOOTH and TREND, column, group), in place."""
    predicted = np.empty_like(states)
    for frame in series:
        np.right_shift(states, _STATE_SHIFTS, predicted)
        np.subtract(frame, predicted, frame)
        np.add(states, frame, states)


def _plane_bits(widths: Indices | int, counts: Indices) -> Indices:
    return widths * counts + 7 >> 3 << 3


def _bit_lengths(values: npt.NDArray[np.integer]) -> Indices:
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _best(groups: _Groups) -> tuple[Codes, Indices]:
    """The code of each column and group, and the bits that it costs without its code byte.

    From k to k + 1, the quotients' sum q at least halves, and the planes grow by n bits, give or take 7. Thus a k with
    q >= 2 n + 14 is never the best, nor is one behind a q <= n - 7: three are looked at where a group is full. Costs
    are compared together with the codes that they are of, in the lowest eight bits.
    """
    residuals, counts = groups.residuals, groups.counts
    widths = _bit_lengths(residuals.max(axis=0))
    dtype = np.uint32 if int(widths.max(initial=0)) <= _SHORT_SUM_BITS else np.uint64
    costs = _plane_bits(widths, counts) << _CODE_BITS | PLAIN + widths
    sums = residuals.sum(axis=0, dtype=dtype).astype(np.int64)
    k = np.minimum(_bit_lengths(sums // (3 * counts + 14)), PLAIN - 1)
    left = residuals >> k.astype(np.uint32)
    few = np.maximum(counts - 7, 0)
    while True:
        sums = left.sum(axis=0, dtype=dtype).astype(np.int64)
        rice = sums + counts + _plane_bits(k, counts) << _CODE_BITS | k
        costs = np.where(k < PLAIN, np.minimum(costs, rice), costs)
        if not ((sums > few) & (k < PLAIN - 1)).any():
            break
        k, left = k + 1, left >> np.uint32(1)
    if groups.opens:
        costs[TREND, :, 0] += SLOPE_BITS << _CODE_BITS
    chosen = (costs | _PREDICTOR_CODES).min(axis=0)
    return chosen.astype(np.uint8), chosen >> _CODE_BITS


def _bits_of_beginnings(group: _Groups) -> Indices:
    """What one group would cost, code bytes and all, if it ended with each of its frames."""
    residuals, counts = group.residuals[..., 0], np.arange(1, GROUP + 1)[:, None, None]
    widths = _bit_lengths(np.maximum.accumulate(residuals, axis=0))
    # From k = the width on, a plain plane of any predictor is cheaper.
    useful = min(PLAIN, int(widths[-1].min(axis=0).max()))
    bits = _plane_bits(widths, counts)
    if useful:
        ks = np.arange(useful)[:, None, None, None]
        sums = (residuals >> ks.astype(np.uint32)).cumsum(axis=1, dtype=np.int64)
        bits = np.minimum(bits, (sums + counts + _plane_bits(ks, counts)).min(axis=0))
    if group.opens:
        bits[:, TREND] += SLOPE_BITS
    sizes: Indices = bits.min(axis=1).sum(axis=1) + _CODE_BITS * residuals.shape[2]
    return sizes


def bits_of_group(frames: Sequence[Sequence[int]], signed: Sequence[bool], *, opens: bool) -> tuple[list[int], int]:
    """The codes of one group, which follows the first LEAD of `frames`, and all its bits with the code bytes."""
    words = (np.array(frames, np.int64).T & MASK).astype(np.uint32).view(np.int32)
    codes, bits = _best(_groups(words, np.array(signed), opens=opens))
    return codes[:, 0].tolist(), int(bits.sum()) + _CODE_BITS * len(codes)


def _block(columns: Sequence[Column]) -> _Groups:
    """All groups of a block."""
    frames = np.stack([column.astype(np.int64).astype(np.int32) for column in columns])
    lead = np.repeat(frames[:, :1], LEAD - 1, axis=1)
    signed = np.array([column.dtype.kind == "i" for column in columns])
    return _groups(np.concatenate([lead, frames], axis=1), signed, opens=True)


def fit(columns: Sequence[Column], capacity: int) -> Fit:
    """As many of the leading frames as fit a payload of `capacity` bytes."""
    left = 8 * (capacity - sum(column.itemsize for column in columns))
    count = len(columns[0])
    if left < 0 or count < 2:
        return Fit(0 if left < 0 else count, partial(_head, columns))
    groups = _block(columns)
    codes, bits = _best(groups)
    sizes = np.cumsum(bits.sum(axis=0) + _CODE_BITS * len(columns))
    full = int(np.searchsorted(sizes, left, side="right"))
    if full < len(sizes):
        left -= int(sizes[full - 1]) if full else 0
        begun = int(np.count_nonzero(_bits_of_beginnings(groups.part(full, full + 1)) <= left))
        count = min(count, 1 + full * GROUP + begun)
    return Fit(count, lambda: _head(columns) + _body(groups.until(count - 1), codes[:, :full]))


def pack(columns: Sequence[Column]) -> bytes:
    """The payload that holds all frames."""
    if len(columns[0]) == 1:
        return _head(columns)
    groups = _block(columns)
    return _head(columns) + _body(groups, _best(groups)[0])


def _head(columns: Sequence[Column]) -> bytes:
    return b"".join(column[:1].tobytes() for column in columns)


def _body(groups: _Groups, codes: Codes) -> bytes:
    """The payload behind the first frame; `codes` (column, group) may be without those of a last group."""
    count, columns = len(groups.counts), len(codes)
    if codes.shape[1] < count:
        codes = np.concatenate([codes, _best(groups.part(count - 1, count))[0]], axis=1)
    if not count:
        return b""
    by_group = codes.T.astype(np.int64)
    predictors, packings = by_group >> PREDICTOR_SHIFT, by_group & (1 << PREDICTOR_SHIFT) - 1
    chosen = groups.residuals[:, predictors, np.arange(columns), np.arange(count)[:, None]].transpose(1, 2, 0)
    rice = packings < PLAIN
    widths = np.where(rice, packings, packings - PLAIN)
    sizes = widths * groups.counts[:, None] + 7 >> 3
    slopes = np.where(predictors[0] == TREND, SLOPE_BITS // 8, 0)
    sizes[0] += slopes
    stops = np.cumsum(sizes).reshape(count, columns) + columns * np.arange(1, count + 1)[:, None]
    starts = stops - sizes
    starts[0] += slopes
    planes = _planes(chosen, widths, starts, int(stops[-1, -1]))
    planes[stops[:, :1] - sizes[:, :1] - columns + np.arange(columns)] = by_group
    for index in np.flatnonzero(slopes).tolist():
        slope = unzigzag(groups.residuals[0, DELTA, index : index + 1, 0])
        planes[starts[0, index] - 4 : starts[0, index]] = slope.astype("<i4").view(np.uint8)
    counted = np.arange(GROUP) < np.where(rice, groups.counts[:, None], 0)[:, :, None]
    return planes.tobytes() + _unary((chosen >> widths[:, :, None].astype(np.uint32))[counted])


def _planes(residuals: Words, widths: Indices, starts: Indices, size: int) -> Codes:
    """So many bytes, with the low bits of the residuals (group, column, frame) in planes that begin at `starts`.

    A number goes into one 32-bit word or, in part, into the next; no two share a bit, so that sums are unions.
    """
    low = residuals.astype(np.uint64) & ((np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1))[:, :, None]
    at = (8 * starts[:, :, None] + widths[:, :, None] * np.arange(GROUP)).reshape(-1)
    shifted = low.reshape(-1) << (at & 31).astype(np.uint64)
    index, words = at >> 5, size // 4 + 1
    sums = np.bincount(index, shifted & np.uint64(MASK), words + GROUP + 1)
    sums[1:] += np.bincount(index, shifted >> np.uint64(32), words + GROUP + 1)[:-1]
    return sums.astype("<u4").view(np.uint8)[:size]


def _unary(quotients: Words) -> bytes:
    if not len(quotients):
        return b""
    ones = np.cumsum(quotients.astype(np.int64) + 1) - 1
    bits = np.zeros(int(ones[-1]) + 1, np.uint8)
    bits[ones] = 1
    return np.packbits(bits, bitorder="little").tobytes()[::-1]
