"""Applying a plan, seen from outside: what the device holds afterwards, and what its user is told."""

from __future__ import annotations

from config_bench import NEW, applied, bench_with_former, file_of, held
from virtual_link import run


def test_a_plan_is_applied_whole_and_outlasts_a_restart() -> None:
    bench = bench_with_former()
    plan, done = run(bench, applied(bench, file_of(1)))
    assert done.transaction
    assert done.kept
    assert (len(plan.settings), len(plan.calibration)) == (6, 2)
    assert held(bench) == NEW
    bench.power_cycle()
    assert held(bench) == NEW
    plan, done = run(bench, applied(bench, file_of(1)))
    assert plan.empty
