"""Filling DATA blocks: frames go in one by one or in bulk, and the bytes are the same either way.

Rule of this module: a frame is refused before it is taken, so that the caller can seal the block and open the next.
What belongs to the device (seq, session, belief of the time, flags) is an argument of `seal`; here are only the
frames, their instants and the payload's encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fieldlog_protocol.blocks.block import MAX_FRAMES, Block, BlockHeader, Encoding, Kind, block_format, capacity
from fieldlog_protocol.blocks.codec import Column, Fit, Meter, Types
from fieldlog_protocol.blocks.codecs import CODECS, payload_columns, payload_resolution, preferred_encoding
from fieldlog_protocol.blocks.schema import Channel, Stream
from fieldlog_protocol.blocks.timeline import Ticks, open_instants
from fieldlog_protocol.errors import UsageError

Reading = int | float | None
_CHUNK = 1024  # frames looked at at once in bulk until it is known how many a block takes
_LEAST_CHUNK = 256
_MORE = 1.25  # times as many as the block before took


class BlockEncoder:
    """The open block of one stream. `columns` and `raw` hold the stream's channels in order, without the time."""

    def __init__(self, stream: Stream, block_size: int, encoding: Encoding | None = None) -> None:
        self.stream = stream
        self.encoding = preferred_encoding(stream, block_size) if encoding is None else encoding
        self._codec = CODECS[self.encoding]
        self._capacity = capacity(block_size)
        self._types: Types = tuple(column.type for column in payload_columns(stream, self.encoding))
        self._resolution = payload_resolution(stream, self.encoding)
        self._require_room()
        self._chunk = _CHUNK
        self._clear()

    def _require_room(self) -> None:
        if not all(type_.packable for type_ in self._types) and self.encoding == Encoding.PACKED:
            raise UsageError(f"stream {self.stream.name} has channels that the packed encoding cannot hold")
        if int(self._codec.least_length(self._types, np.array([1]))[0]) > self._capacity:
            raise UsageError(f"a frame of stream {self.stream.name} does not fit a block: choose a larger block size")

    def _clear(self) -> None:
        self._instants = open_instants(self.stream, self._resolution)
        self._chunks: list[list[Column]] = []
        self._frames: list[Sequence[int | float]] = []
        self._fit: Fit | None = None  # of just the frames that are held
        self._meter: Meter | None = None

    @property
    def n_frames(self) -> int:
        return self._instants.frames

    @property
    def first_tick(self) -> int:
        return self._instants.first

    @property
    def last_tick(self) -> int:
        return self._instants.last

    def push(self, tick: int, raw: Sequence[Reading]) -> bool:
        """Takes one frame, or says False and takes nothing: the block is full or its line of time cannot bend.

        None stands for the channel's declared missing value.
        """
        if self.n_frames and tick < self.last_tick:
            raise UsageError(f"tick {tick} lies before {self.last_tick}: the tick never goes back")
        frame = self._frame(tick, raw)
        if self.n_frames == MAX_FRAMES or not self._instants.fits(tick) or not self._open_meter().admit(frame):
            return False
        self._instants.add(tick)
        self._frames.append(frame)
        self._fit = None
        return True

    def push_many(self, ticks: Ticks, columns: Sequence[Column]) -> int:
        """Takes as many of the leading frames as `push` would have, one by one; the number is answered."""
        taken = 0
        while taken < len(ticks):
            # As many again as are held: what fits is measured anew each time.
            chunk = slice(taken, taken + max(self._chunk, self.n_frames))
            offered = ticks[chunk]
            accepted = self._take(offered, [column[chunk] for column in columns])
            taken += accepted
            if accepted < len(offered):
                break
        return taken

    def check(self, raw: Sequence[Reading]) -> None:
        """UsageError when no block can hold such a frame."""
        self._frame(self.last_tick, raw)

    def seal(self, opening: BlockHeader) -> Block:
        """The block that holds the frames so far, with what `opening` says of the device; the next one is begun.

        Of `opening`, t0, kind, encoding, stream and n_channels are filled in here.
        """
        if not self.n_frames:
            raise UsageError("there is no frame to seal a block with")
        block = Block(self.header(opening), self.n_frames, self._instants.span, self.payload())
        self._chunk = max(_LEAST_CHUNK, round(_MORE * self.n_frames))
        self._clear()
        return block

    def header(self, opening: BlockHeader) -> BlockHeader:
        """That of the block that `seal` would give."""
        return replace(
            opening,
            format=block_format(Kind.DATA),
            encoding=self.encoding,
            t0=self.first_tick,
            stream=self.stream.id,
            n_channels=len(self._types),
        )

    @property
    def frame_bytes(self) -> int:
        """What each frame adds to a payload whose frames are of fixed width."""
        two = np.array([1, 2])
        first, second = self._codec.least_length(self._types, two).tolist()
        return int(second - first)

    def payload(self) -> bytes:
        """The payload of the frames so far; a RAWC one grows at its end alone."""
        if self._fit is not None:
            return self._fit.payload()
        self._flush_frames()
        return self._codec.encode(self._columns(self._chunks))

    def _frame(self, tick: int, raw: Sequence[Reading]) -> Sequence[int | float]:
        channels = self.stream.channels
        if len(raw) != len(channels):
            raise UsageError(f"stream {self.stream.name} has {len(channels)} channels, not {len(raw)}")
        values = [_checked(channel, value) for channel, value in zip(channels, raw, strict=True)]
        if self._resolution is not None:
            values.insert(0, (tick - self.first_tick) // self._resolution if self.n_frames else 0)
        return values

    def _open_meter(self) -> Meter:
        """The meter; none is made for what is filled in bulk alone, and a late one sees all frames again."""
        if self._meter is None:
            self._meter = self._codec.meter(self._types, self._capacity)
            for frame in zip(*(column.tolist() for column in self._columns(self._chunks)), strict=True):
                self._meter.admit(frame)
        return self._meter

    def _take(self, ticks: Ticks, columns: Sequence[Column]) -> int:
        if (len(ticks) > 1 and (np.diff(ticks) < 0).any()) or (self.n_frames and int(ticks[0]) < self.last_tick):
            raise UsageError("the ticks of a series never go back")
        self._flush_frames()
        fitting = min(self._instants.fit_many(ticks), MAX_FRAMES - self.n_frames)
        offered = self._typed(ticks[:fitting], [column[:fitting] for column in columns])
        held = self.n_frames
        self._fit = self._codec.fit(self._columns([*self._chunks, offered]), self._capacity)
        taken = self._fit.count - held
        if taken:
            self._instants.add_many(ticks[:taken])
            self._chunks.append([column[:taken] for column in offered])
            self._meter = None
        return taken

    def _typed(self, ticks: Ticks, columns: Sequence[Column]) -> list[Column]:
        channels = self.stream.channels
        if len(columns) != len(channels) or any(len(column) != len(ticks) for column in columns):
            raise UsageError(f"stream {self.stream.name} needs {len(channels)} columns of one length")
        typed = [_checked_column(channel, column) for channel, column in zip(channels, columns, strict=True)]
        if self._resolution is not None:
            first = self.first_tick if self.n_frames else int(ticks[0]) if len(ticks) else 0
            typed.insert(0, ((ticks - first) // self._resolution).astype("<u4"))
        return typed

    def _flush_frames(self) -> None:
        if self._frames:
            series = zip(*self._frames, strict=True)
            self._chunks.append([np.array(v, t.dtype) for v, t in zip(series, self._types, strict=True)])
            self._frames = []

    def _columns(self, chunks: Sequence[Sequence[Column]]) -> list[Column]:
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _checked(channel: Channel, value: Reading) -> int | float:
    if channel.type.is_float:
        return float("nan") if value is None else float(value)
    raw = channel.missing if value is None else value
    if not isinstance(raw, int) or not channel.type.minimum <= raw <= channel.type.maximum:
        raise UsageError(f"channel {channel.name} cannot hold {value} as {channel.type.name}")
    return raw


def _checked_column(channel: Channel, column: Column) -> Column:
    typed = column.astype(channel.type.dtype)
    if not channel.type.is_float and len(column):
        low, high = int(column.min()), int(column.max())
        if low < channel.type.minimum or high > channel.type.maximum:
            raise UsageError(f"channel {channel.name} cannot hold {low} to {high} as {channel.type.name}")
    return typed
