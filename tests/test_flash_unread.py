"""Updates of devices that do not tell all of themselves: the update may be what repairs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import image_tool
from fieldlog.device import Device as HostDevice
from fieldlog.flash import Flashed, FlashOptions, Outcome
from fieldlog.flash_recovery import recover
from fieldlog.pinned_keys import Pin, PinnedKeys
from fieldlog_protocol.commands import Group, image, logger
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError, VerificationError
from flash_bench import FAST, FlashBench, firmware, install, package, planned, runs
from flash_lies import Answer, lying, refuse, runs_new
from virtual_link import VirtualTransport, run

NEW = firmware("2.0.0")


def _without_uid(asked: Any) -> Answer:
    return {key: value for key, value in asked().items() if key != "uid"}


def unreadable(answer: Any, *, for_good: bool = False) -> FlashBench:
    """A logger that describes itself wrongly, until the new firmware runs."""
    bench = FlashBench()
    return lying(bench, logger.INFO, lambda _, asked: asked() if runs_new(bench) and not for_good else answer(asked))


def _refused(_: Any) -> Answer:
    return refuse(2, Group.LOGGER)


def _garbled(_: Any) -> Answer:
    return b"\xff"


@pytest.mark.parametrize("answer", [_without_uid, _refused, _garbled])
def test_a_logger_that_cannot_be_read_is_updated(answer: Any) -> None:
    bench = unreadable(answer)
    assert any("whether it records a session" in note for note in planned(bench, NEW).notes)
    assert install(bench, NEW).outcome is Outcome.CONFIRMED
    assert runs(bench) == ("2.0.0", True)


def test_one_that_stays_unreadable_is_updated_too() -> None:
    assert install(unreadable(_without_uid, for_good=True), NEW).outcome is Outcome.CONFIRMED


def test_no_key_is_pinned_to_a_logger_whose_uid_is_not_told(tmp_path: Path) -> None:
    pins = PinnedKeys(tmp_path / "pins.json")
    wanted = FlashOptions(key=image_tool.public_key("ed25519"), pins=pins, pin=True)
    with pytest.raises(VerificationError, match=r"does not tell it.*leave --pin-key out"):
        install(unreadable(_without_uid), NEW, wanted)


def test_where_keys_are_pinned_one_is_wanted_for_who_does_not_say_who_it_is(tmp_path: Path) -> None:
    pins = PinnedKeys(tmp_path / "pins.json")
    wanted = FlashOptions(pins=pins)
    pins.keep("link:another", Pin(image_tool.public_key("ed25519")))
    assert planned(unreadable(_without_uid), NEW, wanted)
    pins.keep("uid:00", Pin(image_tool.public_key("ed25519")))
    with pytest.raises(VerificationError, match=r"does not say who it is.*not changed; give the key.*with --key"):
        install(unreadable(_without_uid), NEW, wanted)
    signed = image_tool.sign(tmp_path, "-k", image_tool.key("ed25519"), version="2.0.0").read_bytes()
    done = install(unreadable(_without_uid), signed, replace(wanted, key=image_tool.public_key("ed25519")))
    assert done.outcome is Outcome.CONFIRMED


def test_a_busy_logger_is_asked_again() -> None:
    left = [2]

    def lie(_: Any, asked: Any) -> Answer:
        left[0] -= 1
        return refuse(Rc.BUSY) if left[0] >= 0 else asked()

    plan = planned(lying(FlashBench(), logger.INFO, lie), NEW)
    assert (plan.survey.logger is None, plan.survey.unread) == (False, None)


def test_firmware_that_cannot_list_its_images_makes_way_for_recovery() -> None:
    bench = FlashBench()

    def lie(_: Any, asked: Any) -> Answer:
        return asked() if bench.device.recovery or runs_new(bench) else refuse(Rc.MESSAGE_SIZE)

    lying(bench, image.STATE_READ, lie)
    with pytest.raises(RefusedError, match="does not fit its buffers"):
        install(bench, NEW)

    async def work() -> Flashed:
        client = VirtualTransport(bench, FAST).client()
        await client.open()
        try:
            return await recover(HostDevice(client), package(NEW))
        finally:
            await client.close()

    assert run(bench, work()).version == "2.0.0"
    assert runs(bench)[0] == "2.0.0"
