"""The logger on the device: sessions, sampling, and what is known of the log from outside.

Rule: it decides when a frame is due and what the device says of its log; how frames become blocks is the recorder's
business, and where blocks lie is the log store's.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from fieldlog_protocol.blocks.block import Kind, parse_block
from fieldlog_protocol.blocks.events import Boot, ClockSync, Event, Mark
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.commands import Group, Message
from fieldlog_protocol.commands import logger as fl
from fieldlog_protocol.commands.logger import Capability, LoggerError, SettingInfo, StartMode, State, StopReason
from fieldlog_protocol.wire import decode_body, encode_body
from fieldlog_sim.device_clock import DeviceClock
from fieldlog_sim.dispatch import Refusal
from fieldlog_sim.log_setup import LogSetup
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.nor_flash import Partition
from fieldlog_sim.recorder import Recorder
from fieldlog_sim.sampling import Latest, Sampling
from fieldlog_sim.sensors import Sensor
from fieldlog_sim.sessions import Sessions
from fieldlog_sim.settings_store import SettingsStore
from fieldlog_sim.store_errors import StoreFull

_CAPABILITIES = (
    Capability.WRAP
    | Capability.LATEST
    | Capability.CALIBRATE
    | Capability.SELF_TEST
    | Capability.IDENTIFY
    | Capability.TRANSACTION
    | Capability.METADATA
)
LOW_BATTERY_MV = 2500
CALIBRATION_MAX = 8
IDLE_US = 1_000_000
_TEST_US = 60_000_000
_METADATA = "metadata"
_ARMED = "once/arm"
_ERASED = "once/erase"


def refuse(code: LoggerError) -> Refusal:
    """A refusal of the FL group."""
    return Refusal(code, Group.LOGGER)


class Firmware(Protocol):
    """What the logger needs of the device around it."""

    boot_id: int
    clock: DeviceClock
    sensors: tuple[Sensor, ...]
    hurried: bool
    """Whether time goes on while it works, so that there may be more to read than it can."""

    @property
    def firmware_version(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def log_identity(self) -> tuple[bytes, int]:
        """uid and log_id."""
        ...

    @property
    def battery_mv(self) -> int: ...
    @property
    def max_age_s(self) -> int: ...


class Logger:
    """Mounts the log and, if a session was being recorded, goes on with it."""

    def __init__(self, firmware: Firmware, partition: Partition, nv: SettingsStore, block_size: int) -> None:
        self._firmware = firmware
        self._nv = nv
        self._setup = LogSetup(nv, tuple(sensor.stream for sensor in firmware.sensors))
        self.sessions = Sessions(nv)
        self._store = LogStore(partition, block_size, wrap=self._setup.wrap, released=self._setup.released)
        running = self.sessions.running
        self._recorder = self._new_recorder(running.id if running else 0)
        self._frames_before = self._frames_on_flash(running) if running else 0
        self._sampling = Sampling(firmware.sensors, firmware.clock.true_us)
        self._due_us = 0
        self.test_results: list[fl.TestResult] = []

    # what it knows of the device around it, as the recorder asks for it

    @property
    def boot_id(self) -> int:
        return self._firmware.boot_id

    @property
    def low_battery(self) -> bool:
        return self._firmware.battery_mv < LOW_BATTERY_MV

    def utc_at(self, tick: int) -> int:
        return self._firmware.clock.believed_seconds(tick)

    # what info says

    @property
    def state(self) -> State:
        last = self.sessions.last
        if last is None:
            return State.IDLE
        if last.why == StopReason.RUNNING:
            return State.LOGGING
        return State.FULL if last.why == StopReason.FULL and not self._recorder.can_begin else State.IDLE

    @property
    def capabilities(self) -> Capability:
        return _CAPABILITIES

    @property
    def first_seq(self) -> int:
        return self._store.first_seq

    @property
    def next_seq(self) -> int:
        return self._store.next_seq

    @property
    def open_seqs(self) -> tuple[int, ...]:
        return self._store.open_seqs

    @property
    def bytes_used(self) -> int:
        return self._store.bytes_used

    @property
    def bytes_total(self) -> int:
        return self._store.bytes_total

    @property
    def released(self) -> int:
        return self._setup.released

    @property
    def wrap(self) -> bool:
        return self._setup.wrap

    @property
    def token(self) -> int:
        """For erase: it fits only while no block has been added since it was given.

        The boot belongs to it, because a seq that was given and lost with the power is given again.
        """
        uid, log_id = self._firmware.log_identity
        digest = hashlib.sha256(uid + struct.pack("<III", log_id, self.boot_id, self.next_seq)).digest()
        return int.from_bytes(digest[:4], "little")

    @property
    def streams(self) -> tuple[Stream, ...]:
        return self._setup.streams

    def period_range(self, stream: int) -> tuple[int, int]:
        """Shortest and longest period in microseconds."""
        return self._sensor(stream).period_range_us

    def calibration(self, stream: int, channel: int) -> tuple[float, ...]:
        return self._setup.calibration(stream, channel)

    def schema_hash(self, settings: Sequence[SettingInfo]) -> bytes:
        """Changes whenever a host's cached picture of streams or settings would be wrong."""
        calibrations = [
            self.calibration(stream.id, channel) for stream in self.streams for channel in range(len(stream.channels))
        ]
        described = repr((settings, self.streams, calibrations)).encode()
        return hashlib.sha256(described).digest()[:8]

    def statistics(self) -> dict[str, int]:
        return {"next_seq": self.next_seq, "bytes_used": self.bytes_used, "frames": sum(self._recorder.frames.values())}

    # sessions

    def boot(self, reason: str) -> None:
        """Note the restart in the log, if there is room."""
        with suppress(StoreFull):
            self._recorder.event(self._tick, Boot(reason, self._firmware.firmware_version))

    def arm(self, request: fl.ArmRequest) -> fl.ArmResponse:
        """Begin a session; a repetition of the last request is answered as it was, across restarts too."""
        known = self._answer_of(_ARMED, request.id)
        if known is not None:
            return decode_body(known, fl.ArmResponse)
        if self.sessions.running is not None:
            raise refuse(LoggerError.RECORDING)
        if request.start not in (None, StartMode.NOW) or (request.until, request.secs, request.frames) != (None,) * 3:
            raise refuse(LoggerError.NOT_SUPPORTED)
        chosen = self._chosen_streams(request.streams)
        wrap = bool(request.wrap)
        self._require_room(wrap=wrap)
        return self._begin(request, chosen, wrap=wrap)

    def _require_room(self, *, wrap: bool) -> None:
        """Refuse before anything is begun when a session could not even say that it has begun."""
        former, self._store.wrap = self._store.wrap, wrap
        if not self._recorder.can_begin:
            self._store.wrap = former
            raise refuse(LoggerError.LOG_FULL)

    def _chosen_streams(self, wanted: Sequence[fl.StreamPeriod] | None) -> dict[int, int]:
        """Period of each stream to be recorded."""
        present = {stream.id: stream.period_us for stream in self.streams}
        if wanted is None:
            return present
        chosen: dict[int, int] = {}
        for item in wanted:
            if item.s not in present:
                raise refuse(LoggerError.NO_SUCH_STREAM)
            least, most = self.period_range(item.s)
            period_us = present[item.s] if item.us is None else item.us
            if period_us != present[item.s] and not least <= period_us <= most:
                raise refuse(LoggerError.PERIOD_NOT_ALLOWED)
            chosen[item.s] = period_us
        if not chosen:
            raise refuse(LoggerError.OUT_OF_RANGE)
        return chosen

    def _begin(self, request: fl.ArmRequest, chosen: dict[int, int], *, wrap: bool) -> fl.ArmResponse:
        tick = self._tick
        label = request.label or ""
        answer = fl.ArmResponse(session=self.sessions.next_id, state=State.LOGGING)
        also = self._setup.arm(chosen, tuple(chosen), wrap=wrap)
        also[_ARMED] = _answer_record(request.id, answer)
        session = self.sessions.begin(label, self._firmware.boot_id, tick, self._store.next_seq, also)
        self._frames_before = 0
        self._recorder = self._new_recorder(0)
        self._recorder.begin(session.id, label, tick, chosen)
        self._sampling.restart(self._firmware.clock.true_us)
        self._due_us = 0
        return answer

    def stop(self) -> fl.StopResponse:
        """End the session and seal."""
        self.advance()
        running = self.sessions.running
        if running is None:
            raise refuse(LoggerError.NOT_RECORDING)
        self._end(StopReason.COMMAND)
        return fl.StopResponse(session=running.id, next=self.next_seq)

    def _end(self, why: StopReason) -> None:
        tick = self._tick
        ended = True
        try:
            self._recorder.end(tick, why.name.lower())
        except StoreFull:  # a torn write has taken the page that was kept for this: the session's record says it too
            ended = False
        self._note_progress()
        self.sessions.end(self._firmware.boot_id, tick, why)
        if not ended:
            self._recorder = self._new_recorder(0)

    def release(self, seq: int) -> None:
        """Everything before seq may be overwritten."""
        if seq > self.next_seq:
            raise refuse(LoggerError.BEYOND_END)
        self._setup.release(max(seq, self._setup.released))
        self._store.released = self._setup.released

    def erase(self, request: fl.EraseRequest) -> fl.EraseResponse:
        """Forget the log; a repetition of the last request is answered as it was, across restarts too."""
        known = self._answer_of(_ERASED, request.id)
        if known is not None:
            return decode_body(known, fl.EraseResponse)
        if self.sessions.running is not None:
            raise refuse(LoggerError.RECORDING)
        if request.token != self.token:
            raise refuse(LoggerError.BAD_TOKEN)
        self._recorder.erase(self._tick)
        answer = fl.EraseResponse(next=self.next_seq)
        self._nv.put(_ERASED, _answer_record(request.id, answer))
        return answer

    def read(self, seq: int, offset: int, length: int) -> bytes:
        """Bytes of the sealed blocks from seq on, laid end to end."""
        if seq > self.next_seq:
            raise refuse(LoggerError.BEYOND_END)
        return self._store.read_stream(seq, offset, length)[0]

    def seal(self) -> None:
        """Seal the open blocks; nothing to seal is no error."""
        self.advance()
        self._recorder.seal()

    def mark(self, text: str) -> fl.MarkResponse:
        """Note a remark."""
        self.advance()
        tick = self._tick
        self._event(tick, Mark(text))
        return fl.MarkResponse(tick=tick)

    def note_sync(self, tick: int, utc_us: int, error_us: int, source: str) -> None:
        """Keep what time it was at a tick; in a full log only the clock itself is set."""
        with suppress(StoreFull):
            self._recorder.event(self._tick, ClockSync(tick, utc_us, error_us, source))

    def _event(self, tick: int, event: Event) -> None:
        try:
            self._recorder.event(tick, event)
        except StoreFull:
            raise refuse(LoggerError.LOG_FULL) from None

    def calibrate(self, stream: int, channel: int, coefficients: tuple[float, ...]) -> None:
        """Keep a calibration polynomial for a channel."""
        if channel >= len(self._sensor(stream).stream.channels):
            raise refuse(LoggerError.NO_SUCH_CHANNEL)
        if len(coefficients) > CALIBRATION_MAX:
            raise refuse(LoggerError.OUT_OF_RANGE)
        self._setup.calibrate(stream, channel, coefficients)

    @property
    def metadata(self) -> bytes:
        """The deployment's metadata."""
        return self._nv.get(_METADATA) or b""

    @metadata.setter
    def metadata(self, value: bytes) -> None:
        self._nv.put(_METADATA, value)

    def self_test(self) -> None:
        """Look at every sensor, the battery and the log's flash."""
        results = [self._test_sensor(sensor) for sensor in self._firmware.sensors]
        millivolts = self._firmware.battery_mv
        results.append(fl.TestResult(n="battery", ok=not self.low_battery, x=f"{millivolts} mV"))
        results.append(
            fl.TestResult(n="log", ok=self.state is not State.FULL, x=f"{self.bytes_used} of {self.bytes_total} B")
        )
        self.test_results = results

    def _test_sensor(self, sensor: Sensor) -> fl.TestResult:
        """A sensor passes when it gave a reading within its last few periods."""
        stream, now_us = sensor.stream, self._firmware.clock.true_us
        period_us = stream.period_us or _TEST_US
        raw = sensor.frames_between(now_us - 4 * period_us, now_us, period_us).raw
        channel = stream.channels[0]
        reading = channel.value(raw[-1].tolist()[0]) if len(raw) else None
        said = "no reading" if reading is None else f"{channel.name} {reading:g} {channel.unit}"
        return fl.TestResult(n=stream.name[: fl.LABEL_MAX], ok=reading is not None, x=said[: fl.LABEL_MAX])

    def latest(self, stream: int, cursor: int | None) -> Latest:
        """Frames newer than the cursor, oldest first; without a cursor the newest one."""
        self.advance()
        self._sensor(stream)
        return self._sampling.latest(stream, cursor)

    # sampling

    def advance(self) -> None:
        """Record what is due by now."""
        if self.sessions.running is None:
            return
        now_us = self._firmware.clock.true_us
        if now_us >= self._due_us:  # most requests come between two readings
            for stream in self._setup.recorded:
                if not self._sample(stream, now_us):
                    return
            self._recorder.expire(self._tick)
            self._due_us = self.next_due_us()
        self._note_progress()

    def next_due_us(self) -> int:
        """True time at which `advance` is next wanted."""
        now_us = self._firmware.clock.true_us
        if self.sessions.running is None:
            return now_us + IDLE_US
        periods = self._periods_us()
        due = [self._sampling.next_at(id_, periods[id_]) for id_ in self._setup.recorded]
        return min([*due, now_us + IDLE_US])

    def _periods_us(self) -> dict[int, int]:
        return {stream.id: stream.period_us for stream in self.streams}

    def _sample(self, stream: int, now_us: int) -> bool:
        """Whether the session goes on: a log that is full ends it."""
        hurried = self._firmware.hurried
        frames = self._sampling.take(stream, now_us, self._periods_us()[stream], hurried=hurried)
        if frames is None:
            return True
        if frames.missed:
            self._recorder.lost(stream, frames.missed)
        ticks = self._firmware.clock.oscillator.ticks(frames.utc_us)
        taken = self._recorder.record_many(
            stream, ticks, [frames.raw[:, index] for index in range(frames.raw.shape[1])]
        )
        self._sampling.remember(stream, ticks[:taken], frames.raw[:taken])
        if taken < len(ticks):
            self._end(StopReason.FULL)
            return False
        return True

    def _note_progress(self) -> None:
        self.sessions.progress(self._recorder.last_seq, self._frames_before + sum(self._recorder.frames.values()))

    def _frames_on_flash(self, running: fl.SessionInfo) -> int:
        """How far a session had come before the restart: what was sealed of it."""
        total = 0
        for seq in range(running.first, self._store.next_seq):
            wire = self._store.block(seq)
            block = None if wire is None else parse_block(wire)
            if block is not None and block.header.kind == Kind.DATA and block.header.session == running.id:
                total += block.n_frames
        return total

    # small parts

    @property
    def _tick(self) -> int:
        return self._firmware.clock.tick

    def _sensor(self, stream: int) -> Sensor:
        if stream not in self._sampling:
            raise refuse(LoggerError.NO_SUCH_STREAM)
        return self._sampling[stream]

    def _new_recorder(self, session: int) -> Recorder:
        uid, log_id = self._firmware.log_identity
        said = uid, log_id, self._firmware.firmware_version, self._firmware.product
        schema = self._setup.schema(*said, self._firmware.clock.oscillator.tolerance_ppm)
        return Recorder(self._store, schema, self, session=session, max_age_s=self._firmware.max_age_s)

    def _answer_of(self, key: str, request_id: int) -> bytes | None:
        stored = self._nv.get(key)
        if stored is None or int.from_bytes(stored[:4], "little") != request_id:
            return None
        return stored[4:]


def _answer_record(request_id: int, answer: Message) -> bytes:
    return struct.pack("<I", request_id) + encode_body(answer)
