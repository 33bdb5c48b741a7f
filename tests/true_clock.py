"""A simulated oscillator for the clock model, and whether the error that the model states covers its truth."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from fieldlog.clock_model import ClockModel
from fieldlog.clock_sync import TICK_HZ, Sync

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


def ticks_at(*seconds: int) -> npt.NDArray[np.int64]:
    return np.array(seconds, dtype=np.int64) * TICK_HZ


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
