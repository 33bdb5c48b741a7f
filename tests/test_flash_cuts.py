"""Devices whose power fails again and again while they are updated: several cuts in one life, also while booting.

What must hold after each: every image of the device runs in full, log and settings are whole. In the end the same command
finishes the update, or, of firmware that does not work, the former one runs.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash import FlashOptions
from fieldlog_protocol.commands import Empty, settings
from fieldlog_protocol.errors import FieldlogError, VerificationError
from fieldlog_protocol.image import ImageVersion, parse_image
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from flash_bench import FlashBench, firmware, install, runs

NEW, SECOND = firmware("2.0.0", 5000), firmware("1.5.0", 9000)
PATIENT = FlashOptions(return_s=60)
SETTINGS = {"device/name": b"north", "log/max_age": struct.pack("<I", 600)}
KINDS = [(mode, images) for mode in (BootMode.MOVE, BootMode.OFFSET, BootMode.OVERWRITE) for images in (1, 2)]
_MOST_COMMANDS = 8


def update(images: int) -> bytes | FirmwarePackage:
    if images == 1:
        return NEW
    parts = [PackagedImage(n, parse_image(data), f"{n}.bin", data) for n, data in ((1, SECOND), (0, NEW))]
    return FirmwarePackage(tuple(parts), zipped=True)


class Failing:
    """A power supply: it fails after so many flash operations as `draw` says, and again, while there are cuts left."""

    def __init__(self, bench: FlashBench, rng: random.Random, images: int) -> None:
        self.flash, self.rng, self.images = bench.device.flash, rng, images
        self.left, self.cuts = rng.randrange(2, 7), 0
        self._power_on = self.flash.power_on
        self.flash.power_on = self._again  # type: ignore[method-assign]
        self.flash.cut_after = self._draw()

    def _draw(self) -> int:
        return self.rng.choice([self.rng.randrange(1, most) for most in (15, 130, 450 * self.images)])

    def _again(self) -> None:
        self._power_on()
        self.cuts += 1
        if self.left:
            self.left -= 1
            self.flash.cut_after = self._draw()


@dataclass
class Life:
    """A device with a past, and what it must keep of that."""

    bench: FlashBench
    wires: list[bytes]

    @classmethod
    def begun(cls, boot: BootConfig, seed: int) -> Life:
        bench = FlashBench(boot, seed)
        for key, value in SETTINGS.items():
            bench.ask(settings.WRITE, settings.SettingWriteRequest(name=key, val=value))
        bench.ask(settings.COMMIT, Empty())
        bench.ask(settings.SAVE, settings.SettingSaveRequest())
        bench.arm(label="past", wrap=True)
        bench.wait(120, 2)
        bench.stop()
        return cls(bench, bench.wires())

    def check(self, images: int) -> None:
        """Without a further cut."""
        flash = self.bench.device.flash
        armed, flash.cut_after = flash.cut_after, None
        report = self.bench.device.boot_report
        assert report.runs, report
        assert report.version in (ImageVersion(1), ImageVersion(2)), report
        assert images == 1 or report.others[0].version in (ImageVersion(1), ImageVersion(1, 5)), report
        assert self.bench.wires()[: len(self.wires)] == self.wires, "the log is not what it was"
        for key, value in SETTINGS.items():
            assert self.bench.ask(settings.READ, settings.SettingReadRequest(name=key)).val == value
        flash.cut_after = armed


def lives(mode: BootMode, images: int, seeds: Iterable[int], *, bad: bool = False) -> int:
    """Live through these, each as its seed says; answers how often power was cut."""
    cuts = 0
    boot = BootConfig(mode, images=images, failing=frozenset({ImageVersion(2)} if bad else ()))
    for seed in seeds:
        try:
            cuts += _live(boot, images, seed, bad=bad)
        except Exception as error:
            error.add_note(f"{mode.name}, images {images}, bad {bad}, seed {seed}")
            raise
    return cuts


def _live(boot: BootConfig, images: int, seed: int, *, bad: bool) -> int:
    life = Life.begun(boot, seed)
    bench = life.bench
    supply = Failing(bench, random.Random(seed), images)
    for _ in range(_MOST_COMMANDS):
        _attempt(bench, images)
        life.check(images)
        if not supply.left:
            break
    supply.left, bench.device.flash.cut_after = 0, None
    if bad:
        with pytest.raises(VerificationError):
            install(bench, update(images), PATIENT)
    else:
        install(bench, update(images), PATIENT)
    wanted = {0: ("1.0.0" if bad else "2.0.0", True), 1: ("1.0.0" if bad else "1.5.0", True)}
    for _ in range(2):
        life.check(images)
        assert {number: runs(bench, number) for number in range(images)} == {n: wanted[n] for n in range(images)}
        bench.power_cycle()
    return supply.cuts


def _attempt(bench: FlashBench, images: int) -> None:
    try:
        install(bench, update(images), PATIENT)
    except FieldlogError:
        return  # whatever it says, the next command must do


@pytest.mark.parametrize(("mode", "images"), KINDS)
def test_power_that_fails_several_times(mode: BootMode, images: int) -> None:
    assert lives(mode, images, range(3)) > 3


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("mode", [BootMode.MOVE, BootMode.OFFSET])
def test_power_that_fails_several_times_under_firmware_that_does_not_work(mode: BootMode, images: int) -> None:
    assert lives(mode, images, range(2), bad=True) > 2


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("mode", "images"), KINDS)
def test_power_that_fails_several_times_in_full(
    mode: BootMode, images: int, record_property: Callable[[str, str], None]
) -> None:
    cuts = lives(mode, images, range(100, 300))
    record_property("counted", f"flash, {mode.name}, images {images}: 200 lives with {cuts} power cuts, no failure")


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("mode", [BootMode.MOVE, BootMode.OFFSET])
def test_power_that_fails_several_times_under_firmware_that_does_not_work_in_full(
    mode: BootMode, images: int, record_property: Callable[[str, str], None]
) -> None:
    cuts = lives(mode, images, range(100, 300), bad=True)
    record_property(
        "counted", f"flash, taken back by {mode.name}, images {images}: 200 lives with {cuts} power cuts, no failure"
    )
