"""The decoder's half of the packed encoding: the payloads of many blocks at once, in numpy.

Rule of this module: groups are walked side by side in all blocks, and within a group nothing is walked: planes are
read per width, quotients are the distances between set bits, and one running sum over all residuals undoes the
predictors. Whatever a payload says, memory stays in proportion to the frames that `least_length` let its header claim.
The format is told in `packed`. Arrays have the group of a block before the block, so that a group of all blocks is
one piece of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.codec import Batch, Bytes, Column, Indices, Types
from fieldlog_protocol.blocks.packing import (
    GROUP,
    LEAD,
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
from fieldlog_protocol.blocks.planes import numbers
from fieldlog_protocol.blocks.raw import frame_dtype
from fieldlog_protocol.errors import BlockError

_SLOPE_BYTES = SLOPE_BITS // 8
# What is made of so many groups, and of so many bytes of bits, stays in the cache.
_MOST_ALIKE = 2048
_UNARY_PIECE = 1 << 13
_PACKINGS = np.arange(1 << PREDICTOR_SHIFT)
_WIDTHS = np.where(_PACKINGS < PLAIN, _PACKINGS, _PACKINGS - PLAIN)
"""Of each packing: how many bits of a residual its plane holds."""
_SHIFTS = np.array([{SMOOTH: SMOOTH_SHIFT, TREND: TREND_SHIFT}.get(number, 0) for number in range(4)], np.int32)
"""Of each predictor: how far the state is shifted that the next residual is added to."""


@dataclass(frozen=True, slots=True)
class _Groups:
    """What a batch's groups say of themselves, as (group, block, column).

    `counts` (group, block) are the residuals of each column, 0 where a block has fewer groups than the longest;
    `offsets` lead to the planes, behind the slope where there is one. `ends` (per block) is where the last plane stops.
    """

    predictors: Bytes
    packings: Bytes
    counts: Indices
    offsets: Indices
    ends: Indices


def unpack(types: Types, batch: Batch) -> list[Column]:
    """The columns of all blocks, one behind the other."""
    heads = _heads(types, batch)
    groups = _walk(types, batch)
    series = _integrated(_residuals(types, batch, groups), heads, groups.predictors, _slopes(batch.data, groups))
    there = np.arange(1 + GROUP * len(series)) < batch.counts[:, None]
    return [_cut(series[:, :, column], heads[:, column], there, type_.dtype) for column, type_ in enumerate(types)]


def _heads(types: Types, batch: Batch) -> Values:
    """The first frames, as (block, column) of 32-bit patterns."""
    dtype = frame_dtype(types)
    frames = batch.data[batch.offsets[:, None] + np.arange(dtype.itemsize)].view(dtype)[:, 0]
    columns = [frames[f"c{column}"].astype(np.int64).astype(np.int32) for column in range(len(types))]
    return np.stack(columns, axis=1)


def _walk(types: Types, batch: Batch) -> _Groups:
    columns, ends = len(types), batch.offsets + batch.lengths
    most = int((batch.counts.max(initial=1) + (GROUP - 2)) // GROUP)
    counts = np.clip(batch.counts - 1 - GROUP * np.arange(most)[:, None], 0, GROUP)
    codes = np.empty((most, len(ends), columns), np.uint8)
    offsets = np.empty(codes.shape, np.int64)
    position = batch.offsets + frame_dtype(types).itemsize
    for group, count in enumerate(counts):
        # A position beyond the payload is caught below; until then it must only stay inside the data.
        here = batch.data[np.minimum(position, ends - columns)[:, None] + np.arange(columns)]
        here[count == 0] = PLAIN
        planes = (_WIDTHS[_packings(here)] * count[:, None] + 7) >> 3
        slopes = (_predictors(here) == TREND) * _SLOPE_BYTES if group == 0 else 0
        stops = np.cumsum(planes + slopes, axis=1) + (position + columns)[:, None]
        codes[group], offsets[group] = here, stops - planes
        position = np.where(count > 0, stops[:, -1], position)
    if (position > ends).any():
        raise BlockError("a packed block's groups are longer than its payload")
    return _Groups(_predictors(codes), _packings(codes), counts, offsets, position)


def _predictors(codes: Bytes) -> Bytes:
    return codes >> np.uint8(PREDICTOR_SHIFT)


def _packings(codes: Bytes) -> Bytes:
    return codes & np.uint8((1 << PREDICTOR_SHIFT) - 1)


def _slopes(data: Bytes, groups: _Groups) -> Values:
    """The deltas before the first groups, as (block, column), 0 where there is none."""
    slopes = np.zeros(groups.packings.shape[1:], np.int32)
    if len(groups.packings):
        trend = groups.predictors[0] == TREND
        at = groups.offsets[0][trend] - _SLOPE_BYTES
        slopes[trend] = data[at[:, None] + np.arange(_SLOPE_BYTES)].view("<i4")[:, 0]
    return slopes


def _residuals(types: Types, batch: Batch, groups: _Groups) -> Values:
    """The residuals as (group, block, column, frame of the group); what stands behind a group's last is arbitrary."""
    packings, offsets = groups.packings.reshape(-1), groups.offsets.reshape(-1)
    unsigned = np.array([type_.minimum >= 0 for type_ in types])
    as_they_are = (unsigned & (groups.predictors == VALUE)).reshape(-1)
    some_as_they_are = bool(as_they_are.any())
    quotients = np.lib.stride_tricks.sliding_window_view(_quotients(batch, groups), GROUP)
    firsts = _first_quotients(groups).reshape(-1)
    result = np.empty((len(packings), GROUP), np.int32)
    for packing, chosen in _alike(packings):
        low = numbers(batch.data, offsets[chosen], int(_WIDTHS[packing]))
        if packing < PLAIN:
            residuals = quotients[firsts[chosen]]
            residuals <<= np.uint32(packing)
            residuals += low
        else:
            residuals = low.astype(np.uint32)
        values = unzigzag(residuals)
        if some_as_they_are:
            plain = np.flatnonzero(as_they_are[chosen])
            values[plain] = residuals[plain].view(np.int32)
        result[chosen] = values
    return result.reshape(*groups.packings.shape, GROUP)


def _alike(packings: Bytes) -> Iterator[tuple[int, Indices]]:
    """Groups of one packing, each time as many as stay in the cache with all that is made of them."""
    for packing in np.flatnonzero(np.bincount(packings, minlength=1)).tolist():
        found = np.flatnonzero(packings == packing)
        for start in range(0, len(found), _MOST_ALIKE):
            yield packing, found[start : start + _MOST_ALIKE]


def _rice_counts(groups: _Groups) -> Indices:
    """How many of its quotients each group has in the unary plane, as (group, block, column)."""
    return (groups.packings < PLAIN) * groups.counts[:, :, None]


def _first_quotients(groups: _Groups) -> Indices:
    """Where each group's quotients begin among those of the whole batch, which lie block by block."""
    counts = np.ascontiguousarray(_rice_counts(groups).transpose(1, 0, 2))
    firsts = np.cumsum(counts) - counts.reshape(-1)
    return np.ascontiguousarray(firsts.reshape(counts.shape).transpose(1, 0, 2))


def _quotients(batch: Batch, groups: _Groups) -> Words:
    """The quotients in their order on the wire, and behind them as many numbers as a group has frames."""
    counts = _rice_counts(groups).sum(axis=(0, 2))
    lengths = batch.offsets + batch.lengths - groups.ends
    starts = np.cumsum(lengths) - lengths
    ones = _ones(_unary(batch, groups.ends))
    filled = np.flatnonzero(counts)
    stops = np.cumsum(counts)[filled]
    firsts = stops - counts[filled]
    if len(ones) != counts.sum() or ((counts == 0) & (lengths > 0)).any():
        raise BlockError("a packed block's unary plane has more or fewer ones than its groups have residuals")
    first, last = ones[firsts].astype(np.int64), ones[stops - 1].astype(np.int64)
    own = (first >= 8 * starts[filled]) & (last // 8 == (starts + lengths)[filled] - 1)
    if not own.all():
        raise BlockError("a packed block's unary plane does not end with the last residual's one")
    result = np.zeros(len(ones) + GROUP, np.uint32)
    between = result[1 : len(ones)]
    np.subtract(ones[1:], ones[:-1], between)
    between -= np.uint32(1)
    result[firsts] = first - 8 * starts[filled]
    return result


def _ones(plane: Bytes) -> Words:
    """The numbers of the bits that are ones: of a batch they are far below 2**32."""
    found = [np.zeros(0, np.uint32)]
    for start in range(0, len(plane), _UNARY_PIECE):
        bits = np.unpackbits(plane[start : start + _UNARY_PIECE], bitorder="little").view(np.bool_)
        places = np.flatnonzero(bits).astype(np.uint32)
        places += np.uint32(8 * start)
        found.append(places)
    return np.concatenate(found)


def _unary(batch: Batch, starts: Indices) -> Bytes:
    """The unary planes, which run from each payload's end back to `starts`, one behind the other and forwards."""
    data, stops = batch.data.data, batch.offsets + batch.lengths
    spans = zip(starts[::-1].tolist(), stops[::-1].tolist(), strict=True)
    return np.frombuffer(b"".join([data[start:stop] for start, stop in spans]), np.uint8)[::-1]


def _integrated(residuals: Values, heads: Values, predictors: Bytes, slopes: Values) -> Values:
    """Values of residuals (group, block, column, frame). Each group begins where the one before ended.

    Every predictor adds a residual to a state shifted down, and the state grows by the residual; only of TREND this
    gives deltas, and of VALUE there is no state. So the sums of all that was before, made in one go over all groups
    modulo 2**32, need but the difference to the group's own state.
    """
    sums = np.cumsum(residuals.reshape(-1), dtype=np.int32).reshape(residuals.shape)
    sums -= residuals
    last, smooth, trend = heads, heads << SMOOTH_SHIFT, slopes << TREND_SHIFT
    for group, predictor in enumerate(predictors):
        values = sums[group]
        states = np.choose(predictor, [values[:, :, 0], last, smooth, trend])
        _add_state(values, states, _SHIFTS[predictor])
        _without_state(values, predictor == VALUE)
        np.add(values, residuals[group], out=values)
        _sum_up(values, predictor == TREND, last)
        last = values[:, :, -1].copy()
        smooth = values[:, :, -LEAD:].sum(axis=2, dtype=np.int32)
        trend = last - values[:, :, -3]
    return sums


def _add_state(sums: Values, states: Values, shifts: Values) -> None:
    """What each residual of a group is added to, from sums over all that was before; in place."""
    sums += (states - sums[:, :, 0])[:, :, None]
    sums >>= shifts[:, :, None]


def _without_state(values: Values, rows: npt.NDArray[np.bool_]) -> None:
    if rows.any():
        values[rows] = 0


def _sum_up(values: Values, rows: npt.NDArray[np.bool_], last: Values) -> None:
    """Makes values of the deltas in `rows`."""
    if rows.any():
        values[rows] = np.cumsum(values[rows], axis=1, dtype=np.int32) + last[rows][:, None]


def _cut(series: Values, heads: Values, there: npt.NDArray[np.bool_], dtype: str) -> Column:
    """One column's values (group, block, frame) with the first frames before them, each block only as long as it is."""
    table = np.empty(there.shape, dtype)
    table[:, 0] = heads
    table[:, 1:].reshape(len(heads), len(series), GROUP)[:] = series.transpose(1, 0, 2)
    return table[there]
