"""A simulated device with a boot loader of one's choice, and what a host does to update it."""

from __future__ import annotations

from itertools import count, cycle
from random import Random

from device_bench import START_US, Bench
from fieldlog_protocol.commands import Empty, image, os
from fieldlog_protocol.image import ImageVersion, Tlv, build_image, parse_image
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.handlers import register_all
from fieldlog_sim.port import Buffers
from fieldlog_sim.profiles import PROFILES
from fieldlog_sim.sensors import default_sensors
from fieldlog_sim.sim_time import SimTime


class BootBench(Bench):
    """`boot`: how its boot loader was built."""

    def __init__(self, boot: BootConfig, seed: int = 0) -> None:
        self.now = 0.0
        self.request_ids = count(1000)
        self.sensors = default_sensors(seed)
        self._sequence = cycle(range(256))
        config = DeviceConfig(PROFILES["logger"], Buffers(2048, 4), seed, boot=boot)
        time = SimTime(START_US, monotonic=lambda: self.now)
        self.device = Device(config, time, self.sensors, register_all)

    def upload(self, data: bytes, number: int | None = None) -> None:
        """Send a whole image."""
        done = 0
        while done < len(data):
            done = self.ask(image.UPLOAD, piece(data, done, 1500, number)).off

    def mark_image(self, data: bytes, *, confirm: bool = False) -> None:
        """Set an image for test or for good."""
        self.ask(image.STATE_WRITE, image.ImageStateRequest(hash=parse_image(data).hash, confirm=confirm))

    def reset(self, boot_mode: int | None = None) -> None:
        self.ask(os.RESET, os.ResetRequest(boot_mode=boot_mode))

    def slots(self) -> dict[tuple[int, int], image.ImageSlot]:
        """What lies in the slots, by image and slot."""
        return {(slot.image or 0, slot.slot): slot for slot in self.ask(image.STATE_READ, Empty()).images}

    def versions(self) -> list[str]:
        """What runs, by image."""
        return [slot.version for (_, number), slot in sorted(self.slots().items()) if number == 0]


def firmware(version: str, *protected: Tlv) -> bytes:
    """A small image that any boot loader takes that wants no signature."""
    return build_image(Random(version).randbytes(6000), ImageVersion.of(version), protected=protected)


def piece(data: bytes, off: int, size: int, number: int | None = None) -> image.ImageUploadRequest:
    """A chunk of an upload."""
    chunk = data[off : off + size]
    if off:
        return image.ImageUploadRequest(off=off, data=chunk)
    return image.ImageUploadRequest(off=0, data=chunk, len=len(data), image=number)
