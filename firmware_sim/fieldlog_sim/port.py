"""The device's SMP server behind one link: message buffers, one request at a time, console text (docs/smp.md#seen-on-zephyr).

Rule: it moves bytes between a link and the dispatcher and enforces what a Zephyr server's buffers would: `count` of them
serve requests and replies together, a request that finds none free is dropped in silence, and one whose reply finds
none is answered with rc 2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, RawFraming
from fieldlog_protocol.session import Session
from fieldlog_protocol.session_events import Requested
from fieldlog_protocol.wire import Packet, encode_error

CONSOLE_OVERHEAD = 4  # length and CRC share the reassembly buffer with the message
ZEPHYR_LINE = 127


@dataclass(frozen=True, slots=True)
class Buffers:
    """Size of a message buffer and how many there are, as os params advertises them. `back_to_back`: on raw serial each
    message goes into one of its own, whatever comes behind it; a stock server discards what is not alone."""

    size: int = 384
    count: int = 4
    back_to_back: bool = False


class Server(Protocol):
    """What a port needs of a device."""

    @property
    def recovery_buffers(self) -> Buffers | None:
        """The boot loader's buffers while its serial recovery serves, None while the firmware does."""
        ...

    def handle(self, packet: Packet, arrived: float, now: float) -> bytes | None:
        """The payload of the reply to a request that arrived at `arrived` and is worked on at `now`; None: power went."""
        ...

    def following(self) -> bytes | None:
        """The payload of a request that the device goes on with by itself, in the manner of the last one that it handled."""
        ...

    def after_reply(self, now: float) -> bool:
        """The reply has left the line: a pending restart happens now. Answers whether there was one."""
        ...

    def take_console(self) -> bytes:
        """Text that the firmware printed."""
        ...

    def advance(self, now: float) -> None:
        """Do what is due by now though nobody asked for anything."""
        ...

    def wake_at(self, now: float) -> float | None:
        """When `advance` is next wanted, None for never."""
        ...


@dataclass(slots=True)
class PortCounters:
    """Statistics of a port."""

    requests: int = 0
    replies: int = 0
    no_buffer: int = 0
    refused_no_buffer: int = 0


def console_framing(buffers: Buffers) -> ConsoleFraming:
    """The server's side of the console framing: Zephyr's limits of message and line."""
    return ConsoleFraming(max_message=buffers.size - CONSOLE_OVERHEAD, max_line=ZEPHYR_LINE)


def raw_framing(buffers: Buffers) -> RawFraming:
    """The server's side of raw serial."""
    return RawFraming(max_message=buffers.size, exact=not buffers.back_to_back, back_to_back=buffers.back_to_back)


def datagram_framing(buffers: Buffers) -> DatagramFraming:
    """The server's side of UDP: a datagram that is longer than a buffer is cut off, and so no message."""
    return DatagramFraming(max_message=buffers.size)


_FRAMINGS: dict[type[Framing], Callable[[Buffers], Framing]] = {
    ConsoleFraming: console_framing,
    RawFraming: raw_framing,
    DatagramFraming: datagram_framing,
}


class SmpPort:
    """One link's end of the device. A link calls `receive`, then `serve` and `sent` in turn, one reply at a time."""

    def __init__(self, server: Server, buffers: Buffers, framing: Framing, now: float) -> None:
        self.counters = PortCounters()
        self._server = server
        self._firmware_buffers = buffers
        self._buffers: Buffers = buffers
        self._framing: Framing = framing
        self._session = Session(framing)
        self._waiting: deque[tuple[Packet, float]] = deque()
        self._reply_out = False
        self._wake: float | None = now
        self._handled_at = float("-inf")

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the host; complete requests wait in buffers of their own."""
        self._refit()
        self._session.receive(data, now)
        for event in self._session.events():
            if not isinstance(event, Requested):
                continue
            if len(self._waiting) + self._reply_out >= self._buffers.count:
                self.counters.no_buffer += 1
                continue
            self.counters.requests += 1
            self._waiting.append((event.packet, now))

    def _refit(self) -> None:
        """Boot loader and firmware have buffers of their own; what is not complete is lost between them."""
        buffers = self._server.recovery_buffers or self._firmware_buffers
        if buffers is not self._buffers:
            self._buffers = buffers
            self._framing = _FRAMINGS[type(self._framing)](buffers)
            self._session = Session(self._framing)

    def serve(self, now: float) -> bytes | None:
        """Work on one waiting request and return the bytes of its reply, or console text, or None."""
        text = self._server.take_console()
        if text and isinstance(self._framing, ConsoleFraming):
            return text
        if not self._waiting:
            if now != self._handled_at:  # else it has been, with the request
                self._server.advance(now)
            self._wake = self._server.wake_at(now)
            return None
        packet, arrived = self._waiting[0]
        following = None
        if (
            len(self._waiting) >= self._buffers.count
        ):  # no buffer is left for the reply: the request's own carries the error
            self.counters.refused_no_buffer += 1
            payload: bytes | None = encode_error(packet.version, Rc.NO_MEMORY, None)
        else:
            payload = self._server.handle(packet, arrived, now)
            self._handled_at = now
            following = self._server.following()
        if payload is None:
            self._waiting.clear()  # RAM is lost with the power
            return None
        self._waiting.popleft()
        if following is not None:  # it keeps the buffer of the request that brought it
            self._waiting.appendleft((packet._replace(payload=following), now))
        self._reply_out = True
        self.counters.replies += 1
        self._session.reply(packet, payload)
        return b"".join(self._session.outgoing())

    def sent(self, now: float) -> None:
        """The last bytes of `serve` have left the line."""
        if self._reply_out:
            self._reply_out = False
            if self._server.after_reply(now):
                self._waiting.clear()  # as RAM is by a restart

    def wake_at(self) -> float | None:
        """When the device wants to be served without a request."""
        return self._wake

    def link_up(self) -> None:
        """The host is there."""

    def link_down(self) -> None:
        """The host is gone: what it had sent is forgotten."""
        self._waiting.clear()
        self._reply_out = False
