"""Waiting for the earlier of a time and a call. Everything a link does happens in its `run`, or in its name: what a port
raises comes out of `run` and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType


class Waker:
    """One task waits, anything in the same event loop may wake it."""

    def __init__(self) -> None:
        self._woken = False
        self._future: asyncio.Future[None] | None = None
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, until: float | None) -> None:
        """Return when `wake` was called since the last `wait`, or at `until` in the event loop's time."""
        if not self._woken:
            self._future = asyncio.get_running_loop().create_future()
            self._ring_at(until)
            try:
                await self._future
            finally:
                self._until = None
        self._woken = False

    def spare(self, step: Callable[[], float | None]) -> None:
        """Let `step` do what the task would do if it were woken, which takes twice as long; it answers until when to
        wait then, and what it raises comes out of `wait`. A task that is not waiting is woken all the same."""
        if self._woken or self._future is None or self._future.done():
            self.wake()
            return
        with _RaisedIn(self._future):
            self._ring_at(step())

    def _ring_at(self, until: float | None) -> None:
        """A timer that is set for an earlier time stays: most times that are waited for never come."""
        self._until = until
        if until is None or (self._timer is not None and self._timer.when() <= until):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(until, self._ring, until)

    def _ring(self, now: float) -> None:
        self._timer = None
        if self._until is None:
            return
        if self._until > now:
            self._ring_at(self._until)
        else:
            self.wake()


class _RaisedIn:
    """What is raised inside is raised where the future is awaited."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._future.done():
            self._future.set_exception(error)
        return True
