"""The logger on the device, as it is known from outside: its log, its streams, what it says and does when it is asked.

Rule: when a frame is due and what ends a session is the session run's business, how frames become blocks is the
recorder's, and where blocks lie is the log store's.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from fieldlog_protocol.blocks.events import Boot, ClockSync, Event, Mark
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.commands import logger as fl
from fieldlog_protocol.commands.logger import Capability, LoggerError, SettingInfo, State
from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.wire import decode_body
from fieldlog_sim.battery import LOW_MV
from fieldlog_sim.firmware import Firmware
from fieldlog_sim.log_setup import LogSetup
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.nor_flash import Partition
from fieldlog_sim.once import ERASED, answer_of, answer_record
from fieldlog_sim.plan import refuse
from fieldlog_sim.sampling import Latest
from fieldlog_sim.sensors import Sensor
from fieldlog_sim.session_run import METADATA, SessionRun
from fieldlog_sim.sessions import Sessions
from fieldlog_sim.settings_store import SettingsStore
from fieldlog_sim.settings_transaction import Staged
from fieldlog_sim.store_errors import StoreFull

_CAPABILITIES = (
    Capability.START_AT
    | Capability.START_AFTER
    | Capability.START_THRESHOLD
    | Capability.WRAP
    | Capability.LATEST
    | Capability.CALIBRATE
    | Capability.SELF_TEST
    | Capability.IDENTIFY
    | Capability.TRANSACTION
    | Capability.METADATA
)
_TEST_US = 60_000_000


class Logger:
    """Mounts the log and, if a session was armed or being recorded, goes on with it."""

    def __init__(self, firmware: Firmware, partition: Partition, nv: SettingsStore, block_size: int) -> None:
        self._firmware = firmware
        self._nv = nv
        self._setup = LogSetup(nv, tuple(sensor.stream for sensor in firmware.sensors))
        self._store = LogStore(partition, block_size, wrap=self._setup.wrap, released=self._setup.released)
        self._run = SessionRun(firmware, self, nv, self._setup, self._store)
        self.test_results: list[fl.TestResult] = []
        self._described: tuple[Sequence[SettingInfo], bytes] | None = None

    # what it knows of the device around it, as the recorder asks for it

    @property
    def boot_id(self) -> int:
        return self._firmware.boot_id

    @property
    def low_battery(self) -> bool:
        return self._firmware.battery_mv < LOW_MV

    def utc_at(self, tick: int) -> int:
        return self._firmware.clock.believed_seconds(tick)

    # what info says

    @property
    def sessions(self) -> Sessions:
        return self._run.sessions

    @property
    def state(self) -> State:
        return self._run.state

    @property
    def plan(self) -> fl.ArmRequest | None:
        """How the session armed or recorded was asked for."""
        return self._run.request

    @property
    def session(self) -> int:
        """The id of the session armed, being recorded or last recorded; 0 when there is none yet."""
        return self._run.session

    @property
    def recording_ua(self) -> float | None:
        """What the session armed will draw when it is recorded."""
        return self._run.recording_ua

    @property
    def seconds_left(self) -> int | None:
        """Until the session begins, if that is known."""
        return self._run.seconds_left

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
        """Changes with what streams and settings there are. What their users make of them (calibrations, periods) is left
        out: a host keeps one description for all devices of a kind."""
        if self._described is None or self._described[0] is not settings:
            described = repr((settings, [_as_built(stream) for stream in self.streams])).encode()
            self._described = settings, hashlib.sha256(described).digest()[:8]
        return self._described[1]

    def statistics(self) -> dict[str, int]:
        return {
            "next_seq": self.next_seq,
            "bytes_used": self.bytes_used,
            "frames": sum(self._run.recorder.frames.values()),
        }

    # sessions

    def boot(self, reason: str) -> None:
        """Note the restart in the log, if there is room."""
        self._run.boot(Boot(reason, self._firmware.firmware_version))

    def arm(self, request: fl.ArmRequest) -> fl.ArmResponse:
        """Begin a session, now or later."""
        return self._run.arm(request)

    def stop(self) -> fl.StopResponse:
        """End the session, or do not wait for it any more."""
        return self._run.stop()

    def advance(self) -> None:
        """Do what is due by now."""
        self._run.advance()

    def next_due_us(self) -> int:
        """True time at which `advance` is next wanted."""
        return self._run.next_due_us()

    def release(self, seq: int) -> None:
        """Everything before seq may be overwritten."""
        if seq > self.next_seq:
            raise refuse(LoggerError.BEYOND_END)
        self._setup.release(max(seq, self._setup.released))
        self._store.released = self._setup.released

    def erase(self, request: fl.EraseRequest) -> fl.EraseResponse:
        """Forget the log; a repetition of the last request is answered as it was, across restarts too."""
        known = answer_of(self._nv, ERASED, request.id)
        if known is not None:
            return decode_body(known, fl.EraseResponse)
        if not self._run.is_idle:
            raise refuse(LoggerError.RECORDING)
        if request.token != self.token:
            raise refuse(LoggerError.BAD_TOKEN)
        self._run.recorder.erase(self._tick)
        answer = fl.EraseResponse(next=self.next_seq)
        self._nv.put(ERASED, answer_record(request.id, answer))
        return answer

    def read(self, seq: int, offset: int, length: int) -> bytes:
        """Bytes of the sealed blocks from seq on, laid end to end."""
        if seq > self.next_seq:
            raise refuse(LoggerError.BEYOND_END)
        return self._store.read_bytes(seq, offset, length)

    def seal(self) -> None:
        """Seal the open blocks; nothing to seal is no error."""
        self.advance()
        self._run.recorder.seal()

    def mark(self, text: str) -> fl.MarkResponse:
        """Note a remark."""
        self.advance()
        tick = self._tick
        self._event(tick, Mark(text))
        return fl.MarkResponse(tick=tick)

    def note_sync(self, tick: int, utc_us: int, error_us: int, source: str) -> None:
        """Keep what time it was at a tick; in a full log only the clock itself is set."""
        with suppress(StoreFull):
            self._run.recorder.event(self._tick, ClockSync(tick, utc_us, error_us, source))

    def _event(self, tick: int, event: Event) -> None:
        try:
            self._run.recorder.event(tick, event)
        except StoreFull:
            raise refuse(LoggerError.LOG_FULL) from None

    def keep(self, staged: Staged, others: Mapping[str, bytes | None]) -> None:
        """Store calibrations and metadata, and with them in one record what others have to store. A calibration holds
        for what is recorded from now on."""
        self.advance()
        calibrated = self._setup.calibrated(staged.calibrations)
        renewed = staged.metadata is not None and staged.metadata != self.metadata
        self._nv.put_many({**others, **calibrated, **({METADATA: staged.metadata} if renewed else {})})
        if calibrated:
            self._setup.reload()
            self._run.redescribe()
        if renewed:
            self._run.note_metadata()

    def require_calibration(self, stream: int, channel: int, coefficients: tuple[float, ...]) -> None:
        """Refuse a channel that there is not, and a polynomial that it cannot have."""
        channels = self._sensor(stream).stream.channels
        if channel >= len(channels):
            raise refuse(LoggerError.NO_SUCH_CHANNEL)
        try:
            msgspec.structs.replace(channels[channel], calibration=coefficients)
        except UsageError:
            raise refuse(LoggerError.OUT_OF_RANGE) from None

    @property
    def metadata(self) -> bytes:
        """The deployment's metadata."""
        return self._nv.get(METADATA) or b""

    def self_test(self) -> None:
        """Look at every sensor, the battery and the log's flash."""
        results = [self._test_sensor(sensor) for sensor in self._firmware.sensors]
        millivolts = self._firmware.battery_mv
        results.append(fl.TestResult(n="battery", ok=not self.low_battery, x=f"{millivolts} mV"))
        results.append(
            fl.TestResult(
                n="log",
                ok=self.state is not State.FULL,
                x=f"{self.bytes_used / 1e6:.3f} of {self.bytes_total / 1e6:.1f} MB",
            )
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
        return self._run.sampling.latest(stream, cursor)

    # small parts

    @property
    def _tick(self) -> int:
        return self._firmware.clock.tick

    def _sensor(self, stream: int) -> Sensor:
        if stream not in self._run.sampling:
            raise refuse(LoggerError.NO_SUCH_STREAM)
        return self._run.sampling[stream]


def _as_built(stream: Stream) -> Stream:
    replace = msgspec.structs.replace
    channels = tuple(replace(channel, calibration=()) for channel in stream.channels)
    return replace(stream, period_us=min(1, stream.period_us), channels=channels)
