"""A logger on paper: writes the blocks that a device would commit, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldlog_protocol.blocks.block import TICK_HZ, Block, BlockHeader, Encoding, Flag, Kind, block_format, build_block
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.events import Event, TimedEvent, encode_events
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Schema, Stream, schema_blocks

UID = bytes.fromhex("00112233445566778899aabbccddeeff")
LOG_ID = 0xC0FFEE
NEW_YEAR_US = 1_356_998_400_000_000
HOUR = 3600 * TICK_HZ

TEMPERATURE = Channel("temperature", "Cel", ChannelType.I16, exponent=-2, missing=-32768)
HUMIDITY = Channel("relative humidity", "%", ChannelType.U16, exponent=-1, missing=65535)
CLIMATE = Stream(0, "climate", 1_000_000, (TEMPERATURE, HUMIDITY))
DOOR = Stream(1, "door", 0, (Channel("open", "", ChannelType.BOOL),), timed=True)


@dataclass
class PaperLogger:
    """Blocks in `blocks`, wire form, in order of seq. Ticks are given; blocks are as long as `block_size` allows."""

    streams: tuple[Stream, ...] = (CLIMATE, DOOR)
    block_size: int = 256
    boot_id: int = 1
    session: int = 1
    schema_id: int = 0
    utc: int = 0
    log_id: int = LOG_ID
    clock_ppm: int | None = None
    blocks: list[bytes] = field(default_factory=list[bytes])

    @property
    def next_seq(self) -> int:
        return len(self.blocks)

    def schema(self) -> None:
        described = Schema(UID, self.log_id, "1.2.3", "paper", self.schema_id, self.streams, self.clock_ppm)
        for stream_id, payload in schema_blocks(described, self.block_size):
            header = self._header(Kind.SCHEMA, stream=stream_id)
            self.blocks.append(build_block(Block(header, 0, 0, payload)))

    def events(self, *events: tuple[int, Event]) -> None:
        timed = [TimedEvent(tick, event) for tick, event in events]
        header = self._header(Kind.EVENT, t0=timed[0].tick)
        self.blocks.append(build_block(Block(header, len(timed), 0, encode_events(timed))))

    def data(
        self,
        stream: Stream,
        ticks: Sequence[int] | np.ndarray[Any, Any],
        *columns: Any,
        flags: int = 0,
        dropped: int = 0,
        encoding: Encoding | None = None,
    ) -> None:
        """As many blocks as it takes; the first carries the flags, one begun for a bend in time carries GAP."""
        encoder = BlockEncoder(stream, self.block_size, encoding)
        left = np.asarray(ticks, dtype=np.int64)
        rest = [np.asarray(c, dtype=ch.type.dtype) for c, ch in zip(columns, stream.channels, strict=True)]
        while len(left):
            taken = encoder.push_many(left, rest)
            header = self._header(Kind.DATA, flags=flags, dropped=dropped)
            self.blocks.append(build_block(encoder.seal(header)))
            step = left[taken] - left[taken - 1] if taken < len(left) else 0
            flags = Flag.GAP if step > 1.5 * stream.period_ticks and stream.period_us else 0
            left, rest, dropped = left[taken:], [column[taken:] for column in rest], 0

    def _header(self, kind: Kind, *, stream: int = 0, t0: int = 0, flags: int = 0, dropped: int = 0) -> BlockHeader:
        return BlockHeader(
            format=block_format(kind),
            seq=self.next_seq,
            t0=t0,
            utc=self.utc,
            boot_id=self.boot_id,
            session=self.session,
            stream=stream,
            schema_id=self.schema_id,
            flags=flags,
            dropped=dropped,
        )


def climate(n: int, start_s: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(ticks, temperature, humidity): `n` raw readings at 1 Hz that compress badly enough to fill several blocks."""
    rng = np.random.default_rng(n + start_s)
    ticks = (start_s + np.arange(n)) * TICK_HZ
    return ticks, 2100 + rng.integers(-400, 400, n), 500 + rng.integers(-200, 200, n)
