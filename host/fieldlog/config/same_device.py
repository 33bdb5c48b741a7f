"""Whether it is still the same logger that answers.

Rule: reading only. A port, a name on the air and an address say nothing of who is at their end: the uid does.
"""

from __future__ import annotations

from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo, NoLogger
from fieldlog.steady_link import OtherDevice


async def require_same(device: Device, uid: bytes | None) -> LoggerInfo:
    """What the logger of that uid says of itself; None: whichever is there. Raises OtherDevice if another one answers."""
    try:
        info = await device.logger_info()
    except NoLogger as error:
        if uid is None:
            raise
        raise OtherDevice(_sentence(device, "one without a logger", uid)) from error
    if uid not in (None, info.uid):
        raise OtherDevice(_sentence(device, f"device {info.uid.hex()}", uid or b""))
    return info


def _sentence(device: Device, found: str, uid: bytes) -> str:
    return f"another device is at {device.name} now: {found} instead of device {uid.hex()}. Nothing was done to it"
