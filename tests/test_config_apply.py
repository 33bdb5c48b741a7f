"""Applying a plan, seen from outside: what the device holds afterwards, and what its user is told."""

from __future__ import annotations

import asyncio

import pytest

from config_bench import (
    FAST,
    FORMER,
    METADATA,
    NEW,
    Cut,
    CutTransport,
    applied,
    bench_with_former,
    connected,
    file_of,
    held,
    outcome,
    planned,
    refuse_step,
    without_transactions,
)
from fieldlog.config.apply import apply, settle
from fieldlog.config.model import Change, Plan
from fieldlog.config.transaction import Transaction, nobody
from fieldlog.config.values import Setting
from fieldlog.device import Device
from fieldlog_protocol.commands import Empty, logger, settings
from fieldlog_protocol.commands.logger import LoggerError, SettingFlag, SettingType, TransactionStep
from fieldlog_protocol.errors import FieldlogError, LinkError, RefusedError, VerificationError
from fieldlog_sim.plan import refuse
from virtual_link import run


def test_a_plan_is_applied_whole_and_outlasts_a_restart() -> None:
    bench = bench_with_former()
    plan, done = run(bench, applied(bench, file_of(1)))
    assert (done.transaction, done.kept, done.link, done.notes) == (True, True, None, ())
    assert (len(plan.settings), len(plan.calibration)) == (6, 2)
    assert held(bench) == NEW
    bench.power_cycle()
    assert held(bench) == NEW
    plan, done = run(bench, applied(bench, file_of(1)))
    assert plan.empty


def test_a_device_that_has_changed_since_is_not_touched() -> None:
    bench = bench_with_former()

    async def work(device: Device) -> None:
        plan = await planned(device, file_of(1))
        await device.write_setting("log/led", b"\0")
        with pytest.raises(FieldlogError, match=r"has changed since.*log/led.*Nothing was changed"):
            await apply(device, plan)

    run(bench, connected(bench, work))
    assert (held(bench).calibration, held(bench).metadata) == (FORMER.calibration, FORMER.metadata)
    assert run(bench, applied(bench, file_of(1)))[1].transaction


def test_a_value_that_the_device_refuses_leaves_the_former_ones() -> None:
    bench = bench_with_former()
    trim = Setting("sensor/trim", SettingType.I32, "Pa", None, None, None, None, SettingFlag(0), "", ())

    async def work(device: Device) -> None:
        plan = await planned(device, file_of(1))
        bad = Change(trim, plan.settings[2].former, (15).to_bytes(4, "little"))
        with pytest.raises(RefusedError, match="Nothing was changed: the former values hold"):
            await apply(device, Plan((*plan.settings[:2], bad, *plan.settings[3:]), plan.calibration, plan.metadata))

    run(bench, connected(bench, work))
    assert held(bench) == FORMER
    assert not bench.device.transactions.staging, "nothing is left open"


@pytest.mark.parametrize("committed", [False, True])
def test_a_change_that_another_host_left_open_is_waited_for(*, committed: bool) -> None:
    """It was killed, say. What it had on trial must not be taken for what holds."""
    bench = bench_with_former()

    async def killed(device: Device) -> None:
        plan = await planned(device, file_of(1))
        transaction = Transaction(device, 30)
        await transaction.begin(nobody)
        await transaction.write(plan)
        if committed:
            await transaction.commit()

    run(bench, connected(bench, killed))
    began, told = bench.now, list[str]()

    async def work(device: Device) -> Plan:
        await settle(device, told.append)
        return await planned(device, file_of(1))

    plan = run(bench, connected(bench, work))
    assert held(bench) == FORMER
    assert len(plan.settings) == 6
    assert 29 <= bench.now - began <= 32
    (sentence,) = told
    assert "Waiting until it ends, 30 s at most" in sentence


def test_an_interrupted_host_takes_it_back() -> None:
    bench = bench_with_former()

    async def work(device: Device) -> None:
        committed = asyncio.Event()

        def commit(_: Empty) -> Empty:
            bench.device.transactions.commit(bench.device.now_us())
            committed.set()
            return Empty()

        plan = await planned(device, file_of(1))
        bench.device.dispatcher.on(settings.COMMIT, commit)
        task = asyncio.ensure_future(apply(device, plan))
        await committed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(bench, connected(bench, work))
    assert bench.device.transactions.trial is None
    assert held(bench) == FORMER


def test_a_device_whose_flash_is_full_goes_back() -> None:
    bench = bench_with_former()
    refuse_step(bench, TransactionStep.CONFIRM)
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, RefusedError)
    assert error.code == LoggerError.FLASH
    assert "The former values are back, and were read back" in str(error)
    assert held(bench) == FORMER


def test_a_device_that_takes_less_than_it_says_goes_back() -> None:
    bench = bench_with_former()
    bench.device.dispatcher.on(logger.CALIBRATE, lambda _: Empty())
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, VerificationError)
    assert "calibration of environment/temperature" in str(error)
    assert "The former values are back, and were read back" in str(error)
    assert held(bench) == FORMER


def test_a_lost_reply_to_confirm_is_asked_for_again() -> None:
    bench = bench_with_former()
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    again = bench_with_former()
    lost = CutTransport(again, FAST, cut=Cut(reply=transport.replies - 1, away_s=40.0))
    assert outcome(again, lost) is None
    assert held(again) == NEW


def test_a_link_that_is_back_soon_is_gone_on_with_once_the_change_is_on_trial() -> None:
    """Before that nothing was changed, and it says so at once."""
    bench = bench_with_former()
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    completed: list[bool] = []
    for number in range(transport.requests):
        bench = bench_with_former()
        completed.append(outcome(bench, CutTransport(bench, FAST, cut=Cut(request=number, away_s=3.0))) is None)
    committed = transport.asked.index(settings.COMMIT.key[1:])
    assert completed == [number >= committed for number in range(transport.requests)]


def test_a_host_that_never_sees_the_device_again_says_what_is_not_known() -> None:
    bench = bench_with_former()
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    for last, words in (
        (1, "whether the device was still told to keep them is not known"),
        (3, "by now it has gone back"),
    ):
        bench = bench_with_former()
        error = outcome(bench, CutTransport(bench, FAST, cut=Cut(reply=transport.replies - last)))
        assert isinstance(error, LinkError)
        assert words in str(error)


def test_who_watches_is_told_what_the_device_does_and_no_more() -> None:
    """Away for so long that it has gone back: nobody brings it back any more, nor tries for 0 s."""
    bench = bench_with_former()
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    committed = transport.asked.index(settings.COMMIT.key[1:]) + 1
    told: list[str] = []
    bench = bench_with_former()
    assert outcome(bench, CutTransport(bench, FAST, cut=Cut(request=committed)), 3, told.append) is not None
    assert [said.rpartition(". ")[2] for said in told] == [
        "Trying to reach it again for 19 s",
        "By now it has gone back to its former values by itself; looking for it once more",
    ]
    told.clear()
    bench = bench_with_former()
    assert outcome(bench, CutTransport(bench, FAST, cut=Cut(request=committed, away_s=6.0)), 3, told.append) is not None
    assert told[-1].endswith("out of reach for longer than its time limit of 3 s. Reading back whether it holds them")


# devices without transactions


def test_without_transactions_values_are_written_in_order_and_it_says_so() -> None:
    bench = bench_with_former()
    without_transactions(bench)
    _, done = run(bench, applied(bench, file_of(1)))
    assert not done.transaction
    assert "has no transactions: its values were written one after another" in done.notes[0]
    assert held(bench) == NEW
    bench.power_cycle()
    assert held(bench) == NEW


def test_without_transactions_a_failure_takes_back_what_can_be() -> None:
    bench = bench_with_former()
    without_transactions(bench)

    def calibrate(_: logger.CalibrateRequest) -> Empty:
        raise refuse(LoggerError.FLASH)

    bench.device.dispatcher.on(logger.CALIBRATE, calibrate)
    error = outcome(bench, CutTransport(bench, FAST))
    assert isinstance(error, RefusedError)
    assert "up to 7 of the new values had been written" in str(error)
    assert held(bench).settings == FORMER.settings


def test_without_transactions_a_lost_link_says_that_it_may_hold_a_part() -> None:
    bench = bench_with_former()
    without_transactions(bench)
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    bench = bench_with_former()
    without_transactions(bench)
    error = outcome(bench, CutTransport(bench, FAST, cut=Cut(request=transport.requests - 12)))
    assert isinstance(error, LinkError)
    assert "It may hold a part of them" in str(error)


def test_metadata_that_nobody_understands_is_replaced_and_comes_back() -> None:
    bench = bench_with_former()
    blob = b"\xff of another kind"
    bench.ask(logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=len(blob), d=blob))
    refuse_step(bench, TransactionStep.CONFIRM)
    assert isinstance(outcome(bench, CutTransport(bench, FAST)), RefusedError)
    assert bench.ask(logger.METADATA_READ, logger.MetadataRequest()).d == blob
    bench.power_cycle()
    assert outcome(bench, CutTransport(bench, FAST)) is None
    assert dict(held(bench).metadata) == METADATA[1]
