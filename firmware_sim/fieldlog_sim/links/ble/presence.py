"""What a device shows of itself over BLE: its name, its advertisement, device information and battery.

Rule of this module: it reads the device and changes nothing. While no firmware runs there is nothing to show: serial
recovery has no radio.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from fieldlog_protocol.advertising import LoggerAdvertisement, product_number, scan_response
from fieldlog_sim.device import Device
from fieldlog_sim.links.ble.gatt import Facts
from fieldlog_sim.profiles import NAME_KEY
from fieldlog_sim.settings_model import NoSuchKey

MANUFACTURER = "fieldlog"


@dataclass(frozen=True, slots=True)
class Presence:
    """`boot` is another object after every restart."""

    boot: object
    name: str
    scan_response: bytes
    facts: Facts


def presence_of(device: Device) -> Presence | None:
    """How `device` presents itself now; None while its firmware does not run."""
    if device.recovery or device.boot_report.version in device.config.boot.hanging:
        return None
    name = _name(device)
    facts = Facts(
        manufacturer=MANUFACTURER,
        model=device.product,
        serial=device.identity.serial,
        firmware=device.firmware_version,
        battery_percent=device.battery.percent(device.now_us()),
    )
    return Presence(device.boot_report, name, scan_response(_advertisement(device), name), facts)


def _name(device: Device) -> str:
    try:
        given = device.settings.read(NAME_KEY).decode(errors="replace")
    except NoSuchKey:
        given = ""
    return given or device.identity.serial


def _advertisement(device: Device) -> LoggerAdvertisement | None:
    logger = device.logger
    if logger is None:
        return None
    fill = ceil(100 * logger.bytes_used / logger.bytes_total) if logger.bytes_total else 100
    return LoggerAdvertisement(
        product=product_number(device.product),
        state=logger.state,
        clock_set=device.clock.believed_utc_us is not None,
        battery_percent=device.battery.percent(device.now_us()),
        fill_percent=min(100, fill),
        newest_seq=logger.next_seq - 1 if logger.next_seq else None,
    )
