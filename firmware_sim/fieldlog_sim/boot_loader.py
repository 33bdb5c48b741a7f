"""An MCUboot-like boot loader: it decides at each boot which of two images runs, from what flash holds and nothing else.

Slot 0 runs, slot 1 receives updates. The last sector of each slot is its trailer, in MCUboot's format: from the end
backwards magic, image_ok, copy_done. A flag counts only when it reads exactly 1, a magic only when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import BOOT_MAGIC, TRAILER_ALIGN, Image, ImageFlag, ImageVersion, parse_image, verify_hash
from fieldlog_sim.boot_swap import ScratchSwap, Swap, SwapJob, SwapStrategy
from fieldlog_sim.nor_flash import FlashMap, Partition

_SET = b"\x01"
_UNSET = b"\xff"
_IMAGE_OK = len(BOOT_MAGIC) + TRAILER_ALIGN
_COPY_DONE = _IMAGE_OK + TRAILER_ALIGN

_REASONS = {
    Swap.NONE: "the image in slot 0 runs as before",
    Swap.TEST: "the image marked for test was swapped in; unless it is confirmed the next boot goes back to the former one",
    Swap.PERMANENT: "the image marked as permanent was swapped in",
    Swap.REVERT: "the image under test was not confirmed; the former one was swapped back",
}


@dataclass(frozen=True, slots=True)
class BootReport:
    """What one boot did. `version` is None when slot 0 holds nothing that may run."""

    version: ImageVersion | None
    hash: bytes | None
    swap: Swap
    resumed: bool
    reason: str
    refused: str | None


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """A slot that holds an image, with the flags that SMP's image list shows."""

    slot: int
    version: ImageVersion
    hash: bytes | None
    bootable: bool
    active: bool = False
    confirmed: bool = False
    pending: bool = False
    permanent: bool = False


# What the next boot would do -> the flags of slot 0 and slot 1, as Zephyr shows them.
_FLAGS: dict[Swap, tuple[dict[str, bool], dict[str, bool]]] = {
    Swap.NONE: ({"active": True, "confirmed": True}, {}),
    Swap.TEST: ({"active": True, "confirmed": True}, {"pending": True}),
    Swap.PERMANENT: ({"active": True, "confirmed": True}, {"pending": True, "permanent": True}),
    Swap.REVERT: ({"active": True}, {"confirmed": True}),
}


class Slot:
    """A partition that holds an image, and its trailer."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    @property
    def trailer_sector(self) -> int:
        return self.partition.sectors - 1

    @property
    def capacity(self) -> int:
        """The largest image that leaves the trailer its sector."""
        return self.trailer_sector * self.partition.sector_size

    @property
    def image(self) -> Image | None:
        try:
            return parse_image(self.partition.read(0, self.partition.size))
        except ImageError:
            return None

    @property
    def marked(self) -> bool:
        return self._at(len(BOOT_MAGIC), len(BOOT_MAGIC)) == BOOT_MAGIC

    @property
    def image_ok(self) -> bool:
        return self._at(_IMAGE_OK, 1) == _SET

    @property
    def copy_done(self) -> bool:
        return self._at(_COPY_DONE, 1) == _SET

    def set_trailer(self, *, image_ok: bool, copy_done: bool = False) -> None:
        """Set these flags, then the magic, which makes them count."""
        fields = (
            (_IMAGE_OK, _SET if image_ok else _UNSET),
            (_COPY_DONE, _SET if copy_done else _UNSET),
            (len(BOOT_MAGIC), BOOT_MAGIC),
        )
        if not all(self._can_become(*field) for field in fields):
            self.erase_trailer()
        for from_end, data in fields:
            if self._at(from_end, len(data)) != data:
                self.partition.program(self.partition.size - from_end, data)

    def erase_trailer(self) -> None:
        self.partition.erase(self.trailer_sector)

    def _at(self, from_end: int, length: int) -> bytes:
        return self.partition.read(self.partition.size - from_end, length)

    def _can_become(self, from_end: int, data: bytes) -> bool:
        """A torn erase may leave bits in the trailer that only another erase can set."""
        return all(old & new == new for old, new in zip(self._at(from_end, len(data)), data, strict=True))


class BootLoader:
    """`verify` decides whether an image may run; it raises ImageError with the reason why not."""

    def __init__(
        self,
        slot0: Partition,
        slot1: Partition,
        strategy: SwapStrategy,
        verify: Callable[[Image], None] = verify_hash,
    ) -> None:
        self._slot0 = Slot(slot0)
        self._slot1 = Slot(slot1)
        self.strategy = strategy
        self._verify = verify
        self._fresh_sectors: set[int] = set()

    @classmethod
    def of(cls, flash_map: FlashMap) -> BootLoader:
        slot0, slot1 = flash_map.slot0, flash_map.slot1
        return cls(slot0, slot1, ScratchSwap(slot0, slot1, flash_map.scratch, flash_map.boot_status))

    def boot(self) -> BootReport:
        """Finish what a power cut interrupted, or do what the trailers ask for; then hold slot 0 against its hash."""
        self._fresh_sectors.clear()
        unfinished = self.strategy.unfinished()
        job, refused = (unfinished, None) if unfinished else self._decide()
        if job is not None:
            self._exchange(job)
        swap = job.kind if job else Swap.NONE
        return self._report(swap, resumed=unfinished is not None, refused=refused)

    def _decide(self) -> tuple[SwapJob | None, str | None]:
        kind = self.next_swap
        if kind is Swap.NONE:
            return None, None
        try:
            image = self._runnable(self._slot1)
        except ImageError as error:
            return None, self._refuse(kind, error)
        former = self._slot0.image
        size = max(image.size, former.size if former else 0)
        return SwapJob(kind, -(-size // self._slot0.partition.sector_size)), None

    def _refuse(self, kind: Swap, error: ImageError) -> str:
        """What cannot run is not tried again: slot 1 is emptied, and slot 0 stays because nothing can take its place."""
        self._slot1.erase_trailer()
        self._slot1.partition.erase(0)
        if kind is Swap.REVERT:
            self._slot0.set_trailer(image_ok=True, copy_done=True)
        return f"the image in slot 1 was refused and erased: {error}"

    def _exchange(self, job: SwapJob) -> None:
        """The trailers are rewritten whole, so that an exchange taken up again here does it again."""
        self.strategy.run(job)
        self._slot0.erase_trailer()
        self._slot0.set_trailer(image_ok=job.kind is not Swap.TEST, copy_done=True)
        self._slot1.erase_trailer()
        self.strategy.finish()

    def _report(self, swap: Swap, *, resumed: bool, refused: str | None) -> BootReport:
        try:
            image = self._runnable(self._slot0)
        except ImageError as error:
            return BootReport(None, None, swap, resumed, f"nothing runs: in slot 0, {error}", refused)
        return BootReport(image.version, image.hash, swap, resumed, _REASONS[swap], refused)

    def _runnable(self, slot: Slot) -> Image:
        image = parse_image(slot.partition.read(0, slot.partition.size))
        if image.size > slot.capacity:
            raise ImageError(f"the image takes {image.size} bytes, the slot holds {slot.capacity}")
        if ImageFlag.NON_BOOTABLE in image.flags:
            raise ImageError("the image is marked as not bootable")
        self._verify(image)
        return image

    @property
    def next_swap(self) -> Swap:
        """What the trailers ask of the next boot; MCUboot's table."""
        if self._slot1.marked:
            return Swap.PERMANENT if self._slot1.image_ok else Swap.TEST
        if self._slot0.marked and self._slot0.copy_done and not self._slot0.image_ok:
            return Swap.REVERT
        return Swap.NONE

    @property
    def slot_size(self) -> int:
        return self._slot1.partition.size

    @property
    def max_image_size(self) -> int:
        return self._slot1.capacity

    @property
    def slot1_in_use(self) -> bool:
        """Whether slot 1 waits to be swapped in, or is what an unconfirmed image would go back to."""
        return self.next_swap is not Swap.NONE

    def slots(self) -> tuple[SlotInfo, ...]:
        flags = _FLAGS[self.next_swap]
        found = ((number, slot.image) for number, slot in enumerate((self._slot0, self._slot1)))
        return tuple(
            SlotInfo(number, image.version, image.hash, ImageFlag.NON_BOOTABLE not in image.flags, **flags[number])
            for number, image in found
            if image is not None
        )

    def mark_pending(self, *, permanent: bool) -> None:
        """Have the next boot swap slot 1 in. A mark for good is not taken back by one for test."""
        if self._slot1.image is None:
            raise UsageError("slot 1 holds no image. Nothing was marked. Upload one first")
        already = self.next_swap is Swap.PERMANENT
        self._slot1.set_trailer(image_ok=permanent or already)

    def confirm(self) -> None:
        """Keep what runs. An image that was never swapped in needs no confirmation."""
        if self._slot0.marked:
            self._slot0.set_trailer(image_ok=True, copy_done=self._slot0.copy_done)

    def erase(self) -> None:
        """Empty slot 1, its trailer first: a mark must never outlive what it marks."""
        slot = self._slot1.partition
        for sector in (self._slot1.trailer_sector, *range(self._slot1.trailer_sector)):
            if not slot.is_erased(sector * slot.sector_size, slot.sector_size):
                slot.erase(sector)

    def begin_upload(self) -> None:
        """Make slot 1 no image at once; the sectors that follow are erased as they are reached."""
        self._fresh_sectors = {self._slot1.trailer_sector}
        self._slot1.erase_trailer()
        self._freshen(0)

    def write(self, offset: int, data: bytes) -> None:
        """Program a piece of the image that begin_upload began."""
        sector_size = self._slot1.partition.sector_size
        for sector in range(offset // sector_size, -(-(offset + len(data)) // sector_size)):
            self._freshen(sector)
        self._slot1.partition.program(offset, data)

    def _freshen(self, sector: int) -> None:
        if sector not in self._fresh_sectors:
            self._slot1.partition.erase(sector)
            self._fresh_sectors.add(sector)

    def uploaded(self, length: int) -> bytes:
        """The first bytes of slot 1, for the check that ends an upload."""
        return self._slot1.partition.read(0, length)

    def install(self, image: bytes) -> None:
        """Put an image into slot 0 as a debugger does in the factory."""
        slot = self._slot0.partition
        if len(image) > self._slot0.capacity:
            raise UsageError(f"an image of {len(image)} bytes does not fit a slot that holds {self._slot0.capacity}")
        slot.erase_all()
        slot.program(0, image)
