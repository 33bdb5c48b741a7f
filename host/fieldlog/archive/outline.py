"""What every few hundred readings come to: their lowest, highest and sum, and where a line through them is broken.

Rule of this module: readings in, small arrays out; it knows neither database nor Parquet. An outline is about one batch of
readings. A picture in which hundreds of readings share a column of pixels needs no more than this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.archive.series import Series
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog_protocol.blocks.schema import Channel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Spans = tuple[Ints, Ints]
"""(begins, ends)."""

CHUNK = 512
"""Readings that are told of together; fewer where a line is broken, or a time lies before the one before it."""
_MOST_PARTS = 4
_LEAST_PER_RUN = 16
_SUMMED_BYTES = 4


@dataclass(frozen=True, slots=True)
class ChannelOutline:
    """One channel: an element per chunk, of which only `count` means anything where that is 0.

    `opened`: the chunk's first value begins anew. `runs`: times without a break. `n_missing`: readings whose time is known and
    that have no value, or one that is infinite. `squares`: the sum of the squared distances
    from `level` of all values. `broken_after`: the last reading of all lacks a value or a time.
    """

    low: Floats
    high: Floats
    total: Floats
    count: npt.NDArray[np.uint16]
    opened: Bools
    runs: Spans
    n_missing: int
    level: float
    squares: float
    broken_after: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """A batch of `rows` readings. `first_us` and `last_us` have an element per chunk of readings whose time is known;
    `starts`: the first reading of these begins anew. `quality`: each stretch of equal time quality, and from when to when."""

    rows: int
    starts: bool
    first_us: Ints
    last_us: Ints
    logged: Spans
    quality: npt.NDArray[np.uint8]
    quality_spans: Spans
    channels: tuple[ChannelOutline, ...]


def outline(series: Series) -> Outline | None:
    """None where there are so many breaks that it would be no smaller than the readings."""
    there: Bools = series.utc_us != UNKNOWN_TIME
    utc_us, starts = _kept(series.utc_us, there), _opened(series.starts, there)
    edges = _edges(utc_us, starts)
    most = -(-len(series) // CHUNK)
    changes = _changes(series.quality)
    if max(len(edges), len(changes)) > _MOST_PARTS * most:
        return None
    ends = np.append(edges[1:], len(utc_us))[: len(edges)]
    view = _View(there, utc_us, starts, edges, ends)
    channels = tuple(_channel(channel, raw, view) for channel, raw in zip(series.channels, series.raw, strict=True))
    if any(len(found.runs[0]) * _LEAST_PER_RUN > max(len(series), _MOST_PARTS * CHUNK) for found in channels):
        return None
    return Outline(
        rows=len(series),
        starts=bool(starts[:1].any()),
        first_us=utc_us[edges],
        last_us=utc_us[ends - 1],
        logged=_runs(utc_us, starts),
        quality=series.quality[changes],
        quality_spans=(series.utc_us[changes], series.utc_us[np.append(changes[1:], len(series)) - 1]),
        channels=channels,
    )


@dataclass(frozen=True, slots=True)
class _View:
    """The readings whose time is known, and where their chunks begin and end."""

    there: Bools
    utc_us: Ints
    starts: Bools
    edges: Ints
    ends: Ints


def _kept(values: npt.NDArray[Any], there: Bools) -> npt.NDArray[Any]:
    return values if there.all() else values[there]


def _opened(starts: Bools, there: Bools) -> Bools:
    """`starts` of those that are there; what follows one that is not begins anew."""
    if there.all():
        return starts
    group = np.cumsum(starts | np.concatenate([[False], ~there[:-1]]))[there]
    opened: Bools = np.diff(group, prepend=0) != 0
    return opened


def _edges(utc_us: Ints, starts: Bools) -> Ints:
    if not len(utc_us):
        return np.empty(0, np.int64)
    breaks = np.flatnonzero(starts[1:] | (utc_us[1:] < utc_us[:-1])) + 1
    every = np.arange(0, len(utc_us), CHUNK)
    return np.union1d(every, breaks) if len(breaks) else every


def _changes(values: npt.NDArray[Any]) -> Ints:
    return np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])


def _runs(utc_us: Ints, starts: Bools) -> Spans:
    if not len(utc_us):
        return utc_us, utc_us
    begins = np.concatenate([[0], np.flatnonzero(starts[1:]) + 1])
    return utc_us[begins], utc_us[np.append(begins[1:], len(utc_us)) - 1]


def _channel(channel: Channel, raw: npt.NDArray[Any], view: _View) -> ChannelOutline:
    whole = raw.dtype.kind in "iu" and raw.dtype.itemsize <= _SUMMED_BYTES and not channel.calibration
    numbers = _kept(raw if whole else channel.values(raw), view.there)
    valued = _valued(channel, numbers, whole=whole)
    opened: Bools = view.starts
    ends, utc_us, known = view.ends, view.utc_us, numbers
    if not valued.all():
        utc_us, known = view.utc_us[valued], numbers[valued]
        opened = _opened(view.starts, valued)
        ends = np.cumsum(valued, dtype=np.int64)[view.ends - 1]
    begins = np.concatenate([[0], ends[:-1]])[: len(ends)]
    count = ends - begins
    filled = np.flatnonzero(count)
    low, high, total = (np.zeros(len(ends), np.float64) for _ in range(3))
    first_opened = np.zeros(len(ends), np.bool_)
    level = squares = 0.0
    if len(filled):
        at = begins[filled]
        scaled = _Scaled(channel, known, at, count[filled]) if whole else _Plain(known, at)
        low[filled], high[filled], total[filled] = scaled.low, scaled.high, scaled.total
        first_opened[filled] = opened[at]
        level, squares = scaled.level, scaled.squares
    return ChannelOutline(
        low=low,
        high=high,
        total=total,
        count=count.astype(np.uint16),
        opened=first_opened,
        runs=_runs(utc_us, opened),
        n_missing=len(numbers) - len(known),
        level=level,
        squares=squares,
        broken_after=bool(len(raw)) and not (view.there[-1] and valued[-1]),
    )


def _valued(channel: Channel, numbers: npt.NDArray[Any], *, whole: bool) -> Bools:
    if whole and channel.missing is None:
        return np.ones(len(numbers), np.bool_)
    found: Bools = numbers != channel.missing if whole else np.isfinite(numbers)
    return found


def _squared(away: Floats) -> float:
    """Not by np.dot: its threads, one for each processor, would keep those busy that decode and write."""
    return float(np.einsum("i,i->", away, away))


class _Plain:
    """Values in their unit."""

    def __init__(self, values: Floats, at: Ints) -> None:
        self.low: Floats = np.minimum.reduceat(values, at)
        self.high: Floats = np.maximum.reduceat(values, at)
        with np.errstate(over="ignore", invalid="ignore"):
            self.total: Floats = np.add.reduceat(values, at)
            self.level = float(values[0])
            away = values - self.level
            self.squares = _squared(away)


class _Scaled:
    """Counts, which are added up as such and scaled afterwards: there are fewer sums than counts."""

    def __init__(self, channel: Channel, counts: npt.NDArray[Any], at: Ints, number: Ints) -> None:
        ends = [channel.values(extreme.reduceat(counts, at)) for extreme in (np.minimum, np.maximum)]
        self.low: Floats = np.minimum(
            *ends
        )  # of a channel whose factor is negative the lowest count is the highest value
        self.high: Floats = np.maximum(*ends)
        total = np.add.reduceat(counts, at, dtype=np.int64).astype(np.float64) * float(channel.multiplier)
        total += number * float(channel.offset)
        down, up = float(10 ** max(0, -channel.exponent)), float(10 ** max(0, channel.exponent))
        self.total: Floats = total * up / down
        self.level = float(channel.values(counts[:1])[0])
        away = counts.astype(np.float64)
        away -= float(counts[0])
        step = float(channel.multiplier) * up / down
        self.squares = _squared(away) * step * step
