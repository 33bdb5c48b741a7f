"""Blocks in bytes of any kind: a dump of a whole chip or card, of a part of it, or blocks laid end to end.

Rule of this module: nothing is believed of where a dump begins, of what else is in it or of how large its pages are.
A header is looked for at every byte; where its CRC-16 holds, the CRC-32 says in which of its two forms a whole block
stands there. The bytes of a whole block are not looked at again, so that no block inside another is taken for one. A
RAWC block that was never sealed becomes what the device will make of it at its next boot, if it has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from fieldlog_protocol.blocks.block import (
    BLOCK_SIZES,
    ERASED,
    HEADER,
    MAGIC,
    MAX_WIRE_LENGTH,
    OVERHEAD,
    TRAILER,
    VERSION,
    Encoding,
    Kind,
    build_block,
    has_header,
    is_whole,
)

_MAGIC = MAGIC.to_bytes(2, "little")
_BEGINNINGS = {bytes((VERSION << 4 | kind, encoding)) for kind in Kind for encoding in Encoding}
"""Of a header, behind its magic."""
_LENGTH_AT = HEADER.size + 2  # of the trailer's payload_len behind the start, less the payload itself


@dataclass(slots=True)
class Salvage:
    """Feed it a dump in pieces of any size.

    `sizes` counts the blocks by the size of the page that they stood in, 0 for wire form; `recovered` are those of them
    that had not been sealed. `torn` counts headers without a whole block behind them, damaged ones where a page was found
    before and another begins, `newer` those of a format that is not known here, `erased` the bytes of 0xFF and `other` all
    other bytes outside of whole blocks.
    """

    block_size: int | None = None
    """Only pages of this size; None for any size, and for wire form."""
    sizes: Counter[int] = field(default_factory=Counter[int])
    recovered: int = 0
    torn: int = 0
    newer: int = 0
    erased: int = 0
    other: int = 0
    _tail: bytes = b""
    _consumed: int = 0
    _last_page: int = 0
    """Where in the dump."""

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[tuple[int, bytes]]:
        """(offset in the dump, wire form) of each block that is whole now. With `final` no more bytes follow."""
        buffer = self._tail + data
        position = 0
        last = len(buffer) if final else len(buffer) - MAX_WIRE_LENGTH  # what begins behind it may not be all there
        while True:
            start = buffer.find(_MAGIC, position)
            if start < 0 or start >= last:
                break
            self._pass_over(buffer, position, start)
            length, wire = self._block_at(buffer, start)
            if wire is not None:
                yield self._consumed + start, wire
            elif length == 1:
                self._pass_over(buffer, start, start + 1)
            position = start + length
        rest = max(position, last)
        self._pass_over(buffer, position, rest)
        self._tail = buffer[rest:]
        self._consumed += rest

    def _block_at(self, buffer: bytes, start: int) -> tuple[int, bytes | None]:
        """How many bytes are dealt with, and the block in them."""
        if not has_header(buffer, start):
            self.torn += self._is_damaged(buffer, start)
            return 1, None
        if buffer[start + 2] >> 4 != VERSION:
            self.newer += 1
            return 1, None
        for size in self._likely_sizes():
            wire = _page_at(buffer, start, size)
            if wire is not None:
                self.sizes[size] += 1
                self._last_page = self._consumed + start
                return size, wire
        wire = None if self.block_size else _wire_at(buffer, start)
        if wire is not None:
            self.sizes[0] += 1
            return len(wire), wire
        size = self._usual_size()
        wire = _unsealed_at(buffer, start, size) if size else None
        if wire is not None:
            self.recovered += 1
            return size, wire
        self.torn += 1
        return 1, None

    def _is_damaged(self, buffer: bytes, start: int) -> bool:
        """Whether a page begins here whose header's CRC does not hold: what is no log seldom looks like that at such a place."""
        size = self._usual_size()
        if not size or not self.sizes[size] or (self._consumed + start - self._last_page) % size:
            return False
        return buffer[start + 2 : start + 4] in _BEGINNINGS

    def _usual_size(self) -> int:
        """Of the pages, as far as it is known; else 0."""
        return self.block_size or next((size for size in self._likely_sizes() if self.sizes[size]), 0)

    def _likely_sizes(self) -> list[int]:
        if self.block_size:
            return [self.block_size]
        return sorted(BLOCK_SIZES, key=lambda size: -self.sizes[size])

    def _pass_over(self, buffer: bytes, start: int, stop: int) -> None:
        erased = buffer.count(ERASED, start, stop)
        self.erased += erased
        self.other += stop - start - erased


def _page_at(buffer: bytes, start: int, size: int) -> bytes | None:
    """The block in a page of `size` bytes, in wire form."""
    end = start + size
    payload_len = int.from_bytes(buffer[end - 14 : end - 12], "little")
    if end > len(buffer) or payload_len > size - OVERHEAD:
        return None
    wire = buffer[start : start + HEADER.size + payload_len] + buffer[end - TRAILER.size : end]
    return wire if is_whole(wire) else None


def _unsealed_at(buffer: bytes, start: int, size: int) -> bytes | None:
    """The RAWC block in a page whose trailer was not programmed, or only in part."""
    page = buffer[start : start + size]
    if len(page) < size or page[3] != Encoding.RAWC:
        return None
    from fieldlog_protocol.blocks.rawc import recover

    block = recover(page)
    wire = b"" if block is None else build_block(block)
    partly = all(old & new == new for old, new in zip(page[-TRAILER.size :], wire[-TRAILER.size :], strict=False))
    return wire if wire and partly else None


def _wire_at(buffer: bytes, start: int) -> bytes | None:
    """The block that stands here without padding: its trailer is where the distance from the start is what it says."""
    import numpy as np

    window = buffer[start + _LENGTH_AT : start + MAX_WIRE_LENGTH - (OVERHEAD - _LENGTH_AT) + 2]
    if len(window) < 2:
        return None
    lengths = np.ndarray((len(window) - 1,), "<u2", window, strides=(1,))
    for payload_len in np.flatnonzero(lengths == np.arange(len(lengths))).tolist():
        wire = buffer[start : start + OVERHEAD + payload_len]
        if is_whole(wire):
            return wire
    return None
