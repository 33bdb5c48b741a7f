"""Work in an event loop that Ctrl-C, SIGTERM and SIGHUP cancel between two of its steps.

Rule: nothing is raised in the middle of a step. asyncio's own handler cancels the task at once, within whatever the signal
came into, such as the client that takes in an answer. What blocks in a step asks by itself (`fieldlog.interrupts`); only a
step that has gone on for seconds since the first signal is broken off by another one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from fieldlog.cli.signals import taken_over
from fieldlog.interrupts import LOOK

T = TypeVar("T")

_STUCK_S = 2.0


class Cancelling:
    """One piece of work."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._since_s: float | None = None
        self._cancelled = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end. KeyboardInterrupt when it was cancelled: what had ended by then has its result."""
        token = LOOK.set(self._look)
        try:
            with taken_over(self._interrupt), asyncio.Runner() as runner:
                return runner.run(self._watched(work))
        except asyncio.CancelledError as cancelled:
            if not self._cancelled:
                raise
            raise KeyboardInterrupt(*cancelled.args) from cancelled
        finally:
            LOOK.reset(token)

    async def _watched(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._wake()  # it may have come before
        return await work

    def _interrupt(self) -> None:
        """In a signal's handler: between any two steps of Python, in the main thread."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s > _STUCK_S:
            raise KeyboardInterrupt
        self._wake()

    def _wake(self) -> None:
        if self._since_s is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel, self._loop)

    def _cancel(self, loop: asyncio.AbstractEventLoop) -> None:
        """The work at first; at another signal all there is, such as what closes links at the work's end.

        Once that has come the loop clears up by itself: that is only broken off where it lasts.
        """
        if self._since_s is None or self._task is None or self._task.done():
            return
        for task in asyncio.all_tasks(loop) if self._cancelled else {self._task}:
            task.cancel()
        self._since_s, self._cancelled = None, True

    def _look(self) -> None:
        if self._since_s is None or threading.current_thread() is not threading.main_thread():
            return
        if asyncio.current_task() is self._task:
            self._since_s, self._cancelled = None, True
        raise asyncio.CancelledError
