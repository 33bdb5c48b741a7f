"""Serial recovery, and firmware that does not come up or is not well."""

from __future__ import annotations

import cbor2
import pytest

from boot_bench import BootBench, firmware, piece
from boot_board import count
from device_bench import PowerLost
from fieldlog_protocol.commands import Empty, Group, Op, image, logger, os, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.image import ImageVersion, parse_image
from fieldlog_protocol.wire import Packet, decode_map, encode_body, iter_packets
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.links import MemoryLink
from fieldlog_sim.port import Buffers, SmpPort, console_framing

RECOVERY = BootConfig(recovery=True)
NEW = firmware("2.0.0")


def test_it_serves_little_and_tells_an_rc_each_time() -> None:
    bench = BootBench(RECOVERY)
    assert decode_map(bench.ask_raw(*os.ECHO.key, encode_body(os.EchoRequest(d="hi")))) == {"rc": 0, "r": "hi"}
    assert decode_map(bench.ask_raw(*os.PARAMS.key, encode_body(Empty())))["rc"] == 0
    assert decode_map(bench.ask_raw(*image.UPLOAD.key, encode_body(piece(NEW, 0, 800))))["rc"] == 0
    for key in (logger.INFO.key, settings.READ.key, image.ERASE.key, os.BOOTLOADER.key, image.STATE_WRITE.key):
        assert decode_map(bench.ask_raw(*key, encode_body(Empty()))) == {"rc": Rc.NOT_SUPPORTED}
    params = bench.ask(os.PARAMS, Empty())
    assert (params.buf_size, params.buf_count) == (1024, 1)


def test_the_upload_lands_in_slot_0_and_runs_after_the_restart() -> None:
    bench = BootBench(RECOVERY)
    bench.upload(NEW)
    (slot,) = bench.ask(image.STATE_READ, Empty()).images
    assert (slot.slot, slot.version, slot.hash) == (0, "2.0.0", parse_image(NEW).hash)
    assert (slot.active, slot.confirmed) == (None, None)
    bench.reset()
    assert (bench.info().fw, bench.device.recovery) == ("2.0.0", False)
    bench.reset()
    assert bench.info().fw == "2.0.0"


def test_offset_0_begins_anew_and_another_wrong_one_is_told() -> None:
    bench = BootBench(RECOVERY)
    assert bench.ask(image.UPLOAD, piece(NEW, 0, 800)).off == 800
    assert bench.ask(image.UPLOAD, piece(NEW, 1600, 800)).off == 800
    assert bench.ask(image.UPLOAD, piece(NEW, 0, 400)).off == 400
    assert bench.ask(image.UPLOAD, piece(NEW, 0, 803)).off == 800, "whole write units only"
    overrun = image.ImageUploadRequest(off=800, data=bytes(len(NEW)))
    assert bench.refusal(image.UPLOAD, overrun) == (None, Rc.INVALID)


def test_half_an_upload_runs_nothing_and_ends_in_recovery_again() -> None:
    bench = BootBench(RECOVERY)
    bench.ask(image.UPLOAD, piece(NEW, 0, 800))
    bench.reset()
    assert bench.device.recovery
    assert bench.slots() == {}
    bench.power_cycle()
    bench.upload(NEW)
    bench.reset()
    assert bench.info().fw == "2.0.0"


def test_a_reset_can_ask_for_recovery_and_the_next_one_leaves_it() -> None:
    bench = BootBench(BootConfig())
    boot_id = bench.info().boot
    bench.reset(1)
    assert bench.device.recovery
    bench.reset()
    assert not bench.device.recovery
    assert bench.info().boot == (boot_id or 0) + 1, "the firmware was started once"


def test_numbers_that_slot_info_tells_reach_every_slot() -> None:
    bench = BootBench(BootConfig(recovery=True, images=2))
    infos = bench.ask(image.SLOT_INFO, Empty()).images
    ids = {(info.image, slot.slot): slot.upload_image_id for info in infos for slot in info.slots}
    assert ids == {(0, 0): 1, (0, 1): 2, (1, 0): 3, (1, 1): 4}
    for (number, slot), upload_id in ids.items():
        data = firmware(f"3.{number}.{slot}")
        bench.upload(data, upload_id)
        assert bench.slots()[number, slot].hash == parse_image(data).hash
    assert bench.refusal(image.UPLOAD, piece(NEW, 0, 800, number=5)) == (None, Rc.INVALID)


@pytest.mark.parametrize("mode", BootMode)
def test_recovery_ends_a_trial(mode: BootMode) -> None:
    """Slot 0 is written as a programmer does it: nothing is left to go back to."""
    bench = BootBench(BootConfig(mode=mode))
    other = firmware("3.0.0")
    bench.upload(NEW)
    bench.mark_image(NEW)
    bench.reset(1)
    bench.upload(other)
    bench.reset()
    assert bench.info().fw == "3.0.0"
    bench.reset()
    assert bench.info().fw == "3.0.0"


def test_its_console_takes_larger_messages_than_the_firmwares() -> None:
    bench = BootBench(RECOVERY)
    usual = Buffers(384, 4)
    link = MemoryLink(SmpPort(bench.device, usual, console_framing(usual), 0.0))
    framing = ConsoleFraming()

    def answers(length: int) -> int:
        packet = Packet(Op.WRITE, 1, Group.OS, 0, 1, cbor2.dumps({"d": "x" * length}))
        link.send(framing.encode(packet.encode()))
        link.settle(5.0)
        messages = [m for data in link.take_datagrams() for m in framing.feed(data, link.now)]
        return len([packet for message in messages for packet in iter_packets(message)])

    assert answers(900) == 1
    bench.reset()
    assert (answers(900), answers(100)) == (0, 1)


def test_firmware_that_hangs_is_taken_back_after_the_watchdog_bites() -> None:
    bench = BootBench(BootConfig(hanging=frozenset({ImageVersion(2)})))
    bench.upload(NEW)
    bench.mark_image(NEW)
    bench.reset()
    packet = Packet(Op.WRITE, 1, Group.OS, 0, 1, encode_body(os.EchoRequest(d="hi")))
    assert bench.device.handle(packet, bench.now, bench.now) is None
    due = bench.device.wake_at(bench.now)
    assert due is not None
    bench.now = due
    bench.device.advance(due)
    info = bench.info()
    assert (info.fw, info.reset) == ("1.0.0", "watchdog")
    assert bench.slots()[0, 0].confirmed is True


def test_firmware_that_hangs_and_was_to_stay_is_started_again_and_again() -> None:
    bench = BootBench(BootConfig(hanging=frozenset({ImageVersion(2)})))
    bench.upload(NEW)
    bench.mark_image(NEW, confirm=True)
    bench.reset()
    for _ in range(3):
        due = bench.device.wake_at(bench.now)
        assert due is not None
        bench.now = due
        bench.device.advance(due)
    packet = Packet(Op.WRITE, 1, Group.OS, 0, 1, encode_body(os.EchoRequest(d="hi")))
    assert bench.device.handle(packet, bench.now, bench.now) is None


def test_a_self_test_fails_on_the_faulty_version_alone() -> None:
    bench = BootBench(BootConfig(failing=frozenset({ImageVersion(2)})))

    def passes() -> bool:
        bench.ask(logger.SELF_TEST_START, Empty())
        return all(result.ok for result in bench.ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest()).r)

    assert passes()
    bench.upload(NEW)
    bench.mark_image(NEW)
    bench.reset()
    assert not passes()
    bench.reset()
    assert passes()


@pytest.mark.parametrize(("mode", "number"), [(BootMode.MOVE, 3), (BootMode.OFFSET, 9), (BootMode.OVERWRITE, 2)])
def test_the_boot_loader_tells_its_mode(mode: BootMode, number: int) -> None:
    bench = BootBench(BootConfig(mode=mode))
    assert bench.ask(os.BOOTLOADER, os.BootloaderRequest(query="mode")).mode == number


def cut_recovery(every: int) -> int:
    """Power goes at operations of an upload in recovery; the repeated upload ends with the new image."""

    def take(bench: BootBench) -> None:
        bench.upload(NEW)
        bench.reset()

    whole = BootBench(RECOVERY)
    before = whole.device.flash.operations
    whole.upload(NEW)
    cuts = range(1, whole.device.flash.operations - before + 1, every)
    for cut in cuts:
        bench = BootBench(RECOVERY, seed=cut)
        bench.device.flash.cut_after = cut
        with pytest.raises(PowerLost):
            take(bench)
        if not bench.device.recovery:  # it had not begun to lose the former image, or had all of the new one
            assert bench.info().fw in ("1.0.0", "2.0.0"), f"cut {cut}"
            bench.reset(1)
        take(bench)
        assert bench.info().fw == "2.0.0", f"cut {cut}"
    return len(cuts)


def test_an_upload_in_recovery_is_repeated_after_a_power_cut() -> None:
    assert cut_recovery(every=5) > 4


@pytest.mark.faults
def test_power_is_cut_at_every_operation_of_an_upload_in_recovery(request: pytest.FixtureRequest) -> None:
    count(request, f"power cut at {cut_recovery(1)} operations of an upload in serial recovery")
