"""Restarting a device and waiting until it is back, wherever its port is by then.

Rule: that a device has restarted is told by its slots: a boot loader that was asked for something leaves them changed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from fieldlog.device import Device
from fieldlog.transports.ports import serial_ports
from fieldlog.url import DeviceUrl
from fieldlog_protocol.commands import Empty
from fieldlog_protocol.commands import image as commands
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import LinkError, RefusedError, RequestTimeout

_PAUSE_S = 0.5
_ASK_AGAIN_S = 10.0


def lasting(url: DeviceUrl) -> DeviceUrl:
    """The same device by its USB serial number where it has one: its port may come back under another name."""
    if url.scheme != "serial":
        return url
    for port in serial_ports():
        if port.path == url.target and port.vid is not None and port.pid is not None and port.serial:
            return replace(url, scheme="usb", usb=(port.vid, port.pid, port.serial))
    return url


async def restart(
    device: Device, before: tuple[ImageSlot, ...], return_s: float, boot_mode: int | None = None
) -> tuple[ImageSlot, ...]:
    """Restart and wait until the slots are not those of `before`. Raises LinkError if they still are after `return_s`."""
    loop = asyncio.get_running_loop()
    await _ask(device, boot_mode)
    asked_at = loop.time()
    deadline = asked_at + return_s
    while True:
        await asyncio.sleep(_PAUSE_S)
        slots = await _slots_or_none(device)
        if slots is not None and slots != before:
            return slots
        if slots is not None and loop.time() > asked_at + _ASK_AGAIN_S:
            asked_at = loop.time()
            await _ask(device, boot_mode, force=True)
        if loop.time() > deadline:
            raise _gone(device, return_s, slots)


async def _ask(device: Device, boot_mode: int | None, *, force: bool = False) -> None:
    """Its reply may be lost, or the link: whether it restarted shows in what runs. One that is busy is given time first."""
    try:
        await device.reset(force=force, boot_mode=boot_mode)
    except LinkError:
        pass
    except RefusedError as error:
        if (error.group, error.code) != (None, Rc.BUSY):
            raise


async def _slots_or_none(device: Device) -> tuple[ImageSlot, ...] | None:
    """None while the device is away. A lost link is opened again."""
    try:
        return (await device.client.request(commands.STATE_READ, Empty(), tries=1)).images
    except RequestTimeout:
        return None
    except LinkError:
        pass
    with suppress(LinkError):
        await device.reopen()
    return None


def _gone(device: Device, return_s: float, slots: tuple[ImageSlot, ...] | None) -> LinkError:
    if slots is not None:
        return LinkError(f"{device.name} did not restart within {return_s:.0f} s. Restart it by hand, then flash again")
    return LinkError(
        f"{device.name} did not come back within {return_s:.0f} s. The new image was only on trial unless --permanent "
        "was given: the next restart brings the old one back. Switch its power off and on, then run `fieldlog image list`"
    )
