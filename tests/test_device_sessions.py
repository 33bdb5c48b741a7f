"""Recording sessions from outside: armed, stopped, resumed, remembered, erased, and each request acting once."""

from __future__ import annotations

import pytest

from device_bench import START_US, Bench, recorded
from fieldlog_protocol.blocks.block import Kind
from fieldlog_protocol.blocks.events import Boot, Mark, SessionStart, SessionStop
from fieldlog_protocol.blocks.schema import merge_schema, schema_parts
from fieldlog_protocol.commands import logger, os
from fieldlog_protocol.commands.logger import LoggerError, StartMode, State, StopReason, StreamPeriod
from fieldlog_sim.sensors import Environment, Motion


def test_a_session_is_armed_recorded_and_stopped() -> None:
    bench = Bench()
    assert bench.state() is State.IDLE
    assert bench.arm(label="Öl 1") == logger.ArmResponse(session=1, state=State.LOGGING)
    bench.wait(600, 3)
    assert bench.state() is State.LOGGING
    stopped = bench.stop()
    assert (stopped.session, stopped.next) == (1, bench.info().next)
    assert bench.state() is State.IDLE
    assert bench.info().open == ()
    environment, motion = bench.sensors
    assert bench.assert_true(environment, {1: START_US}) == 60
    assert bench.assert_true(motion, {1: START_US}) == 6000
    (session,) = bench.sessions()
    assert (session.label, session.boot, session.start, session.eboot, session.stop) == ("Öl 1", 1, 0, 1, 600 * 32768)
    assert (session.frames, session.why) == (6060, StopReason.COMMAND)
    in_session = [block.header for block in bench.blocks() if block.header.session == 1]
    assert (session.first, session.last) == (in_session[0].seq, in_session[-1].seq)
    events = [timed.event for timed in bench.events()]
    assert events == [Boot("power on", "1.0.0"), SessionStart(1, "Öl 1"), SessionStop(1, "command")]


def test_a_session_describes_itself() -> None:
    bench = recorded(1)
    bench.stop()
    schema = merge_schema(schema_parts(bench.blocks()))
    info = bench.info()
    assert (schema.uid, schema.log_id, schema.firmware, schema.product) == (info.uid, info.log, info.fw, info.product)
    assert schema.streams == tuple(sensor.stream for sensor in bench.sensors)


def test_only_the_streams_chosen_are_recorded_at_their_periods() -> None:
    bench = Bench()
    bench.arm(streams=(StreamPeriod(s=0, us=500_000),))
    bench.wait(20)
    bench.stop()
    environment, motion = bench.sensors
    assert bench.assert_true(environment, {1: START_US}, 500_000) == 40
    assert len(bench.frames(motion).ticks) == 0
    first = bench.ask(logger.STREAMS, logger.StreamsRequest())
    assert first.us == 500_000, "the period stays as it was set"
    bench.arm(streams=(StreamPeriod(s=0),))
    bench.wait(5)
    bench.stop()
    schema_ids = {b.header.schema_id for b in bench.blocks() if b.header.kind == Kind.DATA}
    assert len(schema_ids) == 1, "nothing changed between the sessions"
    bench.arm(streams=(StreamPeriod(s=0, us=1_000_000),))
    bench.stop()
    assert bench.blocks()[-1].header.schema_id not in schema_ids


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"streams": (StreamPeriod(s=9),)}, LoggerError.NO_SUCH_STREAM),
        ({"streams": (StreamPeriod(s=0, us=1),)}, LoggerError.PERIOD_NOT_ALLOWED),
        ({"streams": (StreamPeriod(s=0, us=2**62),)}, LoggerError.PERIOD_NOT_ALLOWED),
        ({"streams": ()}, LoggerError.OUT_OF_RANGE),
        ({"start": 77}, LoggerError.NOT_SUPPORTED),
        ({"start": StartMode.BUTTON}, LoggerError.NOT_SUPPORTED),
        ({"start": StartMode.AT, "at": 2_000_000_000}, LoggerError.CLOCK_NOT_SET),
        ({"until": 2_000_000_000}, LoggerError.CLOCK_NOT_SET),
        ({"start": StartMode.AT}, LoggerError.OUT_OF_RANGE),
        ({"start": StartMode.AFTER}, LoggerError.OUT_OF_RANGE),
        ({"start": StartMode.AFTER, "at": 2**63 - 1}, LoggerError.OUT_OF_RANGE),
        ({"start": StartMode.THRESHOLD}, LoggerError.OUT_OF_RANGE),
        ({"start": StartMode.THRESHOLD, "level": 1, "ch": 3}, LoggerError.NO_SUCH_CHANNEL),
        ({"start": StartMode.THRESHOLD, "level": 1, "s": 7}, LoggerError.NO_SUCH_STREAM),
        (
            {"start": StartMode.THRESHOLD, "level": 1, "s": 1, "streams": (StreamPeriod(s=0),)},
            LoggerError.NO_SUCH_STREAM,
        ),
        ({"frames": 0}, LoggerError.OUT_OF_RANGE),
        ({"secs": 0}, LoggerError.OUT_OF_RANGE),
        ({"secs": 2**62}, LoggerError.OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_armed_is_refused_and_changes_nothing(fields: dict[str, object], code: LoggerError) -> None:
    bench = Bench()
    before = bench.read_log()
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1, **fields)) == code  # type: ignore[arg-type]
    assert (bench.state(), bench.sessions(), bench.read_log()) == (State.IDLE, [], before)
    assert bench.arm(id=1).session == 1


def test_no_two_sessions_at_once_and_no_stop_without_one() -> None:
    bench = Bench()
    assert bench.fl_refusal(logger.STOP, logger.StopRequest(id=1)) == LoggerError.NOT_RECORDING
    bench.arm()
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.RECORDING
    token = bench.info().token
    assert bench.fl_refusal(logger.ERASE, logger.EraseRequest(id=1, token=token or 0)) == LoggerError.RECORDING


def test_the_device_remembers_the_last_sessions_only() -> None:
    bench = Bench()
    for number in range(40):
        bench.arm(label=str(number), streams=(StreamPeriod(s=0),), wrap=True)
        bench.stop()
    ids = [session.id for session in bench.sessions()]
    assert ids == list(range(ids[0], 41))
    assert 16 <= len(ids) < 40
    bench.power_cycle()
    assert [session.id for session in bench.sessions()] == ids
    assert bench.ask(logger.SESSIONS, logger.SessionsRequest(i=39)).s[0].label == "38"
    assert bench.ask(logger.SESSIONS, logger.SessionsRequest(i=41)).s == ()


def test_repeated_requests_act_once() -> None:
    bench = Bench()
    armed = bench.arm(id=7, label="once")
    assert bench.arm(id=7, label="once") == armed
    bench.wait(30)
    marked = bench.ask(logger.MARK, logger.MarkRequest(id=7, text="here"))
    bench.wait(1)
    assert bench.ask(logger.MARK, logger.MarkRequest(id=7, text="here")) == marked
    stopped = bench.ask(logger.STOP, logger.StopRequest(id=7))
    assert bench.ask(logger.STOP, logger.StopRequest(id=7)) == stopped
    assert bench.arm(id=7) == armed, "also when the session is over already"
    assert (bench.state(), len(bench.sessions())) == (State.IDLE, 1)
    assert [timed.event for timed in bench.events()].count(Mark("here")) == 1
    token = bench.info().token or 0
    erased = bench.ask(logger.ERASE, logger.EraseRequest(id=7, token=token))
    bench.ask(logger.MARK, logger.MarkRequest(id=8, text="after"))
    assert bench.ask(logger.ERASE, logger.EraseRequest(id=7, token=token)) == erased
    assert Mark("after") in [timed.event for timed in bench.events()]
    assert bench.arm(id=8).session == 2, "another id acts"


@pytest.mark.parametrize("how", ["power", "reset"])
def test_arm_and_erase_act_once_across_a_restart(how: str) -> None:
    bench = Bench()

    def restart() -> None:
        bench.ask(os.RESET, os.ResetRequest()) if how == "reset" else bench.power_cycle()

    armed = bench.arm(id=7)
    restart()
    assert bench.arm(id=7) == armed
    assert (bench.state(), len(bench.sessions())) == (State.LOGGING, 1)
    bench.stop()
    token = bench.info().token or 0
    erased = bench.ask(logger.ERASE, logger.EraseRequest(id=7, token=token))
    bench.mark("kept")
    restart()
    assert bench.ask(logger.ERASE, logger.EraseRequest(id=7, token=token)) == erased
    assert Mark("kept") in [timed.event for timed in bench.events()]
    assert bench.arm(id=7) == armed


def test_a_session_goes_on_after_a_power_cut() -> None:
    bench = recorded(10)
    bench.seal()
    bench.wait(60)
    cut_us = START_US + round(bench.now * 1e6)
    bench.power_cycle()
    assert bench.state() is State.LOGGING
    bench.wait(600, 3)
    bench.stop()
    environment, motion = bench.sensors
    boots = {1: START_US, 2: cut_us}
    assert bench.assert_true(environment, boots) == 120, "the minute that was not sealed is lost, and nothing else"
    assert bench.assert_true(motion, boots) >= 12_000
    (session,) = bench.sessions()
    assert (session.boot, session.eboot, session.why) == (1, 2, StopReason.COMMAND)
    frames = sum(len(bench.frames(sensor).ticks) for sensor in bench.sensors)
    assert session.frames == frames
    assert {block.header.session for block in bench.blocks() if block.header.kind == Kind.DATA} == {1}


def test_erase_wants_the_token_of_the_present_log() -> None:
    bench = recorded(5)
    bench.stop()
    stale = bench.info().token or 0
    bench.mark("unseen")
    assert bench.fl_refusal(logger.ERASE, logger.EraseRequest(id=1, token=stale)) == LoggerError.BAD_TOKEN
    assert Mark("unseen") in [timed.event for timed in bench.events()]
    reached = bench.info().next or 0
    assert bench.erase().next >= reached, "erasing does not reset seq"
    assert all(block.header.seq >= reached for block in bench.blocks())
    assert not [block for block in bench.blocks() if block.header.kind == Kind.DATA]
    info = bench.info()
    assert (info.first, info.used) == (reached, len(bench.blocks()) * 1024)
    bench.power_cycle()
    assert (bench.info().next or 0) > reached
    bench.arm()
    assert [session.id for session in bench.sessions()][-1] == 2


def test_a_token_of_another_boot_is_stale() -> None:
    """The seqs of blocks that were open when power went are given again: the same next seq, and another log.

    Three are open; a boot, the schema and the end of the session take their seqs.
    """
    bench = Bench(sensors=(Environment(0, 0), Motion(0, 1), Environment(1, 2)))
    bench.arm()
    bench.wait(15)
    before = bench.info()
    assert before.open
    bench.power_cycle()
    bench.stop()
    assert bench.info().next == before.next
    request = logger.EraseRequest(id=1, token=before.token or 0)
    assert bench.fl_refusal(logger.ERASE, request) == LoggerError.BAD_TOKEN


def test_a_restart_on_request_loses_no_reading() -> None:
    bench = recorded(2)
    assert bench.info().open
    bench.ask(os.RESET, os.ResetRequest())
    reset_us = START_US + 120_000_000
    bench.wait(120, 4)
    bench.stop()
    environment, motion = bench.sensors
    assert bench.assert_true(environment, {1: START_US, 2: reset_us}) == 24
    assert bench.assert_true(motion, {1: START_US, 2: reset_us}) == 2400
