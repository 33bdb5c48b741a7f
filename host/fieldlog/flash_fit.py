"""Whether an image has its place on a device: its number, the slot, the size.

Rule: what is sent under a number that a device does not know may be written over its only image, so a number counts only
where the device has named it.
"""

from __future__ import annotations

from fieldlog.flash_plan import FlashOptions, Part, Survey, running
from fieldlog_protocol.commands.image import ImageSlots
from fieldlog_protocol.errors import VerificationError

_UNCHANGED = "The device was not changed"


def check_firmware_runs(seen: Survey) -> None:
    """Raise VerificationError where a boot loader answers: it would write over what it is to start, without a trial."""
    if seen.waits_in_boot_loader:
        raise VerificationError(
            f"no firmware runs on {seen.name}: its boot loader answers, which writes over slot 0, without a trial and with no "
            f"way back. {_UNCHANGED}; add --recovery if that is what you want, or start what it holds with `fieldlog reset`"
        )


def upload_number(number: int, slot: int | None, sizes: tuple[ImageSlots, ...]) -> int:
    """What an upload must call the slot that is meant: most devices know one for each image, and then it is that."""
    for entry in sizes:
        for there in entry.slots:
            if (entry.image, there.slot) == (number, slot) and there.upload_image_id is not None:
                return there.upload_image_id
    return number


def check_number_is_known(part: Part, sizes: tuple[ImageSlots, ...]) -> None:
    """Raise VerificationError unless it is sure under which number a boot loader takes the image into slot 0: some number
    slots on through all images, others images, and do not tell (`boot_serial.c`). 0 is the first image for all of them."""
    told = [slot for entry in sizes if entry.image == part.number for slot in entry.slots if slot.slot == 0]
    if part.number and all(slot.upload_image_id is None for slot in told):
        raise VerificationError(
            f"the boot loader does not tell by what number it takes image {part.number}, and the wrong one may be that of "
            f"another image. {_UNCHANGED}; send image 0 alone with --recovery, and all of them without it once that runs"
        )


def check_fit(part: Part, seen: Survey, options: FlashOptions, *, recovery: bool = False) -> None:
    """Raise VerificationError unless the image may be written where it is to go: in recovery, into slot 0."""
    if recovery and options.slot not in (None, 0):
        raise VerificationError(f"recovery writes slot 0, not slot {options.slot}. {_UNCHANGED}; leave --slot out")
    _check_number(part, seen)
    entry = next((entry for entry in seen.sizes if entry.image == part.number), None)
    _check_slot(part, entry, seen, 0 if recovery else options.slot, recovery=recovery)
    most = None if entry is None else _most(entry, 0 if recovery else None)
    if most is not None and part.size > most:
        raise VerificationError(
            f"the image has {part.size} bytes and the device's slot takes {most}. Nothing was sent; build a smaller image"
        )


def _check_number(part: Part, seen: Survey) -> None:
    known = {entry.image for entry in seen.sizes} or {0, *(slot.image or 0 for slot in seen.slots)}
    if part.number not in known:
        there = ", ".join(map(str, sorted(known)))
        raise VerificationError(
            f"the image is for image number {part.number}, and the device has only image {there}. {_UNCHANGED}; give an "
            "image for this device, or another --image"
        )


def _most(entry: ImageSlots, slot: int | None) -> int | None:
    """What the slot takes; the smallest one, if none is named."""
    sizes = [known.size for known in entry.slots if known.size is not None and slot in (None, known.slot)]
    return entry.max_image_size or min(sizes, default=None)


def _check_slot(part: Part, entry: ImageSlots | None, seen: Survey, wanted: int | None, *, recovery: bool) -> None:
    now = running(seen.slots, part.number)
    if wanted is None:
        return
    there = {slot.slot for slot in entry.slots} if entry is not None else {0, 1}
    if wanted not in there:
        raise VerificationError(
            f"image {part.number} has no slot {wanted}, only {', '.join(map(str, sorted(there)))}. {_UNCHANGED}; leave "
            "--slot out, and the one that does not run is taken"
        )
    if now is not None and now.slot == wanted and not recovery:
        raise VerificationError(
            f"slot {wanted} is the one that runs: it cannot be written to. {_UNCHANGED}; leave --slot out"
        )
    if entry is None and now is None and not recovery:
        raise VerificationError(
            f"the device does not tell which slots it has, so slot {wanted} cannot be chosen. {_UNCHANGED}; leave --slot out"
        )
