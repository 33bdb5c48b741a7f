"""Which sealed block lies where, and the log as one stream of bytes.

Rule: the ring overwrites blocks in the order in which they were sealed; they are read in the order of their seqs. The
stream of a base seq is made of the sealed blocks with that seq or a higher one, so that a block which was open for long
is read by itself, and not with all that was sealed before it. What an offset means changes when a block that was open
is sealed between others; a reader that counts from what it has received last does not notice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_CURSORS = 8
_AT_HAND = 32  # a host has several requests under way, and each asks for the end of what the one before asked for


@dataclass(slots=True)
class _Cursor:
    """How the stream of a base seq begins: the seqs of its blocks and where each ends, as far as was asked."""

    seqs: list[int] = field(default_factory=list[int])
    ends: list[int] = field(default_factory=list[int])


class LogIndex:
    """`wire_of(page)` reads a block back, and looks whether it is whole; `found_whole(page, length)` reads one that was
    added, and need not look again."""

    def __init__(self, wire_of: Callable[[int], bytes | None], found_whole: Callable[[int, int], bytes]) -> None:
        self._wire_of = wire_of
        self._found_whole = found_whole
        self._pages: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._seqs: dict[int, int] = {}
        self._sealed: list[int] = []
        self._ordered: list[int] = []
        self._cursors: OrderedDict[int, _Cursor] = OrderedDict()
        self._read_last: OrderedDict[int, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sealed)

    @property
    def first_seq(self) -> int | None:
        return self._ordered[0] if self._ordered else None

    def add(self, seq: int, page: int, length: int) -> None:
        """`length` is that of its wire form."""
        self._pages[seq] = page
        self._lengths[seq] = length
        self._seqs[page] = seq
        self._sealed.append(seq)
        if self._ordered and seq < self._ordered[-1]:
            self._cursors.clear()
        insort(self._ordered, seq)

    def seqs_in(self, pages: range) -> list[int]:
        return sorted(self._seqs[page] for page in pages if page in self._seqs)

    def drop(self, pages: range) -> None:
        """Forget the blocks in these pages, which are the ones sealed first."""
        gone = self.seqs_in(pages)
        for seq in gone:
            del self._seqs[self._pages.pop(seq)], self._lengths[seq]
            del self._ordered[bisect_left(self._ordered, seq)]
        del self._sealed[: len(gone)]
        if gone:
            self._cursors.clear()
            self._read_last.clear()

    def block(self, seq: int) -> bytes | None:
        page = self._pages.get(seq)
        return None if page is None else self._wire_of(page)

    def read(self, seq: int, offset: int, length: int) -> bytes:
        """`length` bytes at `offset` of the stream from `seq` on; fewer only where it ends."""
        cursor, end = self._cursor(seq), offset + length
        self._extend(cursor, seq, end)
        first = bisect_right(cursor.ends, offset)
        last = bisect_left(cursor.ends, end, first)
        start = cursor.ends[first - 1] if first else 0
        blocks = b"".join(map(self._wire, cursor.seqs[first : last + 1]))
        return blocks[offset - start : end - start]

    def _wire(self, seq: int) -> bytes:
        """A block that is held, kept at hand: a small buffer asks for each several times."""
        wire = self._read_last.get(seq)
        if wire is None:
            wire = self._read_last[seq] = self._found_whole(self._pages[seq], self._lengths[seq])
            if len(self._read_last) > _AT_HAND:
                self._read_last.popitem(last=False)
        return wire

    def _cursor(self, seq: int) -> _Cursor:
        cursor = self._cursors.pop(seq, None) or _Cursor()
        self._cursors[seq] = cursor
        if len(self._cursors) > _CURSORS:
            self._cursors.popitem(last=False)
        return cursor

    def _extend(self, cursor: _Cursor, base: int, end: int) -> None:
        reached = cursor.ends[-1] if cursor.ends else 0
        position = bisect_left(self._ordered, base) + len(cursor.seqs)
        while reached < end and position < len(self._ordered):
            seq = self._ordered[position]
            reached += self._lengths[seq]
            cursor.seqs.append(seq)
            cursor.ends.append(reached)
            position += 1
