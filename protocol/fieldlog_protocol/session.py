"""The session: which reply belongs to which request, how many may be under way, and when to ask again.

Rule: sans I/O and blind to its role. Bytes and the time go in, bytes and events come out; host and device use the same
class. A request is an even operation, a reply an odd one, and nothing else tells the two ends apart.

Replies are matched by (sequence, group, id, operation). A repetition gets a sequence number of its own, and a late
reply to an earlier attempt still counts. A number that may still be in the air is not given out again while any other
is left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from fieldlog_protocol.commands.base import Op
from fieldlog_protocol.errors import ProtocolError, UsageError
from fieldlog_protocol.framing import Framing
from fieldlog_protocol.round_trip import RoundTrip, Timeouts
from fieldlog_protocol.session_events import THROUGH_S, Answered, Ask, Event, Expired, Requested
from fieldlog_protocol.wire import Packet, iter_packets

SMP_V2 = 1
_SEQUENCES = 256
_MOST_IN_FLIGHT = _SEQUENCES // 2  # the other half is for numbers whose late reply may still come
_REORDER_TOLERANCE = 3
_MOST_OVERTAKEN = 12
_MEMORY = 8
"""About so many outcomes tell what share of the requests is lost now."""
_NO_CHANCE = 0.4
_TURNS = 2
"""For so many turns the oldest request under way waits behind the answer to the one before."""


@dataclass(slots=True)
class _Attempt:
    ticket: int
    key: tuple[int, int, int, int]
    number: int
    sent_at: float
    expires_at: float
    overtaken: int = 0


@dataclass(slots=True)
class _Pending:
    ask: Ask
    tries_left: int
    replies_left: int
    tries_used: int = 0
    overtaken: int = 0
    cancelled: bool = False
    attempts: list[_Attempt] = field(default_factory=list[_Attempt])


@dataclass(slots=True)
class Counters:
    """What happened on the link so far. `received_bytes` are the link's own, `message_bytes` those of whole messages."""

    sent: int = 0
    repeated: int = 0
    answered: int = 0
    expired: int = 0
    stale: int = 0
    malformed: int = 0
    received_bytes: int = 0
    message_bytes: int = 0


class Session:
    """One end of an SMP link."""

    def __init__(
        self, framing: Framing, *, window: int = 1, timeouts: Timeouts | None = None, version: int = SMP_V2
    ) -> None:
        self._framing = framing
        self._timeouts = timeouts or Timeouts()
        self._version = version
        self.counters = Counters()
        self._round_trip = RoundTrip(self._timeouts)
        self._waiting: deque[int] = deque()
        self._pending: dict[int, _Pending] = {}
        self._in_air: dict[int, _Attempt] = {}
        self._lingering: dict[int, _Attempt] = {}
        self._outgoing: list[bytes] = []
        self._events: list[Event] = []
        self._next_ticket = 0
        self._next_sequence = 0
        self._sends = 0
        self._silent_expiries = 0
        self._answers_in_row = 0
        self._share_lost = 0.0
        self._answered_at = self._late_at = float("-inf")
        self._turn_s = 0.0  # that an answer took since its request was the oldest under way: its time on the line
        self._partial = 0
        self._tolerance = 1 if framing.ordered else _REORDER_TOLERANCE
        self._window_limit = 1
        self._window = 1
        self.set_window(window)

    # asking

    def ask(self, ask: Ask, now: float) -> int:
        """Queue a request; the ticket names it in later events."""
        if ask.tries < 1:
            raise UsageError("a request must be sent at least once")
        if ask.replies > 1 and ask.tries > 1:
            raise UsageError("a request for several replies is sent once: what is lost of them is asked for by itself")
        ticket = self._next_ticket
        self._next_ticket += 1
        self._pending[ticket] = _Pending(ask, ask.tries, ask.replies)
        if ask.urgent and self._is_room(now):
            self._send(ticket, now)
            return ticket
        self._waiting.append(ticket)
        self._fill(now)
        return ticket

    def _is_room(self, now: float) -> bool:
        through = all(now - attempt.sent_at >= THROUGH_S for attempt in self._in_air.values())
        return len(self._in_air) < self._window_limit + (self._window_limit == 1 and through)

    def cancel(self, ticket: int, now: float) -> bool:
        """Forget a request: no event will come of it. Sent already, it keeps its place until the device is done with it.

        Answers whether it was forgotten: one that brings several replies is not, once it is sent, since only they tell
        when the device is done.
        """
        pending = self._pending.get(ticket)
        if pending is None:
            return True
        if pending.ask.replies > 1 and ticket not in self._waiting:
            return False
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        for attempt in pending.attempts:
            if attempt.overtaken >= self._tolerance:
                self._abandon(attempt, now)
        pending.cancelled, pending.tries_left = True, 0
        if not self._is_in_air(pending):
            del self._pending[ticket]
        self._fill(now)
        return True

    def spare(self, ticket: int) -> None:
        """Wait for the answer to what was sent, and send it no more; what is to go out at this moment still does."""
        pending = self._pending.get(ticket)
        if pending is not None:
            pending.tries_left = 1 if ticket in self._waiting else 0

    def finish(self, ticket: int, now: float) -> None:
        """The device said that no more replies to this request will come, though more would have been taken."""
        pending = self._pending.pop(ticket, None)
        if pending is not None:
            for attempt in pending.attempts:
                self._abandon(attempt, now)
            self._fill(now)

    def _is_in_air(self, pending: _Pending) -> bool:
        return any(self._in_air.get(attempt.key[0]) is attempt for attempt in pending.attempts)

    def set_window(self, window: int) -> None:
        """How many requests may be under way; the framing may allow fewer."""
        limit = self._framing.in_flight_limit
        self._window_limit = max(1, min(window, _MOST_IN_FLIGHT if limit is None else limit))
        self._window = self._window_limit

    @property
    def window(self) -> int:
        """Requests that may be under way now: fewer than were set while the device loses what it is sent."""
        return self._window

    @property
    def window_limit(self) -> int:
        """Requests that may be under way while the device loses none."""
        return self._window_limit

    @property
    def round_trip_s(self) -> float | None:
        """Smoothed round trip, None before the first answer."""
        return self._round_trip.smoothed_s

    # answering

    def reply(self, request: Packet, payload: bytes) -> None:
        """Send the reply to a request of the other end, in the version that it asked in."""
        version = min(request.version, SMP_V2)
        answer = Packet(Op(request.op + 1), version, request.group, request.id, request.sequence, payload)
        self._outgoing.append(self._framing.encode(answer.encode()))

    # the link's side

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes that the link delivered."""
        self.counters.received_bytes += len(data)
        for frame in self._framing.feed(data, now):
            self.counters.message_bytes += len(frame)
            try:
                for packet in iter_packets(frame):
                    self._take(packet, now)
            except ProtocolError:
                self.counters.malformed += 1
        self._fill(now)

    def outgoing(self) -> list[bytes]:
        """Frames to be sent now, one entry a message."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def take_text(self) -> bytes:
        """Console text that arrived between frames."""
        return self._framing.take_text()

    @property
    def dropped(self) -> int:
        """Frames that arrived damaged."""
        return self._framing.dropped + self.counters.malformed

    def deadline(self) -> float | None:
        """When `tick` must be called next, None while nothing is under way."""
        return min((attempt.expires_at for attempt in self._in_air.values()), default=None)

    def tick(self, now: float) -> None:
        """Repeat or give up what has not been answered by now."""
        expired = [attempt for attempt in self._in_air.values() if attempt.expires_at <= now]
        if expired and self._framing.ordered and self.counters.answered:
            expired = self._without_hope(expired, now)
        if expired:
            self._silent_expiries += 1
            self._answers_in_row = 0
            if self._silent_expiries >= 2:  # twice in a row nothing at all came back: perhaps it cannot take so many
                self._narrow(1)
        self._lose(expired, now)
        self._fill(now)

    def _without_hope(self, expired: list[_Attempt], now: float) -> list[_Attempt]:
        """Those of the expired that nothing is heard of. Where replies come in order, those before one may fill the line
        for long, and a long one itself takes longer than any round trip so far: while they come, the others wait on."""
        partial, self._partial = self._partial, self._framing.partial
        comes_in = self._partial and self._partial != partial
        for attempt in expired:
            late_at = min(self._late_at, attempt.sent_at + self._timeouts.most_s)  # some devices never stop
            since = max(attempt.sent_at, self._answered_at, late_at)
            more_s = max(self._round_trip.timeout_s, min(_TURNS * self._turn_s, self._timeouts.most_s))
            if comes_in:
                more_s = min(now - since + more_s, self._timeouts.most_s)
            attempt.expires_at = max(attempt.expires_at, since + more_s)
        return [attempt for attempt in expired if attempt.expires_at <= now]

    def _fill(self, now: float) -> None:
        while self._waiting and len(self._in_air) < self._window:
            self._send(self._waiting.popleft(), now)

    def _send(self, ticket: int, now: float) -> None:
        pending = self._pending[ticket]
        ask = pending.ask
        sequence = self._free_sequence(now)
        packet = Packet(ask.op, self._version, ask.group, ask.id, sequence, ask.payload)
        doubled_s = self._round_trip.timeout_s * 2 ** (pending.tries_used - pending.overtaken)
        timeout_s = min(doubled_s, self._timeouts.longest_s) + ask.service_s
        attempt = _Attempt(ticket, packet.reply_key, self._sends, now, now + timeout_s)
        self._sends += 1
        pending.tries_used += 1
        pending.tries_left -= 1
        pending.attempts.append(attempt)
        self._in_air[sequence] = attempt
        self.counters.sent += 1
        if pending.tries_used > 1:
            self.counters.repeated += 1
        self._outgoing.append(self._framing.encode(packet.encode()))

    def _free_sequence(self, now: float) -> int:
        if self._lingering:
            for sequence in [sequence for sequence, old in self._lingering.items() if old.expires_at <= now]:
                del self._lingering[sequence]
        for step in range(_SEQUENCES):
            sequence = (self._next_sequence + step) % _SEQUENCES
            if sequence not in self._in_air and sequence not in self._lingering:
                break
        else:
            sequence = min(self._lingering, key=lambda number: self._lingering[number].expires_at)
            del self._lingering[sequence]
        self._next_sequence = (sequence + 1) % _SEQUENCES
        return sequence

    def _take(self, packet: Packet, now: float) -> None:
        if packet.is_request:
            self._events.append(Requested(packet))
            return
        attempt = self._in_air.get(packet.sequence) or self._lingering.get(packet.sequence)
        if attempt is None or attempt.key != packet.key:
            self.counters.stale += 1
            return
        if attempt.ticket not in self._pending:
            self._too_late(attempt, now)
            return
        self._answer(attempt, packet, now)

    def _too_late(self, attempt: _Attempt, now: float) -> None:
        """A reply that nobody waits for any more, perhaps one of many: those to later requests come behind them."""
        self.counters.stale += 1
        self._late_at = now
        if attempt is self._lingering.get(attempt.key[0]):
            attempt.expires_at = now + self._timeouts.linger_s

    def _answer(self, attempt: _Attempt, packet: Packet, now: float) -> None:
        pending = self._pending[attempt.ticket]
        pending.replies_left -= 1
        if pending.replies_left > 0:
            self._answer_in_part(pending, attempt, packet, now)
            return
        del self._pending[attempt.ticket]
        if self._in_air.pop(packet.sequence, None) is None or pending.tries_used > 1:
            self._forget_others(pending, attempt, now)
        round_trip_s = self._heard_of(pending, attempt, now)
        self._widen()
        if not pending.cancelled:
            self._events.append(Answered(attempt.ticket, packet, round_trip_s))
        if self._in_air:
            self._find_overtaken(attempt, now)

    def _answer_in_part(self, pending: _Pending, attempt: _Attempt, packet: Packet, now: float) -> None:
        """One of several replies: those that follow need the line's time alone, and no more patience than another."""
        waited_s = self._heard_of(pending, attempt, now)
        if not pending.cancelled:
            self._events.append(Answered(attempt.ticket, packet, waited_s))
        attempt.sent_at, attempt.expires_at = now, now + self._round_trip.timeout_s

    def _heard_of(self, pending: _Pending, attempt: _Attempt, now: float) -> float:
        """How long it took. Of several replies only the first is one to what was sent."""
        waited_s, ask = now - attempt.sent_at, pending.ask
        if (
            not ask.service_s and pending.replies_left == ask.replies - 1
        ):  # else it is the device's work, not the link's
            self._round_trip.add(waited_s)
        self._turn_s = max(self._turn_s / 2, now - max(attempt.sent_at, self._answered_at))
        self.counters.answered += 1
        self._answered_at = now
        self._silent_expiries = 0
        return waited_s

    def _forget_others(self, pending: _Pending, answered: _Attempt, now: float) -> None:
        """What was sent again, or waits to be, has its answer now."""
        self._lingering.pop(answered.key[0], None)
        if answered.ticket in self._waiting:
            self._waiting.remove(answered.ticket)
        for other in pending.attempts:
            if other is not answered:
                self._abandon(other, now)

    def _widen(self) -> None:
        self._share_lost -= self._share_lost / _MEMORY
        self._answers_in_row += 1
        if self._window < self._window_limit and self._answers_in_row >= 16:
            self._window += 1
            self._answers_in_row = 0

    def _narrow(self, window: int) -> None:
        self._window = window
        self._answers_in_row = 0
        self._share_lost = 0.0

    def _find_overtaken(self, answered: _Attempt, now: float) -> None:
        """Requests are answered in order, so one that a later one has overtaken was lost, or its reply was."""
        lost: list[_Attempt] = []
        for attempt in self._in_air.values():
            if attempt.number < answered.number:
                attempt.overtaken += 1
                pending = self._pending[attempt.ticket]
                if attempt.overtaken >= self._tolerance and (pending.tries_left or pending.cancelled):
                    if not pending.cancelled:
                        self._pardon(pending)
                    lost.append(attempt)
        if lost:
            self._lose(lost, now)

    def _pardon(self, pending: _Pending) -> None:
        """Lost, while others are answered: a line loses some, a device that cannot take so many loses most."""
        self._share_lost += (1 - self._share_lost) / _MEMORY
        if self._share_lost > _NO_CHANCE:
            self._narrow(max(1, self._window // 2))
        if pending.overtaken < _MOST_OVERTAKEN:
            pending.overtaken += 1
            pending.tries_left += 1

    def _lose(self, attempts: list[_Attempt], now: float) -> None:
        """Give up attempts, oldest first; what may be repeated goes before all that waits, in the same order."""
        again = [attempt.ticket for attempt in attempts if self._give_up(attempt, now)]
        self._waiting.extendleft(reversed(again))

    def _give_up(self, attempt: _Attempt, now: float) -> bool:
        """Whether the request is to be sent again."""
        self._abandon(attempt, now)
        pending = self._pending[attempt.ticket]
        if pending.tries_used - pending.overtaken >= 2:  # one loss is chance, but this one met with silence twice
            self._narrow(max(1, self._window - 1))
        if pending.tries_left:
            return True
        del self._pending[attempt.ticket]
        if pending.cancelled:
            return False
        self.counters.expired += 1
        self._events.append(Expired(attempt.ticket, pending.tries_used))
        return False

    def _abandon(self, attempt: _Attempt, now: float) -> None:
        sequence = attempt.key[0]
        if self._in_air.get(sequence) is attempt:
            del self._in_air[sequence]
            attempt.expires_at = now + self._timeouts.linger_s
            self._lingering[sequence] = attempt
