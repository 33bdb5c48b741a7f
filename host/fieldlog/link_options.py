"""What the user knows better than the device about their link.

Rule: numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.round_trip import Timeouts

FIRST_TRIES = 3
"""So often is a device asked that has never answered."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What the user knows better than the device. `timeout_s`: when a device that never answered counts as silent."""

    timeout_s: float = 6.0
    window: int | None = None
    buffer: int | None = None

    @property
    def timeouts(self) -> Timeouts:
        """Three tries, each with twice the patience of the one before, fill the time."""
        first_s = self.timeout_s / (2**FIRST_TRIES - 1)
        return Timeouts(initial_s=first_s, least_s=min(0.3, first_s), most_s=max(10.0, first_s))
