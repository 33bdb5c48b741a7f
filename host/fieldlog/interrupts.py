"""Where what waits and blocks asks, between one short wait and the next, whether somebody wants the program to end.

Rule: who handles signals says so; where nobody does, Python raises KeyboardInterrupt in the wait by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar


def _nobody() -> None:
    pass


LOOK: ContextVar[Callable[[], None]] = ContextVar("LOOK", default=_nobody)
"""Raises what ends the wait, where somebody wants that."""


def look() -> None:
    """Called in a wait that blocks; raises what ends it."""
    LOOK.get()()
