"""Replies that one request brings one after another, and who waits for which of them.

Rule: a reply is known by what it says it answers, never by its place in the row, since any of them may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from fieldlog.reply import Reply
from fieldlog_protocol.commands import Command, Message
from fieldlog_protocol.errors import FieldlogError, ProtocolError, RefusedError
from fieldlog_protocol.session_events import Answered
from fieldlog_protocol.wire import decode_reply

Rsp = TypeVar("Rsp", bound=Message)


class Unanswered(FieldlogError):
    """This one of several replies did not come. `ended`: the device made an end, rather than that it was lost."""

    def __init__(self, *, ended: bool) -> None:
        super().__init__("the device ended what it sent" if ended else "a reply was lost among others")
        self.ended = ended


class Stream(Generic[Rsp]):
    """The replies to one request. `place`: which of them an answer is, None for one that nobody asked for; `goes_on`:
    whether the device says that another one follows it."""

    def __init__(
        self,
        command: Command[Any, Rsp],
        replies: Sequence[Reply[Rsp]],
        place: Callable[[Rsp], int | None],
        goes_on: Callable[[Rsp], bool],
    ) -> None:
        self._command = command
        self._waiting = dict(enumerate(replies))
        self._places = {reply: index for index, reply in self._waiting.items()}
        self._place = place
        self._goes_on = goes_on
        self._left = len(replies)
        for reply in replies[1:]:
            reply.by_itself = True

    def named(self, ticket: int) -> None:
        """The request has been handed over, under this ticket."""
        for reply in self._waiting.values():
            reply.ticket = ticket

    def heard(self, event: Answered) -> bool:
        """Give an answer to whoever waits for it; whether more are to come. One that makes no sense counts as lost."""
        self._left -= 1
        try:
            answer = decode_reply(event.packet.payload, self._command)
        except RefusedError:
            return False
        except ProtocolError:
            return self._left > 0
        index = self._place(answer)
        reply = None if index is None else self._waiting.pop(index, None)
        if reply is not None and not reply.done():
            reply.took_s = event.round_trip_s
            reply.set_result(answer)
            if reply.then is not None:
                reply.then()
        return self._goes_on(answer) and self._left > 0

    def drop(self, reply: Reply[Rsp]) -> bool:
        """Nobody waits for it any more; whether nobody waits for any."""
        self._waiting.pop(self._places[reply], None)
        return not self._waiting

    def end(self, error: FieldlogError | None = None) -> None:
        """No more will come: by the device's word, or for a reason."""
        waiting, self._waiting = self._waiting, {}
        for reply in waiting.values():
            if not reply.done():
                reply.set_exception(error or Unanswered(ended=self._left > 0))


class Streams(dict[int, Stream[Any]]):
    """Those of one link, by the session's ticket."""

    def add(self, ticket: int, stream: Stream[Any]) -> None:
        self[ticket] = stream
        stream.named(ticket)

    def end_all(self, error: FieldlogError) -> None:
        """The link is gone."""
        streams = list(self.values())
        self.clear()
        for stream in streams:
            stream.end(error)
