"""The clock model against simulated oscillators: the error it states must cover the truth."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from fieldlog import clock_model
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Belief, BootSpan, ClockModel, Quality
from fieldlog.clock_oscillator import CRYSTAL, RC, Oscillator
from fieldlog.clock_sync import TICK_HZ, Probe, Sync, sync_from_probes
from fieldlog_protocol.errors import VerificationError
from true_clock import DAY_S, EPOCH_US, US, TrueClock, all_ticks, assert_covered, ticks_at


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


@pytest.mark.parametrize("off_s", [-7, 7])
def test_a_belief_is_no_better_than_the_sync_that_set_it(off_s: int) -> None:
    """Nor than a second, off by which a device is not told anew."""
    start_us = EPOCH_US + DAY_S * US
    spans = [BootSpan(1, TICK_HZ * 60), BootSpan(2, TICK_HZ * 60, beliefs_from(start_us + off_s * US, 0, 30))]
    model = ClockModel(spans, [Sync(1, 30 * TICK_HZ, start_us - 60 * US + off_s * US, 7_000_000)])
    times = model.utc(2, ticks_at(0, 60))
    assert set(times.quality) == {Quality.RTC}
    off_us = np.abs(times.utc_us - start_us - np.array([0, 60 * US]))
    assert np.all(off_us <= times.error_us)
    assert np.all(times.error_us > 8_000_000)


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


def test_work_grows_with_the_boots_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that restarts again and again has thousands of them, half of which were never synced."""
    evaluated = 0

    def counted(line: Any, tick: int) -> Any:
        nonlocal evaluated
        evaluated += 1
        return at(line, tick)

    at = clock_model._Line.at
    monkeypatch.setattr(clock_model._Line, "at", counted)
    boots = range(1, 401)
    starts_us = {boot: EPOCH_US + boot * 3600 * US for boot in boots}
    spans = [BootSpan(boot, 1000 * TICK_HZ, () if boot % 2 else (Belief(0, starts_us[boot] // US),)) for boot in boots]
    model = ClockModel(spans, [Sync(boot, 0, starts_us[boot], 1000) for boot in boots if boot % 2])
    assert evaluated <= 5 * len(boots)
    for boot in (2, 200, 400):
        times = model.utc(boot, np.array([0]))
        assert times.quality[0] == Quality.RTC
        assert abs(int(times.utc_us[0]) - starts_us[boot]) <= times.error_us[0] < 3 * US
