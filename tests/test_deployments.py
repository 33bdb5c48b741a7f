"""Weeks in the field: the times in the archive are true within the error that it states itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deployments import HOUR_US, Deployment, Findings, Plan, drawn
from fieldlog.clock_model import Quality

FULL = 200
PARTS = 20
SHORT = 6


def deploy(plan: Plan, folder: Path) -> Findings:
    return Deployment(plan, folder).run()


def assert_true(found: Findings) -> None:
    """At least 99 % of the readings: one of them per deployment may stand where the second was put back."""
    assert found.total > 0
    assert found.within >= 0.99 * found.total, f"{found.plan}: {found.total - found.within} of {found.total} are off"


@pytest.mark.parametrize(
    ("pulls", "bound_s"), [("ends", 21), ("weekly", 3.2), ("daily", 1.2)], ids=("ends", "weekly", "daily")
)
def test_two_months_outdoors_on_a_crystal(pulls: str, bound_s: float, tmp_path: Path) -> None:
    found = deploy(Plan(1, 60, pulls), tmp_path)
    assert found.within == found.total == 60 * 48
    worst_s, _, stated_s = found.figures
    assert stated_s < bound_s, "a bound that says too little"
    assert stated_s < 10 * worst_s, "a bound that is out of all proportion"
    assert found.warnings == found.clock_warnings == []


def test_an_rc_clock_has_the_limits_of_one(tmp_path: Path) -> None:
    found = deploy(Plan(2, 15, "daily", rc=True), tmp_path)
    assert found.within == found.total
    worst_s, _, stated_s = found.figures
    assert 1 < worst_s < stated_s < 600
    assert found.warnings == found.clock_warnings == []


@pytest.mark.parametrize(
    ("number", "rc"),
    [
        (1, False),
        pytest.param(15, False, marks=pytest.mark.faults),
        pytest.param(7, True, marks=pytest.mark.faults),
        (15, True),
    ],
)
def test_a_computer_that_is_wrong_by_an_hour_is_told_so_and_the_device_is_not(
    number: int, rc: bool, tmp_path: Path
) -> None:
    plan = Plan(3, 15, "daily", rc=rc, wrong=(number, HOUR_US))
    wrong, right = deploy(plan, tmp_path / "wrong"), deploy(replace(plan, wrong=None), tmp_path / "right")
    assert_true(wrong)
    assert "this computer's clock is" in wrong.warnings[0]
    assert any("left out" in warning for warning in wrong.clock_warnings)
    assert wrong.anchors == right.anchors - 1


def test_a_wrong_computer_is_covered_where_the_rates_do_not_tell_which_it_was(tmp_path: Path) -> None:
    """It was that of the first or of the second pull of a boot; the readings before these are off by more than its hour."""
    found = deploy(drawn(1096), tmp_path)
    assert found.within == found.total
    assert abs(found.off_us).max() > HOUR_US
    assert any("cannot be told" in warning for warning in found.clock_warnings)


def test_boots_that_never_saw_a_clock_get_their_times_afterwards(tmp_path: Path) -> None:
    found = deploy(Plan(4, 14, "weekly", losses=((7.5, 0.2), (10, 0.01), (12.5, 0.3))), tmp_path)
    assert_true(found)
    assert found.unknown == 0
    assert found.having(Quality.BOUNDED) > 100


def test_the_zone_of_the_host_and_its_summer_time_do_not_matter(tmp_path: Path) -> None:
    plan = Plan(5, 15, "daily", begins_day=80)  # Europe changes its clocks on 29 March 2026
    found = [
        deploy(replace(plan, zone=zone), tmp_path / str(number))
        for number, zone in enumerate(("UTC", "Europe/Berlin", "Australia/Lord_Howe"))
    ]
    assert all((other.off_us == found[0].off_us).all() for other in found)
    assert found[0].within == found[0].total


def test_a_leap_second_costs_a_second_and_no_more(tmp_path: Path) -> None:
    found = deploy(Plan(6, 15, "daily", leap=7.4), tmp_path)
    assert_true(found)
    assert abs(found.off_us).max() < 1_000_000
    assert found.warnings == found.clock_warnings == []


def campaign(seeds: range, folder: Path) -> tuple[int, int]:
    readings = within = 0
    for seed in seeds:
        found = deploy(drawn(seed, (10, 15, 30) if len(seeds) == SHORT else (15, 30, 60)), folder / str(seed))
        assert_true(found)
        readings, within = readings + found.total, within + found.within
    return readings, within


def test_a_few_drawn_deployments(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    readings, within = campaign(range(SHORT), tmp_path)
    record_property("counted", f"clocks: {SHORT} deployments, {within} of {readings} readings within the stated error")


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_many_drawn_deployments(part: int, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seeds = range(1000 + part * FULL // PARTS, 1000 + (part + 1) * FULL // PARTS)
    readings, within = campaign(seeds, tmp_path)
    record_property(
        "counted",
        f"clocks, part {part}: {len(seeds)} deployments, {within} of {readings} readings within the stated error",
    )
