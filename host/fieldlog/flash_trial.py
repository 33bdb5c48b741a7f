"""The trial of new firmware: it proves itself and is confirmed, or goes back.

Rule: that it is confirmed is said when the device lists it so, and not because it was asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fieldlog.flash_plan import FlashOptions, FlashPlan, Part, idle_slot, of_image, on_trial, running
from fieldlog.flash_probe import Judgement, Snapshot, judge
from fieldlog.flash_restart import restart
from fieldlog.flash_slots import read
from fieldlog.steady_link import Known, SteadyLink
from fieldlog_protocol.commands import Group, logger
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError, RefusedError, VerificationError

_REPEAT = ". Repeat the command"
_WATCHDOG = "watchdog"
"""In what a device calls its last restart: firmware that hung."""

Tell = Callable[[str], None]
"""Called with each step, in words."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One image: what runs now, and what was there before (None if the device did not say).

    `seen`: whether the device shows that it runs. Some show that of image 0 alone.
    """

    number: int
    version: str
    before: str | None
    seen: bool = True


class TakenBack(VerificationError):
    """The new firmware does not run, and the former one does. `images`: what runs, of each image of the update.

    `tried` are the versions that were to be installed.
    """

    def __init__(self, text: str, images: tuple[Installed, ...] = (), tried: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.images = images
        self.tried = tried


class CutShort(TakenBack):
    """A restart that nobody asked for has ended the trial of firmware that may well work."""


def taken_back(
    text: str, parts: Sequence[Part], slots: tuple[ImageSlot, ...], kind: type[TakenBack] = TakenBack
) -> VerificationError:
    """The error that says so, with what runs now; a plain one where not every image is known to run."""
    now = [(part, running(slots, part.number)) for part in parts]
    images = tuple(Installed(part.number, slot.version, part.before) for part, slot in now if slot is not None)
    if len(images) < len(parts):
        return VerificationError(text)
    return kind(text, images, tuple(part.version for part in parts))


@dataclass(slots=True)
class Left:
    """What state the device would be left in if the update ended now; empty where nothing was done to it yet."""

    text: str = ""

    def added_to(self, error: FieldlogError) -> FieldlogError:
        """The same error, with that at its end."""
        said = str(error)
        state = self.text.removesuffix(_REPEAT) if said.endswith(_REPEAT[2:].lower()) else self.text
        text = f"{said}{'' if said.endswith('.') else '.'} {state}"
        if isinstance(error, RefusedError):
            return RefusedError(error.code, error.group, text, error.details)
        return type(error)(text)

    @contextmanager
    def told(self, *more: type[FieldlogError]) -> Generator[None]:
        """What ends the block before its time, `more` kinds of errors too, ends with this."""
        ends: tuple[type[FieldlogError], ...] = (RefusedError, LinkError, ProtocolError, *more)
        try:
            yield
        except ends as error:
            if not self.text:
                raise
            raise self.added_to(error) from error


def known_by(plan: FlashPlan) -> Known:
    """What the device is known by from now on, running what it is to run or what it ran."""
    slots, logger = plan.survey.slots, plan.survey.logger
    new = frozenset(part.hash for part in plan.parts)
    held = frozenset(slot.hash for slot in slots if slot.hash is not None)
    return Known(None if logger is None else logger.uid, held | new, new, any(slot.active for slot in slots))


async def stop_session(link: SteadyLink, tell: Tell) -> None:
    """End a session that is recorded or waited for."""
    message = logger.StopRequest(id=secrets.randbits(32))
    try:
        done = await link.ask(lambda: link.device.request(logger.STOP, message))
    except RefusedError as error:
        if (error.group, error.code) != (Group.LOGGER, logger.LoggerError.NOT_RECORDING):
            raise
    else:
        tell(f"session {done.session} stopped")


@dataclass(slots=True)
class Trial:
    """`left` is kept up to date. `unseen`: hashes of images whose place the device does not show."""

    link: SteadyLink
    plan: FlashPlan
    options: FlashOptions
    tell: Tell
    left: Left
    unseen: frozenset[bytes] = frozenset()

    @property
    def parts(self) -> list[Part]:
        """What can be seen to run."""
        return [part for part in self.plan.parts if part.hash not in self.unseen]

    async def prove(self, before: Snapshot | None) -> bool:
        """Whether the new firmware is confirmed at the end, or left on trial as was wished; raises VerificationError if
        it does not work, or no longer runs."""
        self.left.text = self._on_trial
        judged = await self.link.ask(lambda: judge(self.link.device, before))
        found = self._held_against(judged)
        slots = await self._slots()
        self._require_running(slots)
        if found:
            raise await self._rejected(found, slots)
        for cost in judged.cost:
            self.tell(f"note: {cost}")
        if self._kept(slots):
            return True
        if not self.options.confirm:
            self.tell("not confirmed: the next restart brings the former firmware back")
            return False
        for part in sorted(self.plan.parts, key=lambda part: -part.number):
            # image 0 last: it can always be confirmed, others not everywhere, and all stay or none
            if part.hash not in self.unseen or not self._stays(part, slots):
                await self._confirm(part)
        self.tell("confirmed")
        return True

    @property
    def _on_trial(self) -> str:
        part = self.plan.parts[0]
        if not self.plan.survey.reverts or self.options.permanent:
            return f"{part.version} was installed for good; nothing brings the former firmware back"
        return (
            f"{part.version} runs on trial: the next restart brings {part.before or 'the former firmware'} back unless it "
            "is confirmed. Repeat the command"
        )

    async def _slots(self) -> tuple[ImageSlot, ...]:
        return await self.link.ask(lambda: read(self.link.device, sure=self.plan.survey.logger is not None))

    def _kept(self, slots: tuple[ImageSlot, ...]) -> bool:
        return all(self._stays(part, slots) for part in self.plan.parts)

    def _stays(self, part: Part, slots: tuple[ImageSlot, ...]) -> bool:
        """Of what is not seen to run: whether nothing would come back in its place."""
        if part.hash in self.unseen:
            return not any(slot.confirmed for slot in of_image(slots, part.number))
        return _confirmed(part, slots)

    def _held_against(self, found: Judgement) -> list[str]:
        """What speaks against it, and what to do about it at the end."""
        if not found.settings:
            return list(found.faults)
        if self.options.allow_changed_settings:
            for change in found.settings:
                self.tell(f"note: {change}")
            return list(found.faults)
        *others, last = found.settings
        return [*found.faults, *others, f"{last}. If that is as it should be, add --allow-changed-settings"]

    def _require_running(self, slots: tuple[ImageSlot, ...]) -> None:
        """Also before anything is held against it: it may be the former firmware that was looked at."""
        for part in self.parts:
            now = running(slots, part.number)
            if now is None or now.hash != part.hash:
                shown = "nothing" if now is None else now.version
                raise taken_back(
                    f"the device restarted by itself before {part.version} was confirmed, and {shown} runs again. It works "
                    "as before; repeat the command, and see to its power",
                    self.plan.parts,
                    slots,
                    CutShort,
                )

    async def _rejected(self, found: list[str], slots: tuple[ImageSlot, ...]) -> VerificationError:
        """Let the boot loader bring the former firmware back, and say what runs then."""
        why = f"the new firmware {self.plan.parts[0].version} runs but does not work: {'; '.join(found)}"
        if not self.plan.survey.reverts or self._kept(slots):
            return VerificationError(
                f"{why}. It was installed for good, so it keeps running; flash the former firmware with --allow-downgrade"
            )
        self.left.text = (
            f"The new firmware does not work ({'; '.join(found)}) and runs on trial: the next restart brings the former "
            "one back"
        )
        if self.plan.survey.recording and not self.plan.restarts:
            if not self.options.stop_logging:
                return VerificationError(
                    f"{why}. It is recording a session, so it was not restarted: it stays on trial, and the next restart "
                    "brings the former firmware back. Add --stop-logging to have that done now"
                )
            await stop_session(self.link, self.tell)
        self.tell("the new firmware does not work: restarting, so that the former one comes back")
        slots = await restart(self.link.device, slots, self.options.return_s, known=self.link.known)
        return self._former_back(why, slots)

    def _former_back(self, why: str, slots: tuple[ImageSlot, ...]) -> VerificationError:
        now = [running(slots, part.number) for part in self.parts]
        versions = " and ".join("nothing" if slot is None else slot.version for slot in now)
        if any(slot is None or slot.hash == part.hash for slot, part in zip(now, self.parts, strict=True)):
            return VerificationError(
                f"{why}. The boot loader did not take it back: {versions} runs. See `fieldlog image list`"
            )
        return taken_back(
            f"{why}. The boot loader took it back: {versions} runs, confirmed, as before. Keep to that, and give whoever "
            "made the new firmware this message",
            self.plan.parts,
            slots,
        )

    async def _confirm(self, part: Part) -> None:
        """By no hash where that will do: should the former firmware be back by now, its hash would start the new one."""
        named = part.hash if part.number else None
        unknown = False
        try:
            await self.link.ask(lambda: self.link.device.set_image(named, confirm=True))
        except RefusedError as error:
            unknown = unknown_command(error)
            if not unknown and not reply_too_long(error):
                if part.number:
                    await self._not_to_be_confirmed(part, error)
                    return
                raise
        slots = await self._slots()
        self._require_running(slots)
        if self._stays(part, slots) or not self.plan.survey.reverts:
            return
        if unknown and on_trial(slots, part.number) is None:
            return  # boots the newest, with nothing to go back to: there is nothing to confirm
        answer = "knows no such command" if unknown else "said yes to it"
        raise VerificationError(
            f"{part.version} runs and works, but the device does not list it as confirmed: asked to confirm it, it "
            f"{answer}. The next restart may bring {part.before or 'the former firmware'} back. See `fieldlog image list`, "
            "and give whoever made the firmware this message"
        )

    async def _not_to_be_confirmed(self, part: Part, error: RefusedError) -> None:
        """Zephyr lets no image but the application be confirmed while it runs, unless it was built to (image error 32)."""
        slots = await self._slots()
        if self._stays(part, slots):
            return
        late = [other for other in self.plan.parts if not self._stays(other, slots)]
        back = " and ".join(f"{other.before or 'the former firmware'} of image {other.number}" for other in late)
        self.left.text = (
            f"The device does not let {part.version} of image {part.number} be confirmed while it runs: the next restart "
            f"brings {back} back. Let it by `fieldlog reset`, then add --permanent: all images are "
            "installed for good then, without a trial"
        )
        raise error


def not_started(
    parts: Sequence[Part], part: Part, slots: tuple[ImageSlot, ...], last_restart: str | None = None
) -> VerificationError:
    """Of an image that does not run after a restart into it: why, as far as the slots and the reason of the last restart
    tell."""
    now = running(slots, part.number)
    if now is None and running(slots, 0) is not None:
        return VerificationError(
            f"the device restarted and does not list what it runs as image {part.number}, where {part.version} should. See "
            "`fieldlog image list`"
        )
    if now is None:
        return VerificationError(
            "the device restarted and lists no image as running: its boot loader answers, or nothing runs. Send an image "
            "with `fieldlog flash --recovery`"
        )
    again = f"the device restarted but {'still' if now.version == part.before else 'now'} runs {now.version}"
    tried = idle_slot(slots, part.number, part.hash)
    kind = TakenBack if tried is None or tried.pending or _hung(last_restart) else CutShort
    return taken_back(f"{again}: {_why_not(part, slots, last_restart)}", parts, slots, kind)


def never_marked(parts: Sequence[Part], part: Part, slots: tuple[ImageSlot, ...]) -> VerificationError:
    """Of an image that was not started because the device did not take the mark."""
    return taken_back(
        f"{part.version} is on the device but was not started: asked to mark it, the device never listed it as marked. It "
        "works as before; see `fieldlog image list`, and give whoever made the firmware that runs this message",
        parts,
        slots,
    )


def _why_not(part: Part, slots: tuple[ImageSlot, ...], last_restart: str | None) -> str:
    idle = idle_slot(slots, part.number, part.hash)
    if idle is None:
        return (
            "its boot loader did not accept the new image (signature, key or header) and erased it. The device works as "
            "before; check with `fieldlog image inspect` that the image is signed with the device's key"
        )
    if idle.pending:
        return (
            f"{part.version} still waits in slot {idle.slot}, its boot loader does not start it. The device works as "
            "before; see with `fieldlog image inspect` whether it needs another image, and give a package that holds both"
        )
    if _hung(last_restart):
        return (
            f"its boot loader took it back because it did not come up, or hung: the device was restarted by its "
            f"{last_restart!r}. The device works as before; keep to that, and give whoever made the new firmware this message"
        )
    cause = "" if last_restart is None else f"By what it was last restarted, the device calls {last_restart!r}. "
    return (
        "its boot loader took it back because it did not come up, or because the device lost its power or was restarted "
        "once more before it was confirmed; or the boot loader did not accept it (signature, key or header). "
        f"{cause}The device works as before. Repeat the command; should it end like this again, check with "
        "`fieldlog image inspect` that the image is signed with the device's key"
    )


def _hung(last_restart: str | None) -> bool:
    return _WATCHDOG in (last_restart or "").lower()


def unknown_command(error: RefusedError) -> bool:
    """Whether the device does not have the command at all."""
    return error.group is None and error.code == Rc.NOT_SUPPORTED


def reply_too_long(error: RefusedError) -> bool:
    """Whether only the reply did not fit, the new list of images: what was asked for is done then."""
    return error.group is None and error.code == Rc.MESSAGE_SIZE


def _confirmed(part: Part, slots: tuple[ImageSlot, ...]) -> bool:
    now = running(slots, part.number)
    return now is not None and now.hash == part.hash and bool(now.confirmed)
