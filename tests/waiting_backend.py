"""A backend of matplotlib's whose main loop is as Tk's: Python runs in it only when a timer is due, and what is raised then is
printed, and the loop goes on until no window is left."""

from __future__ import annotations

import signal
import sys
import time
import traceback

from matplotlib import pyplot
from matplotlib.backend_bases import FigureManagerBase, TimerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

_HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MOST_S = 20.0
_IDLE_MS = 200
_RUNNING: list[Timer] = []


class Timer(TimerBase):
    def _timer_start(self) -> None:
        _RUNNING.append(self)

    def _timer_stop(self) -> None:
        if self in _RUNNING:
            _RUNNING.remove(self)

    def due(self) -> None:
        self._on_timer()


class FigureManager(FigureManagerBase):
    def show(self) -> None:
        """Nobody sees it."""

    @classmethod
    def start_main_loop(cls) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        sys.stdout.write("open\n")
        sys.stdout.flush()
        give_up_s = time.monotonic() + _MOST_S
        while pyplot.get_fignums() and time.monotonic() < give_up_s:
            time.sleep(min((timer.interval for timer in _RUNNING), default=_IDLE_MS) / 1000)  # until a timer is due
            _handle(list(_RUNNING))
        if pyplot.get_fignums():
            sys.stderr.write("nothing closed the window\n")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)


def _handle(timers: list[Timer]) -> None:
    for timer in timers:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
            timer.due()
        except KeyboardInterrupt:
            traceback.print_exc()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)


class FigureCanvas(FigureCanvasAgg):
    required_interactive_framework = "headless"
    manager_class = FigureManager

    def new_timer(self, interval: int | None = None, callbacks: None = None) -> Timer:
        return Timer(interval, callbacks)
