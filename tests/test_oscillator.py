"""Time in the simulated world: durations, scaled time, and crystals that run wrong in a known way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.durations import parse_duration_us, parse_period_us
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.options import parse_buffers
from fieldlog_sim.oscillator import Oscillator
from fieldlog_sim.sim_time import SimTime

BOOT_US = 1_700_000_000_123_456
YEAR_US = 366 * 86_400_000_000
HOUR_US = 3_600_000_000


def seasons(utc_us: np.ndarray) -> np.ndarray:
    """Cold and warm by 20 K, once a day."""
    return 15.0 + 20.0 * np.sin(utc_us * (2 * math.pi / (24 * HOUR_US)))


def oscillators(ppm: float) -> list[Oscillator]:
    return [Oscillator(ppm, BOOT_US), Oscillator(ppm, BOOT_US, temperature=seasons)]


def test_a_perfect_crystal_counts_32768_a_second() -> None:
    crystal = Oscillator(0.0, BOOT_US)
    assert crystal.tick(BOOT_US) == 0
    assert crystal.tick(BOOT_US + 999_999) == 32_767
    assert crystal.tick(BOOT_US + 1_000_000) == 32_768
    assert crystal.tick(BOOT_US + YEAR_US) == 366 * 86_400 * 32_768


@pytest.mark.parametrize("ppm", [20.0, -35.5, 500.0])
def test_a_constant_error_adds_up(ppm: float) -> None:
    day_us = 86_400_000_000
    gained = Oscillator(ppm, BOOT_US).tick(BOOT_US + day_us) - 86_400 * 32_768
    assert gained == pytest.approx(86_400 * 32_768 * ppm * 1e-6, abs=1)


def test_cold_and_heat_slow_a_tuning_fork_down() -> None:
    crystal = Oscillator(0.0, 0, temperature=lambda utc_us: np.full(utc_us.shape, 5.0))
    hour = crystal.tick(HOUR_US)
    assert hour - 3600 * 32_768 == pytest.approx(-0.034 * 20**2 * 1e-6 * 3600 * 32_768, abs=1)


def test_a_changing_temperature_is_summed_up() -> None:
    crystal = Oscillator(0.0, 0, temperature=seasons)
    mean_square = (25 - 15) ** 2 + 20**2 / 2  # of the distance from 25 degC, over whole days
    expected = -0.034e-6 * mean_square * 30 * 86_400 * 32_768
    assert crystal.tick(30 * 24 * HOUR_US) - 30 * 86_400 * 32_768 == pytest.approx(expected, rel=1e-3)


def test_many_at_once_are_the_same_as_one_by_one_in_any_order() -> None:
    instants = [BOOT_US + offset for offset in (YEAR_US, 0, 17, 86_400_000_000, 3)]
    for together, apart in zip(oscillators(-20.0), oscillators(-20.0), strict=True):
        assert together.ticks(np.array(instants)).tolist() == [apart.tick(instant) for instant in instants]


@settings(deadline=None)
@given(ppm=st.floats(-500, 500), offset=st.integers(0, YEAR_US))
def test_the_inverse_is_the_first_microsecond_of_a_tick(ppm: float, offset: int) -> None:
    for crystal in oscillators(ppm):
        tick = crystal.tick(BOOT_US + offset)
        start = crystal.utc_us(tick)
        assert crystal.tick(start) == tick
        assert crystal.tick(start - 1) == tick - 1
        assert 0 <= BOOT_US + offset - start <= 31


@settings(deadline=None)
@given(ppm=st.floats(-60_000, 60_000), offsets=st.lists(st.integers(0, YEAR_US), min_size=1, max_size=20))
def test_its_own_microseconds_begin_when_it_says_in_whatever_portions_it_is_asked(
    ppm: float, offsets: list[int]
) -> None:
    own_us = BOOT_US + np.array(offsets)
    for crystal, other in zip(oscillators(ppm), oscillators(ppm), strict=True):
        instants = crystal.instants(own_us)
        assert instants.tolist() == [int(other.instants(own_us[i : i + 1])[0]) for i in range(len(offsets))]
        for own, instant in zip(own_us.tolist(), instants.tolist(), strict=True):
            assert crystal.own_us(instant - 1) < own <= crystal.own_us(instant)
            assert abs(crystal.tick(instant) - (own - BOOT_US) * 32_768 / 1e6) < 1.1, "its microseconds are its ticks'"


def test_a_perfect_crystal_has_the_microseconds_of_utc() -> None:
    instants = BOOT_US + np.array([0, 1, 999_999, YEAR_US])
    assert Oscillator(0.0, BOOT_US).instants(instants).tolist() == instants.tolist()
    assert Oscillator(0.0, BOOT_US).own_us(BOOT_US + YEAR_US) == BOOT_US + YEAR_US


@settings(deadline=None)
@given(ppm=st.floats(-500, 500), offset=st.integers(0, YEAR_US), step=st.integers(0, 10_000))
def test_ticks_never_go_back(ppm: float, offset: int, step: int) -> None:
    for crystal in oscillators(ppm):
        first, second = crystal.ticks(np.array([offset, offset + step]) + BOOT_US).tolist()
        assert first <= second <= first + math.ceil(step * 0.0328) + 1


def test_time_passes_as_fast_as_it_is_told() -> None:
    now = 100.0
    time = SimTime(BOOT_US, 1000.0, lambda: now)
    assert time.utc_us() == BOOT_US
    now = 100.5
    assert time.utc_us() == BOOT_US + 500_000_000
    assert time.utc_us(101.0) == BOOT_US + 1_000_000_000
    assert time.until_s(BOOT_US + 1_000_000_000, 100.5) == pytest.approx(0.5)
    assert time.until_s(BOOT_US, 100.5) == 0.0
    assert time.until_s(None, 100.5) == math.inf


@settings(deadline=None)
@given(scale=st.floats(0.001, 1e6), due_us=st.integers(0, 10**12), start=st.floats(0, 1e6))
def test_whoever_waits_as_long_as_told_is_not_too_early(scale: float, due_us: int, start: float) -> None:
    time = SimTime(BOOT_US, scale, lambda: start)
    now = start + time.until_s(BOOT_US + due_us, start)
    resolution_us = 4 * math.ulp(now) * scale * 1e6  # of monotonic seconds as a float
    assert time.utc_us(now) >= BOOT_US + due_us - resolution_us


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("30d", 30 * 86_400_000_000),
        ("16ms", 16_000),
        ("10min", 600_000_000),
        ("1.5h", 5_400_000_000),
        ("0ms", 0),
        (" 2 s ", 2_000_000),
        ("100us", 100),
        ("1w", 7 * 86_400_000_000),
        (".5s", 500_000),
        ("2h30min", 9_000_000_000),
        ("1 min 1.5 s", 61_500_000),
    ],
)
def test_durations(text: str, us: int) -> None:
    assert parse_duration_us(text) == us


@pytest.mark.parametrize(
    "text",
    ["", "10", "ten s", "-1s", "1 fortnight", "1e3s", "s", "1s1", "1,5h", "٣s", "1h 30", "1h, 30min", "9" * 5000 + "w"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="duration"):
        parse_duration_us(text)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("100Hz", 10_000),
        (" 8 Hz ", 125_000),
        ("0.1hz", 10_000_000),
        ("1kHz", 1000),
        ("1000000Hz", 1),
        ("10min", 600_000_000),
    ],
)
def test_periods(text: str, us: int) -> None:
    assert parse_period_us(text) == us


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3Hz", "write 333333us (3.000003 Hz) or 333334us (2.999994 Hz)"),
        ("3MHz", "no duration"),
        ("3000kHz", "write 1us (1000000 Hz)"),
        ("0Hz", "never take a reading"),
        ("-1Hz", "no duration"),
        ("Hz", "no duration"),
        ("1" * 99 + "Hz", "no more than 100"),
    ],
)
def test_what_is_no_period_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_period_us(text)
    assert said in str(refused.value)


def test_buffers() -> None:
    assert parse_buffers("384x4") == (384, 4)
    for text in ("384", "x4", "384x", "10x4", "384x0", "384x4x2", "100000x4", "384x300"):
        with pytest.raises(UsageError):
            parse_buffers(text)
