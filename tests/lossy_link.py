"""Two sessions on a simulated link, in virtual time: loss, duplication, damage, delay and reordering from a seed.

Both ends are the same class and both may ask; each answers what the other asks with the payload that it got, so that an
answer tells which request it belongs to. What must always hold is asserted with every frame that is sent.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import cbor2

from fieldlog_protocol.commands import Op
from fieldlog_protocol.framing import Framing
from fieldlog_protocol.round_trip import Timeouts
from fieldlog_protocol.session import Session
from fieldlog_protocol.session_events import Answered, Ask, Expired
from fieldlog_protocol.wire import Packet, iter_packets

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Weather:
    """What the link does to frames; the first three are probabilities."""

    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    least_delay_s: float = 0.01
    most_delay_s: float = 0.05
    ordered: bool = True


@dataclass(slots=True)
class End:
    """One end of the link and what it has seen."""

    name: str
    framing: Callable[[], Framing]
    window: int
    timeouts: Timeouts
    asked: dict[int, Ask] = field(default_factory=dict[int, Ask])
    answers: dict[int, bytes] = field(default_factory=dict[int, bytes])
    expired: dict[int, int] = field(default_factory=dict[int, int])
    sends: Counter[bytes] = field(default_factory=Counter[bytes])
    served: Counter[bytes] = field(default_factory=Counter[bytes])
    session: Session = field(init=False)

    def __post_init__(self) -> None:
        self.session = Session(self.framing(), window=self.window, timeouts=self.timeouts)

    def ask(self, tries: int, now: float) -> None:
        payload = cbor2.dumps({"d": f"{self.name} {len(self.asked)}"})
        ask = Ask(Op.WRITE, 0, 0, payload, tries)
        self.asked[self.session.ask(ask, now)] = ask

    @property
    def done(self) -> bool:
        return len(self.answers) + len(self.expired) == len(self.asked)

    def take_events(self) -> None:
        for event in self.session.events():
            if isinstance(event, Answered):
                assert event.ticket not in self.answers, "answered twice"
                assert event.ticket not in self.expired, "answered after it had expired"
                assert event.packet.payload == self.asked[event.ticket].payload, "another request's answer"
                self.answers[event.ticket] = event.packet.payload
            elif isinstance(event, Expired):
                assert event.ticket not in self.answers | self.expired, "expired after its end"
                self.expired[event.ticket] = event.tries
            else:
                self.served[event.packet.payload] += 1
                self.session.reply(event.packet, event.packet.payload)

    def started(self) -> int:
        """Requests that were sent and have not come to an end."""
        over = {self.asked[ticket].payload for ticket in self.answers | self.expired}
        return len(self.sends.keys() - over)


@dataclass(order=True, slots=True)
class _Flight:
    arrives_at: float
    number: int
    to: int
    frame: bytes = field(compare=False)
    packet: Packet = field(compare=False)


class Link:
    """Carries frames between two ends until nothing is left to happen."""

    def __init__(self, ends: tuple[End, End], weather: Weather, seed: int) -> None:
        self.ends = ends
        self.now = 0.0
        self._weather = weather
        self._random = random.Random(seed)
        self._flights: list[_Flight] = []
        self._count = 0
        self._last_arrival = [0.0, 0.0]

    def run(self, until: float = NEVER) -> None:
        """Deliver and tick until all requests of both ends have ended, or `until`."""
        self._collect()
        while not all(end.done for end in self.ends):
            deadlines = [end.session.deadline() or NEVER for end in self.ends]
            next_arrival = self._flights[0].arrives_at if self._flights else NEVER
            due = min(next_arrival, *deadlines)
            assert due < NEVER, "requests are open, but nobody waits for anything"
            if due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            if next_arrival <= due:
                flight = heapq.heappop(self._flights)
                self.ends[flight.to].session.receive(flight.frame, self.now)
            else:
                self.ends[deadlines.index(due)].session.tick(self.now)
            self._collect()

    def _collect(self) -> None:
        for at, end in enumerate(self.ends):
            end.take_events()
            for frame in end.session.outgoing():
                (message,) = end.framing().feed(frame, 0.0)
                (packet,) = iter_packets(message)
                if packet.is_request:
                    self._check_request(at, packet)
                self._send(1 - at, frame, packet)

    def _check_request(self, at: int, packet: Packet) -> None:
        end = self.ends[at]
        end.sends[packet.payload] += 1
        assert end.started() <= end.window, "more under way than the window allows"
        ways = {(1 - at, packet.key), (at, packet.reply_key)}
        assert not [flight for flight in self._flights if (flight.to, flight.packet.key) in ways], (
            f"number {packet.sequence} used again while it is in the air"
        )

    def _send(self, to: int, frame: bytes, packet: Packet) -> None:
        weather, chance = self._weather, self._random.random
        copies = 0 if chance() < weather.loss else 2 if chance() < weather.duplicate else 1
        for _ in range(copies):
            arrival = self.now + self._random.uniform(weather.least_delay_s, weather.most_delay_s)
            if weather.ordered:
                arrival = self._last_arrival[to] = max(arrival, self._last_arrival[to])
            carried = self._garbled(frame) if chance() < weather.corrupt else frame
            heapq.heappush(self._flights, _Flight(arrival, self._count, to, carried, packet))
            self._count += 1

    def _garbled(self, frame: bytes) -> bytes:
        at = self._random.randrange(len(frame) - 1)
        return frame[:at] + bytes([frame[at] ^ 1 << self._random.randrange(8)]) + frame[at + 1 :]
