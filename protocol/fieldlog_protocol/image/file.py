"""A whole image: parse, check the hash, build.

Rule: the structure is checked to the last byte of the last TLV; what the TLVs claim is checked by whoever relies on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image.header import (
    HEADER,
    HEADER_SIZE,
    IMAGE_MAGIC,
    VERSION_FIELDS,
    ImageFlag,
    ImageHeader,
    ImageVersion,
    parse_header,
)
from fieldlog_protocol.image.tlv import PROTECTED_TLV_MAGIC, TLV_MAGIC, Tlv, TlvType, build_area, sized, tlv_area
from fieldlog_protocol.layout import Layout

_ENCRYPTED = ImageFlag.ENCRYPTED_AES128 | ImageFlag.ENCRYPTED_AES256
_WRAPPED_KEYS = range(TlvType.ENCRYPTED_RSA2048, TlvType.ENCRYPTED_X25519_SHA512 + 1)


@dataclass(frozen=True, slots=True)
class Hash:
    name: str
    function: Callable[[bytes], Any]


HASHES: dict[int, Hash] = {
    TlvType.SHA256: Hash("SHA-256", hashlib.sha256),
    TlvType.SHA384: Hash("SHA-384", hashlib.sha384),
    TlvType.SHA512: Hash("SHA-512", hashlib.sha512),
}


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


_DEPENDENCY = Layout(Dependency, [("image", "u8"), ("pad0", "u8"), ("pad1", "u16"), *VERSION_FIELDS], endian="little")


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
    def hash_tlv(self) -> Tlv | None:
        return next((tlv for tlv in self.tlvs if tlv.kind in HASHES), None)

    @property
    def hash(self) -> bytes | None:
        """What SMP calls the image's hash: the value of its SHA TLV, whether it is true or not."""
        found = self.hash_tlv
        return None if found is None else found.data

    @property
    def hash_kind(self) -> str | None:
        found = self.hash_tlv
        return None if found is None else HASHES[found.kind].name

    @property
    def hashed(self) -> bytes:
        """Header, body and protected TLVs: what hash and signature cover."""
        return self.data[: self.header.hashed_size]

    @property
    def security_counter(self) -> int | None:
        found = self.find_protected(TlvType.SECURITY_COUNTER)
        return None if found is None else int.from_bytes(sized(found, 4).data, "little")

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        wanted = (tlv for tlv in self.protected if tlv.kind == TlvType.DEPENDENCY)
        return tuple(_DEPENDENCY.parse(sized(tlv, _DEPENDENCY.size).data) for tlv in wanted)

    def find(self, kind: int) -> Tlv | None:
        """The first protected TLV of this type, else the first of the others."""
        return next((tlv for tlv in (*self.protected, *self.tlvs) if tlv.kind == kind), None)

    def find_protected(self, kind: int) -> Tlv | None:
        """The first TLV of this type that the hash covers."""
        return next((tlv for tlv in self.protected if tlv.kind == kind), None)


def parse_image(data: bytes) -> Image:
    """The image at the start of `data`, its structure checked to the last TLV. The hash is not: see verify_hash."""
    header = parse_header(data)
    if header.body_end > len(data):
        raise ImageError(
            f"the image is truncated: header and body take {header.body_end} bytes, there are {len(data)}. Get the file again"
        )
    protected, protected_end = _protected_area(data, header)
    tlvs, end = tlv_area(data, protected_end, TLV_MAGIC)
    if sum(tlv.kind in HASHES for tlv in tlvs) > 1:
        raise ImageError("the image is damaged: it carries more than one hash")
    return Image(header, protected, tlvs, bytes(data[:end]))


def _protected_area(data: bytes, header: ImageHeader) -> tuple[tuple[Tlv, ...], int]:
    if not header.protected_size:
        return (), header.body_end
    protected, end = tlv_area(data, header.body_end, PROTECTED_TLV_MAGIC)
    if end != header.hashed_size:
        raise ImageError(
            f"the image is damaged: its header announces {header.protected_size} bytes of protected TLVs, "
            f"the area itself {end - header.body_end}"
        )
    return protected, end


def verify_hash(image: Image) -> None:
    """Raise ImageError unless the image's own hash is that of its header, body and protected TLVs."""
    stated = image.hash_tlv
    if stated is None:
        raise ImageError("the image carries no hash: whether it is whole cannot be told. Sign it with imgtool")
    kind = HASHES[stated.kind]
    found: bytes = kind.function(image.hashed).digest()
    if found == stated.data:
        return
    if lacks_plain_text(image):
        raise ImageError(
            "the image is encrypted: its hash is that of the plain text and can only be checked with the key"
        )
    raise ImageError(
        f"the image is damaged: {kind.name} over its first {image.header.hashed_size} bytes is {found.hex()[:16]}..., "
        f"its own TLV says {stated.data.hex()[:16]}... Get the file again"
    )


def lacks_plain_text(image: Image) -> bool:
    """Whether the hash is that of a plain text that is not here. `imgtool sign --clear` marks as encrypted what is not."""
    if not image.encrypted or not any(tlv.kind in _WRAPPED_KEYS for tlv in image.tlvs):
        return False
    stated = image.hash_tlv
    return stated is not None and HASHES[stated.kind].function(image.hashed).digest() != stated.data


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
    if header_size < HEADER_SIZE or hash_kind not in HASHES:
        raise UsageError(f"no image can have a header of {header_size} bytes and a hash of type {hash_kind:#x}")
    area = build_area(PROTECTED_TLV_MAGIC, protected) if protected else b""
    numbers = (version.major, version.minor, version.revision, version.build)
    header = ImageHeader(IMAGE_MAGIC, load_address, header_size, len(area), len(body), flags, *numbers, pad=0)
    hashed = HEADER.build(header).ljust(header_size, b"\xff") + body + area
    digest: bytes = HASHES[hash_kind].function(hashed).digest()
    return hashed + build_area(TLV_MAGIC, (Tlv(hash_kind, digest), *tlvs))
