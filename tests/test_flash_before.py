"""What `fieldlog flash` finds before it changes anything: each reason has its own sentence, and no flash is touched."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import image_tool
from device_bench import Bench
from fieldlog.firmware_package import FirmwarePackage, PackagedImage, parse_package
from fieldlog.flash import FlashOptions, Outcome
from fieldlog.flash_plan import Action
from fieldlog.pinned_keys import Pin, PinnedKeys
from fieldlog_protocol.errors import FieldlogError, ImageError, VerificationError
from fieldlog_protocol.image import BOOT_MAGIC, ImageFlag, ImageVersion, Tlv, TlvType, build_image, parse_image
from flash_bench import Told, firmware, install, package, planned, runs, slots

NEW = firmware("2.0.0")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return image_tool.sign(tmp_path_factory.mktemp("signed"), "-k", image_tool.key("ecdsa-p256")).read_bytes()


def refused(bench: Bench, file: bytes | FirmwarePackage, says: str, options: FlashOptions | None = None) -> None:
    """It is refused with these words, and nothing was written or erased on the device."""
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match=says):
        install(bench, file, options)
    assert bench.device.flash.operations == before
    assert runs(bench) == ("1.0.0", True)
    assert set(slots(bench)) == {0}


def made_for(kind: TlvType, text: str) -> bytes:
    return build_image(b"x" * 2000, ImageVersion(2), protected=[Tlv(kind, text.encode())])


def depending(number: int, major: int) -> bytes:
    data = bytes([number, 0, 0, 0, major, 0, 0, 0, 0, 0, 0, 0])
    return build_image(b"x" * 2000, ImageVersion(2), protected=[Tlv(TlvType.DEPENDENCY, data)])


def counting(counter: int) -> list[str]:
    return ["-k", str(image_tool.key("ecdsa-p256")), "-s", str(counter)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"hello", "not a firmware image"),
        (lambda: b":100000" * 30, "Intel HEX"),
        (lambda: NEW[:2000], "truncated"),
        (lambda: NEW.replace(NEW[500:504], b"oops"), "damaged"),
        (lambda: NEW + b"\xff" * 100 + b"rubbish", "neither padding nor a boot trailer"),
        (
            lambda: NEW + b"\xff" * 100 + b"\x5a" + b"\xff" * 7 + BOOT_MAGIC,
            "boot trailer .* is damaged: its image-ok flag",
        ),
        (lambda: build_image(b"x" * 900_000, ImageVersion(2)), "slot takes"),
        (lambda: firmware("0.9.0"), "1.0.0, which is newer.*--allow-downgrade"),
        (lambda: made_for(TlvType.FIELDLOG_PRODUCT, "toaster"), "made for another product"),
        (lambda: made_for(TlvType.FIELDLOG_HARDWARE, "rev Z"), "made for another hardware"),
        (lambda: depending(0, 3), "needs image 0, which is itself, at 3.0.0 or later"),
        (lambda: depending(1, 1), "needs image 1 at 1.0.0 or later, and the device has none"),
        (lambda: build_image(b"x" * 2000, ImageVersion(2), flags=ImageFlag.NON_BOOTABLE), "not bootable"),
    ],
)
def test_what_cannot_run_is_refused_before_a_byte_is_erased(bench: Bench, make: Callable[[], bytes], says: str) -> None:
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match=says):
        install(bench, make())
    assert bench.device.flash.operations == before
    assert runs(bench) == ("1.0.0", True)


def test_an_image_for_another_slot_is_refused(bench: Bench) -> None:
    whole = FirmwarePackage((PackagedImage(0, parse_image(NEW), "slot0.bin", NEW, slot=0),), zipped=True)
    refused(bench, whole, "built for slot 0, which is the one that runs")
    refused(bench, NEW, "slot 0 is the one that runs", FlashOptions(slot=0))
    refused(bench, NEW, "no slot 7", FlashOptions(slot=7))


def test_an_image_for_another_number_is_refused(bench: Bench) -> None:
    refused(bench, NEW, "for image number 1, and the device has only image 0", FlashOptions(number=1))


def test_of_builds_for_each_slot_that_for_the_free_one_is_chosen(bench: Bench) -> None:
    other = firmware("2.0.1")
    whole = FirmwarePackage(
        tuple(PackagedImage(0, parse_image(data), f"slot{n}.bin", data, slot=n) for n, data in enumerate((NEW, other)))
    )
    assert install(bench, whole).version == "2.0.1"


def test_going_back_to_an_older_version_is_possible_when_wanted(bench: Bench) -> None:
    assert install(bench, firmware("0.9.0"), FlashOptions(allow_downgrade=True)).version == "0.9.0"


def test_an_empty_battery_is_a_reason_not_to_begin() -> None:
    bench = Bench(battery_mah=10.0)
    bench.wait(3600 * 1100)
    percent = bench.info().pct
    assert percent is not None
    assert percent < 20
    refused(bench, NEW, "battery is at .* %.*--min-battery")
    assert install(bench, NEW, FlashOptions(least_battery=0)).version == "2.0.0"


def test_a_session_is_only_ended_when_that_was_said(bench: Bench) -> None:
    bench.arm(label="night", wrap=True)
    bench.wait(600)
    held = bench.seal()
    with pytest.raises(VerificationError, match=r"recording a session.*--stop-logging"):
        install(bench, NEW)
    assert bench.info().state == 2
    plan = planned(bench, NEW, FlashOptions(stop_logging=True))
    assert plan.steps(FlashOptions())[0] == "stop the session"
    assert any("What it recorded stays in the log" in note for note in plan.notes)
    install(bench, NEW, FlashOptions(stop_logging=True))
    assert (runs(bench), bench.info().state) == (("2.0.0", True), 0)
    assert (bench.info().next or 0) >= held
    assert len(bench.blocks()) >= held


def test_what_runs_already_needs_nothing(bench: Bench) -> None:
    install(bench, NEW)
    bench.arm(label="night", wrap=True)  # and it does not matter that it records
    before = bench.device.flash.operations
    assert install(bench, NEW).outcome is Outcome.ALREADY
    assert bench.device.flash.operations == before


def test_a_plan_changes_nothing_and_says_what_would_be_done(bench: Bench) -> None:
    before = bench.device.flash.operations
    plan = planned(bench, NEW)
    assert bench.device.flash.operations == before
    assert [(part.action, part.version, part.before) for part in plan.parts] == [(Action.UPLOAD, "2.0.0", "1.0.0")]
    assert plan.steps(FlashOptions()) == [
        f"upload image 0: 2.0.0 ({len(NEW)} bytes)",
        "mark for a test",
        "restart and wait for the device",
        "see whether the new firmware works",
        "confirm",
    ]
    assert any("was not verified" in note for note in plan.notes)


# whose firmware it is


def test_a_signature_is_held_against_the_key_given(bench: Bench, signed: bytes) -> None:
    right, other = (image_tool.public_key("ecdsa-p256", which) for which in (0, 1))
    refused(bench, signed, "signed with another key", FlashOptions(key=other))
    refused(bench, NEW, "carries no signature", FlashOptions(key=right))
    spoiled = bytearray(signed)
    spoiled[-3] ^= 1
    refused(bench, bytes(spoiled), "signature is wrong", FlashOptions(key=right))
    plan = planned(bench, signed, FlashOptions(key=right))
    assert plan.parts[0].signature.startswith("verified with the key")
    assert install(bench, signed, FlashOptions(key=right)).outcome is Outcome.CONFIRMED


def test_a_key_is_remembered_only_when_asked_for(bench: Bench, signed: bytes, tmp_path: Path) -> None:
    pins, key = PinnedKeys(tmp_path / "config" / "pins.json"), image_tool.public_key("ecdsa-p256")
    plan = planned(bench, signed, FlashOptions(key=key, pins=pins))
    assert any("--pin-key would remember" in note for note in plan.notes)
    assert not any("--pin-key" in note for note in planned(bench, signed, FlashOptions(pins=pins)).notes)
    told = Told(), Told()
    for each in told:
        install(bench, signed, FlashOptions(key=key, pins=pins, pin=True), told=each)
    assert ["the key is pinned for this device" in each.steps for each in told] == [True, False]
    identity = plan.survey.identity
    assert identity == f"uid:{bench.device.identity.uid.hex()}"
    assert pins.find(identity) == Pin(key)
    refused_by_pin(bench, firmware("3.0.0"), FlashOptions(pins=pins), "carries no signature")
    other = FlashOptions(pins=pins, key=image_tool.public_key("ecdsa-p256", 1))
    refused_by_pin(bench, signed, other, "not the one that is pinned for this device")


def refused_by_pin(bench: Bench, file: bytes, options: FlashOptions, says: str) -> None:
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match=says):
        install(bench, file, options)
    assert bench.device.flash.operations == before


def test_a_security_counter_that_was_reached_is_never_gone_below(bench: Bench, tmp_path: Path) -> None:
    pins, key = PinnedKeys(tmp_path / "pins.json"), image_tool.public_key("ecdsa-p256")
    ninth = image_tool.sign(tmp_path, *counting(9)).read_bytes()
    assert any("counter is 9" in note for note in planned(bench, ninth).notes)
    install(bench, ninth, FlashOptions(key=key, pins=pins, pin=True))
    eighth = image_tool.sign(tmp_path, *counting(8), version="9.0.0").read_bytes()
    refused_by_pin(bench, eighth, FlashOptions(pins=pins), "counter is 8, and this device has run firmware with 9")
    tenth = image_tool.sign(tmp_path, *counting(10), version="9.0.1").read_bytes()
    install(bench, tenth, FlashOptions(pins=pins))
    (known,) = json.loads((tmp_path / "pins.json").read_text())["devices"].values()
    assert known["security_counter"] == 10


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"devices": {"DEVICE": {}}}', '{"devices": {"DEVICE": 5}}'])
def test_pins_that_cannot_be_read_stop_an_update(bench: Bench, tmp_path: Path, text: str) -> None:
    path = tmp_path / "pins.json"
    path.write_text(text.replace("DEVICE", f"uid:{bench.device.identity.uid.hex()}"))
    with pytest.raises(FieldlogError, match=r"pinned keys in .* cannot be read"):
        install(bench, NEW, FlashOptions(pins=PinnedKeys(path)))


def test_a_package_says_itself_which_images_it_holds(bench: Bench) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.bin", NEW)
        manifest = {"format-version": 0, "files": [{"file": "app.bin", "size": len(NEW), "image_index": "0"}]}
        archive.writestr("manifest.json", json.dumps(manifest))
    assert install(bench, parse_package(packed.getvalue(), "dfu_application.zip")).version == "2.0.0"
    assert slots(bench)[0].hash == package(NEW).images[0].image.hash


def test_padding_and_trailer_of_a_file_are_not_sent(bench: Bench, tmp_path: Path) -> None:
    padded = image_tool.sign(tmp_path, "--pad", "--confirm", version="2.0.0").read_bytes()
    done = install(bench, padded)
    assert (done.version, done.sent) == ("2.0.0", package(padded).images[0].image.size)


def test_errors_of_files_are_errors_of_images() -> None:
    with pytest.raises(ImageError):
        package(b"PK\x03\x04 nothing")
