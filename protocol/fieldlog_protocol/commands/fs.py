"""Group 8, fs: files by name; no listing, no deletion in the protocol (docs/smp.md#commands, #seen-on-zephyr)."""

from __future__ import annotations

from typing import Annotated

from fieldlog_protocol.commands.base import Command, Empty, ErrorTexts, Group, Message, Op, about, blob, string, u8, u32

ERRORS: ErrorTexts = {
    2: "the file name is not valid",
    3: "there is no such file",
    4: "this is a folder, not a file",
    5: "the file could not be opened",
    6: "the position in the file could not be reached",
    7: "the file could not be read",
    8: "the file could not be truncated",
    9: "the file could not be deleted",
    10: "the file could not be written",
    11: "the offset is not where the file ends",
    12: "the offset lies beyond the end of the file",
    13: "the device does not know this hash type",
    14: "there is no file system at this path",
    15: "the file system is read only",
    16: "the file is empty",
    17: "the file could not be closed",
}

INVALID_NAME = 2
NOT_FOUND = 3
WRITE_FAILED = 10
OFFSET_NOT_VALID = 11
OFFSET_LARGER_THAN_FILE = 12
HASH_NOT_FOUND = 13
FILE_EMPTY = 16


class FileReadRequest(Message, frozen=True, kw_only=True):
    """Which part of which file."""

    name: Annotated[str, string("path of the file")]
    off: Annotated[int, u32("offset to read at", "By")]


class FileReadResponse(Message, frozen=True, kw_only=True):
    """A chunk of a file."""

    off: Annotated[int, u32("offset of the chunk", "By")]
    data: Annotated[bytes, blob("the chunk; empty at the end")]
    len: Annotated[int, u32("size of the file; only with offset 0", "By")] | None = None


class FileWriteRequest(Message, frozen=True, kw_only=True):
    """A chunk for a file; the length goes with offset 0."""

    name: Annotated[str, string("path of the file")]
    off: Annotated[int, u32("offset to write at; 0 begins the file", "By")]
    data: Annotated[bytes, blob("the chunk")]
    len: Annotated[int, u32("size of the whole file", "By")] | None = None


class FileWriteResponse(Message, frozen=True, kw_only=True):
    """How far the file has come."""

    off: Annotated[int, u32("offset wanted next", "By")]


class FileStatusRequest(Message, frozen=True, kw_only=True):
    """Which file."""

    name: Annotated[str, string("path of the file")]


class FileStatusResponse(Message, frozen=True, kw_only=True):
    """The size of a file."""

    len: Annotated[int, u32("size of the file", "By")]


class FileHashRequest(Message, frozen=True, kw_only=True):
    """Which part of which file to hash, and how."""

    name: Annotated[str, string("path of the file")]
    type: Annotated[str, string('"crc32" or "sha256"; left out: the device\'s default')] | None = None
    off: Annotated[int, u32("where to begin", "By")] | None = None
    len: Annotated[int, u32("how much; left out: to the end", "By")] | None = None


class FileHashResponse(Message, frozen=True, kw_only=True):
    """The hash of a file or a part of it."""

    type: Annotated[str, string("kind of hash")]
    off: Annotated[int, u32("where it begins; left out: 0", "By")] | None = None
    len: Annotated[int, u32("how much it covers", "By")]
    output: Annotated[Annotated[int, u32("crc32")] | bytes, about("a number for crc32, bytes for sha256")]


class HashType(Message, frozen=True, kw_only=True):
    """One kind of hash that the device offers."""

    format: Annotated[int, u8("0: a number, 1: bytes")]
    size: Annotated[int, u8("size of the output", "By")]


class HashTypesResponse(Message, frozen=True, kw_only=True):
    """All kinds of hash that the device offers."""

    types: Annotated[dict[str, HashType], about("kind of hash by name")]


READ = Command(
    "fs download",
    Op.READ,
    Group.FS,
    0,
    FileReadRequest,
    FileReadResponse,
    "read a chunk of a file",
    (2, 3, 4, 5, 6, 7, 12, 16),
)
WRITE = Command(
    "fs upload",
    Op.WRITE,
    Group.FS,
    0,
    FileWriteRequest,
    FileWriteResponse,
    "write a chunk of a file; off 0 begins it anew unless the device still has it open: close first",
    (2, 5, 6, 8, 9, 10, 11, 14, 15),
    repeatable=False,
)
STATUS = Command(
    "fs status", Op.READ, Group.FS, 1, FileStatusRequest, FileStatusResponse, "size of a file", (2, 3, 4, 5)
)
HASH = Command(
    "fs hash",
    Op.READ,
    Group.FS,
    2,
    FileHashRequest,
    FileHashResponse,
    "hash of a file",
    (2, 3, 4, 5, 7, 12, 13, 16),
    service_s=10.0,
)
HASH_TYPES = Command(
    "fs hash types", Op.READ, Group.FS, 3, Empty, HashTypesResponse, "kinds of hash that the device offers"
)
CLOSE = Command("fs close", Op.WRITE, Group.FS, 4, Empty, Empty, "close the file that is open")

COMMANDS = (READ, WRITE, STATUS, HASH, HASH_TYPES, CLOSE)
