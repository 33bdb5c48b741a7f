"""What a payload encoding must offer; `codecs.CODECS` is the table of those there are.

Rule of these interfaces: a codec turns columns of raw numbers into payload bytes and back, and knows neither headers
nor time. Nothing is carried from one block to the next, so that every block can be decoded alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.schema import ChannelType

Column: TypeAlias = npt.NDArray[Any]
"""The raw values of one column, in its type's dtype."""
Types: TypeAlias = tuple[ChannelType, ...]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Indices: TypeAlias = npt.NDArray[np.int64]

GATHER_MARGIN = 264
"""Bytes behind the payloads of a batch, so that 64 numbers of 32 bits can be read at any of their bytes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The payloads of several blocks: block b has `lengths[b]` bytes at `offsets[b]` of `data`, for `counts[b]` frames.

    Behind the last there are GATHER_MARGIN bytes of `data` that can be read and belong to no payload of these.
    """

    data: Bytes
    offsets: Indices
    lengths: Indices
    counts: Indices


@dataclass(frozen=True, slots=True)
class Fit:
    """The leading `count` frames of some columns; `payload` encodes them."""

    count: int
    payload: Callable[[], bytes]


class Meter(Protocol):
    """The size of one payload while frames are added one by one."""

    def admit(self, frame: Sequence[Any]) -> bool:
        """Whether the frame still fits; when it does, it counts from now on."""
        ...


class Codec(Protocol):
    def meter(self, types: Types, capacity: int) -> Meter: ...

    def fit(self, columns: Sequence[Column], capacity: int) -> Fit:
        """The leading frames that fit one payload: exactly as many as a meter would admit."""
        ...

    def encode(self, columns: Sequence[Column]) -> bytes:
        """The payload that holds all frames."""
        ...

    def least_length(self, types: Types, counts: Indices) -> Indices:
        """The fewest payload bytes that so many frames can have: what bounds the memory a hostile header can claim."""
        ...

    def decode(self, types: Types, batch: Batch) -> list[Column]:
        """The columns of all blocks, one behind the other; BlockError where a payload contradicts its block."""
        ...
