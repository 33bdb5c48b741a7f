"""One direction of one connection on the air: packets wait for connection events.

Rule of this module: what goes in an event was there before it. A timer that comes late lets all events of the meantime
happen, each with its own share, so that the lag of timers is not added up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import floor
from typing import Generic, TypeVar

from fieldlog_sim.links.ble.pace import EventBudget, Pace

_Packet = TypeVar("_Packet")


class Lane(Generic[_Packet]):
    """`size`: what of a packet takes air time, in bytes. Without a pace packets go at once. A held lane keeps them."""

    def __init__(
        self, pace: Pace | None, release: Callable[[_Packet], None], size: Callable[[_Packet], int], *, anchor: float
    ) -> None:
        self._pace = pace
        self._release = release
        self._size = size
        self._anchor = anchor
        self._waiting: deque[tuple[float, _Packet]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._held = False

    @property
    def pace(self) -> Pace | None:
        return self._pace

    def put(self, packet: _Packet) -> None:
        if self._pace is None and not self._held and not self._waiting:
            self._release(packet)
            return
        self._waiting.append((asyncio.get_running_loop().time(), packet))
        self._arm()

    def change(self, pace: Pace) -> None:
        """From the next event on."""
        self._pace = pace
        self._disarm()
        self._arm()

    def hold(self) -> None:
        """Nothing gets through until `resume`."""
        self._held = True
        self._disarm()

    def resume(self) -> None:
        if self._held:
            self._held = False
            self._arm()

    def close(self) -> None:
        self._waiting.clear()
        self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None or self._held or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() if self._pace is None else self._event_after(loop.time(), self._pace)
        self._timer = loop.call_at(at, self._events, at)

    def _event_after(self, time: float, pace: Pace) -> float:
        return self._anchor + (floor((time - self._anchor) / pace.interval_s) + 1) * pace.interval_s

    def _events(self, at: float) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while at <= now and self._waiting and not self._held:
            self._event(at)
            if self._pace is None:
                break
            at += self._pace.interval_s
        self._arm()

    def _event(self, at: float) -> None:
        budget = EventBudget(self._pace)
        while self._waiting and not self._held:
            since, packet = self._waiting[0]
            if since > at and self._pace is not None:
                return
            if not budget.takes(self._size(packet)):
                return
            self._waiting.popleft()
            self._release(packet)
