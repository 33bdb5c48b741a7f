"""What a logger does beside its sessions: marks, seals, calibration, self test, the live view and the clock."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from device_bench import FAST_MOTION, START_US, Bench, flash_with_log_of, recorded
from fieldlog_protocol.blocks.events import Boot, ClockSync, Mark
from fieldlog_protocol.commands import Empty, logger, os, settings
from fieldlog_protocol.commands.logger import LoggerError, State, StreamPeriod
from fieldlog_sim.port import Buffers


def test_marks_are_kept_with_their_tick() -> None:
    bench = Bench()
    idle = bench.mark("not recording")
    bench.wait(1.5)
    bench.arm()
    bench.wait(1)
    recording = bench.mark("grün ☂")
    marks = [(timed.tick, timed.event) for timed in bench.events() if isinstance(timed.event, Mark)]
    assert marks == [(idle, Mark("not recording")), (recording, Mark("grün ☂"))]
    assert recording - idle == round(2.5 * 32768)
    assert bench.refusal(logger.MARK, logger.MarkRequest(id=1, text="x" * 121)) == (None, 3)


def test_sealing_twice_is_no_error_and_adds_nothing() -> None:
    bench = recorded(10)
    following = bench.seal()
    assert bench.info().open == ()
    before = bench.read_log()
    assert bench.seal() == following
    assert (bench.read_log(), bench.state()) == (before, State.LOGGING)
    bench.stop()
    assert Bench().seal() == 1, "with nothing recorded the boot event alone is there"


def test_open_blocks_are_sealed_at_their_greatest_age() -> None:
    bench = Bench()
    bench.ask(settings.WRITE, settings.SettingWriteRequest(name="log/max_age", val=struct.pack("<I", 60)))
    bench.arm(streams=(StreamPeriod(s=0),), wrap=True)
    bench.wait(600, 20)
    assert len(bench.frames(bench.sensors[0]).headers) >= 9


def test_calibration_is_kept_and_told() -> None:
    bench = Bench()
    hash_before = bench.info().schema
    cal = (0.5, 1.25, -3e-9)
    for _ in range(2):
        bench.ask(logger.CALIBRATE, logger.CalibrateRequest(id=5, s=0, c=1, cal=cal))
    bench.power_cycle()
    channels = bench.ask(logger.STREAMS, logger.StreamsRequest()).ch
    assert [channel.cal for channel in channels] == [None, cal, None]
    assert bench.info().schema == hash_before, "devices of a kind share one description"
    bench.ask(logger.CALIBRATE, logger.CalibrateRequest(id=6, s=0, c=1, cal=()))
    assert bench.ask(logger.STREAMS, logger.StreamsRequest()).ch[1].cal is None
    assert bench.info().schema == hash_before
    for stream, channel, coefficients, code in (
        (9, 0, (1.0,), LoggerError.NO_SUCH_STREAM),
        (0, 3, (1.0,), LoggerError.NO_SUCH_CHANNEL),
        (0, 0, (1.0,) * 9, LoggerError.OUT_OF_RANGE),
    ):
        request = logger.CalibrateRequest(id=7, s=stream, c=channel, cal=coefficients)
        assert bench.fl_refusal(logger.CALIBRATE, request) == code


def test_the_self_test_reports_every_part() -> None:
    bench = Bench()
    assert bench.ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest()).r == ()
    bench.wait(60)
    bench.ask(logger.SELF_TEST_START, Empty())
    page = bench.ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest())
    assert (page.run, page.n, [result.n for result in page.r]) == (
        False,
        4,
        ["environment", "motion", "battery", "log"],
    )
    assert all(result.ok for result in page.r)
    assert bench.ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest(i=3)).r == page.r[3:]


def live(bench: Bench, stream: int, cursor: int | None) -> logger.LatestResponse:
    return bench.ask(logger.LATEST, logger.LatestRequest(s=stream, c=cursor))


def unpacked(response: logger.LatestResponse, layout: str) -> list[tuple[int, ...]]:
    frames = list(struct.iter_unpack(layout, response.d))
    assert len(frames) == response.n
    return frames


def test_the_live_view_gives_each_frame_once_before_it_is_sealed() -> None:
    bench = Bench(buffers=Buffers(384, 4))
    bench.arm(streams=(StreamPeriod(s=0, us=1_000_000),))
    assert live(bench, 0, None) == logger.LatestResponse(s=0, c=0, n=0, d=b"")
    seen: list[tuple[int, ...]] = []
    cursor = 0
    for seconds in (1, 2, 5, 1, 40, 1):
        bench.wait(seconds)
        while True:
            page = live(bench, 0, cursor)
            seen += unpacked(page, "<Qhhi")
            assert (page.c, page.lost) == (cursor + page.n, None)
            cursor = page.c
            if page.n == 0:
                break
    assert [tick for tick, *_ in seen] == [32768 * second for second in range(1, 51)]
    newest = unpacked(live(bench, 0, None), "<Qhhi")
    assert newest == seen[-1:]
    bench.stop()
    columns = bench.frames(bench.sensors[0]).columns
    assert [values for _, *values in seen] == np.column_stack(columns).tolist()
    assert bench.fl_refusal(logger.LATEST, logger.LatestRequest(s=4)) == LoggerError.NO_SUCH_STREAM


def test_the_live_view_says_what_was_gone_already() -> None:
    bench = Bench()
    bench.arm(streams=FAST_MOTION, wrap=True)
    bench.wait(20, 4)
    page = live(bench, 1, 3)
    assert page.lost == 2000 - 256 - 3
    ticks = [frame[0] for frame in unpacked(page, "<Qhhh")]
    first = 3 + page.lost + 1
    assert ticks == [number * 32768 // 100 for number in range(first, first + len(ticks))]
    assert page.c == 3 + page.lost + page.n
    beyond = live(bench, 1, 10**12)
    assert (beyond.n, beyond.c) == (1, 2000), "a cursor of another boot gives the newest"


def probe(bench: Bench) -> logger.ClockResponse:
    return bench.ask(logger.CLOCK_PROBE, Empty())


def anchor(bench: Bench, **fields: int) -> logger.ClockAnchor:
    now = probe(bench)
    said = {"boot": now.boot, "tick": now.tx, "utc": 1_800_000_000_000_000, "err": 500, "src": 0} | fields
    return logger.ClockAnchor(**said)


def test_the_tick_only_goes_on_and_an_anchor_does_not_step_it() -> None:
    bench = Bench(clock_ppm=40)
    ticks: list[int] = []
    for number in range(50):
        bench.wait(0.1 * number)
        answer = probe(bench)
        assert answer.rx <= answer.tx
        ticks += [answer.rx, answer.tx]
        if number == 20:
            assert answer.utc is None
            bench.ask(logger.CLOCK_ANCHOR, anchor(bench))
        elif number > 20:
            assert answer.utc is not None
    assert ticks == sorted(ticks)
    assert ticks[-1] == pytest.approx(bench.now * 32768 * 1.00004, abs=1)
    (sync,) = [timed.event for timed in bench.events() if isinstance(timed.event, ClockSync)]
    assert (sync.utc_us, sync.err_us, sync.source) == (1_800_000_000_000_000, 500, "host")


def test_an_anchor_sets_the_belief_at_its_own_tick() -> None:
    bench = Bench()
    bench.wait(100)
    bench.ask(logger.CLOCK_ANCHOR, anchor(bench, tick=50 * 32768))
    assert probe(bench).utc == 1_800_000_050_000_000
    info = bench.info()
    assert (info.utc, info.set) == (1_800_000_050, 1_800_000_000)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"boot": 2}, LoggerError.OTHER_BOOT),
        ({"src": 4}, LoggerError.OUT_OF_RANGE),
        ({"src": 255}, LoggerError.OUT_OF_RANGE),
        ({"utc": 2**62}, LoggerError.OUT_OF_RANGE),
        ({"utc": (2**32) * 1_000_000}, LoggerError.OUT_OF_RANGE),
        ({"tick": 2**62}, LoggerError.OUT_OF_RANGE),
    ],
)
def test_an_anchor_that_makes_no_sense_is_refused(fields: dict[str, int], code: LoggerError) -> None:
    bench = Bench()
    assert bench.fl_refusal(logger.CLOCK_ANCHOR, anchor(bench, **fields)) == code
    assert probe(bench).utc is None
    bench.mark("and it still runs")


def test_the_last_moment_of_the_headers_can_be_set_and_passed() -> None:
    bench = Bench()
    bench.ask(logger.CLOCK_ANCHOR, anchor(bench, utc=0xFFFF_FFFF * 1_000_000))
    bench.arm(streams=FAST_MOTION)
    bench.wait(10)
    bench.stop()
    assert bench.blocks()[-1].header.utc == 0xFFFF_FFFF
    bench.info()
    bench.ask(os.DATETIME_READ, Empty())


@pytest.mark.parametrize("how", ["power", "reset"])
def test_every_restart_is_another_boot_with_a_clock_that_is_not_set(how: str) -> None:
    bench = Bench()
    bench.wait(60)
    bench.ask(logger.CLOCK_ANCHOR, anchor(bench))
    old = anchor(bench)
    bench.ask(os.RESET, os.ResetRequest()) if how == "reset" else bench.power_cycle()
    now = probe(bench)
    assert (now.boot, now.tx, now.utc) == (old.boot + 1, 0, None)
    assert (bench.info().utc, bench.info().set) == (0, 0)
    assert bench.info().reset == ("software" if how == "reset" else "power on")
    assert bench.fl_refusal(logger.CLOCK_ANCHOR, old) == LoggerError.OTHER_BOOT
    assert [timed.event.reason for timed in bench.events() if isinstance(timed.event, Boot)] == [
        "power on",
        bench.info().reset,
    ]


def test_identify_is_counted() -> None:
    bench = Bench()
    bench.ask(logger.IDENTIFY, logger.IdentifyRequest(s=3))
    assert bench.device.counters.identified == 1


def test_the_smallest_log_works() -> None:
    bench = Bench(log_sectors=4)
    assert bench.device.config.flash_size == flash_with_log_of(4)
    bench.arm(wrap=True)
    bench.wait(3600, 60)
    bench.stop()
    assert bench.assert_true(bench.sensors[0], {1: START_US}) > 0
