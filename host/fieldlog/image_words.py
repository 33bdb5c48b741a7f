"""Lists of images in words: what the next restart does, and what to do where a command is refused.

Rule: only what the device has said is said here; who asks for a list gets it elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fieldlog_protocol.commands import Group
from fieldlog_protocol.commands import image as commands
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError

_WRITES_AND_STARTS = "`fieldlog reset` starts what it holds, `fieldlog flash IMAGE --recovery` writes another"
_SHORTER = (
    "Its firmware needs larger buffers (CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE) or shorter lists "
    "(CONFIG_MCUMGR_GRP_IMG_FRUGAL_LIST)"
)


def runs_no_firmware(slots: Sequence[ImageSlot]) -> bool:
    """Whether it is a boot loader in its recovery that lists these."""
    return not any(slot.active for slot in slots)


def next_restart(slots: Sequence[ImageSlot]) -> list[str]:
    """Sentences about what a restart would change, and about what would prevent that."""
    if slots and runs_no_firmware(slots):
        return [f"no firmware runs: the boot loader answers. {_WRITES_AND_STARTS}"]
    numbers = sorted({slot.image or 0 for slot in slots})
    found: list[str] = []
    for number in numbers:
        own = [slot for slot in slots if (slot.image or 0) == number]
        name = f"image {number}: " if len(numbers) > 1 else ""
        found += [name + sentence for sentence in _of_image(own)]
    return found


def _of_image(slots: Sequence[ImageSlot]) -> Iterator[str]:
    now = next((slot for slot in slots if slot.active), None)
    idle = [slot for slot in slots if not slot.active]
    former = next((slot for slot in idle if slot.confirmed), None)
    if now is not None and not now.confirmed and former is not None:
        yield (
            f"{now.version} runs on trial: the next restart brings {former.version} back, unless `fieldlog image confirm` "
            "keeps it"
        )
    for slot in idle:
        if slot.pending:
            how = "for good" if slot.permanent else "on trial"
            yield f"{slot.version} waits in slot {slot.slot}: the next restart starts it {how}"


def list_refused(error: RefusedError) -> RefusedError:
    """Of the list of images."""
    if not _too_long(error):
        return error
    return _again(
        error,
        f"the device cannot list its images: the list does not fit its buffers. {_SHORTER}; until then, update it with "
        "`fieldlog flash IMAGE --recovery` or by a programmer",
    )


def mark_refused(error: RefusedError) -> RefusedError:
    """Of setting an image for a test or for good, or confirming it: what it answers is the new list."""
    if _too_long(error):
        return _again(
            error,
            "the device did not list its images after that, as the list does not fit its buffers: what was asked for is "
            f"most likely done. {_SHORTER}",
        )
    return _unknown(error) or error


def nothing_to_keep() -> RefusedError:
    """Of confirming what runs, where a boot loader would mark what lies in the other slot instead (`boot_serial.c`)."""
    return RefusedError(
        Rc.NOT_SUPPORTED,
        None,
        "no firmware runs, so there is none to keep: the boot loader answers, and some set what lies in slot 1 for good "
        f"instead. Nothing was changed; {_WRITES_AND_STARTS}",
    )


def erase_refused(error: RefusedError, slots: Sequence[ImageSlot], slot: int | None) -> RefusedError:
    """Of an erase of that slot, with what the device lists."""
    if (error.group, error.code) == (Group.IMAGE, commands.INVALID_SLOT):
        return _again(
            error,
            f"slot {1 if slot is None else slot} cannot be erased: the device has none of that number, or runs what is in "
            "it. Nothing was erased. Slots count on through all images, two to each: 1 is the idle one of image 0, 3 that "
            "of image 1; see `fieldlog image list`",
        )
    if (error.group, error.code) == (Group.IMAGE, commands.NO_FREE_SLOT):
        return _again(error, f"the slot is in use, so nothing was erased. {_user(slots)}")
    return _unknown(error) or error


def _user(slots: Sequence[ImageSlot]) -> str:
    """Who uses a slot that does not run."""
    told = next_restart(slots)
    if not told:
        return "See `fieldlog image list`"
    return f"{'. '.join(sentence[:1].upper() + sentence[1:] for sentence in told)}. Then erase it"


def _unknown(error: RefusedError) -> RefusedError | None:
    if (error.group, error.code) != (None, Rc.NOT_SUPPORTED):
        return None
    return _again(
        error,
        "the device does not have this command: a boot loader in its recovery answers so, and firmware without it. Nothing "
        f"was changed; `fieldlog info` says which it is. Of a boot loader: {_WRITES_AND_STARTS}",
    )


def _too_long(error: RefusedError) -> bool:
    return (error.group, error.code) == (None, Rc.MESSAGE_SIZE)


def _again(error: RefusedError, text: str) -> RefusedError:
    """The same refusal in other words."""
    return RefusedError(error.code, error.group, text, error.details)
