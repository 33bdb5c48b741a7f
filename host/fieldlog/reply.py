"""A reply to come, and waiting for several at a time.

Rule: a reply knows what was asked and how often, and nothing of how it travels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from fieldlog.second_look import SecondLook
from fieldlog_protocol.commands import Command, Message
from fieldlog_protocol.errors import FieldlogError
from fieldlog_protocol.session_events import Ask

Rsp = TypeVar("Rsp", bound=Message)


class Reply(asyncio.Future[Rsp]):
    """A reply to come. Cancelling it, or the task that awaits it, takes the request back.

    `then` is called at once when the device has answered, whatever it said, before whoever awaits the reply gets its
    turn: to ask for the next thing while the device works. It must be quick and raise nothing. `took_s`: from when it was
    sent, for the last time, until it was answered; from the reply before where the device sends it `by_itself`.
    """

    def __init__(self, withdraw: Callable[[Reply[Any]], None], command: Command[Any, Rsp], ask: Ask) -> None:
        super().__init__()
        self.command = command
        self.ask = ask
        self.ticket = -1
        self.took_s = 0.0
        self.by_itself = False
        self.no_memory = 0
        self.garbled = 0
        self.then: Callable[[], None] | None = None
        self.look: SecondLook | None = None
        self._withdraw = withdraw

    def set_exception(self, exception: type | BaseException, /) -> None:
        super().set_exception(exception)
        self.exception()  # looked at: whoever drops a reply of a broken link means to

    def cancel(self, msg: Any | None = None) -> bool:
        self._withdraw(self)
        return super().cancel(msg)


async def arrival(replies: Sequence[tuple[Any, Reply[Any]]], together: int) -> None:
    """Wait for the first of the replies to come, and where several come at a time for the last of them.

    Waking a task costs as much as all else that becomes of a message. Errors are left to whoever looks at the result.
    """
    for index in (min(together, len(replies)) - 1, 0):
        reply = replies[index][1]
        if not reply.done():
            with suppress(FieldlogError):
                await reply
