"""Taking the time of a device: probes, the syncs made of them, and which syncs can be true together.

Host and device both keep syncs, so that another host can correct the times later. No I/O and no numpy here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fieldlog.datetimes import MAX_UTC_US
from fieldlog_protocol.errors import VerificationError

TICK_HZ = 32768
US_PER_TICK = 1_000_000 / TICK_HZ
MAX_TICK = 2**52
"""More than 4000 years: no device counts so far, and up to here floats count every tick and int64 every microsecond."""
_MAX_ERROR_US = 2**32 - 1
_TICK_ROUNDING_US = 50  # both ticks of a probe are rounded down, and their mean again
_ALIKE_US = 500  # round trips that differ by less, or by an eighth, are as short as this link allows
_ALIKE = 1 / 8
_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Probe:
    """One question "what is your tick?": host time at sending and at the reply, the device's ticks in between.

    `believed_us` is the UTC that the device believes at `tick_tx`, None while its clock is not set.
    """

    boot_id: int
    sent_us: int
    received_us: int
    tick_rx: int
    tick_tx: int
    believed_us: int | None = None

    @property
    def round_trip_us(self) -> float:
        """Time on the link, without the time the device took to answer."""
        return self.received_us - self.sent_us - (self.tick_tx - self.tick_rx) * US_PER_TICK

    @property
    def usable(self) -> bool:
        """Whether neither side's clock jumped meanwhile, and the device's ticks can be true."""
        in_order = self.tick_rx <= self.tick_tx < MAX_TICK
        return in_order and 0 <= self.round_trip_us < _MAX_ERROR_US


@dataclass(frozen=True, slots=True)
class Sync:
    """At `tick` of boot `boot_id` it was `utc_us` (microseconds since 1970), give or take `error_us`."""

    boot_id: int
    tick: int
    utc_us: int
    error_us: int
    source: str = "host"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the probes of a device's clock gave: a sync, and by how much the device's own belief differs from it.

    `offset_us` is the device's UTC minus this computer's, give or take the sync's error; None: the clock is not set.
    """

    sync: Sync
    offset_us: int | None
    round_trip_us: float


def enough(probes: Iterable[Probe], known_us: float | None = None) -> bool:
    """Whether one more probe would hardly be any better: the three shortest round trips are alike, or one is as short
    as `known_us`, the shortest that this link has shown before."""
    trips = sorted(probe.round_trip_us for probe in probes if probe.usable)
    if not trips:
        return False
    slack_us = max(_ALIKE_US, trips[0] * _ALIKE)
    if known_us is not None and trips[0] <= known_us + slack_us:
        return True
    return len(trips) >= _ENOUGH and trips[_ENOUGH - 1] <= trips[0] + slack_us


def reading_from_probes(probes: Iterable[Probe], source: str = "host") -> Reading:
    """The sync of the best probe, and the offset that it shows. Raises as `sync_from_probes` does."""
    best = _best(probes)
    sync = _sync(best, source)
    if best.believed_us is None:
        return Reading(sync, None, best.round_trip_us)
    then_us = best.believed_us - round((best.tick_tx - sync.tick) * US_PER_TICK)
    return Reading(sync, then_us - sync.utc_us, best.round_trip_us)


def sync_from_probes(probes: Iterable[Probe], source: str = "host") -> Sync:
    """The sync of the probe with the shortest round trip, among those of the latest boot.

    Raises VerificationError when no probe is usable: a clock was set meanwhile, or the device's ticks are nonsense.
    """
    return _sync(_best(probes), source)


def _best(probes: Iterable[Probe]) -> Probe:
    tried = list(probes)
    usable = [p for p in tried if p.boot_id == tried[-1].boot_id and p.usable]
    if not usable:
        raise VerificationError(
            "No clock probe gave a usable time: this computer's clock was set while probing, or the ticks that the "
            "device named cannot be true. Nothing was changed; probe again."
        )
    return min(usable, key=lambda probe: probe.round_trip_us)


def _sync(best: Probe, source: str) -> Sync:
    ticks, odd = divmod(best.tick_rx + best.tick_tx, 2)
    utc_us = (best.sent_us + best.received_us) // 2 - round(odd * US_PER_TICK / 2)
    return Sync(best.boot_id, ticks, utc_us, round(best.round_trip_us / 2) + _TICK_ROUNDING_US, source)


def possible(sync: Sync) -> bool:
    """Whether a device can have counted so far, and a calendar goes so far."""
    return 0 <= sync.tick < MAX_TICK and 0 <= sync.utc_us <= MAX_UTC_US


def one_per_tick(syncs: Iterable[Sync]) -> list[Sync]:
    """The best sync of each tick: host and device keep the same one, and it must not count twice."""
    best: dict[tuple[int, int], Sync] = {}
    for sync in syncs:
        key = (sync.tick, sync.utc_us // 1_000_000)
        if key not in best or sync.error_us < best[key].error_us:
            best[key] = sync
    return sorted(best.values(), key=lambda sync: (sync.tick, sync.utc_us))


def spaced(knots: Sequence[Sync], limit_ppm: float) -> list[Sync]:
    """Knots too close to tell a rate from their errors would bend the line: of such a pair the better one stays."""
    kept: list[Sync] = []
    for knot in knots:
        if kept and (knot.tick - kept[-1].tick) * US_PER_TICK * limit_ppm / 1e6 < knot.error_us + kept[-1].error_us:
            kept[-1] = min(kept[-1], knot, key=lambda sync: sync.error_us)
        else:
            kept.append(knot)
    return kept
