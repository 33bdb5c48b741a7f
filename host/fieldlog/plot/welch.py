"""Power spectral density by Welch's method, of readings that come in batches and have gaps.

Rule of this module: arrays in, arrays out. A segment lies in one run: it never reaches over a reading that is missing, nor
over a step in time that is no sampling period. Segments overlap by half, the line of least squares is taken off each, and
the window is Hann's, so that the density is one-sided and its integral is the variance. What is held does not grow with the
readings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldlog.plot.trace import NO_TIME, Bools, Floats, Micros

Ints = npt.NDArray[np.int64]

SIZES: tuple[int, ...] = tuple(1 << power for power in range(4, 15))
"""Readings in a segment: 16 to 16 384."""
_ENOUGH = (15, 7, 3, 1)
"""Segments: so many, before a segment is made longer."""
_MAX_STEP_PERIODS = 1.5
_TICK_US = 31
"""Loggers count time in ticks of this length: two steps that are equal may differ by as much."""
_UNEVEN = 0.25
"""A step that differs from the sampling period by more than this part of it is uneven."""
_MOST_UNEVEN = 0.02
_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Joined:
    """The readings of a batch that have a value: `begins` is true where one is not joined to the one before, and `step_us`
    the time since that one, where it is joined."""

    values: Floats
    begins: Bools
    step_us: Ints


class Runs:
    """Says of batch after batch what is joined. `period_us` is the step that is usual, found in the first batch with any."""

    def __init__(self, period_us: float | None = None) -> None:
        self.period_us = period_us
        self._last: tuple[int, bool] = (0, False)

    def join(self, utc_us: Micros, values: npt.NDArray[np.generic], starts: Bools) -> Joined:
        plain = np.asarray(values, np.float64)
        there: Bools = np.isfinite(plain) & (utc_us != NO_TIME)
        if not len(there):
            return Joined(plain, there, utc_us)
        follows = ~starts & np.append(self._last[1], there[:-1]) & there
        step_us = np.diff(utc_us, prepend=self._last[0])
        self._last = (int(utc_us[-1]), bool(there[-1]))
        follows &= step_us > 0
        if self.period_us is None and follows.any():
            self.period_us = float(np.median(step_us[follows]))
        if self.period_us is not None:
            follows &= step_us <= max(_MAX_STEP_PERIODS * self.period_us, self.period_us + _TICK_US)
        return Joined(plain[there], ~follows[there], step_us[there])


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How readings follow each other. `segments`: for each of SIZES, how many lie in runs without a break."""

    period_us: float
    n_uneven: int
    n_steps: int
    longest: int
    segments: tuple[int, ...]

    @property
    def even(self) -> bool:
        return self.n_uneven <= _MOST_UNEVEN * self.n_steps

    @property
    def size(self) -> int | None:
        """The segments that tell low frequencies apart, and are enough to have a mean; None where no run holds one."""
        for enough in _ENOUGH:
            fitting = [size for size, number in zip(SIZES, self.segments, strict=True) if number >= enough]
            if fitting:
                return max(fitting)
        return None


class RhythmFinder:
    """Looks at batches in their order, once, before `Welch` does it again."""

    def __init__(self) -> None:
        self._runs = Runs()
        self._open = 0
        self._longest = 0
        self._segments = np.zeros(len(SIZES), np.int64)
        self._steps_us = self._n_steps = self._n_uneven = 0

    def add(self, utc_us: Micros, values: npt.NDArray[np.generic], starts: Bools) -> None:
        joined = self._runs.join(utc_us, values, starts)
        period_us = self._runs.period_us
        if period_us is not None:
            steps_us = joined.step_us[~joined.begins]
            self._n_steps += len(steps_us)
            self._steps_us += int(steps_us.sum())
            self._n_uneven += int((np.abs(steps_us - period_us) > max(_UNEVEN * period_us, _TICK_US)).sum())
        lengths = np.diff(np.flatnonzero(np.concatenate([[True], joined.begins, [True]])))
        lengths[0] += self._open - 1  # the place in front stands for the run that is open
        self._open = int(lengths[-1])
        self._close(lengths[:-1])

    def _close(self, lengths: Ints) -> None:
        self._segments += [int(segments_in(lengths, size).sum()) for size in SIZES]
        self._longest = max(self._longest, int(lengths.max(initial=0)))

    def rhythm(self) -> Rhythm:
        self._close(np.array([self._open], np.int64))
        self._open = 0
        period_us = self._steps_us / self._n_steps if self._n_steps else 0.0
        return Rhythm(period_us, self._n_uneven, self._n_steps, self._longest, tuple(self._segments.tolist()))


def segments_in(lengths: Ints, size: int) -> Ints:
    """How many segments that overlap by half lie in runs of so many readings."""
    return np.maximum((lengths - size) // (size // 2) + 1, 0)


class Welch:
    """The mean density of segments of `size` readings, sampled every `period_us`; add batches in their order.

    `density` is in the square of the values' unit per hertz, one for each of `frequencies_hz`, of `n_segments`.
    """

    def __init__(self, size: int, period_us: float) -> None:
        self.size, self.period_us = size, period_us
        self.n_segments = 0
        self._runs = Runs(period_us)
        self._rest: Floats = np.empty(0)
        self._power = np.zeros(size // 2 + 1)
        self._window: Floats = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        slope = np.arange(size) - (size - 1) / 2
        self._slope: Floats = slope / np.sqrt(np.square(slope).sum())

    def add(self, utc_us: Micros, values: npt.NDArray[np.generic], starts: Bools) -> None:
        joined = self._runs.join(utc_us, values, starts)
        held = len(self._rest)
        values_, begins = np.concatenate([self._rest, joined.values]), np.zeros(held + len(joined.values), np.bool_)
        begins[held:] = joined.begins
        begins[:1] = True
        first = np.flatnonzero(begins)
        lengths = np.diff(np.append(first, len(values_)))
        numbers = segments_in(lengths, self.size)
        earlier = np.cumsum(numbers) - numbers
        index = np.arange(int(numbers.sum())) - np.repeat(earlier, numbers)
        self._transform(values_, np.repeat(first, numbers) + index * (self.size // 2))
        if len(first):
            self._rest = values_[first[-1] + int(numbers[-1]) * (self.size // 2) :].copy()

    def _transform(self, values: Floats, begins: Ints) -> None:
        at_once = max(_AT_ONCE // self.size, 1)
        for low in range(0, len(begins), at_once):
            chosen = begins[low : low + at_once]
            part = values[chosen[:, None] + np.arange(self.size)]
            part -= part.mean(axis=1, keepdims=True)
            part -= (part @ self._slope)[:, None] * self._slope
            spectra = np.fft.rfft(part * self._window, axis=1)
            self._power += (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0)
        self.n_segments += len(begins)

    @property
    def frequencies_hz(self) -> Floats:
        found: Floats = np.arange(self.size // 2 + 1) / (self.size * self.period_us / 1e6)
        return found

    @property
    def density(self) -> Floats:
        sided = np.full(self.size // 2 + 1, 2.0)
        sided[[0, -1]] = 1.0
        weight = np.square(self._window).sum() * max(self.n_segments, 1)
        found: Floats = self._power * sided * (self.period_us / 1e6) / weight
        return found
