"""What BLE devices say of themselves before anybody connects to them.

Rule: a name that is heard is data, and advertising costs nobody anything to forge: what is said here is a hint for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from fieldlog_protocol.advertising import SMP_SERVICE, LoggerAdvertisement, logger_in
from fieldlog_protocol.commands.logger import State

if TYPE_CHECKING:
    from fieldlog.transports import radio

SCAN_S = 5.0
_LOW_BATTERY = 20


@dataclass(frozen=True, slots=True)
class Advertised:
    """A device that was heard. `logger`: what it says as a fieldlog logger, None for others."""

    url: str
    name: str
    address: str
    rssi: int
    smp: bool
    logger: LoggerAdvertisement | None

    @property
    def attention(self) -> tuple[str, ...]:
        """Why somebody should look at it."""
        logger = self.logger
        if logger is None:
            return ()
        low = logger.battery_percent is not None and logger.battery_percent < _LOW_BATTERY
        reasons = {
            "fault": logger.state == State.FAULT,
            "log full": logger.state == State.FULL,
            "battery low": low,
            "clock not set": not logger.clock_set,
        }
        return tuple(text for text, holds in reasons.items() if holds)


async def scan(
    backend: str | None = None, options: Mapping[str, str] | None = None, seconds: float = SCAN_S
) -> list[Advertised]:
    """All devices that advertise within this time, those that need attention first, then the strongest.

    `backend` and its `options` as in a device URL. Raises DeviceNotFound where this computer has no Bluetooth to offer.
    """
    from fieldlog.transports import radio  # bleak takes a while to load

    heard = await radio.scan(radio.Radio(backend, options or {}), seconds)
    names = [one.name.casefold() for one in heard]
    query = urlencode({"backend": backend, **(options or {})}, safe=":/") if backend else ""
    found = [_advertised(one, query, alone=names.count(one.name.casefold()) == 1) for one in heard]
    return sorted(found, key=lambda one: (not one.attention, not one.smp, -one.rssi, one.address))


def _advertised(heard: radio.Heard, query: str, *, alone: bool) -> Advertised:
    """`alone`: whether no other device was heard that is called the same, upper and lower case being one."""
    from fieldlog.transports.radio import is_address

    said, address = heard.said, heard.device.address
    named = alone and bool(heard.name) and not is_address(heard.name)  # which would lead to somebody else
    target = quote(heard.name, safe="") if named else address
    logger = logger_in(said.manufacturer_data)
    smp = logger is not None or SMP_SERVICE in said.service_uuids
    return Advertised(f"ble:{target}" + (f"?{query}" if query else ""), heard.name, address, said.rssi, smp, logger)
