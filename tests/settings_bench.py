"""Settings of a device on the bench: what two sets of values are, and how they are read, written and changed at once."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from device_bench import Bench
from fieldlog_protocol.commands import Empty, logger, settings
from fieldlog_protocol.commands.logger import TransactionStep

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
