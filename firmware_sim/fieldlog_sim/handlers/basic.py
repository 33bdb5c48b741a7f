"""Group zephyr basic: erase the partition of the settings."""

from __future__ import annotations

from fieldlog_protocol.commands import Empty, basic
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""

    def erase(_: Empty) -> Empty:
        device.erase_settings()
        return Empty()

    dispatcher.on(basic.ERASE_STORAGE, erase)
