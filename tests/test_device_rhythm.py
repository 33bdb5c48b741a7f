"""A device samples by its own clock: however wrong that is, its frames are a period of its own ticks apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device_bench import START_US, Bench
from fieldlog_protocol.blocks.block import TICK_HZ, Flag
from fieldlog_protocol.commands.logger import StreamPeriod
from fieldlog_sim.oscillator import RC_PPM_PER_K, Oscillator
from fieldlog_sim.sampling import Sampling
from fieldlog_sim.sensors import Environment, Faulty, Motion, default_sensors

ENVIRONMENT, MOTION = 0, 1
DAY_US = 86_400_000_000


def room(utc_us: np.ndarray) -> np.ndarray:
    """Between 10 and 30 degC."""
    return np.asarray(20.0 + 10.0 * np.sin(utc_us * (2 * np.pi / DAY_US)), np.float64)


def logger(ppm: float, *, rc: bool = False, sectors: int = 1024) -> Bench:
    """A logger that has just started, with a clock that is so wrong."""
    bench = Bench(log_sectors=sectors)
    config = bench.device.config
    bench.device.config = replace(config, clock_ppm=ppm, rc_clock=rc, temperature=room if rc else None)
    bench.device.flash.power_off()
    bench.device.power_on("power on")
    return bench


def recorded(
    ppm: float, seconds: float, *, rc: bool = False, steps: int = 1, streams: tuple[int, ...] = (0, 1)
) -> Bench:
    bench = logger(ppm, rc=rc)
    bench.arm(streams=tuple(StreamPeriod(s=stream) for stream in streams))
    bench.wait(seconds, steps)
    bench.stop()
    return bench


WRONG = pytest.mark.parametrize(
    ("ppm", "rc"), [(60.0, False), (20_000.0, True), pytest.param(-35_000.0, True, marks=pytest.mark.faults)]
)


@pytest.mark.parametrize(
    ("ppm", "rc", "hours"),
    [
        (60.0, False, 2),
        pytest.param(20_000.0, False, 12, marks=pytest.mark.faults),
        (20_000.0, True, 2),
        pytest.param(-35_000.0, True, 2, marks=pytest.mark.faults),
    ],
)
def test_blocks_are_as_full_as_those_of_a_crystal(ppm: float, rc: bool, hours: int) -> None:
    crystal, wrong = recorded(0.0, hours * 3600), recorded(ppm, hours * 3600, rc=rc)
    pace = wrong.device.clock.tick / crystal.device.clock.tick
    for exact, other in zip(crystal.sensors, wrong.sensors, strict=True):
        expected, found = crystal.frames(exact), wrong.frames(other)
        assert len(found.ticks) == pytest.approx(len(expected.ticks) * pace, abs=2), "one frame a period of its own"
        assert len(found.headers) == pytest.approx(len(expected.headers) * pace, rel=0.02, abs=1)
        steps = np.diff(found.ticks)
        period = other.stream.period_us * TICK_HZ / 1e6
        assert abs(steps - period).max() < 3, "two ticks of a block's line, and the fraction"
        assert not any(Flag.GAP in Flag(flags) for flags in found.headers["flags"][1:].tolist())


@WRONG
@pytest.mark.parametrize("seconds", [300, pytest.param(900, marks=pytest.mark.faults)])
def test_what_is_recorded_does_not_depend_on_when_the_firmware_is_woken(ppm: float, rc: bool, seconds: int) -> None:
    logs = [recorded(ppm, seconds, rc=rc, steps=steps, streams=(MOTION,)).wires() for steps in (1, 7, 1499)]
    assert logs[0] == logs[1] == logs[2]


@WRONG
def test_the_sensor_is_read_when_the_device_says(ppm: float, rc: bool) -> None:
    bench = recorded(ppm, 2 * 86_400, rc=rc, streams=(ENVIRONMENT,))
    sensor = bench.sensors[ENVIRONMENT]
    assert isinstance(sensor, Environment)
    found = bench.frames(sensor)
    period_us = sensor.stream.period_us
    own_us = START_US + found.ticks * 1_000_000 // TICK_HZ
    numbers = (own_us + period_us // 2) // period_us
    assert (np.diff(numbers) == 1).all()
    clock = bench.device.clock.oscillator
    true_us = np.array([clock.instants(np.array([number * period_us]))[0] for number in numbers.tolist()])
    assert abs(clock.ticks(true_us) - found.ticks).max() <= 3
    assert (sensor.sample(true_us) == np.column_stack(found.columns)).all()
    assert abs(np.diff(true_us) - period_us).max() > period_us * 20e-6, "true time goes at another pace"


def test_a_perfect_crystal_reads_at_whole_periods_of_utc() -> None:
    bench = recorded(0.0, 3600)
    assert bench.assert_true(bench.sensors[ENVIRONMENT], {1: START_US, 2: START_US}) == 360
    assert bench.assert_true(bench.sensors[MOTION], {1: START_US, 2: START_US}) == 36_000


@WRONG
@pytest.mark.parametrize("period_us", [10_000, 777_777, 1_800_000_000])
def test_the_next_frame_comes_when_it_is_said_to(ppm: float, rc: bool, period_us: int) -> None:
    clock = Oscillator(ppm, START_US, temperature=room if rc else None, ppm_per_k2=0.0, ppm_per_k=RC_PPM_PER_K)
    sampling = Sampling(default_sensors(1), START_US, clock)
    for _ in range(200):
        due_us = sampling.next_at(MOTION, period_us)
        assert sampling.take(MOTION, due_us - 1, period_us, hurried=False) is None
        frames = sampling.take(MOTION, due_us, period_us, hurried=False)
        assert frames is not None
        assert frames.utc_us.tolist() == [due_us]


@WRONG
def test_of_more_than_can_be_read_the_newest_are(ppm: float, rc: bool) -> None:
    clock = Oscillator(ppm, START_US, temperature=room if rc else None, ppm_per_k2=0.0, ppm_per_k=RC_PPM_PER_K)
    for sensor in (Motion(3), Faulty(Motion(3), 4, missing=0.1)):
        everything = sensor.frames_between(START_US, START_US + DAY_US, 100_000, None, clock)
        newest = sensor.frames_between(START_US, START_US + DAY_US, 100_000, 1000, clock)
        assert newest.missed == len(everything.utc_us) - 1000
        assert newest.utc_us.tolist() == everything.utc_us[-1000:].tolist()
        assert newest.raw.tolist() == everything.raw[-1000:].tolist()
