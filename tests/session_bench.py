"""One session with its wire in the hands of the test, and short ways to write requests and replies."""

from __future__ import annotations

import cbor2

from fieldlog_protocol.commands import Op
from fieldlog_protocol.framing import DatagramFraming, Framing
from fieldlog_protocol.round_trip import Timeouts
from fieldlog_protocol.session import Session
from fieldlog_protocol.session_events import Answered, Ask, Event
from fieldlog_protocol.wire import Packet, decode_packet

EMPTY = b"\xa0"
ONCE, OFTEN = 1, 5


def ask(tries: int = OFTEN, *, payload: bytes = EMPTY, service_s: float = 0.0) -> Ask:
    return Ask(Op.READ, 8, 2, payload, tries, service_s)


def numbered(number: int, tries: int = OFTEN) -> Ask:
    return ask(tries, payload=cbor2.dumps({"n": number}))


class Ordered(DatagramFraming):
    """Bare messages in order, so that tests can read and write them by hand."""

    ordered = True


class Bench:
    """One session, its wire in the test's hands."""

    def __init__(self, window: int = 1, framing: Framing | None = None, timeouts: Timeouts | None = None) -> None:
        self.session = Session(framing or Ordered(), window=window, timeouts=timeouts)

    def sent(self) -> list[Packet]:
        return [decode_packet(frame) for frame in self.session.outgoing()]

    def ask_many(self, count: int, now: float = 0.0, tries: int = OFTEN) -> list[Packet]:
        for number in range(count):
            self.session.ask(numbered(number, tries), now)
        return self.sent()

    def answer(self, request: Packet, now: float, payload: bytes = EMPTY) -> None:
        self.session.receive(reply_to(request, payload).encode(), now)

    def events(self) -> list[Event]:
        return list(self.session.events())

    def answered(self) -> list[int]:
        return [event.ticket for event in self.events() if isinstance(event, Answered)]


def reply_to(request: Packet, payload: bytes = EMPTY) -> Packet:
    return Packet(Op(request.op + 1), request.version, request.group, request.id, request.sequence, payload)


def numbers(packets: list[Packet]) -> list[int]:
    return [cbor2.loads(packet.payload)["n"] for packet in packets]
