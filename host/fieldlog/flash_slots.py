"""What a device's list of images means: which of them run, and whether firmware made the list or the boot loader.

Rule: a list is read here, and judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from fieldlog.device import Device
from fieldlog_protocol.commands import Empty, os
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, RequestTimeout


async def read(device: Device, *, sure: bool = False) -> tuple[ImageSlot, ...]:
    """The slots that hold an image; active is what runs. What a boot loader in its recovery lists does not run.

    `sure`: that it is firmware shows otherwise, as of a logger, which a boot loader cannot be.
    """
    slots = as_they_run(await device.images())
    return idle(slots) if not sure and await merely_claimed(device, slots) else slots


async def merely_claimed(device: Device, slots: Sequence[ImageSlot]) -> bool:
    """Whether it was a boot loader that called some of these active."""
    return any(slot.active for slot in slots) and await boot_loader_answers(device)


async def boot_loader_answers(device: Device) -> bool:
    """Whether it is MCUboot's recovery that answers, which may list what it would start as if that ran.

    MCUboot knows of the console's echo, as Zephyr does not, and nothing of the date, as Mynewt does (`boot_serial.c`,
    `smp_os.c`). In doubt it is the boot loader, which writes over what it is to start. One that could be asked for nothing
    may have been left by now.
    """
    if device.client.terse:
        await device.reopen()
    if device.client.terse:
        return True
    try:
        await device.client.request(os.CONSOLE_ECHO, Empty())
    except (RefusedError, ProtocolError, RequestTimeout):
        return False
    try:
        await device.client.request(os.DATETIME_READ, Empty())
    except RefusedError as error:
        return (error.group, error.code) == (None, Rc.NOT_SUPPORTED)
    except RequestTimeout:
        return True
    except ProtocolError:
        return False
    return False


def idle(slots: Sequence[ImageSlot]) -> tuple[ImageSlot, ...]:
    """The same, with nothing that runs or was confirmed: as a boot loader lists them that makes no claims."""
    return tuple(msgspec.structs.replace(slot, active=None, confirmed=None) for slot in slots)


def as_they_run(slots: Sequence[ImageSlot]) -> tuple[ImageSlot, ...]:
    """The same, with what runs of each image marked as active.

    Zephyr up to 3.4 calls only the application active, image 0. What it runs of the others is what lies in slot 0.
    """
    if not any(slot.active and not slot.image for slot in slots):
        return tuple(slots)
    others = {slot.image for slot in slots if slot.image and slot.slot == 0}
    others -= {slot.image for slot in slots if slot.active}
    return tuple(_told(slots, others))


def _told(slots: Sequence[ImageSlot], numbers: set[int]) -> Iterator[ImageSlot]:
    for slot in slots:
        if slot.image not in numbers:
            yield slot
            continue
        kept = _is_kept([other for other in slots if other.image == slot.image])
        if slot.slot == 0:
            yield msgspec.structs.replace(slot, active=True, confirmed=kept, pending=False, permanent=False)
        else:
            yield msgspec.structs.replace(slot, confirmed=bool(slot.confirmed) and not kept)


def _is_kept(own: Sequence[ImageSlot]) -> bool:
    """Whether what lies in slot 0 stays. Up to 3.1 both slots are marked as confirmed during a trial, and else neither."""
    confirmed = [slot for slot in own if slot.confirmed]
    return not confirmed or (len(confirmed) == 1 and confirmed[0].slot == 0)
