"""Ctrl-C, and SIGTERM and SIGHUP: what ends a command from outside ends it as Ctrl-C does, and is told by the exit code.

Rule: one that is ignored, as under nohup, stays so. Windows has Ctrl-C alone.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import click

_NAMES = ("SIGTERM", "SIGHUP")
_BASE = 128


def _heeded() -> list[int]:
    numbers = [getattr(signal, name) for name in _NAMES if os.name == "posix"]
    return [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@dataclass(slots=True)
class Ended:
    """Which signal ended the program; None where none did."""

    number: int | None = None
    _terminals: list[int] = field(default_factory=list[int])

    def heed(self) -> None:
        """From now on the signals interrupt."""
        _HEEDING.append(self)
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        for number in _heeded():
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._interrupt)

    @property
    def name(self) -> str | None:
        return None if self.number is None else signal.Signals(self.number).name

    def code(self, interrupted: int) -> int:
        """The exit code, as shells count it; `interrupted` where it was no signal of these."""
        return interrupted if self.number is None else _BASE + self.number

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """As Ctrl-C does at this moment, also where Ctrl-C itself is ignored, as behind a shell's &."""
        self.number = self.number or number
        self._leave_lost_terminals()
        ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(ctrl_c):
            ctrl_c(signal.SIGINT, frame)
        elif _TAKEN_OVER:
            _TAKEN_OVER[-1]()
        else:
            raise KeyboardInterrupt

    def _leave_lost_terminals(self) -> None:
        """What there is to do before the end must not fail because nobody sees it any more."""
        for number in self._terminals:
            if not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


_HEEDING: list[Ended] = []
_TAKEN_OVER: list[Callable[[], None]] = []


def ended_by() -> int | None:
    """Which signal other than Ctrl-C ended the program."""
    return _HEEDING[-1].number if _HEEDING else None


def die_by(number: int) -> None:
    """By the signal after all, so that whoever sent it sees that. For commands with an end of their own."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@contextmanager
def taken_over(interrupt: Callable[[], None]) -> Generator[None]:
    """In this block Ctrl-C, and the signals that act as it does, call `interrupt` and raise nothing.

    In the main thread, which alone hears of signals; a Ctrl-C that is ignored or somebody else's stays so. One block may be
    in another one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_first = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _TAKEN_OVER.append(interrupt)
    if is_first:
        signal.signal(signal.SIGINT, lambda _number, _frame: _TAKEN_OVER[-1]())
    try:
        yield
    finally:
        if is_first:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _TAKEN_OVER.pop()


def leave_with(code: int) -> None:
    """From now on the program ends with this code, whatever else is sent to it: it has said its last word."""
    numbers = _heeded()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: os._exit(code))
    # `python -m` dies by an interrupt that came into an `exec`, such as that of a dataclass, unless another one follows
    exec("")
    atexit.register(_ignore, numbers)  # threads have ended by then, and Python's own end takes no handlers along


def _ignore(numbers: Sequence[int]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def asked(question: str, otherwise: str) -> bool:
    """Ask who sits at the terminal; `otherwise` is what holds if that is interrupted.

    Ctrl-C and signals end the question at once: the event loop's own handling would wait for the answer.
    """
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        click.echo(err=True)
        raise KeyboardInterrupt(otherwise) from abort
    finally:
        signal.signal(signal.SIGINT, former)
