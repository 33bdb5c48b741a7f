"""What one operation took, by the clock and of this process's processor time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Starts when it is made; `progress` may be told how far the operation is."""

    _started: float = field(default_factory=time.perf_counter)
    _cpu_started: float = field(default_factory=time.process_time)
    first_s: float | None = None
    """When the first bytes were there, where anybody told."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    link_bytes: int | None = None
    """What arrived on the link, framing and all, where the client tells."""
    message_bytes: int | None = None
    """What arrived in messages."""

    def restart(self) -> None:
        """Forget the time so far, where something had to be asked first that does not belong to the operation."""
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def progress(self, _done: int, _total: int = 0) -> None:
        if self.first_s is None:
            self.first_s = time.perf_counter() - self._started

    def stop(self) -> None:
        self.seconds = time.perf_counter() - self._started
        self.cpu_s = time.process_time() - self._cpu_started
