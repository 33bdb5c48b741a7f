"""The boot loader's notes at the very end of a slot, and of a file made with imgtool --pad."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image.file import Image

BOOT_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_ALIGNED_BOOT_MAGIC = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
TRAILER_ALIGN = 8
_SWAP_TYPES = range(1, 6)
"""None, test, permanent, revert, failed (MCUboot's bootutil_public.h)."""
_UNSET = (0, 0xFF)
_FLAG_VALUES = (1, *_UNSET)


@dataclass(frozen=True, slots=True)
class SlotTrailer:
    """What stands at the end of a slot or of a file made with imgtool --pad: 1 set, 0xff unset, anything else is damage."""

    image_ok: int
    copy_done: int
    swap_info: int
    align: int


def parse_trailer(data: bytes) -> SlotTrailer | None:
    """The boot trailer at the end of `data`; None where there is none."""
    align = _trailer_align(data[-len(BOOT_MAGIC) :])
    if align is None:
        return None
    magic_size = _magic_size(align)
    if len(data) < magic_size + 3 * align:
        return None
    image_ok, copy_done, swap_info = (data[len(data) - magic_size - step * align] for step in (1, 2, 3))
    return SlotTrailer(image_ok, copy_done, swap_info, align)


def _magic_size(align: int) -> int:
    return -(-len(BOOT_MAGIC) // align) * align


def _trailer_align(magic: bytes) -> int | None:
    """8, or what the magic itself names where the flash writes in larger units."""
    if magic == BOOT_MAGIC:
        return TRAILER_ALIGN
    align = int.from_bytes(magic[:2], "little")
    return align if magic[2:] == _ALIGNED_BOOT_MAGIC and align in (16, 32) else None


def verify_rest(image: Image, data: bytes) -> None:
    """Raise ImageError unless what follows the image in the file `data` is erased flash, with or without a boot trailer."""
    rest = data[image.size :]
    trailer = parse_trailer(rest)
    if trailer is not None:
        _verify_flags(trailer)
        rest = _without_trailer(rest, trailer.align)
    stray = min(len(rest.strip(erased)) for erased in (b"\xff", b"\0"))
    if stray:
        raise ImageError(
            f"the file is damaged: behind its image, which ends at byte {image.size}, stand {stray} bytes that are neither "
            "padding nor a boot trailer. Get the file again"
        )


def _without_trailer(rest: bytes, align: int) -> bytes:
    """What is there beside the magic and the three flags, each of which has a unit of `align` bytes to itself."""
    magic_at = len(rest) - _magic_size(align)
    flags_at = magic_at - 3 * align
    units = (rest[at + 1 : at + align] for at in range(flags_at, magic_at, align))
    return b"".join((rest[:flags_at], *units, rest[magic_at : -len(BOOT_MAGIC)]))


def _verify_flags(trailer: SlotTrailer) -> None:
    flags = {"image-ok": trailer.image_ok, "copy-done": trailer.copy_done}
    for name, value in flags.items():
        if value not in _FLAG_VALUES:
            raise ImageError(
                f"the boot trailer at the end of the file is damaged: its {name} flag is {value:#04x}. Get the file again"
            )
    if trailer.swap_info not in _UNSET and trailer.swap_info & 0xF not in _SWAP_TYPES:
        raise ImageError(
            f"the boot trailer at the end of the file is damaged: its swap type is {trailer.swap_info:#04x}. "
            "Get the file again"
        )
