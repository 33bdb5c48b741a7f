"""`fieldlog flash --recovery` against the boot loader itself: little is served, slot 0 is written, no way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

import image_tool
from fieldlog.device import Device as HostDevice
from fieldlog.flash import Flashed, FlashOptions, Installed, Outcome
from fieldlog.flash_recovery import recover
from fieldlog_protocol.commands import image
from fieldlog_protocol.errors import ImageError, VerificationError
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from flash_bench import FAST, FlashBench, Told, firmware, package, runs
from virtual_link import LinkKind, VirtualTransport, run

NEW = firmware("2.0.0", 20_001)
OTHER = firmware("1.5.0", 9000)


def rescue(
    bench: FlashBench, data: bytes, options: FlashOptions | None = None, kind: LinkKind = FAST, told: Told | None = None
) -> Flashed:
    async def work() -> Flashed:
        client = VirtualTransport(bench, kind).client()
        await client.open()
        try:
            return await recover(HostDevice(client), package(data), options, tell=(told or Told()).steps.append)
        finally:
            await client.close()

    return run(bench, work())


@pytest.mark.parametrize("mode", list(BootMode))
def test_a_device_in_recovery_gets_new_firmware(mode: BootMode) -> None:
    bench = FlashBench(BootConfig(mode, recovery=True))
    assert bench.device.recovery
    done = rescue(bench, NEW)
    assert (done.outcome, done.images, done.sent) == (
        Outcome.CONFIRMED,
        (Installed(0, "2.0.0", "1.0.0"),),
        len(NEW),
    )
    assert (bench.device.recovery, runs(bench)) == (False, ("2.0.0", True))
    bench.power_cycle()
    assert runs(bench) == ("2.0.0", True)


def test_firmware_that_runs_makes_way() -> None:
    bench, told = FlashBench(), Told()
    rescue(bench, NEW, told=told)
    assert told.steps == [
        "restarting into the boot loader's recovery",
        f"uploading 2.0.0 ({len(NEW)} bytes)",
        "restarting",
    ]
    assert runs(bench) == ("2.0.0", True)


def test_a_device_that_nothing_runs_on_is_brought_back() -> None:
    bench = FlashBench(BootConfig(recovery=True))
    bench.ask(image.UPLOAD, image.ImageUploadRequest(off=0, len=len(OTHER), data=OTHER[:800]))
    bench.power_cycle()
    assert bench.device.recovery, "half an image is none"
    assert rescue(bench, NEW).images == (Installed(0, "2.0.0", None),)
    assert runs(bench) == ("2.0.0", True)


def test_a_broken_link_begins_anew_and_ends_well() -> None:
    for cut in range(2, 24, 3):
        bench = FlashBench(BootConfig(recovery=True))

        class CutOnce(VirtualTransport):
            async def open(self, sink: object) -> None:
                await super().open(sink)  # type: ignore[arg-type]
                if self.seen["cut off"]:
                    self._left = None

        async def work(bench: FlashBench = bench, cut: int = cut) -> Flashed:
            transport = CutOnce(bench, replace(FAST, deliveries=cut))
            client = transport.client()
            await client.open()
            try:
                return await recover(HostDevice(client), package(NEW))
            finally:
                await client.close()
                assert transport.seen["cut off"] == 1, f"cut {cut} never came"

        assert run(bench, work()).version == "2.0.0", f"cut {cut}"
        assert runs(bench) == ("2.0.0", True), f"cut {cut}"


def test_an_image_that_the_boot_loader_will_not_start_is_told() -> None:
    bench = FlashBench(BootConfig(recovery=True, keys=(image_tool.public_key("ed25519"),)))
    with pytest.raises(VerificationError, match=r"does not accept 2\.0\.0.*stays in recovery"):
        rescue(bench, NEW)


def test_nothing_is_sent_that_is_wrong_or_too_large() -> None:
    bench = FlashBench(BootConfig(recovery=True))
    before = bench.device.flash.operations
    with pytest.raises(ImageError, match="carries no signature"):
        rescue(bench, NEW, FlashOptions(key=image_tool.public_key("ed25519")))
    with pytest.raises(ImageError, match="damaged"):
        rescue(bench, NEW.replace(NEW[900:904], b"oops"))
    with pytest.raises(VerificationError, match="slot takes"):
        rescue(bench, firmware("2.0.0", 900_000))
    assert bench.device.flash.operations == before
