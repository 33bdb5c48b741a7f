"""The log partition as a ring of pages, one block each, and the search for its newest end after power-up.

Rule: nothing is remembered between boots but what the pages say. Blocks are programmed in the order in which they are
sealed, while seq is given in the order in which they are opened; with several streams the two differ, but never by
more than `max_lag` (the recorder sees to that). A block that is filled frame by frame has its page from the beginning on. Within that bound the sectors are sorted, which a binary search needs.
"""

from __future__ import annotations

from fieldlog_protocol.blocks.block import (
    ERASED,
    HEADER,
    MAGIC,
    TRAILER,
    BlockHeader,
    Encoding,
    Kind,
    block_format,
    build_block,
    parse_header,
    unpad,
)
from fieldlog_protocol.blocks.rawc import recover
from fieldlog_protocol.errors import BlockError, UsageError
from fieldlog_sim.nor_flash import Partition

_MIN_SECTORS = 4
_IN_PLACE = MAGIC.to_bytes(2, "little") + bytes([block_format(Kind.DATA), Encoding.RAWC])  # how such a page begins
_VOID = bytes(2)  # over the magic: no header any more


class LogPages:
    """Pages of `block_size` bytes, numbered round the ring, `per_sector` to an erase sector."""

    def __init__(self, partition: Partition, block_size: int) -> None:
        if partition.sector_size % block_size or partition.sectors < _MIN_SECTORS:
            raise UsageError(
                f"a log of {partition.size} bytes cannot be kept in blocks of {block_size}: it needs at least "
                f"{_MIN_SECTORS} sectors and blocks that divide {partition.sector_size}"
            )
        self._partition = partition
        self.block_size = block_size
        self.sectors = partition.sectors
        self.per_sector = partition.sector_size // block_size
        self.count = self.sectors * self.per_sector

    @property
    def max_lag(self) -> int:
        """How many seqs may be given after an open block's own before it must be sealed."""
        return self.count // 4

    def of_sector(self, sector: int) -> range:
        return range(sector * self.per_sector, (sector + 1) * self.per_sector)

    def sector_of(self, page: int) -> int:
        return page // self.per_sector

    def after(self, sector: int) -> int:
        return (sector + 1) % self.sectors

    def oldest_first(self, tail: int) -> list[int]:
        """All sectors in the order in which they were written, when `tail` is the newest."""
        return [(tail + step) % self.sectors for step in range(1, self.sectors + 1)]

    def header(self, page: int) -> BlockHeader | None:
        """The header that was programmed there, be the block whole or torn."""
        try:
            return parse_header(self._partition.read(page * self.block_size, HEADER.size))
        except BlockError:
            return None

    def wire(self, page: int) -> bytes | None:
        """The block in wire form; None when the page holds no whole one."""
        try:
            return unpad(self._partition.read(page * self.block_size, self.block_size))
        except BlockError:
            return None

    def found_whole(self, page: int, length: int) -> bytes:
        """The wire form, so long, of a block that was found whole there, or programmed."""
        start, end = page * self.block_size, length - TRAILER.size
        content = self._partition.read(start, self.block_size)
        return content[:end] + content[-TRAILER.size :]

    def is_blank(self, page: int) -> bool:
        return self._partition.is_erased(page * self.block_size, self.block_size)

    def is_blank_sector(self, sector: int) -> bool:
        return self._partition.is_erased(sector * self._partition.sector_size, self._partition.sector_size)

    def program(self, page: int, block: bytes) -> None:
        """Header and payload first, the trailer that commits them last; padding stays as erased."""
        body = block[: -TRAILER.size].rstrip(ERASED)
        self._partition.program(page * self.block_size, body)
        self._partition.program((page + 1) * self.block_size - TRAILER.size, block[-TRAILER.size :])

    def program_part(self, page: int, offset: int, data: bytes) -> None:
        """Bytes of a page that is filled bit by bit; they were blank before, or hold part of the same."""
        self._partition.program(page * self.block_size + offset, data)

    def erase(self, sector: int) -> None:
        """Half erased, a page that was filled frame by frame looks like one that was never sealed: it is voided before."""
        for page in filter(self._is_filled_in_place, self.of_sector(sector)):
            self._partition.program(page * self.block_size, _VOID)
        self._partition.erase(sector)

    def _is_filled_in_place(self, page: int) -> bool:
        return self._partition.read(page * self.block_size, len(_IN_PLACE)) == _IN_PLACE

    def recover(self, page: int) -> None:
        """If this page was being filled frame by frame, seal what is there."""
        if not self._is_filled_in_place(page) or self.wire(page) is not None:
            return
        content = self._partition.read(page * self.block_size, self.block_size)
        block = recover(content)
        if block is None:
            return
        trailer, found = build_block(block)[-TRAILER.size :], content[-TRAILER.size :]
        # Where the power went while it was sealed, the same trailer is programmed once more over a part of it.
        if all(old & new == new for old, new in zip(found, trailer, strict=True)):
            self.program_part(page, self.block_size - TRAILER.size, trailer)

    # the newest end

    def tail(self) -> int | None:
        """The sector programmed last, None when no header is found anywhere."""
        first = next((sector for sector in range(self.sectors) if self._seq(sector) is not None), None)
        if first is None:
            return None
        tail = self._search(first)
        # One sector is erased ahead; where it is not, the ring is full or was left in disorder: look at every sector.
        return tail if self.is_blank_sector(self.after(tail)) else self._steepest_fall()

    def _seq(self, sector: int) -> int | None:
        """The seq in the sector's first header that can be read."""
        if self.is_blank_sector(sector):  # soon said, and so are most of a young log
            return None
        headers = (self.header(page) for page in self.of_sector(sector))
        return next((header.seq for header in headers if header is not None), None)

    def _search(self, first: int) -> int:
        """The last sector of the lap that `first` belongs to, in about log2 of the number of sectors steps."""
        reference = self._seq(first)
        assert reference is not None
        low, high = first, self.sectors - 1
        while low < high:
            middle = (low + high + 1) // 2
            found = self._readable(middle, high)
            if found is not None and self._same_lap(found, reference, first):
                low = found
            else:
                high = middle - 1
        return low

    def _readable(self, sector: int, last: int) -> int | None:
        """The first sector from here on with a header. A blank one ends the lap, one with torn pages only does not."""
        for candidate in range(sector, last + 1):
            if self._seq(candidate) is not None:
                return candidate
            if self.is_blank(candidate * self.per_sector):
                return None
        return None

    def _same_lap(self, sector: int, reference: int, first: int) -> bool:
        """A sector written a lap ago is behind by the whole ring, less twice the lag: half a ring tells the two apart."""
        seq = self._seq(sector)
        assert seq is not None
        return seq - reference > (sector - first) * self.per_sector - self.count // 2

    def _steepest_fall(self) -> int:
        found = [(sector, seq) for sector in range(self.sectors) if (seq := self._seq(sector)) is not None]
        falls = [
            (seq - following, sector)
            for (sector, seq), (_, following) in zip(found, [*found[1:], found[0]], strict=True)
        ]
        return max(falls)[1]
