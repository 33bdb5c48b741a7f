"""Exchange two slots sector by sector so that a power cut at any flash operation can be taken up again.

Rule of this file: a step is repeated until its mark is in flash, and no step destroys what it reads from. What is to be
exchanged and why is decided elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from fieldlog_protocol.layout import Layout
from fieldlog_sim.nor_flash import FlashError, Partition


class Swap(IntEnum):
    """Why the slots are exchanged, in MCUboot's numbers."""

    NONE = 1
    TEST = 2
    PERMANENT = 3
    REVERT = 4


@dataclass(frozen=True, slots=True)
class SwapJob:
    kind: Swap
    sectors: int


class SwapStrategy(Protocol):
    """One way to exchange the slots. The boot loader writes the slot trailers between `run` and `finish`."""

    def unfinished(self) -> SwapJob | None:
        """The job that a power cut interrupted."""
        ...

    def run(self, job: SwapJob) -> None:
        """Begin the job, or go on with it where it stopped."""
        ...

    def finish(self) -> None:
        """Forget the job; until then a restart takes it up again."""
        ...


@dataclass(frozen=True, slots=True)
class _Record:
    magic: int
    kind: int
    sectors: int
    crc: int


_RECORD = Layout(_Record, [("magic", "u32"), ("kind", "u16"), ("sectors", "u16"), ("crc", "u32")], endian="little")
_MAGIC = 0x50415753
_MARKS_AT = 32
_DONE = b"\x00"


class ScratchSwap:
    """Exchange through one scratch sector.

    Three steps per sector: slot 1 to scratch, slot 0 to slot 1, scratch to slot 0. `status` is one sector: the record
    of the job, then a byte per step, cleared when the step is done.
    """

    def __init__(self, slot0: Partition, slot1: Partition, scratch: Partition, status: Partition) -> None:
        self._slot0 = slot0
        self._slot1 = slot1
        self._scratch = scratch
        self._status = status

    def unfinished(self) -> SwapJob | None:
        data = self._status.read(0, _RECORD.size)
        record = _RECORD.parse(data)
        if record.magic != _MAGIC or record.crc != zlib.crc32(data[:-4]):
            return None
        return SwapJob(Swap(record.kind), record.sectors)

    def run(self, job: SwapJob) -> None:
        if self.unfinished() is None:
            self._begin(job)
        steps = [step for sector in range(job.sectors) for step in self._steps(sector)]
        for number, step in enumerate(steps):
            mark = _MARKS_AT + number
            if self._status.read(mark, 1) != _DONE:
                step()
                self._status.program(mark, _DONE)

    def finish(self) -> None:
        """Zero the record: were the sector erased instead, a torn erase might keep the record and lose the marks."""
        self._status.program(0, bytes(_RECORD.size))

    def _begin(self, job: SwapJob) -> None:
        if _MARKS_AT + 3 * job.sectors > self._status.size:
            raise FlashError(f"the boot status has no room for the marks of {job.sectors} sectors")
        self._status.erase(0)
        body = _RECORD.build(_Record(_MAGIC, job.kind, job.sectors, 0))[:-4]
        self._status.program(0, body + zlib.crc32(body).to_bytes(4, "little"))

    def _steps(self, sector: int) -> tuple[Callable[[], None], ...]:
        return (
            lambda: _copy_sector(self._slot1, sector, self._scratch, 0),
            lambda: _copy_sector(self._slot0, sector, self._slot1, sector),
            lambda: _copy_sector(self._scratch, 0, self._slot0, sector),
        )


def _copy_sector(source: Partition, source_sector: int, target: Partition, target_sector: int) -> None:
    size = source.sector_size
    target.erase(target_sector)
    target.program(target_sector * size, source.read(source_sector * size, size))
