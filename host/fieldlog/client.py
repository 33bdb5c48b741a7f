"""The client: typed requests over a transport, many at once.

Rule: this file decides nothing about the protocol, it carries bytes and time to the session and its events to whoever
waits. All of it runs in the event loop, with no task of its own: what arrives is decoded where it arrives, and the
future that waits for it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fieldlog.greeting import ALL_OLD_ONES_KNOW, greet
from fieldlog.link_options import LinkOptions
from fieldlog.message_sizes import ONE_LINE, message_sizes
from fieldlog.reply import Reply
from fieldlog.second_look import SecondLook, needs_one
from fieldlog.silence import explain_silence, timed_out
from fieldlog.stream import Stream, Streams, Unanswered
from fieldlog.transports.base import Keeping, Transport, Tunable, Tuning, piece_of
from fieldlog_protocol.commands import Command, Message, os
from fieldlog_protocol.error_texts import Rc, error_text
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError, RefusedError, RequestTimeout
from fieldlog_protocol.framing import Framing, RawFraming
from fieldlog_protocol.seal import SEAL_SIZE
from fieldlog_protocol.session import Counters, Session
from fieldlog_protocol.session_events import Answered, Ask, Expired
from fieldlog_protocol.wire import HEADER_SIZE, decode_reply, encode_body

Req = TypeVar("Req", bound=Message)
Rsp = TypeVar("Rsp", bound=Message)

__all__ = ["REPEATS", "Client", "LinkOptions", "Reply"]

REPEATS = 4
_NO_MEMORY_RETRIES = 6
_GARBLED_RETRIES = 3
_PATIENCE_S = 2.0
_SEEN_LIMIT = 256
_TOGETHER_S = 0.01
_MOST_TOGETHER = 16


class Client:
    """One device at the end of one transport. The framing is made anew at every opening."""

    def __init__(
        self, transport: Transport, framing: Callable[[], Framing], options: LinkOptions | None = None
    ) -> None:
        self._transport = transport
        self._make_framing = framing
        self._options = options or LinkOptions()
        first = framing()
        self._checked, self._joinable = first.checked, first.joinable
        self._piece = 0
        self._framing = first
        self._session = Session(first, timeouts=self._options.timeouts)
        self._replies: dict[int, Reply[Any]] = {}
        self._streams = Streams()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop  # that of the link; replies may be taken back while it closes
        self._down: LinkError | None = LinkError("the link is not open. Connect first")
        self._text = bytearray()
        self._seen = bytearray()
        self.params: os.ParamsResponse | None = None
        self.back_to_back = False  # until the device says that it takes requests so: see `follow_closely`
        self.terse = False  # an old boot loader, which is asked for nothing that it does not know
        self._most_under_way = 1
        self.max_request = self._longest_request = ONE_LINE
        self.max_reply = ONE_LINE

    # the link

    @property
    def name(self) -> str:
        """The device as sentences call it."""
        return self._transport.name

    @property
    def window(self) -> int:
        """Requests that may be under way at once now."""
        return self._session.window

    @property
    def one_at_a_time(self) -> bool:
        """Whether one request may be under way at most, so that the line rests while the device waits for the next."""
        return self._session.window_limit == 1 and self.ordered

    def follow_closely(self, on: bool) -> None:
        """Whether requests follow each other at once on raw framing too, where the device takes them so.

        It is for long things that are sent: what is read may come in rows of replies (`start_stream`), which need no more
        than one request under way. Each request then has less room, as it bears a check value.
        """
        framing = self._framing
        if isinstance(framing, RawFraming):
            framing.back_to_back = on and self.back_to_back
            self.max_request = self._longest_request - (SEAL_SIZE if framing.back_to_back else 0)
            self._session.set_window(self._most_under_way)

    @property
    def together(self) -> int:
        """Replies that come in about a hundredth of a second: whoever has as many under way may wait for them in one."""
        round_trip_s = self._session.round_trip_s
        if not round_trip_s or round_trip_s > _TOGETHER_S:
            return 1
        return min(_MOST_TOGETHER, 1 + int(_TOGETHER_S * self._session.window / round_trip_s))

    @property
    def ordered(self) -> bool:
        """Whether replies keep the order of their requests on this link."""
        return self._transport.mtu is None

    @property
    def checked(self) -> bool:
        """Whether a check value keeps damaged messages out on this link."""
        return self._checked

    @property
    def counters(self) -> Counters:
        return self._session.counters

    @property
    def round_trip_s(self) -> float | None:
        return self._session.round_trip_s

    async def open(self) -> None:
        """Open the link, see whether anybody answers and learn what the device can take."""
        self._down = None
        self.terse = False
        self._loop = asyncio.get_running_loop()
        try:
            await self._transport.open(self)
            await self._negotiate()
        except BaseException:
            await self.close()
            raise

    @property
    def tuning(self) -> Tuning:
        """What the host's end of the link is set to."""
        return self._transport.tuning if isinstance(self._transport, Tunable) else Tuning()

    async def reopen(self, tuning: Tuning | None = None) -> None:
        """Open the link again after a loss or a restart, or with another tuning; requests under way fail."""
        self.lost(LinkError(f"the link to {self.name} was opened anew"))
        if tuning is not None and isinstance(self._transport, Tunable):
            await self._transport.close()
            self._transport.tune(tuning)
        await self.open()

    async def close(self) -> None:
        """Close the link. Requests under way fail; harmless when it is closed already."""
        self.lost(LinkError(f"the link to {self.name} was closed"))
        await self._transport.close()

    async def release(self) -> None:
        """Close for good, and give back what the transport keeps between openings."""
        await self.close()
        if isinstance(self._transport, Keeping):
            await self._transport.release()

    def take_text(self) -> str:
        """What the device printed between messages since the last call: data, not fit for a terminal as it is."""
        self._keep_text()
        text = self._text.decode(errors="replace")
        self._text.clear()
        return text

    def speak(self, version: int) -> None:
        """Begin a session in this version of SMP (the number in the header): what was asked before is forgotten."""
        self._keep_text()
        self._seen.clear()
        framing = self._make_framing()
        self._checked, self._joinable = framing.checked, framing.joinable
        self._piece = piece_of(self._transport)
        self._framing = framing
        self._session = Session(framing, timeouts=self._options.timeouts, version=version)

    def _keep_text(self) -> None:
        self._text += self._session.take_text()

    async def _negotiate(self) -> None:
        self.params, self.terse = await greet(self)
        known = self.params
        size = self._options.buffer or (known.buf_size if known else 0)
        self.max_request, self.max_reply = message_sizes(self._transport, size)
        self._longest_request = self.max_request
        self._most_under_way = self._options.window or (known.buf_count - 1 if known else 1)
        self._session.set_window(self._most_under_way)
        self.back_to_back = False

    def silence(self) -> RequestTimeout:
        """The error of a device that has answered nothing; what came instead says why."""
        seen, damaged = bytes(self._seen), self._session.dropped
        return RequestTimeout(explain_silence(self.name, self._options.timeout_s, seen, damaged, self._make_framing()))

    # requests

    async def request(
        self,
        command: Command[Req, Rsp],
        message: Req,
        *,
        tries: int | None = None,
        service_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Rsp:
        """Ask and wait for the answer: see `start`. `timeout_s` bounds the time in all, repetitions included."""
        reply = self.start(command, message, tries=tries, service_s=service_s)
        if timeout_s is None:
            return await reply
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except RequestTimeout:
            raise
        except TimeoutError:
            raise self._timed_out(command, f"within {timeout_s:g} s") from None

    def start(
        self,
        command: Command[Req, Rsp],
        message: Req,
        *,
        tries: int | None = None,
        service_s: float | None = None,
        urgent: bool = False,
    ) -> Reply[Rsp]:
        """Send a request, or queue it while the window is full; await the result whenever convenient.

        `tries` above one counts only for commands that may be repeated. `service_s`: the device's own time, where it
        differs from the command's. `urgent` is not held up by losses. The result raises RefusedError, ProtocolError, RequestTimeout or LinkError.
        """
        allowed = (tries or REPEATS) if command.repeatable else 1
        work_s = command.service_s if service_s is None else service_s
        patience_s = work_s if command.repeatable else max(work_s, _PATIENCE_S)
        ask = Ask(command.op, command.group, command.id, encode_body(message), allowed, patience_s, urgent)
        reply: Reply[Rsp] = Reply(self.withdraw, command, ask)
        if self._down is not None:
            reply.set_exception(self._down)
        elif self.terse and command.key not in ALL_OLD_ONES_KNOW:
            self._refused(reply, RefusedError(Rc.NOT_SUPPORTED, None, error_text(Rc.NOT_SUPPORTED, None)))
        else:
            self._ask(reply)
        return reply

    def start_stream(
        self,
        command: Command[Req, Rsp],
        message: Req,
        count: int,
        place: Callable[[Rsp], int | None],
        goes_on: Callable[[Rsp], bool],
    ) -> list[Reply[Rsp]]:
        """Send a request, once, that the device answers with up to `count` replies: see `Stream`.

        Of one that does not come the result is `Unanswered`: ask for it by itself.
        """
        ask = Ask(
            command.op, command.group, command.id, encode_body(message), service_s=command.service_s, replies=count
        )
        replies: list[Reply[Rsp]] = [Reply(self.withdraw, command, ask) for _ in range(count)]
        stream: Stream[Rsp] = Stream(command, replies, place, goes_on)
        if self._down is not None:
            stream.end(self._down)
        else:
            self._streams.add(self._session.ask(ask, self._now()), stream)
            self._flush()
        return replies

    def give_up(self, reply: Reply[Any], error: Exception) -> None:
        """End a request early, for a caller that knows more than the session."""
        self.withdraw(reply)
        if not reply.done():
            reply.set_exception(error)

    def withdraw(self, reply: Reply[Any]) -> None:
        """Forget a request that nobody waits for any more. One that has ended may be of a link before, whose tickets
        mean others now."""
        if reply.done():
            return
        if reply.ticket in self._streams:
            if self._streams[reply.ticket].drop(reply) and self._session.cancel(reply.ticket, self._now()):
                del self._streams[reply.ticket]
                self._flush()
        elif self._replies.pop(reply.ticket, None) is not None:
            self._session.cancel(reply.ticket, self._now())
            self._flush()

    def spare(self, reply: Reply[Any]) -> None:
        """Let a request run out: wait for its answer, and do not send it again."""
        self._session.spare(reply.ticket)

    def _ask(self, reply: Reply[Any]) -> None:
        reply.ticket = self._session.ask(reply.ask, self._now())
        self._replies[reply.ticket] = reply
        self._flush()

    # what the transport delivers

    def received(self, data: bytes) -> None:
        if len(self._seen) < _SEEN_LIMIT:
            self._seen += data[: _SEEN_LIMIT - len(self._seen)]
        self._session.receive(data, self._now())
        self._flush()  # first of all: what waits for its turn is on its way while the answers are looked at
        self._settle()

    def lost(self, error: LinkError) -> None:
        if self._down is not None:
            return
        self._down = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._keep_text()
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            if not reply.done():
                reply.set_exception(error)
        self._streams.end_all(error)

    # the session's events

    def _settle(self) -> None:
        for event in self._session.events():
            if isinstance(event, Answered):
                self._answered(event)
            elif isinstance(event, Expired):
                self._expired(event)

    def _flush(self) -> None:
        frames = self._session.outgoing()
        if not frames and self._timer is not None:
            return
        if len(frames) > 1 and self._joinable:
            frames = [b"".join(frames)]  # a stream's frames delimit themselves, and a system call costs more than they
        for frame in frames:
            self._transport.send(frame)
        due = self._session.deadline()
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return  # a timer that rings early finds nothing to do and is set again
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._session.tick(self._now())
        self._flush()
        self._settle()

    def _answered(self, event: Answered) -> None:
        stream = self._streams.get(event.ticket)
        if stream is not None:
            if not stream.heard(event):
                self._end_stream(event.ticket, None)
            return
        reply = self._replies.pop(event.ticket, None)
        if reply is None or reply.done():
            return
        reply.took_s = event.round_trip_s
        try:
            answer = decode_reply(event.packet.payload, reply.command)
            if self._piece and self._needs_another(reply, event.packet.payload):
                self._ask(reply)
            else:
                reply.set_result(answer)
        except RefusedError as error:
            self._refused(reply, error)
        except ProtocolError as error:
            self._garbled(reply, error)
        if reply.then is not None and reply.done():
            reply.then()

    def _end_stream(self, ticket: int, error: FieldlogError | None) -> None:
        stream = self._streams.pop(ticket, None)  # whoever got the last answer may have taken the rest back
        if stream is not None:
            stream.end(error)
        self._session.finish(ticket, self._now())
        self._flush()

    def _garbled(self, reply: Reply[Any], error: ProtocolError) -> None:
        if not self._ask_garbled_again(reply):
            reply.set_exception(
                ProtocolError(f"the answer of {self.name} to {reply.command.name!r} makes no sense: {error}")
            )

    def _needs_another(self, reply: Reply[Any], payload: bytes) -> bool:
        """Whether an answer that came in pieces is to be asked for again before it is believed."""
        if reply.look is None:
            if not needs_one(reply.command, HEADER_SIZE + len(payload), self._piece):
                return False
            reply.look = SecondLook(reply.command)
        return not reply.look.believes(payload, astray=self._session.dropped > 0)

    def _ask_garbled_again(self, reply: Reply[Any]) -> bool:
        """On a line without a check value a bit may have flipped, in the request or in the answer: a few times."""
        if self._checked or not reply.command.repeatable or reply.garbled >= _GARBLED_RETRIES:
            return False
        reply.garbled += 1
        self._ask(reply)
        return True

    def _refused(self, reply: Reply[Any], error: RefusedError) -> None:
        if error.group is None and error.code == Rc.INVALID and self._ask_garbled_again(reply):
            return
        if error.group is None and error.code == Rc.NO_MEMORY:
            # more was under way than the device has buffers for (docs/smp.md#seen-on-zephyr)
            self._session.set_window(self._session.window - 1)
            reply.no_memory += 1
            if reply.command.repeatable and reply.no_memory <= _NO_MEMORY_RETRIES:
                self._ask(reply)
                return
        text = f"the device refused {reply.command.name!r}: {error}"
        reply.set_exception(RefusedError(error.code, error.group, text, error.details))

    def _expired(self, event: Expired) -> None:
        if event.ticket in self._streams:
            self._end_stream(event.ticket, Unanswered(ended=False))
            return
        reply = self._replies.pop(event.ticket, None)
        if reply is not None and not reply.done():
            tries = f"after {event.tries} tries" if event.tries > 1 else "in time"
            reply.set_exception(self._timed_out(reply.command, tries))

    def _timed_out(self, command: Command[Any, Any], when: str) -> RequestTimeout:
        return timed_out(self.name, command, when, wireless=bool(piece_of(self._transport)))

    def _now(self) -> float:
        return self._loop.time()
