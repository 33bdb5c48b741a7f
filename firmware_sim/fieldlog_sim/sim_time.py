"""True time in the simulated world, which may pass faster than ours. Devices do not see it; their oscillators do.

Rule of this module: time goes on by itself and never back, and whoever knows when something happened (a link that works
by its schedule) asks for that moment instead of the present.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Protocol


class Time(Protocol):
    """What tells the simulated device's surroundings the time."""

    def utc_us(self, at: float | None = None) -> int:
        """UTC at monotonic seconds `at`, default now."""
        ...

    def until_s(self, utc_us: float | None, now: float) -> float:
        """Monotonic seconds from `now` until it is `utc_us`; infinite for None, never negative."""
        ...


class SimTime:
    """It is `start_utc_us` when this is made, and from then on time passes `scale` times as fast as ours."""

    def __init__(self, start_utc_us: int, scale: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._start_utc_us = start_utc_us
        self._start = monotonic()
        self._scale = scale

    def utc_us(self, at: float | None = None) -> int:
        now = self._monotonic() if at is None else at
        return self._start_utc_us + round((now - self._start) * self._scale * 1e6)

    def until_s(self, utc_us: float | None, now: float) -> float:
        if utc_us is None:
            return inf
        # Half a microsecond on, so that rounding does not make it the microsecond before.
        due = self._start + (utc_us - self._start_utc_us + 0.5) / (self._scale * 1e6)
        return max(0.0, due - now)
