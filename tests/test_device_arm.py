"""Armed sessions: each way to begin and to end one.

All of it in virtual time, and each case with the firmware woken often and once: what is recorded must not depend on it.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from arm_bench import ENVIRONMENT, MINUTE, START_S, minutes, synced, why
from device_bench import START_US, Bench
from fieldlog_protocol.blocks.block import TICK_HZ, Kind
from fieldlog_protocol.blocks.events import Mark
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import Capability, LoggerError, StartMode, State, StopReason, StreamPeriod
from fieldlog_protocol.errors import RefusedError
from fieldlog_sim.port import Buffers
from fieldlog_sim.sensors import Environment

WAKES = pytest.mark.parametrize("steps", [1, 7, 500])


# beginning


@WAKES
def test_at_a_time(steps: int) -> None:
    bench = synced()
    armed = bench.arm(start=StartMode.AT, at=START_S + 10 * MINUTE, streams=ENVIRONMENT, label="dawn")
    assert armed == logger.ArmResponse(session=1, state=State.ARMED)
    info = bench.info()
    assert (info.state, info.left, info.session) == (State.ARMED, 10 * MINUTE, 1)
    assert (info.ua, info.rua) == (8, 8)
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


def test_the_session_told_is_the_one_that_is_armed_or_recorded_and_else_the_last() -> None:
    bench = Bench()
    told: list[int | None] = [bench.info().session]
    for start in (StartMode.AFTER, StartMode.NOW):
        bench.arm(start=start, at=MINUTE, streams=ENVIRONMENT)
        told.append(bench.info().session)
        bench.wait(2 * MINUTE)
        told.append(bench.info().session)
        bench.stop()
        told.append(bench.info().session)
    bench.arm(start=StartMode.AFTER, at=MINUTE)
    told.append(bench.info().session)
    bench.stop()
    told.append(bench.info().session)
    assert told == [0, 1, 1, 1, 2, 2, 2, 3, 2]


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


@pytest.mark.parametrize(("channel", "level"), [(0, 2**32 - 8), (1, -(2**63) + 4), (1, 2**62)])
@pytest.mark.parametrize("below", [False, True])
def test_on_a_threshold_of_the_widest_numbers(channel: int, level: int, below: bool) -> None:
    class Counters(Environment):
        """Both go by one through the level in the fourth minute."""

        def __init__(self) -> None:
            super().__init__(0)
            kinds = (ChannelType.U32, ChannelType.I64)
            channels = tuple(Channel(kind.name.lower(), "", kind) for kind in kinds)
            self.stream = msgspec.structs.replace(self.stream, channels=channels)

        def sample(self, utc_us: Any) -> Any:
            step = (utc_us - START_US) // 60_000_000 - 4
            raw = np.zeros((len(utc_us), 2), np.int64)
            raw[:, channel] = level + (-step if below else step)
            return raw

    bench = Bench(sensors=[Counters()])
    bench.arm(start=StartMode.THRESHOLD, ch=channel, level=level, below=below or None, streams=ENVIRONMENT)
    bench.wait(6 * MINUTE, 3)
    bench.stop()
    assert minutes(bench) == [4, 5, 6]


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


@pytest.mark.parametrize(("streams", "told"), [(8, "periods"), (40, "ids"), (200, "nothing")])
def test_what_was_asked_for_fits_the_smallest_buffer(streams: int, told: str) -> None:
    sensors = [Environment(number, stream_id=number) for number in range(streams)]
    bench = synced(sensors=sensors, buffers=Buffers(384, 4))
    label = "é" * 16
    far = 2**32 - 1
    bench.arm(start=StartMode.AT, at=far - 1, until=far, secs=far, frames=2**63 - 1, label=label, wrap=True)
    plan = bench.info().plan
    assert plan is not None
    assert (plan.label, plan.at, plan.frames) == (label, far - 1, 2**63 - 1)
    if told == "nothing":
        assert plan.streams is None
    else:
        period_us = sensors[0].stream.period_us if told == "periods" else None
        assert plan.streams == tuple(StreamPeriod(s=number, us=period_us) for number in range(streams))


def test_more_periods_than_can_be_remembered_are_refused() -> None:
    sensors = [Environment(number, stream_id=number) for number in range(100)]
    bench = Bench(sensors=sensors)
    streams = tuple(StreamPeriod(s=number, us=1_000_000 + number) for number in range(100))
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1, streams=streams)) == LoggerError.FLASH
    assert bench.state() is State.IDLE
    assert bench.arm(streams=streams[:10]).session == 1


def test_a_label_is_counted_in_bytes() -> None:
    request = logger.ArmRequest(id=1, label="é" * 17)
    assert Bench().fl_refusal(logger.ARM, request) == LoggerError.OUT_OF_RANGE


def test_what_it_can_wait_for_is_a_capability() -> None:
    capabilities = Capability(Bench().info().caps or 0)
    assert Capability.START_AT | Capability.START_AFTER | Capability.START_THRESHOLD in capabilities
    assert Capability.START_BUTTON not in capabilities


# any conditions, any rhythm


def conditions(randomness: random.Random) -> dict[str, Any]:
    """An arm request such as somebody might come to send."""
    streams = randomness.choice([None, ENVIRONMENT, (StreamPeriod(s=1, us=250_000), StreamPeriod(s=0, us=7_000_000))])
    fields: dict[str, Any] = {"streams": streams, "wrap": randomness.choice([None, True])}
    start = randomness.choice([StartMode.NOW, StartMode.AT, StartMode.AFTER, StartMode.THRESHOLD])
    later = randomness.randint(0, 400)
    if start is StartMode.THRESHOLD:
        below = randomness.choice([None, True])
        fields |= {"level": randomness.randint(1900, 2000), "s": 0, "below": below}
    elif start is not StartMode.NOW:
        fields["at"] = later + (START_S if start is StartMode.AT else 0)
    fields["start"] = int(start)
    if randomness.random() < 0.5:
        fields["secs"] = randomness.randint(1, 400)
    if randomness.random() < 0.3:
        fields["frames"] = randomness.randint(1, 1000)
    if randomness.random() < 0.3:
        fields["until"] = START_S + later + randomness.randint(1, 400)
    return fields


def outcome(seed: int, rhythm: random.Random) -> object:
    """What is in the log 15 minutes later, and what the sessions say, with the firmware woken at odd moments."""
    randomness = random.Random(seed)
    bench = synced(battery_mah=randomness.choice([None, None, 0.005]), seed=seed)
    bench.arm(**conditions(randomness))
    while bench.now < 900:
        bench.wait(min(rhythm.expovariate(1 / 60), 900 - bench.now))
    bench.seal()
    session = [(s.start, s.stop, s.frames, s.why) for s in bench.sessions()]
    frames = [bench.frames(sensor) for sensor in bench.sensors]
    found = [(f.ticks.tolist(), [column.tolist() for column in f.columns]) for f in frames]
    for sensor in bench.sensors:
        bench.assert_true(sensor, {1: START_US}, period_of(bench, sensor.stream.id))
    return bench.state(), session, found


def period_of(bench: Bench, stream: int) -> int:
    return bench.ask(logger.STREAMS, logger.StreamsRequest(i=stream)).us


def compare(seeds: range) -> None:
    for seed in seeds:
        try:
            assert outcome(seed, random.Random(1)) == outcome(seed, random.Random(2))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_what_is_recorded_depends_on_what_is_due_alone() -> None:
    compare(range(12))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(8))
def test_what_is_recorded_depends_on_what_is_due_alone_at_length(part: int, request: pytest.FixtureRequest) -> None:
    compare(range(1000 + 50 * part, 1050 + 50 * part))
    request.node.user_properties.append(("counted", "50 armed sessions in two rhythms each"))
