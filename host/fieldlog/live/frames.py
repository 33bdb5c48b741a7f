"""Frames as the newest of a stream arrive: a tick and a raw value of each channel, decoded by the stream's description.

Rule: what a device sends is checked before it is believed. Frames that cannot be are a ProtocolError, never a wrong value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog.clock_sync import MAX_TICK
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.commands.logger import LatestResponse
from fieldlog_protocol.errors import ProtocolError

Ticks: TypeAlias = npt.NDArray[np.int64]
Micros: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of one stream, oldest first, each once.

    `channels` are those that were asked for, `columns` their values in the unit, NaN where one is missing. `ticks` count
    1/32768 s since the start of boot `boot_id`, `utc_us` is the same by this computer's clock. `lost`: frames right before
    these that the device no longer had when it was asked.
    """

    stream: StreamInfo
    boot_id: int
    channels: tuple[Channel, ...]
    ticks: Ticks
    utc_us: Micros
    columns: tuple[Floats, ...]
    lost: int

    def __len__(self) -> int:
        return len(self.ticks)

    def first(self, number: int) -> Frames:
        """The oldest of them."""
        columns = tuple(column[:number] for column in self.columns)
        return replace(self, ticks=self.ticks[:number], utc_us=self.utc_us[:number], columns=columns)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stream's frames lie in a reply, and which of its channels are wanted, by position."""

    stream: StreamInfo
    positions: tuple[int, ...]
    dtype: np.dtype[np.void]

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(self.stream.channels[position] for position in self.positions)

    @property
    def frame_size(self) -> int:
        return self.dtype.itemsize

    def decode(self, reply: LatestResponse) -> tuple[Ticks, tuple[Floats, ...]]:
        """The ticks and the columns of the wanted channels; raises ProtocolError."""
        name, size = self.stream.name, self.frame_size
        if reply.s != self.stream.id or len(reply.d) != reply.n * size:
            raise ProtocolError(
                f"the device was asked for frames of stream {name!r}, {size} bytes each, and answered {reply.n} of stream "
                f"{reply.s} in {len(reply.d)} bytes. Restart the command: its streams may have changed"
            )
        rows: npt.NDArray[Any] = np.frombuffer(reply.d, self.dtype)
        if bool((rows["tick"] >= MAX_TICK).any()) or bool((rows["tick"][1:] < rows["tick"][:-1]).any()):
            raise ProtocolError(f"the device answered frames of stream {name!r} with ticks that cannot be true")
        with np.errstate(all="ignore"):  # floats can be anything
            columns = tuple(
                self.stream.channels[position].values(np.ascontiguousarray(rows[f"c{position}"]))
                for position in self.positions
            )
        return rows["tick"].astype(np.int64), columns


def layout_of(stream: StreamInfo, positions: Sequence[int]) -> Layout:
    fields = [("tick", "<u8"), *((f"c{index}", channel.type.dtype) for index, channel in enumerate(stream.channels))]
    return Layout(stream, tuple(positions), np.dtype(fields))
