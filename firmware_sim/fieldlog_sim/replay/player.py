"""A recording as a sensor: it reads what was read then, at those times, and after its end the same over again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldlog_protocol.blocks.schema import Stream
from fieldlog_sim.noise import Integers
from fieldlog_sim.sensors import TRUE_TIME, Frames, Pace, Raw


@dataclass(slots=True)
class Timeline:
    """When the rows of a file are read. `lap_us` is the time from its first row to the same row over again."""

    utc_us: Integers
    lap_us: int
    live_us: int | None = None
    """When the first row is read again, if that is not as soon as the recording ends."""

    @property
    def first_us(self) -> int:
        return int(self.utc_us[0])

    @property
    def last_us(self) -> int:
        return int(self.utc_us[-1])

    def count(self, until_us: int) -> int:
        """How many rows are read up to and including `until_us`, each time that the file is gone through."""
        rows = len(self.utc_us)
        start_us = self.first_us if self.live_us is None else self.live_us
        if until_us < start_us:
            return self._rows(until_us)
        laps, into_us = divmod(until_us - start_us, self.lap_us)
        return (laps + (self.live_us is not None)) * rows + self._rows(self.first_us + into_us)

    def instants(self, numbers: Integers) -> Integers:
        """When these rows are read. They are numbered from the first reading of all, past the end of the file."""
        laps, rows = np.divmod(numbers, len(self.utc_us))
        return self.utc_us[rows] + np.where(laps > 0, laps * self.lap_us + self._later_us, 0)

    def next_at(self, after_us: int) -> int:
        """The next row's time, strictly after `after_us`."""
        return int(self.instants(np.array([self.count(after_us)]))[0])

    @property
    def _later_us(self) -> int:
        """How much later than without a pause the file is gone through again."""
        return 0 if self.live_us is None else self.live_us - self.first_us - self.lap_us

    def _rows(self, until_us: int) -> int:
        return int(np.searchsorted(self.utc_us, until_us, side="right"))


class ReplaySensor:
    """Some columns of a file. `utc_us` and `raw`, (n, channels), are the recording itself."""

    def __init__(self, stream: Stream, timeline: Timeline, raw: Raw) -> None:
        self.stream = stream
        self.raw = raw
        self._timeline = timeline

    @property
    def utc_us(self) -> Integers:
        return self._timeline.utc_us

    @property
    def period_range_us(self) -> tuple[int, int]:
        """The period of the file and no other."""
        return self.stream.period_us, self.stream.period_us

    def next_at(self, after_us: int, period_us: int, pace: Pace = TRUE_TIME) -> int:  # noqa: ARG002 - the file has its own
        return self._timeline.next_at(after_us)

    def frames_between(
        self,
        after_us: int,
        until_us: int,
        period_us: int = 0,  # noqa: ARG002 - the file has its own
        most: int | None = None,
        pace: Pace = TRUE_TIME,  # noqa: ARG002 - and its rows come when they came
    ) -> Frames:
        first, end = self._timeline.count(after_us), self._timeline.count(until_us)
        missed = 0 if most is None else max(0, end - first - most)
        numbers = np.arange(first + missed, end, dtype=np.int64)
        return Frames(self._timeline.instants(numbers), self.raw[numbers % len(self.raw)], missed)


def live_start(timeline: Timeline, ready_us: int, period_us: int) -> int:
    """When the file is gone through again for a device that is ready at `ready_us`: a period later, as a device that
    has just started would read its sensors."""
    return max(ready_us, timeline.last_us) + period_us
