"""A device's port behind a UART: two ends that do not agree on rate and parity read noise.

Rule: what a byte is read as is decided when it is on the wire, by what both ends are set to at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from fieldlog_sim.links.port import Port

_NOISE = b"\x00\x80\xc0\xe0\xf0\xf8\xfc\xfe\xff"
"""What a receiver makes of bits that are too long or too short for it: runs of ones and zeros."""
_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class LineSetting:
    """What one end of a serial line is set to; without a rate it is not set, and takes whatever comes."""

    baud: int | None
    parity: bool = False

    def agrees(self, other: LineSetting) -> bool:
        if self.baud is None or other.baud is None:
            return True
        return abs(self.baud - other.baud) <= _TOLERANCE * self.baud and self.parity == other.parity


class Uart:
    """A port of which host and device see each other's bytes only while they agree."""

    def __init__(self, port: Port, device: Callable[[], LineSetting], host: Callable[[], LineSetting]) -> None:
        self._port = port
        self._device = device
        self._host = host
        self._random = Random(0)
        self._looked_at = float("-inf")
        self._host_is = LineSetting(None)

    def receive(self, data: bytes, now: float) -> None:
        self._port.receive(self._read(data, self._host_at(now), self._device()), now)

    def serve(self, now: float) -> bytes | None:
        setting = self._device()  # a reply leaves at the rate at which its request came, whatever that changed
        data = self._port.serve(now)
        return None if data is None else self._read(data, setting, self._host_at(now))

    def sent(self, now: float) -> None:
        self._port.sent(now)

    def wake_at(self) -> float | None:
        return self._port.wake_at()

    def link_up(self) -> None:
        self._port.link_up()

    def link_down(self) -> None:
        self._port.link_down()

    def _host_at(self, now: float) -> LineSetting:
        """Looked up once for each moment, as the system is asked."""
        if now != self._looked_at:
            self._looked_at, self._host_is = now, self._host()
        return self._host_is

    def _read(self, data: bytes, sender: LineSetting, receiver: LineSetting) -> bytes:
        if not data or sender.agrees(receiver):
            return data
        ratio = (receiver.baud or 1) / (sender.baud or 1)
        return bytes(self._random.choices(_NOISE, k=max(1, round(len(data) * min(ratio, 4)))))
