"""A recording as a sensor: it reads what was read then, at those times, and after its end the same over again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fieldlog_protocol.blocks.schema import Stream
from fieldlog_sim.noise import Integers
from fieldlog_sim.sensors import Frames, Raw


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

    def passes(self, after_us: int, until_us: int) -> Iterator[tuple[int, slice]]:
        """For each time that the file is gone through in this stretch: by how much later, and which rows."""
        if self.live_us is not None:
            yield 0, self._rows(after_us, min(until_us, self.live_us - 1))
        start_us = self.first_us if self.live_us is None else self.live_us
        first_lap = max(0, (after_us - start_us) // self.lap_us)
        for lap in range(first_lap, (until_us - start_us) // self.lap_us + 1):
            later_us = start_us - self.first_us + lap * self.lap_us
            yield later_us, self._rows(after_us - later_us, until_us - later_us)

    def next_at(self, after_us: int) -> int:
        """The next row's time, strictly after `after_us`."""
        until_us = max(after_us, self.last_us, self.live_us or 0) + self.lap_us
        found = (
            int(self.utc_us[rows.start]) + later_us
            for later_us, rows in self.passes(after_us, until_us)
            if rows.start < rows.stop
        )
        return next(found)

    def _rows(self, after_us: int, until_us: int) -> slice:
        first, last = np.searchsorted(self.utc_us, [after_us, until_us], side="right")
        return slice(int(first), int(last))


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

    def next_at(self, after_us: int, period_us: int) -> int:  # noqa: ARG002 - the file has its own
        return self._timeline.next_at(after_us)

    def frames_between(self, after_us: int, until_us: int, period_us: int = 0) -> Frames:  # noqa: ARG002
        passes = list(self._timeline.passes(after_us, until_us))
        times = [self.utc_us[rows] + later_us for later_us, rows in passes]
        raw = [self.raw[rows] for _, rows in passes]
        if not passes:
            return Frames(self.utc_us[:0], self.raw[:0])
        return Frames(np.concatenate(times), np.concatenate(raw))


def live_start(timeline: Timeline, ready_us: int, period_us: int) -> int:
    """When the file is gone through again for a device that is ready at `ready_us`: a period later, as a device that
    has just started would read its sensors."""
    return max(ready_us, timeline.last_us) + period_us
