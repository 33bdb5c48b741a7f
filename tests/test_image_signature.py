"""Signatures of images: imgtool signs, imgtool agrees, and every way to be wrong has a sentence of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.keys import load_key
from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import (
    Image,
    KeyKind,
    Proof,
    Tlv,
    TlvType,
    parse_image,
    parse_public_key,
    signatures,
    verify_signature,
)
from image_tool import ENCRYPTED_FOR, RICH, encrypted, key, public, public_key, run, sign

KINDS = {
    "rsa-2048": KeyKind.RSA2048,
    "rsa-3072": KeyKind.RSA3072,
    "ecdsa-p256": KeyKind.ECDSA_P256,
    "ecdsa-p384": KeyKind.ECDSA_P384,
    "ed25519": KeyKind.ED25519,
}
VARIANTS = [
    *[(kind, []) for kind in KINDS],
    *[(kind, [*RICH, "--confirm"]) for kind in KINDS],
    *[(kind, ["--public-key-format", "full"]) for kind in KINDS],
    ("ecdsa-p256", ["--pad-sig"]),
    ("ecdsa-p384", ["--pad-sig"]),
    ("ed25519", ["--sha", "512"]),
    ("ed25519", ["--pure"]),
    ("ed25519", [*RICH, "--pure", "--pad"]),
]


def without(image: Image, kind: int) -> Image:
    return Image(image.header, image.protected, tuple(tlv for tlv in image.tlvs if tlv.kind != kind), image.data)


def changed(image: Image, kind: int, data: bytes) -> Image:
    tlvs = tuple(Tlv(kind, data) if tlv.kind == kind else tlv for tlv in image.tlvs)
    return Image(image.header, image.protected, tlvs, image.data)


@pytest.mark.parametrize(
    ("kind", "options"), VARIANTS, ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
def test_what_imgtool_signs_is_found_good_by_both_and_by_neither_with_another_key(
    tmp_path: Path, kind: str, options: list[str]
) -> None:
    made = sign(tmp_path, *options, "-k", key(kind))
    image = parse_image(made.read_bytes())
    assert verify_signature(image, public_key(kind)) is Proof.IMAGE
    assert run("verify", "-k", public(kind), made)[0] == 0
    (signature,) = signatures(image)
    assert signature.name == KINDS[kind].value
    assert signature.pure == ("--pure" in options)
    with pytest.raises(ImageError, match="signed with another key"):
        verify_signature(image, public_key(kind, 1))
    assert run("verify", "-k", public(kind, 1), made)[0] != 0


@pytest.mark.parametrize("kind", ENCRYPTED_FOR)
def test_of_an_encrypted_image_the_signed_hash_is_all_that_is_vouched_for(tmp_path: Path, kind: str) -> None:
    made = sign(tmp_path, *RICH, *encrypted(kind), "-k", key(kind))
    assert verify_signature(parse_image(made.read_bytes()), public_key(kind)) is Proof.HASH


def test_an_encrypted_image_with_a_pure_signature_cannot_be_verified(tmp_path: Path) -> None:
    made = sign(tmp_path, *encrypted("ed25519"), "-k", key("ed25519"), "--pure")
    with pytest.raises(ImageError, match="only who can decrypt it"):
        verify_signature(parse_image(made.read_bytes()), public_key("ed25519"))


def test_an_image_that_was_left_clear_is_vouched_for_whole(tmp_path: Path) -> None:
    made = sign(tmp_path, *encrypted("ecdsa-p256"), "-k", key("ecdsa-p256"), "--clear")
    assert verify_signature(parse_image(made.read_bytes()), public_key("ecdsa-p256")) is Proof.IMAGE


def test_each_way_to_be_wrong_has_its_own_sentence(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, "-k", key("ecdsa-p256")).read_bytes())
    ours = public_key("ecdsa-p256")
    found = image.find(TlvType.ECDSA)
    assert found is not None
    body = Image(image.header, image.protected, image.tlvs, image.data[:600] + b"\0" + image.data[601:])
    cases = {
        "carries no signature": without(image, TlvType.ECDSA),
        "carries no hash": without(image, TlvType.SHA256),
        "it names no key": without(image, TlvType.KEY_HASH),
        "is damaged: SHA-256": body,
        "signature is wrong: it names the key": changed(
            image, TlvType.ECDSA, found.data[:-1] + bytes([found.data[-1] ^ 1])
        ),
    }
    for sentence, wrong in cases.items():
        with pytest.raises(ImageError, match=sentence):
            verify_signature(wrong, ours)


def test_a_wrong_key_is_told_with_both_hashes(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, "-k", key("ed25519")).read_bytes())
    given_key = public_key("ecdsa-p256")
    with pytest.raises(ImageError) as caught:
        verify_signature(image, given_key)
    for part in (public_key("ed25519").hash().hex()[:16], given_key.hash().hex()[:16], "Ed25519", "ECDSA-P256"):
        assert part in str(caught.value)


def test_a_signature_over_a_hash_that_its_kind_of_key_does_not_sign_is_wrong(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, "-k", key("ecdsa-p256")).read_bytes())
    longer = parse_image(sign(tmp_path, "--sha", "512").read_bytes())
    ours = public_key("ecdsa-p256")
    tlvs = (*longer.tlvs, Tlv(TlvType.KEY_HASH, ours.hash(TlvType.SHA512)), image.tlvs[-1])
    with pytest.raises(ImageError, match="do not sign a SHA-512"):
        verify_signature(Image(longer.header, longer.protected, tlvs, longer.data), ours)


def test_of_several_signatures_the_one_of_the_key_counts(tmp_path: Path) -> None:
    first = parse_image(sign(tmp_path, "-k", key("ed25519")).read_bytes())
    second = parse_image(sign(tmp_path, "-k", key("ed25519", 1)).read_bytes())
    both = Image(first.header, (), (*first.tlvs, *second.tlvs[1:]), first.data)
    for which in (0, 1):
        assert verify_signature(both, public_key("ed25519", which)) is Proof.IMAGE
    with pytest.raises(ImageError, match=r"names the key hash .* and the key hash"):
        verify_signature(both, public_key("ed25519", 2))
    swapped = Image(first.header, (), (*first.tlvs[:2], second.tlvs[2]), first.data)
    with pytest.raises(ImageError, match="signature is wrong"):
        verify_signature(swapped, public_key("ed25519"))


def test_a_key_names_the_one_signature_behind_it(tmp_path: Path) -> None:
    """A further one, of nobody knows whom, is passed over as boot loaders do."""
    first = parse_image(sign(tmp_path, "-k", key("ed25519")).read_bytes())
    second = parse_image(sign(tmp_path, "-k", key("ed25519", 1)).read_bytes())
    both = Image(first.header, (), (*first.tlvs, second.tlvs[-1]), first.data)
    assert [signature.key_hash is None for signature in signatures(both)] == [False, True]
    assert verify_signature(both, public_key("ed25519")) is Proof.IMAGE


def test_only_zeros_pad_a_signature(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, "-k", key("ecdsa-p256")).read_bytes())
    ours = public_key("ecdsa-p256")
    signed = image.tlvs[-1].data
    assert verify_signature(changed(image, TlvType.ECDSA, signed + b"\0\0"), ours) is Proof.IMAGE
    for wrong in (signed + b"\0\1", signed[:1], b""):
        with pytest.raises(ImageError, match="signature is wrong"):
            verify_signature(changed(image, TlvType.ECDSA, wrong), ours)


def test_the_mark_of_a_pure_signature_must_be_one(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, "-k", key("ed25519"), "--pure").read_bytes())
    with pytest.raises(ImageError, match="mark of a pure signature is '00'"):
        verify_signature(changed(image, TlvType.PURE_SIGNATURE, b"\0"), public_key("ed25519"))
    with pytest.raises(ImageError, match="signature is wrong"):
        verify_signature(without(image, TlvType.PURE_SIGNATURE), public_key("ed25519"))


# keys


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_the_same_from_either_half_and_written_as_imgtool_writes_it(kind: str) -> None:
    from_private, from_public = load_key(key(kind)), load_key(public(kind))
    assert from_private == from_public == public_key(kind)
    assert from_private.kind is KINDS[kind]
    assert from_private.pem == public(kind).read_text()
    assert parse_public_key(from_private.pem.encode()) == from_private
    assert b"PRIVATE" not in from_private.pem.encode()
    assert load_key(key(kind, 1)) != from_private


def _private(made: object, **options: object) -> bytes:
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, options.get("encryption", NoEncryption()))


def _wrong_keys() -> dict[str, tuple[bytes, str]]:
    p256 = ec.generate_private_key(ec.SECP256R1())
    locked = p256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    old_locked = p256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    x = x25519.X25519PrivateKey.generate().public_key()
    return {
        "empty": (b"", "no PEM text"),
        "image": (bytes(100), "no PEM text"),
        "locked": (locked, "protected by a password"),
        "locked, old": (old_locked, "protected by a password"),
        "certificate": (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a certificate, not a key"),
        "damaged": (_private(p256).replace(b"M", b"!"), "damaged or of an unknown kind"),
        "cut": (_private(p256)[:60], "damaged or of an unknown kind"),
        "openssh": (
            p256.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            "damaged or of an unknown",
        ),
        "x25519": (x.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "a key of kind X25519 signs no"),
        "ed448": (_private(ed448.Ed448PrivateKey.generate()), "a key of kind Ed448 signs no"),
        "rsa-1024": (_private(rsa.generate_private_key(65537, 1024)), "a key of kind RSA-1024 signs no"),
        "curve": (_private(ec.generate_private_key(ec.SECP521R1())), "a key of kind secp521r1 signs no"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "image",
        "locked",
        "locked, old",
        "certificate",
        "damaged",
        "cut",
        "openssh",
        "x25519",
        "ed448",
        "rsa-1024",
        "curve",
    ],
)
def test_what_is_no_key_for_images_is_refused_in_a_sentence_that_names_the_file(tmp_path: Path, name: str) -> None:
    pem, sentence = _wrong_keys()[name]
    path = tmp_path / "key.pem"
    path.write_bytes(pem)
    with pytest.raises(UsageError, match=sentence) as caught:
        load_key(path)
    assert str(path) in str(caught.value)


@given(st.sampled_from(["PUBLIC", "PRIVATE", "EC PRIVATE", "RSA PUBLIC", "ENCRYPTED PRIVATE"]), st.binary(max_size=100))
def test_any_pem_text_is_a_key_or_a_usage_error(label: str, data: bytes) -> None:
    import base64

    text = base64.encodebytes(data).decode()
    with pytest.raises(UsageError):
        parse_public_key(f"-----BEGIN {label} KEY-----\n{text}-----END {label} KEY-----\n".encode())
    with pytest.raises(UsageError):
        parse_public_key(b"-----BEGIN" + data)


def test_cryptography_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, fieldlog_protocol.image, fieldlog.firmware_package, fieldlog.keys, fieldlog.cli.image; print('cryptography' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
