"""Who is asked for the passkey of a BLE device that wants one, where its URL has none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

AskPasskey = Callable[[str], Awaitable[int | None]]
"""Called with the device's name; None answers that nobody knows it."""

ASK_PASSKEY: ContextVar[AskPasskey | None] = ContextVar("ASK_PASSKEY", default=None)
