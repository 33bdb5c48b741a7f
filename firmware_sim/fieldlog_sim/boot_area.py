"""One image of a device: its two slots, what their trailers ask for, and what the firmware may do to them.

Slot 0 runs, slot 1 receives updates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import Image, ImageFlag, ImageVersion, parse_image
from fieldlog_sim.boot_swap import BootMode, make_strategy
from fieldlog_sim.boot_trailer import UNKNOWN_SIZE, Swap, SwapJob, Trailer
from fieldlog_sim.nor_flash import Partition


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """A slot that holds an image, with the flags that SMP's image list shows."""

    image: int
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


class SlotWriter:
    """Writes an image piece by piece from a sector of a slot on."""

    def __init__(self, partition: Partition, trailer: Trailer, first_sector: int) -> None:
        self._partition = partition
        self._trailer = trailer
        self._first = first_sector
        self._fresh: set[int] = set()

    @property
    def size(self) -> int:
        """Bytes from there to the end of the slot."""
        return self._partition.size - self._start

    def begin(self) -> None:
        """Make the slot hold no image at once; the sectors that follow are erased as they are reached."""
        self._fresh = {self._trailer.sector}
        self._trailer.erase()
        self._freshen(self._first)

    def write(self, offset: int, data: bytes) -> None:
        """Program a piece of the image that `begin` began."""
        start, sector_size = self._start + offset, self._partition.sector_size
        for sector in range(start // sector_size, -(-(start + len(data)) // sector_size)):
            self._freshen(sector)
        self._partition.program(start, data)

    def written(self, length: int) -> bytes:
        """The first bytes, for the check that ends an upload."""
        return self._partition.read(self._start, length)

    @property
    def _start(self) -> int:
        return self._first * self._partition.sector_size

    def _freshen(self, sector: int) -> None:
        if sector not in self._fresh:
            self._partition.erase(sector)
            self._fresh.add(sector)


class ImageArea:
    """The slots of image `number`."""

    def __init__(self, number: int, primary: Partition, secondary: Partition, mode: BootMode) -> None:
        self.number = number
        self._slots, self.strategy = make_strategy(mode, primary, secondary, number)
        self.upload = SlotWriter(secondary, self._slots.secondary_trailer, self.strategy.upload_sector)
        self.recovery = SlotWriter(primary, self._slots.primary_trailer, 0)

    # what the boot loader asks

    @property
    def next_swap(self) -> Swap:
        """What the trailers ask of the next boot; MCUboot's table."""
        asked = self._slots.secondary_trailer.asks_for
        if asked is not Swap.NONE:
            return asked if self.strategy.reverts else Swap.PERMANENT
        return Swap.REVERT if self.on_trial else Swap.NONE

    @property
    def on_trial(self) -> bool:
        """Whether the image in slot 0 was swapped in and nothing has confirmed it yet."""
        trailer = self._slots.primary_trailer
        return self.strategy.reverts and trailer.marked and trailer.copy_done and not trailer.image_ok

    @property
    def asked(self) -> bool:
        """Whether slot 1 itself asks to be swapped in."""
        return self._slots.secondary_trailer.marked

    def primary(self) -> Image:
        """The image in slot 0, or ImageError."""
        return self._fitting(parse_image(self._slots.primary.read(0, self._slots.primary.size)))

    def secondary(self, kind: Swap) -> Image:
        """The image that a job of this kind would bring into slot 0, or ImageError."""
        slot = self._slots.secondary
        start = self.strategy.secondary_sector(kind) * slot.sector_size
        return self._fitting(parse_image(slot.read(start, slot.size - start)))

    def _fitting(self, image: Image) -> Image:
        if image.size > self.max_image_size:
            raise ImageError(f"the image takes {image.size} bytes, the slot holds {self.max_image_size}")
        return image

    def job(self, kind: Swap) -> SwapJob:
        """Exchange as much as the larger image takes."""
        former = _or_none(self.primary) if self.strategy.reverts else None
        return SwapJob(kind, max(self.secondary(kind).size, former.size if former else 0))

    def refuse(self, kind: Swap) -> None:
        """What cannot run is not tried again: slot 1 is emptied, and slot 0 stays because nothing can take its place."""
        self._slots.secondary_trailer.erase()
        self._slots.secondary.erase(self.strategy.secondary_sector(kind))
        if kind is Swap.REVERT:
            self._slots.primary_trailer.confirm()

    # what the firmware asks

    @property
    def slot_sizes(self) -> tuple[int, int]:
        return self._slots.primary.size, self._slots.secondary.size

    @property
    def max_image_size(self) -> int:
        return self.strategy.capacity

    @property
    def slot1_in_use(self) -> bool:
        """Whether slot 1 waits to be swapped in, or is what an unconfirmed image would go back to."""
        return self.next_swap is not Swap.NONE

    def infos(self) -> tuple[SlotInfo, ...]:
        """The slots that hold an image."""
        kind = self.next_swap
        images = (_or_none(self.primary), _or_none(lambda: self.secondary(kind)))
        return tuple(
            SlotInfo(
                self.number,
                slot,
                image.version,
                image.hash,
                ImageFlag.NON_BOOTABLE not in image.flags,
                **_FLAGS[kind][slot],
            )
            for slot, image in enumerate(images)
            if image is not None
        )

    def mark_pending(self, *, permanent: bool) -> None:
        """Have the next boot swap slot 1 in. A mark for good is not taken back by one for test."""
        kind = self.next_swap
        if _or_none(lambda: self.secondary(kind)) is None:
            raise UsageError("slot 1 holds no image. Nothing was marked. Upload one first")
        if kind is Swap.REVERT:  # that it comes back, and for good, is settled
            return
        trailer = self._slots.secondary_trailer
        good = permanent or trailer.asks_for is Swap.PERMANENT
        job = None if trailer.marked else SwapJob(Swap.PERMANENT if good else Swap.TEST, UNKNOWN_SIZE)
        trailer.write(image_ok=good, job=job)

    def confirm(self) -> None:
        """Keep what runs. An image that was never swapped in needs no confirmation."""
        if self._slots.primary_trailer.marked:
            self._slots.primary_trailer.confirm()

    def erase(self) -> None:
        """Empty slot 1, its trailer first: a mark must never outlive what it marks."""
        slot, last = self._slots.secondary, self._slots.secondary_trailer.sector
        for sector in (last, *range(last)):
            if not slot.is_erased(sector * slot.sector_size, slot.sector_size):
                slot.erase(sector)

    def install(self, image: bytes) -> None:
        """Put an image into slot 0 as a debugger does in the factory."""
        if len(image) > self.max_image_size:
            raise UsageError(f"an image of {len(image)} bytes does not fit a slot that holds {self.max_image_size}")
        self._slots.primary.erase_all()
        self._slots.primary.program(0, image)


def _or_none(read: Callable[[], Image]) -> Image | None:
    try:
        return read()
    except ImageError:
        return None
