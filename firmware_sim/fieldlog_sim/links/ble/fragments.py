"""What a bad link does to fragments: they get lost, come twice, or behind the next one. No I/O.

The link layer of Bluetooth loses nothing by itself; stacks above it do. A damaged fragment fails its CRC and is lost.
"""

from __future__ import annotations

from fieldlog_sim.faults import Direction


class Misplacer:
    """One direction of one link."""

    def __init__(self, direction: Direction | None) -> None:
        self._direction = direction
        self._late: bytes | None = None

    def after(self, fragment: bytes) -> list[bytes]:
        """What comes out after this one has gone in: usually just that."""
        if self._direction is None:
            return [fragment]
        found: list[bytes] = []
        for arrival in self._direction.arrivals(fragment):
            if arrival.delay_s and self._late is None:
                self._late = arrival.data
            else:
                found.append(arrival.data)
        if found and self._late is not None:
            found.append(self._late)
            self._late = None
        return found

    def disconnects(self) -> bool:
        """Whether the link breaks now."""
        return self._direction is not None and self._direction.disconnects()

    @property
    def away_s(self) -> float:
        """For how long it then stays away."""
        return 0.0 if self._direction is None else self._direction.away_s
