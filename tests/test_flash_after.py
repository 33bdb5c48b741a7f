"""What follows an upload: the trial, the proof, the way back, and devices that others left half updated."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import image_tool
from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash import FlashOptions, Installed, Outcome
from fieldlog.flash_probe import look, problems
from fieldlog.flash_restart import lasting
from fieldlog.transports.ports import SerialPort
from fieldlog.url import parse
from fieldlog_protocol.blocks.block import Kind, parse_header
from fieldlog_protocol.commands import Empty, image, os, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import LinkError, VerificationError
from fieldlog_protocol.image import ImageVersion, parse_image
from fieldlog_protocol.wire import Packet, decode_map, encode_error
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from flash_bench import FAST, FlashBench, Told, firmware, install, mark, planned, restart, runs, slots, upload
from virtual_link import VirtualTransport, run

NEW, OTHER = firmware("2.0.0"), firmware("1.5.0")
SECOND = frozenset({ImageVersion(2)})
SWAPS = (BootMode.MOVE, BootMode.OFFSET)


def with_a_past(boot: BootConfig) -> FlashBench:
    """A device with readings and settings that an update must not cost."""
    bench = FlashBench(boot)
    bench.ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=b"north"))
    bench.ask(settings.WRITE, settings.SettingWriteRequest(name="log/max_age", val=struct.pack("<I", 600)))
    bench.ask(settings.COMMIT, Empty())
    bench.ask(settings.SAVE, settings.SettingSaveRequest())
    bench.arm(label="past", wrap=True)
    bench.wait(300, 3)
    bench.stop()
    return bench


def assert_kept(bench: FlashBench, wires: list[bytes]) -> None:
    """Every block is there that was, and only blocks of new boots came behind them; the settings are as they were."""
    held = bench.wires()
    assert held[: len(wires)] == wires
    assert {parse_header(wire).kind for wire in held[len(wires) :]} <= {Kind.EVENT, Kind.SCHEMA}
    assert bench.ask(settings.READ, settings.SettingReadRequest(name="device/name")).val == b"north"
    assert bench.ask(settings.READ, settings.SettingReadRequest(name="log/max_age")).val == struct.pack("<I", 600)


@pytest.mark.parametrize("mode", SWAPS)
def test_an_update_keeps_log_and_settings(mode: BootMode) -> None:
    bench = with_a_past(BootConfig(mode))
    before = bench.wires()
    done = install(bench, NEW)
    assert done.images == (Installed(0, "2.0.0", "1.0.0"),)
    assert (done.outcome, runs(bench)) == (Outcome.CONFIRMED, ("2.0.0", True))
    assert_kept(bench, before)
    bench.power_cycle()
    assert runs(bench) == ("2.0.0", True)


@pytest.mark.parametrize("mode", SWAPS)
def test_firmware_that_fails_its_self_test_goes_back(mode: BootMode) -> None:
    bench = with_a_past(BootConfig(mode, failing=SECOND))
    before = bench.wires()
    gone_back = (
        r"2\.0\.0 runs but does not work: its self test of 'firmware' fails.*took it back: 1\.0\.0 runs, confirmed"
    )
    with pytest.raises(VerificationError, match=gone_back):
        install(bench, NEW)
    assert runs(bench) == ("1.0.0", True)
    assert_kept(bench, before)


@pytest.mark.parametrize("mode", SWAPS)
def test_firmware_that_never_comes_up_goes_back(mode: BootMode) -> None:
    bench = with_a_past(BootConfig(mode, hanging=SECOND))
    before = bench.wires()
    with pytest.raises(
        VerificationError, match=r"still runs 1\.0\.0.*took it back because it did not come up, or hung.*'watchdog'"
    ):
        install(bench, NEW)
    assert runs(bench) == ("1.0.0", True)
    assert_kept(bench, before)


def test_firmware_that_fails_on_a_device_that_only_overwrites_stays() -> None:
    bench = FlashBench(BootConfig(BootMode.OVERWRITE, failing=SECOND))
    assert any("no way back" in note for note in planned(bench, NEW).notes)
    with pytest.raises(VerificationError, match="installed for good, so it keeps running"):
        install(bench, NEW)
    assert runs(bench)[0] == "2.0.0"


def test_a_device_that_only_overwrites_is_updated_without_a_trial() -> None:
    bench = FlashBench(BootConfig(BootMode.OVERWRITE))
    assert "mark for good" in planned(bench, NEW).steps(FlashOptions())
    assert (install(bench, NEW).outcome, runs(bench)) == (Outcome.CONFIRMED, ("2.0.0", True))


def test_what_fails_before_is_not_the_new_firmwares_fault() -> None:
    bench = FlashBench(BootConfig(failing=frozenset({ImageVersion(1), ImageVersion(2)})))
    assert install(bench, NEW).outcome is Outcome.CONFIRMED


def test_an_image_that_the_boot_loader_refuses_is_explained(tmp_path: Path) -> None:
    bench, told = FlashBench(BootConfig(keys=(image_tool.public_key("ed25519"),))), Told()
    with pytest.raises(VerificationError, match=r"still runs 1\.0\.0: its boot loader did not accept"):
        install(bench, NEW, told=told)
    assert told.steps.count("restarting") == 1, "what was sent just now is not sent again"
    signed = image_tool.sign(tmp_path, "-k", image_tool.key("ed25519"), version="2.0.0").read_bytes()
    assert install(bench, signed).version == "2.0.0"


def test_on_trial_it_stays_only_when_it_is_confirmed() -> None:
    bench = FlashBench()
    assert install(bench, NEW, FlashOptions(confirm=False)).outcome is Outcome.TESTING
    assert runs(bench) == ("2.0.0", False)
    told = Told()
    done = install(bench, NEW, told=told)
    assert (done.outcome, done.sent, runs(bench)) == (Outcome.CONFIRMED, 0, ("2.0.0", True))
    assert told.steps == ["the image runs on trial already", "confirmed"]


def test_for_good() -> None:
    bench, told = FlashBench(), Told()
    assert install(bench, NEW, FlashOptions(permanent=True), told=told).outcome is Outcome.CONFIRMED
    assert "marked for good" in told.steps
    assert "confirmed" not in told.steps


def test_erasing_first() -> None:
    bench, told = FlashBench(), Told()
    upload(bench, OTHER)
    install(bench, NEW, FlashOptions(erase=True), told=told)
    assert told.steps[:2] == ["the slot is erased", f"uploading 2.0.0 ({len(NEW)} bytes)"]


# devices that others left half updated


@pytest.mark.parametrize("mode", SWAPS)
@pytest.mark.parametrize(("done", "sent"), [(0, False), (1, False), (2, False)], ids=["uploaded", "marked", "on trial"])
def test_what_another_client_has_begun_is_finished(mode: BootMode, done: int, sent: bool) -> None:
    bench = FlashBench(BootConfig(mode))
    upload(bench, NEW)
    if done > 0:
        mark(bench, NEW)
    if done > 1:
        restart(bench)
    finished = install(bench, NEW)
    assert (finished.outcome, bool(finished.sent), runs(bench)) == (Outcome.CONFIRMED, sent, ("2.0.0", True))


@pytest.mark.parametrize("mode", SWAPS)
@pytest.mark.parametrize("permanent", [False, True])
def test_another_image_that_is_marked_is_let_pass(mode: BootMode, permanent: bool) -> None:
    bench = FlashBench(BootConfig(mode))
    upload(bench, OTHER)
    mark(bench, OTHER, permanent=permanent)
    plan = planned(bench, NEW)
    assert plan.steps(FlashOptions())[0] == "restart, because 1.5.0 waits in slot 1 to be started"
    assert (install(bench, NEW).outcome, runs(bench)) == (Outcome.CONFIRMED, ("2.0.0", True))


@pytest.mark.parametrize("mode", SWAPS)
def test_another_image_on_trial_goes_back_first(mode: BootMode) -> None:
    bench, told = FlashBench(BootConfig(mode)), Told()
    upload(bench, OTHER)
    mark(bench, OTHER)
    restart(bench)
    done = install(bench, NEW, told=told)
    assert told.steps[0] == "1.5.0 runs on trial and 1.0.0 would come back: restarting"
    assert done.images == (Installed(0, "2.0.0", "1.0.0"),)
    assert runs(bench) == ("2.0.0", True)


def test_the_former_firmware_comes_back_by_a_restart() -> None:
    bench = FlashBench()
    former = firmware("1.1.0")
    install(bench, former)
    install(bench, NEW, FlashOptions(confirm=False))
    told = Told()
    done = install(bench, former, told=told)
    assert (done.sent, runs(bench), told.steps) == (0, ("1.1.0", True), ["restarting"])


def test_what_another_client_confirmed_is_left_alone() -> None:
    bench = FlashBench()
    upload(bench, NEW)
    mark(bench, NEW, permanent=True)
    restart(bench)
    assert install(bench, NEW).outcome is Outcome.ALREADY


def test_a_device_that_restarts_before_it_is_confirmed_is_not_taken_for_the_new_one() -> None:
    bench = FlashBench()
    asked = bench.device.handle

    def reverting(packet: Packet, arrived: float, now: float) -> bytes | None:
        key = (int(packet.op), packet.group, packet.id)
        if key == image.STATE_WRITE.key and runs(bench) == ("2.0.0", False):
            bench.device.handle = asked  # type: ignore[method-assign]
            bench.power_cycle()
        return asked(packet, arrived, now)

    bench.device.handle = reverting  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match=r"restarted by itself before 2\.0\.0 was confirmed, and 1\.0\.0 runs"):
        install(bench, NEW)
    assert runs(bench) == ("1.0.0", True)
    assert not slots(bench)[1].pending, "it was not started by being confirmed"
    assert install(bench, NEW).sent == 0
    assert runs(bench) == ("2.0.0", True)


def test_a_device_that_is_busy_is_given_time_and_then_made_to_restart() -> None:
    bench = FlashBench()
    asked, forced = bench.device.handle, list[object]()

    def busy(packet: Packet, arrived: float, now: float) -> bytes | None:
        if (int(packet.op), packet.group, packet.id) != os.RESET.key:
            return asked(packet, arrived, now)
        forced.append(decode_map(packet.payload).get("force"))
        return asked(packet, arrived, now) if forced[-1] else encode_error(packet.version, Rc.BUSY, None)

    bench.device.handle = busy  # type: ignore[method-assign]
    assert install(bench, NEW).version == "2.0.0"
    assert forced == [None, 1]


def test_what_lies_damaged_on_the_device_is_sent_anew() -> None:
    """A device lists what it holds without checking it; its boot loader does check, and throws it away."""
    bench, told = FlashBench(), Told()
    upload(bench, NEW.replace(NEW[900:904], b"oops"))
    assert slots(bench)[1].hash == parse_image(NEW).hash
    done = install(bench, NEW, told=told)
    assert (done.sent, runs(bench)) == (len(NEW), ("2.0.0", True))
    assert told.steps[0] == "2.0.0 is on the device already"
    assert "the boot loader did not accept what was on the device" in told.steps


def test_one_of_two_that_lies_damaged_on_the_device_is_sent_anew_too() -> None:
    """As it would be if it was signed with another key: devices know images by what the signature is over."""
    bench, other = FlashBench(BootConfig(images=2)), firmware("1.5.0")
    pieces = [PackagedImage(n, parse_image(data), f"{n}.bin", data) for n, data in ((0, NEW), (1, other))]
    upload(bench, NEW.replace(NEW[900:904], b"oops"))
    done = install(bench, FirmwarePackage(tuple(pieces), zipped=True))
    assert (done.sent, runs(bench), runs(bench, 1)) == (len(NEW) + len(other), ("2.0.0", True), ("1.5.0", True))


def probed(bench: FlashBench, change: Callable[[], object]) -> list[str]:
    """What is found wrong after a change that new firmware might make."""

    async def work() -> list[str]:
        client = VirtualTransport(bench, FAST).client()
        await client.open()
        try:
            before = await look(Device(client))
            change()
            return await problems(Device(client), before)
        finally:
            await client.close()

    return run(bench, work())


def test_firmware_that_loses_settings_or_readings_does_not_work() -> None:
    bench = with_a_past(BootConfig())

    def forget() -> None:
        bench.ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=b""))
        bench.ask(settings.COMMIT, Empty())

    assert probed(bench, lambda: None) == []
    assert probed(bench, forget) == ["settings are not what they were: device/name"]
    assert probed(bench, lambda: bench.arm(label="by itself", wrap=True)) == ["its logger is logging and was idle"]
    bench.stop()
    assert probed(bench, bench.power_cycle) == []
    (lost,) = probed(bench, bench.erase)
    assert "its log" in lost


def test_a_device_that_does_not_restart_is_told_apart() -> None:
    bench = FlashBench()
    bench.device.restart_after_reply = lambda **_: None  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="did not restart within 30 s"):
        install(bench, NEW, FlashOptions(return_s=30))
    assert bench.ask(os.ECHO, os.EchoRequest(d="x")).r == "x"


def test_a_usb_port_is_found_again_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named = SerialPort("/dev/ttyACM0", vid=0x2FE3, pid=0x100, serial="A1")
    there = [named, SerialPort("/dev/ttyACM1", vid=0x2FE3, pid=0x100), SerialPort("/dev/ttyS0")]
    monkeypatch.setattr("fieldlog.flash_restart.serial_ports", lambda: there)
    found = lasting(parse("/dev/ttyACM0?baud=9600"))
    assert (found.scheme, found.usb, found.baud) == ("usb", (0x2FE3, 0x100, "A1"), 9600)
    for unchanged in ("/dev/ttyACM1", "/dev/ttyS0", "/dev/ttyACM7", "udp:host", "usb:2fe3:0100"):
        assert lasting(parse(unchanged)) == parse(unchanged)


# several images


def pair(first: bytes = NEW, second: bytes = OTHER) -> FirmwarePackage:
    images = [PackagedImage(n, parse_image(data), f"{n}.bin", data) for n, data in ((1, second), (0, first))]
    return FirmwarePackage(tuple(images), zipped=True)


def test_several_images_are_updated_together_in_their_order() -> None:
    bench, told = FlashBench(BootConfig(images=2)), Told()
    done = install(bench, pair(), told=told)
    assert [(one.number, one.version) for one in done.images] == [(1, "1.5.0"), (0, "2.0.0")]
    assert (runs(bench, 0), runs(bench, 1)) == (("2.0.0", True), ("1.5.0", True))
    assert told.steps == [
        f"uploading 1.5.0 ({len(OTHER)} bytes)",
        f"uploading 2.0.0 ({len(NEW)} bytes)",
        "marked image 1 for a test",
        "marked image 0 for a test",
        "restarting",
        "confirmed",
    ]
    assert install(bench, pair()).outcome is Outcome.ALREADY


def test_of_several_images_only_what_is_new_is_sent() -> None:
    bench = FlashBench(BootConfig(images=2))
    install(bench, pair())
    third = firmware("3.0.0")
    done = install(bench, pair(third))
    assert (done.sent, runs(bench, 0), runs(bench, 1)) == (len(third), ("3.0.0", True), ("1.5.0", True))


def test_several_images_go_back_together() -> None:
    bench = FlashBench(BootConfig(images=2, failing=SECOND))
    with pytest.raises(VerificationError, match=r"took it back: 1\.0\.0 and 1\.0\.0 runs"):
        install(bench, pair())
    assert (runs(bench, 0), runs(bench, 1)) == (("1.0.0", True), ("1.0.0", True))


def test_an_image_of_a_number_is_chosen_by_option() -> None:
    bench = FlashBench(BootConfig(images=2))
    assert install(bench, OTHER, FlashOptions(number=1)).version == "1.5.0"
    assert (runs(bench, 0), runs(bench, 1)) == (("1.0.0", True), ("1.5.0", True))
    assert set(slots(bench)) == {0}
