"""Restarting a device and waiting until it is back, wherever its port is by then.

Rule: no device is restarted, nor taken for one that has, unless it is the one that is meant.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from fieldlog.device import Device
from fieldlog.steady_link import Known, OtherDevice
from fieldlog.transports.ports import lasting_url, serial_ports
from fieldlog.url import DeviceUrl, parse
from fieldlog_protocol.commands import Empty
from fieldlog_protocol.commands import image as commands
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError, RefusedError, RequestTimeout

_PAUSE_S = 0.5
_ASK_AGAIN_S = 10.0


def lasting(url: DeviceUrl) -> DeviceUrl:
    """The same device by its USB serial number where it has one: its port may come back under another name."""
    if url.scheme != "serial":
        return url
    there = serial_ports()
    port = next((port for port in there if port.path == url.target), None)
    text = None if port is None else lasting_url(port, there)
    if text is None:
        return url
    found = parse(text)
    return replace(url, scheme="usb", usb=found.usb, interface=found.interface)


async def restart(
    device: Device,
    before: tuple[ImageSlot, ...],
    return_s: float,
    boot_mode: int | None = None,
    *,
    known: Known | None = None,
) -> tuple[ImageSlot, ...]:
    """Restart and wait until the device is back; answers its slots then. Raises LinkError if it is not after `return_s`,
    OtherDevice if another one is in its place then.

    A logger tells by its boot id that it has restarted. Of others it is known once the slots are not those of `before`.
    `known`: which device it must be, before it is restarted and after.
    """
    wait = _Wait(device, before, boot_mode, known)
    if boot_mode is None:
        wait.boot_id = await wait.present_boot_id()
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    deadline = asked_at + return_s
    await wait.ask()
    while True:
        await asyncio.sleep(_PAUSE_S)
        slots = await wait.slots_or_none()
        if slots is not None and await wait.is_back(slots):
            return slots
        if slots is not None and loop.time() > asked_at + _ASK_AGAIN_S:
            asked_at = loop.time()
            await wait.ask_again()
        if loop.time() > deadline:
            raise wait.gone(return_s, slots)


@dataclass(slots=True)
class _Wait:
    """`boot_id` is that of before, None where none is known. `trouble`: what the device last answered in place of slots.

    `other`: that another device was in its place when it was last looked. Ports change places while they come back.
    """

    device: Device
    before: tuple[ImageSlot, ...]
    boot_mode: int | None
    known: Known | None
    boot_id: int | None = None
    trouble: FieldlogError | None = None
    other: OtherDevice | None = None

    async def present_boot_id(self) -> int | None:
        try:
            return (await self.device.logger_info()).boot_id
        except (LinkError, RefusedError, ProtocolError):
            return None

    async def ask(self, *, force: bool = False) -> None:
        """The reply may be lost, or the link: whether it restarts will show. One that is busy is given time first."""
        try:
            await self._check()
            await self.device.reset(force=force, boot_mode=self.boot_mode)
        except LinkError:
            pass
        except RefusedError as error:
            if (error.group, error.code) != (None, Rc.BUSY):
                raise

    async def ask_again(self) -> None:
        """Harder, of a device that is there and was not heard to restart."""
        try:
            await self.ask(force=True)
        except OtherDevice as error:
            await self._pass_by(error)

    async def _pass_by(self, error: OtherDevice) -> None:
        self.other = error
        await self._reopen()

    async def _reopen(self) -> None:
        with suppress(LinkError):
            await self.device.reopen()

    async def _check(self) -> None:
        if self.known is not None:
            await self.known.check(self.device)

    async def slots_or_none(self) -> tuple[ImageSlot, ...] | None:
        """None while the device is away, or not yet itself. A lost link is opened again."""
        self.trouble = self.other = None
        try:
            return (await self.device.client.request(commands.STATE_READ, Empty(), tries=1)).images
        except (RefusedError, ProtocolError) as error:
            self.trouble = error
            return None
        except RequestTimeout:
            return None
        except LinkError:
            pass
        await self._reopen()
        return None

    async def is_back(self, slots: tuple[ImageSlot, ...]) -> bool:
        """Whether it has restarted, and is still the same device."""
        if slots == self.before and not await self._booted():
            return False
        try:
            await self._check()
        except LinkError:
            return False
        except OtherDevice as error:
            await self._pass_by(error)
            return False
        return True

    async def _booted(self) -> bool:
        """A boot loader that refuses what it was asked for leaves the slots as they were."""
        if self.boot_id is None:
            return False
        now = await self.present_boot_id()
        return now is not None and now != self.boot_id

    def gone(self, return_s: float, slots: tuple[ImageSlot, ...] | None) -> LinkError | OtherDevice:
        """What to say when the time is over."""
        if self.other is not None:
            return self.other
        name, time = self.device.name, f"within {return_s:.0f} s"
        if slots is not None:
            return LinkError(
                f"{name} did not restart {time}, or its boot loader left everything as it was. Restart it by hand, then "
                "flash again"
            )
        if self.trouble is not None:
            return LinkError(f"{name} answers again, but did not list its images {time}: {self.trouble}")
        return LinkError(
            f"{name} did not come back {time}. Switch its power off and on, then run `fieldlog image list`"
        )
