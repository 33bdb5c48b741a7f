"""The log on flash: a ring of blocks that keeps what was sealed through any loss of power.

Rule: a block is whole or it is not there; a page that was begun is never programmed again before its sector is
erased, but for a block of a slow stream: its page is filled frame by frame, and what of it was programmed when the power
went is sealed at the next mount. seq is given when a block is opened and never goes back: after a restart it goes on behind the highest that any
header on flash bears, so that blocks that were open and lost leave holes. One sector is erased ahead, before the
sector before it is begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from fieldlog_protocol.blocks.block import HEADER, TRAILER, parse_header, unpad
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.log_index import LogIndex
from fieldlog_sim.log_pages import LogPages
from fieldlog_sim.nor_flash import Partition
from fieldlog_sim.store_errors import StoreFull

BLOCK_SIZE = 1024
_MOST_OPEN = 256  # a stream id is one byte: no more blocks can be open, nor sealed out of order, at once


@dataclass(slots=True)
class _Page:
    """A page that is filled frame by frame: its number, and how many of its bytes are programmed."""

    number: int
    filled: int


class LogStore:
    """Mounted when constructed.

    `wrap`: the ring overwrites its oldest blocks; else only blocks before `released` may be overwritten, and appending
    raises StoreFull when there are none. Both are the caller's to keep through a restart, and may be set at any time.
    """

    def __init__(
        self, partition: Partition, block_size: int = BLOCK_SIZE, *, wrap: bool = True, released: int = 0
    ) -> None:
        self.pages = LogPages(partition, block_size)
        self.wrap = wrap
        self.released = released
        self._open: list[int] = []
        self._begun: dict[int, _Page] = {}
        self._built: LogIndex | None = None
        self._tail = self.pages.tail()
        self._head = self._first_free()
        self._next_seq = self._highest_seq() + 1
        self._recover()

    # seqs

    @property
    def next_seq(self) -> int:
        return self._next_seq

    @property
    def open_seqs(self) -> tuple[int, ...]:
        return tuple(self._open)

    @property
    def first_seq(self) -> int:
        """The lowest seq held; when nothing is, the lowest that will be."""
        first = self._index.first_seq
        return first if first is not None else min(self._open, default=self._next_seq)

    def open_seq(self) -> int:
        """The seq of a block that is opened now; it stays open until it is appended."""
        seq = self._next_seq
        self._next_seq += 1
        self._open.append(seq)
        return seq

    # space

    @property
    def block_size(self) -> int:
        return self.pages.block_size

    @property
    def bytes_used(self) -> int:
        return len(self._index) * self.pages.block_size

    @property
    def bytes_total(self) -> int:
        """What a full log holds. A ring that wraps never comes quite there: a sector is kept erased."""
        return self.pages.count * self.pages.block_size

    def has_room(self, blocks: int) -> bool:
        """Whether so many more blocks can be appended without losing one that is to be kept."""
        if self.wrap:
            return True
        room = -self._head % self.pages.per_sector
        sector = self.pages.sector_of(self._head + room) % self.pages.sectors
        for _ in range(self.pages.sectors):
            if room >= blocks or not self._may_erase(sector):
                break
            room += self.pages.per_sector
            sector = self.pages.after(sector)
        return room >= blocks

    def _may_erase(self, sector: int) -> bool:
        if self.wrap:
            return True
        held = self._index.seqs_in(self.pages.of_sector(sector))
        return not held or held[-1] < self.released

    # writing

    def append(self, block: bytes) -> None:
        """Commit a sealed block, given as a padded page; when this returns it is on flash for good."""
        seq = parse_header(block).seq
        if seq not in self._open or len(block) != self.pages.block_size:
            raise UsageError(f"block {seq} is not one that was opened in this log")
        begun = self._begun.pop(seq, None)
        if begun is None:
            page = self._next_page()
            self.pages.program(page, block)
        else:
            page = begun.number
            self.pages.program_part(page, self.block_size - TRAILER.size, block[-TRAILER.size :])
        if self._built is not None:
            self._built.add(seq, page, len(unpad(block)))
        self._open.remove(seq)

    def begin(self, beginning: bytes) -> None:
        """Give an opened block its page, to be filled frame by frame, and program its header and what precedes frames."""
        page = self._next_page()
        self._begun[parse_header(beginning).seq] = _Page(page, len(beginning))
        self.pages.program_part(page, 0, beginning)

    def extend(self, seq: int, payload: bytes, width: int) -> None:
        """Program what the payload of a block that was begun has more than before: frames of `width` bytes.

        The last byte of each goes by itself: it says that the others are there.
        """
        begun = self._begun[seq]
        for start in range(begun.filled - HEADER.size, len(payload), width):
            end = start + width
            self.pages.program_part(begun.number, HEADER.size + start, payload[start : end - 1])
            self.pages.program_part(begun.number, HEADER.size + end - 1, payload[end - 1 : end])
            begun.filled = HEADER.size + end

    def _next_page(self) -> int:
        self._make_room()
        page = self._head
        self._tail = self.pages.sector_of(page)
        self._head = (page + 1) % self.pages.count
        return page

    def _make_room(self) -> None:
        """On entering a sector: it must be blank, and the one after it should be."""
        if self._head % self.pages.per_sector:
            return
        sector = self.pages.sector_of(self._head)
        if not self.pages.is_blank_sector(sector):
            if not self._may_erase(sector):
                raise StoreFull("the log is full; what is in it is kept. Pull it and release it, or erase it")
            self._erase(sector)
        ahead = self.pages.after(sector)
        if self._may_erase(ahead) and not self.pages.is_blank_sector(ahead):
            self._erase(ahead)

    def _erase(self, sector: int) -> None:
        if self._built is not None:
            self._built.drop(self.pages.of_sector(sector))
        self.pages.erase(sector)

    def erase_all(self, witness: bytes) -> None:
        """Forget everything, oldest first, and begin again with `witness`, an opened block.

        The newest sector goes last, when the witness is on flash: at no instant is the seq that was reached forgotten.
        """
        former = self._tail
        if former is not None:
            self._head = self.pages.after(former) * self.pages.per_sector
            for sector in self.pages.oldest_first(former)[:-1]:
                if not self.pages.is_blank_sector(sector):
                    self._erase(sector)
        self.append(witness)
        if former is not None:
            self._erase(former)

    # reading

    def block(self, seq: int) -> bytes | None:
        """The sealed block in wire form, None when it is not held."""
        return self._index.block(seq)

    def read_stream(self, seq: int, offset: int, length: int) -> tuple[bytes, int]:
        """The answer to the FL blocks command: bytes of the sealed blocks from `seq` on, and the first seq held.

        The blocks are laid end to end in order of seq; fewer bytes than asked for mean that the sealed log ends there.
        """
        return self.read_bytes(seq, offset, length), self.first_seq

    def read_bytes(self, seq: int, offset: int, length: int) -> bytes:
        """Those bytes alone."""
        return self._index.read(seq, offset, length)

    # mounting

    @property
    def _index(self) -> LogIndex:
        """Built when first needed: a device that only logs need not read its whole log at every boot."""
        if self._built is None:
            self._built = LogIndex(self.pages.wire, self.pages.found_whole)
            for sector in self.pages.oldest_first(self._tail or 0):
                if not self.pages.is_blank_sector(sector):
                    self._add_sector(self._built, sector)
        return self._built

    def _add_sector(self, index: LogIndex, sector: int) -> None:
        for page in self.pages.of_sector(sector):
            wire = self.pages.wire(page)
            if wire is not None:
                index.add(parse_header(wire).seq, page, len(wire))

    def _first_free(self) -> int:
        """The page behind the last one that was begun. A torn page is left as it is."""
        if self._tail is None:
            return 0
        pages = self.pages.of_sector(self._tail)
        begun = max(page for page in pages if not self.pages.is_blank(page))
        return (begun + 1) % self.pages.count

    def _recover(self) -> None:
        """Seal the blocks that were being filled frame by frame; they are not further back than a block stays open."""
        if self._tail is not None:
            for page in islice(self._newest_first(self._tail), self.pages.max_lag + _MOST_OPEN):
                self.pages.recover(page)

    def _newest_first(self, tail: int) -> Iterator[int]:
        for sector in reversed(self.pages.oldest_first(tail)):
            yield from reversed(self.pages.of_sector(sector))

    def _highest_seq(self) -> int:
        """The highest seq on flash, torn blocks included; -1 when there is none.

        Behind the block that bears it only blocks can lie that were open already when it was sealed.
        """
        if self._tail is None:
            return -1
        headers = (header for page in self._newest_first(self._tail) if (header := self.pages.header(page)) is not None)
        return max(header.seq for header in islice(headers, _MOST_OPEN))
