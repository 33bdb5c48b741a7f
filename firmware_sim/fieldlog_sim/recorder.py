"""What makes blocks out of readings: when one is opened, when it is sealed, and what is written between them.

Rule: a reading is taken or refused before anything changes, and which blocks come out depends on the readings and
their ticks alone, not on whether they were recorded one by one or in bulk. Nothing here reads a clock: ticks come with
the readings, and the belief of the time is asked for by tick. What a slow stream gives is programmed as it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import (
    DROPPED_UNKNOWN,
    HEADER,
    TICK_HZ,
    Block,
    BlockHeader,
    Encoding,
    Flag,
    Kind,
    block_format,
    build_block,
    capacity,
    pad,
)
from fieldlog_protocol.blocks.encoder import BlockEncoder, Reading
from fieldlog_protocol.blocks.events import Event, SessionStart, SessionStop, TimedEvent, encode_events, event_payloads
from fieldlog_protocol.blocks.schema import Schema, Stream, schema_blocks
from fieldlog_protocol.blocks.timeline import Ticks
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.store_errors import StoreFull

SCHEMA_EVERY = 64
RAWC_PERIOD_US = 60_000_000  # a packed block of such a stream would be open for hours, and be lost with the power
_NO_FLAG = Flag(0)
_STOP_EVENT = 1  # room that stays free in a full log, to say why it ended
_LONGEST_LABEL = 128  # bytes: 32 characters
_GAP_TICKS = 2
_GAP_OF_PERIOD = 1 / 64  # a sensor's own oscillator is off by less; a lost frame is a whole period

Column = npt.NDArray[np.generic]


class DeviceFacts(Protocol):
    """What a recorder must be told of the device it runs on."""

    @property
    def boot_id(self) -> int: ...

    @property
    def low_battery(self) -> bool: ...

    def utc_at(self, tick: int) -> int:
        """UTC in seconds that the device believes it was at `tick`, 0 when its clock was never set."""
        ...


class _Lane:
    """One stream: its encoder, and what its next block must say of the time before it."""

    def __init__(self, stream: Stream, block_size: int, flags: Flag) -> None:
        self.stream = stream
        self.in_place = stream.period_us >= RAWC_PERIOD_US and not stream.timed
        self.encoder = BlockEncoder(stream, block_size, Encoding.RAWC if self.in_place else None)
        self.opened: BlockHeader | None = None
        self.begun = False
        self.flags = flags
        self.dropped = 0
        self.last_tick: int | None = None
        self.frames = 0
        self._gap_ticks = _GAP_TICKS + stream.period_ticks * _GAP_OF_PERIOD

    def is_gap(self, before: int, tick: int) -> bool:
        """Whether the step between two frames is other than the sampling interval. A timed stream has no such steps."""
        return not self.stream.timed and abs(tick - before - self.stream.period_ticks) > self._gap_ticks

    def runs(self, ticks: Ticks) -> list[tuple[int, int]]:
        """The series cut where it has gaps: start and stop of each piece."""
        steps = np.abs(np.diff(ticks) - self.stream.period_ticks)
        cuts = [] if self.stream.timed else (np.flatnonzero(steps > self._gap_ticks) + 1).tolist()
        return list(pairwise([0, *cuts, len(ticks)]))

    def require_after_last(self, tick: int) -> None:
        if self.last_tick is not None and tick < self.last_tick:
            raise UsageError(f"a reading of stream {self.stream.name} at tick {tick} lies before the last one")


class Recorder:
    """The blocks of one schema in one store. `session` 0 means that none is being recorded.

    `max_age_s` is how long a block may stay open, 0 = as long as it likes. A restart begins a new Recorder, whose first
    block of each stream bears the gap flag.
    """

    def __init__(
        self, store: LogStore, schema: Schema, device: DeviceFacts, *, session: int = 0, max_age_s: int = 0
    ) -> None:
        self.store = store
        self.schema = schema
        self.session = session
        self.max_age_s = max_age_s
        self.last_seq: int | None = None
        self._device = device
        self._description = schema_blocks(schema, store.block_size)
        self._since_schema = SCHEMA_EVERY
        self._lanes = self._new_lanes(schema.streams, Flag.GAP)

    def _new_lanes(self, streams: Iterable[Stream], flags: Flag) -> dict[int, _Lane]:
        return {stream.id: _Lane(stream, self.store.block_size, flags) for stream in streams}

    @property
    def frames(self) -> dict[int, int]:
        """Frames taken per stream since the session began or the device restarted."""
        return {id_: lane.frames for id_, lane in self._lanes.items()}

    @property
    def is_open(self) -> bool:
        return any(lane.opened for lane in self._lanes.values())

    # sessions

    def begin(
        self, session: int, label: str, tick: int, streams: Iterable[int] | None = None, also: Sequence[Event] = ()
    ) -> None:
        """Describe the streams and begin a session with those of these ids, or with all. `also` is noted beside it."""
        beginning = (SessionStart(session, label), *also)
        self._require_room(len(self._description) + len(self._payloads(tick, beginning)))
        self.seal()
        self.session = session
        wanted = [stream for stream in self.schema.streams if streams is None or stream.id in set(streams)]
        self._lanes = self._new_lanes(wanted, Flag.SESSION_FIRST)
        self._write_schema(tick)
        self.events(tick, beginning)

    def end(self, tick: int, reason: str) -> None:
        """Seal and say why: there is room for this in a log that is full. Where there is room for the schema too, it comes
        behind the last blocks, so that they can be read when the ring has overwritten all that was before them."""
        self.seal()
        if self._since_schema and self._has_room(len(self._description)):
            self._write_schema(tick)
        self._write_event(tick, SessionStop(self.session, reason))
        self.session = 0

    def describe(self, schema: Schema, tick: int) -> None:
        """Go on under another schema, as after a calibration; the streams keep their ids."""
        description = schema_blocks(schema, self.store.block_size)
        self._require_room(len(description))
        self.seal()
        self.schema, self._description = schema, description
        lanes = self._new_lanes((stream for stream in schema.streams if stream.id in self._lanes), _NO_FLAG)
        for id_, lane in lanes.items():
            former = self._lanes[id_]
            lane.flags, lane.dropped = former.flags, former.dropped
            lane.last_tick, lane.frames = former.last_tick, former.frames
        self._lanes = lanes
        self._write_schema(tick)

    # readings

    def record(self, stream_id: int, tick: int, raw: Sequence[Reading]) -> None:
        """Take one frame of raw values, None where a reading is missing. StoreFull: the frame was not taken."""
        lane = self._lane(stream_id)
        lane.require_after_last(tick)
        lane.encoder.check(raw)
        self._seal_before(lane, tick)
        if lane.opened is None:
            self._open(lane, tick)
        if not lane.encoder.push(tick, raw):
            self._seal(lane)
            self._open(lane, tick)
            lane.encoder.push(tick, raw)
        self._program(lane)
        lane.last_tick = tick
        lane.frames += 1

    def record_many(self, stream_id: int, ticks: Ticks, columns: Sequence[Column]) -> int:
        """Take a series, as `record` would frame by frame. The answer is how many were taken before the log was full."""
        lane = self._lane(stream_id)
        if not len(ticks):
            return 0
        lane.require_after_last(int(ticks[0]))
        for start, stop in lane.runs(ticks):
            taken = self._record_run(lane, ticks[start:stop], [column[start:stop] for column in columns])
            if taken < stop - start:
                return start + taken
        return len(ticks)

    def _record_run(self, lane: _Lane, ticks: Ticks, columns: Sequence[Column]) -> int:
        done = 0
        while done < len(ticks):
            tick = int(ticks[done])
            try:
                self._seal_before(lane, tick)
                if lane.opened is None:
                    self._open(lane, tick)
            except StoreFull:
                break
            run = slice(done, done + self._until_age(lane, ticks[done:]))
            taken = lane.encoder.push_many(ticks[run], [column[run] for column in columns])
            done += taken
            self._program(lane)
            if taken:
                lane.last_tick = int(ticks[done - 1])
                lane.frames += taken
            if done < run.stop:
                self._seal(lane)
        return done

    def lost(self, stream_id: int, frames: int = DROPPED_UNKNOWN) -> None:
        """Frames could not be taken; the stream's next block says so."""
        lane = self._lane(stream_id)
        self._seal(lane)
        lane.dropped = min(lane.dropped + frames, DROPPED_UNKNOWN)
        lane.flags |= Flag.GAP | Flag.OVERRUN

    def _lane(self, stream_id: int) -> _Lane:
        if stream_id not in self._lanes:
            raise UsageError(f"stream {stream_id} is not being recorded; {sorted(self._lanes)} are")
        return self._lanes[stream_id]

    # sealing

    def seal(self) -> None:
        """Seal every open block; the session goes on."""
        for lane in self._lanes.values():
            self._seal(lane)

    def expire(self, tick: int) -> None:
        """Seal the blocks that are older than they may grow."""
        for lane in self._lanes.values():
            if lane.opened is not None and self._is_old(lane, tick):
                self._seal(lane)

    def _seal_before(self, lane: _Lane, tick: int) -> None:
        """Seal the open block when a frame at `tick` must not be in it."""
        if lane.last_tick is not None and lane.is_gap(lane.last_tick, tick):
            self._seal(lane)
            lane.flags |= Flag.GAP
        if lane.opened is not None and self._is_old(lane, tick):
            self._seal(lane)

    def _is_old(self, lane: _Lane, tick: int) -> bool:
        return self.max_age_s > 0 and tick - lane.encoder.first_tick >= self.max_age_s * TICK_HZ

    def _until_age(self, lane: _Lane, ticks: Ticks) -> int:
        """How many of these frames the open block, or the one that begins with them, is young enough for."""
        if self.max_age_s == 0:
            return len(ticks)
        first = lane.encoder.first_tick if lane.encoder.n_frames else int(ticks[0])
        return int(np.searchsorted(ticks, first + self.max_age_s * TICK_HZ, side="left"))

    def _seal(self, lane: _Lane) -> None:
        if lane.opened is None:
            return
        if lane.encoder.n_frames:
            self._append(lane.encoder.seal(lane.opened))
        lane.opened = None

    # blocks

    def _open(self, lane: _Lane, tick: int) -> None:
        """Give the lane's next block its seq, when the log has room for it and for all that is open."""
        self._require_room(1)
        if self._since_schema >= SCHEMA_EVERY:
            self._write_schema(tick)
        lane.opened = self._header(tick, flags=lane.flags, dropped=lane.dropped)
        lane.flags, lane.dropped = _NO_FLAG, 0
        lane.begun = False

    def _program(self, lane: _Lane) -> None:
        """Of a slow stream, put what was taken on flash at once."""
        if not lane.in_place or lane.opened is None or not lane.encoder.n_frames:
            return
        payload, width = lane.encoder.payload(), lane.encoder.frame_bytes
        if not lane.begun:
            wire = build_block(Block(lane.encoder.header(lane.opened), 0, 0, payload))
            self.store.begin(wire[: HEADER.size + len(payload) % width])
            lane.begun = True
        self.store.extend(lane.opened.seq, payload, width)

    def can_begin(self, also: Sequence[Event] = ()) -> bool:
        """Whether the log has room for the beginning of a session with these events, and for its end."""
        longest = SessionStart(0xFFFF, "x" * _LONGEST_LABEL)
        return self._has_room(len(self._description) + len(self._payloads(0, (longest, *also))))

    def _require_room(self, blocks: int) -> None:
        if not self._has_room(blocks):
            raise StoreFull("the log is full; what is in it is kept. Pull it and release it, or erase it")

    def _has_room(self, blocks: int) -> bool:
        opened = sum(lane.opened is not None and not lane.begun for lane in self._lanes.values())
        described = len(self._description) if self._since_schema >= SCHEMA_EVERY else 0
        return self.store.has_room(blocks + opened + described + _STOP_EVENT)

    def _seal_laggards(self) -> None:
        """Blocks whose seq would fall too far behind the next: the search at mount relies on it."""
        for lane in self._lanes.values():
            if lane.opened is not None and self.store.next_seq - lane.opened.seq >= self.store.pages.max_lag:
                self._seal(lane)

    def _header(self, tick: int, *, kind: Kind = Kind.DATA, flags: Flag = _NO_FLAG, **fields: int) -> BlockHeader:
        self._seal_laggards()
        utc = self._device.utc_at(tick)
        flags |= Flag.CLOCK_SET if utc else _NO_FLAG
        flags |= Flag.LOW_BATTERY if self._device.low_battery else _NO_FLAG
        return BlockHeader(
            format=block_format(kind),
            seq=self.store.open_seq(),
            t0=tick,
            utc=utc,
            boot_id=self._device.boot_id,
            session=self.session,
            schema_id=self.schema.schema_id,
            flags=flags,
            **fields,
        )

    def _append(self, block: Block) -> None:
        self.store.append(pad(build_block(block), self.store.block_size))
        self.last_seq = block.header.seq
        self._since_schema += 1

    # schema and events

    def _write_schema(self, tick: int) -> None:
        for stream_id, payload in self._description:
            self._append(Block(self._header(tick, kind=Kind.SCHEMA, stream=stream_id), 1, 0, payload))
        self._since_schema = 0

    def event(self, tick: int, event: Event) -> int:
        """Commit an event at once; the answer is its block's seq."""
        self._require_room(1)
        return self._write_event(tick, event)

    def events(self, tick: int, events: Sequence[Event]) -> None:
        """Commit events that belong together, in as few blocks as hold them."""
        payloads = self._payloads(tick, events)
        self._require_room(len(payloads))
        for payload in payloads:
            self._write_events(tick, payload)

    def _payloads(self, tick: int, events: Sequence[Event]) -> list[bytes]:
        return event_payloads([TimedEvent(tick, event) for event in events], capacity(self.store.block_size))

    def _write_event(self, tick: int, event: Event) -> int:
        return self._write_events(tick, encode_events([TimedEvent(tick, event)]))

    def _write_events(self, tick: int, payload: bytes) -> int:
        header = self._header(tick, kind=Kind.EVENT)
        self._append(Block(header, 1, 0, payload))
        return header.seq

    def erase(self, tick: int) -> None:
        """Forget the log. It begins again with the schema, whose first part proves how far seq had come."""
        if self.session or self.is_open:
            raise UsageError("the log cannot be erased while a session is being recorded: stop it first")
        stream_id, payload = self._description[0]
        witness = Block(self._header(tick, kind=Kind.SCHEMA, stream=stream_id), 1, 0, payload)
        self.store.erase_all(pad(build_block(witness), self.store.block_size))
        self.last_seq = witness.header.seq
        self._since_schema = SCHEMA_EVERY
