"""Applying a plan while others are about: another host at the same device, another device at the same port, and devices
that do not do as they say."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from config_bench import (
    FAST,
    FORMER,
    NEW,
    Cut,
    CutTransport,
    applied,
    bench_with_former,
    connected,
    file_of,
    held,
    kinds_of,
    outcome,
    planned,
    refuse_step,
    without_transactions,
)
from device_bench import Bench
from fieldlog.config.apply import apply, settle
from fieldlog.config.model import Located, Resolved
from fieldlog.device import Device
from fieldlog_protocol.commands import Empty, logger, settings
from fieldlog_protocol.commands.logger import LoggerError, TransactionStep
from fieldlog_protocol.errors import FieldlogError, RefusedError, VerificationError
from fieldlog_sim.plan import refuse
from virtual_link import run

FOREIGN = 777


def wants(values: dict[str, object], calibration: dict[str, object] | None = None, site: str | None = None) -> Resolved:
    return Resolved(
        settings={key: Located(value) for key, value in values.items()},
        calibration={key: Located(value) for key, value in (calibration or {}).items()},
        metadata=None if site is None else {"site": Located(site), "operator": Located("Ada")},
        log={},
    )


# another host


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        (wants({"alarm/high": 10.0, "sensor/trim": 4990}), wants({"alarm/high": 90.0}), "alarm/high"),
        (
            wants({"sensor/trim": 4990}, {"humidity": [1.0, 2.0]}),
            wants({}, {"humidity": [3.0, 1.0]}),
            "the calibration of environment/humidity",
        ),
        (wants({"sensor/trim": 4990}, site="Ridge"), wants({}, site="Mill"), "the metadata"),
    ],
    ids=["setting", "calibration", "metadata"],
)
@pytest.mark.parametrize("transactions", [True, False])
def test_what_the_plan_found_right_already_must_still_hold(
    mine: Resolved, theirs: Resolved, told: str, *, transactions: bool
) -> None:
    """Else the device held a mixture of two files, and both hosts would say that it holds theirs."""
    bench = bench_with_former()
    if not transactions:
        without_transactions(bench)

    async def work(device: Device) -> None:
        await settle(device)
        plan = await planned(device, mine)
        await connected(bench, lambda other: _apply(other, theirs))
        with pytest.raises(FieldlogError, match=rf"has changed since the plan was made: {told}\. Nothing was changed"):
            await apply(device, plan)

    run(bench, connected(bench, work))
    trim = bench.ask(settings.READ, settings.SettingReadRequest(name="sensor/trim")).val
    assert trim == struct.pack("<i", -20)


async def _apply(device: Device, wanted: Resolved) -> None:
    await apply(device, await planned(device, wanted))


def test_a_commit_is_not_repeated_into_what_another_host_has_written_in_half() -> None:
    bench = bench_with_former()
    low = bench.ask(settings.READ, settings.SettingReadRequest(name="alarm/low")).val

    def stage() -> None:
        bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=FOREIGN, secs=600))
        value = struct.pack("<f", -7.0)
        bench.ask(settings.WRITE, settings.SettingWriteRequest(name="alarm/low", val=value, t=FOREIGN))

    transport = Hooked(bench, FAST)

    def at_commit() -> None:
        transport.pull(70.0)
        asyncio.get_running_loop().call_later(65, stage)

    transport.at(settings.COMMIT.key[1:], at_commit)
    error = outcome(bench, transport)
    assert error is not None
    assert "out of reach for longer than its time limit of 60 s" in str(error)
    assert "The former values are back, and were read back" in str(error)
    assert held(bench) == FORMER
    assert bench.ask(settings.READ, settings.SettingReadRequest(name="alarm/low")).val == low
    assert bench.device.transactions.staging is not None, "the other host goes on"


# another device


@dataclass
class Hooked(CutTransport):
    """Does something instead of sending the first request of a kind."""

    hooks: dict[tuple[int, int], Callable[[], None]] = field(default_factory=dict[tuple[int, int], Callable[[], None]])

    def at(self, request: tuple[int, int], act: Callable[[], None]) -> None:
        self.hooks[request] = act

    def send(self, data: bytes) -> None:
        act = next((self.hooks.pop(kind) for kind in kinds_of(data) if kind in self.hooks), None)
        if act is None:
            super().send(data)
        else:
            act()

    def pull(self, away_s: float) -> None:
        self.cut = replace(self.cut, away_s=away_s)
        self._go_away()


def other_device(side: int) -> Bench:
    bench = Bench(seed=5)
    run(bench, applied(bench, file_of(side)))
    return bench


@pytest.mark.parametrize("side", [0, 1], ids=["holding the former values", "holding the new ones"])
@pytest.mark.parametrize("when", ["commit", "read back", "confirm"])
def test_another_device_at_the_port_is_not_taken_for_the_first(side: int, when: str) -> None:
    bench, other = bench_with_former(), other_device(side)
    before = held(other)
    transport = Hooked(bench, FAST)

    def swap() -> None:
        other.now = max(other.now, bench.now)
        transport.bench = other
        transport.pull(1.0)

    commit, transaction = settings.COMMIT.key[1:], logger.TRANSACTION.key[1:]
    if when == "commit":
        transport.at(commit, swap)
    else:
        asked = settings.READ.key[1:] if when == "read back" else transaction

        def committed() -> None:
            bench.ask(settings.COMMIT, Empty())
            transport.at(asked, swap)
            transport.pull(0.5)

        transport.at(commit, committed)
    error = outcome(bench, transport)
    assert isinstance(error, VerificationError)
    assert "another device is at" in str(error)
    assert held(other) == before
    assert other.device.transactions.staging is None
    bench.now = max(bench.now, other.now) + 120
    assert held(bench) == FORMER, "what nobody confirmed has gone"


def test_a_device_swapped_while_its_user_thinks_is_not_written() -> None:
    bench, other = bench_with_former(), other_device(0)
    transport = CutTransport(bench, FAST)

    async def work(device: Device) -> None:
        plan = await planned(device, file_of(1))
        await device.client.close()
        other.now = bench.now
        transport.bench = other
        await device.reopen()
        with pytest.raises(VerificationError, match=r"another device is at .*Nothing was changed"):
            await apply(device, plan)

    run(bench, connected(bench, work, transport))
    assert held(other) == FORMER


def test_the_first_device_that_comes_back_in_time_is_gone_on_with() -> None:
    bench, other = bench_with_former(), other_device(0)
    transport = Hooked(bench, FAST)

    def swap() -> None:
        other.now = bench.now
        transport.bench = other
        transport.pull(0.5)
        asyncio.get_running_loop().call_later(5.0, back)

    def back() -> None:
        transport.bench = bench
        bench.now = max(bench.now, other.now)
        transport.pull(0.5)

    transport.at(settings.COMMIT.key[1:], swap)
    assert outcome(bench, transport) is None
    assert held(bench) == NEW
    assert held(other) == FORMER


# devices that do not do as they say


def refuse_reading_on_trial(bench: Bench) -> None:
    handlers = bench.device

    def read(request: settings.SettingReadRequest) -> settings.SettingReadResponse:
        if handlers.transactions.trial is not None:
            raise refuse(LoggerError.FLASH)
        return settings.SettingReadResponse(val=handlers.settings.read(request.name))

    handlers.dispatcher.on(settings.READ, read)


def test_a_device_that_refuses_to_be_read_on_trial_is_told_to_go_back() -> None:
    bench = bench_with_former()
    refuse_reading_on_trial(bench)
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, RefusedError)
    assert "The former values are back, and were read back" in str(error)
    assert held(bench) == FORMER


def test_a_device_that_refuses_to_be_read_and_to_go_back_does_so_by_itself() -> None:
    bench = bench_with_former()
    refuse_reading_on_trial(bench)
    refuse_step(bench, TransactionStep.ABORT)
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, RefusedError)
    assert "goes back to all of its former values by itself, 60 s after" in str(error)
    assert "could not be read back" in str(error)


def test_a_device_that_refuses_to_keep_and_to_go_back_does_so_by_itself() -> None:
    bench = bench_with_former()
    refuse_step(bench, TransactionStep.ABORT, TransactionStep.CONFIRM)
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, RefusedError)
    assert "still has the new values and refuses to go back now" in str(error)
    assert "by itself, 60 s after" in str(error)


def test_a_commit_that_does_nothing_is_called_so() -> None:
    bench = bench_with_former()
    bench.device.dispatcher.on(settings.COMMIT, lambda _: Empty())
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, VerificationError)
    assert "said that the new values are in effect, and does not hold them" in str(error)
    assert "restarted" not in str(error)
    assert held(bench) == FORMER


def test_a_restart_on_trial_is_called_so() -> None:
    bench = bench_with_former()
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    commit = transport.asked.index(settings.COMMIT.key[1:])
    bench = bench_with_former()
    error = outcome(bench, CutTransport(bench, FAST, cut=Cut(restart=commit + 1)))
    assert "restarted, and so went back to its former values by itself" in str(error)


def test_a_change_that_stays_open_is_not_waited_for_without_end() -> None:
    bench = bench_with_former()
    bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=FOREIGN, secs=65_535))
    began, told = bench.now, list[str]()

    async def work(device: Device) -> None:
        with pytest.raises(RefusedError, match=r"has another change open.* after 20 s it still has 655\d\d s to go"):
            await settle(device, told.append, 20)

    run(bench, connected(bench, work))
    assert 20 <= bench.now - began <= 22
    (sentence,) = told
    assert "20 s at most" in sentence


def test_another_host_that_begins_while_its_user_thinks_is_not_waited_for_without_end() -> None:
    bench = bench_with_former()

    async def work(device: Device) -> None:
        plan = await planned(device, file_of(1))
        bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=FOREIGN, secs=65_535))
        with pytest.raises(RefusedError, match=r"has another change open.*Nothing was changed"):
            await apply(device, plan)

    run(bench, connected(bench, work))
    assert held(bench) == FORMER
