"""`fieldlog flash --recovery` asks firmware that runs all that any update asks, before it makes way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import image_tool
from device_bench import Bench
from fieldlog.device import Device as HostDevice
from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash import Flashed, FlashOptions, Outcome
from fieldlog.flash_checks import make_plan
from fieldlog.flash_recovery import recover
from fieldlog.pinned_keys import Pin, PinnedKeys
from fieldlog_protocol.commands import image
from fieldlog_protocol.errors import FieldlogError, VerificationError
from fieldlog_protocol.image import ImageVersion, Tlv, TlvType, build_image, parse_image
from fieldlog_sim.boot_config import BootConfig
from flash_bench import FAST, FlashBench, Told, firmware, install, mark, package, runs, slots, upload
from flash_lies import lying, refuse
from virtual_link import LinkKind, VirtualTransport, run

NEW = firmware("2.0.0", 20_001)
OTHER = firmware("1.5.0", 9000)
HUGE = firmware("2.0.0", 900_000)


def rescue(
    bench: Bench,
    file: bytes | FirmwarePackage,
    options: FlashOptions | None = None,
    *,
    told: Told | None = None,
    transport: VirtualTransport | None = None,
) -> Flashed:
    whole = package(file) if isinstance(file, bytes) else file

    async def work() -> Flashed:
        client = (transport or VirtualTransport(bench, FAST)).client()
        await client.open()
        try:
            return await recover(HostDevice(client), whole, options, tell=(told or Told()).steps.append)
        finally:
            await client.close()

    return run(bench, work())


def refused(bench: Bench, file: bytes | FirmwarePackage, says: str, options: FlashOptions | None = None) -> None:
    """With these words, without a restart and without a byte written."""
    before, boots, told = bench.device.flash.operations, bench.device.recovery, Told()
    with pytest.raises(FieldlogError, match=says):
        rescue(bench, file, options, told=told)
    assert bench.device.flash.operations == before
    assert (bench.device.recovery, told.steps) == (boots, [])


def packaged(*images: tuple[int, bytes], slot: int | None = None) -> FirmwarePackage:
    entries = [PackagedImage(number, parse_image(data), f"{number}.bin", data, slot) for number, data in images]
    return FirmwarePackage(tuple(entries), zipped=True)


@pytest.mark.parametrize("waiting", [False, True])
def test_an_image_for_a_number_that_the_device_does_not_have_is_never_written_over_another(*, waiting: bool) -> None:
    bench = FlashBench(BootConfig(recovery=waiting))
    refused(bench, packaged((0, NEW), (1, OTHER)), "for image number 1, and the device has only image 0")
    refused(bench, OTHER, "for image number 1, and the device has only image 0", FlashOptions(number=1))
    lying(bench, image.SLOT_INFO, lambda _, asked: refuse(8))
    refused(bench, OTHER, "for image number 1, and the device has only image 0", FlashOptions(number=1))
    refused(bench, packaged((0, NEW), slot=1), "built for slot 1, and recovery writes slot 0")
    refused(bench, NEW, "has no slot|recovery writes", FlashOptions(slot=1))


def test_a_second_image_goes_where_it_belongs() -> None:
    bench = FlashBench(BootConfig(images=2))
    install(bench, OTHER, FlashOptions(number=1))
    assert rescue(bench, NEW, FlashOptions(number=1)).version == "2.0.0"
    assert (runs(bench)[0], runs(bench, 1)[0]) == ("1.0.0", "2.0.0")


def test_what_speaks_against_an_update_speaks_against_recovery_too() -> None:
    bench = FlashBench()
    toaster = build_image(b"x" * 2000, ImageVersion(2), protected=[Tlv(TlvType.FIELDLOG_PRODUCT, b"toaster")])
    refused(bench, toaster, "made for another product")
    refused(bench, firmware("0.9.0"), "1.0.0, which is newer.*--allow-downgrade")
    needing = bytes([1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    depending = build_image(b"x" * 2000, ImageVersion(2), protected=[Tlv(TlvType.DEPENDENCY, needing)])
    refused(bench, depending, "needs image 1 at 3.0.0 or later")
    refused(bench, HUGE, "slot takes")
    assert rescue(bench, firmware("0.9.0"), FlashOptions(allow_downgrade=True)).version == "0.9.0"


def test_a_session_is_only_ended_when_that_was_said() -> None:
    bench, told = FlashBench(), Told()
    bench.arm(label="night", wrap=True)
    bench.wait(600)
    bench.seal()
    with pytest.raises(VerificationError, match=r"recording a session.*--stop-logging"):
        rescue(bench, NEW)
    assert bench.info().state == 2
    rescue(bench, NEW, FlashOptions(stop_logging=True), told=told)
    assert told.steps[0].endswith("stopped")
    assert runs(bench) == ("2.0.0", True)


def test_a_pinned_key_holds_wherever_the_firmware_can_say_who_it_is(tmp_path: Path) -> None:
    bench, pins = FlashBench(), PinnedKeys(tmp_path / "pins.json")
    pins.keep(f"uid:{bench.device.identity.uid.hex()}", Pin(image_tool.public_key("ecdsa-p256")))
    refused(bench, NEW, "carries no signature.*pinned.*not changed", FlashOptions(pins=pins))
    other = image_tool.public_key("ecdsa-p256", 1)
    refused(bench, NEW, "not the one that is pinned for this device", FlashOptions(pins=pins, key=other))
    signed = image_tool.sign(tmp_path, "-k", image_tool.key("ecdsa-p256"), "-s", "9").read_bytes()
    assert rescue(bench, signed, FlashOptions(pins=pins)).outcome is Outcome.CONFIRMED
    eighth = image_tool.sign(tmp_path, "-k", image_tool.key("ecdsa-p256"), "-s", "8", version="9.0.0").read_bytes()
    refused(bench, eighth, "counter is 8, and this device has run firmware with 9", FlashOptions(pins=pins))


def test_what_runs_already_is_left_alone() -> None:
    bench = FlashBench()
    install(bench, NEW)
    before = bench.device.flash.operations
    assert rescue(bench, NEW).outcome is Outcome.ALREADY
    assert bench.device.flash.operations == before


def test_firmware_that_made_way_for_what_is_refused_is_started_again() -> None:
    bench = FlashBench()
    lying(bench, image.SLOT_INFO, lambda _, asked: asked() if bench.device.recovery else refuse(8))
    with pytest.raises(VerificationError, match=r"slot takes.*It was restarted and runs 1\.0\.0 again"):
        rescue(bench, HUGE)
    assert runs(bench) == ("1.0.0", True)
    lying(bench, image.UPLOAD, lambda _, asked: refuse(1))
    with pytest.raises(FieldlogError, match=r"refused .*It was restarted and runs 1\.0\.0 again"):
        rescue(bench, NEW)
    assert runs(bench) == ("1.0.0", True)


def test_firmware_that_starts_by_itself_is_not_uploaded_to() -> None:
    """Power was lost before the boot loader had erased anything: what was meant for slot 0 must not go to slot 1."""
    bench, cuts = FlashBench(), 0

    def cut(request: object, asked: object) -> None:
        nonlocal cuts
        cuts += 1
        if cuts == 1:
            bench.power_cycle()

    honest = bench.device.handle
    lying(bench, image.UPLOAD, lambda request, asked: cut(request, asked) if bench.device.recovery else asked())
    with pytest.raises(
        VerificationError, match=r"left its boot loader's recovery and runs 1\.0\.0.*repeat the command"
    ):
        rescue(bench, NEW)
    assert set(slots(bench)) == {0}
    bench.device.handle = honest  # type: ignore[method-assign]
    assert rescue(bench, NEW).version == "2.0.0"


def test_a_plain_update_does_not_write_over_what_a_boot_loader_holds() -> None:
    bench = FlashBench(BootConfig(recovery=True))
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match=r"no firmware runs.*--recovery"):
        install(bench, NEW)
    assert bench.device.flash.operations == before


def test_a_broken_link_leaves_words_on_what_is_left() -> None:
    bench = FlashBench()
    lying(bench, image.UPLOAD, lambda request, asked: None if request["off"] else asked())
    with pytest.raises(FieldlogError, match=r"waits in its boot loader's recovery and has nothing whole to run"):
        rescue(bench, NEW, transport=VirtualTransport(bench, LinkKind(baud=None)))


def _notes(bench: Bench, file: bytes) -> tuple[str, ...]:
    async def work() -> tuple[str, ...]:
        client = VirtualTransport(bench, FAST).client()
        await client.open()
        try:
            return (await make_plan(HostDevice(client), package(file), FlashOptions(), recovery=True)).notes
        finally:
            await client.close()

    return run(bench, work())


@pytest.mark.parametrize("permanent", [False, True])
def test_what_waits_in_the_other_slot_is_told_before(*, permanent: bool) -> None:
    bench, told = FlashBench(), Told()
    upload(bench, OTHER)
    assert not [note for note in _notes(bench, NEW) if "waits" in note]
    mark(bench, OTHER, permanent=permanent)
    (said,) = [note for note in _notes(bench, NEW) if "waits" in note]
    assert said.startswith(
        "1.5.0 of image 0 waits in slot 1 to be started: the restart into recovery puts it into slot 0"
    )
    assert rescue(bench, NEW, told=told).images[0].before == "1.5.0"
    assert runs(bench) == ("2.0.0", True)


def test_what_waits_for_the_end_of_recovery_is_told_before() -> None:
    """As where a button has kept the boot loader from what it was to do."""

    def waits(_: dict[str, Any], asked: Any) -> dict[str, Any]:
        answer: dict[str, Any] = asked()
        answer["images"].append({"image": 0, "slot": 1, "version": "1.5.0", "hash": b"x" * 32, "pending": True})
        return answer

    bench = lying(FlashBench(BootConfig(recovery=True)), image.STATE_READ, waits)
    (said,) = [note for note in _notes(bench, NEW) if "waits" in note]
    assert "the restart at the end starts it in place of what is written now" in said
