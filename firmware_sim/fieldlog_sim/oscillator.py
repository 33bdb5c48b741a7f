"""The crystal or RC oscillator behind a device's tick counter: 32 768 Hz, nearly.

Rule of this module: ticks are a pure function of true time. The error in rate is constant but for temperature: a tuning
fork crystal loses with the square of its distance from 25 degC, an RC oscillator more or less in proportion to it.

What is done at regular intervals goes by the oscillator's own microseconds: ticks as an exact fraction, counted from
the true time of the boot, so that a perfect crystal's are those of UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import TICK_HZ

Microseconds: TypeAlias = npt.NDArray[np.int64]
Temperature: TypeAlias = Callable[[Microseconds], npt.NDArray[np.float64]]
"""degC at UTC microseconds."""

TUNING_FORK_PPM_PER_K2 = -0.034
RC_PPM_PER_K = -400.0
RC_TOLERANCE_PPM = 50_000
_TURNOVER_CEL = 25.0
_STEP_US = 600_000_000  # the rate is taken as constant for so long: temperatures change slowly


class Oscillator:
    """Counts from 0 at `boot_utc_us`. `temperature` is what it feels; without it the rate is constant.

    `tolerance_ppm` is what its data sheet says, None for a crystal.
    """

    def __init__(
        self,
        ppm: float = 0.0,
        boot_utc_us: int = 0,
        *,
        temperature: Temperature | None = None,
        ppm_per_k2: float = TUNING_FORK_PPM_PER_K2,
        ppm_per_k: float = 0.0,
        tolerance_ppm: int | None = None,
    ) -> None:
        self._rate = ppm * 1e-6
        self._boot_us = boot_utc_us
        self._temperature = temperature
        self._per_k2 = ppm_per_k2 * 1e-6
        self._per_k = ppm_per_k * 1e-6
        self.tolerance_ppm = tolerance_ppm
        self._gained_s = np.zeros(1)  # by temperature, at each step since boot

    def tick(self, utc_us: int) -> int:
        """The counter at a true time."""
        return int(self.ticks(np.array([utc_us], np.int64))[0])

    def ticks(self, utc_us: Microseconds) -> npt.NDArray[np.int64]:
        """The counter at many true times."""
        elapsed_us = utc_us - self._boot_us
        seconds, rest_us = np.divmod(elapsed_us, 1_000_000)
        fraction = (rest_us * 1e-6 + self._gained(elapsed_us)) * TICK_HZ
        result: npt.NDArray[np.int64] = seconds * TICK_HZ + np.floor(fraction).astype(np.int64)
        return result

    def utc_us(self, tick: int) -> int:
        """The first microsecond of true time at which the counter stands at `tick`."""
        guess = int(self.instants(np.array([self._boot_us + tick * 1_000_000 // TICK_HZ]))[0])
        while self.tick(guess) >= tick:
            guess -= 1
        while self.tick(guess) < tick:
            guess += 1
        return guess

    def own_us(self, utc_us: int) -> int:
        """The oscillator's own microseconds that have begun by a true time."""
        return int(self._own_us(np.array([utc_us], np.int64))[0])

    def instants(self, own_us: Microseconds) -> Microseconds:
        """The first microseconds of true time at which the oscillator's own stand at `own_us`."""
        if (self._temperature is None and self._rate == 0.0) or not own_us.size:
            return own_us
        result: Microseconds = self._boot_us + np.ceil(self._about(own_us - self._boot_us)).astype(np.int64)
        result += self._own_us(result) < own_us  # a float may have ended up on the other side of a microsecond
        result -= self._own_us(result - 1) >= own_us
        return result

    def _own_us(self, utc_us: Microseconds) -> Microseconds:
        own: Microseconds = utc_us + np.floor(self._gained(utc_us - self._boot_us) * 1e6).astype(np.int64)
        return own

    def _about(self, own_us: Microseconds) -> npt.NDArray[np.float64]:
        """True time since boot, but for rounding; `own_us` since boot. Between two steps it goes straight."""
        if self._temperature is None:
            return own_us / (1.0 + self._rate)
        most_us = int(own_us.max())
        while True:
            knots_us = np.arange(len(self._gained_s)) * float(_STEP_US)
            own_knots_us = knots_us * (1.0 + self._rate) + self._gained_s * 1e6
            if own_knots_us[-1] > most_us:
                about: npt.NDArray[np.float64] = np.interp(own_us, own_knots_us, knots_us)
                return about
            self._extend(len(self._gained_s), self._temperature)

    def _gained(self, elapsed_us: Microseconds) -> npt.NDArray[np.float64]:
        """Seconds that the oscillator is ahead."""
        gained: npt.NDArray[np.float64] = elapsed_us * (self._rate * 1e-6) + self._gained_by_temperature(elapsed_us)
        return gained

    def _gained_by_temperature(self, elapsed_us: Microseconds) -> npt.NDArray[np.float64]:
        if self._temperature is None or not elapsed_us.size:
            return np.zeros(elapsed_us.shape)
        self._extend(int(elapsed_us.max()) // _STEP_US + 1, self._temperature)
        knots_us = np.arange(len(self._gained_s)) * float(_STEP_US)
        return np.interp(elapsed_us, knots_us, self._gained_s)

    def _extend(self, steps: int, temperature: Temperature) -> None:
        """Sum the rate up to at least `steps` steps after boot; at most twice what is there is added at a time."""
        known = len(self._gained_s) - 1
        if steps <= known:
            return
        middles = self._boot_us + np.arange(known, max(steps, 2 * known), dtype=np.int64) * _STEP_US + _STEP_US // 2
        warmth = temperature(middles) - _TURNOVER_CEL
        rate = self._per_k2 * warmth**2 + self._per_k * warmth
        added = rate * (_STEP_US * 1e-6)
        # Summed from where it stands, the sums are the same to the last bit in whatever portions they are asked for.
        gained = np.cumsum(np.concatenate([self._gained_s[-1:], added]))
        self._gained_s = np.concatenate([self._gained_s, gained[1:]])
