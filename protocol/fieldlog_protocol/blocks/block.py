"""One log block: header, payload, trailer, and the two check values that tell a whole block from a torn one.

Rule of this module: it knows where things lie in a block and not what the payload means. A block exists in two forms:
the *page* in flash, padded with 0xFF to the block size with the trailer at its end, and the *wire form*, the same
without the padding. The CRC-32 covers neither padding nor position, so that it holds for both.
"""

from __future__ import annotations

import binascii
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag

from fieldlog_protocol.errors import BlockError, UsageError
from fieldlog_protocol.layout import Layout

TICK_HZ = 32_768
MAGIC = 0x424C
VERSION = 1
BLOCK_SIZES = (256, 512, 1024, 2048, 4096)
DROPPED_UNKNOWN = 0xFFFF
MAX_FRAMES = 0xFFFF
ERASED = b"\xff"


class Kind(IntEnum):
    DATA = 0
    SCHEMA = 1
    EVENT = 2


class Encoding(IntEnum):
    RAW = 0
    PACKED = 1
    RAWC = 2


class Flag(IntFlag):
    """What happened just before the first frame of the block."""

    GAP = 1
    OVERRUN = 2
    LOW_BATTERY = 4
    SESSION_FIRST = 8
    CLOCK_SET = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHeader:
    """The first 32 bytes. `t0` is in ticks since boot, `utc` in seconds since 1970 as the device believed, 0 = never set.

    `kind`, `encoding` and `flags` may hold numbers that a newer firmware defined; the block is then kept, not decoded.
    `n_channels` counts the columns of the payload, the time column of a timed stream included.
    """

    magic: int = MAGIC
    format: int = VERSION << 4
    encoding: int = Encoding.RAW
    seq: int
    t0: int
    utc: int = 0
    boot_id: int
    session: int = 0
    stream: int = 0
    schema_id: int = 0
    n_channels: int = 0
    flags: int = 0
    dropped: int = 0
    check: int = 0

    @property
    def kind(self) -> int:
        return self.format & 0x0F

    @property
    def version(self) -> int:
        return self.format >> 4


@dataclass(frozen=True, slots=True)
class BlockTrailer:
    """The last 16 bytes; `crc` is programmed last and commits the block."""

    n_frames: int
    payload_len: int
    span: int
    crc: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block that passed both checks, or one about to be built. `span` is ticks from the first to the last frame."""

    header: BlockHeader
    n_frames: int
    span: int
    payload: bytes


HEADER = Layout(
    BlockHeader,
    [
        ("magic", "u16"),
        ("format", "u8"),
        ("encoding", "u8"),
        ("seq", "u32"),
        ("t0", "u64"),
        ("utc", "u32"),
        ("boot_id", "u16"),
        ("session", "u16"),
        ("stream", "u8"),
        ("schema_id", "u8"),
        ("n_channels", "u8"),
        ("flags", "u8"),
        ("dropped", "u16"),
        ("check", "u16"),
    ],
    endian="little",
)
TRAILER = Layout(
    BlockTrailer,
    [("n_frames", "u16"), ("payload_len", "u16"), ("span", "u64"), ("crc", "u32")],
    endian="little",
)
OVERHEAD = HEADER.size + TRAILER.size
MAX_WIRE_LENGTH = BLOCK_SIZES[-1]


def block_format(kind: int) -> int:
    return VERSION << 4 | kind


def capacity(block_size: int) -> int:
    """Payload bytes that a block of this size holds."""
    if block_size not in BLOCK_SIZES:
        raise UsageError(f"a block of {block_size} bytes is not one of {', '.join(map(str, BLOCK_SIZES))}")
    return block_size - OVERHEAD


def build_block(block: Block) -> bytes:
    """The wire form of `block`, both check values computed."""
    if len(block.payload) > MAX_WIRE_LENGTH - OVERHEAD:
        raise UsageError(f"a payload of {len(block.payload)} bytes fits no block size")
    unchecked = HEADER.build(replace(block.header, check=0))[:-2]
    header = unchecked + binascii.crc_hqx(unchecked, 0).to_bytes(2, "little")
    trailer = TRAILER.build(BlockTrailer(block.n_frames, len(block.payload), block.span, 0))[:-4]
    body = header + block.payload + trailer
    return body + zlib.crc32(body).to_bytes(4, "little")


def parse_block(wire: bytes) -> Block:
    """The block in `wire`, which must be one wire form exactly; BlockError says what is wrong with it."""
    header = parse_header(wire)
    trailer = TRAILER.parse(wire[-TRAILER.size :]) if len(wire) >= OVERHEAD else None
    if trailer is None or trailer.payload_len != len(wire) - OVERHEAD:
        raise BlockError(f"block {header.seq} is not whole: {len(wire)} bytes do not end in its trailer")
    if zlib.crc32(wire[:-4]) != trailer.crc:
        raise BlockError(f"block {header.seq} is damaged: its CRC-32 does not match")
    return Block(header, trailer.n_frames, trailer.span, wire[HEADER.size : -TRAILER.size])


def parse_header(data: bytes) -> BlockHeader:
    """The header at the start of `data`, checked by its own CRC-16 alone: cheap, for mount scans."""
    if not has_header(data):
        raise BlockError("these bytes do not begin with the header of a log block")
    header = HEADER.parse(bytes(data[: HEADER.size]))
    if header.version != VERSION:
        raise BlockError(f"block {header.seq} has format version {header.version}; only {VERSION} is known here")
    return header


def has_header(data: bytes, offset: int = 0) -> bool:
    """Whether a header whose CRC-16 holds stands at `offset`."""
    head = data[offset : offset + HEADER.size]
    return (
        len(head) == HEADER.size
        and head[0] == MAGIC & 0xFF
        and head[1] == MAGIC >> 8
        and binascii.crc_hqx(head[:-2], 0) == int.from_bytes(head[-2:], "little")
    )


CHECKED = 0x2144DF1C
"""The CRC-32 of whatever ends with its own CRC-32: a block without padding is checked in one call."""


def is_whole(wire: bytes) -> bool:
    """Whether `wire` is one block in wire form by its length and CRC-32; tells nothing of the header's meaning."""
    return (
        len(wire) >= OVERHEAD
        and int.from_bytes(wire[-14:-12], "little") == len(wire) - OVERHEAD
        and zlib.crc32(wire) == CHECKED
    )


def frames_in(wire: bytes) -> int:
    """How many frames a DATA block in wire form holds, 0 for any other; for blocks that were checked before."""
    return int.from_bytes(wire[-16:-14], "little") if wire[2] & 0x0F == Kind.DATA else 0


def pad(wire: bytes, block_size: int) -> bytes:
    """The page that holds `wire` in flash."""
    room = capacity(block_size) + OVERHEAD - len(wire)
    if room < 0:
        raise UsageError(f"a block of {len(wire)} bytes does not fit a page of {block_size}")
    return wire[: -TRAILER.size] + ERASED * room + wire[-TRAILER.size :]


def unpad(page: bytes) -> bytes:
    """The wire form of the block in `page`; BlockError when the page is torn, stale, empty or damaged."""
    payload_len = int.from_bytes(page[-14:-12], "little")
    if len(page) < OVERHEAD or payload_len > len(page) - OVERHEAD:
        raise BlockError("this flash page holds no whole block")
    wire = page[: HEADER.size + payload_len] + page[-TRAILER.size :]
    if not (has_header(wire) and is_whole(wire)):
        raise BlockError("this flash page holds no whole block")
    return wire
