"""The session on the device, from arming to its end: what it waits for, when a frame is due, and what ends it.

Rule: what is recorded depends on when things are due, and not on when the firmware is woken. A session begins and ends
at its own moment even where the device looks at the time only later, and it ends with the frame that it was to end with.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
import numpy as np

from fieldlog_protocol.blocks.block import TICK_HZ, capacity
from fieldlog_protocol.blocks.events import Event, SessionStart
from fieldlog_protocol.blocks.metadata import metadata_events
from fieldlog_protocol.blocks.schema import Schema, Stream
from fieldlog_protocol.commands import logger as fl
from fieldlog_protocol.commands.logger import LoggerError, StartMode, State, StopReason
from fieldlog_protocol.wire import decode_body, encode_body
from fieldlog_sim.battery import current_ua
from fieldlog_sim.device_clock import DeviceClock
from fieldlog_sim.firmware import Firmware
from fieldlog_sim.log_setup import LogSetup
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.once import ARMED, answer_of, answer_record
from fieldlog_sim.plan import Plan, chosen_streams, refuse, require_possible, start_mode, trigger_stream
from fieldlog_sim.recorder import DeviceFacts, Recorder
from fieldlog_sim.sampling import IRREGULAR_US, Sampling, Threshold
from fieldlog_sim.sensors import Frames
from fieldlog_sim.session_progress import Progress, progress_on_flash
from fieldlog_sim.sessions import Sessions
from fieldlog_sim.settings_store import SettingsStore
from fieldlog_sim.store_errors import StoreFull

IDLE_US = 1_000_000
METADATA = "metadata"
_PLAN = "log/plan"


class SessionRun:
    """Goes on, when made, with what was armed or being recorded. `plan` is that of the session armed or recorded."""

    def __init__(
        self, firmware: Firmware, facts: DeviceFacts, nv: SettingsStore, setup: LogSetup, store: LogStore
    ) -> None:
        self._firmware = firmware
        self._facts = facts
        self._nv = nv
        self._setup = setup
        self._store = store
        self.sessions = Sessions(nv)
        self.sampling = Sampling(firmware.sensors, firmware.clock.true_us, firmware.clock.oscillator)
        stored = nv.get(_PLAN)
        self.plan = None if stored is None else decode_body(stored, Plan)
        running = self.sessions.running
        self._before = progress_on_flash(store, running) if running else Progress(0)
        self.recorder = self._new_recorder(running.id if running else 0)
        self._due_us = 0
        self._seen_us = firmware.clock.true_us
        self._draw()

    @property
    def state(self) -> State:
        last = self.sessions.last
        if last is not None and last.why == StopReason.RUNNING:
            return State.LOGGING
        if self.plan is not None:
            return State.ARMED
        full = last is not None and last.why == StopReason.FULL and not self._can_begin()
        return State.FULL if full else State.IDLE

    @property
    def session(self) -> int:
        """The id of the session armed, being recorded or last recorded; 0 when there is none yet."""
        if self.state is State.ARMED:
            return self.sessions.next_id
        return 0 if self.sessions.last is None else self.sessions.last.id

    @property
    def recording_ua(self) -> float | None:
        """What the session armed will draw when it is recorded."""
        return _drawn_by(self._recorded) if self.state is State.ARMED else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being recorded or armed."""
        return self.plan is None and self.sessions.running is None

    @property
    def request(self) -> fl.ArmRequest | None:
        """How the session armed or recorded was asked for, with all its streams."""
        if self.plan is None:
            return None
        streams = tuple(fl.StreamPeriod(s=stream.id, us=stream.period_us) for stream in self._recorded)
        return msgspec.structs.replace(self.plan.arm, streams=streams)

    @property
    def seconds_left(self) -> int | None:
        """Until the session begins, if that is known."""
        tick = self._start_tick() if self.state is State.ARMED else None
        return None if tick is None else max(0, tick - self._clock.tick) // TICK_HZ

    # arming

    def arm(self, request: fl.ArmRequest) -> fl.ArmResponse:
        """Begin a session, now or later; a repetition of the last request is answered as it was, across restarts too."""
        known = answer_of(self._nv, ARMED, request.id)
        if known is not None:
            return decode_body(known, fl.ArmResponse)
        if not self.is_idle:
            raise refuse(LoggerError.RECORDING)
        self._require_room(wrap=bool(request.wrap))
        chosen = self._possible(request)
        now = start_mode(request) is StartMode.NOW
        answer = fl.ArmResponse(session=self.sessions.next_id, state=State.LOGGING if now else State.ARMED)
        changes = self._setup.arm(chosen, tuple(chosen), wrap=bool(request.wrap))
        self._store.wrap = bool(request.wrap)
        plan = self._planned(request)
        changes |= {ARMED: answer_record(request.id, answer), _PLAN: encode_body(plan)}
        self._seen_us = self._clock.true_us
        if now:
            self._begin(plan, self._seen_us, changes)
        else:
            self._nv.put_many(changes)
            self.plan = plan
            self.sampling.restart(self._seen_us)
        self._draw()
        return answer

    def _possible(self, request: fl.ArmRequest) -> dict[int, int]:
        streams = self._setup.streams
        chosen = chosen_streams(request.streams, streams, lambda id_: self.sampling[id_].period_range_us)
        require_possible(request, chosen, streams, self._clock)
        return chosen

    def _planned(self, request: fl.ArmRequest) -> Plan:
        return Plan(
            arm=msgspec.structs.replace(request, streams=None),
            boot=self._firmware.boot_id,
            tick=self._clock.tick,
            utc=self._clock.believed_utc_us,
        )

    def _require_room(self, *, wrap: bool) -> None:
        """Refuse before anything is begun when a session could not even say that it has begun."""
        former, self._store.wrap = self._store.wrap, wrap
        possible = self._can_begin()
        self._store.wrap = former
        if not possible:
            raise refuse(LoggerError.LOG_FULL)

    def _can_begin(self) -> bool:
        return self.recorder.can_begin(self._metadata_events())

    # beginning

    def boot(self, event: Event) -> None:
        """Note the restart in the log, if there is room, and the session that power was cut in the beginning of."""
        running = self.sessions.running
        with suppress(StoreFull):
            self.recorder.event(self._clock.tick, event)
            if running is not None and not self._before.announced and running.first >= self._store.first_seq:
                beginning = (SessionStart(running.id, running.label), *self._metadata_events())
                self.recorder.events(self._clock.tick, beginning)

    def _begin(self, plan: Plan, moment_us: int, also: dict[str, bytes]) -> None:
        """Begin at a true time; the frame of that moment is the first, but for a session that begins when it is armed."""
        tick = self._clock.oscillator.tick(moment_us)
        label = plan.arm.label or ""
        session = self.sessions.begin(label, self._firmware.boot_id, tick, self._store.next_seq, also)
        self.plan = plan
        self._before = Progress(session.first)
        self._due_us = 0
        self.recorder = self._new_recorder(0)
        self.sampling.restart(moment_us - (plan.mode is not StartMode.NOW))
        self._draw(moment_us)
        try:
            self.recorder.begin(session.id, label, tick, self._setup.recorded, self._metadata_events())
        except StoreFull:  # events that came while it waited have taken the room
            self.end(StopReason.FULL)

    def _metadata_events(self) -> Sequence[Event]:
        blob = self._nv.get(METADATA)
        return metadata_events(blob, capacity(self._store.block_size)) if blob else ()

    def note_metadata(self) -> None:
        """Put new metadata into a session that is being recorded, if there is room."""
        if self.sessions.running is not None:
            blob = self._nv.get(METADATA) or b""
            self._before.noted_seq = self._store.next_seq
            with suppress(StoreFull):
                self.recorder.events(self._clock.tick, metadata_events(blob, capacity(self._store.block_size)))

    def redescribe(self) -> None:
        """Go on under what the setup says now: what the log cannot describe any more ends the session."""
        running = self.sessions.running
        if running is None:
            self.recorder = self._new_recorder(0)
            return
        try:
            self.recorder.describe(self._schema(), self._clock.tick)
        except StoreFull:
            self.end(StopReason.FULL)

    def _renew_metadata(self) -> None:
        """A ring overwrites what was noted; twice in a lap it is noted again, so that any dump explains itself."""
        lap = self._store.pages.count
        if self._store.wrap and self._store.next_seq - self._before.noted_seq > lap // 2 and self._nv.get(METADATA):
            self.note_metadata()

    # ending

    def stop(self) -> fl.StopResponse:
        """End the session and seal; one that waits is forgotten."""
        self.advance()
        running = self.sessions.running
        if running is not None:
            self.end(StopReason.COMMAND)
            return fl.StopResponse(session=running.id, next=self._store.next_seq)
        if self.plan is None:
            raise refuse(LoggerError.NOT_RECORDING)
        self._nv.delete(_PLAN)
        self.plan = None
        self._draw()
        return fl.StopResponse(session=self.sessions.next_id, next=self._store.next_seq)

    def end(self, why: StopReason, moment_us: int | None = None) -> None:
        """End the session at a true time, or now."""
        tick = self._clock.tick if moment_us is None else self._clock.oscillator.tick(moment_us)
        ended = True
        try:
            self.recorder.end(tick, why.name.lower())
        except StoreFull:  # a torn write has taken the page that was kept for this: the session's record says it too
            ended = False
        self._note_progress()
        self.sessions.end(self._firmware.boot_id, tick, why, {_PLAN: None})
        self.plan = None
        self._draw(moment_us)
        if not ended:
            self.recorder = self._new_recorder(0)

    # time goes on

    def advance(self) -> None:
        """Do what is due by now."""
        now_us = self._clock.true_us
        if self.sessions.running is None and self.plan is not None:
            moment_us = self._moment(self.plan, now_us)
            if moment_us is not None:
                self._begin(self.plan, moment_us, {})
        running = self.sessions.running
        if running is not None and now_us >= self._due_us:  # most requests come between two readings
            self._record(now_us)
            self._note_progress()
        elif running is not None and running.last != self.recorder.last_seq:  # sealed on request
            self._note_progress()
        self._seen_us = max(self._seen_us, now_us)

    def next_due_us(self) -> int:
        """True time at which `advance` is next wanted."""
        now_us = self._clock.true_us
        latest_us = now_us + IDLE_US
        if self.sessions.running is not None:
            if now_us < self._due_us:
                return self._due_us
            due = [self.sampling.next_at(stream.id, stream.period_us) for stream in self._recorded]
            return min([*due, latest_us, self._moment_of(self._end_tick(), latest_us)])
        if self.plan is None:
            return latest_us
        if self.plan.mode is StartMode.THRESHOLD:
            stream = self._watched(self.plan)
            return min(self.sampling.next_at(stream.id, stream.period_us), latest_us)
        return self._moment_of(self._start_tick(), latest_us)

    def _moment_of(self, tick: int | None, latest_us: int) -> int:
        """The true time of a tick, if that comes soon; else the latest."""
        if tick is None or tick > self._clock.tick + 2 * TICK_HZ:
            return latest_us
        return min(self._clock.oscillator.utc_us(tick), latest_us)

    def _moment(self, plan: Plan, now_us: int) -> int | None:
        """The true time at which the armed session has begun by now; None: it waits."""
        if plan.mode is StartMode.THRESHOLD:
            return self._triggered(plan, now_us)
        tick = self._start_tick()
        if tick is None or tick > self._clock.tick:
            return None
        return max(self._clock.oscillator.utc_us(tick), self._seen_us)

    def _start_tick(self) -> int | None:
        return None if self.plan is None else self.plan.start_tick(self._clock, self._firmware.boot_id)

    def _watched(self, plan: Plan) -> Stream:
        wanted = trigger_stream(plan.arm, self._setup.recorded)
        return next(stream for stream in self._setup.streams if stream.id == wanted)

    def _triggered(self, plan: Plan, now_us: int) -> int | None:
        """The true time of the first frame that passes the threshold."""
        stream = self._watched(plan)
        threshold = Threshold(plan.arm.ch or 0, plan.arm.level or 0, bool(plan.arm.below))
        return self.sampling.first_passing(threshold, stream, now_us, hurried=self._firmware.hurried)

    # recording

    def _record(self, now_us: int) -> None:
        """Take what is due, as far as the session goes."""
        limit_us, limit = self._limit()
        why = self._take(min(now_us, limit_us))
        if why is not None:
            self.end(*why)
        elif limit_us <= now_us:
            self.end(limit, max(limit_us, self._seen_us))
        else:
            self.recorder.expire(self._clock.tick)
            self._renew_metadata()
            self._due_us = self.next_due_us()

    def _limit(self) -> tuple[int, StopReason]:
        """The last microsecond of the session, if it has come, and what ends it; else one in the future."""
        now_us = self._clock.true_us
        end = self._end_tick()
        time_us = now_us + 1 if end is None or end > self._clock.tick else self._clock.oscillator.utc_us(end) - 1
        flat_us = self._firmware.battery.flat_at_us()
        return (time_us, StopReason.TIME) if time_us <= flat_us else (int(flat_us), StopReason.BATTERY)

    def _end_tick(self) -> int | None:
        running = self.sessions.running
        if self.plan is None or running is None:
            return None
        began = running.start if running.boot == self._firmware.boot_id else 0
        return self.plan.end_tick(self._clock, began, self._before.ticks)

    def _take(self, until_us: int) -> tuple[StopReason, int | None] | None:
        """Record the frames up to a true time. The answer is why, and when, the session ends with them."""
        hurried = self._firmware.hurried
        due = {
            stream.id: frames
            for stream in self._recorded
            if (frames := self.sampling.take(stream.id, until_us, stream.period_us, hurried=hurried)) is not None
        }
        last_us = self._cut(due)
        for stream, frames in due.items():
            if not self._keep(stream, frames):
                return StopReason.FULL, None
        return None if last_us is None else (StopReason.FRAMES, last_us)

    def _cut(self, due: dict[int, Frames]) -> int | None:
        """Leave only as many frames as the session still takes, in order of time; when the last of them is, if so many
        are due."""
        if self.plan is None or self.plan.arm.frames is None or not due:
            return None
        left = self.plan.arm.frames - self._frames
        times = np.concatenate([frames.utc_us for frames in due.values()])
        if len(times) < left:
            return None
        of = np.repeat(np.arange(len(due)), [len(frames.utc_us) for frames in due.values()])
        kept = np.argsort(times, kind="stable")[: max(0, left)]
        counts = np.bincount(of[kept], minlength=len(due))
        for (stream, frames), count in zip(list(due.items()), counts.tolist(), strict=True):
            due[stream] = Frames(frames.utc_us[:count], frames.raw[:count], frames.missed)
        return int(times[kept].max()) if left > 0 else int(times.min())

    def _keep(self, stream: int, frames: Frames) -> bool:
        """Whether there was room for all of these."""
        if frames.missed:
            self.recorder.lost(stream, frames.missed)
        ticks = self._clock.oscillator.ticks(frames.utc_us)
        columns = [frames.raw[:, index] for index in range(frames.raw.shape[1])]
        taken = self.recorder.record_many(stream, ticks, columns)
        self.sampling.remember(stream, ticks[:taken], frames.raw[:taken])
        return taken == len(ticks)

    @property
    def _frames(self) -> int:
        return self._before.frames + sum(self.recorder.frames.values())

    def _note_progress(self) -> None:
        self.sessions.progress(self.recorder.last_seq, self._frames)

    # small parts

    @property
    def _clock(self) -> DeviceClock:
        return self._firmware.clock

    @property
    def _recorded(self) -> list[Stream]:
        streams = {stream.id: stream for stream in self._setup.streams}
        return [streams[id_] for id_ in self._setup.recorded]

    def _draw(self, moment_us: int | None = None) -> None:
        """Let the battery feed what is sampled from now on."""
        if self.sessions.running is not None:
            sampled = self._recorded
        elif self.plan is not None and self.plan.mode is StartMode.THRESHOLD:
            sampled = [self._watched(self.plan)]
        else:
            sampled = []
        self._firmware.battery.draw(_drawn_by(sampled), self._clock.true_us if moment_us is None else moment_us)

    def _new_recorder(self, session: int) -> Recorder:
        return Recorder(self._store, self._schema(), self._facts, session=session, max_age_s=self._firmware.max_age_s)

    def _schema(self) -> Schema:
        uid, log_id = self._firmware.log_identity
        said = uid, log_id, self._firmware.firmware_version, self._firmware.product
        return self._setup.schema(*said, self._firmware.clock.oscillator.tolerance_ppm)


def _drawn_by(sampled: Sequence[Stream]) -> float:
    """Mean current in uA of a device that samples these streams."""
    return current_ua([(len(stream.channels), 1e6 / (stream.period_us or IRREGULAR_US)) for stream in sampled])
