"""MCUboot's notes at the end of a slot: the marks of an update, and how far an exchange of the slots has come.

From the end backwards, each field in write units of 8 bytes: magic, image_ok, copy_done, swap_info, swap_size, and the
status entries, a unit each, in the order of the steps below them. Rule: a flag counts only when it reads exactly 1, a
magic only when it is whole; whatever a torn operation leaves behind is no mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.image import BOOT_MAGIC, TRAILER_ALIGN
from fieldlog_sim.nor_flash import Partition

_MAGIC_AT = len(BOOT_MAGIC)
_IMAGE_OK = _MAGIC_AT + TRAILER_ALIGN
_COPY_DONE = _IMAGE_OK + TRAILER_ALIGN
_SWAP_INFO = _COPY_DONE + TRAILER_ALIGN
_SWAP_SIZE = _SWAP_INFO + TRAILER_ALIGN
_SIZE_BYTES = 4
UNKNOWN_SIZE = 0xFFFF_FFFF
"""Leaves swap_size as the erase did: the boot loader fills it in."""
_SET = b"\x01"
_UNSET = b"\xff"


class Swap(IntEnum):
    """What a boot does with the slots, in MCUboot's numbers."""

    NONE = 1
    TEST = 2
    PERMANENT = 3
    REVERT = 4


@dataclass(frozen=True, slots=True)
class SwapJob:
    """`size`: bytes of the larger image."""

    kind: Swap
    size: int


class Trailer:
    """The last sector of a slot. `number`: of the image, which stands in swap_info beside the type.

    `entries`: of the swap status. `fields`: between it and swap_size, not used here.
    """

    def __init__(self, partition: Partition, number: int, entries: int, fields: int) -> None:
        self._partition = partition
        self._number = number
        self._entries = entries
        self.sector = partition.sectors - 1
        self._status = partition.size - _SWAP_SIZE - (fields + entries) * TRAILER_ALIGN
        if self._status < self.sector * partition.sector_size:
            raise UsageError(f"a slot of {partition.size} bytes needs a boot trailer of more than one sector")

    @property
    def marked(self) -> bool:
        """Whether its magic is whole, so that its flags count."""
        return self._at(_MAGIC_AT, len(BOOT_MAGIC)) == BOOT_MAGIC

    @property
    def image_ok(self) -> bool:
        """Whether the image in the slot stays."""
        return self._at(_IMAGE_OK, 1) == _SET

    @property
    def copy_done(self) -> bool:
        """Whether the exchange that brought the image here is over."""
        return self._at(_COPY_DONE, 1) == _SET

    @property
    def job(self) -> SwapJob | None:
        """The exchange that swap_info and swap_size tell of, whether it is over or not."""
        info = self._at(_SWAP_INFO, TRAILER_ALIGN)
        size = self._at(_SWAP_SIZE, TRAILER_ALIGN)
        number, kind = divmod(info[0], 16)
        padding = info[1:] + size[_SIZE_BYTES:]
        if not self.marked or number != self._number or kind not in (Swap.TEST, Swap.PERMANENT, Swap.REVERT):
            return None
        if padding.strip(_UNSET):
            return None
        return SwapJob(Swap(kind), int.from_bytes(size[:_SIZE_BYTES], "little"))

    @property
    def asks_for(self) -> Swap:
        """What this trailer of an update slot asks of the next boot."""
        if not self.marked:
            return Swap.NONE
        job = self.job
        if job is not None and job.kind is Swap.REVERT:
            return Swap.REVERT
        return Swap.PERMANENT if self.image_ok else Swap.TEST

    def write(self, *, image_ok: bool, job: SwapJob | None = None, copy_done: bool = False) -> None:
        """Set these fields, then the magic, which makes them count. What a torn operation left is erased before."""
        fields = [(_IMAGE_OK, _SET if image_ok else _UNSET), (_COPY_DONE, _SET if copy_done else _UNSET)]
        if job is not None:
            size = job.size.to_bytes(_SIZE_BYTES, "little").ljust(TRAILER_ALIGN, _UNSET)
            fields = [(_SWAP_SIZE, size), (_SWAP_INFO, self._info(job.kind)), *fields]
        fields.append((_MAGIC_AT, BOOT_MAGIC))
        if not all(self._can_become(*field) for field in fields):
            self.erase()
        for field in fields:
            self._set(*field)

    def confirm(self) -> None:
        """Let the image in the slot stay."""
        self.write(image_ok=True, copy_done=self.copy_done)

    def finish(self) -> None:
        """The exchange is over. A torn flag can still become a whole one: the bit that is 1 stays 1."""
        self._set(_COPY_DONE, _SET)

    def erase(self) -> None:
        """Take back every mark."""
        self._partition.erase(self.sector)

    def clear(self) -> None:
        """Erase unless it is erased."""
        start = self.sector * self._partition.sector_size
        if not self._partition.is_erased(start, self._partition.sector_size):
            self.erase()

    def step_done(self, entry: int) -> bool:
        """Whether a step of the exchange has left its mark."""
        return self._partition.read(self._entry(entry), 1) != _UNSET

    def mark_step(self, entry: int, state: int) -> None:
        """Mark a step as done; `state` is MCUboot's number of the step within its sector."""
        self._partition.program(self._entry(entry), bytes([state]).ljust(TRAILER_ALIGN, _UNSET))

    def _entry(self, number: int) -> int:
        if number >= self._entries:
            raise UsageError(f"step {number} of an exchange has no place among {self._entries} status entries")
        return self._status + number * TRAILER_ALIGN

    def _info(self, kind: Swap) -> bytes:
        return bytes([self._number << 4 | kind]).ljust(TRAILER_ALIGN, _UNSET)

    def _at(self, from_end: int, length: int) -> bytes:
        return self._partition.read(self._partition.size - from_end, length)

    def _set(self, from_end: int, data: bytes) -> None:
        if self._at(from_end, len(data)) != data:
            self._partition.program(self._partition.size - from_end, data)

    def _can_become(self, from_end: int, data: bytes) -> bool:
        """A torn erase may leave bits in the trailer that only another erase can set."""
        return all(old & new == new for old, new in zip(self._at(from_end, len(data)), data, strict=True))
