"""`fieldlog image`: firmware slots on a device, firmware files and pinned keys on this computer."""

from __future__ import annotations

from collections.abc import Mapping

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.image_inspect import inspect
from fieldlog.cli.image_pins import pins, unpin
from fieldlog.cli.image_slots import slot_flags, slot_json
from fieldlog.cli.output import Output
from fieldlog.device import Device
from fieldlog.flash_slots import as_they_run, boot_loader_answers, idle, merely_claimed
from fieldlog.image_words import erase_refused, next_restart, nothing_to_keep
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.errors import RefusedError, UsageError


@click.group()
def image() -> None:
    """Look at firmware slots, files and pinned keys."""


@image.command("list")
@options
def list_(common: Common) -> None:
    """List the slots that hold an image."""

    async def work() -> tuple[ImageSlot, ...]:
        async with common.connect() as device:
            slots = await device.images()
            return idle(slots) if await merely_claimed(device, slots) else slots

    _show_slots(common.output, run(work()))


@image.command()
@options
@click.argument("hash", required=False, metavar="[HASH]")
def confirm(common: Common, hash: str | None) -> None:
    """Keep the image that runs; or set the one with that HASH (its first digits do) for good, from the next restart on."""

    async def work() -> tuple[ImageSlot, ...]:
        async with common.connect() as device:
            chosen = None if hash is None else await _full_hash(device, hash)
            if chosen is None and not device.client.terse and await boot_loader_answers(device):
                raise nothing_to_keep()
            return await device.set_image(chosen, confirm=True)

    _show_slots(common.output, run(work()))


@image.command()
@options
@click.option("--slot", type=click.IntRange(0, 31), metavar="N", help="Which slot; else the one that does not run.")
def erase(common: Common, slot: int | None) -> None:
    """Erase the slot that does not run."""

    async def work() -> None:
        async with common.connect() as device:
            try:
                await device.erase_image(slot)
            except RefusedError as error:
                raise erase_refused(error, await _listed(device), slot) from error

    run(work())
    common.output.result({"erased": True}, lambda: common.output.note("the slot is erased"))


async def _listed(device: Device) -> tuple[ImageSlot, ...]:
    """For an explanation: nothing where the device refuses."""
    try:
        return await device.images()
    except RefusedError:
        return ()


async def _full_hash(device: Device, start: str) -> bytes:
    found = {slot.hash for slot in await device.images() if slot.hash and slot.hash.hex().startswith(start.lower())}
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} images on the device have a hash that begins with {start!r}. See `fieldlog image list`"
        )
    return found.pop()


def _show_slots(output: Output, slots: tuple[ImageSlot, ...]) -> None:
    data = [slot_json(slot) for slot in slots]
    told = next_restart(as_they_run(slots))
    output.result({"images": data, "next_restart": told}, lambda: _show_table(output, data))
    for sentence in told:
        output.note(sentence)


def _show_table(output: Output, slots: list[Mapping[str, object]]) -> None:
    rows = [(slot["image"], slot["slot"], slot["version"], ", ".join(slot_flags(slot)), slot["hash"]) for slot in slots]
    output.table(["image>", "slot>", "version", "state", "hash"], rows)


for command in (inspect, pins, unpin):
    image.add_command(command)
