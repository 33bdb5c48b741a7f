"""`fieldlog clock`: what time a device believes it is, how far off that is, how it drifts, and setting it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldlog.cli.common import Common, Standing, archive_option, options, run
from fieldlog.clock import DeviceTime, read_clock, sync_clock
from fieldlog.clock_sync import Sync
from fieldlog.datetimes import utc_of, utc_text
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog_protocol.commands import Group, os
from fieldlog_protocol.errors import FieldlogError, RefusedError

if TYPE_CHECKING:
    from fieldlog.clock_history import Drift, History


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is to be shown. A stock device has no `info`, an unknown one no `history`."""

    time: DeviceTime
    info: LoggerInfo | None = None
    history: History | None = None
    drift: Drift | None = None
    warnings: tuple[str, ...] = ()


@click.group()
def clock() -> None:
    """Show and set a device's clock."""


@clock.command()
@options
@archive_option
def show(common: Common, archive: Path) -> None:
    """Show the device's time, its offset from this computer's, and how sure that is.

    Where the archive holds syncs of it, its drift too, and how well the times of its readings are known.
    """

    async def work() -> tuple[DeviceTime, LoggerInfo | None]:
        async with common.connect() as device:
            time = await read_clock(device)
            return time, await device.logger_info() if time.sync else None

    known = _with_history(archive, *run(work()))
    common.output.result(_json(known, archive), lambda: common.output.fields(_fields(known)))
    for warning in known.warnings:
        common.output.warn(warning)


def _with_history(archive: Path, time: DeviceTime, info: LoggerInfo | None) -> _Known:
    """What is known beyond the moment. An archive that cannot be read leaves a warning."""
    if time.sync is None or info is None:
        return _Known(time)
    from fieldlog.clock_history import drift, read_history
    from fieldlog.clock_keeping import doubt

    warnings: list[str] = []
    history = None
    try:
        history = read_history(archive, info, time.sync)
    except FieldlogError as error:
        warnings.append(f"the archive tells nothing about the drift: {error}")
    syncs = history.syncs if history else ()
    if found := doubt(time.sync, syncs, info):
        warnings.append(f"{found}. Check this computer's clock before you sync")
    return _Known(time, info, history, drift(syncs, time.sync, info.clock_ppm), tuple(warnings))


def _json(known: _Known, archive: Path) -> dict[str, object]:
    time, info, history, drift = known.time, known.info, known.history, known.drift
    return {
        "utc": _iso(time.utc_us),
        "offset_us": time.offset_us,
        "error_us": time.error_us,
        "boot_id": time.sync.boot_id if time.sync else None,
        "tick": time.sync.tick if time.sync else None,
        "set": _iso(_set_us(info)),
        "tolerance_ppm": info.clock_ppm if info else None,
        "drift_ppm": round(drift.ppm, 3) if drift else None,
        "drift_error_ppm": round(drift.error_ppm, 3) if drift else None,
        "drift_since": _iso(drift.since_us) if drift else None,
        "syncs": drift.syncs if drift else None,
        "archive": str(archive) if history else None,
        "quality": history.quality.name.lower() if history else None,
        "time_error_us": history.error_us if history else None,
        "warnings": known.warnings,
    }


def _fields(known: _Known) -> list[tuple[str, object]]:
    time, drift, history = known.time, known.drift, known.history
    unset = time.utc_us is None
    return [
        ("device", "not set: `fieldlog clock sync` sets it" if time.utc_us is None else _text(time.utc_us)),
        ("offset", _seconds(time.offset_us, sign=True)),
        ("give or take", None if unset else _seconds(time.error_us)),
        ("last set", None if (set_us := _set_us(known.info)) is None else utc_text(set_us, "seconds")),
        ("drift", _drift(drift)),
        ("since", f"{utc_text(drift.since_us, 'seconds')}, {drift.syncs} syncs" if drift else None),
        ("readings now", _quality(history)),
        ("boot", time.sync.boot_id if time.sync else None),
        ("tick", time.sync.tick if time.sync else None),
    ]


def _drift(drift: Drift | None) -> str | None:
    if drift is None:
        return None
    return f"{drift.ppm:+.2f} ppm ({drift.ppm * 0.0864:+.2f} s a day), give or take {drift.error_ppm:.2f} ppm"


def _quality(history: History | None) -> str | None:
    """How their time is known without the sync that this command took."""
    if history is None:
        return None
    error = "error unknown" if history.error_us is None else f"give or take {_seconds(history.error_us)}"
    return f"time {history.quality.name.lower()}, {error}, until the next pull"


@clock.command()
@options
@archive_option
def sync(common: Common, archive: Path) -> None:
    """Set the device's clock from this computer's. A logger keeps the sync in its log, to correct times by later.

    If the archive knows the logger, it keeps the sync too.
    """

    standing = Standing("the device's clock is as it was")

    async def work() -> tuple[str, Sync | None, LoggerInfo | None]:
        async with common.connect() as device:
            info = await device.logger_info() if await device.has_logger() else None
            standing.text = (
                "the device's clock may be set or not: `fieldlog clock show` tells. Repeat the command to be sure"
            )
            done = await _sync(device)
            noted = (
                "" if info is None else ", and its log holds the sync; the archive here may not, until the next pull"
            )
            standing.text = f"the device's clock is set{noted}"
            return device.name, done, info

    with standing.told():
        name, done, info = run(work())
        kept, warnings = _keep(archive, info, done)
    error_us = None if done is None else done.error_us
    sure = "" if error_us is None else f", give or take {_seconds(error_us)}"
    common.output.result(
        {"device": name, "error_us": error_us, "archive": str(archive) if kept else None, "warnings": warnings},
        lambda: common.output.line(f"the clock of {name} is set{sure}"),
    )
    for warning in warnings:
        common.output.warn(warning)


async def _sync(device: Device) -> Sync | None:
    try:
        return await sync_clock(device)
    except RefusedError as error:
        if (error.group, error.code) == (Group.OS, os.RTC_COMMAND_FAILED):
            raise RefusedError(
                error.code, error.group, f"{error}. Its clock is as it was; check the device's battery", error.details
            ) from error
        raise


def _keep(archive: Path, info: LoggerInfo | None, sync: Sync | None) -> tuple[bool, list[str]]:
    """Keep the sync in an archive that knows the log, and say what speaks against it. The device's clock is set already."""
    if info is None or sync is None:
        return False, []
    from fieldlog import archive as archives
    from fieldlog.clock_history import read_history
    from fieldlog.clock_keeping import doubt

    try:
        history = read_history(archive, info, sync)
        if history is not None:
            with archives.open(archive) as store:
                store.log(info.uid, info.log_id).add_syncs([sync])
    except FieldlogError as error:
        return False, [f"the archive did not keep the sync, the device did: {error}"]
    found = doubt(sync, history.syncs if history else (), info)
    return history is not None, [f"{found}. The device's was set all the same"] if found else []


def _set_us(info: LoggerInfo | None) -> int | None:
    return None if info is None or info.clock_set_s is None else info.clock_set_s * 1_000_000


def _iso(utc_us: int | None) -> str | None:
    return None if utc_us is None or utc_of(utc_us) is None else _text(utc_us)


def _text(utc_us: int) -> str:
    return utc_text(utc_us, "milliseconds")


def _seconds(value_us: int | None, *, sign: bool = False) -> str | None:
    if value_us is None:
        return None
    return f"{value_us / 1e6:+.6f} s" if sign else f"{value_us / 1e6:.6f} s"
