"""Firmware for a device whose boot loader serves by itself: MCUboot's serial recovery (SMP.md section 6).

Rule: it knows echo, reset, the list of images and uploads, and writes slot 0, so there is no trial and no way back. What
the device is, it cannot say: file and signature are all that can be checked.
"""

from __future__ import annotations

from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash import Flashed, Installed, Outcome, Tell
from fieldlog.flash_checks import check_file
from fieldlog.flash_plan import FlashOptions, of_image, running
from fieldlog.flash_probe import problems
from fieldlog.flash_restart import restart
from fieldlog.image_upload import send_image
from fieldlog.steady_link import SteadyLink
from fieldlog.transfer import OnProgress, ignore_progress
from fieldlog_protocol.commands.image import ImageSlot, ImageSlots
from fieldlog_protocol.errors import LinkError, RefusedError, VerificationError
from fieldlog_protocol.image import verify_signature

_RECOVERY = 1
"""The boot mode of a restart that ends there (SMP.md section 3)."""


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
    check_file(package)
    if options.key is not None:
        for entry in package.images:
            verify_signature(entry.image, options.key)
    work = _Recovery(device, SteadyLink(device, options.reconnect_s), options, tell)
    slots = await work.enter()
    sizes = await work.sizes()
    chosen = [(entry, _number(entry, options)) for entry in package.images if entry.slot in (None, 0)]
    for entry, number in chosen:
        _check_size(entry, number, sizes)
    sent = 0
    for entry, number in chosen:
        tell(f"uploading {entry.image.version.dotted} ({entry.image.size} bytes)")
        name = _upload_id(number, sizes)
        sent += await send_image(device, entry.image.data, name, progress, reconnect_s=options.reconnect_s, named=False)
    await work.check_written(chosen)
    images = await work.start(chosen)
    former = {number: _held(slots, number) for _, number in chosen}
    done = [Installed(number, slot.version, former[number]) for (_, number), slot in zip(chosen, images, strict=True)]
    return Flashed(Outcome.CONFIRMED, tuple(done), sent)


class _Recovery:
    def __init__(self, device: Device, link: SteadyLink, options: FlashOptions, tell: Tell) -> None:
        self.device = device
        self.link = link
        self.options = options
        self.tell = tell

    async def enter(self) -> tuple[ImageSlot, ...]:
        """What lies in the slots, as the boot loader lists them. Firmware that runs is asked to make way."""
        slots = await self.link.ask(self.device.images)
        if not any(slot.active for slot in slots):
            return slots
        self.tell("restarting into the boot loader's recovery")
        try:
            slots = await restart(self.device, slots, self.options.return_s, boot_mode=_RECOVERY)
        except LinkError as error:
            raise LinkError(
                f"{self.device.name} did not enter its boot loader's recovery. It was not changed; hold the button that "
                "starts it there, or flash without --recovery"
            ) from error
        await self.link.ask(self.device.reopen)  # the boot loader's buffers are not the firmware's
        return slots

    async def sizes(self) -> tuple[ImageSlots, ...]:
        try:
            return await self.link.ask(self.device.slots)
        except RefusedError:
            return ()

    async def check_written(self, chosen: list[tuple[PackagedImage, int]]) -> None:
        """A boot loader lists what it would start, some without the hash."""
        slots = await self.link.ask(self.device.images)
        for entry, number in chosen:
            there = [slot.hash for slot in of_image(slots, number) if slot.slot == 0]
            if entry.image.hash not in there and None not in there:
                raise VerificationError(
                    f"the boot loader does not accept {entry.image.version.dotted} (signature, key or version) and will not "
                    "start it. The device stays in recovery; send an image that is signed with its key"
                )

    async def start(self, chosen: list[tuple[PackagedImage, int]]) -> list[ImageSlot]:
        """Leave recovery; the images that run then."""
        self.tell("restarting")
        before = await self.link.ask(self.device.images)
        slots = await restart(self.device, before, self.options.return_s)
        await self.link.ask(self.device.reopen)
        found: list[ImageSlot] = []
        for entry, number in chosen:
            now = running(slots, number)
            if now is None or now.hash != entry.image.hash:
                shown = "nothing" if now is None else now.version
                raise VerificationError(
                    f"{entry.image.version.dotted} was written, but {shown} runs. Send the image again, or another"
                )
            found.append(now)
        if wrong := await self.link.ask(lambda: problems(self.device, None)):
            raise VerificationError(
                f"{found[0].version} runs but does not work: {'; '.join(wrong)}. There is no former firmware to go back to; "
                "flash another"
            )
        return found


def _number(entry: PackagedImage, options: FlashOptions) -> int:
    return entry.number if options.number is None else options.number


def _upload_id(number: int, sizes: tuple[ImageSlots, ...]) -> int:
    """What an upload into the slot that runs must call it: where the boot loader does not say, the image's number."""
    for entry in sizes:
        for slot in entry.slots:
            if (entry.image, slot.slot) == (number, 0) and slot.upload_image_id is not None:
                return slot.upload_image_id
    return number


def _check_size(entry: PackagedImage, number: int, sizes: tuple[ImageSlots, ...]) -> None:
    for known in sizes:
        if known.image == number and known.max_image_size is not None and entry.image.size > known.max_image_size:
            raise VerificationError(
                f"the image has {entry.image.size} bytes and the device's slot takes {known.max_image_size}. Nothing was "
                "sent; build a smaller image"
            )


def _held(slots: tuple[ImageSlot, ...], number: int) -> str | None:
    return next((slot.version for slot in of_image(slots, number) if slot.slot == 0), None)
