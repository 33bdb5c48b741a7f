"""MCUboot images: parse, check the hash, build. This file holds bytes against the format and decides nothing.

An image is a 32-byte header (little endian, padded to `header_size`), the body, an area of *protected* TLVs that the
hash covers, and an area of TLVs that holds the hash and the signatures. What may follow in a slot or a padded file is
erased flash and the boot loader's *slot trailer* at its very end. Encrypted images carry the hash of their plain text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.layout import Layout

IMAGE_MAGIC = 0x96F3B83D
TLV_MAGIC = 0x6907
PROTECTED_TLV_MAGIC = 0x6908
HEADER_SIZE = 32

BOOT_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_ALIGNED_BOOT_MAGIC = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
TRAILER_ALIGN = 8


class TlvType(IntEnum):
    KEY_HASH = 0x01
    PUBLIC_KEY = 0x02
    SHA256 = 0x10
    SHA384 = 0x11
    SHA512 = 0x12
    RSA2048 = 0x20
    ECDSA = 0x22
    RSA3072 = 0x23
    ED25519 = 0x24
    PURE_SIGNATURE = 0x25
    ENCRYPTED_RSA2048 = 0x30
    ENCRYPTED_KW = 0x31
    ENCRYPTED_EC256 = 0x32
    ENCRYPTED_X25519 = 0x33
    ENCRYPTED_X25519_SHA512 = 0x34
    DEPENDENCY = 0x40
    SECURITY_COUNTER = 0x50
    BOOT_RECORD = 0x60
    DECOMPRESSED_SIZE = 0x70
    DECOMPRESSED_SHA = 0x71
    DECOMPRESSED_SIGNATURE = 0x72
    COMPRESSED_DECRYPTED_SIZE = 0x73
    VENDOR_UUID = 0x74
    CLASS_UUID = 0x75


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


_ENCRYPTED = ImageFlag.ENCRYPTED_AES128 | ImageFlag.ENCRYPTED_AES256
_HASHES: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    TlvType.SHA256: ("SHA-256", hashlib.sha256),
    TlvType.SHA384: ("SHA-384", hashlib.sha384),
    TlvType.SHA512: ("SHA-512", hashlib.sha512),
}


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


_VERSION_FIELDS = [("major", "u8"), ("minor", "u8"), ("revision", "u16"), ("build", "u32")]
_HEADER = Layout(
    ImageHeader,
    [
        *[("magic", "u32"), ("load_address", "u32"), ("header_size", "u16"), ("protected_size", "u16")],
        *[("image_size", "u32"), ("flags", "u32"), *_VERSION_FIELDS, ("pad", "u32")],
    ],
    endian="little",
)


@dataclass(frozen=True, slots=True)
class TlvHead:
    """Of an area: its magic and its length with this head. Of an entry: its type and the length of its data."""

    kind: int
    length: int


_TLV_HEAD = Layout(TlvHead, [("kind", "u16"), ("length", "u16")], endian="little")


@dataclass(frozen=True, slots=True)
class Tlv:
    kind: int
    data: bytes

    @property
    def name(self) -> str:
        return TlvType(self.kind).name if self.kind in TlvType.__members__.values() else f"0x{self.kind:04x}"


@dataclass(frozen=True, slots=True)
class Dependency:
    """This image wants image number `image` at `version` or later."""

    image: int
    pad0: int
    pad1: int
    major: int
    minor: int
    revision: int
    build: int

    @property
    def version(self) -> ImageVersion:
        return ImageVersion(self.major, self.minor, self.revision, self.build)


_DEPENDENCY = Layout(Dependency, [("image", "u8"), ("pad0", "u8"), ("pad1", "u16"), *_VERSION_FIELDS], endian="little")


@dataclass(frozen=True, slots=True)
class Image:
    """A whole image as it lies in a file or a slot. `data` ends with its last TLV: nothing of what follows it."""

    header: ImageHeader
    protected: tuple[Tlv, ...]
    tlvs: tuple[Tlv, ...]
    data: bytes

    @property
    def version(self) -> ImageVersion:
        return self.header.version

    @property
    def flags(self) -> ImageFlag:
        return ImageFlag(self.header.flags)

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def body(self) -> bytes:
        return self.data[self.header.header_size : self.header.body_end]

    @property
    def encrypted(self) -> bool:
        return bool(self.header.flags & _ENCRYPTED)

    @property
    def hash(self) -> bytes | None:
        """What SMP calls the image's hash: the value of its SHA TLV, whether it is true or not."""
        return next((tlv.data for tlv in self.tlvs if tlv.kind in _HASHES), None)

    @property
    def hash_kind(self) -> str | None:
        return next((_HASHES[tlv.kind][0] for tlv in self.tlvs if tlv.kind in _HASHES), None)

    @property
    def security_counter(self) -> int | None:
        found = self.find(TlvType.SECURITY_COUNTER)
        return None if found is None else int.from_bytes(_sized(found, 4).data, "little")

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        wanted = (tlv for tlv in self.protected if tlv.kind == TlvType.DEPENDENCY)
        return tuple(_DEPENDENCY.parse(_sized(tlv, _DEPENDENCY.size).data) for tlv in wanted)

    def find(self, kind: int) -> Tlv | None:
        """The first protected TLV of this type, else the first of the others."""
        return next((tlv for tlv in (*self.protected, *self.tlvs) if tlv.kind == kind), None)


def parse_header(data: bytes) -> ImageHeader:
    """The header in the first 32 bytes of `data`: all that the first message of an upload is sure to bring."""
    if len(data) < HEADER_SIZE:
        raise ImageError(f"not a firmware image: {len(data)} bytes, where the header alone takes {HEADER_SIZE}")
    header = _HEADER.parse(bytes(data[:HEADER_SIZE]))
    if header.magic != IMAGE_MAGIC:
        raise ImageError(
            f"not an MCUboot image: it begins with {header.magic:#010x}, not {IMAGE_MAGIC:#010x}. "
            "Give the signed image (zephyr.signed.bin), not the bare program or the ELF file"
        )
    if header.header_size < HEADER_SIZE:
        raise ImageError(
            f"the image is damaged: its header says it is {header.header_size} bytes long, the least is {HEADER_SIZE}"
        )
    return header


def parse_image(data: bytes) -> Image:
    """The image at the start of `data`, its structure checked to the last TLV. The hash is not: see verify_hash."""
    header = parse_header(data)
    if header.body_end > len(data):
        raise ImageError(
            f"the image is truncated: header and body take {header.body_end} bytes, there are {len(data)}. Get the file again"
        )
    protected, protected_end = _protected_area(data, header)
    tlvs, end = _tlv_area(data, protected_end, TLV_MAGIC)
    if sum(tlv.kind in _HASHES for tlv in tlvs) > 1:
        raise ImageError("the image is damaged: it carries more than one hash")
    return Image(header, protected, tlvs, bytes(data[:end]))


def _protected_area(data: bytes, header: ImageHeader) -> tuple[tuple[Tlv, ...], int]:
    if not header.protected_size:
        return (), header.body_end
    protected, end = _tlv_area(data, header.body_end, PROTECTED_TLV_MAGIC)
    if end != header.hashed_size:
        raise ImageError(
            f"the image is damaged: its header announces {header.protected_size} bytes of protected TLVs, "
            f"the area itself {end - header.body_end}"
        )
    return protected, end


def _tlv_area(data: bytes, start: int, magic: int) -> tuple[tuple[Tlv, ...], int]:
    head = _tlv_head(data, start, len(data))
    if head.kind != magic:
        raise ImageError(
            f"the image is damaged: at byte {start} its TLVs begin with {head.kind:#06x}, not {magic:#06x}"
        )
    end = start + head.length
    if head.length < _TLV_HEAD.size or end > len(data):
        raise ImageError(
            f"the image is truncated: its TLVs take bytes {start} to {end}, there are {len(data)}. Get the file again"
        )
    return tuple(_entries(data, start + _TLV_HEAD.size, end)), end


def _entries(data: bytes, at: int, end: int) -> Iterator[Tlv]:
    while at < end:
        head = _tlv_head(data, at, end)
        at += _TLV_HEAD.size
        if at + head.length > end:
            raise ImageError(
                f"the image is damaged: TLV {head.kind:#06x} of {head.length} bytes at byte {at} runs past its area"
            )
        yield Tlv(head.kind, bytes(data[at : at + head.length]))
        at += head.length


def _tlv_head(data: bytes, at: int, end: int) -> TlvHead:
    if at + _TLV_HEAD.size > end:
        raise ImageError(f"the image is truncated: a TLV begins at byte {at} of {end}. Get the file again")
    return _TLV_HEAD.parse(bytes(data[at : at + _TLV_HEAD.size]))


def _sized(tlv: Tlv, size: int) -> Tlv:
    if len(tlv.data) != size:
        raise ImageError(f"the image is damaged: its TLV {tlv.name} has {len(tlv.data)} bytes, not {size}")
    return tlv


def verify_hash(image: Image) -> None:
    """Raise ImageError unless the image's own hash is that of its header, body and protected TLVs."""
    if image.encrypted:
        raise ImageError(
            "the image is encrypted: its hash is that of the plain text and can only be checked with the key"
        )
    stated = next((tlv for tlv in image.tlvs if tlv.kind in _HASHES), None)
    if stated is None:
        raise ImageError("the image carries no hash: whether it is whole cannot be told. Sign it with imgtool")
    name, function = _HASHES[stated.kind]
    found: bytes = function(image.data[: image.header.hashed_size]).digest()
    if found != stated.data:
        raise ImageError(
            f"the image is damaged: {name} over its first {image.header.hashed_size} bytes is {found.hex()[:16]}..., "
            f"its own TLV says {stated.data.hex()[:16]}... Get the file again"
        )


def build_image(
    body: bytes,
    version: ImageVersion,
    *,
    header_size: int = HEADER_SIZE,
    load_address: int = 0,
    flags: int = 0,
    protected: Sequence[Tlv] = (),
    hash_kind: int = TlvType.SHA256,
    tlvs: Sequence[Tlv] = (),
) -> bytes:
    """An unsigned image, byte for byte as imgtool makes it; `tlvs` follow the hash."""
    if header_size < HEADER_SIZE or hash_kind not in _HASHES:
        raise UsageError(f"no image can have a header of {header_size} bytes and a hash of type {hash_kind:#x}")
    area = _build_area(PROTECTED_TLV_MAGIC, protected) if protected else b""
    numbers = (version.major, version.minor, version.revision, version.build)
    header = ImageHeader(IMAGE_MAGIC, load_address, header_size, len(area), len(body), flags, *numbers, pad=0)
    hashed = _HEADER.build(header).ljust(header_size, b"\xff") + body + area
    digest: bytes = _HASHES[hash_kind][1](hashed).digest()
    return hashed + _build_area(TLV_MAGIC, (Tlv(hash_kind, digest), *tlvs))


def _build_area(magic: int, tlvs: Iterable[Tlv]) -> bytes:
    entries = b"".join(_TLV_HEAD.build(TlvHead(tlv.kind, len(tlv.data))) + tlv.data for tlv in tlvs)
    return _TLV_HEAD.build(TlvHead(magic, _TLV_HEAD.size + len(entries))) + entries


@dataclass(frozen=True, slots=True)
class SlotTrailer:
    """What stands at the end of a slot or of a file made with imgtool --pad: 1 set, 0xff unset, anything else is damage."""

    image_ok: int
    copy_done: int
    swap_info: int
    align: int


def parse_trailer(data: bytes) -> SlotTrailer | None:
    """The boot trailer at the end of `data`; None where there is none."""
    align = _trailer_align(data[-len(BOOT_MAGIC) :])
    if align is None:
        return None
    magic_size = -(-len(BOOT_MAGIC) // align) * align
    if len(data) < magic_size + 3 * align:
        return None
    image_ok, copy_done, swap_info = (data[len(data) - magic_size - step * align] for step in (1, 2, 3))
    return SlotTrailer(image_ok, copy_done, swap_info, align)


def _trailer_align(magic: bytes) -> int | None:
    """8, or what the magic itself names where the flash writes in larger units."""
    if magic == BOOT_MAGIC:
        return TRAILER_ALIGN
    align = int.from_bytes(magic[:2], "little")
    return align if magic[2:] == _ALIGNED_BOOT_MAGIC and align in (16, 32) else None
