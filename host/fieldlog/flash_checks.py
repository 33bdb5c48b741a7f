"""What speaks against an update, found before the device is changed. Each reason has a sentence of its own.

Rule: what cannot be known is no reason against it, but is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash_fit import check_firmware_runs, check_fit
from fieldlog.flash_listing import check_listing
from fieldlog.flash_notes import notes_on
from fieldlog.flash_plan import (
    Action,
    FlashOptions,
    FlashPlan,
    Part,
    Survey,
    action_for,
    in_the_way,
    known_version,
    of_image,
    running,
    survey,
    waiting_for_good,
)
from fieldlog.pinned_keys import Pin
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.errors import ImageError, UsageError, VerificationError
from fieldlog_protocol.image import (
    Image,
    ImageFlag,
    ImageVersion,
    Proof,
    PublicKey,
    lacks_plain_text,
    signatures,
    verify_hash,
    verify_signature,
    verify_target,
)

_UNCHANGED = "The device was not changed"


def check_file(package: FirmwarePackage) -> None:
    """What can be said without a device: raises ImageError unless all images are whole, and devices can know them."""
    for entry in package.images:
        try:
            _check_entry(entry)
        except ImageError as error:
            raise ImageError(f"{error}. {_UNCHANGED}") from error


def _check_entry(entry: PackagedImage) -> None:
    if not lacks_plain_text(entry.image):
        verify_hash(entry.image)
    if entry.image.hash is None:
        raise ImageError("the image carries no hash, and devices know images by their hash. Sign it with imgtool")
    if ImageFlag.NON_BOOTABLE in entry.image.flags:
        raise ImageError(f"{entry.name!r} is marked as not bootable: no boot loader starts it. Give another image")
    own = [wanted for wanted in entry.image.dependencies if wanted.image == entry.number]
    if any(_without_build(wanted.version) > _without_build(entry.image.version) for wanted in own):
        raise ImageError(
            f"{entry.name!r} is {entry.image.version} and says that it needs image {entry.number}, which is itself, at "
            f"{own[0].version} or later: no boot loader can start it. Sign it anew with the right --dependencies"
        )


async def make_plan(
    device: Device, package: FirmwarePackage, options: FlashOptions, *, recovery: bool = False
) -> FlashPlan:
    """See what the device is and what is to be done; raises for everything that speaks against it, and changes nothing.

    `recovery`: its boot loader shall write the images over what runs.
    """
    check_file(package)
    seen = await survey(device, recovery=recovery)
    _check_pinning(seen, options)
    pin = None if options.pins is None else options.pins.find(seen.identity)
    return _Judge(seen, options, pin, recovery).plan(package)


@dataclass(frozen=True, slots=True)
class _Judge:
    seen: Survey
    options: FlashOptions
    pin: Pin | None
    recovery: bool = False

    def plan(self, package: FirmwarePackage) -> FlashPlan:
        chosen = self._choose(package)
        parts = tuple(self._part(entry, self._number(entry, package)) for entry in chosen)
        plan = FlashPlan(self.seen, parts, (), None if self.recovery else self._in_the_way(parts), self.recovery)
        for part in parts:
            if part.action is not Action.NOTHING:
                check_version(part, part.before, self.seen, self.options)
                self._check_what_comes_first(part)
        if plan.restarts:
            self._check_restart(parts)
        return replace(plan, notes=tuple(notes_on(plan, self.options, self.pin, self._key())))

    def _check_what_comes_first(self, part: Part) -> None:
        """What waits for good is installed by the restart that clears the way, and may be the newer one."""
        for number, other in waiting_for_good(self.seen.slots, [(part.number, part.hash)]):
            if number == part.number:
                check_version(part, other.version, self.seen, self.options)

    def _check_restart(self, parts: tuple[Part, ...]) -> None:
        if not self.recovery:
            check_firmware_runs(self.seen)
            check_listing(self.seen, parts)
        for part in parts:
            check_fit(part, self.seen, self.options, recovery=self.recovery)
        if not self.seen.waits_in_boot_loader:
            _check_dependencies(self.seen, parts)
        self._check_battery()
        self._check_recording()

    # which images, and where to

    def _choose(self, package: FirmwarePackage) -> list[PackagedImage]:
        """Of builds for one slot each, those for the slots that do not run."""
        chosen = [entry for entry in package.images if self._fits(entry, package)]
        left_out = next((e for e in package.images if all(e.number != other.number for other in chosen)), None)
        if left_out is None:
            return chosen
        if self.recovery:
            raise VerificationError(
                f"{left_out.name!r} is built for slot {left_out.slot}, and recovery writes slot 0. {_UNCHANGED}; give the "
                "build for slot 0"
            )
        raise VerificationError(
            f"{left_out.name!r} is built for slot {left_out.slot}, which is the one that runs. {_UNCHANGED}; give the "
            "build for the other slot"
        )

    def _fits(self, entry: PackagedImage, package: FirmwarePackage) -> bool:
        now = running(self.seen.slots, entry.number)
        if self.recovery:
            return entry.slot in (None, 0)
        if entry.slot is None or now is None:
            return True
        if any(now.hash == other.image.hash for other in package.images if other.number == entry.number):
            return now.hash == entry.image.hash
        return entry.slot != now.slot

    def _number(self, entry: PackagedImage, package: FirmwarePackage) -> int:
        if self.options.number is None:
            return entry.number
        if package.zipped:
            raise UsageError("the package says itself which image each file is for: leave --image out")
        return self.options.number

    def _part(self, entry: PackagedImage, number: int) -> Part:
        image = entry.image
        signature = self._check_signature(image)
        logger = self.seen.logger
        if logger is not None:
            verify_target(image, logger.product, logger.hardware)
        slots = self.seen.slots
        action = action_for(slots, number, image.hash or b"", permanent=self.options.permanent)
        if self.recovery and action is not Action.NOTHING:
            action = Action.UPLOAD
        return Part(entry, number, action, former_version(slots, number), signature)

    def _in_the_way(self, parts: tuple[Part, ...]) -> str | None:
        wanted = [(part.number, part.hash) for part in parts]
        return in_the_way(self.seen.slots, wanted, permanent=self.options.permanent)

    # whose it is

    def _check_signature(self, image: Image) -> str:
        key = self._key()
        if key is None:
            return "not verified" if signatures(image) else "not signed"
        try:
            proof = verify_signature(image, key)
        except ImageError as error:
            raise ImageError(f"{error}{self._whose_key()}. {_UNCHANGED}") from error
        self._check_counter(image)
        over = "" if proof is Proof.IMAGE else ", over the hash of what is encrypted"
        return f"verified with the key {key.hash().hex()[:16]}...{over}"

    def _whose_key(self) -> str:
        """What to do where no key was given and the pinned one does not fit."""
        if self.options.key is not None:
            return ""
        return (
            ". The key wanted is the one that is pinned for this device on this computer: if the device's key has changed, "
            "give the new one with --key and --pin-key"
        )

    def _key(self) -> PublicKey | None:
        """The key given, which must be the one that is pinned unless a new one is to be pinned."""
        given, pin = self.options.key, self.pin
        if given is not None and pin is not None and given != pin.key and not self.options.pin:
            raise VerificationError(
                f"the key given ({given.hash().hex()[:16]}...) is not the one that is pinned for this device "
                f"({pin.key.hash().hex()[:16]}...). {_UNCHANGED}; leave --key out to use the pinned one, or give --pin-key "
                "too if the device's key has changed"
            )
        return given or (None if pin is None else pin.key)

    def _check_counter(self, image: Image) -> None:
        """A boot loader that counts never goes back, and SMP does not tell how far it is."""
        known = None if self.pin is None else self.pin.security_counter
        found = image.security_counter
        if known is not None and (found is None or found < known):
            shown = "the image has no security counter" if found is None else f"the image's security counter is {found}"
            raise VerificationError(
                f"{shown}, and this device has run firmware with {known}: its boot loader "
                f"never goes back. {_UNCHANGED}; build the image with --security-counter {known} or more"
            )

    # whether the moment is right

    def _check_battery(self) -> None:
        logger, least = self.seen.logger, self.options.least_battery
        percent = None if logger is None else logger.battery_percent
        if percent is not None and percent < least:
            raise VerificationError(
                f"the device's battery is at {percent} %, and an update should not begin below {least} %. {_UNCHANGED}; "
                f"charge or change it, or give --min-battery {percent}"
            )

    def _check_recording(self) -> None:
        if self.seen.recording and not self.options.stop_logging:
            raise VerificationError(
                "the device is recording a session or waits for one to begin, and an update restarts it. "
                f"{_UNCHANGED}; add --stop-logging: the session ends, and what it recorded stays in the log"
            )


def _check_pinning(seen: Survey, options: FlashOptions) -> None:
    """What is pinned for a logger cannot be found without its uid."""
    if seen.unread is None:
        return
    if options.key is None and options.pins is not None and options.pins.names_loggers():
        raise VerificationError(
            f"keys are pinned for loggers in {options.pins.path}, and this one does not say who it is: {seen.unread}. "
            f"{_UNCHANGED}; give the key that must have signed the image with --key"
        )
    if options.pin:
        raise VerificationError(
            f"a key is pinned to a logger's uid, and this one does not tell it: {seen.unread}. {_UNCHANGED}; leave --pin-key "
            "out, and pin the key with a later update"
        )


def check_version(part: Part, before: str | None, seen: Survey, options: FlashOptions) -> None:
    """Raise VerificationError if the image is older than what it replaces, unless that is wanted and possible."""
    new, former = part.packaged.image.version, known_version(before)
    if former is None or new >= former:
        return
    if seen.no_downgrade:
        raise VerificationError(
            f"the image is {new} and the device runs {former}: its boot loader takes no older versions. {_UNCHANGED}; "
            "give a newer image"
        )
    if not options.allow_downgrade:
        raise VerificationError(
            f"the image is {new} and the device runs {former}, which is newer. {_UNCHANGED}; if you want to go back, "
            "add --allow-downgrade"
        )


def _check_dependencies(seen: Survey, parts: tuple[Part, ...]) -> None:
    """Each image that another wants must come with the package or run already. MCUboot leaves the build out of this."""
    brought = {part.number: part.packaged.image.version for part in parts}
    for part in parts:
        for wanted in part.packaged.image.dependencies:
            now = running(seen.slots, wanted.image)
            found = brought.get(wanted.image) or (None if now is None else known_version(now.version))
            if found is None or _without_build(found) < _without_build(wanted.version):
                there = "has none" if found is None else f"would have {found}"
                raise VerificationError(
                    f"image {part.number} at {part.version} needs image {wanted.image} at {wanted.version} or later, and "
                    f"the device {there}. {_UNCHANGED}; give a package that holds both"
                )


def former_version(slots: tuple[ImageSlot, ...], number: int) -> str | None:
    """The version that is confirmed: what runs, or what would come back."""
    now = running(slots, number)
    confirmed = [slot for slot in of_image(slots, number) if slot.confirmed]
    kept = now if now is not None and now.confirmed else next(iter(confirmed), now)
    return None if kept is None else kept.version


def _without_build(version: ImageVersion) -> tuple[int, int, int]:
    return version.major, version.minor, version.revision
