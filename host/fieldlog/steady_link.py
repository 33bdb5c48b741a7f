"""A link that is opened again when it breaks: to the device that was there before, and to no other.

Rule: here alone an update opens links anew, so that nothing is asked of a device that was put in the other's place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fieldlog.device import Device
from fieldlog.flash_slots import boot_loader_answers
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.errors import (
    LinkError,
    NotPaired,
    ProtocolError,
    RefusedError,
    RequestTimeout,
    VerificationError,
)

T = TypeVar("T")

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 4.0
_MOST_BREAKS = 6
"""So often may a link break while one thing is done."""
_MOST_SILENCES = 1
"""So often may a device that answers other things leave it unanswered, after all repetitions."""


class OtherDevice(VerificationError):
    """Another device answers where the one was that is being updated, or its boot loader instead of its firmware."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a device is known by: the uid of its logger, and the images that it may run.

    `new`: hashes of what is being installed; with one of these on trial it may say anything of itself, and is judged for
    that later. `runs`: whether it told which of its images runs.
    """

    uid: bytes | None
    hashes: frozenset[bytes]
    new: frozenset[bytes]
    runs: bool

    async def check(self, device: Device, *, running: bool = False) -> None:
        """Raise OtherDevice if what answers now is certainly not the same; LinkError if nobody does.

        `running`: nor may its boot loader serve in place of its firmware.
        """
        slots = await _slots(device)
        active = [slot for slot in slots if slot.active]
        if any(slot.hash in self.new and not slot.confirmed for slot in active):
            return
        uid = None if self.uid is None else await _uid(device)
        if uid is not None:
            if uid != self.uid:
                raise OtherDevice(self._stranger(device, f"device {uid.hex()}"))
            return
        if running and self.runs and slots and (not active or await boot_loader_answers(device)):
            raise OtherDevice(
                f"{device.name} no longer runs its firmware: its boot loader answers, and would write over what it ran. "
                "Restart the device, or send the image with `fieldlog flash --recovery`"
            )
        hashes = {slot.hash for slot in active if slot.hash}
        if hashes and not hashes & self.hashes:
            versions = " and ".join(slot.version for slot in active)
            raise OtherDevice(self._stranger(device, f"one that runs {versions}, which was never on this one"))

    def _stranger(self, device: Device, found: str) -> str:
        meant = "the one that is being updated" if self.uid is None else f"device {self.uid.hex()}"
        return (
            f"another device is at {device.name} now: {found} instead of {meant}. Nothing was done to it; plug the "
            "other one in again and repeat the command"
        )


async def recognisable(device: Device) -> Known:
    """What a device is known by that runs what it runs."""
    hashes = frozenset(slot.hash for slot in await _slots(device) if slot.active and slot.hash)
    return Known(await _uid(device), hashes, frozenset(), runs=False)


async def _uid(device: Device) -> bytes | None:
    """None too where the logger does not answer as it should: what it is like is not judged here."""
    try:
        return (await device.logger_info()).uid
    except (RefusedError, ProtocolError):
        return None


async def _slots(device: Device) -> tuple[ImageSlot, ...]:
    try:
        return await device.images()
    except (RefusedError, ProtocolError):
        return ()


def say_nothing(_: str) -> None:
    """For callers who do not watch."""


@dataclass(frozen=True, slots=True)
class SteadyLink:
    """A device whose link is opened again when it breaks, each time for at most `reconnect_s`.

    `known`: which device it must be then, None while nothing of it is known. `tell` is called with a loss, in words.
    """

    device: Device
    reconnect_s: float
    known: Known | None = None
    tell: Callable[[str], None] = say_nothing

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, which may safely be done twice."""
        silences = 0
        for _ in range(_MOST_BREAKS):
            try:
                return await work()
            except LinkError as error:
                await self.reconnect(error)
                silences += isinstance(error, RequestTimeout)
                if silences > _MOST_SILENCES:
                    raise
        return await work()

    async def reconnect(self, error: LinkError) -> None:
        """Open the link again, wherever the port is by then; raises `error` if that does not succeed in time.

        Ports may change places for a moment while devices come back: OtherDevice too is raised when the time is over. That
        it wants another pairing than there is does not pass by itself: NotPaired is raised at once.
        """
        self.tell(
            f"the link to {self.device.name} is lost or silent: opening it again, for up to {self.reconnect_s:.0f} s"
        )
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + self.reconnect_s, _FIRST_PAUSE_S
        while True:
            try:
                await self.device.reopen()
                await self.check()
            except NotPaired:
                raise
            except (LinkError, OtherDevice) as failed:
                if loop.time() + pause_s > deadline:
                    raise (failed if isinstance(failed, OtherDevice) else error) from None
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def check(self) -> None:
        """Raise OtherDevice unless it is still the device that it was, with its firmware running."""
        if self.known is not None:
            await self.known.check(self.device, running=True)
