"""When the frames of a block were taken, and whether one more frame can be told by the same block.

Rule of this module: the instants of a block lie on the straight line from its first frame to its last, never along
the nominal period, and a frame is taken into a block only while every frame so far stays within the tolerance of the
line that would result. As each frame narrows the slopes that are possible, one comparison per frame decides (the
swinging door). A timed stream carries its instants in a column of its own and needs no line.
"""

from __future__ import annotations

import math
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.schema import Stream

Ticks: TypeAlias = npt.NDArray[np.int64]

ROUNDING_TICKS = 0.5
"""What an instant on the line loses to whole ticks."""
_TOLERANCE_TICKS = 2
_TOLERANCE_OF_PERIOD = 50e-6
_MAX_STAMP = 2**32 - 1
_FRACTION_BITS = 34
_HALF = 1 << _FRACTION_BITS - 1


class Instants(Protocol):
    """The instants of the frames in an open block. `span` is what the block's trailer will say."""

    frames: int
    first: int
    last: int

    @property
    def span(self) -> int: ...

    def fits(self, tick: int) -> bool: ...

    def add(self, tick: int) -> None: ...

    def fit_many(self, ticks: Ticks) -> int:
        """How many of the leading `ticks` fit, each after those before it."""
        ...

    def add_many(self, ticks: Ticks) -> None: ...


def open_instants(stream: Stream, resolution: int | None) -> Instants:
    """`resolution` is that of the payload's time column, None where it has none."""
    return Line(tolerance_ticks(stream)) if resolution is None else Stamps(resolution)


def tolerance_ticks(stream: Stream) -> float:
    """How far from the line, before that is rounded, a frame may have been taken: else it begins a new block."""
    return _TOLERANCE_TICKS + stream.period_ticks * _TOLERANCE_OF_PERIOD


class Line:
    """Instants that a block reconstructs from its t0, span and number of frames."""

    def __init__(self, tolerance: float) -> None:
        self.frames = 0
        self.first = 0
        self.last = 0
        self._tolerance = tolerance
        self._least = -math.inf
        self._greatest = math.inf

    @property
    def span(self) -> int:
        return self.last - self.first

    def fits(self, tick: int) -> bool:
        return self.frames == 0 or self._least <= (tick - self.first) / self.frames <= self._greatest

    def add(self, tick: int) -> None:
        if self.frames == 0:
            self.first = tick
        else:
            self._least = max(self._least, (tick - self.first - self._tolerance) / self.frames)
            self._greatest = min(self._greatest, (tick - self.first + self._tolerance) / self.frames)
        self.last = tick
        self.frames += 1

    def fit_many(self, ticks: Ticks) -> int:
        if self.frames == 0 and len(ticks):
            opened = Line(self._tolerance)
            opened.add(int(ticks[0]))
            return 1 + opened.fit_many(ticks[1:])
        number = np.arange(self.frames, self.frames + len(ticks))
        elapsed = ticks - self.first
        slope = elapsed / number
        least = np.maximum(np.maximum.accumulate((elapsed - self._tolerance) / number), self._least)
        greatest = np.minimum(np.minimum.accumulate((elapsed + self._tolerance) / number), self._greatest)
        outside = np.flatnonzero((slope < least) | (slope > greatest))
        return int(outside[0]) if len(outside) else len(ticks)

    def add_many(self, ticks: Ticks) -> None:
        if self.frames == 0 and len(ticks):
            self.add(int(ticks[0]))
            ticks = ticks[1:]
        if len(ticks):
            number = np.arange(self.frames, self.frames + len(ticks))
            elapsed = ticks - self.first
            self._least = max(self._least, float(((elapsed - self._tolerance) / number).max()))
            self._greatest = min(self._greatest, float(((elapsed + self._tolerance) / number).min()))
            self.last = int(ticks[-1])
            self.frames += len(ticks)


class Stamps:
    """Instants that a timed stream's own column carries, in units of `resolution` ticks since the first."""

    def __init__(self, resolution: int) -> None:
        self.frames = 0
        self.first = 0
        self.last = 0
        self._resolution = resolution

    @property
    def span(self) -> int:
        return (self.last - self.first) // self._resolution * self._resolution

    def fits(self, tick: int) -> bool:
        return self.frames == 0 or (tick - self.first) // self._resolution <= _MAX_STAMP

    def add(self, tick: int) -> None:
        if self.frames == 0:
            self.first = tick
        self.last = tick
        self.frames += 1

    def fit_many(self, ticks: Ticks) -> int:
        if not len(ticks):
            return 0
        first = self.first if self.frames else int(ticks[0])
        limit = first + (_MAX_STAMP + 1) * self._resolution
        return int(np.searchsorted(ticks, limit, side="left"))

    def add_many(self, ticks: Ticks) -> None:
        if len(ticks):
            self.first = self.first if self.frames else int(ticks[0])
            self.last = int(ticks[-1])
            self.frames += len(ticks)


def line_ticks(t0: Ticks, span: Ticks, counts: npt.NDArray[np.int64]) -> Ticks:
    """The instants of all frames of several blocks, of which each has one or more: t0 + i * span / (n - 1), rounded half
    up, in whole numbers.

    Steps are whole ticks and 2**-34ths of one, rounded up: 65535 of them are off by less than the least that a sum
    can be short of a whole number, which is half the reciprocal of their number.
    """
    steps = np.maximum(counts - 1, 1)
    whole, rest = np.divmod(span, steps)
    result = _ramps(t0, whole, counts)
    if rest.any():
        fractions = _ramps(np.full(len(counts), _HALF), -(-(rest << _FRACTION_BITS) // steps), counts)
        fractions >>= _FRACTION_BITS
        result += fractions
    return result


def _ramps(first: Ticks, step: Ticks, counts: npt.NDArray[np.int64]) -> Ticks:
    """Of each block `count` numbers, from `first` on by `step`; modulo 2**64."""
    result = np.repeat(step, counts)
    result[np.cumsum(counts) - counts] = first - np.concatenate(([0], (first + step * (counts - 1))[:-1]))
    return np.cumsum(result, out=result)
