"""What a session is asked for, and what comes of it.

Rule: data only. What is made anew for every message is a named tuple: frozen dataclasses take three times as long to
make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fieldlog_protocol.commands.base import Op
from fieldlog_protocol.wire import Packet

THROUGH_S = 5.0
"""After so long the longest message is through the slowest line that anybody uses."""


class Ask(NamedTuple):
    """A request to be sent: all of a packet but its sequence number.

    `tries`: how often it may be sent and meet with silence; 1 for what must not be repeated. What is lost while others
    are answered shows a line that loses, not a device that is gone, and is repeated oftener, without more patience.
    `service_s`: time that the device may need before it answers, beyond the round trip. `urgent`: goes out at
    once if the window that was set has room for it, even where it is narrower by now. `replies`: how many the device
    may send to this one request; see `Session.finish`. Where one may be under way at a time, an urgent one waits only
    until what is under way must be through the line: right behind it, it could spoil it (docs/smp.md#links).
    """

    op: Op
    group: int
    id: int
    payload: bytes
    tries: int = 1
    service_s: float = 0.0
    urgent: bool = False
    replies: int = 1


class Answered(NamedTuple):
    """A request was answered; one with several replies has an event for each. `round_trip_s`: since it was sent, or since
    the reply before."""

    ticket: int
    packet: Packet
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody answered, however often it was sent."""

    ticket: int
    tries: int


class Requested(NamedTuple):
    """The other end asks for something; answer with `Session.reply`."""

    packet: Packet


Event = Answered | Expired | Requested
