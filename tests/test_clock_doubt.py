"""Syncs that contradict each other: what the model believes, and that its error covers whatever else can be true."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from fieldlog.clock_model import ClockModel
from fieldlog.clock_oscillator import RC
from fieldlog.clock_sync import TICK_HZ, Sync
from true_clock import DAY_S, EPOCH_US, US, TrueClock, all_ticks, assert_covered, ticks_at

HOUR_US = 3_600 * US


def test_a_wrong_host_clock_is_outvoted_with_a_warning() -> None:
    clock, rng = TrueClock(3, 30), random.Random(3)
    right = [clock.sync(EPOCH_US + day * DAY_S * US, 2_000, rng) for day in (0, 10, 20, 30)]
    wrong = Sync(1, clock.tick(EPOCH_US + 15 * DAY_S * US), EPOCH_US + 15 * DAY_S * US + 3600 * US, 2_000)
    model = ClockModel([], [*right, wrong])
    assert_covered(model, clock, all_ticks(clock), "outvoted")
    assert len(model.knots(1)) == 4
    assert "3600" in model.warnings[0]
    assert "majority" in model.warnings[0]


@pytest.mark.parametrize("wrong_last", [False, True])
def test_two_hosts_of_different_opinion_widen_the_error_to_cover_both(wrong_last: bool) -> None:
    clock, rng = TrueClock(5, 10), random.Random(5)
    right = clock.sync(EPOCH_US + (2 if wrong_last else 8) * DAY_S * US, 2_000, rng)
    when = EPOCH_US + (8 if wrong_last else 2) * DAY_S * US
    model = ClockModel([], [right, Sync(1, clock.tick(when), when - 3600 * US, 2_000)])
    stated_s = assert_covered(model, clock, all_ticks(clock), "undecided")
    assert 3600 <= stated_s < 3800
    assert "covers both" in model.warnings[0]


@pytest.mark.parametrize("wrong_s", [-31_536_000, -3600, 70])
def test_a_newcomer_that_stands_alone_against_what_is_shown_moves_no_reading(wrong_s: int) -> None:
    clock, rng = TrueClock(6, 10), random.Random(6)
    old = clock.sync(EPOCH_US + DAY_S * US, 2_000, rng)
    when = EPOCH_US + 2 * DAY_S * US
    new = Sync(1, clock.tick(when), when + wrong_s * US, 2_000)
    before, alone, after = (ClockModel([], syncs).utc(1, all_ticks(clock)) for syncs in ([old], [new], [old, new]))
    assert np.array_equal(before.utc_us, after.utc_us)
    assert np.all(after.error_us >= np.abs(alone.utc_us - after.utc_us) + alone.error_us), "either may be right"
    third = clock.sync(EPOCH_US + 3 * DAY_S * US, 2_000, rng)
    assert_covered(ClockModel([], [old, new, third]), clock, all_ticks(clock), "a majority")


def test_whoever_was_first_a_majority_decides() -> None:
    clock, rng = TrueClock(6, 10), random.Random(6)
    wrong = Sync(1, clock.tick(EPOCH_US + DAY_S * US), EPOCH_US - 3600 * US, 2_000)
    right = [clock.sync(EPOCH_US + day * DAY_S * US, 2_000, rng) for day in (2, 4)]
    model = ClockModel([], [wrong, *right])
    assert model.knots(1) == tuple(right)
    assert assert_covered(model, clock, all_ticks(clock), "two against one") < 100


@pytest.mark.parametrize("first_is_right", [False, True])
@pytest.mark.parametrize(("off_s", "apart_s"), [(40, 100_000), (5, 20_000), (20, 100_000), (-90, 200_000)])
def test_a_wrong_clock_that_the_limit_lets_pass_is_covered_and_told(
    off_s: int, apart_s: int, first_is_right: bool
) -> None:
    clock, rng = TrueClock(7, 10), random.Random(7)
    right, wrong = (
        clock.sync(EPOCH_US + (400_000 + when) * US, 2_000, rng)
        for when in ((0, apart_s) if first_is_right else (apart_s, 0))
    )
    model = ClockModel([], [right, replace(wrong, utc_us=wrong.utc_us + off_s * US)])
    stated_s = assert_covered(model, clock, all_ticks(clock), f"{off_s} s over {apart_s} s")
    assert stated_s < 1000
    assert "covers both" in model.warnings[0]


@pytest.mark.parametrize("ppm", [-400, 130, 400])
@pytest.mark.parametrize("pulls", [2, 3, 10])
def test_an_oscillator_out_of_its_figures_is_covered_too(ppm: int, pulls: int) -> None:
    """Two syncs leave it open who is wrong; three that agree show that it is the oscillator, and cost little."""
    syncs = [
        Sync(1, (10 + day) * DAY_S * TICK_HZ, EPOCH_US + round(day * DAY_S * (US + ppm)), 1_000) for day in range(pulls)
    ]
    days = np.arange(0, 60, dtype=np.int64)
    times = ClockModel([], syncs).utc(1, days * DAY_S * TICK_HZ)
    off = np.abs(times.utc_us - (EPOCH_US + (days - 10) * DAY_S * (US + ppm)))
    assert np.all(off <= times.error_us)
    inside_s = times.error_us[10] / US
    assert inside_s > DAY_S * (abs(ppm) + 100) / US if pulls == 2 else inside_s < DAY_S * (abs(ppm) - 98) / US


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("off_s", [-170, 9, 25, 60])
@pytest.mark.parametrize("days", [(0, 4, 8), (0, 1, 9), (0, 8, 9)])
def test_where_three_bend_and_nobody_knows_the_error_covers_whoever_was_right(
    days: tuple[int, int, int], off_s: int, wrong: int
) -> None:
    clock, rng = TrueClock(8, 10), random.Random(8)
    syncs = [clock.sync(EPOCH_US + day * DAY_S * US, 2_000, rng) for day in days]
    syncs[wrong] = replace(syncs[wrong], utc_us=syncs[wrong].utc_us + off_s * US)
    model = ClockModel([], syncs)
    if model.warnings:
        between = all_ticks(clock)[: 5000 * days[2] // 10]
        assert_covered(model, clock, between, f"{off_s} s off on day {days[wrong]}")


def test_a_clock_that_is_put_right_by_a_little_between_two_probes_is_no_news() -> None:
    syncs = [Sync(1, TICK_HZ * 1000, EPOCH_US, 1_000), Sync(1, TICK_HZ * 1060, EPOCH_US + 60 * US + 25_000, 1_000)]
    model = ClockModel([], syncs)
    assert model.warnings == ()
    times = model.utc(1, ticks_at(0, 1000, 1060, 101_060))
    assert np.all(times.error_us >= 25_000)
    assert times.error_us[-1] < 100_000 * US * 101e-6


def test_the_same_sync_kept_on_device_and_host_has_one_vote() -> None:
    wrong = Sync(1, TICK_HZ * 100, EPOCH_US + 5000 * US, 200, "host")
    copies = [wrong, Sync(1, wrong.tick, wrong.utc_us + 3, 500, "device")]
    right = [Sync(1, TICK_HZ * s, EPOCH_US + s * US, 200) for s in (50_000, 100_000)]
    model = ClockModel([], [*copies, *right])
    assert model.knots(1) == tuple(right)


def pulled_daily(clock: TrueClock, seed: int, days: int, wrong: int) -> list[Sync]:
    """Two syncs at each of so many pulls, of which the computer of one is an hour ahead."""
    rng = random.Random(seed)
    return [
        replace(taken, utc_us=taken.utc_us + HOUR_US * (day == wrong))
        for day in range(days)
        for second in (0, 0.3)
        for taken in [clock.sync(EPOCH_US + (day + 0.64) * DAY_S * US + second * US, 1_000, rng)]
    ]


@pytest.mark.parametrize("wrong", [0, 1, 4, 8])
def test_a_wrong_computer_is_covered_before_its_pull_and_behind_it_too(wrong: int) -> None:
    """Where the last of two believable rates goes on beyond the syncs, they part further than at any of these."""
    undecided = 0
    for seed in range(60):
        clock = TrueClock(seed, 10, scale=600)
        model = ClockModel([], pulled_daily(clock, seed, 9, wrong), RC)
        assert_covered(model, clock, all_ticks(clock), f"seed {seed}")
        undecided += "cannot be told" in "".join(model.warnings)
    assert undecided or wrong, "of the first and the second, each may be the wrong one"


def test_a_doubt_costs_nothing_where_all_that_can_be_true_agrees() -> None:
    found = 0
    for seed in range(60):
        clock = TrueClock(seed, 10, scale=600)
        model = ClockModel([], pulled_daily(clock, seed, 9, 0), RC)
        if "cannot be told" in "".join(model.warnings):
            found += 1
            later = np.arange(clock.tick(EPOCH_US + 4 * DAY_S * US), int(clock.ticks[-1]), 1800 * TICK_HZ)
            right = ClockModel([], pulled_daily(clock, seed, 9, -1)[2:], RC)
            assert np.array_equal(model.utc(1, later).error_us, right.utc(1, later).error_us), f"seed {seed}"
    assert found
