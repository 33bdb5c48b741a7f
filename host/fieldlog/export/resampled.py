"""A selection over even steps of time: readings like any others, one for each step and a channel for each statistic.

Rule of this module: what it gives is a selection too, so that every format writes it. Numbers that the device counted stay
exact, the lowest and the highest as they are. A mean has two decimals more; that of 64-bit counts is a whole count, and where
two decimals more would not fit it has 12 digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldlog.archive.series import Series
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.export.layout import Batches
from fieldlog.resample import Resampled, Resampler, Stepped, Steps
from fieldlog.text import count
from fieldlog_protocol.blocks.schema import MAX_COLUMNS, Channel, ChannelType
from fieldlog_protocol.errors import UsageError

_MISSING = -(2**63)
_MORE_DECIMALS = 2
_MOST_DECIMALS = 18
_EXACT = 2**53
_GREATEST = float(2**63 - 2**10)  # no float lies between it and the end of 64 bits
_LONGEST_US = 2**48 - 1  # that a stream's period can say
_AS_IT_IS = (0.0, 1.0)  # the calibration of what is reckoned, which has no digits of its own

Raw = npt.NDArray[Any]


class Statistic(StrEnum):
    """What of the values of a step is told."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    COUNT = "count"


class InSteps:
    """`readings` over `steps`: batches of them, with the `statistics` of each channel side by side.

    A step may hold readings of several sessions of a device. `problems` tells what is in no step, as far as it was gone
    through.
    """

    def __init__(self, readings: Batches, steps: Steps, statistics: Sequence[Statistic]) -> None:
        self._readings = readings
        self._steps = steps
        self._statistics = tuple(dict.fromkeys(statistics))
        self._nameless: dict[str, None] = {}
        self._undated = 0

    @property
    def problems(self) -> list[str]:
        """A sentence for each kind of reading that is left out."""
        found = [f"{name} has words for values, which have no mean: left out." for name in self._nameless]
        if self._undated:
            found.append(f"{count(self._undated, 'reading')} whose time is not known are in no step.")
        return found

    def batches(self) -> Iterator[Series]:
        """Steps of each stream in order; those that are open when a device ends come last."""
        self._undated = 0
        lanes: dict[int, _Lane] = {}
        uid = ""
        for series in self._readings.batches():
            self._undated += int(np.count_nonzero(series.utc_us == UNKNOWN_TIME))
            if series.log.uid != uid:
                yield from _rest(lanes)
                uid, lanes = series.log.uid, {}
            lane = lanes.get(series.stream.id)
            if lane is None or not lane.is_of(series):
                yield from _rest({0: lane} if lane else {})
                lane = lanes[series.stream.id] = _Lane(series, self._steps, self._statistics)
                self._nameless |= dict.fromkeys(channel.name for channel in series.channels if channel.choices)
            yield from lane.feed(series)
        yield from _rest(lanes)


def _rest(lanes: dict[int, _Lane]) -> Iterator[Series]:
    for number in sorted(lanes):
        yield from lanes[number].rest()


class _Lane:
    """One stream of one device, as its channels are described; its period may change from session to session."""

    def __init__(self, first: Series, steps: Steps, statistics: Sequence[Statistic]) -> None:
        self._first = first
        self._steps = steps
        self._parts = {
            index: _Part(channel, statistics) for index, channel in enumerate(first.channels) if not channel.choices
        }
        self._channels = tuple(channel for part in self._parts.values() for channel in part.channels)
        if len(self._channels) > MAX_COLUMNS:
            raise UsageError(
                f"the stream {first.stream.name!r} would have {len(self._channels)} columns over steps, and {MAX_COLUMNS} "
                "are the most: choose some channels, or fewer statistics"
            )
        self._resampler = Resampler(steps)
        self._last_us = np.zeros(0, np.int64)

    def is_of(self, series: Series) -> bool:
        return (series.stream.name, series.channels) == (self._first.stream.name, self._first.channels)

    def feed(self, series: Series) -> Iterator[Series]:
        given = [part.given(series.raw[index]) for index, part in self._parts.items()]
        columns: list[Raw] = [series.error_us, series.quality, *(column for column, _ in given)]
        known = [None, None, *(flags for _, flags in given)]
        yield from self._told(self._resampler.feed(series.utc_us, columns, known))

    def rest(self) -> Iterator[Series]:
        found = self._resampler.rest()
        if found is not None:
            yield from self._told(found)

    def _told(self, found: Resampled) -> Iterator[Series]:
        """As a series of one session and boot, whose ticks are the beginnings of the steps."""
        if not len(found) or not self._parts:
            return
        joined = self._steps.joins(np.concatenate([self._last_us, found.begin_us]))[-len(found) :]
        self._last_us = found.begin_us[-1:]
        error, quality, *channels = found.channels
        raw = [told for part, stepped in zip(self._parts.values(), channels, strict=True) for told in part.raw(stepped)]
        yield Series(
            log=self._first.log,
            stream=msgspec.structs.replace(
                self._first.stream, channels=self._channels, period_us=min(self._steps.us, _LONGEST_US), timed=False
            ),
            session=0,
            channels=self._channels,
            utc_us=found.begin_us,
            error_us=error.highest,
            quality=quality.highest,
            boot_id=np.zeros(len(found), np.uint16),
            tick=found.begin_us,
            starts=~joined,
            raw=raw,
        )


class _Part:
    """One channel: what is reckoned of it, and the channels that its statistics make."""

    def __init__(self, channel: Channel, statistics: Sequence[Statistic]) -> None:
        self._channel = channel
        self._counted = not channel.calibration and not channel.type.is_float
        self._exact_mean = self._counted and _mean_fits(channel)
        self._statistics = statistics
        self.channels = tuple(self._channel_of(statistic) for statistic in statistics)

    def given(self, raw: Raw) -> tuple[Raw, npt.NDArray[np.bool_] | None]:
        """What is reckoned with, and which of it is there: what was counted, where that gives the value exactly."""
        if not self._counted:
            values = self._channel.values(raw)
            return (values.astype(np.float32) if self._is_f32 else values), None
        return raw, None if self._channel.missing is None else raw != self._channel.missing

    def raw(self, stepped: Stepped) -> list[Raw]:
        """The raw numbers of each of the channels."""
        return [self._raw(statistic, stepped) for statistic in self._statistics]

    @property
    def _is_f32(self) -> bool:
        channel = self._channel
        return channel.type.is_float and not channel.calibration

    @property
    def _is_i64(self) -> bool:
        return self._channel.type is ChannelType.I64

    def _channel_of(self, statistic: Statistic) -> Channel:
        name = f"{self._channel.name} {statistic}"
        if statistic is Statistic.COUNT:
            return Channel(name, "", ChannelType.U32)
        if self._exact_mean and statistic is Statistic.MEAN:
            exponent = self._channel.exponent - _MORE_DECIMALS
            return Channel(name, self._channel.unit, ChannelType.I64, exponent=exponent, missing=_MISSING)
        if self._counted and (statistic is not Statistic.MEAN or self._is_i64):
            return msgspec.structs.replace(self._channel, name=name)
        plain = self._is_f32 and statistic is not Statistic.MEAN
        return Channel(name, self._channel.unit, ChannelType.F32, calibration=() if plain else _AS_IT_IS)

    def _raw(self, statistic: Statistic, stepped: Stepped) -> Raw:
        there = stepped.count > 0
        if statistic is Statistic.COUNT:
            return stepped.count.astype(np.uint32)
        if statistic is Statistic.MEAN:
            return self._mean(stepped, there)
        # the scale may turn the order round
        low = (statistic is Statistic.MIN) == (not self._counted or self._channel.multiplier > 0)
        extreme = stepped.lowest if low else stepped.highest
        if not self._counted:
            return np.where(there, extreme, extreme.dtype.type(np.nan))
        return extreme if self._channel.missing is None else np.where(there, extreme, self._channel.missing)

    def _mean(self, stepped: Stepped, there: npt.NDArray[np.bool_]) -> Raw:
        mean = stepped.mean
        if not self._counted:
            return mean.astype(np.float32) if self._is_f32 else mean
        channel = self._channel
        if self._is_i64:
            whole = np.rint(np.where(there, mean, 0.0)).clip(-_GREATEST, _GREATEST).astype(np.int64)
            return whole if channel.missing is None else np.where(there, whole, channel.missing)
        counted = np.where(there, mean, 0.0) * channel.multiplier + channel.offset
        if not self._exact_mean:
            return np.where(there, counted * 10.0**channel.exponent, np.nan)
        return np.where(there, np.rint(counted * 10**_MORE_DECIMALS).astype(np.int64), _MISSING)


def _mean_fits(channel: Channel) -> bool:
    """Whether a mean with its decimals is a whole number that a float holds exactly."""
    kind = channel.type
    largest = max(abs(kind.minimum), kind.maximum) * abs(channel.multiplier) + abs(channel.offset)
    return -_MOST_DECIMALS < channel.exponent <= 0 and largest * 10**_MORE_DECIMALS < _EXACT
