"""The decoder's half of the packed encoding: the payloads of many blocks at once, in numpy.

Rule of this module: groups are walked side by side in all blocks, and within a group nothing is walked: planes are
read per width, quotients are the distances between set bits, and one running sum over all residuals undoes the
predictors. Whatever a payload says, memory stays in proportion to the frames that `least_length` let its header claim.
The format is told in `packed`. Arrays have the group of a block before the block, so that a group of all blocks is
one piece of memory; a group that few blocks have takes no more room than they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
_FULL_ENOUGH = 0.85
"""The part of a table of all blocks and groups that must be there for the blocks to be taken as being alike."""
_PACKINGS = np.arange(1 << PREDICTOR_SHIFT)
_WIDTHS = np.where(_PACKINGS < PLAIN, _PACKINGS, _PACKINGS - PLAIN)
"""Of each packing: how many bits of a residual its plane holds."""
_SHIFTS = np.array([{SMOOTH: SMOOTH_SHIFT, TREND: TREND_SHIFT}.get(number, 0) for number in range(4)], np.int32)
"""Of each predictor: how far the state is shifted that the next residual is added to."""


class _Table:
    """Where the groups of some blocks stand: group after group, of each those blocks that have it, the longest first.

    `blocks` are the blocks in this order, `most` is how many of them have each group, `rows` is where it stands, and
    `counts` how many frames each row of the table has. Block b has `sizes[b]` rows.
    """

    def __init__(self, counts: Indices, groups: Indices) -> None:
        self.sizes = groups
        self.blocks = np.argsort(-groups, kind="stable")
        most = len(groups) - np.cumsum(np.bincount(groups, minlength=1))[:-1]
        stops = np.cumsum(most)
        block: Indices = np.arange(int(most.sum())) - np.repeat(stops - most, most)
        group = np.repeat(np.arange(len(most)), most)
        self._places = (np.cumsum(groups) - groups)[self.blocks][block] + group
        self.counts = np.clip(counts[self.blocks][block] - 1 - GROUP * group, 0, GROUP)
        self.most: list[int] = most.tolist()
        self.rows = [slice(stop - size, stop) for stop, size in zip(stops.tolist(), self.most, strict=True)]

    def by_block(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What the rows have, block by block as the blocks came."""
        result = np.empty_like(values)
        result[self._places] = values
        return result

    def by_row(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse."""
        result: npt.NDArray[Any] = values[self._places]
        return result

    def cut(self, series: Values, heads: Values, counts: Indices, types: Types) -> list[Column]:
        """The columns of values (row, column, frame) with the first frames before them, each block as long as it is."""
        rows = self.by_block(np.arange(len(self.counts)))
        there = np.arange(GROUP) < self.counts[rows][:, None]
        starts = np.cumsum(counts) - counts
        behind = np.ones(int(counts.sum()), np.bool_)
        behind[starts] = False
        found: list[Column] = []
        for column, type_ in enumerate(types):
            values = np.empty(len(behind), type_.dtype)
            values[starts] = heads[:, column]
            values[behind] = series[rows, column][there]
            found.append(values)
        return found


class _Rectangle(_Table):
    """The same where all blocks are about as long as the longest, which is the rule and takes less time.

    They stay in their order, and the groups that some lack are there and empty.
    """

    def __init__(self, counts: Indices, groups: int) -> None:
        blocks = len(counts)
        self._shape = (groups, blocks)
        self.sizes = np.full(blocks, groups)
        self.blocks = np.arange(blocks)
        self.most = [blocks] * groups
        self.rows = [slice(group * blocks, (group + 1) * blocks) for group in range(groups)]
        self.counts = np.clip(counts - 1 - GROUP * np.arange(groups)[:, None], 0, GROUP).reshape(-1)

    def by_block(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return _swapped(values, self._shape)

    def by_row(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        groups, blocks = self._shape
        return _swapped(values, (blocks, groups))

    def cut(self, series: Values, heads: Values, counts: Indices, types: Types) -> list[Column]:
        groups, blocks = self._shape
        there = np.arange(1 + GROUP * groups) < counts[:, None]
        found: list[Column] = []
        for column, type_ in enumerate(types):
            frames = np.empty(there.shape, type_.dtype)
            frames[:, 0] = heads[:, column]
            values = series[:, column].reshape(groups, blocks, GROUP)
            frames[:, 1:].reshape(blocks, groups, GROUP)[:] = values.transpose(1, 0, 2)
            found.append(frames[there])
        return found


def _swapped(values: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    table = values.reshape(*shape, *values.shape[1:])
    return np.ascontiguousarray(table.swapaxes(0, 1)).reshape(values.shape)


def _table(counts: Indices) -> _Table:
    groups = (counts + (GROUP - 2)) // GROUP
    longest = int(groups.max(initial=0))
    alike = int(groups.sum()) >= _FULL_ENOUGH * longest * len(groups)
    return _Rectangle(counts, longest) if alike else _Table(counts, groups)


@dataclass(frozen=True, slots=True)
class _Groups:
    """What a batch's groups say of themselves, as (row of the table, column).

    `offsets` lead to the planes, behind the slope where there is one. `ends` (per block) is where the last plane stops.
    """

    predictors: Bytes
    packings: Bytes
    offsets: Indices
    ends: Indices


def unpack(types: Types, batch: Batch) -> list[Column]:
    """The columns of all blocks, one behind the other."""
    table = _table(batch.counts)
    heads = _heads(types, batch)
    groups = _walk(types, batch, table)
    residuals = _residuals(types, batch, table, groups)
    slopes = _slopes(batch.data, table, groups)
    series = _integrated(residuals, table, heads[table.blocks], groups.predictors, slopes)
    return table.cut(series, heads, batch.counts, types)


def _heads(types: Types, batch: Batch) -> Values:
    """The first frames, as (block, column) of 32-bit patterns."""
    dtype = frame_dtype(types)
    frames = batch.data[batch.offsets[:, None] + np.arange(dtype.itemsize)].view(dtype)[:, 0]
    columns = [frames[f"c{column}"].astype(np.int64).astype(np.int32) for column in range(len(types))]
    return np.stack(columns, axis=1)


def _walk(types: Types, batch: Batch, table: _Table) -> _Groups:
    columns = len(types)
    offsets = np.empty((len(table.counts), columns), np.int64)
    codes = np.empty(offsets.shape, np.uint8)
    ends = (batch.offsets + batch.lengths)[table.blocks]
    positions = batch.offsets[table.blocks] + frame_dtype(types).itemsize
    for group, (rows, most) in enumerate(zip(table.rows, table.most, strict=True)):
        count, position = table.counts[rows], positions[:most]
        # A position beyond the payload is caught below; until then it must only stay inside the data.
        here = batch.data[np.minimum(position, ends[:most] - columns)[:, None] + np.arange(columns)]
        here[count == 0] = PLAIN
        planes = (_WIDTHS[_packings(here)] * count[:, None] + 7) >> 3
        slopes = (_predictors(here) == TREND) * _SLOPE_BYTES if group == 0 else 0
        stops = (planes + slopes).cumsum(axis=1) + (position + columns)[:, None]
        codes[rows], offsets[rows] = here, stops - planes
        np.copyto(position, stops[:, -1], where=count > 0)
    if (positions > ends).any():
        raise BlockError("its packed groups are longer than its payload")
    in_order = np.empty_like(positions)
    in_order[table.blocks] = positions
    return _Groups(_predictors(codes), _packings(codes), offsets, in_order)


def _predictors(codes: Bytes) -> Bytes:
    return codes >> np.uint8(PREDICTOR_SHIFT)


def _packings(codes: Bytes) -> Bytes:
    return codes & np.uint8((1 << PREDICTOR_SHIFT) - 1)


def _slopes(data: Bytes, table: _Table, groups: _Groups) -> Values:
    """The deltas before the first groups, as (block, column) in the table's order, 0 where there is none."""
    slopes = np.zeros((len(table.blocks), groups.packings.shape[1]), np.int32)
    for rows in table.rows[:1]:
        block, column = np.nonzero(groups.predictors[rows] == TREND)
        at = groups.offsets[block, column] - _SLOPE_BYTES
        slopes[block, column] = data[at[:, None] + np.arange(_SLOPE_BYTES)].view("<i4")[:, 0]
    return slopes


def _residuals(types: Types, batch: Batch, table: _Table, groups: _Groups) -> Values:
    """The residuals as (row, column, frame of the group); what stands behind a group's last is arbitrary."""
    packings, offsets = groups.packings.reshape(-1), groups.offsets.reshape(-1)
    unsigned = np.array([type_.minimum >= 0 for type_ in types])
    as_they_are = (unsigned & (groups.predictors == VALUE)).reshape(-1)
    some_as_they_are = bool(as_they_are.any())
    firsts, totals = _quotient_places(table, groups)
    quotients = np.lib.stride_tricks.sliding_window_view(_quotients(batch, groups.ends, totals), GROUP)
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


def _quotient_places(table: _Table, groups: _Groups) -> tuple[Indices, Indices]:
    """Where each group's quotients begin, per row and column, among those of the batch; how many each block has.

    They lie block by block, and in a block group by group.
    """
    counts = table.by_block((groups.packings < PLAIN) * table.counts[:, None])
    sums = np.concatenate(([0], np.cumsum(counts)))
    firsts = table.by_row(sums[:-1].reshape(counts.shape)).reshape(-1)
    edges = np.concatenate(([0], np.cumsum(table.sizes))) * counts.shape[1]
    return firsts, np.diff(sums[edges])


def _quotients(batch: Batch, ends: Indices, counts: Indices) -> Words:
    """The quotients in their order on the wire, and behind them as many numbers as a group has frames.

    Of each block `counts` tells how many it has, and `ends` where the unary plane stops that holds them.
    """
    lengths = batch.offsets + batch.lengths - ends
    starts = np.cumsum(lengths) - lengths
    ones = _ones(_unary(batch, ends))
    filled = np.flatnonzero(counts)
    stops = np.cumsum(counts)[filled]
    firsts = stops - counts[filled]
    if len(ones) != counts.sum() or ((counts == 0) & (lengths > 0)).any():
        raise BlockError("its packed unary plane has more or fewer ones than its groups have residuals")
    first, last = ones[firsts].astype(np.int64), ones[stops - 1].astype(np.int64)
    own = (first >= 8 * starts[filled]) & (last // 8 == (starts + lengths)[filled] - 1)
    if not own.all():
        raise BlockError("its packed unary plane does not end with the last residual's one")
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


def _integrated(residuals: Values, table: _Table, heads: Values, predictors: Bytes, slopes: Values) -> Values:
    """Values of residuals (row, column, frame). Each group begins where the one before ended.

    Every predictor adds a residual to a state shifted down, and the state grows by the residual; only of TREND this
    gives deltas, and of VALUE there is no state. So the sums of all that was before, made in one go over all groups
    modulo 2**32, need but the difference to the group's own state.
    """
    sums = np.cumsum(residuals.reshape(-1), dtype=np.int32).reshape(residuals.shape)
    sums -= residuals
    last, smooth, trend = heads, heads << SMOOTH_SHIFT, slopes << TREND_SHIFT
    for rows, most in zip(table.rows, table.most, strict=True):
        values, predictor = sums[rows], predictors[rows]
        states = np.choose(predictor, [values[:, :, 0], last[:most], smooth[:most], trend[:most]])
        _add_state(values, states, _SHIFTS[predictor])
        _without_state(values, predictor == VALUE)
        np.add(values, residuals[rows], out=values)
        _sum_up(values, predictor == TREND, last[:most])
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
