"""A device whose time passes faster than it can read: what it cannot read is counted, and it never falls behind."""

from __future__ import annotations

import pytest

from device_bench import Bench
from fieldlog_protocol.blocks.block import DROPPED_UNKNOWN, Flag
from fieldlog_protocol.commands.logger import StreamPeriod
from fieldlog_sim.sampling import MOST_DUE

MOTION = 1
PERIOD_S = 0.1
MOST = MOST_DUE // 3  # frames of three values


def hurried() -> Bench:
    bench = Bench()
    bench.device.hurried = True
    bench.arm(streams=(StreamPeriod(s=MOTION),), wrap=True)
    return bench


def test_what_could_not_be_read_is_counted_where_it_is_missing() -> None:
    bench = hurried()
    waits = (MOST, MOST + 1000, 10, MOST + 50)
    for frames in waits:
        bench.wait(frames * PERIOD_S)
    bench.stop()
    found = bench.frames(bench.sensors[MOTION])
    headers = found.headers
    late = headers[headers["dropped"] > 0]
    assert late["dropped"].tolist() == [1000, 50]
    assert all(Flag.GAP | Flag.OVERRUN in Flag(flags) for flags in late["flags"].tolist())
    assert len(found.ticks) + int(headers["dropped"].sum()) == sum(waits)


def test_the_newest_are_read_and_the_work_of_a_turn_is_bounded() -> None:
    bench = hurried()
    for _ in range(3):
        before = bench.device.flash.operations
        bench.wait(365 * 86_400)
        assert bench.device.flash.operations - before < 2000
    bench.stop()
    found = bench.frames(bench.sensors[MOTION])
    assert found.headers["dropped"].max() == DROPPED_UNKNOWN
    assert found.ticks[-1] == pytest.approx(bench.device.clock.tick, abs=PERIOD_S * 32768 + 1)


def test_time_that_is_only_stepped_loses_nothing() -> None:
    bench = Bench()
    bench.arm(streams=(StreamPeriod(s=MOTION),), wrap=True)
    bench.wait(3 * MOST * PERIOD_S)
    bench.stop()
    found = bench.frames(bench.sensors[MOTION])
    assert len(found.ticks) == 3 * MOST
    assert not found.headers["dropped"].any()
