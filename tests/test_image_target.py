"""For which devices an image says that it is made: imgtool writes it, and other devices are told from these."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import (
    Image,
    ImageVersion,
    Target,
    Tlv,
    TlvType,
    build_image,
    class_uuid,
    parse_image,
    target_of,
    vendor_uuid,
    verify_target,
)
from image_tool import reported, sign

PRODUCT = ["--custom-tlv", "0x46a0", "paper"]
HARDWARE = ["--custom-tlv", "0x46a1", "rev A, rev B"]
CLASS = ["--vid", "acme.org", "--cid", "paper"]


def made(folder: Path, *options: str) -> Image:
    return parse_image(sign(folder, *options).read_bytes())


def test_what_imgtool_writes_is_read(tmp_path: Path) -> None:
    image = made(tmp_path, *PRODUCT, *HARDWARE, *CLASS)
    vendor = vendor_uuid("acme.org")
    assert target_of(image) == Target("paper", ("rev A", "rev B"), vendor, class_uuid(vendor, "paper"))
    written = {tlv["type"]: tlv["data"] for tlv in reported(tmp_path / "image.bin")["tlv_area"]["tlvs_prot"]}
    assert written[0x74] == vendor.hex
    assert written[0x75] == class_uuid(vendor, "paper").hex
    assert [tlv.name for tlv in image.protected[-2:]] == ["FIELDLOG_PRODUCT", "FIELDLOG_HARDWARE"]


def test_a_raw_uuid_is_read_as_it_stands(tmp_path: Path) -> None:
    raw = UUID("12345678-1234-5678-1234-567812345678")
    assert target_of(made(tmp_path, "--vid", str(raw))).vendor == raw


def test_an_image_may_leave_it_open() -> None:
    image = parse_image(build_image(b"x", ImageVersion(1)))
    assert target_of(image) == Target(None, (), None, None)
    verify_target(image, "anything", "at all")


def test_what_the_hash_does_not_cover_is_not_believed() -> None:
    open_tlvs = [Tlv(TlvType.FIELDLOG_PRODUCT, b"paper"), Tlv(TlvType.VENDOR_UUID, bytes(16))]
    open_tlvs += [Tlv(TlvType.SECURITY_COUNTER, bytes(4)), Tlv(TlvType.DEPENDENCY, bytes(12))]
    image = parse_image(build_image(b"x", ImageVersion(1), tlvs=open_tlvs))
    assert target_of(image) == Target(None, (), None, None)
    assert (image.security_counter, image.dependencies) == (None, ())


@pytest.mark.parametrize(
    ("options", "product", "hardware"),
    [
        (PRODUCT, "paper", "rev Z"),
        (PRODUCT, None, None),
        (PRODUCT, "", ""),
        (HARDWARE, "stone", "rev B"),
        ([*PRODUCT, *HARDWARE], "paper", "rev A"),
        ([*PRODUCT, *HARDWARE], "paper", None),
        (CLASS, "paper", "rev Z"),
        (CLASS, "stone", "paper"),
        (CLASS, None, None),
        (["--vid", "acme.org"], "stone", "rev Z"),
        (["--cid", "12345678-1234-5678-1234-567812345678"], "stone", "rev Z"),
        ([*PRODUCT, "--vid", "acme.org", "--cid", "other"], "paper", "rev Z"),
    ],
)
def test_a_device_that_an_image_is_made_for_passes(
    tmp_path: Path, options: list[str], product: str | None, hardware: str | None
) -> None:
    verify_target(made(tmp_path, *options), product, hardware)


@pytest.mark.parametrize(
    ("options", "product", "hardware", "says"),
    [
        (PRODUCT, "stone", "rev A", "another product: it says 'paper', the device 'stone'"),
        (HARDWARE, "paper", "rev C", "another hardware: it says 'rev A or rev B', the device 'rev C'"),
        ([*PRODUCT, *HARDWARE], "paper", "rev", "another hardware"),
        (
            CLASS,
            "stone",
            "rev A",
            "another device class: it says '[0-9a-f-]{36}', the device '[0-9a-f-]{36} .stone. or [0-9a-f-]{36} .rev A.'",
        ),
        ([*PRODUCT, *CLASS], "stone", "paper", "another product"),
    ],
)
def test_another_device_is_told_in_a_sentence(
    tmp_path: Path, options: list[str], product: str, hardware: str, says: str
) -> None:
    with pytest.raises(ImageError, match=says):
        verify_target(made(tmp_path, *options), product, hardware)


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        (TlvType.FIELDLOG_PRODUCT, b"", "FIELDLOG_PRODUCT is no id"),
        (TlvType.FIELDLOG_PRODUCT, b"\xff", "FIELDLOG_PRODUCT is no id"),
        (TlvType.FIELDLOG_HARDWARE, b" ", "FIELDLOG_HARDWARE is no id"),
        (TlvType.FIELDLOG_HARDWARE, b"a\x1b[2J", "FIELDLOG_HARDWARE is no id"),
        (TlvType.FIELDLOG_PRODUCT, b"a" * 256, "FIELDLOG_PRODUCT is no id"),
        (TlvType.VENDOR_UUID, bytes(15), "VENDOR_UUID has 15 bytes"),
        (TlvType.CLASS_UUID, bytes(17), "CLASS_UUID has 17 bytes"),
    ],
)
def test_an_id_that_is_none_is_refused(kind: TlvType, data: bytes, says: str) -> None:
    image = parse_image(build_image(b"x", ImageVersion(1), protected=[Tlv(kind, data)]))
    with pytest.raises(ImageError, match=says):
        target_of(image)
