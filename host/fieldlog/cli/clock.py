"""`fieldlog clock`: what time a device believes it is, how far off that is, and setting it."""

from __future__ import annotations

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.clock import DeviceTime, read_clock, sync_clock
from fieldlog.clock_sync import Sync
from fieldlog.datetimes import utc_of, utc_text
from fieldlog.device import Device
from fieldlog_protocol.commands import Group, os
from fieldlog_protocol.errors import RefusedError


@click.group()
def clock() -> None:
    """Show and set a device's clock."""


@clock.command()
@options
def show(common: Common) -> None:
    """Show the device's time, its offset from this computer's, and how sure that is."""

    async def work() -> DeviceTime:
        async with common.connect() as device:
            return await read_clock(device)

    found = run(work())
    data = {
        "utc": None if found.utc_us is None or utc_of(found.utc_us) is None else _iso(found.utc_us),
        "offset_us": found.offset_us,
        "error_us": found.error_us,
        "boot_id": found.boot_id,
        "tick": found.tick,
    }
    common.output.result(
        data,
        lambda: common.output.fields(
            [
                ("device", "not set: `fieldlog clock sync` sets it" if found.utc_us is None else _iso(found.utc_us)),
                ("offset", _seconds(found.offset_us, sign=True)),
                ("give or take", None if found.utc_us is None else _seconds(found.error_us)),
                ("boot", found.boot_id),
                ("tick", found.tick),
            ]
        ),
    )


@clock.command()
@options
def sync(common: Common) -> None:
    """Set the device's clock from this computer's. A logger keeps the sync in its log, to correct times by later."""

    async def work() -> tuple[str, Sync | None]:
        async with common.connect() as device:
            return device.name, await _sync(device)

    name, done = run(work())
    error_us = None if done is None else done.error_us
    sure = "" if error_us is None else f", give or take {_seconds(error_us)}"
    common.output.result(
        {"device": name, "error_us": error_us}, lambda: common.output.line(f"the clock of {name} is set{sure}")
    )


async def _sync(device: Device) -> Sync | None:
    try:
        return await sync_clock(device)
    except RefusedError as error:
        if (error.group, error.code) == (Group.OS, os.RTC_COMMAND_FAILED):
            raise RefusedError(
                error.code, error.group, f"{error}. Its clock is as it was; check the device's battery", error.details
            ) from error
        raise


def _iso(utc_us: int) -> str:
    return utc_text(utc_us, "milliseconds")


def _seconds(value_us: int | None, *, sign: bool = False) -> str | None:
    if value_us is None:
        return None
    return f"{value_us / 1e6:+.6f} s" if sign else f"{value_us / 1e6:.6f} s"
