"""Simulated sensors: pure functions of time, in the ranges that the world has."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_sim.noise import normal, uniform, wander
from fieldlog_sim.sensors import Environment, Faulty, Motion, Sensor, Synthetic, default_sensors

START_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000


def values(sensor: Synthetic | Faulty, utc_us: np.ndarray) -> np.ndarray:
    raw = sensor.sample(utc_us)
    return np.column_stack([channel.values(raw[:, i]) for i, channel in enumerate(sensor.stream.channels)])


SENSORS = [Environment(1), Motion(1), Faulty(Environment(1), 2, missing=0.1, stuck=0.2)]


@settings(max_examples=20, deadline=None)
@given(
    which=st.sampled_from(range(len(SENSORS))),
    cuts=st.lists(st.integers(0, 3_600_000_000), max_size=6),
    period_us=st.sampled_from([777_777, 10_000_000]),
)
def test_readings_do_not_depend_on_how_they_are_asked_for(which: int, cuts: list[int], period_us: int) -> None:
    sensor = SENSORS[which]
    edges = [START_US + cut for cut in sorted({-1, *cuts, 3_600_000_001})]
    whole = sensor.frames_between(edges[0], edges[-1], period_us)
    pieces = [sensor.frames_between(a, b, period_us) for a, b in pairwise(edges)]
    assert np.concatenate([piece.utc_us for piece in pieces]).tolist() == whole.utc_us.tolist()
    assert np.concatenate([piece.raw for piece in pieces]).tolist() == whole.raw.tolist()
    backwards = sensor.sample(whole.utc_us[::-1])[::-1]
    assert backwards.tolist() == whole.raw.tolist()


def test_frames_come_at_whole_periods_after_the_start_and_up_to_the_end() -> None:
    sensor = Environment(1)
    assert START_US % 10_000_000 == 0
    frames = sensor.frames_between(START_US, START_US + 30_000_000, 10_000_000)
    assert (frames.utc_us - START_US).tolist() == [10_000_000, 20_000_000, 30_000_000]
    assert sensor.next_at(START_US, 10_000_000) == START_US + 10_000_000
    assert sensor.next_at(START_US - 1, 10_000_000) == START_US
    assert frames.raw.shape == (3, 3)
    assert sensor.frames_between(START_US, START_US + 1, 10_000_000).raw.shape == (0, 3)


def test_a_room_is_warm_by_day_and_noisy_like_its_sensor() -> None:
    room = values(Environment(7), START_US + np.arange(0, 10 * DAY_US, 10_000_000))
    temperature, humidity, pressure = room.T
    assert 15 < temperature.min() < 19
    assert 23 < temperature.max() < 30
    assert humidity.min() >= 0
    assert humidity.max() <= 100
    assert 98_000 < pressure.min() < pressure.max() < 104_000
    second_by_second = values(Environment(7), START_US + np.arange(0, 3_600_000_000, 1_000_000))
    steps = np.diff(second_by_second, axis=0).std(axis=0)
    assert steps == pytest.approx([0.0283, 0.071, 2.12], rel=0.1), "white noise 0.02, 0.05 and 1.5"


def test_what_is_carried_feels_one_g_at_rest() -> None:
    motion = values(Motion(7), START_US + np.arange(0, 6 * 3_600_000_000, 100_000))
    length = np.linalg.norm(motion, axis=1)
    resting = np.abs(length - 1.0) < 0.01
    assert 0.6 < resting.mean() < 0.95, "a stretch in five is walked"
    assert length.max() < 3.0
    assert np.diff(motion[resting], axis=0).std() > 0.0005


def test_devices_and_seeds_differ() -> None:
    instants = START_US + np.arange(100) * 10_000_000
    readings = [
        default_sensors(seed, index)[0].frames_between(int(instants[0]), int(instants[-1]), 10_000_000).raw.tolist()
        for seed, index in ((0, 0), (0, 1), (1, 0))
    ]
    assert readings[0] != readings[1] != readings[2] != readings[0]


def test_the_default_sensors_have_streams_of_their_own() -> None:
    sensors: tuple[Sensor, ...] = default_sensors(3)
    assert [(s.stream.id, s.stream.name, s.stream.period_us) for s in sensors] == [
        (0, "environment", 10_000_000),
        (1, "motion", 100_000),
    ]
    assert [s.period_range_us for s in sensors] == [(100_000, DAY_US), (10_000, 60_000_000)]


def test_faults_are_missing_values_and_hours_of_the_same() -> None:
    sound = Environment(1)
    faulty = Faulty(sound, 5, missing=0.05, stuck=0.25)
    instants = START_US + np.arange(0, 5 * DAY_US, 10_000_000)
    readings = values(faulty, instants)
    assert np.isnan(readings).mean() == pytest.approx(0.05, rel=0.1)
    hours = (instants // 3_600_000_000) - instants[0] // 3_600_000_000
    stuck = [np.nanstd(readings[hours == hour, 2]) == 0.0 for hour in range(1, 120)]
    assert 0.1 < np.mean(stuck) < 0.4
    untouched = ~np.isnan(readings[:, 0]) & ~np.isin(hours, 1 + np.flatnonzero(stuck)) & (hours > 0) & (hours < 120)
    np.testing.assert_array_equal(readings[untouched, 0], values(sound, instants)[untouched, 0])


def test_the_noise_is_what_it_says() -> None:
    places = np.arange(200_000)
    sample = normal(1, places)
    assert abs(sample.mean()) < 0.01
    assert sample.std() == pytest.approx(1.0, abs=0.01)
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(sample, normal(2, places))[0, 1]) < 0.01
    flat = uniform(3, places)
    assert np.histogram(flat, bins=10, range=(0, 1))[0] == pytest.approx([20_000] * 10, rel=0.03)
    assert normal(1, np.array([12345])).tolist() == [sample[12345]]


def test_a_wander_has_its_deviation_and_forgets() -> None:
    instants = START_US + np.arange(0, 400 * 86_400, 600) * 1_000_000
    walk = wander(9, instants, 2.0, 7200.0)
    assert walk.std() == pytest.approx(2.0, rel=0.1)
    assert abs(walk.mean()) < 0.2
    assert np.corrcoef(walk[:-1], walk[1:])[0, 1] > 0.9, "ten minutes apart"
    assert abs(np.corrcoef(walk[:-144], walk[144:])[0, 1]) < 0.1, "a day apart"
