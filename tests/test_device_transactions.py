"""The settings transaction from outside, with all that belongs to it: settings, calibrations and metadata, all or nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from device_bench import Bench, PowerLost
from fieldlog_protocol.blocks.block import Kind
from fieldlog_protocol.commands import Command, Group, logger, settings
from fieldlog_protocol.commands.logger import LoggerError, TransactionStep
from fieldlog_protocol.errors import RefusedError
from settings_bench import FORMER, NAME, NEW, commit, present, refused, save, transact, write

CALIBRATED = ((0, 0), (0.12, 1.0004)), ((0, 1), (-1.5, 0.99, 1e-5))
FORMER_METADATA, NEW_METADATA = b"\xa1\x64site\x65Ridge", bytes(400)


def calibrations(bench: Bench) -> list[tuple[float, ...] | None]:
    return [channel.cal for channel in bench.ask(logger.STREAMS, logger.StreamsRequest()).ch[:2]]


def metadata(bench: Bench) -> bytes:
    return bench.ask(logger.METADATA_READ, logger.MetadataRequest()).d


def calibrate(bench: Bench, t: int | None = None) -> None:
    for (stream, channel), cal in CALIBRATED:
        request = logger.CalibrateRequest(id=next(bench.request_ids), s=stream, c=channel, cal=cal, t=t)
        bench.ask(logger.CALIBRATE, request)


def write_metadata(bench: Bench, blob: bytes, t: int | None = None) -> None:
    for at in range(0, len(blob), 256):
        page = logger.MetadataWriteRequest(o=at, len=len(blob), d=blob[at : at + 256], t=t)
        bench.ask(logger.METADATA_WRITE, page)


def everything(bench: Bench) -> tuple[dict[str, bytes], list[tuple[float, ...] | None], bytes]:
    return present(bench), calibrations(bench), metadata(bench)


ALL_FORMER = FORMER, [None, None], FORMER_METADATA
ALL_NEW = NEW, [cal for _, cal in CALIBRATED], NEW_METADATA


def with_all_former(**options: Any) -> Bench:
    bench = Bench(**options)
    write(bench, FORMER)
    save(bench)
    write_metadata(bench, FORMER_METADATA)
    return bench


def stage_all(bench: Bench, t: int | None = None) -> None:
    for key, value in NEW.items():
        bench.ask(settings.WRITE, settings.SettingWriteRequest(name=key, val=value, t=t))
    calibrate(bench, t)
    write_metadata(bench, NEW_METADATA, t)


@pytest.mark.parametrize("how", ["confirm", "abort", "power", "time"])
def test_calibrations_and_metadata_are_staged_tried_and_kept_with_the_settings(how: str) -> None:
    bench = with_all_former()
    transact(bench, TransactionStep.BEGIN, secs=30)
    stage_all(bench, t=1)
    assert everything(bench) == ALL_FORMER, "staged"
    commit(bench)
    assert everything(bench) == ALL_NEW, "on trial"
    if how == "power":
        bench.power_cycle()
    elif how == "time":
        bench.wait(31)
    else:
        transact(bench, TransactionStep.CONFIRM if how == "confirm" else TransactionStep.ABORT)
    assert everything(bench) == (ALL_NEW if how == "confirm" else ALL_FORMER)
    bench.power_cycle()
    assert everything(bench) == (ALL_NEW if how == "confirm" else ALL_FORMER)


def test_a_session_is_described_anew_only_when_a_calibration_is_confirmed() -> None:
    bench = with_all_former()
    bench.arm(label="trial")
    bench.wait(60)

    def change(step: TransactionStep, id: int) -> None:
        transact(bench, TransactionStep.BEGIN, id=id)
        stage_all(bench, t=id)
        commit(bench)
        bench.wait(30)
        transact(bench, step, id=id)
        bench.wait(30)
        bench.seal()

    def described() -> int:
        return sum(block.header.kind == Kind.SCHEMA for block in bench.blocks())

    before = described()
    change(TransactionStep.ABORT, 1)
    assert described() == before
    change(TransactionStep.CONFIRM, 2)
    assert described() > before


# writes that name their transaction


def test_a_write_that_names_its_transaction_is_refused_outside_of_it() -> None:
    """Such as one that was on its way while the device restarted: it must not act at once."""
    bench = with_all_former()

    def all_refused(t: int) -> bool:
        requests: list[tuple[Command[Any, Any], Any]] = [
            (settings.WRITE, settings.SettingWriteRequest(name=NAME, val=b"late", t=t)),
            (logger.CALIBRATE, logger.CalibrateRequest(id=1, s=0, c=0, cal=(1.0,), t=t)),
            (logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=1, d=b"x", t=t)),
        ]
        wanted = (Group.LOGGER, LoggerError.NO_TRANSACTION)
        return all(bench.refusal(command, request) == wanted for command, request in requests)

    assert all_refused(1), "none is open"
    transact(bench, TransactionStep.BEGIN)
    assert all_refused(2), "another is open"
    stage_all(bench, t=1)
    bench.power_cycle()
    assert all_refused(1), "the device has restarted"
    transact(bench, TransactionStep.BEGIN, id=2)
    stage_all(bench, t=2)
    commit(bench)
    assert all_refused(2), "it is on trial"
    transact(bench, TransactionStep.ABORT, id=2)
    assert refused(bench, TransactionStep.BEGIN, id=2) == LoggerError.NO_TRANSACTION, "given up for good"
    assert everything(bench) == ALL_FORMER


def test_nothing_is_written_beside_a_trial() -> None:
    bench = with_all_former()
    transact(bench, TransactionStep.BEGIN, secs=30)
    commit(bench)
    bench.wait(10.5)
    requests: list[tuple[Command[Any, Any], Any]] = [
        (settings.WRITE, settings.SettingWriteRequest(name=NAME, val=b"beside")),
        (settings.DELETE, settings.SettingDeleteRequest(name=NAME)),
        (logger.CALIBRATE, logger.CalibrateRequest(id=1, s=0, c=0, cal=(1.0,))),
        (logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=1, d=b"x")),
        (logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=2)),
    ]
    for command, request in requests:
        with pytest.raises(RefusedError) as caught:
            bench.ask(command, request)
        assert (caught.value.group, caught.value.code) == (Group.LOGGER, LoggerError.TRANSACTION_OPEN)
        assert caught.value.details == {"left": 20}
    bench.wait(20)
    assert everything(bench) == ALL_FORMER


def test_staging_lasts_as_long_as_writes_come() -> None:
    bench = with_all_former()
    transact(bench, TransactionStep.BEGIN, secs=30)
    for value in NEW.items():
        bench.wait(20)
        write(bench, dict([value]))
    bench.wait(31)
    commit(bench)
    assert refused(bench, TransactionStep.CONFIRM) == LoggerError.NO_TRANSACTION
    assert everything(bench) == ALL_FORMER


def test_a_deleted_setting_is_staged_too() -> None:
    bench = with_all_former()
    transact(bench, TransactionStep.BEGIN)
    bench.ask(settings.DELETE, settings.SettingDeleteRequest(name=NAME))
    assert present(bench) == FORMER
    commit(bench)
    transact(bench, TransactionStep.CONFIRM)
    bench.power_cycle()
    assert present(bench) == FORMER | {NAME: b""}


def change_all(bench: Bench, id: int) -> None:
    transact(bench, TransactionStep.BEGIN, id=id)
    stage_all(bench, t=id)
    commit(bench)
    transact(bench, TransactionStep.CONFIRM, id=id)


def cut_a_change(fill: int, cut: int, *, recording: bool) -> bool:
    """Power goes at flash operation `cut` of a change of all there is; False when there are not so many."""
    bench = with_all_former()
    for number in range(fill):  # so that records fall on every place of a half, its end included
        write(bench, {"sensor/key": number.to_bytes(16)})
        save(bench, "sensor/key")
    if recording:
        bench.arm(label="cut")
        bench.wait(5)
    bench.device.flash.cut_after = cut
    try:
        change_all(bench, 1)
    except PowerLost:
        was_cut = True
    else:
        was_cut = bench.device.boot_id > 1
    bench.device.flash.cut_after = None
    after = everything(bench)
    assert after in ((ALL_FORMER, ALL_NEW) if was_cut else (ALL_NEW,)), f"a mixture after cut {cut}, fill {fill}"
    bench.power_cycle()
    assert everything(bench) == after, f"cut {cut}, fill {fill}"
    change_all(bench, 2)
    bench.power_cycle()
    assert everything(bench) == ALL_NEW, f"cut {cut}, fill {fill}"
    return was_cut


def cut_every_operation(fill: int, *, recording: bool) -> int:
    cut = 1
    while cut_a_change(fill, cut, recording=recording):
        cut += 1
    return cut - 1


FILLS_PER_HALF = 580
"""More than the changes that a half of the store takes."""


def test_power_cuts_leave_all_or_nothing_of_a_change() -> None:
    fills = random.Random(3).sample(range(FILLS_PER_HALF), 2)
    assert sum(cut_every_operation(fill, recording=False) for fill in fills) >= 3
    assert cut_every_operation(0, recording=True) >= 3


@pytest.mark.faults
def test_power_cuts_leave_all_or_nothing_of_a_change_in_full(request: pytest.FixtureRequest) -> None:
    fills = (*range(0, 480, 60), *range(480, FILLS_PER_HALF, 4))
    cuts = sum(cut_every_operation(fill, recording=fill % 60 == 0) for fill in fills)
    request.node.user_properties.append(("counted", f"power cut at {cuts} operations of settings transactions"))
