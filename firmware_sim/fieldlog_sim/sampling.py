"""When sensors are read, and the newest of what they gave, kept in RAM for whoever watches live.

Rule: every moment is sampled once; frames go to the log and to the live view in the same order. Sensors with a period
are read by the device's own clock, right or wrong: frames are as far apart in its ticks as they are meant to be.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.blocks.timeline import Ticks
from fieldlog_sim.sensors import Frames, Pace, Raw, Sensor

LATEST_FRAMES = 256
# Values that one stream may have due at once: what takes some 10 ms (12 for noise, 6 for ramps), so that requests never
# wait for long.
MOST_DUE = 4 * 1024
WATCHED = 1 << 16  # frames that are looked at for a threshold at a time
IRREGULAR_US = 1_000_000  # taken for the period of a stream that has none


@dataclass(frozen=True, slots=True)
class Latest:
    """Frames from `cursor` on, each a u64 tick and RAW values, and how many were gone before they could be read."""

    cursor: int
    lost: int
    frames: Sequence[bytes]


@dataclass(slots=True)
class _Recent:
    """The newest frames of a stream; `cursor` counts all there ever were since boot."""

    cursor: int = 0
    frames: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=LATEST_FRAMES))


@dataclass(frozen=True, slots=True)
class Threshold:
    """A raw value of a channel, by position, and on which side of it is what is waited for; the value itself is."""

    channel: int
    level: int
    below: bool

    def passed_by(self, raw: Raw, stream: Stream) -> npt.NDArray[np.bool_]:
        """Which frames pass; a missing reading does not."""
        values, missing = raw[:, self.channel], stream.channels[self.channel].missing
        passed: npt.NDArray[np.bool_] = values <= self.level if self.below else values >= self.level
        return passed if missing is None else passed & (values != missing)


class Sampling:
    """All sensors of a device, by the id of their stream, read from `now_us` on at the pace of its clock."""

    def __init__(self, sensors: Sequence[Sensor], now_us: int, pace: Pace) -> None:
        self._pace = pace
        self._sensors = {sensor.stream.id: sensor for sensor in sensors}
        self._recent = {id_: _Recent() for id_ in self._sensors}
        self._until_us: dict[int, int] = {}
        self.restart(now_us)

    def __contains__(self, stream: int) -> bool:
        return stream in self._sensors

    def __getitem__(self, stream: int) -> Sensor:
        return self._sensors[stream]

    def restart(self, now_us: int) -> None:
        """Begin anew: what was due before is not read any more."""
        self._until_us = dict.fromkeys(self._sensors, now_us)

    def take(self, stream: int, now_us: int, period_us: int, *, hurried: bool) -> Frames | None:
        """What is due by now; of more than can be read in a hurry, the newest. Links may ask for a moment a little before
        that of the last call: then nothing is."""
        after_us = self._until_us[stream]
        if now_us <= after_us:
            return None
        self._until_us[stream] = now_us
        sensor = self._sensors[stream]
        most = max(1, MOST_DUE // len(sensor.stream.channels)) if hurried else None
        frames = sensor.frames_between(after_us, now_us, period_us, most, self._pace)
        return frames if len(frames.utc_us) else None

    def first_passing(self, threshold: Threshold, stream: Stream, now_us: int, *, hurried: bool) -> int | None:
        """Read up to now, and no further than to a frame that passes the threshold; true time of that one."""
        while (after_us := self._until_us[stream.id]) < now_us:
            until_us = min(now_us, after_us + WATCHED * (stream.period_us or IRREGULAR_US))
            frames = self.take(stream.id, until_us, stream.period_us, hurried=hurried)
            if frames is None:
                continue
            found = np.flatnonzero(threshold.passed_by(frames.raw, stream))
            if len(found):
                return int(frames.utc_us[found[0]])
        return None

    def next_at(self, stream: int, period_us: int) -> int:
        """True time of the next frame."""
        return self._sensors[stream].next_at(self._until_us[stream], period_us, self._pace)

    def remember(self, stream: int, ticks: Ticks, frames: Raw) -> None:
        """Keep frames for the live view."""
        recent = self._recent[stream]
        recent.cursor += len(ticks)
        types = [channel.type.dtype for channel in self._sensors[stream].stream.channels]
        newest = slice(-LATEST_FRAMES, None)
        for tick, frame in zip(ticks[newest].tolist(), frames[newest], strict=True):
            values = b"".join(
                np.asarray(value).astype(kind).tobytes() for value, kind in zip(frame, types, strict=True)
            )
            recent.frames.append(struct.pack("<Q", tick) + values)

    def latest(self, stream: int, cursor: int | None) -> Latest:
        """Frames newer than the cursor, oldest first; without a cursor the newest one."""
        recent = self._recent[stream]
        oldest = recent.cursor - len(recent.frames)
        if cursor is None or cursor > recent.cursor:
            cursor = max(oldest, recent.cursor - 1)
        begin = max(cursor, oldest)
        return Latest(begin, begin - cursor, list(recent.frames)[begin - oldest :])
