"""The clock model against simulated oscillators: the error it states must cover the truth."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Belief, BootSpan, ClockModel, Quality
from fieldlog.clock_oscillator import CRYSTAL, RC, Oscillator
from fieldlog.clock_sync import TICK_HZ, Probe, Sync, sync_from_probes
from fieldlog_protocol.errors import VerificationError

DAY_S = 86_400
EPOCH_US = 1_700_000_000_000_000
US = 1_000_000


class TrueClock:
    """A crystal outdoors: its error at 25 degC, a parabola over temperature, days and a season. Minute steps."""

    def __init__(self, seed: int, days: int, start_us: int = EPOCH_US, scale: float = 1.0) -> None:
        rng = random.Random(seed)
        minutes = np.arange(days * 1440 + 1)
        day = minutes / 1440
        mean, swing, season = rng.uniform(0, 25), rng.uniform(0, 12), rng.uniform(-8, 8)
        temperature = mean + swing * np.sin(2 * np.pi * day) + season * np.sin(np.pi * day / max(days, 1))
        ppm = scale * (rng.uniform(-20, 20) - 0.034 * (temperature - 25) ** 2)
        self.start_us = start_us
        self.true_us = start_us + minutes * 60.0 * US
        self.ticks = np.concatenate([[0.0], np.cumsum(60.0 * TICK_HZ * (1 + ppm[:-1] / 1e6))])

    def tick(self, utc_us: float) -> int:
        return int(np.interp(utc_us - self.start_us, self.true_us - self.start_us, self.ticks))

    def truth_us(self, ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return self.start_us + np.interp(ticks, self.ticks, self.true_us - self.start_us)

    def sync(self, utc_us: float, error_us: int, rng: random.Random, boot_id: int = 1) -> Sync:
        return Sync(boot_id, self.tick(utc_us), round(utc_us + rng.uniform(-error_us, error_us)), error_us)


def all_ticks(clock: TrueClock) -> npt.NDArray[np.int64]:
    return np.linspace(0, clock.ticks[-1], 5000).astype(np.int64)


def assert_covered(model: ClockModel, clock: TrueClock, ticks: npt.NDArray[np.int64], note: str) -> float:
    """The largest stated error in seconds, once it is shown to cover the truth."""
    times = model.utc(1, ticks)
    off = np.abs(times.utc_us - clock.truth_us(ticks))
    # a tick is 30.5 us wide and the truth is a float of a 2023 date in us: allow both their rounding
    beyond = np.max(off - times.error_us)
    assert beyond <= 32, f"{note}: {beyond} us beyond the stated error"
    return float(np.max(times.error_us)) / US


@pytest.mark.parametrize("seed", range(25))
def test_the_stated_error_covers_the_truth_of_a_crystal(seed: int) -> None:
    rng = random.Random(seed)
    days = rng.choice([1, 7, 60])
    clock = TrueClock(seed, days)
    whens = [rng.uniform(0, days * DAY_S) for _ in range(rng.choice([1, 2, 3, 10]))]
    syncs = [clock.sync(EPOCH_US + when * US, rng.choice([500, 5_000, 30_000]), rng) for when in whens]
    model = ClockModel([BootSpan(1, int(clock.ticks[-1]))], syncs)
    stated_s = assert_covered(model, clock, all_ticks(clock), f"seed {seed}")
    assert model.warnings == ()
    assert stated_s < days * DAY_S * 150e-6 + 1, f"seed {seed}: an error bound that says nothing"


@pytest.mark.parametrize("seed", range(5))
def test_an_rc_clock_is_covered_too(seed: int) -> None:
    rng = random.Random(seed)
    clock = TrueClock(seed, 3, scale=300)
    syncs = [clock.sync(EPOCH_US + hour * 3600 * US, 2_000, rng) for hour in (0, 20, 40, 70)]
    model = ClockModel([BootSpan(1, int(clock.ticks[-1]))], syncs, RC)
    assert_covered(model, clock, all_ticks(clock), f"seed {seed}")
    assert model.warnings == ()


def test_daily_syncs_state_an_error_below_ten_seconds_and_keep_below_one() -> None:
    rng = random.Random(4)
    clock = TrueClock(4, 60)
    syncs = [clock.sync(EPOCH_US + day * DAY_S * US, 1_000, rng) for day in range(61)]
    ticks = all_ticks(clock)
    times = ClockModel([], syncs).utc(1, ticks)
    assert np.max(times.error_us) < 10 * US
    assert np.max(np.abs(times.utc_us - clock.truth_us(ticks))) < 1 * US
    assert set(times.quality) == {Quality.INTERPOLATED}


def test_quality_tells_inside_from_beyond_the_syncs_and_the_error_widens() -> None:
    model = ClockModel([], [Sync(1, TICK_HZ * 1000, EPOCH_US, 100), Sync(1, TICK_HZ * 2000, EPOCH_US + 1000 * US, 100)])
    ticks = np.array([0, 1000, 1500, 2000, 3000, 300_000], dtype=np.int64) * TICK_HZ
    times = model.utc(1, ticks)
    names = [Quality(q).name for q in times.quality]
    assert names == ["EXTRAPOLATED", "INTERPOLATED", "INTERPOLATED", "INTERPOLATED", "EXTRAPOLATED", "EXTRAPOLATED"]
    assert times.utc_us.tolist() == [EPOCH_US + s * US for s in (-1000, 0, 500, 1000, 2000, 299_000)]
    assert times.error_us[1] == 100
    assert times.error_us[5] > times.error_us[4] > times.error_us[3]


def test_whole_hours_stay_whole_hours() -> None:
    """A year of hourly ticks between two exact syncs comes out exact: no drift from floating point."""
    hours = np.arange(8760, dtype=np.int64)
    year_ticks = 8759 * 3600 * TICK_HZ
    model = ClockModel([], [Sync(1, 0, EPOCH_US, 0), Sync(1, year_ticks, EPOCH_US + 8759 * 3600 * US, 0)])
    times = model.utc(1, hours * 3600 * TICK_HZ)
    assert np.array_equal(times.utc_us, EPOCH_US + hours * 3600 * US)


def test_the_last_slope_goes_on() -> None:
    fast = Sync(1, TICK_HZ * 100_000, EPOCH_US + 100_010 * US, 100)
    model = ClockModel([], [Sync(1, 0, EPOCH_US, 100), fast])
    beyond = model.utc(1, np.array([TICK_HZ * 200_000], dtype=np.int64))
    assert beyond.utc_us[0] == pytest.approx(EPOCH_US + 200_020 * US, abs=2)


def test_two_syncs_within_their_own_errors_do_not_bend_the_line() -> None:
    """Before and after a short pull: 10 ms of error over a second would read as 10 000 ppm."""
    near = [Sync(1, TICK_HZ * 10_000, EPOCH_US, 10_000), Sync(1, TICK_HZ * 10_001, EPOCH_US + US + 15_000, 10_000)]
    model = ClockModel([], near)
    far = model.utc(1, np.array([TICK_HZ * 110_000], dtype=np.int64))
    assert abs(int(far.utc_us[0]) - (EPOCH_US + 100_000 * US)) < 100e-6 * 100_000 * US
    assert model.warnings == ()


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
    before, after = ClockModel([], [old]).utc(1, all_ticks(clock)), ClockModel([], [old, new]).utc(1, all_ticks(clock))
    assert np.array_equal(before.utc_us, after.utc_us)
    assert np.all(after.error_us >= abs(wrong_s) * US)
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


def probe(sent_us: int, delays_us: tuple[int, int, int], tick_at_zero: float, boot_id: int = 7) -> Probe:
    """A probe of a device whose tick was `tick_at_zero` at host time 0; delays out, thinking, back."""
    out_us, think_us, back_us = delays_us
    rx = tick_at_zero + (sent_us + out_us) * TICK_HZ / US
    tx = tick_at_zero + (sent_us + out_us + think_us) * TICK_HZ / US
    return Probe(boot_id, sent_us, sent_us + out_us + think_us + back_us, int(rx), int(tx))


@pytest.mark.parametrize("seed", range(50))
def test_a_sync_from_probes_covers_the_truth_whatever_the_link_does(seed: int) -> None:
    rng = random.Random(seed)
    zero = rng.uniform(0, 1e9)
    probes = [
        probe(n * 100_000, (rng.randint(0, 40_000), rng.randint(0, 20_000), rng.randint(0, 40_000)), zero)
        for n in range(8)
    ]
    sync = sync_from_probes(probes)
    truth_us = (sync.tick - zero) * US / TICK_HZ
    assert abs(sync.utc_us - truth_us) <= sync.error_us, f"seed {seed}"
    shortest = min(p.round_trip_us for p in probes)
    assert sync.error_us <= shortest / 2 + 60


def test_probes_of_an_earlier_boot_or_over_a_stepped_clock_do_not_count() -> None:
    before_reset = probe(0, (1, 1, 1), 1e6)
    stepped = Probe(8, 5_000, 4_000, 10, 10)
    good = probe(10_000, (4_000, 1_000, 4_000), 0, boot_id=8)
    assert sync_from_probes([before_reset, stepped, good]).boot_id == 8
    assert sync_from_probes([before_reset, stepped, good]).error_us >= 4_000
    with pytest.raises(VerificationError, match="probe again"):
        sync_from_probes([before_reset, stepped])
    with pytest.raises(VerificationError, match="probe again"):
        sync_from_probes([])


def ticks_at(*seconds: int) -> npt.NDArray[np.int64]:
    return np.array(seconds, dtype=np.int64) * TICK_HZ


def beliefs_from(start_us: int, *seconds: int) -> tuple[Belief, ...]:
    return tuple(Belief(s * TICK_HZ, (start_us + s * US) // US) for s in seconds)


def test_a_boot_without_a_sync_uses_what_the_device_believed() -> None:
    spans = [
        BootSpan(1, TICK_HZ * DAY_S),
        BootSpan(2, TICK_HZ * DAY_S, beliefs_from(EPOCH_US + 2 * DAY_S * US + 300_000, 0, 10, 1000)),
    ]
    model = ClockModel(spans, [Sync(1, 0, EPOCH_US, 1000)])
    times = model.utc(2, ticks_at(0, 3600))
    assert set(times.quality) == {Quality.RTC}
    truth = EPOCH_US + 2 * DAY_S * US + 300_000 + np.array([0, 3600 * US])
    assert np.all(np.abs(times.utc_us - truth) <= times.error_us)
    assert np.all(times.error_us < 60 * US)


def test_a_belief_with_nothing_to_check_it_states_no_bound() -> None:
    model = ClockModel([BootSpan(2, TICK_HZ * 60, beliefs_from(EPOCH_US, 0, 30))], [])
    times = model.utc(2, ticks_at(0, 60))
    assert np.all(times.error_us == UNBOUNDED)
    assert abs(int(times.utc_us[1]) - EPOCH_US - 60 * US) <= US


def test_a_belief_that_was_stepped_follows_the_blocks_that_carry_it() -> None:
    beliefs = (Belief(0, 1_000), Belief(10 * TICK_HZ, 500_000))
    times = ClockModel([BootSpan(1, 20 * TICK_HZ, beliefs)], []).utc(1, ticks_at(5, 15))
    assert times.utc_us.tolist() == [1_005 * US + 500_000, 500_005 * US + 500_000]


def test_a_belief_that_the_boots_around_rule_out_is_left_out() -> None:
    spans = [
        BootSpan(1, TICK_HZ * DAY_S),
        BootSpan(2, TICK_HZ * 3600, beliefs_from(946_684_800 * US, 0, 100)),
        BootSpan(3, TICK_HZ * DAY_S),
    ]
    syncs = [Sync(1, 0, EPOCH_US, 1000), Sync(3, 0, EPOCH_US + 2 * DAY_S * US, 1000)]
    model = ClockModel(spans, syncs)
    times = model.utc(2, ticks_at(0, 3600))
    assert set(times.quality) == {Quality.BOUNDED}
    assert "2000-01-01" in model.warnings[0]
    assert np.all(times.utc_us - times.error_us <= EPOCH_US + DAY_S * US + np.array([0, 3600 * US]))
    assert np.all(times.utc_us + times.error_us >= EPOCH_US + 2 * DAY_S * US - np.array([3600 * US, 0]))


@pytest.mark.parametrize("seed", range(20))
def test_boots_that_never_saw_a_clock_are_bounded_by_their_neighbours(seed: int) -> None:
    """Battery changes in the field: a chain of clockless boots between two synced ones."""
    rng = random.Random(seed)
    start_us, starts, spans = EPOCH_US, [], []
    for boot in range(1, 6):
        length_s = rng.randint(60, 20_000)
        starts.append(start_us)
        spans.append(BootSpan(boot, length_s * TICK_HZ))
        start_us += (length_s + rng.randint(0, 5_000)) * US
    model = ClockModel(spans, [Sync(1, 100, EPOCH_US, 3052), Sync(5, 0, starts[4], 1000)])
    for span, begun_us in zip(spans[1:4], starts[1:4], strict=True):
        times = model.utc(span.boot_id, np.array([0, span.last_tick], dtype=np.int64))
        truth = begun_us + np.array([0, span.last_tick / TICK_HZ * US])
        assert set(times.quality) == {Quality.BOUNDED}
        assert np.all(np.abs(times.utc_us - truth) <= times.error_us), f"seed {seed}"


def test_the_host_that_read_a_boot_bounds_it_from_above() -> None:
    spans = [BootSpan(1, TICK_HZ * 100), BootSpan(2, TICK_HZ * 100, started_before_us=EPOCH_US + 1100 * US)]
    model = ClockModel(spans, [Sync(1, 0, EPOCH_US, 100)])
    times = model.utc(2, ticks_at(0))
    assert times.quality[0] == Quality.BOUNDED
    assert int(times.utc_us[0]) == pytest.approx(EPOCH_US + 600 * US, abs=US)
    assert int(times.error_us[0]) == pytest.approx(500 * US, abs=US)


def test_a_boot_that_nothing_tells_about_has_no_time() -> None:
    times = ClockModel([BootSpan(1, 100)], []).utc(1, ticks_at(0, 1))
    assert times.utc_us.tolist() == [UNKNOWN_TIME] * 2
    assert np.all(np.isnat(times.utc_us.view("datetime64[us]")))
    assert set(times.quality) == {Quality.UNKNOWN}
    assert ClockModel([], []).utc(9, ticks_at(0)).quality[0] == Quality.UNKNOWN


def test_the_oscillator_decides_what_contradicts() -> None:
    syncs = [Sync(1, 0, EPOCH_US, 100), Sync(1, TICK_HZ * 1000, EPOCH_US + 1020 * US, 100)]
    assert ClockModel([], syncs, CRYSTAL).warnings
    assert not ClockModel([], syncs, RC).warnings
    assert not ClockModel([], syncs, Oscillator(30_000, 30_000, 100, 100, 100)).warnings


def probed(rx: int, tx: int) -> Probe:
    return Probe(1, EPOCH_US, EPOCH_US + 10_000, rx, tx)


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param(probed(2**63 - 1, 0), id="backwards"),
        pytest.param(probed(101, 100), id="a tick backwards"),
        pytest.param(probed(2**63 - 1, 2**63 - 1), id="beyond all time"),
        pytest.param(probed(2**52, 2**52), id="just beyond all time"),
        pytest.param(probed(0, 2**63 - 1), id="longer than the probe took"),
        pytest.param(Probe(1, EPOCH_US, EPOCH_US + 2**33, 5, 6), id="an error that no field holds"),
    ],
)
def test_a_probe_whose_ticks_cannot_be_true_is_left_out(probe: Probe) -> None:
    assert sync_from_probes([probe, probed(7, 8)]).tick == 7
    with pytest.raises(VerificationError, match="cannot be true"):
        sync_from_probes([probe, probe])


TICKS = np.array([0, 2**20, 2**51, 2**52, 2**55, 2**61, 2**63 - 1], dtype=np.int64)


@pytest.mark.parametrize("how", ["synced", "believed", "bounded"])
def test_what_no_calendar_holds_has_no_known_time(how: str) -> None:
    syncs = [Sync(1, 5, EPOCH_US, 100)] if how == "synced" else []
    if how == "bounded":
        syncs = [Sync(0, 5, EPOCH_US, 100), Sync(2, 5, EPOCH_US + US * DAY_S, 100)]
    beliefs = (Belief(5, EPOCH_US // US),) if how == "believed" else ()
    spans = [BootSpan(0, 5), BootSpan(1, 9, beliefs), BootSpan(2, 9)]
    times = ClockModel(spans, syncs).utc(1, TICKS)
    assert (times.utc_us == UNKNOWN_TIME).tolist() == [False, False, False, True, True, True, True]
    assert (times.error_us[3:] == UNBOUNDED).all()
    assert (times.quality[3:] == Quality.UNKNOWN).all()


@pytest.mark.parametrize("tick", [2**51, 2**55, 2**61])
@pytest.mark.parametrize("utc_s", [1, EPOCH_US // US, 2**32 - 1])
def test_a_boot_that_never_ends_spoils_no_other(tick: int, utc_s: int) -> None:
    spans = [BootSpan(1, 100), BootSpan(2, tick, (Belief(tick, utc_s),)), BootSpan(3, 100)]
    model = ClockModel(spans, [Sync(1, 5, EPOCH_US, 100), Sync(3, 5, EPOCH_US + US * DAY_S, 100), Sync(3, tick, 1, 1)])
    assert model.utc(1, np.array([5], dtype=np.int64)).utc_us[0] == EPOCH_US
    assert (model.utc(2, np.array([tick], dtype=np.int64)).utc_us[0] == UNKNOWN_TIME) or tick < 2**52
    assert all(warning.isprintable() for warning in model.warnings)


def test_a_time_before_1970_is_no_time() -> None:
    times = ClockModel([BootSpan(1, 2**40)], [Sync(1, 2**40, 5, 100)]).utc(1, np.array([0, 2**40], dtype=np.int64))
    assert times.utc_us.tolist() == [UNKNOWN_TIME, 5]
