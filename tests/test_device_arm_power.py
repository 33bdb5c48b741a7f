"""Armed sessions through restarts and power cuts, and the metadata that goes into the log with them."""

from __future__ import annotations

from typing import Any

import pytest

from arm_bench import ENVIRONMENT, MINUTE, START_S, set_clock, synced, why
from device_bench import Bench, PowerLost
from fieldlog_protocol.blocks.events import Metadata, SessionStart
from fieldlog_protocol.blocks.metadata import decode_metadata, encode_metadata, last_metadata
from fieldlog_protocol.commands import logger, os
from fieldlog_protocol.commands.logger import StartMode, State, StopReason

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


@pytest.mark.parametrize("restarts", [False, True])
def test_a_ring_that_overwrote_its_beginning_still_tells_what_was_deployed(restarts: bool) -> None:
    bench = Bench(log_sectors=8)
    write_metadata(bench, TEXTS)
    bench.arm(wrap=True)
    for _ in range(40):
        bench.wait(120, 4)
        if restarts:
            bench.power_cycle()
    bench.seal()
    events = [event for _, event in bench.events()]
    assert SessionStart(1, "") not in events, "it has been overwritten"
    assert decode_metadata(last_metadata(events) or b"") == TEXTS
    blocks = (bench.info().next or 0) // (8 * 4)
    assert 0 < sum(isinstance(event, Metadata) for event in events) <= 3, f"{blocks} laps"


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
