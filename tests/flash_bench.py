"""`fieldlog flash` against a simulated device, both in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache

from device_bench import Bench
from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage, parse_package
from fieldlog.flash import Flashed, FlashOptions, flash
from fieldlog.flash_checks import make_plan
from fieldlog.flash_plan import FlashPlan
from fieldlog_protocol.commands import Empty, image
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.image import ImageVersion, build_image
from virtual_link import LinkKind, VirtualTransport, run

FAST = LinkKind(baud=None, latency_s=0.0001)


@cache
def firmware(version: str, size: int = 3000) -> bytes:
    return build_image(random.Random(version).randbytes(size), ImageVersion.of(version))


def package(data: bytes) -> FirmwarePackage:
    return parse_package(data, "fw.bin")


@dataclass
class Told:
    """What a command said."""

    steps: list[str] = field(default_factory=list[str])


def install(
    bench: Bench,
    file: bytes | FirmwarePackage,
    options: FlashOptions | None = None,
    *,
    told: Told | None = None,
    kind: LinkKind = FAST,
    transport: VirtualTransport | None = None,
) -> Flashed:
    """Run the command as it is; a new link each time."""
    whole = package(file) if isinstance(file, bytes) else file

    async def work() -> Flashed:
        client = (transport or VirtualTransport(bench, kind)).client()
        await client.open()
        try:
            return await flash(Device(client), whole, options, tell=(told or Told()).steps.append)
        finally:
            await client.close()

    return run(bench, work())


def planned(bench: Bench, file: bytes | FirmwarePackage, options: FlashOptions | None = None) -> FlashPlan:
    """What the command would do."""
    whole = package(file) if isinstance(file, bytes) else file

    async def work() -> FlashPlan:
        client = VirtualTransport(bench, FAST).client()
        await client.open()
        try:
            return await make_plan(Device(client), whole, options or FlashOptions())
        finally:
            await client.close()

    return run(bench, work())


def slots(bench: Bench) -> dict[int, ImageSlot]:
    """By number of the slot, of image 0."""
    return {slot.slot: slot for slot in bench.ask(image.STATE_READ, Empty()).images if not slot.image}


def runs(bench: Bench) -> tuple[str, bool]:
    """The version that runs, and whether it is confirmed."""
    slot = slots(bench)[0]
    assert slot.active
    return slot.version, bool(slot.confirmed)
