"""The plan of an update is what is then done, and says what could not be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import image_tool
from fieldlog.flash import FlashOptions, Outcome
from fieldlog.pinned_keys import Pin, PinnedKeys
from fieldlog_protocol.commands import image, logger
from fieldlog_protocol.errors import ImageError, VerificationError
from fieldlog_protocol.image import ImageVersion, Tlv, TlvType, build_image, class_uuid, vendor_uuid
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from flash_bench import FlashBench, Told, firmware, install, mark, planned, restart, runs, upload
from flash_lies import lying, refuse

NEW = firmware("2.0.0")
OTHER = firmware("1.5.0")
NEWER = firmware("3.0.0")


def waiting(data: bytes, *, permanent: bool, mode: BootMode = BootMode.MOVE) -> FlashBench:
    bench = FlashBench(BootConfig(mode))
    upload(bench, data)
    mark(bench, data, permanent=permanent)
    return bench


def noted(bench: FlashBench, file: bytes, words: str, options: FlashOptions | None = None) -> bool:
    return any(words in note for note in planned(bench, file, options).notes)


def test_going_back_below_what_waits_or_is_confirmed_takes_a_word() -> None:
    bench = waiting(NEWER, permanent=True)
    with pytest.raises(VerificationError, match=r"3\.0\.0, which is newer.*--allow-downgrade"):
        install(bench, NEW)
    assert runs(bench) == ("1.0.0", True)
    older = firmware("0.5.0")
    bench = waiting(older, permanent=False)
    restart(bench)
    assert runs(bench) == ("0.5.0", False)
    with pytest.raises(VerificationError, match=r"1\.0\.0, which is newer.*--allow-downgrade"):
        install(bench, older)
    assert runs(bench) == ("0.5.0", False)
    assert install(bench, older, FlashOptions(allow_downgrade=True)).outcome is Outcome.CONFIRMED


def test_what_stands_in_the_way_is_told_in_full() -> None:
    tried = planned(waiting(OTHER, permanent=False), NEW).steps(FlashOptions())
    assert tried[:2] == ["restart, because 1.5.0 waits in slot 1 to be started", "restart once more, to take it back"]
    bench = waiting(OTHER, permanent=True)
    assert planned(bench, NEW).steps(FlashOptions())[1].startswith("upload")
    assert noted(bench, NEW, "1.5.0 of image 0 is marked for good, which nothing but a restart ends")
    told = Told()
    install(waiting(OTHER, permanent=False), NEW, told=told)
    assert [step for step in told.steps if "restarting" in step][:2] == [
        "1.5.0 waits in slot 1 to be started: restarting",
        "1.5.0 runs on trial and 1.0.0 would come back: restarting",
    ]


@pytest.mark.parametrize(
    ("bench", "options", "last"),
    [
        (FlashBench(), FlashOptions(permanent=True), "see whether the new firmware works"),
        (FlashBench(BootConfig(BootMode.OVERWRITE)), FlashOptions(), "see whether the new firmware works"),
        (waiting(NEW, permanent=True), FlashOptions(), "see whether the new firmware works"),
        (waiting(NEW, permanent=False), FlashOptions(), "confirm"),
    ],
)
def test_only_what_is_on_trial_is_confirmed(bench: FlashBench, options: FlashOptions, last: str) -> None:
    assert planned(bench, NEW, options).steps(options)[-1] == last


def test_options_that_change_nothing_and_slots_that_are_erased_are_told() -> None:
    bench = waiting(NEW, permanent=True)
    assert noted(bench, NEW, "marked for good already: the restart installs it without a trial")
    assert noted(bench, NEW, "--no-confirm changes nothing here", FlashOptions(confirm=False))
    overwriting = FlashBench(BootConfig(BootMode.OVERWRITE))
    assert noted(overwriting, NEW, "--no-confirm changes nothing here", FlashOptions(confirm=False))
    assert not noted(FlashBench(), NEW, "--no-confirm", FlashOptions(confirm=False))
    erasing = FlashOptions(erase=True)
    assert planned(FlashBench(), NEW, erasing).steps(erasing)[0] == "erase the slot of image 0"


def test_what_cannot_be_compared_is_told() -> None:
    def odd(version: str) -> FlashBench:
        def lie(_: dict[str, Any], asked: Any) -> dict[str, Any]:
            answer: dict[str, Any] = asked()
            for slot in answer["images"]:
                slot["version"] = version
            return answer

        return lying(FlashBench(), image.STATE_READ, lie)

    assert noted(odd("???"), NEW, "calls its version '???', which is none")
    vendor = Tlv(TlvType.VENDOR_UUID, vendor_uuid("acme.org").bytes)
    alone = build_image(b"x" * 2000, ImageVersion(2), protected=[vendor])
    assert noted(FlashBench(), alone, "names its vendor by a UUID alone")
    assert not noted(FlashBench(), NEW, "compared")
    silent = lying(FlashBench(), logger.INFO, lambda _, asked: refuse(8))
    product = Tlv(TlvType.FIELDLOG_PRODUCT, b"toaster")
    named = build_image(b"x" * 2000, ImageVersion(2), protected=[product])
    assert noted(silent, named, "made for toaster, and the device does not say what it is")
    device_class = Tlv(TlvType.CLASS_UUID, class_uuid(vendor_uuid("acme.org"), "toaster").bytes)
    classed = build_image(b"x" * 2000, ImageVersion(2), protected=[vendor, device_class])
    assert noted(silent, classed, "names a device class, and the device does not say what it is")
    with pytest.raises(
        ImageError, match=f"another device class.*{class_uuid(vendor_uuid('acme.org'), 'fieldlog-sim')}"
    ):
        install(FlashBench(), classed)


def test_that_an_encrypted_body_cannot_be_checked_is_told_with_a_key_and_without(tmp_path: Path) -> None:
    sealed = image_tool.sign(
        tmp_path, *image_tool.encrypted("ecdsa-p256"), "-k", image_tool.key("ecdsa-p256"), version="2.0.0"
    ).read_bytes()
    with_key = FlashOptions(key=image_tool.public_key("ecdsa-p256"))
    damaged = bytearray(sealed)
    damaged[1000] ^= 1
    for file in (sealed, bytes(damaged)):
        for options in (FlashOptions(), with_key):
            assert noted(FlashBench(), file, "body not checkable: encrypted", options)
    assert not noted(FlashBench(), NEW, "encrypted")


def test_a_key_that_will_be_pinned_is_told(tmp_path: Path) -> None:
    bench, pins = FlashBench(), PinnedKeys(tmp_path / "pins.json")
    first, second = (image_tool.public_key("ecdsa-p256", which) for which in (0, 1))
    signed = image_tool.sign(tmp_path, "-k", image_tool.key("ecdsa-p256", 1)).read_bytes()
    pinning = FlashOptions(key=second, pins=pins, pin=True)
    assert noted(bench, signed, f"will be pinned for this device, in {pins.path}", pinning)
    pins.keep(f"uid:{bench.device.identity.uid.hex()}", Pin(first))
    assert noted(bench, signed, f"in place of {first.hash().hex()[:16]}", pinning)
    with pytest.raises(ImageError, match=r"another key.*pinned for this device.*--key and --pin-key.*not changed"):
        install(bench, signed, FlashOptions(pins=pins))


def test_a_slot_that_cannot_be_chosen_is_not_left_out_in_silence() -> None:
    bench = lying(FlashBench(), image.SLOT_INFO, lambda _, asked: refuse(8))
    for slot, why in ((0, "is the one that runs"), (7, "has no slot 7.*leave --slot out")):
        with pytest.raises(VerificationError, match=why):
            install(bench, NEW, FlashOptions(slot=slot))
    with pytest.raises(VerificationError, match="has only image 0"):
        install(bench, NEW, FlashOptions(number=1))
    assert install(bench, NEW, FlashOptions(slot=1)).version == "2.0.0"
