"""Progress bars: rate and time left, on stderr, gone when the work is done.

Rule: whoever speaks while a bar is shown speaks through it, so that lines stand above it and none is glued to it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich import filesize
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
)
from rich.text import Text

_FIGURES_WIDTH = 45
"""Columns that amount, rate, time left and something of the bar itself need."""

_NOTE_WIDTH = 17
"""Columns of "12345678 readings"."""

_ECHO_WIDTH = 4
"""Left free behind the bar: a terminal shows ^C there, and must not go to a new line for it."""


_UNKNOWN_S = 1e6
_RATE_OVER_S = 30.0
"""The rate is that of the last so many seconds."""


@dataclass(slots=True)
class _Rate:
    """How fast it goes. Kept here since rich begins anew whenever the total changes, and a pull's is an estimate."""

    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def add(self, done: int) -> None:
        now = time.monotonic()
        if self.samples and done < self.samples[-1][1]:
            self.samples.clear()
        self.samples.append((now, done))
        while self.samples[0][0] < now - _RATE_OVER_S:
            self.samples.popleft()

    @property
    def per_s(self) -> float:
        """0 while it is not known."""
        (begin, first), (end, last) = self.samples[0], self.samples[-1]
        return (last - first) / (end - begin) if end > begin else 0.0


@dataclass(frozen=True, slots=True)
class _Bar:
    task: TaskID
    rate: _Rate


class Board:
    """A bar for each transfer, from its first piece to its last; a transfer that falls back is shown again.

    `noted`: each has a word of its own behind its figures. `unit` B means bytes.
    """

    def __init__(self, unit: str = "B", *, noted: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._console.width -= _ECHO_WIDTH
        self._room = self._console.width - _FIGURES_WIDTH - noted * _NOTE_WIDTH
        self._unit = unit
        self._noted = noted
        self._bars: dict[str, _Bar] = {}
        self._shown: Progress | None = None

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of `what`. What is complete is taken off the screen."""
        if done >= total:
            self.end(what)
            return
        if self._shown is None:  # each time anew: a bar that was stopped still believes to know its place
            self._shown = _progress(self._console, self._unit, self._noted)
            self._shown.start()
        if what not in self._bars:
            task = self._shown.add_task(_clipped(what, self._room, keep_end=self._noted), note="", rate="", left="")
            self._bars[what] = _Bar(task, _Rate())
        bar = self._bars[what]
        bar.rate.add(done)
        rate, left = _rate_text(bar.rate.per_s), _left_text(total - done, bar.rate.per_s)
        self._shown.update(bar.task, completed=done, total=total, note=note, rate=rate, left=left)

    def say(self, text: str) -> None:
        """A line above the bars, or just a line while none is shown."""
        self._console.print(Text(text), soft_wrap=True)

    def end(self, what: str) -> None:
        """Take the bar of `what` off the screen."""
        if what not in self._bars or self._shown is None:
            return
        bar = self._bars.pop(what)
        if self._bars:
            self._shown.remove_task(bar.task)
        else:
            self.close()

    def close(self) -> None:
        """Take all bars off the screen."""
        self._bars.clear()
        if self._shown is not None:
            self._shown.stop()
        self._shown = None


@contextmanager
def board(unit: str = "B", *, noted: bool = False) -> Generator[Board]:
    """A place for bars, empty again at the end."""
    shown = Board(unit, noted=noted)
    try:
        yield shown
    finally:
        shown.close()


def _progress(console: Console, unit: str, noted: bool) -> Progress:
    texts = ["{task.fields[note]}"] * noted, ["{task.fields[rate]}"] * (unit == "B"), ["{task.fields[left]}"]
    before, rate, left = ([TextColumn(text, markup=False) for text in column] for column in texts)
    amount: ProgressColumn = DownloadColumn() if unit == "B" else MofNCompleteColumn()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *before,
        amount,
        *rate,
        *left,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _rate_text(per_s: float) -> str:
    return f"{filesize.decimal(int(per_s))}/s" if per_s else "?"


def _left_text(amount: int, per_s: float) -> str:
    """Time left as h:mm:ss."""
    left_s = amount / per_s if per_s else _UNKNOWN_S
    minutes, seconds = divmod(int(left_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if left_s < _UNKNOWN_S else "-:--:--"


def _clipped(what: str, width: int, *, keep_end: bool) -> str:
    """`keep_end`: of names that begin alike the end tells more."""
    text = Text(what[::-1] if keep_end else what)
    text.truncate(max(width, 1), overflow="ellipsis")
    return text.plain[::-1] if keep_end else text.plain
