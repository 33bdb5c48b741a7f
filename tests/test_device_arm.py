"""Armed sessions: each way to begin and to end one, restarts in between, and power cut at every flash operation.

All of it in virtual time, and each case with the firmware woken often and once: what is recorded must not depend on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device_bench import START_US, Bench, PowerLost
from fieldlog_protocol.blocks.block import TICK_HZ, Kind
from fieldlog_protocol.blocks.events import Mark, Metadata, SessionStart, SessionStop
from fieldlog_protocol.blocks.metadata import decode_metadata, encode_metadata, last_metadata
from fieldlog_protocol.commands import Empty, logger, os
from fieldlog_protocol.commands.logger import Capability, LoggerError, StartMode, State, StopReason, StreamPeriod
from fieldlog_protocol.errors import RefusedError
from fieldlog_sim.sensors import Environment

START_S = START_US // 1_000_000
ENVIRONMENT = (StreamPeriod(s=0, us=60_000_000),)
MINUTE = 60
WAKES = pytest.mark.parametrize("steps", [1, 7, 500])


def synced(**options: Any) -> Bench:
    """A device whose clock is set."""
    bench = Bench(**options)
    set_clock(bench)
    return bench


def set_clock(bench: Bench, ahead_s: int = 0) -> None:
    probe = bench.ask(logger.CLOCK_PROBE, Empty())
    utc_us = START_US + round(bench.now * 1e6) + ahead_s * 1_000_000
    anchor = logger.ClockAnchor(boot=probe.boot, tick=probe.tx, utc=utc_us, err=100, src=0)
    bench.ask(logger.CLOCK_ANCHOR, anchor)


def minutes(bench: Bench) -> list[int]:
    """When the environment's readings in the log were taken, in whole minutes since the beginning of the bench."""
    ticks = bench.frames(bench.sensors[0]).ticks
    whole, rest = np.divmod(ticks + TICK_HZ // 2, MINUTE * TICK_HZ)
    assert (rest < TICK_HZ).all()
    return [int(number) for number in whole]


def why(bench: Bench) -> StopReason:
    """Why the last session ended, as its record and the log say alike."""
    bench.seal()
    session = bench.sessions()[-1]
    stops = [event for _, event in bench.events() if isinstance(event, SessionStop) and event.id == session.id]
    reason = StopReason(session.why)
    assert [stop.reason for stop in stops] == ([] if reason is StopReason.RUNNING else [reason.name.lower()])
    return reason


# beginning


@WAKES
def test_at_a_time(steps: int) -> None:
    bench = synced()
    armed = bench.arm(start=StartMode.AT, at=START_S + 10 * MINUTE, streams=ENVIRONMENT, label="dawn")
    assert armed == logger.ArmResponse(session=1, state=State.ARMED)
    info = bench.info()
    assert (info.state, info.left, info.session) == (State.ARMED, 10 * MINUTE, 0)
    assert info.plan == logger.ArmRequest(
        id=1000, label="dawn", start=StartMode.AT, at=START_S + 10 * MINUTE, streams=ENVIRONMENT
    )
    assert bench.sessions() == []
    bench.wait(15 * MINUTE, steps)
    assert bench.state() is State.LOGGING
    bench.stop()
    assert minutes(bench) == [10, 11, 12, 13, 14, 15]
    (session,) = bench.sessions()
    assert (session.label, session.frames) == ("dawn", 6)
    assert session.start == pytest.approx(10 * MINUTE * TICK_HZ, abs=2)
    data = [block.header for block in bench.blocks() if block.header.kind == Kind.DATA]
    assert all(header.session == 1 for header in data)


@WAKES
def test_after_a_while_needs_no_clock(steps: int) -> None:
    bench = Bench()
    bench.wait(30)
    bench.arm(start=StartMode.AFTER, at=2 * MINUTE, streams=ENVIRONMENT)
    assert bench.info().left == 2 * MINUTE
    bench.wait(270, steps)
    bench.stop()
    assert minutes(bench) == [3, 4, 5]


@WAKES
@pytest.mark.parametrize("below", [False, True])
def test_on_a_threshold_the_triggering_frame_is_the_first(steps: int, below: bool) -> None:
    bench = Bench()
    sensor = bench.sensors[0]
    given = sensor.frames_between(START_US, START_US + 3600 * 1_000_000, 60_000_000).raw[:, 1]
    level = int(given.min() if below else given.max())
    first = int(np.flatnonzero(given == level)[0])
    bench.arm(start=StartMode.THRESHOLD, s=0, ch=1, level=level, below=below or None, streams=ENVIRONMENT)
    assert (bench.state(), bench.info().left) == (State.ARMED, None)
    bench.wait(3600, steps)
    bench.stop()
    assert minutes(bench) == list(range(first + 1, 61))
    assert bench.frames(sensor).columns[1][0] == given[first]


def test_the_level_itself_triggers_and_a_missing_reading_never() -> None:
    class Scripted(Environment):
        def sample(self, utc_us: Any) -> Any:
            minute = (utc_us - START_US) // 60_000_000
            raw = np.full((len(utc_us), 3), 1000, np.int64)
            raw[:, 0] = np.select([minute == 3, minute < 5], [-32768, 1999], 2000)
            return raw

    def first_minute(**trigger: object) -> int:
        bench = Bench(sensors=[Scripted(0)])
        bench.arm(start=StartMode.THRESHOLD, streams=ENVIRONMENT, **trigger)
        bench.wait(10 * MINUTE, 3)
        bench.stop()
        return (minutes(bench) or [0])[0]

    assert first_minute(level=2000) == 5
    assert first_minute(level=1999) == 1
    assert first_minute(level=2001) == 0
    assert first_minute(level=1998, below=True) == 0, "a missing reading is the lowest number there is"
    assert first_minute(level=1999, below=True) == 1


def test_a_session_that_waits_records_nothing_but_events() -> None:
    bench = synced()
    bench.arm(start=StartMode.AFTER, at=3600)
    bench.mark("here")
    bench.wait(1800, 10)
    bench.seal()
    assert not [block for block in bench.blocks() if block.header.kind == Kind.DATA]
    assert Mark("here") in [event for _, event in bench.events()]
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.RECORDING
    token = bench.info().token or 0
    assert bench.fl_refusal(logger.ERASE, logger.EraseRequest(id=1, token=token)) == LoggerError.RECORDING


def test_stop_disarms() -> None:
    bench = Bench()
    bench.arm(start=StartMode.AFTER, at=60)
    assert bench.stop().session == 1
    assert (bench.state(), bench.info().plan) == (State.IDLE, None)
    bench.wait(3600, 4)
    assert (bench.state(), bench.sessions()) == (State.IDLE, [])
    assert bench.fl_refusal(logger.STOP, logger.StopRequest(id=1)) == LoggerError.NOT_RECORDING
    bench.power_cycle()
    assert bench.state() is State.IDLE
    assert bench.arm().session == 1


def test_a_time_that_is_over_means_now_and_nothing_earlier_is_recorded() -> None:
    bench = synced()
    bench.wait(90)
    bench.arm(start=StartMode.AT, at=START_S, streams=ENVIRONMENT)
    bench.wait(120, 2)
    bench.stop()
    assert minutes(bench) == [2, 3]


def test_a_log_that_fills_while_it_waits_ends_the_session_before_it_begins() -> None:
    bench = Bench(log_sectors=4)
    bench.arm(start=StartMode.AFTER, at=60)
    for number in range(100):
        try:
            bench.mark(f"{number} " + "x" * 100)
        except RefusedError:
            break
    bench.wait(120)
    assert bench.state() is State.FULL
    assert bench.sessions()[-1].why == StopReason.FULL


# ending


@WAKES
def test_after_a_time_of_recording(steps: int) -> None:
    bench = Bench()
    bench.arm(secs=10 * MINUTE, streams=ENVIRONMENT)
    bench.wait(15 * MINUTE, steps)
    assert (bench.state(), why(bench)) == (State.IDLE, StopReason.TIME)
    assert minutes(bench) == list(range(1, 11))
    assert bench.sessions()[0].stop == pytest.approx(10 * MINUTE * TICK_HZ, abs=2)


@WAKES
def test_from_one_time_to_another_the_end_is_not_included(steps: int) -> None:
    bench = synced()
    begin, end = START_S + 5 * MINUTE, START_S + 10 * MINUTE
    bench.arm(start=StartMode.AT, at=begin, until=end, streams=ENVIRONMENT)
    bench.wait(20 * MINUTE, steps)
    assert why(bench) is StopReason.TIME
    assert minutes(bench) == [5, 6, 7, 8, 9]


@WAKES
def test_at_a_time_for_a_while(steps: int) -> None:
    bench = synced()
    bench.arm(start=StartMode.AT, at=START_S + 5 * MINUTE, secs=5 * MINUTE, streams=ENVIRONMENT)
    bench.wait(20 * MINUTE, steps)
    assert why(bench) is StopReason.TIME
    assert minutes(bench) == [5, 6, 7, 8, 9]


@WAKES
@pytest.mark.parametrize("frames", [1, 100, 777])
def test_after_frames_of_all_streams_in_order_of_time(steps: int, frames: int) -> None:
    bench = Bench()
    bench.arm(frames=frames)
    bench.wait(120, steps)
    assert why(bench) is StopReason.FRAMES
    environment, motion = (bench.frames(sensor).ticks for sensor in bench.sensors)
    assert len(environment) + len(motion) == frames == bench.sessions()[0].frames
    due = sorted([(tenth, "motion") for tenth in range(1, 1200)] + [(10 * 10 * n, "environment") for n in range(1, 13)])
    kept = due[:frames]
    assert len(motion) == sum(stream == "motion" for _, stream in kept)
    assert bench.sessions()[0].stop == pytest.approx(kept[-1][0] / 10 * TICK_HZ, abs=2)


@WAKES
def test_whatever_comes_first_ends_it(steps: int) -> None:
    def ended(**conditions: int) -> tuple[StopReason, int]:
        bench = synced()
        bench.arm(streams=ENVIRONMENT, **conditions)
        bench.wait(30 * MINUTE, steps)
        return why(bench), len(minutes(bench))

    until = START_S + 8 * MINUTE
    assert ended(frames=3, secs=10 * MINUTE, until=until) == (StopReason.FRAMES, 3)
    assert ended(frames=30, secs=4 * MINUTE, until=until) == (StopReason.TIME, 4)
    assert ended(frames=30, secs=10 * MINUTE, until=until) == (StopReason.TIME, 7)


@WAKES
def test_a_flat_battery(steps: int) -> None:
    bench = Bench(battery_mah=0.02)
    bench.arm(streams=ENVIRONMENT)
    full = bench.info()
    assert (full.pct, full.mv) == (100, 3600)
    bench.wait(6 * 3600, steps)
    assert why(bench) is StopReason.BATTERY
    info = bench.info()
    assert (info.mv or 0) <= 2200
    (session,) = bench.sessions()
    lasted_h = (session.stop or 0) / TICK_HZ / 3600
    assert lasted_h == pytest.approx(0.02 * 0.985 / ((full.ua or 0) / 1000), rel=0.05)
    assert session.frames == len(minutes(bench)) == int(lasted_h * 60)


def test_until_before_the_beginning_is_refused() -> None:
    bench = synced()
    for request in (
        logger.ArmRequest(id=1, until=START_S),
        logger.ArmRequest(id=1, start=StartMode.AT, at=START_S + 60, until=START_S + 60),
        logger.ArmRequest(id=1, start=StartMode.AFTER, at=100, until=START_S + 99),
    ):
        assert bench.fl_refusal(logger.ARM, request) == LoggerError.OUT_OF_RANGE
    assert bench.state() is State.IDLE


def test_what_it_can_wait_for_is_a_capability() -> None:
    capabilities = Capability(Bench().info().caps or 0)
    assert Capability.START_AT | Capability.START_AFTER | Capability.START_THRESHOLD in capabilities
    assert Capability.START_BUTTON not in capabilities


# restarts


def restart(bench: Bench, how: str) -> None:
    bench.ask(os.RESET, os.ResetRequest()) if how == "reset" else bench.power_cycle()


RESTARTS = pytest.mark.parametrize("how", ["power", "reset"])


@RESTARTS
def test_what_is_armed_survives_a_restart_and_is_answered_again(how: str) -> None:
    bench = synced()
    fields: dict[str, Any] = {"start": StartMode.AT, "at": START_S + 600, "secs": 120, "streams": ENVIRONMENT}
    armed = bench.arm(id=5, label="kept", **fields)
    plan = bench.info().plan
    restart(bench, how)
    assert (bench.state(), bench.info().plan) == (State.ARMED, plan)
    assert bench.arm(id=5, label="kept", **fields) == armed
    assert bench.info().left is None, "its clock is not set any more"
    bench.wait(1200, 5)
    assert bench.state() is State.ARMED, "it does not know the time"
    set_clock(bench)
    bench.wait(600, 5)
    assert why(bench) is StopReason.TIME
    assert bench.sessions()[0].frames == 2


@RESTARTS
@pytest.mark.parametrize("clock", ["set again", "never set again"])
def test_a_wait_across_a_restart_is_never_shortened(how: str, clock: str) -> None:
    bench = synced()
    bench.arm(start=StartMode.AFTER, at=600, streams=ENVIRONMENT)
    bench.wait(300, 3)
    restart(bench, how)
    if clock == "set again":
        set_clock(bench)
        assert bench.info().left == pytest.approx(300, abs=1)
        bench.wait(299, 3)
        assert bench.state() is State.ARMED
        bench.wait(2)
    else:
        assert bench.info().left == 600
        bench.wait(599, 3)
        assert bench.state() is State.ARMED
        bench.wait(2)
    assert bench.state() is State.LOGGING


@RESTARTS
def test_recording_time_and_frames_count_on_after_a_restart(how: str) -> None:
    bench = Bench()
    bench.arm(secs=20 * MINUTE, streams=ENVIRONMENT)
    bench.wait(8 * MINUTE)
    bench.seal()
    restart(bench, how)
    bench.wait(11 * MINUTE, 5)
    assert bench.state() is State.LOGGING
    bench.wait(2 * MINUTE)
    assert why(bench) is StopReason.TIME
    assert bench.sessions()[0].frames == 20
    bench.arm(frames=20, streams=ENVIRONMENT)
    bench.wait(8 * MINUTE)
    bench.seal()
    restart(bench, how)
    bench.wait(20 * MINUTE, 3)
    assert why(bench) is StopReason.FRAMES
    assert bench.sessions()[1].frames == 20


def test_an_end_at_a_time_waits_for_the_clock() -> None:
    bench = synced()
    bench.arm(until=START_S + 600, streams=ENVIRONMENT)
    bench.wait(120)
    bench.power_cycle()
    bench.wait(1200, 4)
    assert bench.state() is State.LOGGING, "late rather than never"
    set_clock(bench)
    bench.wait(1)
    assert why(bench) is StopReason.TIME


def test_a_threshold_is_watched_for_after_a_restart() -> None:
    bench = Bench()
    bench.arm(start=StartMode.THRESHOLD, level=-4000, streams=ENVIRONMENT)
    bench.power_cycle()
    bench.wait(120)
    assert bench.state() is State.LOGGING


# metadata


def write_metadata(bench: Bench, texts: dict[str, str]) -> None:
    blob = encode_metadata(texts)
    for offset in range(0, len(blob), 100):
        request = logger.MetadataWriteRequest(o=offset, len=len(blob), d=blob[offset : offset + 100])
        bench.ask(logger.METADATA_WRITE, request)


def test_metadata_goes_into_the_log_with_the_session_and_when_it_changes() -> None:
    bench = Bench()
    texts = {"site": "Öl 1 " + "x" * 430, "zone": "Europe/Berlin"}
    write_metadata(bench, texts)
    assert not [event for _, event in bench.events() if isinstance(event, Metadata)]
    bench.arm(start=StartMode.AFTER, at=60, label="L" * 32)
    bench.wait(120)
    bench.seal()

    def said() -> dict[str, str]:
        return decode_metadata(last_metadata(event for _, event in bench.events()) or b"")

    events = [event for _, event in bench.events()]
    at = next(index for index, event in enumerate(events) if isinstance(event, SessionStart))
    assert isinstance(events[at + 1], Metadata)
    assert said() == texts
    write_metadata(bench, {"site": "moved"})
    bench.seal()
    assert said() == {"site": "moved"}
    before = bench.info().next
    write_metadata(bench, {"site": "moved"})
    assert bench.info().next == before, "nothing has changed"
    bench.stop()
    sessions = {block.header.session for block in bench.blocks() if b"moved" in block.payload}
    assert sessions == {1}


def test_without_metadata_nothing_is_said_of_it() -> None:
    bench = Bench()
    bench.arm()
    bench.stop()
    assert not [event for _, event in bench.events() if isinstance(event, Metadata)]


# power


TEXTS = {"site": "roof", "operator": "x" * 200}


def life(cut_after: int | None, seed: int) -> int:
    """A session armed for later, with metadata, on a device whose power goes at one flash operation; how many there
    are. The host repeats whatever stays unanswered, and sets the clock after each restart."""
    bench = Bench(log_sectors=8, seed=seed)
    write_metadata(bench, TEXTS)
    flash, before = bench.device.flash, bench.device.flash.operations
    flash.cut_after = cut_after
    end_s = START_S + 900
    fields: dict[str, Any] = {"start": StartMode.AT, "at": START_S + 300, "until": end_s, "streams": ENVIRONMENT}
    steps = [lambda: bench.arm(id=1, label="life", **fields), *[lambda: bench.wait(60)] * 20]
    boot = 0
    for step in steps:
        for _ in range(3):
            try:
                if bench.device.boot_id != boot:
                    set_clock(bench)
                    boot = bench.device.boot_id
                step()
            except PowerLost:
                continue
            break
    if bench.device.boot_id != boot:  # power went in the last step
        set_clock(bench)
    bench.wait(1)
    operations = flash.operations - before
    (session,) = bench.sessions()
    assert (session.id, session.label, session.why) == (1, "life", StopReason.TIME)
    assert bench.state() is State.IDLE
    bench.seal()
    assert decode_metadata(last_metadata(event for _, event in bench.events()) or b"") == TEXTS
    starts = [event for _, event in bench.events() if isinstance(event, SessionStart)]
    assert starts == [SessionStart(1, "life")]
    found = bench.frames(bench.sensors[0])
    assert len(found.ticks) == session.frames <= 10
    assert bench.device.boot_id == (1 if cut_after is None else 2)
    if cut_after is None:
        assert session.frames == 10
    bench.power_cycle()
    assert (bench.state(), len(bench.sessions())) == (State.IDLE, 1)
    return operations


def test_power_cuts_while_armed() -> None:
    operations = life(None, 0)
    assert operations > 15
    for cut in range(1, operations + 1, 3):
        try:
            life(cut, cut)
        except Exception as error:
            error.add_note(f"power cut at flash operation {cut}, seed {cut}")
            raise


@pytest.mark.faults
def test_power_cuts_at_every_operation_of_arming(request: pytest.FixtureRequest) -> None:
    operations = life(None, 0)
    for cut in range(1, operations + 1):
        for seed in range(5):
            try:
                life(cut, seed)
            except Exception as error:
                error.add_note(f"power cut at flash operation {cut}, seed {seed}")
                raise
    request.node.user_properties.append(("counted", f"power cut at {operations} operations of arming, 5 times each"))
