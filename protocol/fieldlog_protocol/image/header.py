"""The 32 bytes that every MCUboot image begins with, and what a file that begins otherwise may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntFlag

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.layout import Layout

IMAGE_MAGIC = 0x96F3B83D
HEADER_SIZE = 32


class ImageFlag(IntFlag):
    PIC = 0x1
    ENCRYPTED_AES128 = 0x4
    ENCRYPTED_AES256 = 0x8
    NON_BOOTABLE = 0x10
    RAM_LOAD = 0x20
    ROM_FIXED = 0x100
    COMPRESSED_LZMA1 = 0x200
    COMPRESSED_LZMA2 = 0x400
    COMPRESSED_ARM_THUMB = 0x800


@dataclass(frozen=True, slots=True, order=True)
class ImageVersion:
    major: int = 0
    minor: int = 0
    revision: int = 0
    build: int = 0

    def __str__(self) -> str:
        """As imgtool writes it, the build only where there is one."""
        text = f"{self.major}.{self.minor}.{self.revision}"
        return f"{text}+{self.build}" if self.build else text

    @property
    def dotted(self) -> str:
        """As Zephyr's image list writes it."""
        return str(self).replace("+", ".")

    @classmethod
    def of(cls, text: str) -> ImageVersion:
        """Read `1`, `1.2`, `1.2.3`, `1.2.3+4` or `1.2.3.4`."""
        match = re.fullmatch(r"(\d{1,3})(?:\.(\d{1,3})(?:\.(\d{1,5})(?:[.+](\d{1,10}))?)?)?", text, re.ASCII)
        if match is None:
            raise UsageError(f"{text!r} is no image version: write major.minor.revision+build, such as 1.4.0+12")
        version = cls(*(int(part or 0) for part in match.groups()))
        if max(version.major, version.minor) > 0xFF or version.revision > 0xFFFF or version.build > 0xFFFFFFFF:
            raise UsageError(f"image version {text} is out of range: at most 255.255.65535+4294967295")
        return version


@dataclass(frozen=True, slots=True)
class ImageHeader:
    magic: int
    load_address: int
    header_size: int
    protected_size: int
    image_size: int
    flags: int
    major: int
    minor: int
    revision: int
    build: int
    pad: int

    @property
    def version(self) -> ImageVersion:
        return ImageVersion(self.major, self.minor, self.revision, self.build)

    @property
    def body_end(self) -> int:
        return self.header_size + self.image_size

    @property
    def hashed_size(self) -> int:
        """How many bytes from the start the hash covers: header, body and protected TLVs."""
        return self.body_end + self.protected_size


VERSION_FIELDS = [("major", "u8"), ("minor", "u8"), ("revision", "u16"), ("build", "u32")]
HEADER = Layout(
    ImageHeader,
    [
        *[("magic", "u32"), ("load_address", "u32"), ("header_size", "u16"), ("protected_size", "u16")],
        *[("image_size", "u32"), ("flags", "u32"), *VERSION_FIELDS, ("pad", "u32")],
    ],
    endian="little",
)


def parse_header(data: bytes) -> ImageHeader:
    """The header in the first 32 bytes of `data`: all that the first message of an upload is sure to bring."""
    if len(data) < HEADER_SIZE:
        raise ImageError(f"not a firmware image: {len(data)} bytes, where the header alone takes {HEADER_SIZE}")
    header = HEADER.parse(bytes(data[:HEADER_SIZE]))
    if header.magic != IMAGE_MAGIC:
        raise ImageError(
            f"not an MCUboot image: {_looks_like(bytes(data))}. Give the signed image (zephyr.signed.bin), or a package "
            "such as dfu_application.zip"
        )
    if header.header_size < HEADER_SIZE:
        raise ImageError(
            f"the image is damaged: its header says it is {header.header_size} bytes long, the least is {HEADER_SIZE}"
        )
    return header


_OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "this is an ELF file, for a debugger"),
    (b":", "this looks like an Intel HEX file, for a programmer"),
    (b"S0", "this looks like an S-record file, for a programmer"),
    (b"UF2\n", "this is a UF2 file, for a boot loader that poses as a disk"),
    (b"PK\x03\x04", "this is a zip archive where an image is expected"),
    (b"\x1f\x8b", "this is a gzip archive"),
    (b"-----BEGIN", "this is a key or a certificate"),
)
_RAM = range(0x1000_0000, 0x4000_0000)
"""Where the first word of a Cortex-M program, its stack pointer, points to."""


def _looks_like(data: bytes) -> str:
    for start, text in _OTHER_FILES:
        if data.startswith(start):
            return text
    first, second = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    if not any(data[:HEADER_SIZE]) or (first in _RAM and second & 1):
        return "this looks like the bare program that has not been signed (zephyr.bin)"
    return f"it begins with {first:#010x}, not {IMAGE_MAGIC:#010x}"
