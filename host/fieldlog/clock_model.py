"""From device ticks to UTC, with an error that holds. This file does no I/O and reads no clock.

The device's tick is never stepped; a *sync* says which UTC one tick of one boot had, and within what error. Per boot,
tick to UTC is piecewise linear through its syncs. A boot without a sync falls back on what the device believed, then
on the boots around it, and else its readings have no time. Which of these it was, is each reading's `Quality`.

Errors are bounds, not deviations: the truth lies within `utc_us ± error_us` as long as the oscillator keeps within the
figures of its `Oscillator`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from fieldlog.clock_oscillator import CRYSTAL, Oscillator
from fieldlog.clock_strain import Strain, strains, widened
from fieldlog.clock_sync import MAX_TICK, US_PER_TICK, Sync, possible, spaced
from fieldlog.clock_votes import judge_boot
from fieldlog.datetimes import MAX_UTC_US, utc_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fieldlog.clock_pieces import Course

UNKNOWN_TIME = -(2**63)
"""In `utc_us`: no time is known. The same bits as numpy's NaT."""
UNBOUNDED = 2**63 - 1
"""In `error_us`: no bound is known."""
WELL_SET_US = 1_000_000
"""A device whose own clock is off by less is not told the time at each sync."""


class Quality(IntEnum):
    """How a reading got its time, best first."""

    INTERPOLATED = 0
    EXTRAPOLATED = 1
    RTC = 2
    BOUNDED = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Belief:
    """The device's own clock, in whole seconds rounded down, at a tick."""

    tick: int
    utc_s: int


@dataclass(frozen=True, slots=True)
class BootSpan:
    """What the log tells of one boot: the last tick seen, the device's beliefs, and by when it must have started."""

    boot_id: int
    last_tick: int
    beliefs: tuple[Belief, ...] = ()
    started_before_us: int | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """One entry per tick: `utc_us` and `error_us` int64 microseconds, `quality` uint8 of `Quality`."""

    utc_us: npt.NDArray[np.int64]
    error_us: npt.NDArray[np.int64]
    quality: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Slope:
    """Microseconds of UTC per nominal microsecond, and how fast the error grows with distance."""

    rate: float
    growth_ppm: float


def _slope_at(knots: Sequence[Sync], oscillator: Oscillator, excess_ppm: float) -> _Slope:
    """The slope that goes on beyond `knots[0]`, away from the others: from the nearest that tells it within 10 ppm."""
    end = knots[0]
    for other in knots[1:]:
        elapsed_us = abs(other.tick - end.tick) * US_PER_TICK
        doubt_ppm = (other.error_us + end.error_us) / elapsed_us * 1e6
        if doubt_ppm <= min(10, oscillator.tolerance_ppm) or (
            other is knots[-1] and doubt_ppm <= oscillator.change_ppm
        ):
            return _Slope(abs(other.utc_us - end.utc_us) / elapsed_us, oscillator.change_ppm + doubt_ppm)
    return _Slope(1.0, oscillator.tolerance_ppm + excess_ppm)


@dataclass(frozen=True, slots=True)
class _Line:
    """Piecewise-linear time of one synced boot. By `excess_ppm` the oscillator may be beyond its tolerance. `others` can
    be true as well: the error reaches as far as theirs."""

    knots: tuple[Sync, ...]
    oscillator: Oscillator
    excess_ppm: float = 0
    others: tuple[_Line, ...] = ()

    def times(self, ticks: npt.NDArray[np.int64]) -> Times:
        import numpy as np

        if (ticks[1:] >= ticks[:-1]).all():
            return self.ascending(ticks)
        order = np.argsort(ticks, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        times = self.ascending(ticks[order])
        return Times(times.utc_us[place], times.error_us[place], times.quality[place])

    def ascending(self, ticks: npt.NDArray[np.int64]) -> Times:
        """Times of ticks in order."""
        import numpy as np

        edges: list[int] = np.searchsorted(ticks, [knot.tick for knot in self.knots]).tolist()
        utc, error = self._drawn(ticks, edges)
        for other in self.others:
            times = other.ascending(ticks)
            np.maximum(error, np.abs(times.utc_us - utc) + times.error_us, out=error)
        quality = np.full(len(ticks), Quality.EXTRAPOLATED, np.uint8)
        quality[edges[0] : int(np.searchsorted(ticks, self.knots[-1].tick, side="right"))] = Quality.INTERPOLATED
        return Times(utc, error, quality)

    def _drawn(
        self, ticks: npt.NDArray[np.int64], edges: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """UTC and error on this line alone; `edges`: which ticks are the first from each knot on."""
        import numpy as np

        from fieldlog import clock_pieces

        utc, error = np.empty(len(ticks), np.int64), np.empty(len(ticks), np.int64)
        for number, (start, stop) in enumerate(pairwise([0, *edges, len(ticks)])):
            if stop > start:
                some = slice(start, stop)
                clock_pieces.fill(self._courses(number), ticks[some], utc[some], error[some])
        return utc, error

    def _courses(self, number: int) -> list[Course]:
        """What holds before the knot `number`, and from the one before it on."""
        from fieldlog.clock_pieces import after, before, between

        if 0 < number < len(self.knots):
            return between(self.knots[number - 1], self.knots[number], self.oscillator)
        knots, beyond = (self.knots, before) if number == 0 else (self.knots[::-1], after)
        slope = _slope_at(knots, self.oscillator, self.excess_ppm)
        return beyond(knots[0], slope.rate, slope.growth_ppm)

    def at(self, tick: int) -> tuple[int, int]:
        """(utc_us, error_us) of one tick."""
        import numpy as np

        times = self.times(np.array([tick], dtype=np.int64))
        return int(times.utc_us[0]), int(times.error_us[0])


@dataclass(frozen=True, slots=True)
class _Steps:
    """Time of a boot without syncs: from the anchor before each tick on, at the nominal rate."""

    anchors: tuple[Sync, ...]
    quality: Quality
    tolerance_ppm: float

    def times(self, ticks: npt.NDArray[np.int64]) -> Times:
        import numpy as np

        anchor_ticks = np.array([a.tick for a in self.anchors], dtype=np.int64)
        which = np.maximum(np.searchsorted(anchor_ticks, ticks, side="right") - 1, 0)
        x = (ticks - anchor_ticks[which]) * US_PER_TICK
        utc = np.array([a.utc_us for a in self.anchors], dtype=np.int64)[which] + np.rint(x).astype(np.int64)
        base = np.array([a.error_us for a in self.anchors], dtype=np.int64)[which]
        grown = base + np.ceil(np.abs(x) * self.tolerance_ppm / 1e6).astype(np.int64)
        error = np.where(base == UNBOUNDED, UNBOUNDED, grown)
        return Times(utc, error, np.full(len(ticks), self.quality, dtype=np.uint8))


def _bounded_span(span: BootSpan) -> BootSpan:
    beliefs = tuple(belief for belief in span.beliefs if belief.tick < MAX_TICK)
    return replace(span, last_tick=min(span.last_tick, MAX_TICK), beliefs=beliefs)


def _sensible(model: _Line | _Steps, ticks: npt.NDArray[np.int64]) -> Times:
    """Ticks that no device can have counted would overflow the arithmetic, and their times every calendar."""
    import numpy as np

    if _lie_within(ticks, MAX_TICK - 1) and _lie_within((times := model.times(ticks)).utc_us, MAX_UTC_US):
        return times
    times = model.times(np.clip(ticks, 0, MAX_TICK))
    strange = (ticks < 0) | (ticks >= MAX_TICK) | (times.utc_us < 0) | (times.utc_us > MAX_UTC_US)
    if not strange.any():
        return times
    none = _no_times(ticks)
    return Times(
        np.where(strange, none.utc_us, times.utc_us),
        np.where(strange, none.error_us, times.error_us),
        np.where(strange, none.quality, times.quality),
    )


def _lie_within(numbers: npt.NDArray[np.int64], greatest: int) -> bool:
    import numpy as np

    return len(numbers) > 0 and int(numbers.view(np.uint64).max()) <= greatest  # those below 0 are the greatest there


def _no_times(ticks: npt.NDArray[np.int64]) -> Times:
    import numpy as np

    n = len(ticks)
    return Times(
        np.full(n, UNKNOWN_TIME, dtype=np.int64),
        np.full(n, UNBOUNDED, dtype=np.int64),
        np.full(n, Quality.UNKNOWN, dtype=np.uint8),
    )


def _line(syncs: Iterable[Sync], oscillator: Oscillator, warnings: list[str]) -> _Line:
    """The line through the syncs that agree; those that do not are rejected with a warning."""
    verdict = judge_boot(syncs, oscillator)
    line, notable = _through(verdict.accepted, oscillator)
    if notable:
        warnings.append(_strained(max(notable, key=lambda strain: strain.margin_us), oscillator))
    if not verdict.rejected:
        return line
    off_us = max(abs(sync.utc_us - line.at(sync.tick)[0]) for sync in verdict.rejected)
    warnings.append(
        f"boot {line.knots[0].boot_id}: {len(verdict.rejected)} of {verdict.count} clock syncs contradict the others by up "
        f"to {off_us / 1e6:.3f} s and are left out: a computer's clock was wrong. "
        + (
            "Which one cannot be told, so the stated error covers both."
            if verdict.undecided
            else "The majority decides."
        )
    )
    return replace(line, others=tuple(_through(other, oscillator)[0] for other in verdict.others))


def _through(syncs: Sequence[Sync], oscillator: Oscillator) -> tuple[_Line, list[Strain]]:
    """The line through syncs that agree, and what strains it notably."""
    knots = spaced(syncs, oscillator.limit_ppm)
    found = strains(knots, oscillator)
    notable = [strain for strain in found if strain.notable]
    excess_ppm = max((strain.excess_ppm for strain in notable), default=0)
    return _Line(widened(knots, found), oscillator, excess_ppm), notable


def _strained(worst: Strain, oscillator: Oscillator) -> str:
    return (
        f"boot {worst.left.boot_id}: its clock syncs imply that its clock is off by {abs(worst.ppm):.0f} ppm, which its "
        f"oscillator, good to {oscillator.tolerance_ppm:.0f} ppm, hardly is. "
        + (
            "They agree about it, so it is the oscillator; the stated error allows for it."
            if worst.confirmed
            else "Either a computer's clock was wrong or it is the oscillator; the stated error covers both."
        )
    )


def utc_through(syncs: Sequence[Sync], oscillator: Oscillator, tick: int) -> int:
    """The UTC of `tick` on the line of those syncs of one boot that agree, as they are: no strain is allowed for."""
    agreed = judge_boot(syncs, oscillator).accepted
    return _Line(tuple(spaced(agreed, oscillator.limit_ppm)), oscillator).at(tick)[0]


def _belief_anchors(beliefs: Sequence[Belief]) -> tuple[Sync, ...]:
    """One anchor when a single offset explains all beliefs (each rounds down to a second), else one per belief."""
    ordered = sorted(beliefs, key=lambda belief: belief.tick)
    offsets = [belief.utc_s * 1_000_000 - belief.tick * US_PER_TICK for belief in ordered]
    low, high = max(offsets), min(offsets) + 1_000_000
    if low <= high:
        tick = ordered[0].tick
        return (Sync(0, tick, round((low + high) / 2 + tick * US_PER_TICK), round((high - low) / 2), "rtc"),)
    return tuple(Sync(0, b.tick, b.utc_s * 1_000_000 + 500_000, 500_000, "rtc") for b in ordered)


class ClockModel:
    """Time of every boot of one log. Built from what the archive holds, and built again when that grows."""

    def __init__(self, boots: Iterable[BootSpan], syncs: Iterable[Sync], oscillator: Oscillator = CRYSTAL) -> None:
        self._oscillator = oscillator
        self._warnings: list[str] = []
        by_boot: dict[int, list[Sync]] = {}
        for sync in filter(possible, syncs):
            by_boot.setdefault(sync.boot_id, []).append(sync)
        self._lines = {boot: _line(found, oscillator, self._warnings) for boot, found in by_boot.items()}
        self._boots = {span.boot_id: span for span in sorted(map(_bounded_span, boots), key=lambda span: span.boot_id)}
        lower, upper = self._earliest_starts(), self._latest_starts()
        self._synced = sorted(self._lines)
        self._last_syncs = self._newest_syncs()
        self._steps = {
            boot: steps
            for boot, span in self._boots.items()
            if boot not in self._lines and (steps := self._without_sync(span, lower.get(boot), upper.get(boot)))
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about syncs and beliefs that were left out."""
        return tuple(self._warnings)

    def knots(self, boot_id: int) -> tuple[Sync, ...]:
        """The syncs that the time of a boot rests on, in tick order."""
        line = self._lines.get(boot_id)
        return line.knots if line else ()

    def bends(self, boot_id: int) -> list[int]:
        """Ticks at which the time of a boot, or its error, may change its course: the knots of all that can be true."""
        line = self._lines.get(boot_id)
        return sorted({knot.tick for way in (line, *line.others) for knot in way.knots}) if line else []

    def utc(self, boot_id: int, ticks: npt.NDArray[np.int64]) -> Times:
        """Times of `ticks` of one boot; what would lie outside the years 1970 to 9999 has no known time."""
        model = self._lines.get(boot_id) or self._steps.get(boot_id)
        return _sensible(model, ticks) if model else _no_times(ticks)

    def _duration_us(self, span: BootSpan) -> int:
        """The least time that a boot took, up to the last tick known of it."""
        return int(span.last_tick * US_PER_TICK * (1 - self._oscillator.tolerance_ppm / 1e6))

    def _earliest_starts(self) -> dict[int, int]:
        """Per boot, the time before which it cannot have started: the end of the synced boot before it."""
        found: dict[int, int] = {}
        free_at: int | None = None
        for boot, span in self._boots.items():
            if free_at is not None:
                found[boot] = free_at
            if line := self._lines.get(boot):
                utc, error = line.at(span.last_tick)
                free_at = utc - error
            elif free_at is not None:
                free_at += self._duration_us(span)
        return found

    def _latest_starts(self) -> dict[int, int]:
        """Per boot, the time after which it cannot have started: the next synced boot, or the host that read it."""
        found: dict[int, int] = {}
        next_start: int | None = None
        for boot, span in reversed(self._boots.items()):
            limits = [] if next_start is None else [next_start - self._duration_us(span)]
            if line := self._lines.get(boot):
                utc, error = line.at(0)
                limits = [utc + error]
            elif span.started_before_us is not None:
                limits.append(span.started_before_us)
            next_start = min(limits, default=None)
            if next_start is not None:
                found[boot] = next_start
        return found

    def _without_sync(self, span: BootSpan, low: int | None, high: int | None) -> _Steps | None:
        return self._believed(span, low, high) or self._bounded(span, low, high)

    def _believed(self, span: BootSpan, low: int | None, high: int | None) -> _Steps | None:
        """The device's own clock, unless it contradicts the boots around: then it was wrong, and a warning says so."""
        if not span.beliefs:
            return None
        anchors = _belief_anchors(span.beliefs)
        start_us = anchors[0].utc_us - round(anchors[0].tick * US_PER_TICK)
        drift_us = self._drift_since_sync(span.boot_id, start_us)
        slack = 1_000_000 + (0 if drift_us is None else drift_us)
        if (low is not None and start_us < low - slack) or (high is not None and start_us > high + slack):
            self._warnings.append(
                f"boot {span.boot_id}: the device believed it started at {utc_text(start_us, 'seconds')}, which the boots "
                "around it rule out; its belief is left out."
            )
            return None
        within = UNBOUNDED if low is None or high is None else max(start_us - low, high - start_us, 0)
        timed = tuple(
            Sync(a.boot_id, a.tick, a.utc_us, min(within, UNBOUNDED if drift_us is None else a.error_us + drift_us))
            for a in anchors
        )
        return _Steps(timed, Quality.RTC, self._oscillator.tolerance_ppm)

    def _newest_syncs(self) -> list[tuple[int, int]]:
        """For each synced boot the latest time, with its error, at which it or one before it was compared."""
        ends = [line.at(line.knots[-1].tick) for line in map(self._lines.__getitem__, self._synced)]
        return list(accumulate(ends, max))

    def _drift_since_sync(self, boot_id: int, start_us: int) -> int | None:
        """How far off the device's clock can be since the last sync before this boot; None without one."""
        before = bisect_left(self._synced, boot_id)
        if not before:
            return None
        utc_us, error_us = self._last_syncs[before - 1]
        since_us = max(start_us - utc_us + error_us, 0)
        return error_us + WELL_SET_US + round(since_us * self._oscillator.tolerance_ppm / 1e6)

    def _bounded(self, span: BootSpan, low: int | None, high: int | None) -> _Steps | None:
        if low is None or high is None or low > high:
            return None
        anchor = Sync(span.boot_id, 0, (low + high) // 2, (high - low) // 2 + 1, "neighbours")
        return _Steps((anchor,), Quality.BOUNDED, self._oscillator.tolerance_ppm)
