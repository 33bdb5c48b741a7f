"""The session on a slow line, in virtual time: a long reply that is on its way is no lost one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from fieldlog_protocol.framing import ConsoleFraming, Framing, PieceFraming, RawFraming
from fieldlog_protocol.round_trip import Timeouts
from fieldlog_protocol.session import Session
from fieldlog_protocol.session_events import Answered, Expired, Requested
from session_bench import EMPTY, ask, numbered, reply_to

_BITS_PER_BYTE = 10
_PIECE = 16
_LATENCY_S = 0.01
_LONG = 2000


class SlowLine:
    """A device that answers everything at once, behind a line that is quick towards it and slow back."""

    def __init__(self, framing: Callable[[], Framing], baud: int, window: int) -> None:
        self.host = Session(framing(), window=window)
        self._device = Session(framing())
        self._byte_s = _BITS_PER_BYTE / baud
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        self.now = 0.0
        self.size = 0
        self.cut_after: int | None = None

    def run(self, until_s: float) -> None:
        """Let everything happen up to a time, in the order of its times."""
        while True:
            self._serve()
            due = [
                at for at in (self.host.deadline(), self._arriving[0][0] if self._arriving else None) if at is not None
            ]
            if not due or min(due) > until_s:
                self.now = until_s
                return
            self.now = max(self.now, min(due))
            if self._arriving and self._arriving[0][0] <= self.now:
                self.host.receive(self._arriving.popleft()[1], self.now)
            self.host.tick(self.now)

    def _serve(self) -> None:
        for frame in self.host.outgoing():
            self._device.receive(frame, self.now)
        for event in self._device.events():
            if isinstance(event, Requested):
                self._device.reply(event.packet, reply_to(event.packet, EMPTY + bytes(self.size)).payload)
        for frame in self._device.outgoing():
            self._send(frame[: self.cut_after])

    def _send(self, frame: bytes) -> None:
        self._free_at = max(self._free_at, self.now + _LATENCY_S)
        for at in range(0, len(frame), _PIECE):
            piece = frame[at : at + _PIECE]
            self._free_at += len(piece) * self._byte_s
            self._arriving.append((self._free_at, piece))

    def learn(self) -> None:
        """A few short questions: the session learns how quick the line is."""
        for number in range(8):
            self.host.ask(numbered(number), self.now)
            self.run(self.now + 1)
        assert len(self.host.events()) == 8


@pytest.mark.parametrize("baud", [9_600, 57_600, 115_200])
@pytest.mark.parametrize(("framing", "window"), [(ConsoleFraming, 3), (ConsoleFraming, 7), (RawFraming, 1)])
def test_long_replies_behind_each_other_are_waited_for(framing: Callable[[], Framing], baud: int, window: int) -> None:
    line = SlowLine(framing, baud, window)
    line.learn()
    line.size = _LONG
    for _ in range(20):
        line.host.ask(ask(), line.now)
    line.run(line.now + 100)
    assert len([event for event in line.host.events() if isinstance(event, Answered)]) == 20
    assert line.host.counters.repeated == 0


@pytest.mark.parametrize("framing", [ConsoleFraming, RawFraming, PieceFraming])
def test_a_reply_that_stops_halfway_is_asked_for_again_in_bounded_time(framing: Callable[[], Framing]) -> None:
    line = SlowLine(framing, 115_200, 1)
    line.learn()
    line.size, line.cut_after = _LONG, 600
    line.host.ask(ask(tries=3), line.now)
    begun = line.now
    line.run(begun + 1)
    assert line.host.counters.repeated >= 1
    line.run(begun + 10)
    assert any(isinstance(event, Expired) for event in line.host.events())


def test_who_never_answered_anything_is_not_waited_for_because_bytes_come() -> None:
    line = SlowLine(RawFraming, 1200, 1)
    line.size = _LONG
    line.host.ask(ask(tries=1), line.now)
    line.run(2 * Timeouts().initial_s)
    assert line.host.counters.expired == 1
