"""The decoder's half of the packed encoding: the payloads of many blocks at once, in numpy.

Rule of this module: groups are walked side by side in all blocks, and within a group nothing is walked: planes are
gathered per width, quotients are the distances between set bits, and sums undo the predictors. Whatever a payload
says, memory stays in proportion to the frames that `least_length` let its header claim. The format is told in `packed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.codec import Batch, Bytes, Column, Indices, Types
from fieldlog_protocol.blocks.packing import (
    DELTA,
    GROUP,
    LEAD,
    MASK,
    PLAIN,
    PREDICTOR_SHIFT,
    SLOPE_BITS,
    SMOOTH,
    SMOOTH_SHIFT,
    TREND,
    TREND_SHIFT,
    VALUE,
    Values,
    Words,
    unzigzag,
)
from fieldlog_protocol.blocks.raw import frame_dtype
from fieldlog_protocol.errors import BlockError

_SLOPE_BYTES = SLOPE_BITS // 8


@dataclass(frozen=True, slots=True)
class _Groups:
    """What a batch's groups say of themselves, as (block, group, column).

    `counts` are the residuals of each, 0 where a block has fewer groups than the longest; `offsets` lead to the planes,
    behind the slope where there is one. `ends` (per block) is where the last plane stops.
    """

    codes: Bytes
    counts: Indices
    offsets: Indices
    ends: Indices

    @property
    def predictors(self) -> Bytes:
        return _predictors(self.codes)

    @property
    def packings(self) -> Bytes:
        return _packings(self.codes)


def _predictors(codes: Bytes) -> Bytes:
    return codes >> np.uint8(PREDICTOR_SHIFT)


def _packings(codes: Bytes) -> Bytes:
    return codes & np.uint8((1 << PREDICTOR_SHIFT) - 1)


def unpack(types: Types, batch: Batch) -> list[Column]:
    """The columns of all blocks, one behind the other."""
    heads = _heads(types, batch)
    groups = _walk(types, batch)
    series = _residuals(types, batch, groups)
    _integrate(series, heads, groups.predictors.transpose(2, 0, 1), _slopes(batch.data, groups))
    there = np.arange(1 + int(series[0, 0].size)) < batch.counts[:, None]
    return [_cut(series[column], heads[column], there, type_.dtype) for column, type_ in enumerate(types)]


def _heads(types: Types, batch: Batch) -> Values:
    """The first frames, as (column, block) of 32-bit patterns."""
    dtype = frame_dtype(types)
    frames = batch.data[batch.offsets[:, None] + np.arange(dtype.itemsize)].view(dtype)[:, 0]
    return np.stack([frames[f"c{column}"].astype(np.int64).astype(np.int32) for column in range(len(types))])


def _walk(types: Types, batch: Batch) -> _Groups:
    columns, ends = len(types), batch.offsets + batch.lengths
    most = int((batch.counts.max(initial=1) + (GROUP - 2)) // GROUP)
    counts = np.clip(batch.counts[:, None] - 1 - GROUP * np.arange(most), 0, GROUP)
    codes = np.empty((len(ends), most, columns), np.uint8)
    offsets = np.empty(codes.shape, np.int64)
    position = batch.offsets + frame_dtype(types).itemsize
    for group in range(most):
        # A position beyond the payload is caught below; until then it must only stay inside the data.
        here = batch.data[np.minimum(position, ends - columns)[:, None] + np.arange(columns)]
        here[counts[:, group] == 0] = PLAIN
        slopes = np.where((_predictors(here) == TREND) & (group == 0), _SLOPE_BYTES, 0)
        planes = slopes + (_widths(_packings(here)) * counts[:, group, None] + 7) // 8
        stops = np.cumsum(planes, axis=1)
        codes[:, group] = here
        offsets[:, group] = (position + columns)[:, None] + stops - planes + slopes
        position = position + np.where(counts[:, group] > 0, columns + stops[:, -1], 0)
    if (position > ends).any():
        raise BlockError("a packed block's groups are longer than its payload")
    return _Groups(codes, np.broadcast_to(counts[:, :, None], codes.shape), offsets, position)


def _widths(packings: Bytes) -> Indices:
    """How many bits of each residual its plane holds."""
    wide = packings.astype(np.int64)
    return np.where(wide < PLAIN, wide, wide - PLAIN)


def _slopes(data: Bytes, groups: _Groups) -> Values:
    """The deltas before the first groups, as (column, block), 0 where there is none."""
    blocks, most, columns = groups.codes.shape
    slopes = np.zeros((blocks, columns), np.int32)
    if most:
        trend = groups.predictors[:, 0] == TREND
        at = groups.offsets[:, 0][trend] - _SLOPE_BYTES
        slopes[trend] = data[at[:, None] + np.arange(_SLOPE_BYTES)].view("<i4")[:, 0]
    return slopes.T


def _residuals(types: Types, batch: Batch, groups: _Groups) -> Values:
    """The residuals as (column, block, group, frame of the group); what stands behind a group's last is arbitrary."""
    blocks, most, columns = groups.codes.shape
    codes = groups.codes.transpose(2, 0, 1).reshape(-1)
    offsets = groups.offsets.transpose(2, 0, 1).reshape(-1)
    firsts = _first_quotients(groups).transpose(2, 0, 1).reshape(-1)
    packings = _packings(codes)
    unsigned = np.repeat([type_.minimum >= 0 for type_ in types], blocks * most)
    as_they_are = unsigned & (_predictors(codes) == VALUE)
    some_as_they_are = bool(as_they_are.any())
    distances = np.lib.stride_tricks.sliding_window_view(_distances(batch, groups), GROUP)
    result = np.empty((len(codes), GROUP), np.int32)
    for packing in np.flatnonzero(np.bincount(packings, minlength=1)).tolist():
        chosen = np.flatnonzero(packings == packing)
        if packing < PLAIN:
            # (quotient << k) + low bits; a distance is one more than its quotient
            residuals = distances[firsts[chosen]]
            residuals <<= np.uint32(packing)
            residuals += _gather(batch.data, offsets[chosen], packing, less_one=True)
        else:
            residuals = _gather(batch.data, offsets[chosen], packing - PLAIN, less_one=False)
        values = unzigzag(residuals)
        if some_as_they_are:
            plain = np.flatnonzero(as_they_are[chosen])
            values[plain] = residuals[plain].view(np.int32)
        result[chosen] = values
    return result.reshape(columns, blocks, most, GROUP)


def _rice_counts(groups: _Groups) -> Indices:
    return np.where(groups.packings < PLAIN, groups.counts, 0)


def _first_quotients(groups: _Groups) -> Indices:
    """Where each group's quotients begin among those of the whole batch."""
    counts = _rice_counts(groups)
    return (np.cumsum(counts) - counts.reshape(-1)).reshape(counts.shape)


def _distances(batch: Batch, groups: _Groups) -> Words:
    """One more than each quotient, in their order on the wire, and behind them as many numbers as a group has frames."""
    counts = _rice_counts(groups).sum(axis=(1, 2))
    lengths = batch.offsets + batch.lengths - groups.ends
    starts = np.cumsum(lengths) - lengths
    ones = np.flatnonzero(np.unpackbits(_unary(batch, groups.ends), bitorder="little").view(np.bool_))
    filled = np.flatnonzero(counts)
    stops = np.cumsum(counts)[filled]
    firsts = stops - counts[filled]
    if len(ones) != counts.sum() or ((counts == 0) & (lengths > 0)).any():
        raise BlockError("a packed block's unary plane has more or fewer ones than its groups have residuals")
    own = (ones[firsts] >= 8 * starts[filled]) & (ones[stops - 1] // 8 == (starts + lengths)[filled] - 1)
    if not own.all():
        raise BlockError("a packed block's unary plane does not end with the last residual's one")
    result = np.ones(len(ones) + GROUP, np.uint32)
    # The batch has far fewer than 2**32 bits, and of half as wide numbers twice as many stay in the cache.
    places = ones.astype(np.uint32)
    np.subtract(places[1:], places[:-1], result[1 : len(ones)])
    result[firsts] = ones[firsts] - 8 * starts[filled] + 1
    return result


def _unary(batch: Batch, starts: Indices) -> Bytes:
    """The unary planes, which run from each payload's end back to `starts`, one behind the other and forwards."""
    data, stops = batch.data.data, batch.offsets + batch.lengths
    spans = zip(starts[::-1].tolist(), stops[::-1].tolist(), strict=True)
    return np.frombuffer(b"".join([data[start:stop] for start, stop in spans]), np.uint8)[::-1]


@cache
def _lanes(width: int) -> int:
    """How many values of a plane one 64-bit word can serve, wherever in its first byte they begin."""
    return next(n for n in (8, 4, 2, 1) if max(start * width & 7 for start in range(0, GROUP, n)) + n * width <= 64)


def _gather(data: Bytes, offsets: Indices, width: int, *, less_one: bool) -> Words:
    """64 values of `width` bits at each of `offsets`, as (plane, value); `less_one`: of what is above them, one less."""
    above = np.uint32(MASK << width & MASK)
    if width == 0:
        return np.full((len(offsets), GROUP), above if less_one else 0, np.uint32)
    lanes = _lanes(width)
    bits = np.arange(0, GROUP, lanes, dtype=np.uint64) * np.uint64(width)
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))[
        offsets[:, None] + (bits >> np.uint64(3)).astype(np.int64)
    ]
    words >>= bits & np.uint64(7)
    low = words.view("<u4")[:, ::2]
    result = np.empty((len(offsets), GROUP // lanes, lanes), np.uint32)
    for lane in range(lanes):
        if lane:
            words >>= np.uint64(width)
        if less_one:
            np.bitwise_or(low, above, result[:, :, lane])
        else:
            np.bitwise_and(low, ~above, result[:, :, lane])
    return result.reshape(-1, GROUP)


def _integrate(series: Values, heads: Values, predictors: Bytes, slopes: Values) -> None:
    """Turns residuals (column, block, group, frame) into values, in place; each group begins where the last one ended."""
    last, smooth, trend = heads, heads << SMOOTH_SHIFT, slopes << TREND_SHIFT
    for group in range(series.shape[2]):
        values, predictor = series[:, :, group], predictors[:, :, group]
        _unpredict(values, predictor == SMOOTH, smooth, SMOOTH_SHIFT)
        _unpredict(values, predictor == TREND, trend, TREND_SHIFT)
        sums = (predictor == DELTA) | (predictor == TREND)
        values[:, :, 0] += np.where(sums, last, 0)
        _accumulate(values, sums)
        last = values[:, :, -1].copy()
        smooth = values[:, :, -LEAD:].sum(axis=2, dtype=np.int32)
        trend = last - values[:, :, -3]


def _unpredict(values: Values, rows: npt.NDArray[np.bool_], states: Values, shift: int) -> None:
    """Adds to the residuals of `rows` what was predicted: the state before each, which the residuals add up to."""
    if rows.any():
        residuals = values[rows]
        sums = np.empty_like(residuals)
        sums[:, 0] = states[rows]
        sums[:, 1:] = residuals[:, :-1]
        np.cumsum(sums, axis=1, out=sums)
        sums >>= shift
        sums += residuals
        values[rows] = sums


def _accumulate(values: Values, rows: npt.NDArray[np.bool_]) -> None:
    if rows.all():
        np.cumsum(values, axis=2, out=values)
    elif rows.any():
        values[rows] = np.cumsum(values[rows], axis=1, dtype=np.int32)


def _cut(series: Values, heads: Values, there: npt.NDArray[np.bool_], dtype: str) -> Column:
    """One column's values with the first frames before them, each block only as long as it is."""
    table = np.empty(there.shape, dtype)
    table[:, 0] = heads
    table[:, 1:] = series.reshape(len(series), -1)
    return table[there]
