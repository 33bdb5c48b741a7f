"""Packed payloads: delta or double delta residuals, bit-packed in groups of 16 frames, each group at its own width.

Rule of this module: all arithmetic is modulo 2**32, in the encoder and in the decoder, so that any 32-bit column comes
back exactly; and nothing here walks over single values in Python but `PackedMeter`, which is what a device does.

The payload, for C columns: C times {u8 predictor: 1 delta, 2 double delta; i32 first value}, then per group of 16
frames (the first frame is the base and in no group) C width bytes of 0 to 32, and per column 2 * width bytes of zigzag
residuals, least significant bit first. The last group is coded in full even when the frames end within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.codec import Batch, Column, Hint, Indices, Types
from fieldlog_protocol.errors import BlockError

GROUP = 16
DELTA = 1
DOUBLE_DELTA = 2
_BASE = np.dtype([("predictor", "u1"), ("base", "<i4")])
_MAX_WIDTH = 32
_MASK = 0xFFFFFFFF
_SWITCH_PERCENT = 97  # another predictor must be 3 % cheaper before the next block changes to it
_FIRST_WINDOW = 64  # groups looked at first when a block is filled in bulk; doubled until the block is full

Words: TypeAlias = npt.NDArray[np.uint32]


class PackedCodec:
    def meter(self, types: Types, capacity: int, hint: Hint) -> PackedMeter:
        return PackedMeter(capacity, _predictors(hint, len(types)))

    def fit(self, columns: Sequence[Column], capacity: int, hint: Hint) -> int:
        available = len(columns[0])
        window = _FIRST_WINDOW * GROUP + 1
        while True:
            frames = _words([column[: min(window, available)] for column in columns])
            count = _fit_window(frames, capacity, _predictors(hint, len(columns)))
            if count < frames.shape[1] or count == available:
                return count
            window *= 2

    def encode(self, columns: Sequence[Column], hint: Hint) -> tuple[bytes, Hint]:
        frames = _words(columns)
        predictors = _predictors(hint, len(columns))
        deltas = _zigzag(_deltas(frames))
        double_deltas = _zigzag(_double_deltas(frames))
        residuals = np.where((np.array(predictors) == DELTA)[:, None], deltas, double_deltas)
        heads = np.zeros(len(columns), _BASE)
        heads["predictor"] = predictors
        heads["base"] = frames[:, 0].view(np.int32)
        return heads.tobytes() + _pack(residuals), _next_predictors(predictors, deltas, double_deltas)

    def least_length(self, types: Types, counts: Indices) -> Indices:
        return (_BASE.itemsize + _groups(counts)) * len(types)

    def decode(self, types: Types, batch: Batch) -> list[Column]:
        heads = batch.data[batch.offsets[:, None] + np.arange(len(types) * _BASE.itemsize)].view(_BASE)
        double = _double_flags(heads["predictor"])
        widths, offsets = _walk(batch, len(types))
        table = _unpack(batch.data, widths, offsets)
        return _integrate(table, heads["base"], double, batch.counts, types)


class PackedMeter:
    """The size of a packed payload, frame by frame, in the memory of a small device: a few words per column."""

    def __init__(self, capacity: int, predictors: Hint) -> None:
        self._capacity = capacity
        self._predictors = predictors
        self._last: list[int] = []
        self._delta = [0] * len(predictors)
        self._maxima = [0] * len(predictors)
        self._closed = len(predictors) * _BASE.itemsize
        self._frames = 0

    def admit(self, frame: Sequence[Any]) -> bool:
        if self._frames == 0:
            return self._admit_first(frame)
        deltas = [(value - last) & _MASK for value, last in zip(frame, self._last, strict=True)]
        maxima = [
            top | _zigzag_word(delta if predictor == DELTA else delta - before)
            for top, delta, before, predictor in zip(self._maxima, deltas, self._delta, self._predictors, strict=True)
        ]
        size = self._closed + len(maxima) + 2 * sum(top.bit_length() for top in maxima)
        if size > self._capacity:
            return False
        self._last, self._delta, self._maxima = list(frame), deltas, maxima
        self._frames += 1
        if self._frames % GROUP == 1:
            self._closed, self._maxima = size, [0] * len(maxima)
        return True

    def _admit_first(self, frame: Sequence[Any]) -> bool:
        if self._closed > self._capacity:
            return False
        self._last, self._frames = list(frame), 1
        return True


def _zigzag_word(residual: int) -> int:
    residual &= _MASK
    return (residual << 1) & _MASK ^ (_MASK if residual >> 31 else 0)


def _predictors(hint: Hint, columns: int) -> Hint:
    return hint or (DELTA,) * columns


def _groups(counts: Indices) -> Indices:
    return (counts + (GROUP - 2)) // GROUP


def _words(columns: Sequence[Column]) -> Words:
    """The columns as one array (column, frame) of 32-bit patterns."""
    return np.stack([column.astype(np.int64).astype(np.uint32) for column in columns])


def _deltas(frames: Words) -> Words:
    return frames[:, 1:] - frames[:, :-1]


def _double_deltas(frames: Words) -> Words:
    """The first frame's delta counts as 0, so that the first double delta is the first delta."""
    deltas = _deltas(frames)
    result = deltas.copy()
    result[:, 1:] -= deltas[:, :-1]
    return result


def _zigzag(residuals: Words) -> Words:
    signs = (residuals.view(np.int32) >> 31).view(np.uint32)
    return (residuals << np.uint32(1)) ^ signs


def _unzigzag(words: Words) -> npt.NDArray[np.int32]:
    return (words >> np.uint32(1)).view(np.int32) ^ -(words & np.uint32(1)).view(np.int32)


def _bit_lengths(values: Words) -> Indices:
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _grouped(residuals: Words) -> Words:
    """(column, frame) as (group, column, frame of the group), the last group filled up with zeros."""
    columns, frames = residuals.shape
    groups = -(-frames // GROUP)
    filled = np.zeros((columns, groups * GROUP), np.uint32)
    filled[:, :frames] = residuals
    return np.ascontiguousarray(filled.reshape(columns, groups, GROUP).transpose(1, 0, 2))


def _fit_window(frames: Words, capacity: int, predictors: Hint) -> int:
    """How many of these frames fit; all of them may."""
    columns, count = len(frames), int(frames.shape[1])
    if columns * _BASE.itemsize > capacity or count == 0:
        return 0
    chosen = np.array(predictors) == DELTA
    residuals = _zigzag(np.where(chosen[:, None], _deltas(frames), _double_deltas(frames)))
    groups = _grouped(residuals)
    sizes = columns + 2 * _bit_lengths(groups.max(axis=2)).sum(axis=1)
    ends = columns * _BASE.itemsize + np.cumsum(sizes)
    full = int(np.searchsorted(ends, capacity, side="right"))
    if full == len(groups):
        return count
    left = capacity - (int(ends[full]) - int(sizes[full]))
    widths = _bit_lengths(np.maximum.accumulate(groups[full], axis=1))
    partial = int(np.count_nonzero(columns + 2 * widths.sum(axis=0) <= left))
    return min(count, 1 + full * GROUP + partial)


def _next_predictors(predictors: Hint, deltas: Words, double_deltas: Words) -> Hint:
    if deltas.shape[1] == 0:
        return predictors
    costs = [_bit_lengths(_grouped(residuals).max(axis=2)).sum(axis=0) for residuals in (deltas, double_deltas)]
    return tuple(
        _next_predictor(now, *pair) for now, pair in zip(predictors, np.transpose(costs).tolist(), strict=True)
    )


def _next_predictor(now: int, delta_cost: int, double_cost: int) -> int:
    if now == DELTA:
        return DOUBLE_DELTA if double_cost * 100 < delta_cost * _SWITCH_PERCENT else DELTA
    return DELTA if delta_cost * 100 < double_cost * _SWITCH_PERCENT else DOUBLE_DELTA


def _pack(residuals: Words) -> bytes:
    """The groups of zigzag residuals (column, frame): width bytes and bit planes in their order on the wire."""
    groups = _grouped(residuals)
    widths = _bit_lengths(groups.max(axis=2))
    bits = np.unpackbits(groups.view(np.uint8), bitorder="little").reshape(*groups.shape, _MAX_WIDTH)
    # Each residual keeps its low `width` bits; 16 of them always end on a byte.
    kept = bits[np.arange(_MAX_WIDTH) < widths[:, :, None, None].repeat(GROUP, axis=2)]
    sizes = widths.shape[1] + 2 * widths.sum(axis=1)
    payload = np.empty(int(sizes.sum()), np.uint8)
    is_width = np.zeros(len(payload), np.bool_)
    is_width[(np.cumsum(sizes) - sizes)[:, None] + np.arange(widths.shape[1])] = True
    payload[is_width] = widths.reshape(-1)
    payload[~is_width] = np.packbits(kept, bitorder="little")
    return payload.tobytes()


def _double_flags(predictors: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    double: npt.NDArray[np.bool_] = predictors == DOUBLE_DELTA
    if not (double | (predictors == DELTA)).all():
        raise BlockError("a packed block names a predictor that does not exist")
    return double


def _walk(batch: Batch, columns: int) -> tuple[npt.NDArray[np.uint8], Indices]:
    """Width and offset of every bit plane, as (group, block, column): all blocks are walked side by side.

    Where a block has fewer groups than the longest, the widths are 0.
    """
    groups = _groups(batch.counts)
    most = int(groups.max(initial=0))
    widths = np.zeros((most, len(groups), columns), np.uint8)
    offsets = np.zeros((most, len(groups), columns), np.int64)
    ends = batch.offsets + batch.lengths
    position = batch.offsets + columns * _BASE.itemsize
    step = np.arange(columns)
    for group in range(most):
        active = group < groups
        # A position beyond the payload is caught below; until then it must only stay inside the data.
        here = batch.data[np.minimum(position, ends - columns)[:, None] + step]
        here[~active] = 0
        sizes = here.astype(np.int64) * 2
        planes = np.cumsum(sizes, axis=1)
        widths[group] = here
        offsets[group] = (position + columns)[:, None] + planes - sizes
        position = position + np.where(active, columns + planes[:, -1], 0)
    if (position != ends).any() or (widths > _MAX_WIDTH).any():
        raise BlockError("a packed block's groups do not add up to its payload")
    return widths, offsets


@cache
def _lanes(width: int) -> int:
    """How many values of a group one 64-bit gather can serve, wherever in its first byte they begin."""
    return next(n for n in (8, 4, 2, 1) if max(start * width & 7 for start in range(0, GROUP, n)) + n * width <= 64)


def _unpack(data: npt.NDArray[np.uint8], widths: npt.NDArray[np.uint8], offsets: Indices) -> npt.NDArray[np.int32]:
    """The residuals as (column, block, 1 + 16 * groups): one gather per bit width; entry 0 is left for the base."""
    most, blocks, columns = widths.shape
    flat_widths = widths.transpose(2, 1, 0).reshape(-1)
    flat_offsets = offsets.transpose(2, 1, 0).reshape(-1)
    residuals = np.zeros((len(flat_widths), GROUP), np.int32)
    for width in np.flatnonzero(np.bincount(flat_widths, minlength=1)).tolist():
        if width:
            planes = np.flatnonzero(flat_widths == width)
            residuals[planes] = _unzigzag(_unpack_width(data, flat_offsets[planes], width))
    table = np.empty((columns, blocks, 1 + most * GROUP), np.int32)
    table[:, :, 1:] = residuals.reshape(columns, blocks, most * GROUP)
    return table


def _unpack_width(data: npt.NDArray[np.uint8], offsets: Indices, width: int) -> Words:
    """16 values of `width` bits at each of `offsets`, as (plane, value)."""
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    lanes = _lanes(width)
    shifts = np.arange(lanes, dtype=np.uint64) * np.uint64(width)
    mask = np.uint64((1 << width) - 1)
    result = np.empty((len(offsets), GROUP), np.uint32)
    for first in range(0, GROUP, lanes):
        bit = first * width
        gathered = words[offsets + (bit >> 3)] >> np.uint64(bit & 7)
        result[:, first : first + lanes] = (gathered[:, None] >> shifts) & mask
    return result


def _integrate(
    table: npt.NDArray[np.int32],
    bases: npt.NDArray[np.int32],
    double: npt.NDArray[np.bool_],
    counts: Indices,
    types: Types,
) -> list[Column]:
    """Sums the residuals up, once or twice, and cuts each block to its frames."""
    length = int(table.shape[2])
    even = bool((counts == length).all())
    kept = np.arange(length) < counts[:, None]
    columns: list[Column] = []
    for column, type_ in enumerate(types):
        series = table[column]
        twice = np.flatnonzero(double[:, column])
        if len(twice) == len(series):
            np.cumsum(series[:, 1:], axis=1, out=series[:, 1:])
        elif len(twice):
            series[twice, 1:] = np.cumsum(series[twice, 1:], axis=1, dtype=np.int32)
        series[:, 0] = bases[:, column]
        np.cumsum(series, axis=1, out=series)
        values = series.reshape(-1) if even else series[kept]
        columns.append(values.astype(type_.dtype))
    return columns
