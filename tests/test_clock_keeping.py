"""What a pull does about time: how often it probes, when the device is told, and what speaks against a sync."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import fieldlog.archive
from fieldlog.clock_keeping import contradiction, decide
from fieldlog.clock_sync import TICK_HZ, Probe, Reading, Sync, enough, reading_from_probes
from fieldlog.logger_info import LoggerInfo, merge
from fieldlog_protocol.commands.logger import InfoResponse

EPOCH_US = 1_700_000_000_000_000
DAY_S = 86_400


def probe(trip_us: int, believed_us: int | None = None) -> Probe:
    return Probe(1, EPOCH_US, EPOCH_US + trip_us, 50, 50, believed_us)


@pytest.mark.parametrize(
    ("trips", "known_us", "ends"),
    [
        ((), None, False),
        ((50_000, 50_200), None, False),
        ((50_000, 50_200, 51_000), None, True),
        ((50_000, 90_000, 51_000, 120_000), None, False),
        ((50_000, 90_000, 51_000, 120_000, 55_000), None, True),
        ((900, 1_500, 1_300), None, False),
        ((900, 1_350, 1_300), None, True),
        ((52_000,), 50_000, True),
        ((70_000,), 50_000, False),
    ],
)
def test_probing_ends_when_one_more_would_hardly_be_better(
    trips: tuple[int, ...], known_us: float | None, ends: bool
) -> None:
    assert enough(map(probe, trips), known_us) is ends


def test_impossible_probes_are_not_enough() -> None:
    backwards = Probe(1, EPOCH_US, EPOCH_US + 10, 9, 8)
    assert not enough([backwards] * 8)


def test_the_offset_is_that_of_the_best_probe() -> None:
    reading = reading_from_probes([probe(90_000, EPOCH_US + 7_000_000), probe(10_000, EPOCH_US + 2_005_000)])
    assert (reading.offset_us, reading.round_trip_us) == (2_000_000, 10_000)
    assert reading_from_probes([probe(10_000)]).offset_us is None


def logger(**told: int) -> LoggerInfo:
    """Of a device in boot 2 that has been running for ten days; its clock was set at day 9, and was right."""
    usual = {
        "tick": 10 * DAY_S * TICK_HZ,
        "utc": EPOCH_US // 1_000_000 + 10 * DAY_S,
        "set": EPOCH_US // 1_000_000 + 9 * DAY_S,
    }
    usual |= {"log": 1, "block": 1024, "boot": 2, "state": 0, "first": 0, "next": 0}
    return merge([msgspec.convert({"parts": 1, "uid": b"\1" * 8} | usual | told, InfoResponse)])


def sync(day: float, off_s: float = 0, boot: int = 2) -> Sync:
    return Sync(boot, round(day * DAY_S * TICK_HZ), EPOCH_US + round((day * DAY_S + off_s) * 1e6), 1_000)


def reading(day: float = 10, offset_us: int | None = 0, off_s: float = 0) -> Reading:
    return Reading(sync(day, off_s), offset_us, 2_000)


@pytest.mark.parametrize(
    ("info", "taken", "told"),
    [
        pytest.param(logger(), reading(9.9), False, id="set less than a day ago"),
        pytest.param(logger(), reading(10.1), True, id="set more than a day ago"),
        pytest.param(logger(), reading(9.9, 1_500_000), True, id="no longer good to a second"),
        pytest.param(logger(utc=0, set=0), reading(9.9, None), True, id="not set"),
        pytest.param(
            logger(tick=TICK_HZ * 60),
            Reading(replace(sync(9.9), tick=TICK_HZ * 60), 0, 2_000),
            True,
            id="set before it booted",
        ),
    ],
)
def test_when_the_device_is_told(info: LoggerInfo, taken: Reading, told: bool, tmp_path: Path) -> None:
    with fieldlog.archive.open(tmp_path) as archive:
        decision = decide(archive.log(info.uid, info.log_id), info, taken)
    assert decision.warnings == ()
    assert (decision.anchor is not None) is told
    if decision.anchor:
        assert (decision.anchor.tick, decision.anchor.utc) == (taken.sync.tick, taken.sync.utc_us)


@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_a_device_is_not_told_what_contradicts_its_belief(off_s: int, tmp_path: Path) -> None:
    info = logger()
    with fieldlog.archive.open(tmp_path) as archive:
        decision = decide(archive.log(info.uid, info.log_id), info, reading(10.1, -off_s * 1_000_000, off_s))
    assert decision.anchor is None
    assert f"{abs(off_s)}.000 s {'ahead of' if off_s > 0 else 'behind'}" in decision.warnings[0]


def told(folder: Path, off_s: float, *known: Sync, **device: int) -> str:
    """What is said by a pull at day 10.1 that finds this computer off by so much; "" when all is well."""
    info = logger(**device)
    with fieldlog.archive.open(folder) as archive:
        log = archive.log(info.uid, info.log_id)
        taken = reading(10.1, None, off_s)
        log.add_syncs([*known, sync(10.1 - 60 / DAY_S, off_s), taken.sync])
        decision = decide(log, info, taken)
    assert (decision.anchor is None) is bool(decision.warnings)
    return "".join(decision.warnings)


@pytest.mark.parametrize(
    ("off_s", "known", "device", "words"),
    [
        pytest.param(0, [sync(1)], {}, "", id="all well"),
        pytest.param(9, [sync(9, 9), sync(5, 9)], {}, "", id="a belief alone does not count"),
        pytest.param(-3600, [sync(1), sync(5)], {}, "The readings keep their times. Check", id="outvoted"),
        pytest.param(3600, [sync(9)], {"set": 0}, "until more pulls decide, with an error that covers both", id="tie"),
        pytest.param(40, [sync(9)], {"set": 0}, "The error of the readings' times covers both", id="strained"),
        pytest.param(3600, [], {}, "The readings of this boot get their times from this computer's clock", id="belief"),
    ],
)
def test_a_pull_says_what_becomes_of_the_readings(
    off_s: float, known: list[Sync], device: dict[str, int], words: str, tmp_path: Path
) -> None:
    text = told(tmp_path, off_s, *known, **device)
    assert words in text
    assert bool(words) is bool(text)
    assert not words or f" {abs(off_s)}.000 s {'ahead of' if off_s > 0 else 'behind'}" in text


def test_readings_keep_their_times_where_a_pull_says_so(tmp_path: Path) -> None:
    assert "keep their times" in told(tmp_path, -31_536_000, sync(9), set=0)
    with fieldlog.archive.open(tmp_path, writable=False) as archive:
        (log,) = archive.logs()
        (source,) = archive.sources([log])
        times = source.clock.utc(2, np.array([8 * DAY_S * TICK_HZ], dtype=np.int64))
    assert int(times.utc_us[0]) == EPOCH_US + 8 * DAY_S * 1_000_000
    assert int(times.error_us[0]) > 31_536_000_000_000


def test_a_sync_is_held_against_the_line_of_the_others() -> None:
    """It fits the one before it, and yet not the rate that those before it tell of."""
    others = [sync(day, day * DAY_S * 90e-6) for day in (0, 2, 4)]
    off_us = contradiction(sync(10, 4 * DAY_S * 90e-6), others, None)
    assert off_us == pytest.approx(-6 * DAY_S * 90, rel=0.01)


def test_a_clock_that_was_wrong_once_is_not_held_against_those_that_agree() -> None:
    assert contradiction(sync(4), [sync(0, 40), sync(2)], None) is None


def test_an_unlikely_rate_is_held_against_the_sync_that_shows_it_first() -> None:
    fast = [sync(day, day * DAY_S * 130e-6) for day in (0, 2, 4)]
    assert contradiction(fast[1], fast[:1], None) == pytest.approx(2 * DAY_S * 130)
    assert contradiction(fast[2], fast[:2], None) is None, "confirmed: it is the oscillator"
    unsure = replace(sync(2.5, 2 * DAY_S * 130e-6), error_us=8_000_000)
    assert contradiction(unsure, fast[:2], None) is None, "it tells nothing of the rate before"


def test_what_the_archive_knows_outvotes_a_belief(tmp_path: Path) -> None:
    info = logger(set=EPOCH_US // 1_000_000 + 9 * DAY_S + 7200, utc=EPOCH_US // 1_000_000 + 10 * DAY_S + 7200)
    with fieldlog.archive.open(tmp_path) as archive:
        log = archive.log(info.uid, info.log_id)
        log.add_syncs([sync(1), sync(5)])
        assert decide(log, info, reading(10.1, 7_200_000_000)).anchor is not None


def test_a_time_before_an_earlier_boot_is_ruled_out() -> None:
    before = sync(4, boot=1)
    start = Sync(2, 60 * TICK_HZ, before.utc_us + 61_000_000, 1_000)
    assert contradiction(start, [before], None) is None
    off_us = contradiction(replace(start, utc_us=start.utc_us - 3_600_000_000), [before], None)
    assert off_us == pytest.approx(-3_599_000_000, abs=100_000)
    assert contradiction(start, [replace(before, boot_id=3)], None) is None


def test_the_limits_are_those_of_the_oscillator() -> None:
    first, later = sync(0), sync(5, 5 * DAY_S * 0.02)
    assert contradiction(later, [first], None) is not None
    assert contradiction(later, [first], 50_000) is None
