"""How much a Bluetooth link carries and when: connection events and air time. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from fieldlog_protocol.errors import UsageError

INTERVAL_UNIT_S = 0.00125
_T_IFS_S = 150e-6
# preamble, access address, header and CRC of a link layer PDU, in bytes
_OVERHEAD = {1: 10, 2: 11}
_ATT_OVERHEAD = 3
_L2CAP_OVERHEAD = 4
PDU_BYTES = 251
"""Most that one link layer PDU carries, with the data length extension."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`pdus`: the most data PDUs one way in a connection event, as controllers limit it; `phy`: Mbit/s."""

    interval_s: float = 0.03
    pdus: int = 6
    phy: int = 2

    def __post_init__(self) -> None:
        if self.phy not in _OVERHEAD:
            raise UsageError(f"there is no {self.phy} Mbit/s PHY here: 1 or 2")
        if not 0.0075 <= self.interval_s <= 4.0:
            raise UsageError(f"a connection interval is 7.5 ms to 4 s, not {self.interval_s * 1000:g} ms")
        if self.pdus < 1:
            raise UsageError("at least one PDU goes in a connection event")

    def airtime_s(self, payload: int) -> float:
        """Of one data PDU, the empty one that acknowledges it, and the gaps between."""
        overhead = _OVERHEAD[self.phy]
        return (payload + 2 * overhead) * 8e-6 / self.phy + 2 * _T_IFS_S

    def pdus_per_event(self, payload: int = PDU_BYTES) -> int:
        """How many PDUs of this size go one way in an event."""
        return min(self.pdus, int(self.interval_s / self.airtime_s(payload)))

    def capacity(self, mtu: int) -> float:
        """Bytes of values in notifications or write commands that go one way in a second, when they are full."""
        value, pdus = mtu - _ATT_OVERHEAD, -(-(mtu + _L2CAP_OVERHEAD) // PDU_BYTES)
        return value * self.pdus_per_event(min(mtu + _L2CAP_OVERHEAD, PDU_BYTES)) / pdus / self.interval_s

    def with_interval(self, interval_s: float) -> Pace:
        """The same after an update of the connection's parameters."""
        return replace(self, interval_s=interval_s)


class EventBudget:
    """What still goes in one connection event."""

    def __init__(self, pace: Pace | None) -> None:
        self._pace = pace
        self._pdus = inf if pace is None else pace.pdus
        self._left_s = inf if pace is None else pace.interval_s

    def takes(self, payload: int) -> bool:
        """Whether a PDU of this size still goes; if so, it is counted."""
        airtime_s = 0.0 if self._pace is None else self._pace.airtime_s(payload)
        if self._pdus < 1 or airtime_s > self._left_s:
            return False
        self._pdus -= 1
        self._left_s -= airtime_s
        return True
