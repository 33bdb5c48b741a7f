"""MCUboot images: parse, check hash and signature, build. This package holds bytes against the format and decides nothing.

An image is a 32-byte header (little endian, padded to `header_size`), the body, an area of *protected* TLVs that the
hash covers, and an area of TLVs that holds the hash and the signatures. What may follow in a slot or a padded file is
erased flash and the boot loader's *slot trailer* at its very end. Encrypted images carry the hash of their plain text.

What a hash and a signature vouch for is `Image.hashed`. Not vouched for are the unprotected TLVs other than hash, key
and signature, and what follows the image: nothing here believes those.
"""

from fieldlog_protocol.image.file import Dependency, Image, build_image, lacks_plain_text, parse_image, verify_hash
from fieldlog_protocol.image.header import (
    HEADER_SIZE,
    IMAGE_MAGIC,
    ImageFlag,
    ImageHeader,
    ImageVersion,
    parse_header,
)
from fieldlog_protocol.image.keys import KeyKind, PublicKey, parse_public_key
from fieldlog_protocol.image.signature import Proof, Signature, signatures, verify_signature
from fieldlog_protocol.image.target import Target, class_uuid, target_of, vendor_uuid, verify_target
from fieldlog_protocol.image.tlv import PROTECTED_TLV_MAGIC, TLV_MAGIC, Tlv, TlvHead, TlvType
from fieldlog_protocol.image.trailer import BOOT_MAGIC, TRAILER_ALIGN, SlotTrailer, parse_trailer, verify_rest

__all__ = [
    "BOOT_MAGIC",
    "HEADER_SIZE",
    "IMAGE_MAGIC",
    "PROTECTED_TLV_MAGIC",
    "TLV_MAGIC",
    "TRAILER_ALIGN",
    "Dependency",
    "Image",
    "ImageFlag",
    "ImageHeader",
    "ImageVersion",
    "KeyKind",
    "Proof",
    "PublicKey",
    "Signature",
    "SlotTrailer",
    "Target",
    "Tlv",
    "TlvHead",
    "TlvType",
    "build_image",
    "class_uuid",
    "lacks_plain_text",
    "parse_header",
    "parse_image",
    "parse_public_key",
    "parse_trailer",
    "signatures",
    "target_of",
    "vendor_uuid",
    "verify_hash",
    "verify_rest",
    "verify_signature",
    "verify_target",
]
