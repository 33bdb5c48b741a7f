"""Why a serial port cannot be used, in sentences: what is wrong, and what to do next."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

from fieldlog_protocol.errors import DeviceNotFound, LinkError

_MISSING = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
_DENIED = (errno.EACCES, errno.EPERM)
_BUSY = (errno.EBUSY, errno.EAGAIN)
_NO_PORT = (errno.ENOTTY, errno.EINVAL, errno.EISDIR)


def cannot_open(port: str, error: Exception, present: Sequence[str] = ()) -> DeviceNotFound:
    """The error for a port that does not open; `present` are the ports that exist."""
    code = _code(error)
    if code in _MISSING:
        return DeviceNotFound(f"there is no serial port {port}. {_what_else(present)}")
    if code in _DENIED:
        return DeviceNotFound(f"no permission to open {port}. {_permission_hint()}")
    if code in _BUSY:
        return DeviceNotFound(
            f"{port} is in use by another program. Close it (a terminal, another fieldlog, ModemManager) and try again"
        )
    if code in _NO_PORT:
        return DeviceNotFound(f"{port} is not a serial port. `fieldlog devices` lists those there are")
    return DeviceNotFound(f"{port} cannot be opened: {error}. Unplug the device, plug it in again and retry")


def unplugged(port: str) -> LinkError:
    return LinkError(
        f"the link to {port} was lost: the device was unplugged or restarted. "
        "Whether it carried out the last command is not known; reconnect it and repeat the command"
    )


def _code(error: Exception) -> int | None:
    """The errno. pyserial leaves it out on Windows and where a file that is no terminal refuses its settings."""
    code = getattr(error, "errno", None)
    if isinstance(code, int):
        return code
    text = str(error)
    if "FileNotFoundError" in text:
        return errno.ENOENT
    if "PermissionError" in text:  # Windows says so of a port that another program holds
        return errno.EBUSY
    if "Could not configure port" in text:
        return errno.ENOTTY
    return None


def _what_else(present: Sequence[str]) -> str:
    if not present:
        return "No serial port is present: plug the device in, check the cable (some only charge) and its driver"
    return f"Present: {', '.join(present)}. Plug the device in or name one of these"


def _permission_hint() -> str:
    if sys.platform == "linux":
        return "Add yourself to the group that owns it (`sudo usermod -a -G dialout $USER`), then log in again"
    return "Ask whoever runs this computer for access to the port"
