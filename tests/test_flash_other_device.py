"""An update never goes on with another device that was put in the place of the one it began with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from device_bench import Bench
from fieldlog.flash import FlashOptions, Outcome
from fieldlog.steady_link import OtherDevice
from fieldlog_protocol.commands import logger
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError, VerificationError
from fieldlog_protocol.wire import Packet, encode_error
from flash_bench import FAST, FlashBench, Told, firmware, install, planned, runs, slots
from virtual_link import VirtualTransport

NEW = firmware("2.0.0", 30_000)


class TwinBench(FlashBench):
    """Both live in the same time."""

    def __init__(self, seed: int, clock: list[float]) -> None:
        self.clock = clock
        super().__init__(seed=seed)

    @property  # type: ignore[override]
    def now(self) -> float:
        return self.clock[0]

    @now.setter
    def now(self, value: float) -> None:
        self.clock[0] = max(value, self.clock[0])


@dataclass
class Swapped(VirtualTransport):
    """When the link is gone, the other device is put to its end, and stays there for so many openings."""

    other: Bench | None = field(default=None)
    stays: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own = self.bench

    async def open(self, sink: Any) -> None:
        if self.seen["cut off"] and self.other is not None:
            self.bench, self._left = self.other if self.stays > 0 else self.own, None
            self.stays -= 1
        await super().open(sink)


def two() -> tuple[TwinBench, TwinBench]:
    clock = [0.0]
    first, second = TwinBench(1, clock), TwinBench(2, clock)
    second.arm(label="precious", wrap=True)
    second.wait(120, 2)
    return first, second


def without_logger(bench: FlashBench) -> None:
    asked = bench.device.handle

    def handle(packet: Packet, arrived: float, now: float) -> bytes | None:
        if packet.group == logger.INFO.group:
            return encode_error(packet.version, Rc.NOT_SUPPORTED, None)
        return asked(packet, arrived, now)

    bench.device.handle = handle  # type: ignore[method-assign]


@pytest.mark.parametrize("pieces", [12, 25, 33, 40, 47, 50, 60, 70])
def test_another_device_at_the_same_port_is_left_alone(pieces: int) -> None:
    first, second = two()
    transport = Swapped(first, replace(FAST, deliveries=pieces), other=second)
    boots, held = second.device.boot_id, slots(second)
    with pytest.raises(OtherDevice, match=r"another device is at the bench.*Nothing was done to it") as told:
        install(first, NEW, FlashOptions(return_s=60), transport=transport)
    assert str(told.value).lower().count("repeat the command") == 1
    assert (second.device.boot_id, slots(second), second.state()) == (boots, held, logger.State.LOGGING)


@pytest.mark.parametrize("pieces", [12, 33, 47, 60])
def test_a_device_that_comes_back_to_its_port_after_another_was_there_is_updated(pieces: int) -> None:
    """As where USB ports change places for a moment while devices come up again."""
    first, second = two()
    transport = Swapped(first, replace(FAST, deliveries=pieces), other=second, stays=3)
    boots, held = second.device.boot_id, slots(second)
    assert install(first, NEW, FlashOptions(return_s=60), transport=transport).outcome is Outcome.CONFIRMED
    assert transport.stays < 0
    assert (runs(first), runs(second)) == (("2.0.0", True), ("1.0.0", True))
    assert (second.device.boot_id, slots(second), second.state()) == (boots, held, logger.State.LOGGING)


def test_the_same_device_goes_on_and_its_user_hears_why_it_took_a_while() -> None:
    first, told = FlashBench(), Told()
    transport = Swapped(first, replace(FAST, deliveries=33), other=first)
    assert install(first, NEW, transport=transport, told=told).outcome is Outcome.CONFIRMED
    assert [step for step in told.steps if "opening it again, for up to 30 s" in step]


def test_a_device_without_uid_is_known_by_what_it_runs() -> None:
    first, second = two()
    without_logger(first)
    without_logger(second)
    transport = Swapped(first, replace(FAST, deliveries=30), other=second)
    with pytest.raises(OtherDevice, match=r"runs 1\.0\.0, which was never on this one"):
        install(first, NEW, FlashOptions(return_s=60), transport=transport)
    assert set(slots(second)) == {0}


def test_that_twins_without_uid_cannot_be_told_apart_is_said_before() -> None:
    stock = FlashBench()
    without_logger(stock)
    (said,) = [note for note in planned(stock, NEW).notes if "has no uid" in note]
    assert "put no other in its place meanwhile" in said
    assert not [note for note in planned(FlashBench(), NEW).notes if "uid" in note]


def moved(asked: int) -> bool:
    """Move the plug after so many requests, without anything hanging up; answers whether the other one took pieces."""
    first, second = two()
    honest, left = first.device.handle, [asked]

    def handle(packet: Packet, arrived: float, now: float) -> bytes | None:
        left[0] -= 1
        return honest(packet, arrived, now) if left[0] > 0 else second.device.handle(packet, arrived, now)

    first.device.handle = handle  # type: ignore[method-assign]
    boots = second.device.boot_id
    with pytest.raises((VerificationError, RefusedError)):
        install(first, NEW, FlashOptions(return_s=20))
    assert (second.device.boot_id, second.state(), runs(second)) == (boots, logger.State.LOGGING, ("1.0.0", True)), (
        asked
    )
    assert not any(slot.pending for slot in slots(second).values()), f"{asked}: it would be started some day"
    return set(slots(second)) != {0}


def test_a_line_that_does_not_break_may_lead_to_another_device_too() -> None:
    """As a plug that is moved on a serial adapter. Only what is moved between a look and the first piece goes unseen."""
    assert sum(moved(asked) for asked in range(1, 60, 3)) <= 1


def test_the_other_device_is_not_restarted_either() -> None:
    """It takes the place of the first when that is ready to be restarted."""
    first, second = two()
    honest = first.device.handle

    def handle(packet: Packet, arrived: float, now: float) -> bytes | None:
        marked = first.device.boot_loader.areas[0].slot1_in_use
        return second.device.handle(packet, arrived, now) if marked else honest(packet, arrived, now)

    first.device.handle = handle  # type: ignore[method-assign]
    boots = second.device.boot_id
    with pytest.raises(OtherDevice, match=r"Nothing was done to it.*2\.0\.0 is on the device and marked for one test"):
        install(first, NEW, FlashOptions(return_s=20))
    assert (second.device.boot_id, second.state()) == (boots, logger.State.LOGGING)
