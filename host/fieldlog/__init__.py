"""fieldlog: flash, configure, read out and plot embedded sensor loggers.

    async with fieldlog.connect("/dev/ttyACM0") as device:
        print(await device.echo("hello"))

`fieldlog.blocking.connect` does the same without async.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldlog_protocol import __version__

if TYPE_CHECKING:
    from fieldlog.connection import connect
    from fieldlog.device import Device


def __getattr__(name: str) -> object:
    """Loads on first use: `fieldlog --version` needs none of it."""
    if name == "connect":
        from fieldlog.connection import connect

        return connect
    if name == "Device":
        from fieldlog.device import Device

        return Device
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Device", "__version__", "connect"]
