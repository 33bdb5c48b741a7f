"""How far a stream has been read, and when to ask for more of it.

Rule: devices keep few frames for whoever watches, and a request costs them power. So a stream is asked as often as it has
frames, within bounds, and at once where a reply was full.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog.clock_sync import TICK_HZ
from fieldlog.live.frames import Floats, Layout, Ticks
from fieldlog_protocol.commands.logger import LatestRequest, LatestResponse

_LEAST_S, _MOST_S = 0.05, 1.0
"""Twenty times a second is more than a screen shows; a stream may begin, or go faster, within a second."""
_IRREGULAR_S = 0.25
_REPLY_OVERHEAD = 64
"""Bytes of a reply that are no frames: header, keys and numbers, at most."""


class CursorWentBack(Exception):
    """The device counts anew, or its ticks do: it restarted, or began another count."""


@dataclass(slots=True)
class Cursor:
    """`position` is the device's own count, None before the first reply. `due_s` is in the loop's time."""

    layout: Layout
    due_s: float
    position: int | None = None
    last_tick: int = 0
    period_s: float = 0.0

    def __post_init__(self) -> None:
        self.period_s = self.layout.stream.period_us / 1e6 or _IRREGULAR_S

    @property
    def request(self) -> LatestRequest:
        return LatestRequest(s=self.layout.stream.id, c=self.position)

    def take(self, reply: LatestResponse, max_reply: int, now_s: float) -> tuple[Ticks, tuple[Floats, ...]]:
        """What the reply holds; the cursor goes on behind it. Raises ProtocolError and CursorWentBack."""
        ticks, columns = self.layout.decode(reply)
        self._require_onward(reply.c, ticks, now_s)
        if self.position is None and len(ticks) and int(ticks[-1]) <= self.last_tick:
            ticks, columns = ticks[:0], tuple(column[:0] for column in columns)  # told before the count began anew
        self.position = reply.c
        if len(ticks):
            self._measure(ticks)
        full = len(reply.d) + self.layout.frame_size + _REPLY_OVERHEAD > max_reply
        self.due_s = now_s if full and len(ticks) else now_s + min(max(self.period_s, _LEAST_S), _MOST_S)
        return ticks, columns

    def _require_onward(self, position: int, ticks: Ticks, now_s: float) -> None:
        counts_anew = position < (self.position or 0)
        ticks_back = self.position is not None and len(ticks) > 0 and int(ticks[0]) < self.last_tick
        if not counts_anew and not ticks_back:
            return
        self.position, self.due_s = None, now_s + _LEAST_S
        if ticks_back:
            self.last_tick = 0
        raise CursorWentBack

    def _measure(self, ticks: Ticks) -> None:
        """Another session may have another period than the one that was told."""
        span = int(ticks[-1]) - int(ticks[0])
        if span > 0:
            self.period_s = span / (len(ticks) - 1) / TICK_HZ
        self.last_tick = int(ticks[-1])
