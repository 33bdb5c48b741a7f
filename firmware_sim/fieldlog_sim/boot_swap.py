"""MCUboot's ways of bringing an update into slot 0: swap using move, swap using offset, and overwriting.

Rule of this file: a step is repeated until its mark is in flash, and no step destroys what it reads from. What is to be
exchanged and why is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from fieldlog_sim.boot_trailer import Swap, SwapJob, Trailer
from fieldlog_sim.nor_flash import Partition

_STATES = 2  # steps of a sector in the exchange proper


class BootMode(IntEnum):
    """How the boot loader updates, in the numbers of the os group's boot loader query."""

    OVERWRITE = 2
    MOVE = 3
    OFFSET = 9


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a trailer: status entries a sector of the slot, and fields that this simulation leaves unset."""

    entries_a_sector: int
    fields: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """The two slots of one image, and their trailers."""

    primary: Partition
    secondary: Partition
    primary_trailer: Trailer
    secondary_trailer: Trailer

    @classmethod
    def of(cls, primary: Partition, secondary: Partition, number: int, shape: Shape) -> Slots:
        """`number`: of the image."""
        entries = shape.entries_a_sector * primary.sectors
        trailers = [Trailer(slot, number, entries, shape.fields) for slot in (primary, secondary)]
        return cls(primary, secondary, *trailers)

    @property
    def sector_size(self) -> int:
        """Bytes that are erased at once."""
        return self.primary.sector_size

    @property
    def room(self) -> int:
        """Sectors of the smaller slot without its trailer."""
        return min(self.primary_trailer.sector, self.secondary_trailer.sector)

    def sectors(self, size: int) -> int:
        """How many sectors so many bytes take."""
        return -(-size // self.sector_size)


class Strategy(Protocol):
    """One way to bring the image in slot 1 into slot 0."""

    @property
    def reverts(self) -> bool:
        """Whether the former image is kept, and so an update can be tried."""
        ...

    @property
    def upload_sector(self) -> int:
        """Where in slot 1 an update begins."""
        ...

    @property
    def capacity(self) -> int:
        """Bytes of the largest image."""
        ...

    def secondary_sector(self, kind: Swap, /) -> int:
        """Where in slot 1 the image lies that a job of this kind brings into slot 0."""
        ...

    def unfinished(self) -> SwapJob | None:
        """The job that a power cut interrupted."""
        ...

    def run(self, job: SwapJob) -> None:
        """Begin the job, or go on with it where it stopped; all but its end."""
        ...

    def finish(self, job: SwapJob, /) -> None:
        """Put the job away; until then a restart takes it up again."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """Copy one sector, then mark that in a status entry."""

    entry: int
    state: int
    source: Partition
    source_sector: int
    target: Partition
    target_sector: int

    def take(self) -> None:
        """Only a sector that this or an earlier step has made superfluous is erased."""
        size = self.source.sector_size
        self.target.erase(self.target_sector)
        self.target.program(self.target_sector * size, self.source.read(self.source_sector * size, size))


class _SwapInPlace:
    """What the two ways of exchanging have in common: the job is noted in the trailer of slot 0, a mark for each step."""

    reverts = True

    def __init__(self, slots: Slots, capacity_sectors: int, steps: Callable[[SwapJob], Iterator[Step]]) -> None:
        self._slots = slots
        self._steps = steps
        self.capacity = capacity_sectors * slots.sector_size

    def unfinished(self) -> SwapJob | None:
        """A job for more than an image can have was never begun: such a trailer came with a file."""
        trailer = self._slots.primary_trailer
        job = None if trailer.copy_done else trailer.job
        return job if job is not None and 0 < job.size <= self.capacity else None

    def run(self, job: SwapJob) -> None:
        if self.unfinished() is None:
            self._begin(job)
        trailer = self._slots.primary_trailer
        steps = list(self._steps(job))
        if not trailer.step_done(steps[0].entry):
            self._slots.secondary_trailer.clear()
        for step in steps:
            if not trailer.step_done(step.entry):
                step.take()
                trailer.mark_step(step.entry, step.state)

    def finish(self, _job: SwapJob, /) -> None:
        self._slots.primary_trailer.finish()

    def _begin(self, job: SwapJob) -> None:
        """A revert is asked for by the very trailer that is to be written anew, so slot 1 is made to ask for it too."""
        secondary = self._slots.secondary_trailer
        if job.kind is Swap.REVERT and secondary.asks_for is not Swap.REVERT:
            secondary.write(image_ok=True, job=job)
        self._slots.primary_trailer.clear()
        self._slots.primary_trailer.write(image_ok=job.kind is not Swap.TEST, job=job)


class MoveSwap(_SwapInPlace):
    """Move the image in slot 0 up by a sector, last sector first; then exchange, first sector first.

    Slot 0 needs one sector more than the image.
    """

    shape = Shape(1 + _STATES)
    upload_sector = 0

    def __init__(self, slots: Slots) -> None:
        super().__init__(slots, min(slots.primary_trailer.sector - 1, slots.room), self._plan)

    def secondary_sector(self, _kind: Swap, /) -> int:
        return 0

    def _plan(self, job: SwapJob) -> Iterator[Step]:
        first, second = self._slots.primary, self._slots.secondary
        count = self._slots.sectors(job.size)
        for number in range(count):
            yield Step(number, 1, first, count - number - 1, first, count - number)
        for sector in range(count):
            entry = first.sectors + _STATES * sector
            yield Step(entry, 1, second, sector, first, sector)
            yield Step(entry + 1, 2, first, sector + 1, second, sector)


class OffsetSwap(_SwapInPlace):
    """The update begins in the second sector of slot 1, so that each sector of slot 0 finds a free one there.

    A revert goes from the last sector down and leaves the refused image where an update lies.
    """

    shape = Shape(_STATES, fields=1)  # the sizes of both images' TLVs
    upload_sector = 1

    def __init__(self, slots: Slots) -> None:
        super().__init__(slots, min(slots.secondary_trailer.sector - 1, slots.room), self._plan)

    def secondary_sector(self, kind: Swap, /) -> int:
        return 0 if kind is Swap.REVERT else 1

    def finish(self, job: SwapJob, /) -> None:
        """The first sector still holds the header of the image that went back."""
        if job.kind is Swap.REVERT:
            self._slots.secondary.erase(0)
        super().finish(job)

    def _plan(self, job: SwapJob) -> Iterator[Step]:
        first, second = self._slots.primary, self._slots.secondary
        count = self._slots.sectors(job.size)
        back = job.kind is Swap.REVERT
        for number in range(count):
            sector = count - number - 1 if back else number
            entry = _STATES * number
            yield Step(entry, 1, first, sector, second, sector + back)
            yield Step(entry + 1, 2, second, sector + (not back), first, sector)


class Overwrite:
    """Copy slot 1 over slot 0: the former image is gone, and there is no way back.

    Nothing notes how far it came: slot 1 stays whole and marked until slot 0 is.
    """

    shape = Shape(0)
    reverts = False
    upload_sector = 0

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.capacity = slots.room * slots.sector_size

    def secondary_sector(self, _kind: Swap, /) -> int:
        return 0

    def unfinished(self) -> SwapJob | None:
        return None

    def run(self, job: SwapJob) -> None:
        self._slots.primary_trailer.clear()
        for sector in range(self._slots.sectors(job.size)):
            Step(0, 1, self._slots.secondary, sector, self._slots.primary, sector).take()

    def finish(self, _job: SwapJob, /) -> None:
        self._slots.secondary_trailer.erase()
        self._slots.secondary.erase(0)


_STRATEGIES: dict[BootMode, type[MoveSwap | OffsetSwap | Overwrite]] = {
    BootMode.MOVE: MoveSwap,
    BootMode.OFFSET: OffsetSwap,
    BootMode.OVERWRITE: Overwrite,
}


def make_strategy(mode: BootMode, primary: Partition, secondary: Partition, number: int) -> tuple[Slots, Strategy]:
    """The slots of image `number`, with the trailers of this way of updating."""
    kind = _STRATEGIES[mode]
    slots = Slots.of(primary, secondary, number, kind.shape)
    return slots, kind(slots)
