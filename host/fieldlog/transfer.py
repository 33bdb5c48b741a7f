"""Sending long things in pieces, many under way at once: what files and images have in common.

Rule: nothing here knows what is sent. Pieces go out one behind the other; when the device names another offset than
the one expected, what is under way is let run out and sending goes on from there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from fieldlog.client import Client
from fieldlog.reply import Reply, arrival
from fieldlog_protocol.commands import Message
from fieldlog_protocol.errors import LinkError, ProtocolError, RequestTimeout
from fieldlog_protocol.wire import HEADER_SIZE, encode_body

OnProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

AHEAD = 2
"""Requests that wait beyond the window, so that one goes out in the moment an answer comes in."""
_SETBACKS = 8
_MOST_TIMEOUTS = 4
_MOST_TIMEOUTS_REPEATED = 3
"""So often in a row may a piece meet with silence, fewer where the session repeats it: where each tenth message is lost,
twice is nothing special."""
_OVERTAKEN = 3
"""A piece counts as lost when so many later ones were answered, where datagrams may overtake each other."""
_WIDTHS = (0, 23, 0xFF, 0xFFFF, 0xFFFF_FFFF)
"""The largest offsets of each length in CBOR; offset 0 carries more beside."""
_TWO_LINES = 180
"""Longest message that an unpaced host can be sure to get through a stock Zephyr line pool (docs/smp.md#seen-on-zephyr)."""


class Target(Protocol):
    """Where an upload goes."""

    async def begin(self) -> None:
        """Called before the piece at offset 0, also when it must be sent again."""
        ...

    def empty(self, offset: int) -> Message:
        """The request at an offset, with no data in it: what remains of a message is room for data."""
        ...

    def send(self, offset: int, size: int) -> Reply[Any]:
        """Send the piece at an offset."""
        ...

    def wanted(self, reply: Reply[Any]) -> Awaitable[int]:
        """The offset that the device wants next."""
        ...


def ignore_progress(done: int, total: int) -> None:
    """For callers who do not watch."""


def room(client_limit: int, empty: Message) -> int:
    """How many bytes of data fit a message of `client_limit` bytes that is `empty` but for them."""
    budget = client_limit - HEADER_SIZE - len(encode_body(empty))
    for head in (0, 1, 2, 4):  # bytes by which a CBOR byte string's head grows with its length
        size = budget - head
        if size < (24, 0x100, 0x1_0000, 1 << 32)[(0, 1, 2, 4).index(head)]:
            return max(1, size)
    raise AssertionError("a message is at most 64 KiB long")


class Lost(RequestTimeout):
    """A later piece was answered before this one: one of them was lost on its way."""


@dataclass(slots=True)
class _State:
    limit: int
    done: int
    sent: int
    align: int = 1
    furthest: int = 0
    rooms: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    setbacks: int = 0
    timeouts: int = 0

    def size(self, target: Target) -> int:
        """How long the next piece may be; the same for all offsets that take as many bytes in CBOR."""
        at = self.limit, bisect_left(_WIDTHS, self.sent)
        if at not in self.rooms:
            most = room(self.limit, target.empty(self.sent))
            self.rooms[at] = max(most - most % self.align, 1)
        return self.rooms[at]

    def advance(self, offset: int) -> None:
        """Only what was never reached before makes up for setbacks: else a device could go in circles for ever."""
        if offset > self.furthest:
            self.setbacks = 0
        self.done, self.timeouts = offset, 0
        self.furthest = max(self.furthest, offset)

    def go_back(self, offset: int, what: str) -> None:
        """Go on at another offset; too often without getting further is an error."""
        if offset <= self.done:
            self.setbacks += 1
        if self.setbacks > _SETBACKS:
            raise ProtocolError(
                f"{what} does not get beyond byte {max(self.done, self.furthest)}: the device keeps asking for byte {offset}"
            )
        self.done = self.sent = offset
        self.furthest = max(self.furthest, offset)


async def upload(
    client: Client,
    target: Target,
    total: int,
    what: str,
    progress: OnProgress = ignore_progress,
    *,
    align: int = 1,
) -> None:
    """Send `total` bytes; `what` names them in sentences. Raises what `target.wanted` raises.

    All pieces but the last are of a multiple of `align` bytes, for devices that take no others.
    """
    state = _State(client.max_request, 0, 0, align)
    sender = _Sender(client, target, state, total)
    under_way = sender.under_way
    try:
        while state.done < total:
            if state.done == 0 and not under_way:
                await target.begin()
                client.follow_closely(True)
                state.limit = min(state.limit, client.max_request)
            sender.fill()
            if not under_way[0][1].done():
                await arrival(under_way, client.together)
            end, reply = under_way.popleft()
            try:
                offset = await target.wanted(reply)
            except Lost:
                offset = state.done
            except RequestTimeout:
                sender.forget()
                _slow_down(state, client.ordered, reply.ask.tries)
                continue
            if offset == end:
                state.advance(offset)
            else:
                state.go_back(await sender.run_out(offset), what)
            progress(state.done, total)
    finally:
        sender.forget()
        client.follow_closely(False)


@dataclass(slots=True)
class _Sender:
    """Sends piece after piece: the next one is made when one was answered, while the device works on another."""

    client: Client
    target: Target
    state: _State
    total: int
    under_way: deque[tuple[int, Reply[Any]]] = field(default_factory=deque[tuple[int, Reply[Any]]])
    _awaited: int = 0
    """Pieces under way that were not answered yet."""
    _ahead: int = 0
    """How many there shall be; 0 while none is to be sent."""
    _most: int = 0

    def fill(self) -> None:
        """Send as much ahead as pays."""
        # the answer to the first piece may name another offset to go on from: wait for it
        together = self.client.together
        self._ahead = self.client.window + AHEAD + together - 1 if self.state.done else 1
        self._most = self._ahead + (together - 1 if self.state.done else 0)
        while self._awaited < self._ahead and self.state.sent < self.total:
            self._send_on()

    def _send_on(self) -> None:
        state = self.state
        size = min(state.size(self.target), self.total - state.sent)
        reply = self.target.send(state.sent, size)
        reply.then = self._answered
        behind = 1 if self.client.ordered else _OVERTAKEN
        if len(self.under_way) >= behind and reply.ask.tries == 1:
            reply.add_done_callback(partial(_overtake, self.client, self.under_way[-behind][1]))
        self.under_way.append((state.sent + size, reply))
        self._awaited += 1
        state.sent += size

    def _answered(self) -> None:
        self._awaited -= 1
        if self._awaited < self._ahead and len(self.under_way) < self._most and self.state.sent < self.total:
            self._send_on()

    async def run_out(self, offset: int) -> int:
        """Let what was sent be answered; the furthest offset named counts. Where that is wrong, the next answer says
        so. None of it is sent again: the device wants something else by now."""
        self._ahead = 0
        waiting = sum(not reply.done() for _, reply in self.under_way) - self.client.window
        for _ in range(waiting):
            self.under_way.pop()[1].cancel()
        for _, reply in self.under_way:
            self.client.spare(reply)
        while self.under_way:
            _, reply = self.under_way.popleft()
            try:
                named = await self.target.wanted(reply)
            except RequestTimeout:
                continue
            offset = max(named, offset)
        self._awaited = 0
        return offset

    def forget(self) -> None:
        """Take back what is under way."""
        self._ahead = self._awaited = 0
        while self.under_way:
            self.under_way.pop()[1].cancel()


def _overtake(client: Client, earlier: Reply[Any], later: Reply[Any]) -> None:
    """The session repeats what it may; of what it may not, waiting longer brings nothing. Of neighbours that were lost each
    ends the one before it."""
    if later.cancelled():
        return
    error = later.exception()
    if isinstance(error, LinkError) and not isinstance(error, Lost):
        return
    if not earlier.done():
        client.give_up(earlier, Lost("a later piece was answered first"))


def _slow_down(state: _State, ordered: bool, tries: int) -> None:
    """On a stream, a device that answers small messages and no large ones loses them in a short line queue."""
    state.timeouts += 1
    if state.timeouts > (_MOST_TIMEOUTS if tries == 1 else _MOST_TIMEOUTS_REPEATED):
        raise RequestTimeout(
            f"the device no longer answers at byte {state.done}. Check power and cable, then repeat the command"
        )
    if state.timeouts > 1 and ordered:
        state.limit = min(state.limit, _TWO_LINES)
    state.sent = state.done
