"""`fieldlog image`: firmware slots on a device, firmware files on this computer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from fieldlog.cli.common import Common, options, output_options, run
from fieldlog.cli.output import Output
from fieldlog.device import Device
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import Image, Tlv, parse_image, parse_trailer, verify_hash

_FLAGS = ("active", "confirmed", "pending", "permanent", "bootable")
_SHOWN_BYTES = 32


def slot_json(slot: ImageSlot) -> Mapping[str, object]:
    flags = {flag: bool(getattr(slot, flag)) for flag in _FLAGS}
    return {"image": slot.image or 0, "slot": slot.slot, "version": slot.version, "hash": slot.hash} | flags


def slot_flags(slot: Mapping[str, object]) -> list[str]:
    """The flags that are set; bootable says nothing that is not expected."""
    return [flag for flag in _FLAGS[:-1] if slot[flag]]


@click.group()
def image() -> None:
    """Look at firmware slots and files."""


@image.command("list")
@options
def list_(common: Common) -> None:
    """List the slots that hold an image."""

    async def work() -> list[Mapping[str, object]]:
        async with common.connect() as device:
            return [slot_json(slot) for slot in await device.images()]

    _show_slots(common.output, run(work()))


@image.command()
@options
@click.argument("hash", required=False, metavar="[HASH]")
def confirm(common: Common, hash: str | None) -> None:
    """Keep the image that runs; or set the one with that HASH (its first digits do) for good, from the next restart on."""

    async def work() -> list[Mapping[str, object]]:
        async with common.connect() as device:
            chosen = None if hash is None else await _full_hash(device, hash)
            return [slot_json(slot) for slot in await device.set_image(chosen, confirm=True)]

    _show_slots(common.output, run(work()))


@image.command()
@options
@click.option("--slot", type=click.IntRange(0, 31), help="Which slot; else the one that does not run.")
def erase(common: Common, slot: int | None) -> None:
    """Erase the slot that does not run."""

    async def work() -> None:
        async with common.connect() as device:
            await device.erase_image(slot)

    run(work())
    common.output.result({"erased": True}, lambda: common.output.note("the slot is erased"))


async def _full_hash(device: Device, start: str) -> bytes:
    found = {slot.hash for slot in await device.images() if slot.hash and slot.hash.hex().startswith(start.lower())}
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} images on the device have a hash that begins with {start!r}. See `fieldlog image list`"
        )
    return found.pop()


def _show_slots(output: Output, slots: list[Mapping[str, object]]) -> None:
    rows = [(slot["image"], slot["slot"], slot["version"], ", ".join(slot_flags(slot)), slot["hash"]) for slot in slots]
    output.result({"images": slots}, lambda: output.table(["image>", "slot>", "version", "state", "hash"], rows))


@image.command()
@output_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def inspect(output: Output, file: Path) -> None:
    """Show what is in a firmware FILE and whether it is whole. The exit code is 5 if it is not."""
    data = file.read_bytes()
    found = parse_image(data)
    problem = _problem(found)
    described = _describe(found, data, problem)

    def show() -> None:
        output.fields((name.replace("_", " "), value) for name, value in described.items() if name != "tlvs")
        output.table(["tlv", "protected", "size>", "data"], [_tlv_row(found, tlv) for tlv in _tlvs(found)])

    output.result(described, show)
    if problem is not None and not found.encrypted:
        raise ImageError(problem)


def _problem(found: Image) -> str | None:
    try:
        verify_hash(found)
    except ImageError as error:
        return str(error)
    return None


def _describe(found: Image, data: bytes, problem: str | None) -> dict[str, object]:
    trailer = parse_trailer(data)
    return {
        "version": str(found.version),
        "size": found.size,
        "body_size": found.header.image_size,
        "header_size": found.header.header_size,
        "load_address": f"0x{found.header.load_address:08x}",
        "flags": [flag.name for flag in found.flags if flag.name],
        "hash_kind": found.hash_kind,
        "hash": None if found.hash is None else found.hash.hex(),
        "hash_checked": "not possible: encrypted" if found.encrypted else "wrong" if problem else "right",
        "security_counter": found.security_counter,
        "dependencies": [f"image {entry.image} at {entry.version} or later" for entry in found.dependencies],
        "padded": trailer is not None,
        "confirmed": trailer is not None and trailer.image_ok == 1,
        "tlvs": [
            {"type": tlv.kind, "name": tlv.name, "protected": tlv in found.protected, "data": tlv.data.hex()}
            for tlv in _tlvs(found)
        ],
    }


def _tlvs(found: Image) -> tuple[Tlv, ...]:
    return (*found.protected, *found.tlvs)


def _tlv_row(found: Image, tlv: Tlv) -> tuple[object, ...]:
    more = "..." if len(tlv.data) > _SHOWN_BYTES else ""
    return tlv.name, tlv in found.protected, len(tlv.data), tlv.data[:_SHOWN_BYTES].hex() + more
