"""What a pull does about time: a sync at its beginning and at its end, and now and then an anchor on the device.

Every sync goes into the archive, believed or not: which computer was wrong may show later. The device is told only what
nothing known contradicts, and at most once a day while its own belief is good to a second: an anchor costs a block of
its flash, and serves the next computer, which does not have this archive. It moves no tick and no reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fieldlog.archive.log import Log
from fieldlog.clock import anchor_of
from fieldlog.clock_model import WELL_SET_US, utc_through
from fieldlog.clock_oscillator import Oscillator, oscillator_of
from fieldlog.clock_strain import strains
from fieldlog.clock_sync import TICK_HZ, US_PER_TICK, Reading, Sync, possible, spaced
from fieldlog.clock_votes import VOTE_TICKS, agree, judge_boot
from fieldlog.logger_info import LoggerInfo
from fieldlog_protocol.commands.logger import ClockAnchor

ANCHOR_EVERY_US = 86_400_000_000
_BELIEF_ERROR_US = 2_000_000  # told in whole seconds, and set by nobody knows whom


@dataclass(frozen=True, slots=True)
class Decision:
    """What to let the device keep, None for nothing; `warnings` are sentences."""

    anchor: ClockAnchor | None = None
    warnings: tuple[str, ...] = ()


def decide(log: Log, info: LoggerInfo, reading: Reading) -> Decision:
    """Whether the device shall keep the sync of `reading`: if it is time for that and nothing contradicts it that the
    archive holds. `info` is the device's as it was before `reading`.
    """
    known = log.syncs()
    found = doubt(reading.sync, known, info)
    if found is not None:
        text = (
            f"{found}. The device's clock was left as it is. {_effect(reading.sync, known, oscillator_of(info.clock_ppm))}. "
            "Check this computer's clock; if it is right, `fieldlog clock sync` sets the device's"
        )
        return Decision(warnings=(text,))
    return Decision(anchor_of(reading.sync) if _due(info, reading) else None)


def _effect(sync: Sync, known: Iterable[Sync], oscillator: Oscillator) -> str:
    """What a sync that is in doubt does to the times of the readings, now that the archive has it."""
    same_boot = [other for other in known if other.boot_id == sync.boot_id]
    verdict = judge_boot([sync, *same_boot], oscillator)
    if sync in verdict.rejected and verdict.undecided:
        return "The readings keep their times until more pulls decide, with an error that covers both"
    if sync in verdict.rejected:
        return "The readings keep their times"
    if verdict.undecided or _is_strained(sync, verdict.accepted, oscillator):
        return "The error of the readings' times covers both, until more pulls decide"
    return "The readings of this boot get their times from this computer's clock"


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
    if reading.offset_us is None or abs(reading.offset_us) > WELL_SET_US or info.clock_set_s is None:
        return True
    since_us = reading.sync.utc_us - info.clock_set_s * 1_000_000
    return since_us > min(ANCHOR_EVERY_US, reading.sync.tick * US_PER_TICK + _BELIEF_ERROR_US)


def contradiction(sync: Sync, known: Sequence[Sync], clock_ppm: float | None) -> float | None:
    """By how many microseconds a sync is off the line of the others, if they speak against it; None when they do not.

    One that stands alone against one is ruled out: nobody knows which of them is wrong.
    """
    oscillator = oscillator_of(clock_ppm)
    known = list(filter(possible, known))
    same_boot = [other for other in known if other.boot_id == sync.boot_id]
    verdict = judge_boot([sync, *same_boot], oscillator)
    others = [other for other in same_boot if not _is_one_opinion(sync, other, oscillator)]
    against = sync in verdict.rejected or verdict.undecided or _is_strained(sync, verdict.accepted, oscillator)
    if others and against:
        return sync.utc_us - utc_through(others, oscillator, sync.tick)
    earliest_us = sync.utc_us + sync.error_us - sync.tick * US_PER_TICK * (1 - oscillator.limit_ppm / 1e6)
    before = max((o.utc_us - o.error_us for o in known if o.boot_id < sync.boot_id), default=earliest_us)
    return earliest_us - before if before > earliest_us else None


def _is_one_opinion(sync: Sync, other: Sync, oscillator: Oscillator) -> bool:
    return abs(sync.tick - other.tick) < VOTE_TICKS and agree(sync, other, oscillator.tolerance_ppm)


def _is_strained(sync: Sync, accepted: Sequence[Sync], oscillator: Oscillator) -> bool:
    """Whether this sync, or one shortly before it, and those before imply a rate that the oscillator hardly has."""
    return any(
        strain.notable and not strain.confirmed and sync.tick - strain.right.tick < VOTE_TICKS
        for strain in strains(spaced(accepted, oscillator.limit_ppm), oscillator)
    )
