"""The areas of type, length and value behind an image's body: one that the hash covers, and one for hash and signatures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.layout import Layout

TLV_MAGIC = 0x6907
PROTECTED_TLV_MAGIC = 0x6908


class TlvType(IntEnum):
    """As MCUboot's image.h numbers them (its design document gives 0x80 and 0x81 for the UUIDs, which nothing writes).

    Vendors' own have a low byte of 0xa0 or more; those of fieldlog are in `target`.
    """

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
    FIELDLOG_PRODUCT = 0x46A0
    FIELDLOG_HARDWARE = 0x46A1


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


def tlv_area(data: bytes, start: int, magic: int) -> tuple[tuple[Tlv, ...], int]:
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


def sized(tlv: Tlv, size: int) -> Tlv:
    if len(tlv.data) != size:
        raise ImageError(f"the image is damaged: its TLV {tlv.name} has {len(tlv.data)} bytes, not {size}")
    return tlv


def build_area(magic: int, tlvs: Iterable[Tlv]) -> bytes:
    entries = b"".join(_TLV_HEAD.build(TlvHead(tlv.kind, len(tlv.data))) + tlv.data for tlv in tlvs)
    return _TLV_HEAD.build(TlvHead(magic, _TLV_HEAD.size + len(entries))) + entries
