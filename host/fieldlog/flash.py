"""Bring a device from the firmware that it runs to the one it should run: check, upload, test, restart, probe, confirm.

Rule: nothing is sent before everything that can be checked was checked, and what the boot loader can take back is not
confirmed before the new firmware has proved itself. What to do is read off the device anew at every step, so that the
command can always be repeated, whoever was interrupted doing what.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage
from fieldlog.flash_checks import make_plan
from fieldlog.flash_plan import (
    RETURN_S,
    Action,
    FlashOptions,
    FlashPlan,
    Part,
    action_for,
    idle_slot,
    running,
    standing_in_the_way,
)
from fieldlog.flash_probe import Snapshot, look, problems
from fieldlog.flash_restart import restart
from fieldlog.image_upload import send_image
from fieldlog.pinned_keys import Pin
from fieldlog.steady_link import SteadyLink
from fieldlog.transfer import OnProgress, ignore_progress
from fieldlog_protocol.commands import Group, logger
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import LinkError, RefusedError, VerificationError

__all__ = ["RETURN_S", "FlashOptions", "Flashed", "Installed", "Outcome", "carry_out", "flash", "send_image"]

Tell = Callable[[str], None]
"""Called with each step, in words."""
_MOST_RESTARTS = 3


class Outcome(Enum):
    """How an update ended."""

    ALREADY = "already running"
    CONFIRMED = "confirmed"
    TESTING = "running on trial"


@dataclass(frozen=True, slots=True)
class Installed:
    """One image: what runs now, and what was there before (None if the device did not say)."""

    number: int
    version: str
    before: str | None


@dataclass(frozen=True, slots=True)
class Flashed:
    """What runs now, of each image of the update, in their order. `sent` counts bytes of images."""

    outcome: Outcome
    images: tuple[Installed, ...]
    sent: int = 0

    @property
    def version(self) -> str:
        return self.images[0].version

    @property
    def before(self) -> str | None:
        return self.images[0].before


async def flash(
    device: Device,
    package: FirmwarePackage,
    options: FlashOptions | None = None,
    *,
    tell: Tell = lambda _: None,
    progress: OnProgress = ignore_progress,
) -> Flashed:
    """Install the images of a firmware file. Raises VerificationError for what speaks against it, and when the new
    firmware was taken back; RefusedError when the device does not want it; LinkError when it is not to be reached."""
    options = options or FlashOptions()
    plan = await SteadyLink(device, options.reconnect_s).ask(lambda: make_plan(device, package, options))
    return await carry_out(device, plan, options, tell=tell, progress=progress)


async def carry_out(
    device: Device,
    plan: FlashPlan,
    options: FlashOptions,
    *,
    tell: Tell = lambda _: None,
    progress: OnProgress = ignore_progress,
) -> Flashed:
    """Do what `make_plan` found."""
    work = _Update(device, plan, options, tell, progress)
    outcome = Outcome.ALREADY
    if not plan.nothing_to_do and (plan.restarts or options.confirm):
        outcome = await work.run()
    if outcome is not Outcome.TESTING:
        _remember(plan, options)
    return Flashed(outcome, tuple(Installed(p.number, p.version, p.before) for p in plan.parts), work.sent)


def _remember(plan: FlashPlan, options: FlashOptions) -> None:
    """Pin the key if that was asked for, and count on with what is pinned."""
    if options.pins is None:
        return
    identity = plan.survey.identity
    known = options.pins.find(identity)
    key = options.key if options.pin else None
    if key is None and known is not None:
        key = known.key
    if key is None:
        return
    counters = [known.security_counter if known is not None else None]
    counters += [part.packaged.image.security_counter for part in plan.parts]
    pin = Pin(key, max((counter for counter in counters if counter is not None), default=None))
    if pin != known:
        options.pins.keep(identity, pin)


@dataclass(slots=True)
class _Update:
    device: Device
    plan: FlashPlan
    options: FlashOptions
    tell: Tell
    progress: OnProgress
    sent: int = 0

    @property
    def link(self) -> SteadyLink:
        return SteadyLink(self.device, self.options.reconnect_s)

    async def run(self) -> Outcome:
        if not self.plan.restarts:
            self.tell("the image runs on trial already")
            return await self._prove(None)
        if self.plan.survey.recording:
            await self._stop_logging()
        before = await self.link.ask(lambda: look(self.device))
        slots = await self._start_new()
        if missing := self._not_running(slots):
            slots = await self._once_more(missing, slots)
        return await self._prove(before)

    async def _stop_logging(self) -> None:
        message = logger.StopRequest(id=secrets.randbits(32))
        try:
            done = await self.link.ask(lambda: self.device.request(logger.STOP, message))
        except RefusedError as error:
            if (error.group, error.code) != (Group.LOGGER, logger.LoggerError.NOT_RECORDING):
                raise
        else:
            self.tell(f"session {done.session} stopped")

    # until the new firmware runs

    async def _start_new(self) -> tuple[ImageSlot, ...]:
        """Upload and mark what is missing, and restart; answers the slots as they are then."""
        slots = await self._clear_the_way()
        for part in self.plan.parts:
            await self._bring(part, slots)
        for part in self.plan.parts:
            await self._mark(part)
        slots = await self.link.ask(self.device.images)
        if not self._not_running(slots):
            return slots  # power was lost meanwhile, and came back
        self.tell("restarting")
        return await restart(self.device, slots, self.options.return_s)

    async def _clear_the_way(self) -> tuple[ImageSlot, ...]:
        for _ in range(_MOST_RESTARTS):
            slots = await self.link.ask(self.device.images)
            reason = next(filter(None, (standing_in_the_way(slots, p.number, p.hash) for p in self.plan.parts)), None)
            if reason is None:
                return slots
            self.tell(f"{reason}: restarting")
            await restart(self.device, slots, self.options.return_s)
        raise VerificationError(
            f"{self.device.name} was restarted {_MOST_RESTARTS} times and its slot for updates is still not free. Nothing "
            "was sent; see `fieldlog image list`, and confirm or erase what is there"
        )

    async def _bring(self, part: Part, slots: tuple[ImageSlot, ...]) -> None:
        action = self._left(part, slots)
        if action is Action.MARK:
            self.tell(f"{part.version} is on the device already")
        if action is not Action.UPLOAD:
            return
        if self.options.erase:
            await self.link.ask(lambda: self.device.erase_image(self.options.slot))
            self.tell("the slot is erased")
        self.tell(f"uploading {part.version} ({part.size} bytes)")
        number, data = self._upload_number(part), part.packaged.image.data
        self.sent += await send_image(self.device, data, number, self.progress, reconnect_s=self.options.reconnect_s)

    def _upload_number(self, part: Part) -> int:
        """What an upload must call the slot that is meant: most devices know one for each image."""
        wanted = part.packaged.slot if self.options.slot is None else self.options.slot
        for entry in self.plan.survey.sizes:
            for slot in entry.slots:
                if (entry.image, slot.slot) == (part.number, wanted) and slot.upload_image_id is not None:
                    return slot.upload_image_id
        return part.number

    def _left(self, part: Part, slots: tuple[ImageSlot, ...]) -> Action:
        return action_for(slots, part.number, part.hash, permanent=self.options.permanent)

    async def _mark(self, part: Part) -> None:
        """Set the image for one test, or for good. Devices that just run the newest have no such command."""
        if self._left(part, await self.link.ask(self.device.images)) not in (Action.MARK, Action.UPLOAD):
            return
        try:
            await self.link.ask(lambda: self.device.set_image(part.hash, confirm=self.options.permanent))
        except RefusedError as error:
            if not _unknown(error):
                raise
        else:
            self.tell("marked for good" if self.options.permanent else "marked for a test")

    async def _once_more(self, missing: list[Part], slots: tuple[ImageSlot, ...]) -> tuple[ImageSlot, ...]:
        """What lay on the device and was thrown away by its boot loader is sent anew, once."""
        gone = all(idle_slot(slots, part.number, part.hash) is None for part in missing)
        if not gone or self.sent:
            raise await self._taken_back(missing, slots)
        self.tell("the boot loader did not accept what was on the device")
        slots = await self._start_new()
        if missing := self._not_running(slots):
            raise await self._taken_back(missing, slots)
        return slots

    def _not_running(self, slots: tuple[ImageSlot, ...]) -> list[Part]:
        found = [(part, running(slots, part.number)) for part in self.plan.parts]
        return [part for part, now in found if now is None or now.hash != part.hash]

    async def _taken_back(self, missing: list[Part], slots: tuple[ImageSlot, ...]) -> VerificationError:
        """Why it does not run. Where only some images run, the others go back too."""
        if len(missing) < len(self.plan.parts) and self.plan.survey.reverts:
            with suppress(LinkError):
                slots = await restart(self.device, slots, self.options.return_s)
        now = running(slots, missing[0].number)
        if now is None:
            return VerificationError(
                f"{self.device.name} restarted and no firmware runs: it is in its boot loader. Send an image with "
                "`fieldlog flash --recovery`"
            )
        again = "still" if now.version == missing[0].before else "now"
        return VerificationError(
            f"the device restarted but {again} runs {now.version}: its boot loader did not accept the new image "
            "(signature, key or header) or took it back because it did not come up. The device works as before; "
            "check with `fieldlog image inspect` that the image is signed with the device's key"
        )

    # whether it may stay

    async def _prove(self, before: Snapshot | None) -> Outcome:
        found = await self.link.ask(lambda: problems(self.device, before))
        if found:
            raise await self._rejected(found)
        slots = await self.link.ask(self.device.images)
        if all(_kept(part, slots) for part in self.plan.parts):
            return Outcome.CONFIRMED
        if not self.options.confirm:
            self.tell("not confirmed: the next restart brings the former firmware back")
            return Outcome.TESTING
        for part in self.plan.parts:
            await self._confirm(part)
        self.tell("confirmed")
        return Outcome.CONFIRMED

    async def _rejected(self, found: list[str]) -> VerificationError:
        """Let the boot loader bring the former firmware back, and say what runs then."""
        why = f"the new firmware {self.plan.parts[0].version} runs but does not work: {'; '.join(found)}"
        slots = await self.link.ask(self.device.images)
        if not self.plan.survey.reverts or all(_kept(part, slots) for part in self.plan.parts):
            return VerificationError(
                f"{why}. It was installed for good, so it keeps running; flash the former firmware with --allow-downgrade"
            )
        self.tell("the new firmware does not work: restarting, so that the former one comes back")
        slots = await restart(self.device, slots, self.options.return_s)
        now = [running(slots, part.number) for part in self.plan.parts]
        versions = " and ".join("nothing" if slot is None else slot.version for slot in now)
        if any(slot is None or slot.hash == part.hash for slot, part in zip(now, self.plan.parts, strict=True)):
            return VerificationError(
                f"{why}. The boot loader did not take it back: {versions} runs. See `fieldlog image list`"
            )
        return VerificationError(
            f"{why}. The boot loader took it back: {versions} runs, confirmed, as before. Keep to that, and give whoever "
            "made the new firmware this message"
        )

    async def _confirm(self, part: Part) -> None:
        """By no hash where that will do: should the former firmware be back by now, its hash would start the new one."""
        named = part.hash if part.number else None
        try:
            slots = await self.link.ask(lambda: self.device.set_image(named, confirm=True))
        except RefusedError as error:
            if not _unknown(error):
                raise
            return  # boots the newest: nothing to confirm
        now = running(slots, part.number)
        if now is None or now.hash != part.hash:
            shown = "nothing" if now is None else now.version
            raise VerificationError(
                f"the device restarted by itself before {part.version} was confirmed, and {shown} runs again. It works as "
                "before; repeat the command, and see to its power"
            )


def _kept(part: Part, slots: tuple[ImageSlot, ...]) -> bool:
    now = running(slots, part.number)
    return now is not None and now.hash == part.hash and bool(now.confirmed)


def _unknown(error: RefusedError) -> bool:
    return error.group is None and error.code == Rc.NOT_SUPPORTED
