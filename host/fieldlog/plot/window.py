"""Windows on a screen, for programs: the only place that lets matplotlib choose a backend."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from fieldlog.plot.canvas import house_style
from fieldlog.plot.style import THEMES
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from matplotlib.figure import Figure

_DPI, _MOST_HEIGHT_PX = 100.0, 850
"""A file has half as many dots again, and would not fit most screens."""
_LOOK_MS = 200
"""A window looks so often whether it is to close."""


def new_window(title: str, size_in: tuple[float, float], advice: str) -> Figure:
    """The empty figure of a window that is not shown yet. UsageError, with `advice`, where there is no display."""
    from matplotlib import pyplot

    try:
        with house_style():
            figure = pyplot.figure(title, figsize=size_in, layout="constrained")
    except ImportError as error:  # the backend that was asked for cannot be had here
        raise UsageError(f"there is no display to open a window on. {advice}") from error
    if getattr(type(figure.canvas), "required_interactive_framework", None) is None:
        pyplot.close(figure)
        raise UsageError(f"there is no display to open a window on. {advice}")
    return figure


def require_display(advice: str) -> None:
    """UsageError, with `advice`, where no window can be opened."""
    from matplotlib import pyplot

    pyplot.close(new_window("fieldlog", (1.0, 1.0), advice))


def show(figure: Figure, title: str, theme: str = "light") -> None:
    """A window with a figure that was made without one, until whoever looks closes it, or Ctrl-C does."""
    from matplotlib import pyplot

    dpi = min(_DPI, _MOST_HEIGHT_PX / figure.get_size_inches()[1])
    figure.set_dpi(dpi)
    vars(figure)["_original_dpi"] = dpi  # what screens multiply by their ratio: else it stays that of files

    def made(**_: object) -> Figure:
        return figure

    with house_style(THEMES[theme]):
        pyplot.figure(title, FigureClass=cast("Any", made))
        with _closed_by_interrupt(figure):
            pyplot.show(block=True)


@contextmanager
def _closed_by_interrupt(figure: Figure) -> Generator[None]:
    """Ctrl-C, and the signals that act as it does, close the window and count then.

    A main loop runs Python, and so its handlers, only when something happens: hence the timer. Tk prints what they raise
    while it draws, and goes on: hence they raise nothing before its end.
    """
    from matplotlib import pyplot

    interrupts: list[FrameType | None] = []
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt):
        signal.signal(signal.SIGINT, lambda _, frame: interrupts.append(frame))

    def look() -> bool:
        if interrupts:
            pyplot.close(figure)
        return not interrupts

    timer = figure.canvas.new_timer(interval=_LOOK_MS)
    timer.add_callback(look)
    timer.start()
    try:
        yield
    finally:
        if callable(interrupt):
            signal.signal(signal.SIGINT, interrupt)
    if interrupts and callable(interrupt):
        interrupt(signal.SIGINT, interrupts[0])
