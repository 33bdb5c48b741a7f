"""Which sealed block lies where, and the log as one stream of bytes.

Rule: blocks are kept in the order in which they were sealed, which only ever grows at its end and shrinks at its
front. The stream of a base seq is made of the blocks with that seq or a higher one in this order, so that an offset
into it means the same bytes until the ring overwrites them, whatever is sealed meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_CURSORS = 8


@dataclass(slots=True)
class _Cursor:
    """How the stream of a base seq begins: the seqs of its blocks and where each ends, as far as was asked."""

    base: int
    position: int
    seqs: list[int] = field(default_factory=list[int])
    ends: list[int] = field(default_factory=list[int])


class LogIndex:
    """`wire_of(page)` reads a block back."""

    def __init__(self, wire_of: Callable[[int], bytes | None]) -> None:
        self._wire_of = wire_of
        self._pages: dict[int, int] = {}
        self._seqs: dict[int, int] = {}
        self._sealed: list[int] = []
        self._highest: list[int] = []  # up to each position of _sealed; rising, hence searchable
        self._ordered: list[int] = []
        self._dropped = 0
        self._cursors: OrderedDict[int, _Cursor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sealed)

    @property
    def first_seq(self) -> int | None:
        return self._ordered[0] if self._ordered else None

    def add(self, seq: int, page: int) -> None:
        self._pages[seq] = page
        self._seqs[page] = seq
        self._sealed.append(seq)
        self._highest.append(max(seq, self._highest[-1] if self._highest else 0))
        insort(self._ordered, seq)

    def seqs_in(self, pages: range) -> list[int]:
        return sorted(self._seqs[page] for page in pages if page in self._seqs)

    def drop(self, pages: range) -> None:
        """Forget the blocks in these pages, which are the ones sealed first."""
        gone = self.seqs_in(pages)
        for seq in gone:
            del self._seqs[self._pages.pop(seq)]
            del self._ordered[bisect_left(self._ordered, seq)]
        del self._sealed[: len(gone)]
        del self._highest[: len(gone)]
        self._dropped += len(gone)
        if gone:
            self._cursors.clear()

    def block(self, seq: int) -> bytes | None:
        page = self._pages.get(seq)
        return None if page is None else self._wire_of(page)

    def read(self, seq: int, offset: int, length: int) -> bytes:
        """`length` bytes at `offset` of the stream from `seq` on; fewer only where it ends."""
        cursor = self._cursor(seq)
        self._extend(cursor, offset + length)
        index = bisect_right(cursor.ends, offset)
        start = cursor.ends[index - 1] if index else 0
        pieces: list[bytes] = []
        while index < len(cursor.seqs) and start < offset + length:
            pieces.append((self.block(cursor.seqs[index]) or b"")[max(0, offset - start) :])
            start = cursor.ends[index]
            index += 1
        return b"".join(pieces)[:length]

    def _cursor(self, seq: int) -> _Cursor:
        cursor = self._cursors.pop(seq, None) or _Cursor(seq, self._dropped + bisect_left(self._highest, seq))
        self._cursors[seq] = cursor
        if len(self._cursors) > _CURSORS:
            self._cursors.popitem(last=False)
        return cursor

    def _extend(self, cursor: _Cursor, end: int) -> None:
        reached = cursor.ends[-1] if cursor.ends else 0
        while reached < end and cursor.position - self._dropped < len(self._sealed):
            seq = self._sealed[cursor.position - self._dropped]
            cursor.position += 1
            if seq >= cursor.base:
                reached += len(self.block(seq) or b"")
                cursor.seqs.append(seq)
                cursor.ends.append(reached)
