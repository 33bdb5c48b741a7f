"""The keys that sign images, by their public half.

Rule: a private key may be given, and nothing but its public half is taken out of it. A key is known by the bytes that
MCUboot compiles in, which imgtool hashes: PKCS #1 for RSA, SubjectPublicKeyInfo for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.image.file import HASHES
from fieldlog_protocol.image.tlv import TlvType

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


class KeyKind(Enum):
    """What MCUboot verifies signatures with; the value is its usual name."""

    RSA2048 = "RSA-2048"
    RSA3072 = "RSA-3072"
    ECDSA_P256 = "ECDSA-P256"
    ECDSA_P384 = "ECDSA-P384"
    ED25519 = "Ed25519"


_SIGNED_BY = {
    KeyKind.RSA2048: TlvType.RSA2048,
    KeyKind.RSA3072: TlvType.RSA3072,
    KeyKind.ECDSA_P256: TlvType.ECDSA,
    KeyKind.ECDSA_P384: TlvType.ECDSA,
    KeyKind.ED25519: TlvType.ED25519,
}
_ASK_FOR_PUBLIC = "Give its public half: imgtool getpub -k KEY -e pem -o public.pem"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; two of them are equal when the keys are."""

    kind: KeyKind
    encoded: bytes

    @property
    def signature_tlv(self) -> TlvType:
        return _SIGNED_BY[self.kind]

    def hash(self, hash_tlv: int = TlvType.SHA256) -> bytes:
        """What a key hash TLV says of this key. imgtool takes the hash that the image itself has."""
        digest: bytes = HASHES[hash_tlv].function(self.encoded).digest()
        return digest

    @property
    def pem(self) -> str:
        """As `imgtool getpub -e pem` writes it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self.loaded().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def loaded(self) -> PublicKeyTypes:
        """The key as cryptography has it."""
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        return load_der_public_key(self.encoded)


def parse_public_key(pem: bytes) -> PublicKey:
    """The public half of the key in a PEM file, public or private; raises UsageError with the reason why it will not do."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _load(pem)
    kind = _kind(key)
    form = PublicFormat.PKCS1 if isinstance(key, rsa.RSAPublicKey) else PublicFormat.SubjectPublicKeyInfo
    return PublicKey(kind, key.public_bytes(Encoding.DER, form))


def _load(pem: bytes) -> PublicKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if b"-----BEGIN" not in pem:
        raise UsageError("not a key: there is no PEM text in it. Give the PEM file that imgtool keygen or getpub wrote")
    if b"CERTIFICATE-----" in pem:
        raise UsageError("this is a certificate, not a key. " + _ASK_FOR_PUBLIC)
    try:
        if b"PRIVATE KEY-----" in pem:
            return serialization.load_pem_private_key(pem, None).public_key()
        return serialization.load_pem_public_key(pem)
    except TypeError:
        raise UsageError(
            "the key is protected by a password, and only its public half is needed. " + _ASK_FOR_PUBLIC
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            "the key cannot be read: its PEM text is damaged or of an unknown kind. " + _ASK_FOR_PUBLIC
        ) from None


def _kind(key: PublicKeyTypes) -> KeyKind:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    found: KeyKind | None = None
    name = type(key).__name__.removeprefix("_").removesuffix("PublicKey")
    if isinstance(key, rsa.RSAPublicKey):
        name = f"RSA-{key.key_size}"
        found = {2048: KeyKind.RSA2048, 3072: KeyKind.RSA3072}.get(key.key_size)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        name = key.curve.name
        found = {"secp256r1": KeyKind.ECDSA_P256, "secp384r1": KeyKind.ECDSA_P384}.get(name)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        found = KeyKind.ED25519
    if found is None:
        kinds = ", ".join(kind.value for kind in KeyKind)
        raise UsageError(f"a key of kind {name} signs no MCUboot images: they are signed with {kinds}")
    return found
