"""Firmware for a device whose boot loader serves by itself: MCUboot's serial recovery (docs/smp.md#images).

Rule: it knows echo, reset, the list of images and uploads, and writes slot 0, so there is no trial and no way back. What
the device is, it cannot say: where firmware runs, that is asked before it makes way.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage
from fieldlog.flash import Flashed, Installed, Outcome, remember
from fieldlog.flash_checks import make_plan
from fieldlog.flash_fit import check_fit, check_number_is_known, upload_number
from fieldlog.flash_plan import FlashOptions, FlashPlan, Part, of_image, running
from fieldlog.flash_probe import problems
from fieldlog.flash_restart import NotRestarted, restart
from fieldlog.flash_slots import idle, merely_claimed, read
from fieldlog.flash_trial import Left, Tell, known_by, stop_session
from fieldlog.image_upload import send_image
from fieldlog.steady_link import Known, OtherDevice, SteadyLink
from fieldlog.transfer import OnProgress, ignore_progress
from fieldlog_protocol.commands.image import ImageSlot, ImageSlots
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError, RefusedError, VerificationError

_RECOVERY = 1
"""The boot mode of a restart that ends there (docs/smp.md#commands)."""
_WAITS = "The device waits in its boot loader's recovery"


async def recover(
    device: Device,
    package: FirmwarePackage,
    options: FlashOptions | None = None,
    *,
    tell: Tell = lambda _: None,
    progress: OnProgress = ignore_progress,
) -> Flashed:
    """Write the images into the slots that run, restart, and see that they work. Enters recovery where firmware runs."""
    options = options or FlashOptions()
    link = SteadyLink(device, options.reconnect_s)
    plan = await link.ask(lambda: make_plan(device, package, options, recovery=True))
    return await carry_out_recovery(device, plan, options, tell=tell, progress=progress)


async def carry_out_recovery(
    device: Device,
    plan: FlashPlan,
    options: FlashOptions,
    *,
    tell: Tell = lambda _: None,
    progress: OnProgress = ignore_progress,
) -> Flashed:
    """Do what `make_plan` found for recovery."""
    if plan.nothing_to_do:
        done = tuple(Installed(part.number, part.version, part.before) for part in plan.parts)
        return Flashed(Outcome.ALREADY, done)
    work = _Recovery(device, plan, options, tell, progress)
    done = tuple(await work.run())
    remember(plan, options)
    return Flashed(Outcome.CONFIRMED, done, work.sent)


@dataclass(frozen=True, slots=True)
class _Waiting(Known):
    """A boot loader in its recovery: of the device it says nothing, but firmware that runs is none."""

    async def check(self, device: Device, *, running: bool = False) -> None:
        del running
        slots = await read(device)
        active = [slot.version for slot in slots if slot.active]
        if active:
            raise OtherDevice(
                f"{device.name} has left its boot loader's recovery and runs {' and '.join(active)}. Nothing more was sent; "
                "repeat the command"
            )


_IN_RECOVERY = _Waiting(None, frozenset(), frozenset(), runs=False)


@dataclass(slots=True)
class _Recovery:
    """`written`: whether the boot loader has taken anything, from when on what it held is gone."""

    device: Device
    plan: FlashPlan
    options: FlashOptions
    tell: Tell
    progress: OnProgress
    sent: int = 0
    written: bool = False
    left: Left = field(default_factory=Left)

    async def run(self) -> list[Installed]:
        """Errors end with the state that they leave the device in."""
        with self.left.told():
            return await self._run()

    async def _run(self) -> list[Installed]:
        if self.plan.survey.recording:
            await stop_session(self._link(self._firmware), self.tell)
            self.left.text = "The session was stopped, and nothing was sent. Repeat the command"
        former = self.plan.survey.slots
        if not self.plan.survey.waits_in_boot_loader:
            former = await self._enter()
        try:
            await self._write()
        except (VerificationError, RefusedError) as error:
            raise await self._undone(error) from error
        images = await self._start()
        return [
            Installed(part.number, slot.version, _held(former, part.number))
            for part, slot in zip(self.plan.parts, images, strict=True)
        ]

    @property
    def _firmware(self) -> Known:
        """What the device is known by while firmware runs."""
        return replace(known_by(self.plan), runs=False)

    def _link(self, known: Known = _IN_RECOVERY) -> SteadyLink:
        return SteadyLink(self.device, self.options.reconnect_s, known, self.tell)

    async def _enter(self) -> tuple[ImageSlot, ...]:
        """Firmware that runs is asked to make way; what lies in the slots then, as the boot loader lists it."""
        self.tell("restarting into the boot loader's recovery")
        before = await self._link(self._firmware).ask(self._listed)
        try:
            slots = await restart(self.device, before, self.options.return_s, _RECOVERY, known=self._firmware)
            slots = await self._in_truth(slots)
            runs = [slot.version for slot in slots if slot.active]
        except NotRestarted as error:
            raise self._not_entered("") from error
        except LinkError as error:
            raise LinkError(
                f"{self.device.name} was asked to restart into its boot loader's recovery and may wait there, but was not "
                f"heard from it within {self.options.return_s:.0f} s: it may serve another port, baud or framing. Nothing was "
                "written; switch it off and on to start what it ran"
            ) from error
        if runs:
            raise self._not_entered(f" and runs {' and '.join(runs)}")
        self.left.text = f"{_WAITS} with what it ran. Repeat the command, or start that with `fieldlog reset`"
        await self._link().ask(self.device.reopen)  # the boot loader's buffers are not the firmware's
        return slots

    async def _in_truth(self, slots: tuple[ImageSlot, ...]) -> tuple[ImageSlot, ...]:
        """After a restart: what a boot loader calls active does not run."""
        claimed = await self._link(self._firmware).ask(lambda: merely_claimed(self.device, slots))
        return idle(slots) if claimed else slots

    async def _listed(self) -> tuple[ImageSlot, ...]:
        """Firmware that cannot list its images is to make way all the same."""
        try:
            return await self.device.images()
        except RefusedError:
            return ()

    def _not_entered(self, state: str) -> LinkError:
        return LinkError(
            f"{self.device.name} did not enter its boot loader's recovery{state}. It was not changed; hold the button that "
            "starts it there, or flash without --recovery"
        )

    async def _write(self) -> None:
        sizes = await self._sizes()
        for part in self.plan.parts:
            check_number_is_known(part, sizes)
        seen = replace(self.plan.survey, sizes=sizes or self.plan.survey.sizes)
        for part in self.plan.parts:
            check_fit(part, seen, self.options, recovery=True)
        for part in self.plan.parts:
            await self._send(part, sizes)
        await self._check_written()

    async def _sizes(self) -> tuple[ImageSlots, ...]:
        try:
            return await self._link().ask(self.device.slots)
        except (RefusedError, ProtocolError):
            return ()

    async def _send(self, part: Part, sizes: tuple[ImageSlots, ...]) -> None:
        self.tell(f"uploading {part.version} ({part.size} bytes)")
        data, name, wait_s = part.packaged.image.data, upload_number(part.number, 0, sizes), self.options.reconnect_s
        self.sent += await send_image(
            self.device, data, name, self._moved, reconnect_s=wait_s, known=_IN_RECOVERY, named=False, tell=self.tell
        )

    def _moved(self, done: int, total: int) -> None:
        if done and not self.written:
            self.written = True
            self.left.text = f"{_WAITS} and has nothing whole to run. Repeat the command"
        self.progress(done, total)

    async def _check_written(self) -> None:
        """A boot loader lists what it would start, some without the hash."""
        slots = await self._link(_IN_RECOVERY).ask(self.device.images)
        for part in self.plan.parts:
            there = [slot.hash for slot in of_image(slots, part.number) if slot.slot == 0]
            if part.hash not in there and None not in there:
                raise VerificationError(
                    f"the boot loader does not accept {part.version} (signature, key or version) and will not start it. The "
                    "device stays in recovery; send an image that is signed with its key"
                )

    async def _undone(self, error: VerificationError | RefusedError) -> FieldlogError:
        """Firmware that made way for what is not to be written is started again."""
        if self.written or isinstance(error, OtherDevice) or self.plan.survey.waits_in_boot_loader:
            return error
        slots: tuple[ImageSlot, ...] = ()
        with suppress(LinkError, RefusedError):
            before = await self._link().ask(self.device.images)
            slots = await restart(self.device, before, self.options.return_s, known=self._firmware)
            slots = await self._in_truth(slots)
        runs = [slot.version for slot in slots if slot.active]
        if not runs:
            return self.left.added_to(error)
        self.left.text = ""
        return Left(f"It was restarted and runs {' and '.join(runs)} again").added_to(error)

    async def _start(self) -> list[ImageSlot]:
        """Leave recovery; the images that run then."""
        self.left.text = (
            "The image was written. Switch the device off and on; if it does not come up, repeat the command"
        )
        self.tell("restarting")
        before = await self._link().ask(self.device.images)
        slots = await self._in_truth(await restart(self.device, before, self.options.return_s, known=self._firmware))
        link = self._link(self._firmware)
        await link.ask(self.device.reopen)
        found = [self._require_running(part, slots) for part in self.plan.parts]
        self.left.text = f"{found[0].version} was written and runs. See with `fieldlog info` whether it works"
        if wrong := await link.ask(lambda: problems(self.device, None)):
            raise VerificationError(
                f"{found[0].version} runs but does not work: {'; '.join(wrong)}. There is no former firmware to go back to; "
                "flash another"
            )
        return found

    def _require_running(self, part: Part, slots: tuple[ImageSlot, ...]) -> ImageSlot:
        now = running(slots, part.number)
        if now is None or now.hash != part.hash:
            shown = "nothing" if now is None else now.version
            raise VerificationError(f"{part.version} was written, but {shown} runs. Send the image again, or another")
        return now


def _held(slots: tuple[ImageSlot, ...], number: int) -> str | None:
    return next((slot.version for slot in of_image(slots, number) if slot.slot == 0), None)
