"""Waiting for the earlier of a time and a call. Everything a link does happens in its `run`; callbacks only wake it,
so that what a port raises comes out of `run` and nowhere else."""

from __future__ import annotations

import asyncio


class Waker:
    """One task waits, anything in the same event loop may wake it."""

    def __init__(self) -> None:
        self._woken = False
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, until: float | None) -> None:
        """Return when `wake` was called since the last `wait`, or at `until` in the event loop's time."""
        if not self._woken:
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            timer = None if until is None else loop.call_at(until, self.wake)
            try:
                await self._future
            finally:
                if timer is not None:
                    timer.cancel()
        self._woken = False
