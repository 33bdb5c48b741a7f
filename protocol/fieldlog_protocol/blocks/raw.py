"""RAW payloads: frames of fixed width, one behind the other, each the packed little-endian values of its columns.

Rule of this module: what a float's bits or a 64-bit integer are is kept to the bit; nothing is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fieldlog_protocol.blocks.codec import Batch, Column, Fit, Indices, Types
from fieldlog_protocol.errors import BlockError


def frame_dtype(types: Types) -> np.dtype[np.void]:
    return np.dtype([(f"c{index}", type_.dtype) for index, type_ in enumerate(types)])


class RawMeter:
    """So many frames and no more."""

    def __init__(self, frames: int) -> None:
        self._left = frames

    def admit(self, frame: Sequence[Any]) -> bool:  # noqa: ARG002
        if self._left == 0:
            return False
        self._left -= 1
        return True


class RawCodec:
    def meter(self, types: Types, capacity: int) -> RawMeter:
        return RawMeter(capacity // frame_dtype(types).itemsize)

    def fit(self, columns: Sequence[Column], capacity: int) -> Fit:
        count = min(len(columns[0]), capacity // sum(column.dtype.itemsize for column in columns))
        return Fit(count, lambda: self.encode([column[:count] for column in columns]))

    def encode(self, columns: Sequence[Column]) -> bytes:
        frames = np.empty(len(columns[0]), [(f"c{index}", column.dtype) for index, column in enumerate(columns)])
        for index, column in enumerate(columns):
            frames[f"c{index}"] = column
        return frames.tobytes()

    def least_length(self, types: Types, counts: Indices) -> Indices:
        return counts * frame_dtype(types).itemsize

    def decode(self, types: Types, batch: Batch) -> list[Column]:
        dtype = frame_dtype(types)
        if (batch.lengths != batch.counts * dtype.itemsize).any():
            raise BlockError("its RAW payload is longer or shorter than its frames")
        spans = zip(batch.offsets.tolist(), batch.lengths.tolist(), strict=True)
        data = batch.data.tobytes()
        frames = np.frombuffer(b"".join(data[start : start + length] for start, length in spans), dtype)
        return [np.ascontiguousarray(frames[f"c{index}"]) for index in range(len(types))]
