"""Firmware files: one MCUboot image, or the zip package of several that nRF Connect SDK's sysbuild makes.

A package holds `manifest.json` and the images it lists (format-version 0 and 1, as written by the SDK's
scripts/bootloader/generate_zip.py and cmake/sysbuild/zip.cmake): `files`, each with `file` and `size`, with `image_index`
where there are several images, and with `slot` where each slot has a build of its own (direct-XIP).

Rule: a package is a stranger's. What is read of it is bounded, nothing is written anywhere, and what the manifest claims
is held against what is there. Whether hashes and signatures are right is not asked here.
"""

from __future__ import annotations

import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import Image, parse_image, verify_rest

MANIFEST = "manifest.json"
LARGEST_IMAGE = 64 * 1024 * 1024
_LARGEST_PACKAGE = 4 * LARGEST_IMAGE
_LARGEST_CONTENT = 2 * LARGEST_IMAGE
_LARGEST_MANIFEST = 1024 * 1024
_MOST_IMAGES = 16
_FORMATS = (0, 1)
_ENCRYPTED = 1  # in the flags of a zip archive's entry
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, KeyError),
    *(NotImplementedError, RuntimeError, ValueError, OSError, OverflowError),
)
"""What zipfile raises for archives that are not what they seem."""


@dataclass(frozen=True, slots=True)
class PackagedImage:
    """An image for image number `number` of a device. `data` is the whole file, with what stands behind the image.

    `slot` is 0 or 1 where the image runs in that slot only (direct-XIP), else None. `declared_version` is the manifest's.
    """

    number: int
    image: Image
    name: str
    data: bytes
    slot: int | None = None
    declared_version: str | None = None


@dataclass(frozen=True, slots=True)
class FirmwarePackage:
    """The images of a firmware file in the order in which they are to be sent. `name`, `boards`: as a manifest has it."""

    images: tuple[PackagedImage, ...]
    zipped: bool = False
    name: str | None = None
    boards: tuple[str, ...] = ()


def load_package(path: Path) -> FirmwarePackage:
    """Read a firmware file; raises ImageError if it is not one, and OSError if it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe may never give a byte, and a device never end
        raise ImageError(
            f"no firmware: {path} is a pipe, a device or a folder. Give a file; copy a pipe's content into one"
        )
    with path.open("rb") as file:
        data = file.read(_LARGEST_PACKAGE + 1)
    if len(data) > _LARGEST_PACKAGE:
        raise ImageError(
            f"no firmware: the file is larger than {_LARGEST_PACKAGE >> 20} MiB. Give an image or a package"
        )
    return parse_package(data, path.name)


def parse_package(data: bytes, name: str) -> FirmwarePackage:
    """The images in the bytes of a firmware file called `name`."""
    if not data.startswith(_ZIP):
        return FirmwarePackage((PackagedImage(0, _image(data), name, data),))
    with _unpacking():
        archive = zipfile.ZipFile(io.BytesIO(data))
    with archive:
        return _read_archive(archive)


@contextmanager
def _unpacking() -> Generator[None]:
    try:
        yield
    except _ZIP_ERRORS:
        raise ImageError("the package is damaged: it cannot be unpacked. Get the file again") from None


def _image(data: bytes) -> Image:
    image = parse_image(data)
    verify_rest(image, data)
    return image


def _read_archive(archive: zipfile.ZipFile) -> FirmwarePackage:
    manifest = _manifest(_read(archive, MANIFEST, _LARGEST_MANIFEST))
    entries = _entries(manifest)
    _check_whole_size(archive, entries)
    images = tuple(_packaged(archive, entry, alone=len(entries) == 1) for entry in entries)
    _check_unique(images)
    boards = dict.fromkeys(board for entry in entries if (board := _text(entry, "board")) is not None)
    return FirmwarePackage(images, zipped=True, name=_text(manifest, "name"), boards=tuple(boards))


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A file of the archive, of which no more is unpacked than `most` bytes."""
    found = [info for info in archive.infolist() if info.filename == name]
    if not found:
        raise ImageError(_missing(archive, name))
    if len(found) > 1:
        raise ImageError(f"the package holds {name!r} more than once. It was not made by a build; get another")
    if found[0].flag_bits & _ENCRYPTED:
        raise ImageError(
            f"{name!r} in the package is protected by a password. Unpack it, and pack it again without one"
        )
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ImageError(f"{name!r} in the package is compressed in an unusual way. Pack it again, stored or deflated")
    with _unpacking(), archive.open(found[0]) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ImageError(f"{name!r} in the package unpacks to more than {most >> 20} MiB: no such firmware is known")
    return data


def _check_whole_size(archive: zipfile.ZipFile, entries: list[Mapping[str, object]]) -> None:
    """Before anything is unpacked. An archive that understates a size fails when that much was unpacked."""
    named = {_text(entry, "file") for entry in entries}
    total = sum(info.file_size for info in archive.infolist() if info.filename in named)
    if total > _LARGEST_CONTENT:
        raise ImageError(
            f"the package unpacks to {total >> 20} MiB, more than any device's firmware ({_LARGEST_CONTENT >> 20} MiB)"
        )


def _missing(archive: zipfile.ZipFile, name: str) -> str:
    if name != MANIFEST:
        return f"the package's manifest lists {name!r}, which the package does not hold. Build or get it again"
    held = ", ".join(sorted(archive.namelist())[:5]) or "nothing"
    return f"not a firmware package: this zip archive has no {MANIFEST}, it holds {held}. Give dfu_application.zip"


def _manifest(data: bytes) -> Mapping[str, object]:
    try:
        manifest: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise ImageError(f"the package's {MANIFEST} is no JSON. Build or get it again") from None
    if not isinstance(manifest, dict):
        raise ImageError(f"the package's {MANIFEST} is no object. Build or get it again")
    known = cast("dict[str, object]", manifest)
    if "manifest" in known:
        raise ImageError("this is a package for Nordic's nRF5 SDK boot loader. Give one for MCUboot")
    version = known.get("format-version", 0)
    if version not in _FORMATS:
        raise ImageError(f"the package is of format {version!r:.40}, known are 0 and 1. A newer fieldlog may know it")
    return known


def _entries(manifest: Mapping[str, object]) -> list[Mapping[str, object]]:
    files = manifest.get("files")
    if not isinstance(files, list) or not files:
        raise ImageError(f"the package's {MANIFEST} lists no files. Build or get it again")
    entries = cast("list[object]", files)
    if len(entries) > _MOST_IMAGES:
        raise ImageError(f"the package lists {len(entries)} files, more than any device has images ({_MOST_IMAGES})")
    if not all(isinstance(entry, dict) for entry in entries):
        raise ImageError(f"the package's {MANIFEST} lists a file without saying anything of it. Build or get it again")
    return cast("list[Mapping[str, object]]", entries)


def _packaged(archive: zipfile.ZipFile, entry: Mapping[str, object], *, alone: bool) -> PackagedImage:
    name = _text(entry, "file")
    if not name or name in {".", "..", MANIFEST} or any(sign in name for sign in "/\\:\0"):
        raise ImageError(
            f"the package lists {name!r:.80} as a file, and only plain names are taken. Build or get it again"
        )
    data = _read(archive, name, LARGEST_IMAGE)
    size = _number(entry, "size", name)
    if size is not None and size != len(data):
        raise ImageError(
            f"{name!r} in the package has {len(data)} bytes, the manifest says {size}. Build or get it again"
        )
    try:
        image = _image(data)
    except ImageError as error:
        raise ImageError(f"{name!r} in the package: {error}") from None
    slot, number = _number(entry, "slot", name), _image_number(entry, name, alone=alone)
    return PackagedImage(
        number=number,
        image=image,
        name=name,
        data=data,
        slot=None if slot is None else _slot_of_two(slot, number, name),
        declared_version=next((text for key in _VERSIONS if (text := _text(entry, key)) is not None), None),
    )


_VERSIONS = ("version_MCUBOOT", "version_MCUBOOT+XIP", "version")


def _image_number(entry: Mapping[str, object], name: str, *, alone: bool) -> int:
    number = _number(entry, "image_index", name)
    if number is None and not alone:
        raise ImageError(
            f"the package does not say which image of the device {name!r} is for (image_index). Build it again"
        )
    return number or 0


def _slot_of_two(slot: int, number: int, name: str) -> int:
    """Slots are numbered for each image, or on through all images, two to each."""
    if slot in (0, 1):
        return slot
    if slot // 2 == number:
        return slot % 2
    raise ImageError(
        f"the package says that {name!r} is for image {number} and slot {slot}, which is none of its slots"
    )


def _number(entry: Mapping[str, object], key: str, name: str) -> int | None:
    """A number that the manifest may also write as text."""
    value = entry.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32):
        return value
    raise ImageError(f"the package's manifest says {value!r:.40} as {key} of {name!r}, where a number belongs")


def _text(entry: Mapping[str, object], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None


def _check_unique(images: tuple[PackagedImage, ...]) -> None:
    """One image for each number, or one for each of its slots."""
    for number in {entry.number for entry in images}:
        if number >= _MOST_IMAGES:
            raise ImageError(f"the package has a file for image {number}, and no device has so many images")
        rivals = [entry for entry in images if entry.number == number]
        slots = [entry.slot for entry in rivals]
        if len(rivals) > 1 and (None in slots or len(set(slots)) < len(slots)):
            names = " and ".join(repr(entry.name) for entry in rivals)
            raise ImageError(
                f"the package has {names} for image {number}, and does not tell them apart by slot. Build it again"
            )
