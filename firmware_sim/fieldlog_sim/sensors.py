"""Sensors of the simulated world. What a sensor reads is a pure function of its seed and of true time.

Rule of this module: sensors neither keep time nor know the device; they say when they can be read in a stretch of
time, and what they read. What is read at regular intervals goes by the clock of whoever reads it: its `Pace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_sim.noise import Floats, Integers, normal, stream_seed, uniform, wander

Raw: TypeAlias = npt.NDArray[Any]
"""(n, channels): int64 raw values, or float64 where the stream's channels are floats."""

_MS = 1_000
_S = 1_000_000
_DAY_US = 86_400 * _S
_CHUNK = 1 << 16  # frames at a time: months of history need no more memory for it than a day


@dataclass(frozen=True, slots=True)
class Frames:
    """Readings in order of time. `missed` were due before them and not read: there was no time left for them."""

    utc_us: Integers
    raw: Raw
    missed: int = 0


class Pace(Protocol):
    """A clock by which a sensor is read, in microseconds of its own."""

    def own_us(self, utc_us: int) -> int:
        """Its microseconds that have begun by a true time."""
        ...

    def instants(self, own_us: Integers) -> Integers:
        """The first microseconds of true time at which it stands at `own_us`."""
        ...


class TrueTime:
    """A clock that is right."""

    def own_us(self, utc_us: int) -> int:
        return utc_us

    def instants(self, own_us: Integers) -> Integers:
        return own_us


TRUE_TIME = TrueTime()


class Sensor(Protocol):
    """Periods outside `period_range_us` cannot be set; a sensor with only one period ignores what is asked, and one
    that is read at times of its own ignores the pace."""

    @property
    def stream(self) -> Stream:
        """Its channels, with the period it has by default."""
        ...

    @property
    def period_range_us(self) -> tuple[int, int]: ...

    def next_at(self, after_us: int, period_us: int, pace: Pace = TRUE_TIME) -> int:
        """When it is read next, strictly after `after_us`."""
        ...

    def frames_between(
        self, after_us: int, until_us: int, period_us: int, most: int | None = None, pace: Pace = TRUE_TIME
    ) -> Frames:
        """What is read after `after_us`, up to and including `until_us`: the last `most`, if that is given."""
        ...


class Synthetic:
    """Read at whole multiples of the period, by the clock that sets the pace. Subclasses tell the stream and what is true; here it becomes raw."""

    stream: Stream
    period_range_us: tuple[int, int]

    def truth(self, utc_us: Integers) -> Floats:
        """(n, channels) in the channels' units."""
        raise NotImplementedError

    def sample(self, utc_us: Integers) -> Raw:
        """What is read at these times, one by one or all at once."""
        truth = self.truth(utc_us)
        raw = np.empty(truth.shape, np.int64)
        for index, channel in enumerate(self.stream.channels):
            lowest = channel.type.minimum + (channel.missing == channel.type.minimum)
            scaled = np.rint(truth[:, index] / float(channel.scale))
            raw[:, index] = np.clip(scaled, lowest, channel.type.maximum)
        return raw

    def next_at(self, after_us: int, period_us: int, pace: Pace = TRUE_TIME) -> int:
        number = pace.own_us(after_us) // period_us + 1
        return int(pace.instants(np.array([number * period_us], np.int64))[0])

    def frames_between(
        self, after_us: int, until_us: int, period_us: int, most: int | None = None, pace: Pace = TRUE_TIME
    ) -> Frames:
        first, end = pace.own_us(after_us) // period_us + 1, pace.own_us(until_us) // period_us + 1
        missed = 0 if most is None else max(0, end - first - most)
        utc_us = pace.instants(np.arange(first + missed, end, dtype=np.int64) * period_us)
        raw = np.empty((len(utc_us), len(self.stream.channels)), np.int64)
        for start in range(0, len(utc_us), _CHUNK):
            raw[start : start + _CHUNK] = self.sample(utc_us[start : start + _CHUNK])
        return Frames(utc_us, raw, missed)


class Environment(Synthetic):
    """Temperature, humidity and pressure of a room: a daily cycle, slow wandering, and the sensor's own noise."""

    period_range_us = (100 * _MS, 24 * 3600 * _S)

    def __init__(self, seed: int, stream_id: int = 0) -> None:
        self._seed = stream_seed(seed, "environment")
        self.stream = Stream(
            id=stream_id,
            name="environment",
            period_us=10 * _S,
            channels=(
                _channel("temperature", "Cel", ChannelType.I16, -2, (-40.0, 85.0)),
                _channel("humidity", "%", ChannelType.I16, -2, (0.0, 100.0)),
                _channel("pressure", "Pa", ChannelType.I32, 0, (30_000.0, 110_000.0)),
            ),
        )

    def temperature(self, utc_us: Integers) -> Floats:
        """Without the sensor's noise: what an oscillator in the same room feels."""
        return 21.0 + 3.0 * _daily(utc_us) + wander(self._seed, utc_us, 1.0, 7200.0)

    def truth(self, utc_us: Integers) -> Floats:
        humidity = 45.0 - 8.0 * _daily(utc_us) + wander(self._seed + 1, utc_us, 3.0, 7200.0)
        pressure = 101_325.0 + wander(self._seed + 2, utc_us, 600.0, 2 * 86_400.0)
        return np.column_stack(
            [
                self.temperature(utc_us) + 0.02 * normal(self._seed + 3, utc_us),
                np.clip(humidity + 0.05 * normal(self._seed + 4, utc_us), 0.0, 100.0),
                pressure + 1.5 * normal(self._seed + 5, utc_us),
            ]
        )


class Motion(Synthetic):
    """Acceleration along three axes of something carried: at rest, or walking for a stretch in five."""

    period_range_us = (10 * _MS, 60 * _S)
    _STRETCH_US = 120 * _S
    _HARMONICS_G = (0.35, 0.2, 0.1, 0.06)

    def __init__(self, seed: int, stream_id: int = 1) -> None:
        self._seed = stream_seed(seed, "motion")
        axes = (
            Channel(
                name=f"acceleration {axis}",
                unit="[g]",
                type=ChannelType.I16,
                multiplier=5**12,  # 1/4096 = 244140625e-12
                exponent=-12,
                missing=-(2**15),
                minimum=-8.0,
                maximum=8.0,
            )
            for axis in "xyz"
        )
        self.stream = Stream(id=stream_id, name="motion", period_us=100 * _MS, channels=tuple(axes))

    def truth(self, utc_us: Integers) -> Floats:
        stretch, rest_us = np.divmod(utc_us, self._STRETCH_US)
        seconds = rest_us * 1e-6
        walking = uniform(self._seed, stretch) < 0.2
        gait_hz = 1.6 + 0.5 * uniform(self._seed + 1, stretch)
        breath = 0.002 * np.sin(2 * pi * 0.25 * seconds)
        return np.column_stack(
            [
                gravity
                + np.where(walking, self._steps(seconds, gait_hz, axis), breath)
                + np.where(walking, 0.03, 0.0007) * normal(self._seed + 10 + axis, utc_us)
                for axis, gravity in enumerate(self._gravity(stretch))
            ]
        )

    def _steps(self, seconds: Floats, gait_hz: Floats, axis: int) -> Floats:
        phase = 2 * pi * gait_hz * seconds + axis
        return sum(
            (amplitude * np.sin(number * phase) for number, amplitude in enumerate(self._HARMONICS_G, 1)),
            np.zeros(seconds.shape),
        ) / (1 + axis)

    def _gravity(self, stretch: Integers) -> tuple[Floats, Floats, Floats]:
        """One g in a direction that each stretch draws anew."""
        up = 2.0 * uniform(self._seed + 2, stretch) - 1.0
        angle = 2 * pi * uniform(self._seed + 3, stretch)
        level = np.sqrt(1.0 - up**2)
        return level * np.cos(angle), level * np.sin(angle), up


class Faulty:
    """A sensor that now and then gives nothing, and now and then the same for an hour."""

    _STUCK_US = 3600 * _S

    def __init__(self, sensor: Synthetic, seed: int, *, missing: float = 0.0, stuck: float = 0.0) -> None:
        self._sensor = sensor
        self._seed = stream_seed(seed, "faults", sensor.stream.name)
        self._missing = missing
        self._stuck = stuck

    @property
    def stream(self) -> Stream:
        return self._sensor.stream

    @property
    def period_range_us(self) -> tuple[int, int]:
        return self._sensor.period_range_us

    def next_at(self, after_us: int, period_us: int, pace: Pace = TRUE_TIME) -> int:
        return self._sensor.next_at(after_us, period_us, pace)

    def sample(self, utc_us: Integers) -> Raw:
        hour = utc_us // self._STUCK_US
        stuck = uniform(self._seed, hour) < self._stuck
        raw = self._sensor.sample(np.where(stuck, hour * self._STUCK_US, utc_us))
        for index, channel in enumerate(self.stream.channels):
            if channel.missing is not None:
                raw[uniform(self._seed + 1 + index, utc_us) < self._missing, index] = channel.missing
        return raw

    def frames_between(
        self, after_us: int, until_us: int, period_us: int, most: int | None = None, pace: Pace = TRUE_TIME
    ) -> Frames:
        sound = self._sensor.frames_between(after_us, until_us, period_us, most, pace)
        return Frames(sound.utc_us, self.sample(sound.utc_us), sound.missed)


def default_sensors(seed: int, index: int = 0) -> tuple[Sensor, ...]:
    """What the logger with number `index` has: an environment and a motion sensor, with noise of its own."""
    own = stream_seed(seed, index)
    return (Environment(own, stream_id=0), Motion(own, stream_id=1))


def _channel(name: str, unit: str, type_: ChannelType, exponent: int, limits: tuple[float, float]) -> Channel:
    return Channel(
        name=name,
        unit=unit,
        type=type_,
        exponent=exponent,
        missing=type_.minimum,
        minimum=limits[0],
        maximum=limits[1],
    )


def _daily(utc_us: Integers) -> Floats:
    return np.sin(np.asarray(utc_us % _DAY_US, np.float64) * (2 * pi / _DAY_US))
