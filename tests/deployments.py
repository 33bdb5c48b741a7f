"""Loggers deployed for weeks in virtual time, drawn from a seed, and what their archives make of the time.

The device, its oscillator, the link, the host's pull and the archive are the real ones; only time is stepped. A
deployment knows the true time of every reading, and holds the archive's account of it against that.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

import fieldlog.archive
from device_bench import START_US, Bench
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Quality
from fieldlog.device import Device
from fieldlog.pull import PullResult, pull
from fieldlog_protocol.commands.logger import StreamPeriod
from fieldlog_sim.oscillator import Oscillator, Temperature
from fieldlog_sim.sim_time import SimTime
from virtual_link import LinkKind, VirtualLoop, VirtualTransport

T = TypeVar("T")
Ints = npt.NDArray[np.int64]

DAY_S = 86_400
HOUR_US = 3_600_000_000
PERIOD_US = 1_800_000_000
PULLS_EVERY_DAYS = {"ends": 0, "weekly": 7, "daily": 1}


@dataclass(frozen=True)
class Plan:
    """What happens. Times in days since it began; `losses` (when, how long without power); `wrong`: which pull's
    computer is off by how much; `leap`: when UTC is put back by a second."""

    seed: int
    days: int
    pulls: str
    rc: bool = False
    losses: tuple[tuple[float, float], ...] = ()
    wrong: tuple[int, int] | None = None
    leap: float | None = None
    zone: str = "UTC"
    begins_day: int = 0

    @property
    def pull_days(self) -> list[float]:
        every = PULLS_EVERY_DAYS[self.pulls] or self.days
        return [0.01, *(float(day) for day in range(every, self.days, every)), float(self.days)]


def weather(seed: int) -> Temperature:
    """Outdoors: nights and days, weather of some days, a season; between -20 and 40 degC."""
    rng = Random(f"{seed} weather")
    mean, swing, season = rng.uniform(2, 22), rng.uniform(0, 12), rng.uniform(-6, 6)
    fronts = [(rng.uniform(0, 2), rng.uniform(2, 9), rng.uniform(0, 7)) for _ in range(3)]

    def at(utc_us: Ints) -> npt.NDArray[np.float64]:
        day = (np.asarray(utc_us) - START_US) / (DAY_S * 1e6)
        result = mean + swing * np.sin(2 * math.pi * day) + season * np.sin(2 * math.pi * day / 180)
        for size, days, phase in fronts:
            result += size * np.sin(2 * math.pi * (day + phase) / days)
        return np.asarray(result, np.float64)

    return at


@dataclass
class Findings:
    """One entry a reading: how far off the archive's time is, what it states, and how it came by it."""

    plan: Plan
    off_us: Ints
    stated_us: Ints
    quality: npt.NDArray[np.uint8]
    unknown: int
    warnings: list[str] = field(default_factory=list[str])
    clock_warnings: list[str] = field(default_factory=list[str])
    anchors: int = 0

    @property
    def total(self) -> int:
        return len(self.off_us) + self.unknown

    @property
    def within(self) -> int:
        """Readings whose true time lies within the stated error; one of no known time claims nothing that is wrong."""
        return int((np.abs(self.off_us) <= self.stated_us + 31).sum()) + self.unknown  # a tick is 31 us long

    def having(self, quality: Quality) -> int:
        return int((self.quality == quality).sum())

    @property
    def figures(self) -> tuple[float, float, float]:
        """Seconds: greatest true error, median and greatest stated one, of the readings between two syncs."""
        inside = self.quality == Quality.INTERPOLATED
        if not inside.any():
            return 0.0, 0.0, 0.0
        off, stated = np.abs(self.off_us[inside]), self.stated_us[inside]
        return float(off.max()) / 1e6, float(np.median(stated)) / 1e6, float(stated.max()) / 1e6


class Deployment:
    """One device, one archive, hosts that come by."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self._rng = Random(f"{plan.seed} deployment")
        self._bench = Bench(seed=plan.seed, log_sectors=1024 if plan.rc else 64)
        config = self._bench.device.config
        ppm = self._rng.uniform(-35_000, 35_000) if plan.rc else self._rng.uniform(-20, 20)
        self._bench.device.config = replace(config, clock_ppm=ppm, rc_clock=plan.rc, temperature=weather(plan.seed))
        self._epoch_us = START_US + plan.begins_day * DAY_S * 1_000_000
        self._bench.device.time = SimTime(self._epoch_us, monotonic=lambda: self._bench.now)
        self._oscillators: dict[int, tuple[Oscillator, float]] = {}
        self.warnings: list[str] = []

    def run(self) -> Findings:
        bench, plan = self._bench, self.plan
        bench.now = self._rng.uniform(0, DAY_S)
        self._begin = bench.now
        self._power_up()
        bench.arm(label="deployed", wrap=True, streams=(StreamPeriod(s=0, us=PERIOD_US),))
        happenings: list[tuple[float, int, float]] = [(day, 0, 0.0) for day, _ in plan.losses]
        lengths = dict(plan.losses)
        happenings += [(day, 1, float(number)) for number, day in enumerate(plan.pull_days)]
        with zone(plan.zone):
            for day, what, number in sorted(happenings):
                self._wait_until(self._begin + day * DAY_S)
                if what == 0:
                    self._lose_power(lengths[day])
                else:
                    self.warnings += self._pull(int(number)).warnings
            return self._findings()

    def _wait_until(self, moment_s: float) -> None:
        while self._bench.now < moment_s:
            self._bench.wait(min(DAY_S, moment_s - self._bench.now))

    def _lose_power(self, days: float) -> None:
        self._bench.device.flash.power_off()
        self._bench.now += days * DAY_S
        self._power_up()

    def _power_up(self) -> None:
        device = self._bench.device
        if device.flash.powered:
            device.flash.power_off()
        device.power_on("power on")
        self._oscillators[device.boot_id] = (device.clock.oscillator, self._bench.now)

    def _pull(self, number: int) -> PullResult:
        off_us = self.plan.wrong[1] if self.plan.wrong and self.plan.wrong[0] == number else 0
        latency_s = self._rng.choice([0.001, 0.016, 0.05])
        transport = VirtualTransport(self._bench, LinkKind(baud=1_000_000, latency_s=latency_s))

        async def work() -> PullResult:
            client = transport.client()
            await client.open()
            try:
                with fieldlog.archive.open(self.folder) as archive:
                    return await pull(Device(client), archive)
            finally:
                await client.close()

        return self._on_host(work(), off_us)

    def _on_host(self, work: Coroutine[Any, Any, T], off_us: int) -> T:
        """The host's clock shows UTC, leap seconds as computers show them, and may be wrong."""
        with (
            patch("time.time_ns", lambda: (self._utc_us(self._bench.now) + off_us) * 1000),
            asyncio.Runner(loop_factory=lambda: VirtualLoop(self._bench)) as runner,
        ):
            return runner.run(work)

    def _utc_us(self, now_s: float) -> int:
        leap = self.plan.leap
        put_back = leap is not None and now_s >= self._begin + leap * DAY_S
        return self._epoch_us + round(now_s * 1e6) - 1_000_000 * put_back

    def _true_us(self, boot: int, ticks: Ints) -> Ints:
        """UTC of readings: the sensor is read at whole periods of the oscillator, and that tells at which tick and when
        that was."""
        oscillator, booted_s = self._oscillators[boot]
        first = self._epoch_us + round(booted_s * 1e6)
        last = self._epoch_us + round(self._bench.now * 1e6)
        numbers = np.arange(
            oscillator.own_us(first) // PERIOD_US, oscillator.own_us(last) // PERIOD_US + 1, dtype=np.int64
        )
        moments = oscillator.instants(numbers * PERIOD_US)
        counted = oscillator.ticks(moments)  # a block tells its first and last tick, those between lie a little beside
        which = np.searchsorted((counted[1:] + counted[:-1]) // 2, ticks)
        assert (np.diff(which) == 1).all(), "readings are missing, or there twice"
        true: Ints = moments[which]
        if self.plan.leap is not None:
            true[true >= self._epoch_us + round((self._begin + self.plan.leap * DAY_S) * 1e6)] -= 1_000_000
        return true

    def _findings(self) -> Findings:
        off: list[Ints] = []
        stated: list[Ints] = []
        quality: list[npt.NDArray[np.uint8]] = []
        unknown = 0
        with fieldlog.archive.open(self.folder, writable=False) as archive:
            readings = archive.readings()
            for series in readings.batches():
                for boot in np.unique(series.boot_id).tolist():
                    mine = series.boot_id == boot
                    known = mine & (series.utc_us != UNKNOWN_TIME) & (series.error_us != UNBOUNDED)
                    unknown += int(mine.sum() - known.sum())
                    true = self._true_us(boot, series.tick[known])
                    off.append(series.utc_us[known] - true)
                    stated.append(series.error_us[known])
                    quality.append(series.quality[known])
            problems = list(readings.problems)
            anchors = sum(
                type(logged.event).__name__ == "ClockSync" for log in archive.logs() for logged in log.events()
            )
        return Findings(
            self.plan,
            np.concatenate(off),
            np.concatenate(stated),
            np.concatenate(quality),
            unknown,
            self.warnings,
            problems,
            anchors,
        )


@contextmanager
def zone(name: str) -> Generator[None]:
    """The host lives in this time zone."""
    with patch.dict(os.environ, TZ=name):
        time.tzset()
        try:
            yield
        finally:
            os.environ.pop("TZ")
            time.tzset()
    time.tzset()


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")


def drawn(seed: int, days: tuple[int, ...] = (15, 30, 60)) -> Plan:
    """A deployment with a bit of everything.

    A wrong clock is drawn only where it can be noticed: where another pull met the same boot, and with an RC clock, which
    may be off by an hour a day by itself, where there were enough of them and often.
    """
    rng = Random(f"{seed} plan")
    plan = Plan(
        seed,
        rng.choice(days),
        rng.choice(tuple(PULLS_EVERY_DAYS)),
        rc=rng.random() < 0.25,
        zone=rng.choice(ZONES),
        begins_day=rng.randrange(330),
    )
    losses = sorted(rng.uniform(0.1, plan.days - 1.5) for _ in range(rng.choice([0, 0, 1, 2, 3])))
    plan = replace(plan, losses=tuple((day, rng.uniform(0.0001, 0.5)) for day in losses))
    if rng.random() < 0.2:
        plan = replace(plan, leap=rng.uniform(0, plan.days))
    met = [sum(loss < day for loss in losses) for day in plan.pull_days]
    least = 6 if plan.rc else 2
    shared = [number for number, boot in enumerate(met) if met.count(boot) >= least]
    if shared and (plan.pulls == "daily" or not plan.rc) and rng.random() < 0.4:
        plan = replace(plan, wrong=(rng.choice(shared), rng.choice([-HOUR_US, HOUR_US])))
    return plan
