"""`fieldlog flash` against a simulated device, both in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from itertools import count, cycle

from device_bench import ROOMY, START_US, Bench, flash_with_log_of
from fieldlog.device import Device as HostDevice
from fieldlog.firmware_package import FirmwarePackage, parse_package
from fieldlog.flash import Flashed, FlashOptions, flash
from fieldlog.flash_checks import make_plan
from fieldlog.flash_plan import FlashPlan
from fieldlog_protocol.commands import Empty, image, os
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.image import ImageVersion, build_image, parse_image
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.handlers import register_all
from fieldlog_sim.port import Buffers
from fieldlog_sim.profiles import PROFILES
from fieldlog_sim.sensors import default_sensors
from fieldlog_sim.sim_time import SimTime
from virtual_link import LinkKind, VirtualTransport, run


class FlashBench(Bench):
    """A logger whose boot loader was built as `boot` says."""

    def __init__(
        self, boot: BootConfig | None = None, seed: int = 0, log_sectors: int = 24, buffers: Buffers = ROOMY
    ) -> None:
        self.now = 0.0
        self.request_ids = count(1000)
        self.sensors = default_sensors(seed)
        self._sequence = cycle(range(256))
        size = flash_with_log_of(log_sectors)
        config = DeviceConfig(PROFILES["logger"], buffers, seed, flash_size=size, boot=boot or BootConfig())
        time = SimTime(START_US, monotonic=lambda: self.now)
        self.device = Device(config, time, self.sensors, register_all)


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
            return await flash(HostDevice(client), whole, options, tell=(told or Told()).steps.append)
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
            return await make_plan(HostDevice(client), whole, options or FlashOptions())
        finally:
            await client.close()

    return run(bench, work())


def slots(bench: Bench, number: int = 0) -> dict[int, ImageSlot]:
    """By number of the slot."""
    return {slot.slot: slot for slot in bench.ask(image.STATE_READ, Empty()).images if (slot.image or 0) == number}


def runs(bench: Bench, number: int = 0) -> tuple[str, bool]:
    """The version that runs, and whether it is confirmed."""
    slot = slots(bench, number)[0]
    assert slot.active
    return slot.version, bool(slot.confirmed)


def upload(bench: Bench, data: bytes) -> None:
    """As another client does, and no more than that."""
    done = 0
    while done < len(data):
        length = None if done else len(data)
        piece = image.ImageUploadRequest(off=done, data=data[done : done + 1500], len=length)
        done = bench.ask(image.UPLOAD, piece).off


def mark(bench: Bench, data: bytes, *, permanent: bool = False) -> None:
    """As another client does."""
    bench.ask(image.STATE_WRITE, image.ImageStateRequest(hash=parse_image(data).hash, confirm=permanent))


def restart(bench: Bench) -> None:
    bench.ask(os.RESET, os.ResetRequest())
