"""A terminal that a live view is drawn on, as often as somebody can follow: what was on it before comes back at the end.

Rule: nothing else writes to the terminal meanwhile. Sizes are those of the terminal now, whatever the environment says.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fieldlog.cli.live_view import Line, Size, View
from fieldlog.live.picture import Picture

_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "alarm": "\x1b[1;31m"}
_PLAIN = "\x1b[0m"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"
_TO_LINE_END = "\x1b[K"
_USUAL = Size(80, 24)


def can_draw() -> bool:
    """Whether standard output is a terminal that takes control sequences."""
    from rich.console import Console

    if not sys.stdout.isatty():
        return False
    console = Console()  # on Windows it switches the sequences on
    return not (console.is_dumb_terminal or console.legacy_windows)


def shows_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


class Screen:
    """Draws whole pictures."""

    @property
    def size(self) -> Size:
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return _USUAL
        return Size(width or _USUAL.width, height or _USUAL.height)

    def draw(self, lines: Sequence[Line]) -> None:
        rows = ("".join(_styled(text, style) for text, style in line) + _TO_LINE_END for line in lines)
        _write(_BEGIN + "\r\n".join(rows) + _END)


@dataclass(frozen=True, slots=True)
class LiveScreen:
    """The live view on a screen."""

    screen: Screen
    device: str
    window_s: float
    every_s: float = 0.08

    def draw(self, picture: Picture) -> bool:
        view = View(self.device, self.window_s, unicode=shows_unicode())
        self.screen.draw(view.lines(picture, self.screen.size, time.time()))
        return True


def _styled(text: str, style: str) -> str:
    return f"{_STYLES[style]}{text}{_PLAIN}" if style else text


@contextmanager
def screen() -> Generator[Screen]:
    """The terminal, until the end of the block."""
    _write(_ENTER)
    try:
        yield Screen()
    finally:
        _write(_LEAVE)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
