"""What the logger needs of the device around it."""

from __future__ import annotations

from typing import Protocol

from fieldlog_sim.battery import Battery
from fieldlog_sim.device_clock import DeviceClock
from fieldlog_sim.sensors import Sensor


class Firmware(Protocol):
    """What the logger needs of the device around it."""

    boot_id: int
    clock: DeviceClock
    sensors: tuple[Sensor, ...]
    battery: Battery
    hurried: bool
    """Whether time goes on while it works, so that there may be more to read than it can."""

    @property
    def firmware_version(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def log_identity(self) -> tuple[bytes, int]:
        """uid and log_id."""
        ...

    @property
    def battery_mv(self) -> int: ...
    @property
    def max_age_s(self) -> int: ...
