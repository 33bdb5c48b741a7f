"""What two channels make of each other: r and n, and where how many pairs are.

Pairs come in batches, twice: at first to learn from where to where they reach, then to be counted. What is held does not
grow with them. The correlation is Pearson's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import floor, isfinite, log10, sqrt

import numpy as np
import numpy.typing as npt

from fieldlog.plot.pairs import Pair, Pairing, Side
from fieldlog.plot.trace import ChannelLike, Floats, SeriesLike, Trace

MOST_POINTS = 5000
"""Up to so many pairs are kept as they are."""
_MOST_CELLS = 160
_ROUNDING = 1e-12


@dataclass(slots=True)
class Moments:
    """Number, means and sums of squares and products about them, of pairs that come in batches."""

    n: int = 0
    mean: Floats = field(default_factory=lambda: np.zeros(2))
    squares: Floats = field(default_factory=lambda: np.zeros((2, 2)))
    low: Floats = field(default_factory=lambda: np.full(2, np.inf))
    high: Floats = field(default_factory=lambda: np.full(2, -np.inf))

    def add(self, pair: Pair) -> None:
        n = len(pair[0])
        if not n:
            return
        both = np.stack(pair)
        mean = both.mean(axis=1)
        apart = both - mean[:, None]
        shift = mean - self.mean
        self.squares += apart @ apart.T + np.outer(shift, shift) * (self.n * n / (self.n + n))
        self.mean += shift * (n / (self.n + n))
        self.n += n
        self.low, self.high = np.minimum(self.low, both.min(axis=1)), np.maximum(self.high, both.max(axis=1))

    @property
    def correlation(self) -> float | None:
        """Pearson's; None where one of both is always the same."""
        (xx, xy), (_, yy) = self.squares.tolist()
        if not (self.low < self.high).all() or not xx * yy > 0:
            return None
        return float(max(-1.0, min(1.0, xy / sqrt(xx) / sqrt(yy))))


@dataclass(frozen=True, slots=True)
class Scale:
    """Even cells along one axis."""

    begin: float
    width: float
    number: int

    @property
    def end(self) -> float:
        return self.begin + self.number * self.width

    def cells(self, values: Floats) -> npt.NDArray[np.int64]:
        found: npt.NDArray[np.int64] = ((values - self.begin) / self.width).astype(np.int64)
        return found.clip(0, self.number - 1)


class Cloud:
    """The pairs of one device."""

    def __init__(self, label: str, pairing: Pairing) -> None:
        self.label, self.pairing = label, pairing
        self.moments = Moments()
        self._some: list[Pair] = []
        for x, y in pairing:
            room = max(MOST_POINTS - self.moments.n, 0)
            self._some.append((x[:room].copy(), y[:room].copy()))
            self.moments.add((x, y))

    @property
    def points(self) -> Pair:
        """All pairs while they are few, else the first ones."""
        x, y = (np.concatenate([np.empty(0), *(pair[axis] for pair in self._some)]) for axis in (0, 1))
        return x, y

    def counts(self, across: Scale, up: Scale) -> npt.NDArray[np.int64]:
        """How many pairs are in each cell, by (row from the foot, column)."""
        n = across.number * up.number
        found = np.zeros(n, np.int64)
        for x, y in self.pairing:
            found += np.bincount(up.cells(y) * across.number + across.cells(x), minlength=n)
        return found.reshape(up.number, across.number)

    @property
    def figures(self) -> str:
        """r and n."""
        number = f"{self.moments.n:,}".replace(",", "\N{THIN SPACE}")
        return f"r {r_text(self.moments.correlation)}, n = {number}"


def r_text(r: float | None) -> str:
    """Such as `= 0.913`; 1 only where it is."""
    if r is None:
        return "is not defined"
    text = f"= {r:.3f}"
    if text.endswith("1.000") and abs(r) < 1 - 1e-9:
        text = "> 0.999" if r > 0 else "< -0.999"
    return text.replace("-", "\N{MINUS SIGN}")


class _Rows:
    """One trace, or two of the same times, in the shape of a series."""

    label = ""

    def __init__(self, **traces: Trace) -> None:
        first = next(iter(traces.values()))
        self.utc_us = first.utc_us
        self.starts = np.zeros(len(first.utc_us), np.bool_) if first.starts is None else first.starts
        self.channels: Sequence[ChannelLike] = [
            Trace(name, trace.unit, trace.utc_us, trace.values) for name, trace in traces.items()
        ]
        self.columns = [trace.values for trace in traces.values()]


def cloud_of(label: str, x: Trace, y: Trace) -> Cloud:
    """Traces of the same times are paired row by row, others by what is nearest."""
    if np.array_equal(x.utc_us, y.utc_us):
        given: list[SeriesLike] = [_Rows(x=x, y=y)]
    else:
        given = [_Rows(x=x), _Rows(y=y)]

    def batches() -> Iterable[SeriesLike]:
        return given

    return Cloud(label, Pairing(Side("x", batches), Side("y", batches)))


@dataclass(frozen=True, slots=True)
class Clouds:
    """A cloud for each device, and the names of (across, up)."""

    found: Sequence[Cloud]
    names: tuple[str, str]


def scale_of(drawn: Sequence[Cloud], axis: int) -> Scale:
    """Cells as wide as a round number, none narrower than a sensor's step, and no value on their edges by chance."""
    low = float(min(cloud.moments.low[axis] for cloud in drawn))
    high = float(max(cloud.moments.high[axis] for cloud in drawn))
    step = min(_step(cloud.points[axis]) for cloud in drawn)
    width = max(_round_up((high - low) / _MOST_CELLS or max(abs(high), 1.0) / 10), step)
    begin = low - min(step, width) / 2
    return Scale(begin, width, floor((high - begin) / width) + 1)


def _step(values: Floats) -> float:
    """The smallest distance between values, but for what their last binary digits make; 0 where there is none to tell."""
    found = np.unique(values)
    apart, size = np.diff(found), np.abs(found)
    apart = apart[apart > np.maximum(size[1:], size[:-1]) * _ROUNDING]
    return float(apart.min()) if len(apart) else 0.0


def _round_up(least: float) -> float:
    power = 10.0 ** floor(log10(least)) if isfinite(least) and least > 0 else 1.0
    return float(next((part * power for part in (1, 2, 5, 10) if part * power >= least * (1 - 1e-9)), least))
