"""What an archive knows of a device's clock: by how much it drifts, and how well the present is known without a new sync.

Rule: nothing is written here. A log that the archive does not hold has no history, and that is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldlog.archive import exists
from fieldlog.archive import open as open_archive
from fieldlog.clock_model import UNBOUNDED, Quality
from fieldlog.clock_oscillator import oscillator_of
from fieldlog.clock_sync import US_PER_TICK, Sync
from fieldlog.clock_votes import judge_boot
from fieldlog.logger_info import LoggerInfo


@dataclass(frozen=True, slots=True)
class Drift:
    """By how much a device's clock runs fast, in parts per million, from `since_us` until now.

    `error_ppm` is half the width of its uncertainty; `syncs` that many of this boot agree.
    """

    ppm: float
    error_ppm: float
    since_us: int
    syncs: int


@dataclass(frozen=True, slots=True)
class History:
    """The syncs of a log, and how a reading taken now would get its time if there were no further sync."""

    syncs: tuple[Sync, ...]
    quality: Quality
    error_us: int | None


def read_history(path: Path, info: LoggerInfo, now: Sync) -> History | None:
    """What the archive at `path` holds of this log; None when it holds nothing of it, or is not there.

    Raises what opening and reading an archive raises.
    """
    if not exists(path):
        return None
    with open_archive(path, writable=False) as archive:
        same = [log for log in archive.logs() if (log.info().uid, log.info().log_id) == (info.uid.hex(), info.log_id)]
        if not same:
            return None
        import numpy as np

        (source,) = archive.sources(same)
        times = source.clock.utc(now.boot_id, np.array([now.tick], dtype=np.int64))
        error_us = int(times.error_us[0])
        quality = Quality(int(times.quality[0]))
        return History(tuple(same[0].syncs()), quality, None if error_us == UNBOUNDED else error_us)


def drift(known: Sequence[Sync], now: Sync, clock_ppm: float | None) -> Drift | None:
    """The drift over the longest time that syncs of this boot tell of; None when they tell less than is known anyway."""
    oscillator = oscillator_of(clock_ppm)
    agreed = judge_boot([now, *(sync for sync in known if sync.boot_id == now.boot_id)], oscillator).accepted
    first, last = agreed[0], agreed[-1]
    counted_us = (last.tick - first.tick) * US_PER_TICK
    passed_us = last.utc_us - first.utc_us
    error_us = first.error_us + last.error_us
    if passed_us <= 0 or error_us / passed_us * 1e6 > oscillator.tolerance_ppm:
        return None
    return Drift((counted_us / passed_us - 1) * 1e6, error_us / passed_us * 1e6, first.utc_us, len(agreed))
