"""Bring a device from the firmware that it runs to the one it should run: check, upload, test, restart, probe, confirm.

Rule: nothing is sent before everything that can be checked was checked, and what the boot loader can take back is not
confirmed before the new firmware has proved itself. What to do is read off the device anew at every step, so that the
command can always be repeated, whoever was interrupted doing what.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage
from fieldlog.flash_checks import check_version, former_version, make_plan
from fieldlog.flash_fit import upload_number
from fieldlog.flash_plan import (
    RETURN_S,
    Action,
    FlashOptions,
    FlashPlan,
    Part,
    action_for,
    idle_slot,
    in_the_way,
    of_image,
    running,
    standing_in_the_way,
)
from fieldlog.flash_probe import Snapshot, look
from fieldlog.flash_restart import restart
from fieldlog.flash_slots import read
from fieldlog.flash_trial import (
    CutShort,
    Installed,
    Left,
    TakenBack,
    Tell,
    Trial,
    known_by,
    never_marked,
    not_started,
    reply_too_long,
    stop_session,
    unknown_command,
)
from fieldlog.image_upload import send_image
from fieldlog.pinned_keys import Pin
from fieldlog.steady_link import OtherDevice, SteadyLink
from fieldlog.transfer import OnProgress, ignore_progress
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.errors import LinkError, ProtocolError, RefusedError, VerificationError

__all__ = [
    "RETURN_S",
    "FlashOptions",
    "Flashed",
    "Installed",
    "Outcome",
    "TakenBack",
    "Tell",
    "carry_out",
    "flash",
    "send_image",
]

_MOST_RESTARTS = 3
_MORE_TRIALS = 2
"""On links where what is sent may arrive twice, and late: a restart carries no number that tells the device."""


class Outcome(Enum):
    """How an update ended."""

    ALREADY = "already running"
    CONFIRMED = "confirmed"
    TESTING = "running on trial"


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
    if not plan.nothing_to_do:
        outcome = await work.run()
    for part in plan.parts if plan.nothing_to_do else ():
        if waiting := standing_in_the_way(plan.survey.slots, part.number, part.hash):
            tell(f"note: {waiting}: the next restart does that")
    if outcome is not Outcome.TESTING and remember(plan, options):
        tell("the key is pinned for this device")
    return Flashed(outcome, tuple(map(work.installed, plan.parts)), work.sent)


def remember(plan: FlashPlan, options: FlashOptions) -> bool:
    """Pin the key if that was asked for, and count on with what is pinned; answers whether it is a new key."""
    if options.pins is None:
        return False
    identity = plan.survey.identity
    known = options.pins.find(identity)
    key = options.key if options.pin else None
    if key is None and known is not None:
        key = known.key
    if key is None:
        return False
    counters = [known.security_counter if known is not None else None]
    counters += [part.packaged.image.security_counter for part in plan.parts]
    pin = Pin(key, max((counter for counter in counters if counter is not None), default=None))
    if pin != known:
        options.pins.keep(identity, pin)
    return known is None or known.key != key


@dataclass(slots=True)
class _Update:
    device: Device
    plan: FlashPlan
    options: FlashOptions
    tell: Tell
    progress: OnProgress
    sent: int = 0
    left: Left = field(default_factory=Left)
    brought: set[bytes] = field(default_factory=set[bytes])
    """Hashes of the images that were sent in this run: what else the device had, it had from elsewhere."""
    unmarked: set[bytes] = field(default_factory=set[bytes])
    """Hashes of those that the device was asked to mark, and did not list as marked."""
    unseen: set[bytes] = field(default_factory=set[bytes])
    """Hashes of those that the device has taken, of images of which it does not show what runs."""

    @property
    def link(self) -> SteadyLink:
        return SteadyLink(self.device, self.options.reconnect_s, known_by(self.plan), self.tell)

    @property
    def trial(self) -> Trial:
        return Trial(self.link, self.plan, self.options, self.tell, self.left, frozenset(self.unseen))

    def installed(self, part: Part) -> Installed:
        return Installed(part.number, part.version, part.before, seen=part.hash not in self.unseen)

    async def run(self) -> Outcome:
        """Errors end with the state that they leave the device in."""
        with self.left.told(OtherDevice):
            return Outcome.CONFIRMED if await self._run() else Outcome.TESTING

    async def _run(self) -> bool:
        if not self.plan.restarts:
            self.tell("the image runs on trial already")
            return await self.trial.prove(None)
        if self.plan.survey.recording:
            await stop_session(self.link, self.tell)
            self.left.text = "The session was stopped, and nothing was installed. Repeat the command"
        before = await self.link.ask(lambda: look(self.device))
        for _ in range(0 if self.device.client.ordered else _MORE_TRIALS):
            try:
                return await self._try_out(before)
            except CutShort:
                self.tell("a restart that arrived twice may have ended the trial: beginning it anew")
        return await self._try_out(before)

    async def _try_out(self, before: Snapshot) -> bool:
        slots = await self._start_new()
        self._pass_over(slots)
        if missing := self._not_running(slots):
            slots = await self._once_more(missing, slots)
        return await self.trial.prove(before)

    def _pass_over(self, slots: tuple[ImageSlot, ...]) -> None:
        """What the boot loader took out of its slot, of an image of which nothing was shown before either, may well run."""
        for part in self._not_running(slots):
            shown = any(slot.hash == part.hash for slot in of_image(slots, part.number))
            if self.plan.survey.unseen(part.number) and not shown and running(slots, part.number) is None:
                self.unseen.add(part.hash)
                self.tell(
                    f"note: the device does not show what runs as image {part.number}, so {part.version} was not seen"
                )

    # until the new firmware runs

    async def _start_new(self) -> tuple[ImageSlot, ...]:
        """Upload and mark what is missing, and restart; answers the slots as they are then."""
        slots = await self._clear_the_way()
        for part in self.plan.parts:
            await self._bring(part, slots)
        for part in self.plan.parts:
            await self._mark(part)
        slots = await self._slots()
        self.unmarked = {part.hash for part in self._not_running(slots) if _lies_unmarked(part, slots)}
        if not self._not_running(slots):
            return slots  # power was lost meanwhile, and came back
        self.tell("restarting")
        return await self._restart(slots)

    async def _slots(self) -> tuple[ImageSlot, ...]:
        return await self.link.ask(lambda: read(self.device, sure=self.plan.survey.logger is not None))

    async def _restart(self, slots: tuple[ImageSlot, ...]) -> tuple[ImageSlot, ...]:
        return await restart(self.device, slots, self.options.return_s, known=self.link.known)

    async def _clear_the_way(self) -> tuple[ImageSlot, ...]:
        wanted = [(part.number, part.hash) for part in self.plan.parts]
        former: tuple[ImageSlot, ...] = ()
        for restarts in range(_MOST_RESTARTS + 1):
            slots = await self._slots()
            reason = in_the_way(slots, wanted, permanent=self.options.permanent)
            if reason is None:
                self._check_again(slots)
                return slots
            if restarts == _MOST_RESTARTS:
                break
            if slots == former:
                await self._throw_out(slots, reason)
            else:
                self.tell(f"{reason}: restarting")
                former = slots
                await self._restart(slots)
        raise VerificationError(
            f"{self.device.name} was restarted {_MOST_RESTARTS} times and its slot for updates is still not free. Nothing "
            "was sent; see `fieldlog image list`, and confirm or erase what is there"
        )

    def _check_again(self, slots: tuple[ImageSlot, ...]) -> None:
        """What was let pass may be newer than what ran before."""
        for part in self.plan.parts:
            if self._left(part, slots) not in (Action.NOTHING, Action.CONFIRM):
                check_version(part, former_version(slots, part.number), self.plan.survey, self.options)

    async def _throw_out(self, slots: tuple[ImageSlot, ...], reason: str) -> None:
        """What a restart does not start, the boot loader holds back: it lacks another image, say."""
        waiting = [slot for slot in slots if slot.pending and not slot.active]
        self.tell(f"{reason}, and a restart does not start it: erasing it")
        try:
            for slot in waiting:
                await self._erase(slot.image or 0, slot.slot)
        except RefusedError as error:
            raise VerificationError(
                f"{reason}, its boot loader does not start it (it may need another image first), and the device does not "
                f"let it be erased ({error}). Nothing was sent; give a package that holds all images that belong together"
            ) from error

    async def _erase(self, number: int, slot: int) -> None:
        """Slots are numbered on through all images, two to each."""
        await self.link.ask(lambda: self.device.erase_image(2 * number + slot))

    async def _bring(self, part: Part, slots: tuple[ImageSlot, ...]) -> None:
        action = self._left(part, slots)
        if action is Action.MARK:
            self.tell(f"{part.version} is on the device already")
        if action in (Action.MARK, Action.UPLOAD):
            self.left.text = "Nothing was installed: the device runs what it ran. Repeat the command"
        if action is not Action.UPLOAD:
            return
        if self.options.erase:
            await self._erase(part.number, self._target(part, slots))
            self.tell("the slot is erased")
        wanted = part.packaged.slot if self.options.slot is None else self.options.slot
        self.tell(f"uploading {part.version} ({part.size} bytes)")
        self.sent += await send_image(
            self.device,
            part.packaged.image.data,
            upload_number(part.number, wanted, self.plan.survey.sizes),
            self.progress,
            reconnect_s=self.options.reconnect_s,
            known=self.link.known,
            tell=self.tell,
        )
        self.brought.add(part.hash)

    def _target(self, part: Part, slots: tuple[ImageSlot, ...]) -> int:
        """The slot that an upload goes to: the one that does not run, where there is no choice."""
        if self.options.slot is not None:
            return self.options.slot
        now = running(slots, part.number)
        return 1 if now is None or now.slot != 1 else 0

    def _left(self, part: Part, slots: tuple[ImageSlot, ...]) -> Action:
        return action_for(slots, part.number, part.hash, permanent=self.options.permanent)

    async def _mark(self, part: Part) -> None:
        """Set the image for one test, or for good. Devices that just run the newest have no such command."""
        if self._left(part, await self._slots()) not in (Action.MARK, Action.UPLOAD):
            self.left.text = self._waiting
            return
        await self.link.ask(self.link.check)
        before, self.left.text = self.left.text, self._perhaps_waiting
        try:
            await self.link.ask(lambda: self.device.set_image(part.hash, confirm=self.options.permanent))
        except RefusedError as error:
            if not unknown_command(error) and not reply_too_long(error):
                self.left.text = before
                raise
            marked = reply_too_long(error)
        else:
            marked = True
        if marked:
            which = f" image {part.number}" if len(self.plan.parts) > 1 else ""
            self.tell(f"marked{which} for {'a test' if self._tests else 'good'}")
        self.left.text = self._waiting

    @property
    def _tests(self) -> bool:
        return self.plan.survey.reverts and not self.options.permanent

    @property
    def _waiting(self) -> str:
        """What state the device is in from the first mark until it is back."""
        version = self.plan.parts[0].version
        if self._tests:
            return (
                f"{version} is on the device and marked for one test: a restart begins it, and unless it is confirmed then "
                "the next restart brings the old one back. Repeat the command"
            )
        return (
            f"{version} is on the device and marked for good: a restart installs it, and nothing brings the old one back. "
            "Repeat the command; if the device does not come up any more, `fieldlog flash --recovery`"
        )

    @property
    def _perhaps_waiting(self) -> str:
        """While nobody knows whether the mark was set."""
        return (
            f"The device runs what it ran. {self.plan.parts[0].version} is on it, and may be marked to be started by the "
            "next restart. Repeat the command"
        )

    async def _once_more(self, missing: list[Part], slots: tuple[ImageSlot, ...]) -> tuple[ImageSlot, ...]:
        """What lay on the device and was thrown away by its boot loader is sent anew, once: it may have been the same
        image, signed with another key."""
        gone = [part for part in missing if idle_slot(slots, part.number, part.hash) is None]
        if not gone or any(part.hash in self.brought for part in gone):
            raise await self._not_started(missing, slots)
        self.tell("the boot loader did not accept what was on the device")
        slots = await self._start_new()
        if missing := self._not_running(slots):
            raise await self._not_started(missing, slots)
        return slots

    def _not_running(self, slots: tuple[ImageSlot, ...]) -> list[Part]:
        found = [(part, running(slots, part.number)) for part in self.plan.parts if part.hash not in self.unseen]
        return [part for part, now in found if now is None or now.hash != part.hash]

    async def _not_started(self, missing: list[Part], slots: tuple[ImageSlot, ...]) -> VerificationError:
        """Why it does not run. Where only some images run, the others go back too."""
        if len(missing) < len(self.plan.parts) and self.plan.survey.reverts:
            with suppress(LinkError):
                slots = await self._restart(slots)
        if missing[0].hash in self.unmarked and _lies_unmarked(missing[0], slots):
            return never_marked(self.plan.parts, missing[0], slots)
        return not_started(self.plan.parts, missing[0], slots, await self._last_restart())

    async def _last_restart(self) -> str | None:
        """What the device says it was last restarted by; None where it does not tell."""
        try:
            return (await self.link.ask(self.device.logger_info)).reset_reason or None
        except (RefusedError, ProtocolError, LinkError):
            return None


def _lies_unmarked(part: Part, slots: tuple[ImageSlot, ...]) -> bool:
    idle = idle_slot(slots, part.number, part.hash)
    return idle is not None and not idle.pending and not idle.confirmed
