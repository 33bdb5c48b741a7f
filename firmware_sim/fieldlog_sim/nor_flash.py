"""Simulated NOR flash. This file knows cells, pages and sectors, and nothing of what is stored in them.

Programming clears bits, only an erase sets them, a whole sector at a time. Every page touched by a program and every
sector erased is one *operation*; power can be cut at any of them, and the torn operation leaves what real cells would:
part of the page, or a sector that is neither old nor erased. With a file behind it each operation is in the shared
mapping before the call returns, so that a killed process keeps exactly what was committed.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from fieldlog_protocol.errors import FieldlogError, UsageError

KIB = 1024
MIB = 1024 * KIB
ERASED = 0xFF
_CHUNK = 64 * KIB


class FlashError(FieldlogError):
    """The firmware asked for what flash cannot do (a 0 to 1 without an erase, an address outside): a bug of the firmware."""


class PowerCut(Exception):
    """The supply is gone. Not a FieldlogError: no handler may turn it into a reply, only the power switch catches it."""


class _Cells(Protocol):
    def read(self, offset: int, length: int) -> bytes: ...
    def write(self, offset: int, data: bytes) -> None: ...
    def close(self) -> None: ...


class _MemoryCells:
    """Erased chunks take no memory, so that a process can hold hundreds of devices."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def read(self, offset: int, length: int) -> bytes:
        index, start = divmod(offset, _CHUNK)
        if start + length <= _CHUNK:
            return self._piece(index, start, length)
        head = self._piece(index, start, _CHUNK - start)
        return head + b"".join(
            self._piece(at // _CHUNK, 0, min(_CHUNK, offset + length - at))
            for at in range((index + 1) * _CHUNK, offset + length, _CHUNK)
        )

    def _piece(self, index: int, start: int, length: int) -> bytes:
        chunk = self._chunks.get(index)
        return _erased(length) if chunk is None else bytes(memoryview(chunk)[start : start + length])

    def write(self, offset: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            index, start = divmod(offset + done, _CHUNK)
            piece = data[done : done + _CHUNK - start]
            chunk = self._chunks.get(index)
            if chunk is None:
                chunk = self._chunks[index] = bytearray(_erased(_CHUNK))
            chunk[start : start + len(piece)] = piece
            done += len(piece)

    def close(self) -> None:
        self._chunks.clear()


class _FileCells:
    def __init__(self, path: Path, size: int) -> None:
        if not path.exists():
            _create_erased(path, size)
        if path.stat().st_size != size:
            raise UsageError(
                f"{path} holds {path.stat().st_size} bytes, the simulated flash {size}. "
                "Nothing was changed. Give the size it was made with, or another state directory."
            )
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def read(self, offset: int, length: int) -> bytes:
        return self._map[offset : offset + length]

    def write(self, offset: int, data: bytes) -> None:
        self._map[offset : offset + len(data)] = data

    def close(self) -> None:
        self._map.close()


def _create_erased(path: Path, size: int) -> None:
    """Write aside and rename: a process killed here must not leave a short chip behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with aside.open("wb") as file:
            for done in range(0, size, MIB):
                file.write(_erased(min(MIB, size - done)))
        aside.replace(path)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


class NorFlash:
    """One chip. `wear` counts the erases of each sector, `operations` all programs and erases, since the process began.

    `seed` decides what a torn operation leaves behind.
    """

    def __init__(
        self,
        size: int,
        sector_size: int = 4096,
        page_size: int = 256,
        path: Path | None = None,
        seed: int = 0,
    ) -> None:
        if size <= 0 or size % sector_size or sector_size % page_size:
            raise UsageError(
                f"a flash of {size} bytes is not made of whole sectors of {sector_size} and pages of {page_size}"
            )
        self.size = size
        self.sector_size = sector_size
        self.page_size = page_size
        self.operations = 0
        self.wear = [0] * (size // sector_size)
        self._cut_at: int | None = None
        self._powered = True
        self._random = Random(seed)
        self._cells: _Cells = _MemoryCells() if path is None else _FileCells(path, size)

    @property
    def powered(self) -> bool:
        return self._powered

    @property
    def cut_after(self) -> int | None:
        """Set to n: the n-th operation from now is torn. None: the supply is steady."""
        return None if self._cut_at is None else self._cut_at - self.operations

    @cut_after.setter
    def cut_after(self, count: int | None) -> None:
        if count is not None and count < 1:
            raise UsageError(f"power can be cut at the 1st operation from now or later, not at {count}")
        self._cut_at = None if count is None else self.operations + count

    def power_on(self) -> None:
        """Bring the supply back after a cut, and cancel one that is still to come."""
        self._powered = True
        self._cut_at = None

    def power_off(self) -> None:
        """Cut the supply between two operations."""
        self._powered = False

    def close(self) -> None:
        self._powered = False
        self._cells.close()

    def read(self, offset: int, length: int) -> bytes:
        self._admit(offset, length)
        return self._cells.read(offset, length)

    def is_erased(self, offset: int, length: int) -> bool:
        return self.read(offset, length) == _erased(length)

    def program(self, offset: int, data: bytes) -> None:
        """Clear bits. Any offset and length; a page is programmed wholly before the next one begins."""
        self._admit(offset, len(data))
        self._require_clearing(offset, data)
        pages = self._pages(offset, len(data))
        if self._cut_at is None or self.operations + pages < self._cut_at:
            self._cells.write(offset, data)
            self.operations += pages
            return
        whole = self._cut_at - self.operations - 1
        cut = min(len(data), (offset // self.page_size + whole) * self.page_size - offset) if whole else 0
        end = (offset // self.page_size + whole + 1) * self.page_size - offset
        self._cells.write(offset, data[:cut])
        self.operations += whole
        torn = data[cut:end]
        self._tear(offset + cut, torn, self._torn_program(offset + cut, torn))

    def erase(self, sector: int) -> None:
        offset = sector * self.sector_size
        self._admit(offset, self.sector_size)
        self.wear[sector] += 1
        if self.operations + 1 == self._cut_at:
            self._tear(offset, _erased(self.sector_size), self._torn_erase(offset))
        self.operations += 1
        if not self.is_erased(offset, self.sector_size):
            self._cells.write(offset, _erased(self.sector_size))

    def _admit(self, offset: int, length: int) -> None:
        if not self._powered:
            raise PowerCut("the flash has no power")
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FlashError(f"{length} bytes at {offset:#x} are outside a flash of {self.size:#x} bytes")

    def _require_clearing(self, offset: int, data: bytes) -> None:
        old = self._cells.read(offset, len(data))
        if old == _erased(len(data)):
            return
        wanted = int.from_bytes(data)
        if int.from_bytes(old) & wanted != wanted:
            at = next(i for i, (was, new) in enumerate(zip(old, data, strict=True)) if was & new != new)
            raise FlashError(
                f"programming {data[at]:#04x} over {old[at]:#04x} at {offset + at:#x} needs an erase first; nothing was programmed"
            )

    def _pages(self, offset: int, length: int) -> int:
        return (offset + length - 1) // self.page_size - offset // self.page_size + 1 if length else 0

    def _tear(self, offset: int, whole: bytes, partly: bytes) -> None:
        """At times nothing of the operation happened, at times all of it."""
        old = self._cells.read(offset, len(whole))
        left = self._random.choices((partly, old, whole), (6, 1, 1))[0]
        self._cells.write(offset, left)
        self.operations += 1
        self._powered = False
        raise PowerCut(f"power was cut at flash operation {self.operations}")

    def _torn_program(self, offset: int, data: bytes) -> bytes:
        """A prefix of the page, then bytes of which only some bits were cleared, then the old ones."""
        old = self._cells.read(offset, len(data))
        done, partly = sorted(self._random.randint(0, len(data)) for _ in range(2))
        mixed = (
            new | (was & self._random.randrange(256))
            for was, new in zip(old[done:partly], data[done:partly], strict=True)
        )
        return data[:done] + bytes(mixed) + old[partly:]

    def _torn_erase(self, offset: int) -> bytes:
        """Erased at one end, old at the other, undefined between. Undefined may also be all 0 (preprogramming)."""
        old = self._cells.read(offset, self.sector_size)
        first, last = sorted(self._random.randint(0, self.sector_size) for _ in range(2))
        undefined = self._random.choice((bytes(last - first), self._random.randbytes(last - first)))
        if self._random.random() < 0.5:
            return _erased(first) + undefined + old[last:]
        return old[:first] + undefined + _erased(self.sector_size - last)


@dataclass(frozen=True, slots=True)
class Partition:
    """A run of whole sectors of a flash; offsets and sector numbers count from its start."""

    flash: NorFlash
    offset: int
    size: int

    def __post_init__(self) -> None:
        if self.offset % self.flash.sector_size or self.size % self.flash.sector_size:
            raise UsageError(f"a partition of {self.size} bytes at {self.offset:#x} is not made of whole sectors")
        if self.size <= 0 or self.offset < 0 or self.offset + self.size > self.flash.size:
            raise UsageError(
                f"a partition of {self.size} bytes at {self.offset:#x} does not fit the flash of {self.flash.size}"
            )

    @property
    def sector_size(self) -> int:
        return self.flash.sector_size

    @property
    def sectors(self) -> int:
        return self.size // self.flash.sector_size

    def read(self, offset: int, length: int) -> bytes:
        return self.flash.read(self._inside(offset, length), length)

    def program(self, offset: int, data: bytes) -> None:
        self.flash.program(self._inside(offset, len(data)), data)

    def erase(self, sector_index: int) -> None:
        self.flash.erase(self._inside(sector_index * self.sector_size, self.sector_size) // self.sector_size)

    def erase_all(self) -> None:
        for sector in range(self.sectors):
            self.erase(sector)

    def is_erased(self, offset: int, length: int) -> bool:
        return self.read(offset, length) == _erased(length)

    def _inside(self, offset: int, length: int) -> int:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FlashError(f"{length} bytes at {offset:#x} are outside a partition of {self.size:#x} bytes")
        return self.offset + offset


SLOT_SIZE = 512 * KIB
FILES_SIZE = 4 * MIB
FLASH_SIZE = 16 * MIB


@dataclass(frozen=True, slots=True)
class FlashMap:
    """Where everything on a device lives, in the order of the chip; the log takes what the others leave.

    `boot` is the boot loader's own, `nv` holds all that the firmware remembers beside files and log. The slots of further images are cut off the end of the files.
    """

    slot0: Partition
    slot1: Partition
    boot: Partition
    nv: Partition
    files: Partition
    more_slots: tuple[Partition, ...]
    log: Partition

    @classmethod
    def of(cls, flash: NorFlash, slot_size: int = SLOT_SIZE, files_size: int = FILES_SIZE, images: int = 1) -> FlashMap:
        sector = flash.sector_size
        more = [slot_size] * (2 * images - 2)
        sizes = (slot_size, slot_size, 2 * sector, 12 * sector, files_size - sum(more), *more)
        if flash.size < sum(sizes) + 2 * sector:
            raise UsageError(
                f"a flash of {flash.size} bytes leaves no room for a log beside {sum(sizes)} bytes of other partitions"
            )
        starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
        lengths = (*sizes, flash.size - starts[-1])
        parts = [Partition(flash, start, length) for start, length in zip(starts, lengths, strict=True)]
        slot0, slot1, boot, nv, files, *more_slots, log = parts
        return cls(slot0, slot1, boot, nv, files, tuple(more_slots), log)

    @property
    def images(self) -> tuple[tuple[Partition, Partition], ...]:
        """Both slots of each image, in the order of the images' numbers."""
        slots = (self.slot0, self.slot1, *self.more_slots)
        return tuple(zip(slots[::2], slots[1::2], strict=True))


def _erased(length: int) -> bytes:
    return b"\xff" * length
