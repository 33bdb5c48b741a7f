"""From a request packet to the payload of its reply: the device's half of the command table.

Rule: everything that the table can check is checked here, from the declarations; a handler sees only valid messages and
either returns its response or raises Refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from fieldlog_protocol.commands import Command, Message
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError
from fieldlog_protocol.session import SMP_V2
from fieldlog_protocol.wire import HEADER_SIZE, Packet, decode_body, encode_body, encode_error

Req = TypeVar("Req", bound=Message)
Rsp = TypeVar("Rsp", bound=Message)

_SHORT_MAP = range(0xA0, 0xB8)


class Refusal(Exception):
    """A handler says no. `group` is None for a code of the protocol itself; `details` go beside the error."""

    def __init__(self, code: int, group: int | None = None, **details: object) -> None:
        super().__init__(f"group {group} code {code}")
        self.code = int(code)
        self.group = None if group is None else int(group)
        self.details = details


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may measure. `indefinite`: replies are indefinite-length maps, as Zephyr writes them."""

    buf_size: int
    indefinite: bool = False

    def room_for_blob(self, response: Message) -> int:
        """How many bytes the one empty byte string in `response` may grow to, so that the reply fills the buffer."""
        room = self.buf_size - HEADER_SIZE - len(encode_body(response)) - self.indefinite
        for length_bytes, most in ((0, 23), (1, 0xFF), (2, 0xFFFF)):
            if room - length_bytes <= most:
                return max(0, room - length_bytes)
        return room - 4

    def fits(self, response: Message) -> bool:
        """Whether a reply with this response fits the buffer."""
        return HEADER_SIZE + len(encode_body(response)) + self.indefinite <= self.buf_size


class _Served(NamedTuple):
    command: Command[Any, Any]
    handler: Callable[[Any], Any]
    follow: Callable[[Any, Any], Any] | None


class Dispatcher:
    """The handlers of one device."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.following: bytes | None = None
        """The body of the request that the last one brings with it, as if the host had sent it behind that."""
        self._handlers: dict[tuple[int, int, int], _Served] = {}

    def on(
        self,
        command: Command[Req, Rsp],
        handler: Callable[[Req], Rsp],
        follow: Callable[[Req, Rsp], Req | None] | None = None,
    ) -> None:
        """Let `handler` answer `command`. `follow` tells what the device goes on with by itself after an answer."""
        self._handlers[command.key] = _Served(command, handler, follow)

    @property
    def groups(self) -> dict[int, int]:
        """Group ids that are served, with the number of their handlers."""
        counts: dict[int, int] = {}
        for _, group, _ in self._handlers:
            counts[group] = counts.get(group, 0) + 1
        return dict(sorted(counts.items()))

    def handle(self, packet: Packet) -> bytes:
        """The payload of the reply to a request."""
        self.following = None
        if packet.version > SMP_V2:
            return encode_error(packet.version, Rc.TOO_NEW, None)
        try:
            payload = self._answer(packet)
        except Refusal as refusal:
            payload = encode_error(packet.version, refusal.code, refusal.group, refusal.details)
        if len(payload) + HEADER_SIZE > self.limits.buf_size:
            return encode_error(packet.version, Rc.MESSAGE_SIZE, None)
        return payload

    def _answer(self, packet: Packet) -> bytes:
        found = self._handlers.get((packet.op, packet.group, packet.id))
        if found is None:
            raise Refusal(Rc.NOT_SUPPORTED)
        try:
            request = decode_body(packet.payload, found.command.request)
        except ProtocolError:
            raise Refusal(Rc.INVALID) from None
        response = found.handler(request)
        following = found.follow(request, response) if found.follow is not None else None
        self.following = None if following is None else encode_body(following)
        return self._shape(encode_body(response))

    def _shape(self, payload: bytes) -> bytes:
        if self.limits.indefinite and payload[0] in _SHORT_MAP:
            return b"\xbf" + payload[1:] + b"\xff"
        return payload
