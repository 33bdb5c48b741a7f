"""MCUboot images, held against imgtool in both directions and against damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import (
    Image,
    ImageFlag,
    ImageVersion,
    Tlv,
    TlvType,
    build_image,
    lacks_plain_text,
    parse_header,
    parse_image,
    parse_trailer,
    verify_hash,
    verify_rest,
)
from image_tool import BODY, ENCRYPTED_FOR, KEY_TYPES, RICH, encrypted, imgtool, key, reported, sign


def assert_agrees(image: Image, report: dict[str, Any]) -> None:
    header, area = report["header"], report["tlv_area"]
    assert image.header.load_address == header["load_addr"]
    assert image.header.header_size == header["hdr_size"]
    assert image.header.protected_size == header["protected_tlv_size"]
    assert image.header.image_size == header["img_size"]
    assert image.header.flags == header["flags"]
    assert f"{image.version}" == header["version"].removesuffix("+0")
    assert [(tlv.kind, tlv.data.hex()) for tlv in image.protected] == [
        (t["type"], t["data"]) for t in area["tlvs_prot"]
    ]
    assert [(tlv.kind, tlv.data.hex()) for tlv in image.tlvs] == [(t["type"], t["data"]) for t in area["tlvs"]]


@pytest.mark.parametrize(
    "options",
    [
        [],
        RICH,
        ["--sha", "384"],
        ["--sha", "512"],
        ["-L", "0x20001000"],
        ["-F", "0x8000"],
        ["--non-bootable"],
        ["--pad"],
        ["--confirm"],
        [*RICH, "--test", "--max-align", "32", "--align", "32"],
    ],
    ids=" ".join,
)
def test_an_image_of_imgtool_is_read_as_imgtool_reads_it(tmp_path: Path, options: list[str]) -> None:
    made = sign(tmp_path, *options)
    image = parse_image(made.read_bytes())
    assert_agrees(image, reported(made))
    assert image.body == BODY
    verify_hash(image)


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_signed_images_are_read_as_imgtool_reads_them(tmp_path: Path, kind: str) -> None:
    made = sign(tmp_path, *RICH, "-k", key(kind))
    image = parse_image(made.read_bytes())
    assert_agrees(image, reported(made))
    verify_hash(image)
    assert image.find(TlvType.KEY_HASH) is not None
    assert len(image.tlvs) == 3


@pytest.mark.parametrize("signed_by", ENCRYPTED_FOR)
@pytest.mark.parametrize("bits", ["128", "256"])
def test_an_encrypted_image_is_read_and_its_hash_not_claimed_to_be_checked(
    tmp_path: Path, signed_by: str, bits: str
) -> None:
    made = sign(tmp_path, *RICH, "-k", key(signed_by), *encrypted(signed_by), "--encrypt-keylen", bits, "--pad")
    image = parse_image(made.read_bytes())
    assert_agrees(image, reported(made))
    assert image.encrypted
    assert lacks_plain_text(image)
    with pytest.raises(ImageError, match="encrypted"):
        verify_hash(image)


def test_what_is_marked_as_encrypted_but_left_clear_is_checked(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, "-k", key("ed25519"), *encrypted("ed25519"), "--clear").read_bytes())
    assert image.encrypted
    assert image.body.startswith(BODY)  # imgtool fills up a block of the cipher
    verify_hash(image)


def test_the_mark_of_encryption_alone_hides_no_damage() -> None:
    """A flag without a wrapped key: else whoever sets it could change anything unseen."""
    image = parse_image(build_image(BODY, ImageVersion(1)))
    marked = bytearray(image.data)
    marked[16] |= ImageFlag.ENCRYPTED_AES128
    with pytest.raises(ImageError, match="damaged"):
        verify_hash(parse_image(bytes(marked)))


def test_what_the_tlvs_mean(tmp_path: Path) -> None:
    image = parse_image(sign(tmp_path, *RICH).read_bytes())
    assert image.security_counter == 9
    (dependency,) = image.dependencies
    assert (dependency.image, dependency.version) == (1, ImageVersion(2, 3, 4, 5))
    assert image.find(0xA1) == Tlv(0xA1, b"hello")
    assert [tlv.name for tlv in image.protected][:2] == ["SECURITY_COUNTER", "DEPENDENCY"]
    assert image.protected[-1].name == "0x00a1"
    assert image.hash_kind == "SHA-256"


@pytest.mark.parametrize("kind", [TlvType.SHA256, TlvType.SHA384, TlvType.SHA512])
@pytest.mark.parametrize("header", [32, 512])
def test_an_image_of_ours_is_the_one_imgtool_makes(tmp_path: Path, kind: TlvType, header: int) -> None:
    made = sign(tmp_path, "-s", "9", "--sha", kind.name[3:], "--custom-tlv", "0x00a1", "hello", header=header)
    protected = [Tlv(TlvType.SECURITY_COUNTER, (9).to_bytes(4, "little")), Tlv(0xA1, b"hello")]
    ours = build_image(BODY, ImageVersion(1, 2, 3, 4), header_size=header, protected=protected, hash_kind=kind)
    assert ours == made.read_bytes()
    imgtool("verify", made)


def test_flags_and_load_address_are_as_imgtool_sets_them(tmp_path: Path) -> None:
    made = sign(tmp_path, "-L", "0x20001000", "--non-bootable", version="0.9.0", header=32)
    flags = ImageFlag.RAM_LOAD | ImageFlag.NON_BOOTABLE
    assert build_image(BODY, ImageVersion(0, 9), load_address=0x20001000, flags=flags) == made.read_bytes()


@pytest.mark.parametrize(("option", "image_ok"), [("--pad", 0xFF), ("--test", 0xFF), ("--confirm", 1)])
@pytest.mark.parametrize("align", [8, 16, 32])
def test_the_slot_trailer_is_read_as_imgtool_reads_it(tmp_path: Path, option: str, image_ok: int, align: int) -> None:
    made = sign(tmp_path, option, "--max-align", str(align), "--align", str(align))
    trailer = parse_trailer(made.read_bytes())
    report = reported(made)["trailer"]
    assert trailer is not None
    assert (trailer.align, trailer.image_ok) == (align, image_ok)
    assert (trailer.image_ok, trailer.copy_done, trailer.swap_info) == (
        report["image_ok"],
        report["copy_done"],
        report["swap_info"],
    )
    verify_rest(parse_image(made.read_bytes()), made.read_bytes())


def test_what_stands_behind_an_image_is_padding_a_trailer_or_damage(tmp_path: Path) -> None:
    data = sign(tmp_path, "--confirm").read_bytes()
    image = parse_image(data)
    for good in (data, image.data, image.data + b"\xff" * 100, image.data + bytes(3)):
        verify_rest(image, good)
    cases = {
        "stand 1 bytes": image.data + b"\xff\x01\xff",
        "neither padding": data[:-1] + b"\0",
        "image-ok flag is 0x03": data[:-24] + b"\3" + data[-23:],
        "copy-done flag is 0x02": data[:-32] + b"\2" + data[-31:],
        "swap type is 0x07": data[:-40] + b"\7" + data[-39:],
        "stand 2 bytes": data[: image.size + 5] + b"\1\2" + data[image.size + 7 :],
    }
    for sentence, damaged in cases.items():
        with pytest.raises(ImageError, match=sentence):
            verify_rest(image, damaged)


def test_an_unpadded_image_has_no_slot_trailer() -> None:
    image = build_image(BODY, ImageVersion(1))
    assert parse_trailer(image) is None
    assert parse_trailer(b"") is None
    assert parse_trailer(bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")) is None


def test_what_lies_behind_the_image_is_not_part_of_it() -> None:
    image = build_image(BODY, ImageVersion(1))
    assert parse_image(image + b"\xff" * 100).data == image


@pytest.mark.parametrize(
    ("text", "version", "written", "dotted"),
    [
        ("1", ImageVersion(1), "1.0.0", "1.0.0"),
        ("0.9", ImageVersion(0, 9), "0.9.0", "0.9.0"),
        ("1.2.3", ImageVersion(1, 2, 3), "1.2.3", "1.2.3"),
        ("255.255.65535+4294967295", ImageVersion(255, 255, 65535, 4294967295), "255.255.65535+4294967295", None),
        ("1.2.3.4", ImageVersion(1, 2, 3, 4), "1.2.3+4", "1.2.3.4"),
    ],
)
def test_versions_read_and_write(text: str, version: ImageVersion, written: str, dotted: str | None) -> None:
    assert ImageVersion.of(text) == version
    assert str(version) == written
    assert version.dotted == (dotted or written.replace("+", "."))


@pytest.mark.parametrize(
    "text", ["", "v1", "1.", "256", "1.2.65536", "1.2.3+4294967296", "1.2.3-4", "1.2.3.4.5", "\u0661.2.3"]
)
def test_a_version_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ImageVersion.of(text)


def test_versions_order_by_number() -> None:
    assert ImageVersion.of("0.9.9") < ImageVersion.of("1.2.3") < ImageVersion.of("1.2.3+1")
    assert ImageVersion.of("1.2.10") < ImageVersion.of("1.10.0") < ImageVersion.of("2.0.0")
    assert ImageVersion.of("1.2.9+9") < ImageVersion.of("1.2.10")


def test_each_kind_of_damage_has_its_own_sentence() -> None:
    image = build_image(BODY, ImageVersion(1), protected=[Tlv(0xA1, b"x")])
    two_hashes = build_image(BODY, ImageVersion(1), tlvs=[Tlv(TlvType.SHA384, bytes(48))])
    tlvs = len(image) - 40
    cases: dict[str, tuple[bytes, str]] = {
        "text": (b"\x7fELF" + bytes(100), "not an MCUboot image"),
        "short": (image[:31], "31 bytes"),
        "body": (image[:3000], "truncated: header and body take 5032 bytes, there are 3000"),
        "tlvs": (image[:-1], "truncated: its TLVs"),
        "no tlvs": (image[: tlvs + 2], "truncated: a TLV begins"),
        "tlv magic": (image[:tlvs] + b"\0" + image[tlvs + 1 :], "damaged: at byte"),
        "header size": (image[:8] + bytes(2) + image[10:], "header says it is 0 bytes"),
        "protected size": (image[:10] + b"\x08" + image[11:], "announces 8 bytes of protected TLVs"),
        "tlv length": (image[: tlvs + 6] + b"\xff" + image[tlvs + 7 :], "runs past its area"),
        "hashes": (two_hashes, "more than one hash"),
    }
    for name, (data, sentence) in cases.items():
        with pytest.raises(ImageError, match=sentence):
            pytest.fail(f"{name}: {parse_image(data)}")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"\x7fELF\1\1", "an ELF file"),
        (b":020000040000FA\r\n", "Intel HEX"),
        (b"S00F00006865", "S-record"),
        (b"UF2\nWQ]\x9e", "UF2"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"-----BEGIN PUBLIC KEY-----", "a key or a certificate"),
        (bytes.fromhex("0020002041050000"), "not been signed"),
        (bytes(64), "not been signed"),
        (b"hello, world", "it begins with 0x6c6c6568"),
    ],
)
def test_other_files_are_named_and_what_to_give_instead(start: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        parse_image(start.ljust(64, b"\1"))
    assert "zephyr.signed.bin" in str(caught.value)


def test_a_hash_that_is_absent_or_false_is_said() -> None:
    image = parse_image(build_image(BODY, ImageVersion(1)))
    with pytest.raises(ImageError, match="carries no hash"):
        verify_hash(Image(image.header, (), (), image.data))
    damaged = bytearray(image.data)
    damaged[2000] ^= 1
    with pytest.raises(ImageError, match="SHA-256 over its first 5032 bytes"):
        verify_hash(parse_image(bytes(damaged)))


def test_the_header_alone_can_be_read_from_the_first_message_of_an_upload() -> None:
    image = build_image(BODY, ImageVersion(1, 2))
    assert parse_header(image[:32]).version == ImageVersion(1, 2)
    with pytest.raises(ImageError):
        parse_header(bytes(32))


def check(data: bytes) -> None:
    """Nothing but ImageError, and no hash found good but over the very bytes it was made of."""
    try:
        image = parse_image(data)
        _ = (image.security_counter, image.dependencies, image.flags, image.body, [tlv.name for tlv in image.tlvs])
        parse_trailer(data)
        verify_hash(image)
    except ImageError:
        return
    assert any(image.data[: image.header.hashed_size] == good[: image.header.hashed_size] for good in GOOD), data.hex()


GOOD = [
    build_image(b"\0" * 40, ImageVersion(1)),
    build_image(
        BODY[:64],
        ImageVersion(1, 2, 3, 4),
        protected=[Tlv(TlvType.SECURITY_COUNTER, bytes(4)), Tlv(TlvType.DEPENDENCY, bytes(12)), Tlv(0xA1, b"abc")],
        hash_kind=TlvType.SHA512,
        tlvs=[Tlv(TlvType.ED25519, bytes(64))],
    ),
]


@given(st.binary(max_size=200))
def test_garbage_raises_image_error_and_nothing_else(data: bytes) -> None:
    check(data)
    check(GOOD[0][:4] + data)
    check(GOOD[0][:32] + data)


@pytest.mark.parametrize("good", GOOD)
def test_every_single_bit_counts(good: bytes) -> None:
    """Flip each bit of header, body and protected TLVs, and of the hash: never verified."""
    hashed = parse_image(good).header.hashed_size
    for bit in range(hashed * 8):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ImageError):
            verify_hash(parse_image(bytes(damaged)))
