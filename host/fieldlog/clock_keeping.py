"""What a pull does about time: a sync at its beginning and at its end, and now and then an anchor on the device.

Every sync goes into the archive, believed or not: which computer was wrong may show later. The device is told only what
nothing known contradicts, and at most once a day while its own belief is good to a second: an anchor costs a block of
its flash, and serves the next computer, which does not have this archive. It moves no tick and no reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fieldlog.archive.log import Log
from fieldlog.clock import anchor_of, read_ticks
from fieldlog.clock_model import oscillator_of
from fieldlog.clock_sync import TICK_HZ, US_PER_TICK, Reading, Sync, one_per_tick
from fieldlog.clock_votes import judge
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog_protocol.commands.logger import ClockAnchor

ANCHOR_EVERY_US = 86_400_000_000
_GOOD_US = 1_000_000
_BELIEF_ERROR_US = 2_000_000  # told in whole seconds, and set by nobody knows whom


@dataclass(frozen=True, slots=True)
class Decision:
    """What to let the device keep, None for nothing; `warnings` are sentences."""

    anchor: ClockAnchor | None = None
    warnings: tuple[str, ...] = ()


async def take_sync(device: Device, log: Log, *, known_us: float | None = None) -> Reading:
    """Probe and keep the sync in the archive; VerificationError when no probe can be true.

    Nothing else may be under way on the link. `known_us`: see `read_ticks`.
    """
    reading = await read_ticks(device, known_us=known_us)
    log.add_syncs([reading.sync])
    return reading


def decide(log: Log, info: LoggerInfo, reading: Reading) -> Decision:
    """Whether the device shall keep the sync of `reading`: if it is time for that and nothing contradicts it that the
    archive holds. `info` is the device's as it was before `reading`.
    """
    found = doubt(reading.sync, log.syncs(), info)
    if found is not None:
        text = (
            f"{found}. The device's clock was left as it is, the readings are not affected. Check this computer's clock; "
            "if it is right, `fieldlog clock sync` sets the device's"
        )
        return Decision(warnings=(text,))
    return Decision(anchor_of(reading.sync) if _due(info, reading) else None)


def doubt(sync: Sync, known: Iterable[Sync], info: LoggerInfo) -> str | None:
    """What speaks against a sync just taken: the syncs `known` of this log, and what the device believes."""
    off_us = contradiction(sync, [*known, *_belief(info, sync)], info.clock_ppm)
    if off_us is None:
        return None
    return (
        f"this computer's clock is {abs(off_us) / 1e6:.3f} s {'ahead of' if off_us > 0 else 'behind'} all that is known "
        "of the device's, more than its oscillator can have drifted: one of the two is wrong"
    )


def _belief(info: LoggerInfo, sync: Sync) -> list[Sync]:
    """The sync that the device's belief rests on, if that was in this boot."""
    if info.clock_set_s is None or info.utc_s is None or info.boot_id != sync.boot_id:
        return []
    tick = info.tick - (info.utc_s - info.clock_set_s) * TICK_HZ
    return [Sync(sync.boot_id, tick, info.clock_set_s * 1_000_000, _BELIEF_ERROR_US, "device")] if tick >= 0 else []


def _due(info: LoggerInfo, reading: Reading) -> bool:
    if reading.offset_us is None or abs(reading.offset_us) > _GOOD_US or info.clock_set_s is None:
        return True
    since_us = reading.sync.utc_us - info.clock_set_s * 1_000_000
    return since_us > min(ANCHOR_EVERY_US, reading.sync.tick * US_PER_TICK + _BELIEF_ERROR_US)


def contradiction(sync: Sync, known: Sequence[Sync], clock_ppm: float | None) -> float | None:
    """By how many microseconds a sync is off from those that rule it out; None when none do.

    One that stands alone against one is ruled out: nobody knows which of them is wrong.
    """
    oscillator = oscillator_of(clock_ppm)
    same_boot = one_per_tick([sync, *(other for other in known if other.boot_id == sync.boot_id)])
    verdict = judge(same_boot, oscillator.limit_ppm, oscillator.change_ppm)
    others = verdict.accepted if sync in verdict.rejected else verdict.rejected if verdict.undecided else ()
    if others:
        nearest = min(others, key=lambda other: abs(other.tick - sync.tick))
        return sync.utc_us - nearest.utc_us - (sync.tick - nearest.tick) * US_PER_TICK
    earliest_us = sync.utc_us + sync.error_us - sync.tick * US_PER_TICK * (1 - oscillator.limit_ppm / 1e6)
    before = max((o.utc_us - o.error_us for o in known if o.boot_id < sync.boot_id), default=earliest_us)
    return earliest_us - before if before > earliest_us else None
