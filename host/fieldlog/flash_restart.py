"""Restarting a device and waiting until it is back, wherever its port is by then.

Rule: no device is restarted, nor taken for one that has, unless it is the one that is meant.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from fieldlog.device import Device
from fieldlog.flash_slots import as_they_run, boot_loader_answers
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
_SETTLED_S = 10.0
"""So long a device that said yes and was away must list the same slots until it counts as restarted."""


class NotRestarted(LinkError):
    """The device answers all the time, and shows no sign of a restart."""


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
    """Restart and wait until the device is back; answers its slots then, as `flash_slots.as_they_run` reads them. Raises
    LinkError if it is not after `return_s`, OtherDevice if another one is in its place then, RefusedError if it was busy
    all the time.

    A logger tells by its boot id that it has restarted. Of others it is known once the slots are not those of `before`, or
    firmware answers in place of a boot loader; else it is taken for restarted once it said yes and was away. `known`: which
    device it must be, before it is restarted and after.
    """
    before = as_they_run(before)
    wait = _Wait(device, before, boot_mode, known)
    if boot_mode is None:
        wait.boot_id = await wait.present_boot_id()
    if wait.boot_id is None and any(slot.active for slot in before):
        wait.in_recovery = await wait.boot_loader_answers()
    loop = asyncio.get_running_loop()
    patience_s = _ASK_AGAIN_S
    again_at, deadline = loop.time() + patience_s, loop.time() + return_s
    await wait.ask()
    while True:
        await asyncio.sleep(_PAUSE_S)
        slots = await wait.slots_or_none()
        if slots is not None and await wait.is_back(slots, loop.time()):
            return slots
        if slots is not None and loop.time() > again_at and not wait.obeyed:
            patience_s *= 1 if wait.boot_id is not None else 2  # it may restart each time, and not be able to show it
            again_at = loop.time() + patience_s
            await wait.ask_again()
        if loop.time() > deadline:
            raise wait.gone(return_s, slots)


@dataclass(slots=True)
class _Wait:
    """`boot_id` is that of before, None where none is known. `trouble`: what the device last answered in place of slots.

    `other`: that another device was in its place when it was last looked. Ports change places while they come back.
    `in_recovery`: whether a boot loader is to be left that lists what it holds as if that ran. `accepted`: whether it said
    yes to the restart, `away` whether it was silent since, `refused` what it answered to the last one. `there_at`: since
    when it lists the same slots again.
    """

    device: Device
    before: tuple[ImageSlot, ...]
    boot_mode: int | None
    known: Known | None
    boot_id: int | None = None
    trouble: FieldlogError | None = None
    other: OtherDevice | None = None
    in_recovery: bool = False
    accepted: bool = False
    away: bool = False
    refused: RefusedError | None = None
    there_at: float | None = None

    @property
    def obeyed(self) -> bool:
        """Whether it has most likely restarted, of devices that cannot tell."""
        return self.boot_id is None and self.accepted and self.away

    async def present_boot_id(self) -> int | None:
        try:
            return (await self.device.logger_info()).boot_id
        except (LinkError, RefusedError, ProtocolError):
            return None

    async def boot_loader_answers(self) -> bool:
        """As before where nobody answers."""
        try:
            return await boot_loader_answers(self.device)
        except LinkError:
            return self.in_recovery

    async def ask(self, *, force: bool = False) -> None:
        """The reply may be lost, or the link: whether it restarts will show. One that is busy is given time first."""
        self.refused = None
        try:
            await self._check()
            await self.device.reset(force=force, boot_mode=self.boot_mode)
            self.accepted = True
        except LinkError:
            pass
        except RefusedError as error:
            if (error.group, error.code) != (None, Rc.BUSY):
                raise
            self.refused = error

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
            return await self._slots()
        except (RefusedError, ProtocolError) as error:
            self.trouble = error
            return None
        except RequestTimeout:
            self.away, self.there_at = True, None
            if self.boot_mode is None:
                return None  # its firmware knows what was agreed upon
        except LinkError:
            self.away, self.there_at = True, None
        await self._reopen()
        if self.boot_mode is None:
            return None
        with suppress(LinkError, RefusedError, ProtocolError):  # at once: to find an old boot loader takes long
            return await self._slots()
        return None

    async def _slots(self) -> tuple[ImageSlot, ...]:
        return as_they_run((await self.device.client.request(commands.STATE_READ, Empty(), tries=1)).images)

    async def is_back(self, slots: tuple[ImageSlot, ...], now: float) -> bool:
        """Whether it has restarted, and is still the same device."""
        if self.there_at is None or slots != self.before:
            self.there_at = now
        if slots == self.before and not await self._booted() and not (self.obeyed and now > self.there_at + _SETTLED_S):
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
            entering = self.boot_mode is not None and any(slot.active for slot in self.before)
            return (entering or self.in_recovery) and await self.boot_loader_answers() != self.in_recovery
        now = await self.present_boot_id()
        return now is not None and now != self.boot_id

    def gone(self, return_s: float, slots: tuple[ImageSlot, ...] | None) -> LinkError | OtherDevice | RefusedError:
        """What to say when the time is over."""
        if self.other is not None:
            return self.other
        name, time = self.device.name, f"within {return_s:.0f} s"
        if slots is not None and self.refused is not None:
            text = (
                f"{name} did not let itself be restarted {time}: {self.refused}. Restart it by hand, then flash again"
            )
            return RefusedError(self.refused.code, self.refused.group, text, self.refused.details)
        if slots is not None:
            return NotRestarted(
                f"{name} did not restart {time}, or its boot loader left everything as it was. Restart it by hand, then "
                "flash again"
            )
        if self.trouble is not None:
            return LinkError(f"{name} answers again, but did not list its images {time}: {self.trouble}")
        return LinkError(
            f"{name} did not come back {time}. Switch its power off and on, then run `fieldlog image list`"
        )
