"""Readings of two channels that belong together: of one row, or the nearest in time.

Rule of this module: arrays in batches, each in the order in which readings were taken; what is held does not grow with
them. A reading whose time lies before that of one before it finds no partner in another stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from fieldlog.plot.trace import NO_TIME, Floats, Micros, SeriesLike

Pieces = Iterable[tuple[Micros, Floats]]
"""(times, values) of one channel, batch after batch."""
Pair = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Side:
    """A channel by its name, in batches of readings that can be had again and again, in the same order."""

    name: str
    batches: Callable[[], Iterable[SeriesLike]]


def _place(series: SeriesLike, name: str) -> int | None:
    """Of the first channel of that name; None where there is none."""
    return next((index for index, channel in enumerate(series.channels) if channel.name == name), None)


def _known(series: SeriesLike, place: int) -> tuple[Micros, Floats]:
    """Times and values of a channel, where both are there."""
    values = np.asarray(series.columns[place], np.float64)
    there = np.isfinite(values) & (series.utc_us != NO_TIME)
    return series.utc_us[there], values[there]


class _Seen:
    """A channel in the streams that have not the other: how many values, and how far its readings are apart in the mean."""

    def __init__(self) -> None:
        self.n_values = 0
        self._n_steps = self._steps_us = 0

    def add(self, series: SeriesLike, place: int) -> None:
        utc_us, _ = _known(series, place)
        self.n_values += len(utc_us)
        joined = ~series.starts[1:] & (series.utc_us[1:] != NO_TIME) & (series.utc_us[:-1] != NO_TIME)
        steps_us = np.diff(series.utc_us)[joined]
        steps_us = steps_us[steps_us > 0]
        self._n_steps += len(steps_us)
        self._steps_us += int(steps_us.sum())

    @property
    def step_us(self) -> float:
        return self._steps_us / self._n_steps if self._n_steps else float("inf")


class Pairing:
    """The pairs of two channels. Iterate as often as wanted; what is told of them is that of the last time.

    Where a stream has both, each of its rows is a pair; else each reading of the slower channel has the nearest of the other
    one, at most half of the other's step away. `units` are those of (across, up).
    """

    def __init__(self, across: Side, up: Side) -> None:
        self.across, self.up = across, up
        self._reset()

    def _reset(self) -> None:
        self.n_readings = self.n_rows = self.n_lone = self.n_pairs = 0
        self.apart_us: int | None = None
        self.units: tuple[dict[str, None], dict[str, None]] = ({}, {})
        self._seen = (_Seen(), _Seen())

    def __iter__(self) -> Iterator[Pair]:
        self._reset()
        for pair in chain(self._in_rows(), self._near()):
            self.n_pairs += len(pair[0])
            yield pair

    def _in_rows(self) -> Iterator[Pair]:
        if self.across.batches is not self.up.batches:
            for series in self.across.batches():
                self._look(series, self.across.name, None)
            for series in self.up.batches():
                self._look(series, None, self.up.name)
            return
        for series in self.across.batches():
            places = self._look(series, self.across.name, self.up.name)
            if places is not None:
                yield self._rows(series, *places)

    def _look(self, series: SeriesLike, across: str | None, up: str | None) -> tuple[int, int] | None:
        """Where both are; one that is alone is noted."""
        self.n_readings += len(series.utc_us)
        places = [None if name is None else _place(series, name) for name in (across, up)]
        for place, units in zip(places, self.units, strict=True):
            if place is not None:
                units[series.channels[place].unit] = None
        if places[0] is not None and places[1] is not None:
            return places[0], places[1]
        for place, seen in zip(places, self._seen, strict=True):
            if place is not None:
                seen.add(series, place)
        return None

    def _rows(self, series: SeriesLike, across: int, up: int) -> Pair:
        x, y = (np.asarray(series.columns[place], np.float64) for place in (across, up))
        there = np.isfinite(x) & np.isfinite(y) & (series.utc_us != NO_TIME)
        self.n_rows += len(x)
        return x[there], y[there]

    def _near(self) -> Iterator[Pair]:
        across, up = self._seen
        step_us = min(across.step_us, up.step_us)
        if not across.n_values or not up.n_values or step_us == float("inf"):
            self.n_lone += across.n_values + up.n_values
            return
        self.apart_us = int(step_us / 2)
        slow_is_up = up.step_us > across.step_us
        self.n_lone += up.n_values if slow_is_up else across.n_values
        pieces = (self._pieces(self.across, self.up), self._pieces(self.up, self.across))
        slow, fast = pieces[::-1] if slow_is_up else pieces
        for of_slow, of_fast in nearest(slow, fast, self.apart_us):
            yield (of_fast, of_slow) if slow_is_up else (of_slow, of_fast)

    @property
    def n_without(self) -> int:
        """Rows, and readings of the slower channel, that make no pair."""
        return self.n_rows + self.n_lone - self.n_pairs

    def _pieces(self, side: Side, other: Side) -> Pieces:
        """A channel in streams that have not the other."""
        for series in side.batches():
            place = _place(series, side.name)
            both = side.batches is other.batches and _place(series, other.name) is not None
            if place is not None and not both:
                yield _known(series, place)


class _Ahead:
    """A channel that is read as far as it is needed."""

    def __init__(self, given: Pieces) -> None:
        self._given = iter(given)
        self._last_us: int | None = None
        self.utc_us: Micros = np.empty(0, np.int64)
        self.values: Floats = np.empty(0)
        self.ended = False

    def pull(self) -> None:
        """One more batch, of which is left out what goes back in time."""
        found = next(self._given, None)
        if found is None:
            self.ended = True
            return
        utc_us, values = found
        if not len(utc_us):
            return
        floor_us = utc_us if self._last_us is None else np.maximum(utc_us, self._last_us)
        rising = utc_us >= np.maximum.accumulate(floor_us)
        self.utc_us = np.concatenate([self.utc_us, utc_us[rising]])
        self.values = np.concatenate([self.values, values[rising]])
        if len(self.utc_us):
            self._last_us = int(self.utc_us[-1])

    def drop(self, count: int) -> None:
        self.utc_us, self.values = self.utc_us[count:], self.values[count:]


def nearest(slow: Pieces, fast: Pieces, tolerance_us: int) -> Iterator[Pair]:
    """Each reading of one channel with that of another nearest to it in time, where there is one within the tolerance."""
    lead, other = _Ahead(slow), _Ahead(fast)
    while True:
        while not len(lead.utc_us) and not lead.ended:
            lead.pull()
        if not len(lead.utc_us):
            return
        other.drop(int(other.utc_us.searchsorted(int(lead.utc_us[0]) - tolerance_us)))
        n_ready = len(lead.utc_us)
        if not other.ended:
            last_us = int(other.utc_us[-1]) if len(other.utc_us) else NO_TIME
            n_ready = int(lead.utc_us.searchsorted(last_us, side="right"))  # nothing that comes can be nearer
        if n_ready:
            yield _matched(lead.utc_us[:n_ready], lead.values[:n_ready], other, tolerance_us)
            lead.drop(n_ready)
        else:
            other.pull()


def _matched(utc_us: Micros, values: Floats, other: _Ahead, tolerance_us: int) -> Pair:
    if not len(other.utc_us):
        return np.empty(0), np.empty(0)
    after = other.utc_us.searchsorted(utc_us).clip(0, len(other.utc_us) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(other.utc_us[before] - utc_us) < np.abs(other.utc_us[after] - utc_us)
    found = np.where(nearer, before, after)
    close = np.abs(other.utc_us[found] - utc_us) <= tolerance_us
    return values[close], other.values[found[close]]
