"""Damaged images: never a crash, and never found good unless the damage lies where nothing is vouched for."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.firmware_package import parse_package
from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import (
    Image,
    ImageVersion,
    Proof,
    PublicKey,
    Tlv,
    TlvType,
    build_image,
    parse_image,
    parse_trailer,
    signatures,
    target_of,
    verify_hash,
    verify_rest,
    verify_signature,
    verify_target,
)
from image_tool import BODY, ENCRYPTED_FOR, RICH, encrypted, key, public_key, sign

OURS = ["--custom-tlv", "0x46a0", "paper", "--custom-tlv", "0x46a1", "rev A, rev B"]
SIGNED = {
    "rsa-2048": ("rsa-2048", RICH),
    "rsa-3072": ("rsa-3072", OURS),
    "ecdsa-p256": ("ecdsa-p256", [*RICH, "--confirm"]),
    "ecdsa-p384": ("ecdsa-p384", ["--public-key-format", "full"]),
    "ed25519": ("ed25519", [*OURS, "-s", "7"]),
    "pure": ("ed25519", [*RICH, "--pure", "--pad"]),
}


@dataclass(frozen=True)
class Good:
    """A sound file: `size` bytes of it are the image, `hashed` are covered by hash and signature."""

    data: bytes
    key: PublicKey
    image: Image

    def unvouched(self) -> Iterator[int]:
        """Where a byte may change unseen: the padding behind the image's last TLV, but for the boot trailer."""
        yield from range(self.image.size, len(self.data))


@functools.cache
def good(name: str) -> Good:
    kind, options = SIGNED[name]
    with tempfile.TemporaryDirectory() as folder:
        data = sign(
            Path(folder), *options, "-k", key(kind), "-M", "4", header=32, body=BODY[:60], slot=0x800
        ).read_bytes()
    return Good(data, public_key(kind), parse_image(data))


@functools.cache
def good_encrypted(kind: str) -> Good:
    with tempfile.TemporaryDirectory() as folder:
        options = [*RICH, *encrypted(kind), "-k", key(kind)]
        data = sign(Path(folder), *options, header=32, body=BODY[:60]).read_bytes()
    return Good(data, public_key(kind), parse_image(data))


@functools.cache
def unsigned() -> tuple[bytes, ...]:
    counter, other = Tlv(TlvType.SECURITY_COUNTER, bytes(4)), Tlv(TlvType.DEPENDENCY, bytes(12))
    return (
        build_image(b"\0" * 40, ImageVersion(1)),
        build_image(
            BODY[:64],
            ImageVersion(1, 2, 3, 4),
            protected=[counter, other, Tlv(0xA1, b"abc"), Tlv(TlvType.FIELDLOG_PRODUCT, b"paper")],
            hash_kind=TlvType.SHA512,
            tlvs=[Tlv(TlvType.ED25519, bytes(64))],
        ),
    )


def passes(function: Callable[[], object]) -> bool:
    try:
        function()
    except ImageError:
        return False
    return True


def look_everywhere(data: bytes) -> Image | None:
    """Ask all that can be asked of a file; None where it is no image. Nothing but ImageError may come."""
    passes(lambda: parse_package(data, "fuzz.bin"))
    parse_trailer(data)
    try:
        image = parse_image(data)
    except ImageError:
        return None
    _ = (image.flags, image.body, image.hash_kind, [tlv.name for tlv in image.tlvs])
    for ask in (
        lambda: image.security_counter,
        lambda: image.dependencies,
        lambda: target_of(image),
        lambda: verify_target(image, "paper", "rev A"),
        lambda: signatures(image),
        lambda: verify_rest(image, data),
    ):
        passes(ask)
    return image


# every byte


@pytest.mark.parametrize("data", unsigned(), ids=["bare", "rich"])
def test_every_single_bit_counts(data: bytes) -> None:
    """Flip each bit of header, body, protected TLVs and hash: never verified."""
    for bit in range(parse_image(data).header.hashed_size * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not passes(partial(_hash_is_right, bytes(damaged))), bit


def _hash_is_right(data: bytes) -> None:
    verify_hash(parse_image(data))


@pytest.mark.parametrize("name", SIGNED)
def test_every_byte_of_a_signed_image_is_vouched_for(name: str) -> None:
    """Change each byte: hash and signature hold only where that byte stands behind the image."""
    sound = good(name)
    random = Random(3)
    unseen = {at for at in range(len(sound.data)) if _still_good(sound, at, random)}
    assert unseen == set(sound.unvouched())


def _still_good(sound: Good, at: int, random: Random) -> bool:
    damaged = bytearray(sound.data)
    damaged[at] ^= random.randrange(1, 256)
    return passes(lambda: verify_signature(parse_image(bytes(damaged)), sound.key))


@pytest.mark.parametrize("name", ["ecdsa-p256", "pure"])
def test_what_stands_behind_the_image_is_looked_at_too(name: str) -> None:
    """Each byte of padding and boot trailer, one at a time."""
    sound = good(name)
    for at in sound.unvouched():
        damaged = bytearray(sound.data)
        damaged[at] ^= 0x18
        assert not passes(partial(verify_rest, sound.image, bytes(damaged))), at


@pytest.mark.parametrize("kind", ENCRYPTED_FOR)
def test_of_an_encrypted_image_hash_key_and_signature_are_vouched_for(kind: str) -> None:
    """The rest takes the key to see. The proof says so, and it never becomes more by damage."""
    sound = good_encrypted(kind)
    random = Random(4)
    for at in range(len(sound.data)):
        damaged = bytearray(sound.data)
        damaged[at] ^= random.randrange(1, 256)
        _check_encrypted(sound, bytes(damaged), at)


def _check_encrypted(sound: Good, damaged: bytes, at: int) -> None:
    image = look_everywhere(damaged)
    if image is None or not passes(lambda: verify_signature(image, sound.key)):
        return
    assert verify_signature(image, sound.key) is Proof.HASH, at
    for kind in (TlvType.SHA256, TlvType.KEY_HASH, sound.key.signature_tlv):
        assert image.find(kind) == sound.image.find(kind), at


# many bytes


@given(st.binary(max_size=200))
def test_garbage_raises_image_error_and_nothing_else(data: bytes) -> None:
    for start in (b"", unsigned()[0][:4], unsigned()[0][:32], good("ed25519").image.hashed):
        image = look_everywhere(start + data)
        assert image is None or not passes(partial(verify_signature, image, good("ed25519").key))


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=80)), max_size=6))
def test_no_tlvs_but_its_own_make_an_image_pass(entries: list[tuple[int, bytes]]) -> None:
    """Any TLVs behind a sound header, body and protected TLVs."""
    sound = good("ed25519").image
    tlvs = tuple(Tlv(kind, data) for kind, data in entries)
    image = Image(sound.header, sound.protected, tlvs, sound.data)
    assert not passes(partial(verify_signature, image, good("ed25519").key))


def damage(data: bytes, random: Random) -> bytes:
    """A few bytes changed, a piece moved or doubled, or the end cut off."""
    damaged = bytearray(data)
    for _ in range(random.randint(1, 4)):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    at, size, to = (random.randrange(len(damaged)) for _ in range(3))
    match random.randrange(6):
        case 0:
            del damaged[at:]
        case 1:
            damaged[to:to] = damaged[at : at + size % 64]
        case 2:
            del damaged[at : at + size % 64]
        case _:
            pass
    return bytes(damaged)


def fuzz(sound: list[Good], count: int, seed: int) -> str:
    """Damage files `count` times; says what came of it."""
    random = Random(seed)
    passed = 0
    for turn in range(count):
        chosen = random.choice(sound)
        damaged = damage(chosen.data, random)
        while damaged == chosen.data:
            damaged = damage(chosen.data, random)
        try:
            passed += _judge(chosen, damaged)
        except Exception as error:
            error.add_note(f"seed {seed}, turn {turn}: {damaged.hex()}")
            raise
    return f"{count} damaged, 0 crashed the parser, {count - passed} refused, {passed} passed"


def _judge(sound: Good, damaged: bytes) -> bool:
    """Whether hash, signature and what stands behind the image were found good; they must be the very ones then."""
    image = look_everywhere(damaged)
    if image is None:
        return False
    if passes(lambda: verify_hash(image)):
        assert image.hashed == sound.image.hashed
    if not passes(lambda: verify_signature(image, sound.key)) or not passes(lambda: verify_rest(image, damaged)):
        return False
    if verify_signature(image, sound.key) is Proof.HASH:
        assert image.hash == sound.image.hash
    else:
        assert image.data == sound.image.data
    return True


def campaign(count: int, seed: int) -> str:
    told = fuzz([good(name) for name in SIGNED], count, seed)
    hidden = fuzz([good_encrypted(kind) for kind in ENCRYPTED_FOR], count // 10, seed)
    return f"images: {told} with less or more padding; encrypted: {hidden} for the hash alone"


def test_damaged_images_never_crash_the_parser_nor_pass(record_property: Callable[[str, object], None]) -> None:
    record_property("counted", campaign(2500, seed=1))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_hundred_thousand_damaged_images_never_crash_the_parser_nor_pass(
    record_property: Callable[[str, object], None],
) -> None:
    record_property("counted", campaign(120_000, seed=2))
