"""What an update is to do: what is wanted, what the device says of itself, and the steps that follow from both.

Rule: nothing here changes the device. What speaks against an update is found by `flash_checks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from fieldlog.device import Device
from fieldlog.firmware_package import PackagedImage
from fieldlog.flash_slots import as_they_run, idle, merely_claimed
from fieldlog.logger_info import LoggerInfo, NoLogger
from fieldlog.pinned_keys import PinnedKeys
from fieldlog_protocol.commands.image import ImageSlot, ImageSlots
from fieldlog_protocol.commands.logger import State
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, RequestTimeout, UsageError
from fieldlog_protocol.image import ImageVersion, PublicKey

T = TypeVar("T")

RETURN_S = 120.0
"""How long a device may take to come back: a swap of two large slots is slow."""
RECONNECT_S = 30.0
LEAST_BATTERY = 20
_TRIES = 3
_AGAIN_S = 1.0
_NO_WAY_BACK = {
    0: "single application",
    2: "overwrite only",
    4: "direct XIP without revert",
    6: "RAM loading",
    7: "firmware loader",
    8: "single application in RAM",
}
"""Modes of MCUboot that keep no former firmware (docs/smp.md#commands)."""


@dataclass(frozen=True, slots=True)
class FlashOptions:
    """What the user wants. `number` is the image number of a file that does not say; `permanent` goes without a trial.

    `least_battery` is in percent. `key` must have signed the images; `pins` may hold another that must. With `pin`, the
    key is remembered for the device once the update is done.
    """

    number: int | None = None
    slot: int | None = None
    erase: bool = False
    confirm: bool = True
    permanent: bool = False
    allow_downgrade: bool = False
    allow_changed_settings: bool = False
    stop_logging: bool = False
    least_battery: int = LEAST_BATTERY
    return_s: float = RETURN_S
    reconnect_s: float = RECONNECT_S
    key: PublicKey | None = None
    pins: PinnedKeys | None = None
    pin: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What a device says of itself before an update. `mode` is MCUboot's, None where the device does not tell.

    `unread`: why a logger's description of itself could not be had, and `listed`: whether its images could be. An update
    may be what repairs either.
    """

    name: str
    slots: tuple[ImageSlot, ...]
    sizes: tuple[ImageSlots, ...] = ()
    mode: int | None = None
    no_downgrade: bool = False
    logger: LoggerInfo | None = None
    unread: str | None = None
    listed: bool = True

    @property
    def identity(self) -> str:
        """What its key is pinned to: a stock device has no name but that of its link."""
        return f"link:{self.name}" if self.logger is None else f"uid:{self.logger.uid.hex()}"

    @property
    def recording(self) -> bool:
        """Whether a session is being recorded or is waited for."""
        return self.logger is not None and self.logger.state in (State.LOGGING, State.ARMED)

    @property
    def waits_in_boot_loader(self) -> bool:
        """Whether it is its boot loader that answers, MCUboot's serial recovery, and no firmware."""
        told = self.logger is not None or self.unread is not None or self.mode is not None or not self.listed
        return not told and not any(slot.active for slot in self.slots)

    def unseen(self, number: int) -> bool:
        """Whether the device lists what it runs, but nothing of this image: what runs of it may never show."""
        return bool(number) and running(self.slots, 0) is not None and running(self.slots, number) is None

    @property
    def reverts(self) -> bool:
        """Whether the boot loader takes back what is not confirmed, as far as it is known."""
        return self.mode not in _NO_WAY_BACK


async def survey(device: Device, *, recovery: bool = False) -> Survey:
    """Ask the device for all that it tells; what it does not know of is left open. `recovery`: its list of images too."""
    slots = await _slots(device, recovery=recovery)
    if device.client.terse and any(slot.active for slot in slots or ()):
        await device.reopen()  # no old boot loader says that: much was lost when the link was opened
    sizes = await _told(device.slots())
    boot = await _told(device.bootloader("mode"))
    logger, unread = await _logger(device)
    mode, strict = (None, False) if boot is None else (boot.mode, bool(boot.no_downgrade))
    if slots and logger is None and unread is None and mode is None and await merely_claimed(device, slots):
        slots = idle(slots)
    return Survey(device.name, slots or (), sizes or (), mode, strict, logger, unread, slots is not None)


async def _slots(device: Device, *, recovery: bool) -> tuple[ImageSlot, ...] | None:
    """None where the list does not fit the device's buffers: its boot loader will give one."""
    try:
        return as_they_run(await device.images())
    except RefusedError as error:
        if recovery and (error.group, error.code) == (None, Rc.MESSAGE_SIZE):
            return None
        raise


async def _logger(device: Device) -> tuple[LoggerInfo | None, str | None]:
    """The logger's description of itself, and why there is none although there is a logger."""
    trouble = None
    for _ in range(_TRIES):
        if trouble is not None:
            await asyncio.sleep(_AGAIN_S)
        try:
            return await device.logger_info(), None
        except NoLogger:
            return None, None
        except (RefusedError, ProtocolError) as error:
            trouble = str(error)
    return None, trouble


async def _told(request: Awaitable[T]) -> T | None:
    """What may be missing, and so may be answered in any way, or not at all: whether the device is still there shows
    in what is asked next."""
    try:
        return await request
    except (RefusedError, ProtocolError, RequestTimeout):
        return None


class Action(Enum):
    """What is left to do for an image."""

    NOTHING = "runs and is confirmed"
    CONFIRM = "runs on trial"
    RESTART = "waits for a restart"
    MARK = "is on the device"
    UPLOAD = "is to be uploaded"


@dataclass(frozen=True, slots=True)
class Part:
    """An image of the update. `before` is the version in its place that is confirmed, None where none is known."""

    packaged: PackagedImage
    number: int
    action: Action
    before: str | None
    signature: str

    @property
    def hash(self) -> bytes:
        """What the device knows the image by; that there is one was checked."""
        return self.packaged.image.hash or b""

    @property
    def version(self) -> str:
        return self.packaged.image.version.dotted

    @property
    def size(self) -> int:
        """Of what is sent: padding and boot trailer of a file are for programmers, and stay here."""
        return self.packaged.image.size


@dataclass(frozen=True, slots=True)
class FlashPlan:
    """An update that nothing speaks against. `notes` are sentences that its user should know before.

    `recovery`: the boot loader writes the images over what runs.
    """

    survey: Survey
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    blocked_by: str | None
    recovery: bool = False

    @property
    def nothing_to_do(self) -> bool:
        return all(part.action is Action.NOTHING for part in self.parts)

    @property
    def restarts(self) -> bool:
        return any(part.action not in (Action.NOTHING, Action.CONFIRM) for part in self.parts)

    def steps(self, options: FlashOptions) -> list[str]:
        """What carrying it out would do, in words."""
        if self.nothing_to_do:
            return []
        if self.recovery:
            return self._steps_in_recovery()
        return [*self._until_it_runs(options), "see whether the new firmware works", *self._confirming(options)]

    def trial(self, options: FlashOptions) -> bool:
        """Whether the new firmware is tried out first, and taken back unless it is confirmed."""
        for_good = [
            slot
            for part in self.parts
            if (slot := idle_slot(self.survey.slots, part.number, part.hash)) is not None and slot.permanent
        ]
        return self.survey.reverts and not options.permanent and not self.recovery and not for_good

    def _until_it_runs(self, options: FlashOptions) -> list[str]:
        if not self.restarts:
            return []
        found = ["stop the session"] if self.survey.recording else []
        found += self._clearing()
        found += [f"erase the slot of image {part.number}" for part in self.uploads if options.erase]
        found += [f"upload image {part.number}: {part.version} ({part.size} bytes)" for part in self.uploads]
        if any(part.action is not Action.RESTART for part in self.parts):
            found.append("mark for a test" if self.trial(options) else "mark for good")
        return [*found, "restart and wait for the device"]

    def _clearing(self) -> list[str]:
        """Another image that waits runs on trial after the restart, and goes back by a second one."""
        if not self.blocked_by:
            return []
        wanted = [(part.number, part.hash) for part in self.parts]
        waits = any(waiting_image(self.survey.slots, number, digest) for number, digest in wanted)
        again = waits and self.survey.reverts and not waiting_for_good(self.survey.slots, wanted)
        return [f"restart, because {self.blocked_by}", *(["restart once more, to take it back"] if again else [])]

    def _confirming(self, options: FlashOptions) -> list[str]:
        tried = not self.restarts or self.trial(options)
        return ["confirm"] if options.confirm and tried else []

    def _steps_in_recovery(self) -> list[str]:
        found = ["stop the session"] if self.survey.recording else []
        found += [] if self.survey.waits_in_boot_loader else ["restart into the boot loader's recovery"]
        found += [
            f"write image {part.number} over what runs: {part.version} ({part.size} bytes)" for part in self.uploads
        ]
        return [*found, "restart and wait for the device", "see whether the new firmware works"]

    @property
    def uploads(self) -> list[Part]:
        return [part for part in self.parts if part.action is Action.UPLOAD]


def running(slots: tuple[ImageSlot, ...], number: int) -> ImageSlot | None:
    """The slot that runs. None where nothing is marked as active, as in serial recovery."""
    return next((slot for slot in of_image(slots, number) if slot.active), None)


def of_image(slots: tuple[ImageSlot, ...], number: int) -> list[ImageSlot]:
    return [slot for slot in slots if (slot.image or 0) == number]


def idle_slot(slots: tuple[ImageSlot, ...], number: int, hash: bytes) -> ImageSlot | None:
    """The slot that holds the image and does not run."""
    return next((slot for slot in of_image(slots, number) if slot.hash == hash and not slot.active), None)


def action_for(slots: tuple[ImageSlot, ...], number: int, hash: bytes, *, permanent: bool) -> Action:
    """What is left to do until the image runs and is confirmed, whoever has done what until now."""
    now = running(slots, number)
    if now is not None and now.hash == hash:
        return Action.NOTHING if now.confirmed else Action.CONFIRM
    other = idle_slot(slots, number, hash)
    if other is None:
        return Action.UPLOAD
    if on_trial(slots, number) is not None:
        return Action.RESTART  # it is the former firmware, which the boot loader brings back
    if other.pending and (other.permanent or not permanent):
        return Action.RESTART
    return Action.MARK


def in_the_way(slots: tuple[ImageSlot, ...], wanted: Sequence[tuple[int, bytes]], *, permanent: bool) -> str | None:
    """Why the device must be restarted before it is restarted into what is `wanted`: image numbers and their hashes."""
    actions = {number: action_for(slots, number, digest, permanent=permanent) for number, digest in wanted}
    if all(action in (Action.NOTHING, Action.CONFIRM) for action in actions.values()):
        return None
    for number, digest in wanted:
        if reason := standing_in_the_way(slots, number, digest):
            return reason
        now = running(slots, number)
        if actions[number] is Action.CONFIRM and now is not None and on_trial(slots, number) is not None:
            return f"{now.version} of image {number} runs on trial and the others need a restart, which takes it back"
    return None


def standing_in_the_way(slots: tuple[ImageSlot, ...], number: int, hash: bytes) -> str | None:
    """Why the slot for uploads is not free: another image waits in it, or is what the device would go back to."""
    if waiting := waiting_image(slots, number, hash):
        return f"{waiting.version} waits in slot {waiting.slot} to be started"
    trial = on_trial(slots, number)
    now = running(slots, number)
    if trial is None or now is None or hash in (now.hash, trial.hash):
        return None
    return f"{now.version} runs on trial and {trial.version} would come back"


def waiting_image(slots: tuple[ImageSlot, ...], number: int, hash: bytes) -> ImageSlot | None:
    """Another image that the next restart starts."""
    others = [slot for slot in of_image(slots, number) if not slot.active and slot.hash != hash]
    return next((slot for slot in others if slot.pending), None)


def waiting_for_good(slots: tuple[ImageSlot, ...], wanted: Sequence[tuple[int, bytes]]) -> list[tuple[int, ImageSlot]]:
    """Other images that the next restart installs, with their numbers. MCUboot's marks cannot be taken away again: while
    one is there, the slot can neither be erased nor written to."""
    found = [(number, waiting_image(slots, number, digest)) for number, digest in wanted]
    return [(number, slot) for number, slot in found if slot is not None and slot.permanent]


def known_version(text: str | None) -> ImageVersion | None:
    """None where the device tells none, or something that is none."""
    try:
        return None if text is None else ImageVersion.of(text)
    except UsageError:
        return None


def on_trial(slots: tuple[ImageSlot, ...], number: int) -> ImageSlot | None:
    """While another image runs on trial: the one that would come back."""
    now = running(slots, number)
    if now is None or now.confirmed:
        return None
    return next((slot for slot in of_image(slots, number) if not slot.active and slot.confirmed), None)
