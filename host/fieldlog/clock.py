"""A device's clock seen from here: probing the tick counter, and telling the device what time it is."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

from fieldlog.clock_sync import Probe, Reading, Sync, enough, reading_from_probes
from fieldlog.device import Device
from fieldlog_protocol.commands import Empty, Group, logger, os
from fieldlog_protocol.commands.logger import ClockSource
from fieldlog_protocol.errors import RefusedError

PROBES = 8
_STOCK_RESOLUTION_US = 1_000_000


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """What a device believes, held against this computer's clock. None: not set, or not told by a stock device.

    `offset_us` is the device's UTC minus this computer's, `error_us` half the width of its uncertainty. `sync` is what a
    logger's ticks gave.
    """

    utc_us: int | None
    offset_us: int | None
    error_us: int | None
    sync: Sync | None = None


async def read_clock(device: Device) -> DeviceTime:
    """The device's time. A stock device tells it to the second or millisecond, and nothing of its ticks."""
    if not await device.has_logger():
        return await _stock_time(device)
    found = await read_ticks(device)
    sync, offset_us = found.sync, found.offset_us
    utc_us = None if offset_us is None else sync.utc_us + offset_us
    return DeviceTime(utc_us, offset_us, sync.error_us, sync)


async def _stock_time(device: Device) -> DeviceTime:
    sent_us = _now_us()
    try:
        told = await device.datetime()
    except RefusedError as error:
        if (error.group, error.code) == (Group.OS, os.RTC_NOT_SET):
            return DeviceTime(None, None, None)
        raise
    received_us = _now_us()
    utc_us = round(told.timestamp() * 1e6)
    half_us = (received_us - sent_us) // 2
    return DeviceTime(utc_us, utc_us - (sent_us + half_us), half_us + _STOCK_RESOLUTION_US)


async def read_ticks(device: Device, *, known_us: float | None = None) -> Reading:
    """The best of up to eight probes: as many as it takes until one more would hardly be any better.

    `known_us`: the round trip of an earlier reading over the same link; one probe that is as good will do then.
    Nothing else may be under way on the link meanwhile: whatever waits in front of a probe makes it late.
    """
    probes: list[Probe] = []
    while len(probes) < PROBES and not enough(probes, known_us):
        probes.append(await _probe(device))
    return reading_from_probes(probes)


async def probe_clock(device: Device) -> Sync:
    """Which tick it was at which UTC of this computer, and how sure that is."""
    return (await read_ticks(device)).sync


async def _probe(device: Device) -> Probe:
    sent_us = _now_us()
    answer = await device.request(logger.CLOCK_PROBE, Empty())
    return Probe(answer.boot, sent_us, _now_us(), answer.rx, answer.tx, answer.utc)


async def sync_clock(device: Device) -> Sync | None:
    """Set the device's clock from this computer's. On a logger the sync is kept in its log and answered here."""
    if not await device.has_logger():
        await device.set_datetime(dt.datetime.now(dt.UTC))
        return None
    sync = await probe_clock(device)
    await device.request(logger.CLOCK_ANCHOR, anchor_of(sync))
    return sync


def anchor_of(sync: Sync) -> logger.ClockAnchor:
    """What lets a device keep a sync of its present boot in its log, and go by it from now on."""
    return logger.ClockAnchor(
        boot=sync.boot_id, tick=sync.tick, utc=sync.utc_us, err=sync.error_us, src=ClockSource.HOST
    )


def _now_us() -> int:
    return time.time_ns() // 1000
