"""Finding blocks again: in a byte stream where they lie end to end, and in a dump of the flash.

Rule of this module: nothing is believed that a CRC does not confirm. Without padding only the trailer tells a block's
length, so its end is searched: a block that starts at s ends behind the position p where the u16 at p equals
p - s - 34. All such pairs of a buffer are found in one vectorised pass; the CRC-32 decides among them. Where blocks lie
end to end, as they do on a link that loses nothing, the next block's magic tells the end at a tenth of that cost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fieldlog_protocol.blocks.block import (
    ERASED,
    HEADER,
    MAGIC,
    MAX_WIRE_LENGTH,
    OVERHEAD,
    build_block,
    capacity,
    has_header,
    is_whole,
    unpad,
)
from fieldlog_protocol.blocks.rawc import recover
from fieldlog_protocol.errors import BlockError

_MAGIC = MAGIC.to_bytes(2, "little")
_LENGTH_AT = HEADER.size + 2  # of the trailer's payload_len behind the start, less the payload itself
_BEHIND_LENGTH = OVERHEAD - _LENGTH_AT


@dataclass(frozen=True, slots=True)
class Damage:
    """`length` bytes from `offset` of the buffer on belong to no whole block."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Split:
    """What a buffer holds. Bytes from `consumed` on may be the beginning of a block: keep them for the next call."""

    blocks: list[bytes]
    consumed: int
    damage: list[Damage]


def split_blocks(buffer: bytes, *, final: bool = False) -> Split:
    """The whole blocks of `buffer` in wire form; with `final` no bytes follow, and an unfinished block is damage.

    Less than one block's greatest length is ever left over, whatever the bytes are.
    """
    starts, ends = _candidates(buffer)
    blocks: list[bytes] = []
    damage: list[Damage] = []
    position = 0
    while position < len(buffer):
        block = _block_at(buffer, position, ends.get(position, []))
        if block is not None:
            blocks.append(block)
            position += len(block)
            continue
        if not final and _may_begin_block(buffer, position):
            break
        following = _next_start(buffer, starts, position + 1, final=final)
        _add_damage(damage, position, following - position)
        position = following
    return Split(blocks, position, damage)


def scan_image(image: bytes, block_size: int) -> Iterator[tuple[int, bytes]]:
    """(offset, wire form) of every whole block in a flash dump whose pages are `block_size` bytes.

    A block that was being filled frame by frame counts as one: its device will seal it just so, if it starts again.
    """
    capacity(block_size)
    empty = ERASED * HEADER.size
    for offset in range(0, len(image) - block_size + 1, block_size):
        if image.startswith(empty, offset):
            continue
        page = image[offset : offset + block_size]
        try:
            yield offset, unpad(page)
        except BlockError:
            block = recover(page)
            if block is not None:
                yield offset, build_block(block)


class BlockSplitter:
    """`split_blocks` for bytes that arrive in pieces. `damaged` counts the bytes given up so far."""

    def __init__(self) -> None:
        self._tail = b""
        self.damaged = 0

    @property
    def pending(self) -> int:
        return len(self._tail)

    def feed(self, data: bytes, *, final: bool = False) -> list[bytes]:
        buffer = self._tail + data
        blocks, position = _end_to_end(buffer)
        rest = buffer[position:]
        if rest and (final or not _may_begin_block(rest, 0)):
            split = split_blocks(rest, final=final)
            rest = rest[split.consumed :]
            self.damaged += sum(damage.length for damage in split.damage)
            blocks += split.blocks
        self._tail = rest
        return blocks


def _end_to_end(buffer: bytes) -> tuple[list[bytes], int]:
    """The whole blocks with which the buffer begins, and where the first thing is that may be something else."""
    blocks: list[bytes] = []
    position = 0
    while has_header(buffer, position) and (wire := _up_to_next(buffer, position)) is not None:
        blocks.append(wire)
        position += len(wire)
    return blocks, position


def _up_to_next(buffer: bytes, start: int) -> bytes | None:
    """The block at `start`, if another begins behind it or the buffer ends there."""
    end = start + OVERHEAD - 1
    while end < len(buffer):
        found = buffer.find(_MAGIC, end + 1)
        end = len(buffer) if found < 0 else found
        length = int.from_bytes(buffer[end - _BEHIND_LENGTH : end - _BEHIND_LENGTH + 2], "little")
        if length == end - start - OVERHEAD and is_whole(wire := buffer[start:end]):
            return wire
    return None


def _candidates(buffer: bytes) -> tuple[list[int], dict[int, list[int]]]:
    """Where the magic stands, and for each such start the ends that a trailer's length agrees with."""
    if len(buffer) < 2:
        return [], {}
    words = np.ndarray((len(buffer) - 1,), "<u2", buffer, strides=(1,))
    is_start = words == MAGIC
    lengths = words[_LENGTH_AT : max(_LENGTH_AT, len(buffer) - _BEHIND_LENGTH + 1)].astype(np.int32)
    # Entry i stands at p = i + _LENGTH_AT; the start it names is p - _LENGTH_AT - length.
    named = np.arange(len(lengths), dtype=np.int32) - lengths
    plausible = np.flatnonzero((named >= 0) & (lengths <= MAX_WIRE_LENGTH - OVERHEAD))
    plausible = plausible[is_start[named[plausible]]]
    ends: dict[int, list[int]] = {}
    for index, start in zip(plausible.tolist(), named[plausible].tolist(), strict=True):
        ends.setdefault(start, []).append(index + OVERHEAD)
    return np.flatnonzero(is_start).tolist(), ends


def _block_at(buffer: bytes, start: int, ends: list[int]) -> bytes | None:
    if not ends or not has_header(buffer, start):
        return None
    return next((wire for end in ends if is_whole(wire := buffer[start:end])), None)


def _may_begin_block(buffer: bytes, position: int) -> bool:
    """Whether the bytes from `position` on could become a block when more of them arrive."""
    left = len(buffer) - position
    if left < HEADER.size:
        return True
    return left < MAX_WIRE_LENGTH and has_header(buffer, position)


def _next_start(buffer: bytes, starts: list[int], position: int, *, final: bool) -> int:
    """Where to go on after damage: the next valid header, else where one may still begin, else the end."""
    for index in range(bisect_left(starts, position), len(starts)):
        if has_header(buffer, starts[index]):
            return starts[index]
    return len(buffer) if final else max(position, len(buffer) - HEADER.size + 1)


def _add_damage(damage: list[Damage], offset: int, length: int) -> None:
    if damage and damage[-1].offset + damage[-1].length == offset:
        damage[-1] = Damage(damage[-1].offset, damage[-1].length + length)
    else:
        damage.append(Damage(offset, length))
