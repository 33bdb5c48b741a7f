"""What the tests of armed sessions share: a clock that is set, minutes counted, and why a session ended."""

from __future__ import annotations

from typing import Any

import numpy as np

from device_bench import START_US, Bench
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.events import SessionStop
from fieldlog_protocol.commands import Empty, logger
from fieldlog_protocol.commands.logger import StopReason, StreamPeriod

START_S = START_US // 1_000_000
ENVIRONMENT = (StreamPeriod(s=0, us=60_000_000),)
MINUTE = 60


def synced(**options: Any) -> Bench:
    """A device whose clock is set."""
    bench = Bench(**options)
    set_clock(bench)
    return bench


def set_clock(bench: Bench, ahead_s: int = 0) -> None:
    probe = bench.ask(logger.CLOCK_PROBE, Empty())
    utc_us = START_US + round(bench.now * 1e6) + ahead_s * 1_000_000
    anchor = logger.ClockAnchor(boot=probe.boot, tick=probe.tx, utc=utc_us, err=100, src=0)
    bench.ask(logger.CLOCK_ANCHOR, anchor)


def minutes(bench: Bench) -> list[int]:
    """When the environment's readings in the log were taken, in whole minutes since the beginning of the bench."""
    ticks = bench.frames(bench.sensors[0]).ticks
    whole, rest = np.divmod(ticks + TICK_HZ // 2, MINUTE * TICK_HZ)
    assert (rest < TICK_HZ).all()
    return [int(number) for number in whole]


def why(bench: Bench) -> StopReason:
    """Why the last session ended, as its record and the log say alike."""
    bench.seal()
    session = bench.sessions()[-1]
    stops = [event for _, event in bench.events() if isinstance(event, SessionStop) and event.id == session.id]
    reason = StopReason(session.why)
    assert [stop.reason for stop in stops] == ([] if reason is StopReason.RUNNING else [reason.name.lower()])
    return reason
