"""What feeds a device: a lithium cell, and what its firmware draws from it.

Rule of this module: charge is a pure function of true time and of the currents that were drawn since; it knows nothing
of sessions. A restart of the firmware does not fill a battery.
"""

from __future__ import annotations

CAPACITY_MAH = 2400.0
LOW_MV = 2500
FLAT_MV = 2200
"""Below this nothing is recorded any more: flash may not be written well."""

_UAUS_PER_MAH = 3.6e12
_KNEE = 0.1  # of its charge is left when the voltage of a cell begins to fall
_KNEE_MV = 3300
_FULL_MV = 3600
_EMPTY_MV = 2000

_SLEEP_UA = 8.0
_FRAME_UC = 2.0
_VALUE_UC = 0.5


def current_ua(rates: list[tuple[int, float]]) -> float:
    """Mean current of a device that samples streams of so many channels so many times a second."""
    return _SLEEP_UA + sum(per_s * (_FRAME_UC + channels * _VALUE_UC) for channels, per_s in rates)


class Battery:
    """Full at `now_us`, which is true time like all times here. `tended`: somebody changes it before it is flat."""

    def __init__(self, capacity_mah: float, now_us: int, *, tended: bool = False) -> None:
        self._capacity_mah = capacity_mah
        self._tended = tended
        self._left_mah = capacity_mah
        self._since_us = now_us
        self.current_ua = 0.0

    def draw(self, current_ua: float, now_us: int) -> None:
        """From now on so much is drawn."""
        self._left_mah = self.left_mah(now_us)
        self._since_us = max(self._since_us, now_us)
        self.current_ua = current_ua

    def left_mah(self, now_us: int) -> float:
        """Charge left."""
        drawn = max(0, now_us - self._since_us) * self.current_ua / _UAUS_PER_MAH
        left = self._left_mah - drawn
        if self._tended and left < _KNEE * self._capacity_mah:
            changed_at = _KNEE * self._capacity_mah
            return changed_at + (left - changed_at) % (self._capacity_mah - changed_at)
        return max(0.0, left)

    def percent(self, now_us: int) -> int:
        """The same, of a full one."""
        return round(100 * self.left_mah(now_us) / self._capacity_mah)

    def millivolts(self, now_us: int) -> int:
        """What is measured at it: nearly level at first, steep at the end."""
        left = self.left_mah(now_us) / self._capacity_mah
        if left >= _KNEE:
            return round(_KNEE_MV + (_FULL_MV - _KNEE_MV) * (left - _KNEE) / (1 - _KNEE))
        return round(_EMPTY_MV + (_KNEE_MV - _EMPTY_MV) * left / _KNEE)

    def flat_at_us(self) -> float:
        """When it is too flat to record, if what is drawn stays as it is."""
        if self._tended or not self.current_ua:
            return float("inf")
        least = (FLAT_MV - _EMPTY_MV) / (_KNEE_MV - _EMPTY_MV) * _KNEE * self._capacity_mah
        spare = max(0.0, self._left_mah - least)
        return self._since_us + spare * _UAUS_PER_MAH / self.current_ua
