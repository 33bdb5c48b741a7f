"""The progress bar: rate and time left, on stderr, gone when the work is done.

Rule: whoever speaks while a bar is shown speaks through it, so that lines stand above it and none is glued to it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

_FIGURES_WIDTH = 45
"""Columns that amount, rate, time left and something of the bar itself need."""

_ECHO_WIDTH = 4
"""Left free behind the bar: a terminal shows ^C there, and must not go to a new line for it."""


class Bar:
    """Shown from the first piece of a transfer to its last; a transfer that falls back shows it again."""

    def __init__(self, what: str, unit: str) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._console.width -= _ECHO_WIDTH
        self._what = _clipped(what, self._console.width - _FIGURES_WIDTH)
        self._unit = unit
        self._shown: Progress | None = None

    def update(self, done: int, total: int) -> None:
        """Move the bar. What is complete is taken off the screen."""
        if done >= total:
            self.close()
            return
        if self._shown is None:  # each time anew: a bar that was stopped still believes to know its place
            self._shown = _progress(self._console, self._unit)
            self._shown.add_task(self._what)
            self._shown.start()
        self._shown.update(self._shown.task_ids[0], completed=done, total=total)

    def say(self, text: str) -> None:
        """A line above the bar, or just a line while none is shown."""
        self._console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._shown is not None:
            self._shown.stop()
        self._shown = None


@contextmanager
def bar(what: str, unit: str) -> Generator[Bar]:
    """A bar for `what`; unit B means bytes."""
    shown = Bar(what, unit)
    try:
        yield shown
    finally:
        shown.close()


def _progress(console: Console, unit: str) -> Progress:
    amount: list[ProgressColumn] = [DownloadColumn(), TransferSpeedColumn()] if unit == "B" else [MofNCompleteColumn()]
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amount,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _clipped(what: str, width: int) -> str:
    text = Text(what)
    text.truncate(max(width, 1), overflow="ellipsis")
    return text.plain
