"""The device's handlers, a file per group. Each registers its commands with the dispatcher and holds no state but links.

Rule: a handler turns a request into calls on the device's parts and their failures into the group's error codes.
"""

from __future__ import annotations

from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher
from fieldlog_sim.handlers import basic, enum, fs, image, logger, os, recovery, settings, shell, stat

_GROUPS = (os, image, stat, settings, fs, shell, enum, basic, logger)


def register_all(dispatcher: Dispatcher, device: Device) -> None:
    """Serve every group that the device has; in serial recovery what the boot loader itself serves."""
    if device.recovery:
        recovery.register(dispatcher, device)
        return
    for group in _GROUPS:
        group.register(dispatcher, device)
