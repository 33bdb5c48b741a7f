"""Settings from outside: the stock group, and the transaction that changes any number of them at once or not at all."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from device_bench import Bench
from fieldlog_protocol.commands import Command, Empty, Group, basic, settings
from fieldlog_protocol.commands.logger import LoggerError, TransactionStep
from settings_bench import (
    AGE,
    FORMER,
    LED,
    NAME,
    NEW,
    TRIM,
    commit,
    present,
    read,
    refused,
    save,
    transact,
    with_former,
    write,
)

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
    cases: list[tuple[Command[Any, Any], Any, int]] = [
        (settings.READ, settings.SettingReadRequest(name="no/such"), settings.KEY_NOT_FOUND),
        (settings.READ, settings.SettingReadRequest(name="k" * 65), settings.KEY_TOO_LONG),
        (settings.DELETE, settings.SettingDeleteRequest(name="no/such"), settings.KEY_NOT_FOUND),
        (settings.SAVE, settings.SettingSaveRequest(name="no/such"), settings.KEY_NOT_FOUND),
        (settings.WRITE, settings.SettingWriteRequest(name="device/serial", val=b"x"), settings.WRITE_NOT_SUPPORTED),
        (settings.DELETE, settings.SettingDeleteRequest(name="device/serial"), settings.DELETE_NOT_SUPPORTED),
    ]
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


def test_settings_refusals_in_smp_v1_have_the_coarse_code() -> None:
    bench = Bench()
    answer = bench.ask_raw(0, Group.SETTINGS, 0, b"\xa1\x64name\x61x", version=0)
    assert answer == b"\xa1\x62rc\x01"
