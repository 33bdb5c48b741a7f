"""What the user of an update should know before it: what could not be compared, and what cannot be taken back.

Rule: a note is no reason against the update. Those are found by `flash_checks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fieldlog.flash_plan import (
    Action,
    FlashOptions,
    FlashPlan,
    Part,
    idle_slot,
    known_version,
    of_image,
    waiting_for_good,
)
from fieldlog.logger_info import LoggerInfo
from fieldlog.pinned_keys import Pin
from fieldlog_protocol.image import PublicKey, Target, lacks_plain_text, target_of


def notes_on(plan: FlashPlan, options: FlashOptions, pin: Pin | None, key: PublicKey | None) -> Iterator[str]:
    """Sentences. `key` is the one that the images were held against, given or pinned."""
    yield from _on_the_key(options, pin, key, recovery=plan.recovery)
    if not plan.restarts:
        return
    if plan.survey.waits_in_boot_loader:
        yield (
            "the boot loader answers, and it cannot say what the device is: product, version, battery, and what is pinned "
            "for a logger, were not compared"
        )
    elif plan.survey.unread is not None:
        yield (
            f"the logger does not say what it is ({plan.survey.unread}): product, battery, whether it records a session, and "
            "what is pinned for it, were not compared"
        )
    elif plan.survey.logger is None:
        yield (
            "the device has no uid: nothing but a serial number at the USB tells it from another one that runs the same, so "
            "put no other in its place meanwhile"
        )
    yield from _on_the_way_back(plan, options)
    for part in plan.parts:
        if part.action is not Action.NOTHING:
            yield from _on_the_part(plan, part, pin, key)
    yield from _on_the_moment(plan)


def _on_the_key(options: FlashOptions, pin: Pin | None, key: PublicKey | None, *, recovery: bool) -> Iterator[str]:
    if key is None:
        yield "whose firmware this is was not verified: no key was given with --key and none is pinned for this device"
    elif options.pin and options.pins is not None and (pin is None or pin.key != key):
        instead = "" if pin is None else f", in place of {_short(pin.key)}"
        yield (
            f"the key {_short(key)} will be pinned for this device{instead}, in {options.pins.path}: every later update is "
            "held against it"
        )
    elif pin is None and not recovery:
        yield "--pin-key would remember this key for the device, and every later update would be held against it"


def _short(key: PublicKey) -> str:
    return f"{key.hash().hex()[:16]}..."


def _on_the_way_back(plan: FlashPlan, options: FlashOptions) -> Iterator[str]:
    if plan.recovery:
        yield "slot 0, which the device runs, is written over: there is no trial and no way back"
        yield from _on_what_waits(plan)
        return
    if not plan.survey.reverts:
        yield "the boot loader keeps no former firmware: there is no trial and no way back"
    for part in plan.parts:
        if _is_marked_for_good(plan, part):
            yield f"{part.version} is marked for good already: the restart installs it without a trial"
    for part in plan.parts:
        if plan.survey.unseen(part.number):
            yield f"the device does not show what runs as image {part.number}: whether {part.version} does may not be seen"
    if not options.confirm and not plan.trial(options):
        yield "--no-confirm changes nothing here: without a trial there is nothing to confirm"
    for number, other in waiting_for_good(plan.survey.slots, [(part.number, part.hash) for part in plan.parts]):
        yield (
            f"{other.version} of image {number} is marked for good, which nothing but a restart ends: it is installed first, "
            "and is what would come back"
        )


def _on_what_waits(plan: FlashPlan) -> Iterator[str]:
    """A boot loader does what it was told before: as soon as it is entered from firmware, else when it is left."""
    for part in plan.parts:
        waiting = [slot for slot in of_image(plan.survey.slots, part.number) if slot.pending and not slot.active]
        for slot in waiting:
            name = f"{slot.version} of image {part.number} waits in slot {slot.slot} to be started"
            if not plan.survey.waits_in_boot_loader:
                yield f"{name}: the restart into recovery puts it into slot 0, where it is then written over"
            else:
                yield (
                    f"{name}: the restart at the end starts it in place of what is written now. If it does, send the image "
                    "once more without --recovery"
                )


def _is_marked_for_good(plan: FlashPlan, part: Part) -> bool:
    slot = idle_slot(plan.survey.slots, part.number, part.hash)
    return slot is not None and bool(slot.pending and slot.permanent)


def _on_the_part(plan: FlashPlan, part: Part, pin: Pin | None, key: PublicKey | None) -> Iterator[str]:
    image = part.packaged.image
    if not plan.survey.waits_in_boot_loader:
        yield from _on_the_version(part)
        yield from _on_the_target(target_of(image), plan.survey.logger)
    if lacks_plain_text(image):
        signed = "" if key is None else ". The key vouches for the hash that it states"
        yield f"body not checkable: encrypted. Whether the image is whole only the device can see{signed}"
    counter = image.security_counter
    if counter is not None and (pin is None or pin.security_counter is None):
        yield f"the image's security counter is {counter}; how far the device's is, it does not tell"


def _on_the_version(part: Part) -> Iterator[str]:
    if part.before is None:
        yield f"what version of image {part.number} the device runs it does not tell, so the new one may be older"
    elif known_version(part.before) is None:
        yield f"the device calls its version {part.before!r}, which is none: the new one may be older"


def _on_the_target(target: Target, logger: LoggerInfo | None) -> Iterator[str]:
    """What `verify_target` left open."""
    product, hardware = ("", "") if logger is None else (logger.product, logger.hardware)
    if target.product is not None or target.hardware:
        if (target.product and not product) or (target.hardware and not hardware):
            named = " and ".join(name for name in (target.product, " or ".join(target.hardware)) if name)
            yield f"the image is made for {named}, and the device does not say what it is: that was not compared"
    elif (target.vendor is None) != (target.device_class is None):
        kind = "vendor" if target.vendor is not None else "device class"
        yield f"the image names its {kind} by a UUID alone, which no device tells: that was not compared"
    elif target.vendor is not None and not product and not hardware:
        yield "the image names a device class, and the device does not say what it is: that was not compared"


def _on_the_moment(plan: FlashPlan) -> Iterator[str]:
    logger = plan.survey.logger
    if logger is None:
        return
    if logger.battery_percent is None:
        yield "the device does not tell how full its battery is"
    if plan.survey.recording:
        yield (
            f"session {logger.session} will be stopped. What it recorded stays in the log; `fieldlog log arm` begins another"
        )
