"""Firmware packages as nRF Connect SDK makes them, and as nobody should."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog import firmware_package
from fieldlog.firmware_package import FirmwarePackage, load_package, parse_package
from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import ImageVersion, build_image

APP = build_image(Random(1).randbytes(900), ImageVersion(2, 1), header_size=512)
NET = build_image(Random(2).randbytes(700), ImageVersion(2, 1, 0, 5), header_size=512)


def entry(name: str, data: bytes, **more: object) -> dict[str, object]:
    """An entry of the manifest with the keys, and the mixture of numbers and text, that the SDK writes."""
    common = {"type": "application", "board": "board", "soc": "nrf5340", "load_address": 66048}
    return common | {"size": len(data), "file": name, "modtime": 1786861789} | more


APP_ENTRY = entry(
    "app.signed.bin", APP, image_index="0", slot_index_primary="1", slot_index_secondary="2", version_MCUBOOT="2.1.0+0"
)
NET_ENTRY = entry("net.bin", NET, image_index="1", board="board/nrf5340/cpunet", version_MCUBOOT=None)


def packed(manifest: object, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", manifest if isinstance(manifest, (bytes, str)) else json.dumps(manifest))
    return out.getvalue()


def package(*entries: dict[str, object], method: int = zipfile.ZIP_STORED, **more: Any) -> bytes:
    manifest = {"format-version": 1, "time": 1786861800, "files": list(entries)} | more.get("manifest", {})
    return packed(manifest, more.get("files", {"app.signed.bin": APP, "net.bin": NET}), method)


def shape(found: FirmwarePackage) -> list[tuple[int, int | None, str]]:
    return [(one.number, one.slot, one.name) for one in found.images]


# what is taken


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_package_of_two_images_is_read_in_declared_order(tmp_path: Path, method: int) -> None:
    path = tmp_path / "dfu_application.zip"
    path.write_bytes(package(NET_ENTRY, APP_ENTRY, method=method, manifest={"name": "attic"}))
    found = load_package(path)
    assert shape(found) == [(1, None, "net.bin"), (0, None, "app.signed.bin")]
    assert [one.data for one in found.images] == [NET, APP]
    assert [one.image.version for one in found.images] == [ImageVersion(2, 1, 0, 5), ImageVersion(2, 1)]
    assert [one.declared_version for one in found.images] == [None, "2.1.0+0"]
    assert (found.zipped, found.name, found.boards) == (True, "attic", ("board/nrf5340/cpunet", "board"))


def test_a_bare_image_is_a_package_of_one(tmp_path: Path) -> None:
    path = tmp_path / "zephyr.signed.bin"
    path.write_bytes(APP)
    found = load_package(path)
    assert shape(found) == [(0, None, "zephyr.signed.bin")]
    assert found.images[0].data == APP
    assert not found.zipped


def test_an_old_package_of_one_image_need_not_number_it() -> None:
    found = parse_package(package(entry("app.signed.bin", APP), manifest={"format-version": 0}), "old.zip")
    assert shape(found) == [(0, None, "app.signed.bin")]


def test_each_slot_may_have_a_build_of_its_own() -> None:
    """Direct-XIP; the SDK numbers slots through all images."""
    builds = [
        entry("app.signed.bin", APP, image_index="1", slot="2"),
        entry("net.bin", NET, image_index="1", slot=3, **{"version_MCUBOOT+XIP": "2.1.0+5"}),
    ]
    found = parse_package(package(*builds), "xip.zip")
    assert shape(found) == [(1, 0, "app.signed.bin"), (1, 1, "net.bin")]
    assert found.images[1].declared_version == "2.1.0+5"


def test_files_that_the_manifest_does_not_list_are_not_looked_at() -> None:
    files = {"app.signed.bin": APP, "../../etc/passwd": b"x", "readme.txt": b"hello"}
    assert shape(parse_package(package(APP_ENTRY, files=files), "a.zip")) == [(0, None, "app.signed.bin")]


# what is refused


def _app(**changes: object) -> dict[str, object]:
    return APP_ENTRY | changes


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (packed({}, {}), "lists no files"),
    "no manifest": (packed("", {}).replace(b"manifest.json", b"manifesto.txt"), "has no manifest.json, it holds manifesto"),
    "no json": (package(manifest={}).replace(b'{"format', b'{format"'), "damaged"),
    "not json": (packed("]", {}), "is no JSON"),
    "not text": (packed(b"\xff\xfe\xfa", {}), "is no JSON"),
    "deep": (packed("[" * 200_000, {}), "is no JSON"),
    "list": (packed("[]", {}), "is no object"),
    "nrf5": (packed({"manifest": {"application": {"bin_file": "a.bin"}}}, {}), "nRF5 SDK"),
    "future": (package(APP_ENTRY, manifest={"format-version": 2}), "format 2"),
    "files": (packed({"files": "app.bin"}, {}), "lists no files"),
    "entries": (packed({"files": ["app.bin"]}, {}), "without saying anything"),
    "many": (package(*[APP_ENTRY] * 17), "lists 17 files"),
    "missing": (package(_app(file="gone.bin")), "lists 'gone.bin', which the package does not hold"),
    "no file": (package({"image_index": "0"}), "lists None as a file"),
    "path": (package(_app(file="../app.bin")), "only plain names"),
    "absolute": (package(_app(file="/app.bin")), "only plain names"),
    "windows": (package(_app(file="C:app.bin")), "only plain names"),
    "itself": (package(_app(file="manifest.json")), "only plain names"),
    "size": (package(_app(size=len(APP) + 1)), f"has {len(APP)} bytes, the manifest says {len(APP) + 1}"),
    "size of text": (package(_app(size="large")), "says 'large' as size"),
    "unnumbered": (package(entry("app.signed.bin", APP), NET_ENTRY), "which image of the device 'app.signed.bin'"),
    "number": (package(_app(image_index=-1)), "says -1 as image_index"),
    "fraction": (package(_app(image_index=1.0)), "says 1.0 as image_index"),
    "truth": (package(_app(image_index=True)), "says True as image_index"),
    "high number": (package(_app(image_index="99")), "for image 99"),
    "twice": (package(APP_ENTRY, NET_ENTRY | {"image_index": "0"}), "'app.signed.bin' and 'net.bin' for image 0"),
    "same slot": (
        package(_app(slot=0), NET_ENTRY | {"image_index": 0, "slot": "0"}),
        "'app.signed.bin' and 'net.bin' for image 0",
    ),
    "no image": (package(entry("a.hex", b":00000001FF\n" * 4), files={"a.hex": b":00000001FF\n" * 4}), "'a.hex' in the package: not an"),
    "truncated": (package(_app(size=800), files={"app.signed.bin": APP[:800]}), "in the package: the image is truncated"),
    "rest": (package(_app(size=len(APP) + 1), files={"app.signed.bin": APP + b"x"}), "neither padding nor"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_each_package_that_is_wrong_has_its_own_sentence(name: str) -> None:
    data, sentence = REFUSED[name]
    with pytest.raises(ImageError, match=sentence):
        parse_package(data, "a.zip")


def test_a_file_that_is_there_twice_is_refused() -> None:
    out = io.BytesIO(package(APP_ENTRY))
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("app.signed.bin", NET)
    with pytest.raises(ImageError, match="more than once"):
        parse_package(out.getvalue(), "a.zip")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it would become, and whatever size it claims."""
    monkeypatch.setattr(firmware_package, "LARGEST_IMAGE", 1024 * 1024)
    bomb = package(_app(size=None), files={"app.signed.bin": bytes(50_000_000)}, method=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="more than 1 MiB"):
        parse_package(bomb, "a.zip")
    with pytest.raises(ImageError):
        parse_package(bomb.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 100)), "a.zip")


def test_a_manifest_that_is_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(ImageError, match=r"'manifest\.json' in the package unpacks to more than 1 MiB"):
        parse_package(packed(b" " * 5_000_000, {}, zipfile.ZIP_DEFLATED), "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(method: int) -> None:
    with pytest.raises(ImageError, match="unusual way"):
        parse_package(package(APP_ENTRY, method=method), "a.zip")


def test_a_locked_package_is_refused() -> None:
    locked = bytearray(package(APP_ENTRY))
    for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = 0
        while (start := locked.find(magic, start)) >= 0:
            locked[start + at] |= 1
            start += 4
    with pytest.raises(ImageError, match="protected by a password"):
        parse_package(bytes(locked), "a.zip")


def test_a_file_too_large_to_be_firmware_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware_package, "_LARGEST_PACKAGE", 1000)
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(2000))
    with pytest.raises(ImageError, match="larger than"):
        load_package(path)


# damage


def check(data: bytes) -> None:
    """Nothing but ImageError; and what is read is what was packed."""
    try:
        found = parse_package(data, "a.zip")
    except ImageError:
        return
    assert all(one.data in (APP, NET) for one in found.images)


@given(st.binary(max_size=300))
def test_garbage_is_no_package(data: bytes) -> None:
    check(data)
    check(b"PK\x03\x04" + data)
    check(b"PK\x05\x06" + data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["file", "size", "image_index", "slot", "board", "version_MCUBOOT", "type"]


@settings(max_examples=40)
@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), json_values | st.just("net.bin"), max_size=7), max_size=4),
    json_values,
)
def test_any_manifest_is_understood_or_refused(entries: list[dict[str, object]], other: object) -> None:
    check(package(*entries, manifest={"name": other}))
    check(package(*[APP_ENTRY | changes for changes in entries], manifest={"name": other}))
    check(packed(other, {}))


def fuzz(count: int, seed: int) -> None:
    random = Random(seed)
    sound = [package(APP_ENTRY, NET_ENTRY, method=method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    for turn in range(count):
        damaged = bytearray(random.choice(sound))
        for _ in range(random.randint(1, 4)):
            near_end = random.randrange(2)  # the directory is at the end
            at = random.randrange(len(damaged) - 800, len(damaged)) if near_end else random.randrange(len(damaged))
            damaged[at] = random.randrange(256)
        try:
            check(bytes(damaged))
        except Exception as error:
            error.add_note(f"seed {seed}, turn {turn}: {damaged.hex()}")
            raise


def test_damaged_packages_never_crash_the_reader() -> None:
    fuzz(1500, seed=5)


@pytest.mark.faults
def test_many_damaged_packages_never_crash_the_reader() -> None:
    fuzz(30_000, seed=6)


def test_what_unpacks_to_more_than_any_firmware_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file may be within bounds, and all together not."""
    monkeypatch.setattr(firmware_package, "_LARGEST_CONTENT", len(APP) + len(NET) - 1)
    with pytest.raises(ImageError, match="unpacks to"):
        parse_package(package(APP_ENTRY, NET_ENTRY), "two.zip")
    assert parse_package(package(APP_ENTRY), "one.zip").images


@pytest.mark.parametrize(
    ("number", "slot", "taken"), [(0, 1, 1), (1, 1, 1), (1, 2, 0), (1, 3, 1), (0, 2, None), (1, 5, None)]
)
def test_a_slot_is_one_of_its_image(number: int, slot: int, taken: int | None) -> None:
    data = package(entry("app.signed.bin", APP, image_index=number, slot=slot))
    if taken is not None:
        assert [one.slot for one in parse_package(data, "fw.zip").images] == [taken]
        return
    with pytest.raises(ImageError, match=f"slot {slot}, which is none of its slots"):
        parse_package(data, "fw.zip")
