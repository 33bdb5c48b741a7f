"""Whether an image was signed with a key, as MCUboot would find.

A signature counts when the TLV before it names the key, by its hash or in full, and when it verifies: over the image's
hash, or over the image itself where it is *pure*. Boot loaders pass over signatures of keys that they do not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image.file import HASHES, Image, lacks_plain_text, verify_hash
from fieldlog_protocol.image.keys import KeyKind, PublicKey
from fieldlog_protocol.image.tlv import Tlv, TlvType

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_SIGNATURES = (TlvType.RSA2048, TlvType.ECDSA, TlvType.RSA3072, TlvType.ED25519)
_SIGNED_HASHES = {
    KeyKind.RSA2048: (TlvType.SHA256,),
    KeyKind.RSA3072: (TlvType.SHA256,),
    KeyKind.ECDSA_P256: (TlvType.SHA256,),
    KeyKind.ECDSA_P384: (TlvType.SHA384,),
    KeyKind.ED25519: (TlvType.SHA256, TlvType.SHA512),
}
_NAMES = {TlvType.RSA2048: KeyKind.RSA2048, TlvType.RSA3072: KeyKind.RSA3072, TlvType.ED25519: KeyKind.ED25519}
_SALT_LENGTH = 32
_SHOWN_DIGITS = 16


class Proof(Enum):
    """What a good signature vouches for."""

    IMAGE = "image"
    HASH = "hash"
    """Only that the hash which an encrypted image states was signed; what it is the hash of takes the key to see."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the key that it names: by hash, in full, or not at all."""

    kind: TlvType
    data: bytes
    key_hash: bytes | None
    public_key: bytes | None
    pure: bool

    @property
    def name(self) -> str:
        """The kind of key. One elliptic curve is told from the other by the size of the key, or of its hash."""
        if self.kind is not TlvType.ECDSA:
            return _NAMES[self.kind].value
        size = len(self.public_key or self.key_hash or b"")
        return {32: "ECDSA-P256", 91: "ECDSA-P256", 48: "ECDSA-P384", 120: "ECDSA-P384"}.get(size, "ECDSA")

    def names(self, key: PublicKey, hash_tlv: int) -> bool:
        if self.kind != key.signature_tlv:
            return False
        return self.key_hash == key.hash(hash_tlv) if self.public_key is None else self.public_key == key.encoded


def signatures(image: Image) -> tuple[Signature, ...]:
    """All signatures of the image, in order; raises ImageError when its mark of a pure signature is no such mark."""
    pure = _is_pure(image)
    found: list[Signature] = []
    key_hash = public_key = None
    for tlv in image.tlvs:
        if tlv.kind == TlvType.KEY_HASH:
            key_hash, public_key = tlv.data, None
        elif tlv.kind == TlvType.PUBLIC_KEY:
            key_hash, public_key = None, tlv.data
        elif tlv.kind in _SIGNATURES:
            found.append(Signature(TlvType(tlv.kind), tlv.data, key_hash, public_key, pure))
            key_hash = public_key = None
    return tuple(found)


def _is_pure(image: Image) -> bool:
    mark = next((tlv for tlv in image.tlvs if tlv.kind == TlvType.PURE_SIGNATURE), None)
    if mark is not None and mark.data != b"\1":
        raise ImageError(
            f"the image is damaged: its mark of a pure signature is {mark.data.hex()[:_SHOWN_DIGITS]!r}, not 01"
        )
    return mark is not None


def verify_signature(image: Image, key: PublicKey) -> Proof:
    """Raise ImageError unless hash and signature are right and the signature is this key's. The hash is checked too."""
    found = signatures(image)
    if not found:
        raise ImageError(
            f"the image carries no signature, and one with a key of kind {key.kind.value} is wanted. Sign it: imgtool sign -k KEY ..."
        )
    stated = image.hash_tlv
    if stated is None:
        raise ImageError("the image carries no hash, which a signature is made over. Sign it again with imgtool")
    ours = [signature for signature in found if signature.names(key, stated.kind)]
    if not ours:
        raise _other_key(found, key, stated)
    proof = _verify_hash(image, pure=ours[0].pure)
    for signature in ours:
        _verify(signature, key, image, stated)
    return proof


def _other_key(found: tuple[Signature, ...], key: PublicKey, stated: Tlv) -> ImageError:
    named = " and ".join(f"{_key_text(signature)} ({signature.name})" for signature in found)
    wanted = _short(key.hash(stated.kind))
    return ImageError(
        f"the image is signed with another key: it names {named}, the key wanted has the hash {wanted} ({key.kind.value}). "
        "Give the key that signed it, or get an image that is signed for this device"
    )


def _key_text(signature: Signature) -> str:
    if signature.public_key is not None:
        return f"the full key {_short(signature.public_key)}"
    return "no key" if signature.key_hash is None else f"the key hash {_short(signature.key_hash)}"


def _short(data: bytes) -> str:
    return f"{data.hex()[:_SHOWN_DIGITS]}..."


def _verify_hash(image: Image, *, pure: bool) -> Proof:
    if not lacks_plain_text(image):
        verify_hash(image)
        return Proof.IMAGE
    if pure:
        raise ImageError(
            "the image is encrypted and its signature covers the plain text: only who can decrypt it can verify it"
        )
    return Proof.HASH


def _verify(signature: Signature, key: PublicKey, image: Image, stated: Tlv) -> None:
    from cryptography.exceptions import InvalidSignature

    if stated.kind not in _SIGNED_HASHES[key.kind]:
        raise ImageError(
            f"the signature is wrong: keys of kind {key.kind.value} do not sign a {HASHES[stated.kind].name}. "
            "Sign the image again with imgtool"
        )
    try:
        _CHECKS[key.kind](signature.data, key, image.hashed if signature.pure else stated.data)
    except InvalidSignature:
        raise ImageError(
            f"the signature is wrong: it names the key {_short(key.hash(stated.kind))} but was not made with it over this "
            "image. The image was changed after it was signed; get it again from whoever signed it"
        ) from None


def _check_rsa(signature: bytes, key: PublicKey, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import padding, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    scheme = padding.PSS(padding.MGF1(SHA256()), _SALT_LENGTH)
    cast("RSAPublicKey", key.loaded()).verify(signature, digest, scheme, utils.Prehashed(SHA256()))


def _check_ecdsa(signature: bytes, key: PublicKey, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    function = SHA384() if key.kind is KeyKind.ECDSA_P384 else SHA256()
    cast("EllipticCurvePublicKey", key.loaded()).verify(
        _unpadded(signature), digest, ec.ECDSA(utils.Prehashed(function))
    )


def _unpadded(signature: bytes) -> bytes:
    """Without the zeros that imgtool --pad-sig puts behind its DER, for boot loaders before 1.5."""
    size = signature[1] + 2 if len(signature) > 1 else 0
    return signature[:size] if not any(signature[size:]) else signature


def _check_ed25519(signature: bytes, key: PublicKey, message: bytes) -> None:
    cast("Ed25519PublicKey", key.loaded()).verify(signature, message)


_CHECKS = {
    KeyKind.RSA2048: _check_rsa,
    KeyKind.RSA3072: _check_rsa,
    KeyKind.ECDSA_P256: _check_ecdsa,
    KeyKind.ECDSA_P384: _check_ecdsa,
    KeyKind.ED25519: _check_ed25519,
}
