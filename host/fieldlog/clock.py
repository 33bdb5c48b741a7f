"""A device's clock seen from here: probing the tick counter, and telling the device what time it is."""

from __future__ import annotations

import datetime as dt
import time

from fieldlog_protocol.commands import Empty, logger
from fieldlog_protocol.commands.logger import ClockSource

from fieldlog.clock_sync import Probe, Sync, sync_from_probes
from fieldlog.device import Device

PROBES = 8


async def probe_clock(device: Device, count: int = PROBES) -> Sync:
    """The best of `count` probes: which tick it was at which UTC of this computer, and how sure that is."""
    return sync_from_probes([await _probe(device) for _ in range(count)])


async def _probe(device: Device) -> Probe:
    sent_us = _now_us()
    answer = await device.request(logger.CLOCK_PROBE, Empty())
    return Probe(answer.boot, sent_us, _now_us(), answer.rx, answer.tx)


async def sync_clock(device: Device) -> Sync | None:
    """Set the device's clock from this computer's. On a logger the sync is kept in its log and answered here."""
    if not await device.has_logger():
        await device.set_datetime(dt.datetime.now(dt.UTC))
        return None
    sync = await probe_clock(device)
    anchor = logger.ClockAnchor(
        boot=sync.boot_id, tick=sync.tick, utc=sync.utc_us, err=sync.error_us, src=ClockSource.HOST
    )
    await device.request(logger.CLOCK_ANCHOR, anchor)
    return sync


def _now_us() -> int:
    return time.time_ns() // 1000
