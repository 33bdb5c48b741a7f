"""Settings from outside: the stock group, and the transaction that changes any number of them at once or not at all."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from typing import Any

import pytest

from device_bench import Bench, PowerLost
from fieldlog_protocol.blocks.block import Kind
from fieldlog_protocol.commands import Command, Empty, Group, basic, logger, settings
from fieldlog_protocol.commands.logger import LoggerError, TransactionStep
from fieldlog_protocol.errors import RefusedError

NAME, LED, TRIM, AGE = "device/name", "log/led", "sensor/trim", "log/max_age"
FORMER = {NAME: b"former", LED: b"\1", TRIM: struct.pack("<i", -20), AGE: struct.pack("<I", 7)}
NEW = {NAME: b"new", LED: b"\0", TRIM: struct.pack("<i", 4990), AGE: struct.pack("<I", 604_800)}


def read(bench: Bench, key: str) -> bytes:
    return bench.ask(settings.READ, settings.SettingReadRequest(name=key)).val


def write(bench: Bench, values: dict[str, bytes]) -> None:
    for key, value in values.items():
        bench.ask(settings.WRITE, settings.SettingWriteRequest(name=key, val=value))


def present(bench: Bench, keys: Iterable[str] = NEW) -> dict[str, bytes]:
    return {key: read(bench, key) for key in keys}


def save(bench: Bench, name: str | None = None) -> None:
    bench.ask(settings.SAVE, settings.SettingSaveRequest(name=name))


def commit(bench: Bench) -> None:
    bench.ask(settings.COMMIT, Empty())


def transact(bench: Bench, step: TransactionStep, id: int = 1, secs: int | None = None) -> None:
    bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=step, id=id, secs=secs))


def refused(bench: Bench, step: int, id: int = 1) -> int:
    return bench.fl_refusal(logger.TRANSACTION, logger.TransactionRequest(step=step, id=id))


def with_former() -> Bench:
    bench = Bench()
    write(bench, FORMER)
    save(bench)
    return bench


# the stock group


def test_a_write_acts_at_once_and_is_kept_only_when_saved() -> None:
    bench = Bench()
    write(bench, FORMER)
    assert present(bench) == FORMER
    bench.power_cycle()
    assert read(bench, NAME) == b""
    write(bench, FORMER)
    save(bench, "log")
    save(bench, NAME)
    bench.power_cycle()
    assert present(bench) == FORMER | {TRIM: struct.pack("<i", 0)}


def test_load_brings_back_what_is_stored_and_delete_the_default() -> None:
    bench = with_former()
    write(bench, NEW)
    bench.ask(settings.LOAD, Empty())
    assert present(bench) == FORMER
    bench.ask(settings.DELETE, settings.SettingDeleteRequest(name=NAME))
    assert read(bench, NAME) == b""
    bench.power_cycle()
    assert present(bench) == FORMER | {NAME: b""}


def test_erasing_the_storage_brings_the_defaults_with_the_next_restart() -> None:
    bench = with_former()
    bench.ask(basic.ERASE_STORAGE, Empty())
    assert present(bench) == FORMER
    bench.power_cycle()
    assert (read(bench, NAME), read(bench, LED)) == (b"", b"\1")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (LED, b"\2"),
        (LED, b"\0\0"),
        (LED, b""),
        (TRIM, struct.pack("<i", -5001)),
        (TRIM, struct.pack("<i", 5001)),
        (TRIM, struct.pack("<i", 15)),
        (TRIM, struct.pack("<q", 0)),
        (AGE, struct.pack("<I", 604_801)),
        ("alarm/high", struct.pack("<f", float("nan"))),
        ("alarm/high", struct.pack("<f", 120.5)),
        ("sensor/oversampling", b"\5"),
        ("sensor/key", b"x" * 17),
        (NAME, b"x" * 33),
        (NAME, b"\xff\xfe"),
        ("no/such/key", b"\0"),
    ],
)
def test_a_value_that_is_refused_is_group_3_code_5(key: str, value: bytes) -> None:
    bench = with_former()
    request = settings.SettingWriteRequest(name=key, val=value)
    assert bench.refusal(settings.WRITE, request) == (Group.SETTINGS, settings.ROOT_KEY_NOT_FOUND)
    assert present(bench) == FORMER


def test_other_refusals_of_the_settings_group() -> None:
    bench = Bench()
    cases: tuple[tuple[Command[Any, Any], Any, int], ...] = (
        (settings.READ, settings.SettingReadRequest(name="no/such"), settings.KEY_NOT_FOUND),
        (settings.READ, settings.SettingReadRequest(name="k" * 65), settings.KEY_TOO_LONG),
        (settings.DELETE, settings.SettingDeleteRequest(name="no/such"), settings.KEY_NOT_FOUND),
        (settings.SAVE, settings.SettingSaveRequest(name="no/such"), settings.KEY_NOT_FOUND),
        (settings.WRITE, settings.SettingWriteRequest(name="device/serial", val=b"x"), settings.WRITE_NOT_SUPPORTED),
        (settings.DELETE, settings.SettingDeleteRequest(name="device/serial"), settings.DELETE_NOT_SUPPORTED),
    )
    for command, message, code in cases:
        assert bench.refusal(command, message) == (Group.SETTINGS, code)
        assert code in command.errors
    assert read(bench, "device/serial").decode() == bench.info().serial


def test_a_read_may_ask_for_less() -> None:
    bench = with_former()
    short = bench.ask(settings.READ, settings.SettingReadRequest(name=NAME, max_size=3))
    assert short == settings.SettingReadResponse(val=b"for")
    more = bench.ask(settings.READ, settings.SettingReadRequest(name=NAME, max_size=100_000))
    assert (more.val, more.max_size) == (b"former", 256)


# the transaction


def test_a_transaction_stages_tries_and_keeps() -> None:
    bench = with_former()
    transact(bench, TransactionStep.BEGIN)
    write(bench, NEW)
    assert present(bench) == FORMER, "staged"
    commit(bench)
    assert present(bench) == NEW, "on trial"
    transact(bench, TransactionStep.CONFIRM)
    bench.power_cycle()
    assert present(bench) == NEW


def test_repeated_steps_answer_the_same() -> None:
    bench = with_former()
    for _ in range(2):
        transact(bench, TransactionStep.BEGIN)
        write(bench, NEW)
    commit(bench)
    commit(bench)
    transact(bench, TransactionStep.BEGIN)
    assert present(bench) == NEW, "begun already"
    for _ in range(2):
        transact(bench, TransactionStep.CONFIRM)
    transact(bench, TransactionStep.BEGIN, id=2)
    write(bench, FORMER)
    commit(bench)
    for _ in range(2):
        transact(bench, TransactionStep.ABORT, id=2)
    assert present(bench) == NEW
    bench.power_cycle()
    transact(bench, TransactionStep.CONFIRM)  # the id of the last one confirmed outlasts a restart
    transact(bench, TransactionStep.BEGIN)
    assert refused(bench, TransactionStep.ABORT) == LoggerError.NO_TRANSACTION, "nothing brings the former values back"
    transact(bench, TransactionStep.BEGIN, id=3)  # the late repetition of its begin had opened nothing


def test_steps_out_of_turn_are_refused() -> None:
    bench = with_former()
    assert refused(bench, TransactionStep.CONFIRM) == LoggerError.NO_TRANSACTION
    assert refused(bench, 3) == LoggerError.OUT_OF_RANGE
    transact(bench, TransactionStep.BEGIN)
    assert refused(bench, TransactionStep.BEGIN, id=2) == LoggerError.TRANSACTION_OPEN
    assert refused(bench, TransactionStep.CONFIRM) == LoggerError.NO_TRANSACTION, "not committed yet"
    assert refused(bench, TransactionStep.ABORT, id=2) == LoggerError.NO_TRANSACTION
    write(bench, NEW)
    commit(bench)
    assert refused(bench, TransactionStep.CONFIRM, id=2) == LoggerError.NO_TRANSACTION
    transact(bench, TransactionStep.CONFIRM)
    assert present(bench) == NEW


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("how", ["abort", "power", "time"])
def test_the_former_values_come_back(how: str, *, committed: bool) -> None:
    bench = with_former()
    transact(bench, TransactionStep.BEGIN, secs=30)
    write(bench, NEW)
    if committed:
        commit(bench)
    if how == "abort":
        transact(bench, TransactionStep.ABORT)
    elif how == "power":
        bench.power_cycle()
    else:
        bench.wait(31)
    assert present(bench) == FORMER
    assert refused(bench, TransactionStep.CONFIRM) == LoggerError.NO_TRANSACTION
    write(bench, {NAME: b"at once"})
    assert read(bench, NAME) == b"at once"


def test_the_time_limit_runs_anew_from_the_commit() -> None:
    """Staging over a slow link takes its time; what the limit protects is the trial."""
    bench = with_former()
    transact(bench, TransactionStep.BEGIN, secs=30)
    write(bench, NEW)
    bench.wait(20)
    commit(bench)
    bench.wait(20)
    commit(bench)
    assert present(bench) == NEW
    bench.wait(9)
    assert present(bench) == NEW
    bench.wait(2)
    assert present(bench) == FORMER, "a repeated commit does not prolong it"


def test_what_is_on_trial_is_not_stored_by_a_save() -> None:
    bench = with_former()
    transact(bench, TransactionStep.BEGIN)
    write(bench, {key: value for key, value in NEW.items() if key != LED})
    commit(bench)
    save(bench)
    bench.ask(settings.LOAD, Empty())
    assert read(bench, NAME) == NEW[NAME], "still on trial"
    bench.power_cycle()
    assert present(bench) == FORMER


def test_a_bad_value_in_a_transaction_is_refused_when_it_is_written() -> None:
    bench = with_former()
    transact(bench, TransactionStep.BEGIN)
    write(bench, {NAME: b"new"})
    request = settings.SettingWriteRequest(name=LED, val=b"\7")
    assert bench.refusal(settings.WRITE, request) == (Group.SETTINGS, settings.ROOT_KEY_NOT_FOUND)
    commit(bench)
    transact(bench, TransactionStep.CONFIRM)
    assert present(bench) == FORMER | {NAME: b"new"}


# calibrations and metadata belong to it

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
        requests: tuple[tuple[Command[Any, Any], Any], ...] = (
            (settings.WRITE, settings.SettingWriteRequest(name=NAME, val=b"late", t=t)),
            (logger.CALIBRATE, logger.CalibrateRequest(id=1, s=0, c=0, cal=(1.0,), t=t)),
            (logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=1, d=b"x", t=t)),
        )
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
    requests: tuple[tuple[Command[Any, Any], Any], ...] = (
        (settings.WRITE, settings.SettingWriteRequest(name=NAME, val=b"beside")),
        (settings.DELETE, settings.SettingDeleteRequest(name=NAME)),
        (logger.CALIBRATE, logger.CalibrateRequest(id=1, s=0, c=0, cal=(1.0,))),
        (logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=1, d=b"x")),
        (logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=2)),
    )
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


def test_settings_refusals_in_smp_v1_have_the_coarse_code() -> None:
    bench = Bench()
    answer = bench.ask_raw(0, Group.SETTINGS, 0, b"\xa1\x64name\x61x", version=0)
    assert answer == b"\xa1\x62rc\x01"
