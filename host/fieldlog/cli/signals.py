"""SIGTERM and SIGHUP for commands that have a terminal or a link to leave in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

_NAMES = ("SIGTERM", "SIGHUP")


@dataclass(slots=True)
class Signalled:
    """Which signal ended the work; None where none did."""

    number: int | None = None

    @contextmanager
    def cancels(self) -> Generator[None]:
        """In a task: the first of the signals cancels it. One that is ignored, as under nohup, stays so."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        numbers = [getattr(signal, name) for name in _NAMES if os.name == "posix"]
        numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

        def note(number: int) -> None:
            self.number = number
            if task is not None:
                task.cancel()

        for number in numbers:
            loop.add_signal_handler(number, note, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def die(self) -> None:
        """By the signal after all, so that whoever sent it sees that."""
        if self.number is not None:
            signal.signal(self.number, signal.SIG_DFL)
            os.kill(os.getpid(), self.number)
