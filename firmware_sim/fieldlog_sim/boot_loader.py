"""An MCUboot-like boot loader: it decides at each boot which images run, from what flash holds and nothing else.

The images of a device are updated together: all are brought in before any of them counts as done, so that a power cut
never leaves one on trial and another still waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import Image, ImageVersion
from fieldlog_sim.boot_area import ImageArea, SlotInfo
from fieldlog_sim.boot_policy import Policy
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.boot_trailer import Swap, SwapJob
from fieldlog_sim.nor_flash import FlashMap

_REASONS = {
    Swap.NONE: "the image in slot 0 runs as before",
    Swap.TEST: "the image marked for test was swapped in; unless it is confirmed the next boot goes back to the former one",
    Swap.PERMANENT: "the image marked as permanent was swapped in",
    Swap.REVERT: "the image under test was not confirmed; the former one was swapped back",
}
_OVERWRITTEN = "the image in slot 1 was copied over the former one"


@dataclass(frozen=True, slots=True)
class BootReport:
    """What one boot did with an image. `version` is None when slot 0 holds nothing that may run.

    `others`: the same of the further images.
    """

    version: ImageVersion | None
    hash: bytes | None
    swap: Swap
    resumed: bool
    reason: str
    refused: str | None
    others: tuple[BootReport, ...] = ()

    @property
    def told(self) -> str:
        """What happened, of all images, and what did not."""
        reports = (self, *self.others)
        return "; ".join([self.reason, *(report.refused for report in reports if report.refused is not None)])

    @property
    def runs(self) -> bool:
        """Whether every image may run."""
        return self.version is not None and all(other.runs for other in self.others)


@dataclass(slots=True)
class _Decision:
    """What becomes of one image in this boot. `resumed`: a power cut interrupted the job."""

    area: ImageArea
    job: SwapJob | None = None
    resumed: bool = False
    refused: str | None = None


class BootLoader:
    """`areas`: one for each image of the device, by its number."""

    def __init__(self, areas: tuple[ImageArea, ...], mode: BootMode, policy: Policy) -> None:
        self.areas = areas
        self.mode = mode
        self.policy = policy

    @classmethod
    def of(cls, flash_map: FlashMap, mode: BootMode = BootMode.MOVE, policy: Policy | None = None) -> BootLoader:
        """The boot loader of a device with this flash."""
        areas = tuple(ImageArea(number, *slots, mode) for number, slots in enumerate(flash_map.images))
        return cls(areas, mode, policy or Policy())

    def area(self, number: int) -> ImageArea | None:
        """The slots of an image, None if the device has no such image."""
        return self.areas[number] if 0 <= number < len(self.areas) else None

    def slots(self) -> tuple[SlotInfo, ...]:
        """Every slot that holds an image."""
        return tuple(info for area in self.areas for info in area.infos())

    def boot(self) -> BootReport:
        """Finish what a power cut interrupted, or do what the trailers ask for; then hold slot 0 against its hash."""
        decisions = self._decide()
        jobs = [(decision.area.strategy, decision.job) for decision in decisions if decision.job is not None]
        for strategy, job in jobs:
            strategy.run(job)
        for strategy, job in jobs:
            strategy.finish(job)
        first, *others = map(self._report, decisions)
        return BootReport(
            first.version, first.hash, first.swap, first.resumed, first.reason, first.refused, tuple(others)
        )

    def _decide(self) -> list[_Decision]:
        unfinished = [(area, area.strategy.unfinished()) for area in self.areas]
        interrupted = {job.kind for _, job in unfinished if job is not None}
        decisions = [
            self._decide_anew(area, interrupted) if job is None else _Decision(area, job, resumed=True)
            for area, job in unfinished
        ]
        if len(decisions) > 1:
            self._hold_back(decisions)
        return decisions

    def _decide_anew(self, area: ImageArea, interrupted: set[Swap]) -> _Decision:
        """`interrupted`: kinds of the jobs that are taken up again beside this; an image that came in with them stays."""
        kind = area.next_swap
        if kind is Swap.NONE or (not area.asked and interrupted - {Swap.REVERT}):
            return _Decision(area)
        try:
            image = area.secondary(kind)
            self.policy.admit(image, area.number)
            if kind is not Swap.REVERT:
                self.policy.admit_update(image, _running(area))
        except ImageError as error:
            area.refuse(kind)
            return _Decision(area, refused=f"the image in slot 1 was refused and erased: {error}")
        return _Decision(area, area.job(kind))

    def _hold_back(self, decisions: list[_Decision]) -> None:
        """An update waits until what it depends on is there or comes with it. Holding one back may hold back others."""
        held = True
        while held:
            held = False
            for decision in decisions:
                lack = self._lack(decision, decisions)
                if lack is not None:
                    decision.job, decision.refused, held = None, lack, True

    def _lack(self, decision: _Decision, decisions: list[_Decision]) -> str | None:
        if decision.job is None or decision.resumed or decision.job.kind is Swap.REVERT:
            return None
        for wanted in decision.area.secondary(decision.job.kind).dependencies:
            found = _version_to_run(decisions[wanted.image]) if wanted.image < len(decisions) else None
            if found is None or _without_build(found) < _without_build(wanted.version):
                return (
                    f"the image in slot 1 waits: it needs image {wanted.image} at version {wanted.version} or later, "
                    f"and that is {found or 'missing'}"
                )
        return None

    def _report(self, decision: _Decision) -> BootReport:
        area = decision.area
        swap = decision.job.kind if decision.job else Swap.NONE
        try:
            image = area.primary()
            self.policy.admit(image, area.number)
        except ImageError as error:
            return BootReport(None, None, swap, decision.resumed, f"nothing runs: in slot 0, {error}", decision.refused)
        if area.next_swap is Swap.NONE:
            self.policy.keep(image, area.number)
        reason = _REASONS[swap] if area.strategy.reverts or swap is Swap.NONE else _OVERWRITTEN
        return BootReport(image.version, image.hash, swap, decision.resumed, reason, decision.refused)


def _without_build(version: ImageVersion) -> tuple[int, int, int]:
    """MCUboot compares build numbers only where it was built to."""
    return version.major, version.minor, version.revision


def _running(area: ImageArea) -> Image | None:
    try:
        return area.primary()
    except ImageError:
        return None


def _version_to_run(decision: _Decision) -> ImageVersion | None:
    """The version of an image once this boot is over. A job taken up again has its image in pieces: it counts as there."""
    if decision.resumed:
        return ImageVersion(0xFF, 0xFF, 0xFFFF, 0xFFFF_FFFF)
    try:
        image = decision.area.secondary(decision.job.kind) if decision.job else decision.area.primary()
    except ImageError:
        return None
    return image.version
