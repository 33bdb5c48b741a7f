"""The device's two clocks: the tick counter, which is never stepped, and what the device believes UTC to be.

Rule: setting the clock adds an anchor and moves nothing. The belief runs on with the tick and is lost with the power.
"""

from __future__ import annotations

from collections.abc import Callable

from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_sim.oscillator import Oscillator

MAX_UTC_S = 0xFFFF_FFFF  # what a block header can say


class DeviceClock:
    """`now_us` answers the true time, which only the simulation knows."""

    def __init__(self, oscillator: Oscillator, now_us: Callable[[], int]) -> None:
        self.oscillator = oscillator
        self._now_us = now_us
        self._anchor: tuple[int, int] | None = None
        self.last_set_s = 0

    @property
    def true_us(self) -> int:
        """True UTC in microseconds."""
        return self._now_us()

    @property
    def tick(self) -> int:
        """Ticks since boot."""
        return self.oscillator.tick(self._now_us())

    @property
    def is_set(self) -> bool:
        """Whether the device believes anything."""
        return self._anchor is not None

    @property
    def believed_utc_us(self) -> int | None:
        """UTC now as the device believes, None when it was never set."""
        return self.believed_at(self.tick)

    def believed_at(self, tick: int) -> int | None:
        """UTC at a tick as the device believes, in microseconds."""
        if self._anchor is None:
            return None
        anchor_tick, anchor_us = self._anchor
        return anchor_us + (tick - anchor_tick) * 1_000_000 // TICK_HZ

    def believed_seconds(self, tick: int) -> int:
        """UTC at a tick in whole seconds for a block header, 0 when not set; it stays at the last that one can say."""
        utc_us = self.believed_at(tick)
        return 0 if utc_us is None else min(max(0, utc_us // 1_000_000), MAX_UTC_S)

    def set(self, tick: int, utc_us: int) -> None:
        """Believe that it was `utc_us` at `tick`."""
        self._anchor = (tick, utc_us)
        self.last_set_s = utc_us // 1_000_000
