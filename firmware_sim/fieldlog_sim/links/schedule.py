"""When bytes are where: the schedule of a line between a host and a device's port. No I/O, and time is an argument.

Rule of this module: everything happens at the time the schedule says, never at the time somebody came to look. Whoever
calls `advance` late gets the events of the meantime in their order and at their own times, and the next request
starts where the last reply ended: the lag of timers delays what is seen, and is not added up.

    host -- line, 10 bits a byte --> port.receive
                                     port.serve  -- line --> latency --> emit
"""

from __future__ import annotations

import re
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from fieldlog_protocol.errors import UsageError
from fieldlog_sim.faults import Arrival, Direction
from fieldlog_sim.links.port import Port

BITS_PER_BYTE = 10  # start bit, eight data bits, stop bit
# A port that asks for the past and then has nothing to say is asked again after this, not at once.
_IMPATIENCE_S = 0.01
# What a UART hands over at a time: at least so many bytes, or so long a stretch of them.
_PIECE_BYTES = 16
_PIECE_S = 0.004
_FRAME_START = re.compile(rb"(?=\x06\x09)")
_LINE_END = re.compile(rb"(?<=\n)")


class Line:
    """One direction of a wire: what is put on it follows what is on it already."""

    def __init__(self, baud: int | None) -> None:
        if baud is not None and baud < 0:
            raise UsageError(f"{baud} is no baud rate; 0 stands for an unpaced link")
        self.byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self.free_at = -inf

    @property
    def piece_bytes(self) -> int:
        return max(_PIECE_BYTES, int(_PIECE_S / self.byte_s)) if self.byte_s else 0

    def occupy(self, length: int, now: float) -> float:
        """Put `length` bytes on the line; returns when the first of them starts. `free_at` is when the last one ends."""
        start = max(now, self.free_at)
        self.free_at = start + length * self.byte_s
        return start


class _Transmission:
    """A reply under way: its bytes reach the host one after another, `delay_s` after they left."""

    __slots__ = ("_byte_s", "_data", "_given", "_piece", "_start", "end")

    def __init__(self, data: bytes, start: float, line: Line, delay_s: float) -> None:
        self._data = data
        self._start = start + delay_s
        self._byte_s = line.byte_s
        self._piece = line.piece_bytes or len(data)
        self._given = 0
        self.end = self._start + len(data) * line.byte_s

    @property
    def next_at(self) -> float:
        """When the next piece has arrived in full."""
        length = self._given + self._piece
        return self.end if length >= len(self._data) else self._start + length * self._byte_s

    def take(self, now: float) -> bytes:
        """What has arrived by `now` and was not taken yet."""
        arrived = len(self._data) if now >= self.end else max(0, int((now - self._start) / self._byte_s + 1e-6))
        piece = self._data[self._given : arrived]
        self._given = max(self._given, arrived)
        return piece

    @property
    def done(self) -> bool:
        return self._given >= len(self._data)


class Schedule:
    """A port behind two lines, full duplex. `emit` is called with what reaches the host, when it does.

    `datagrams`: each `feed` and each reply is one datagram, which arrives whole or not at all and may be overtaken;
    otherwise both directions are streams and keep their order.
    """

    def __init__(
        self,
        port: Port,
        emit: Callable[[bytes], None],
        *,
        baud: int | None = None,
        latency_s: float = 0.0,
        to_device: Direction | None = None,
        to_host: Direction | None = None,
        datagrams: bool = False,
    ) -> None:
        self._port = port
        self._emit = emit
        self._latency_s = latency_s
        self._datagrams = datagrams
        self._faults_in = to_device
        self._faults_out = to_host
        self._line_in = Line(baud)
        self._line_out = Line(baud)
        self._at_once = not (baud or latency_s or to_device or to_host)  # whatever is sent is there
        self._arriving: list[tuple[float, int, bytes | bool]] = []
        self._leaving: list[tuple[float, int, _Transmission]] = []
        self._order = 0
        self._now = -inf
        self._busy_until: float | None = None
        self._patient_until = -inf
        self._back_at: float | None = None
        self.backlog = 0  # bytes from the host that have not reached the device

    @property
    def idle(self) -> bool:
        """Nothing is under way in either direction, and the port has answered all it was given."""
        return not (self._arriving or self._leaving or self._busy_until is not None)

    @property
    def away(self) -> bool:
        """A fault has taken the link away for a while."""
        return self._back_at is not None

    def feed(self, data: bytes, now: float) -> None:
        """The host has written `data`."""
        self._now = max(now, self._now)
        if self.away:
            return
        if self._at_once:
            self._arrive(data, self._now)
            return
        if self._faults_in is None:
            self._put_on_line(Arrival(data))
            return
        for frame in [data] if self._datagrams else filter(None, _FRAME_START.split(data)):
            arrivals = self._faults_in.arrivals(frame)
            for arrival in arrivals:
                self._put_on_line(arrival)
            if not arrivals:
                self._line_in.occupy(len(frame), self._now)

    def advance(self, now: float) -> float | None:
        """Let everything happen that is due by `now`, and answer what `next_at` then does."""
        while (at := self.next_at()) is not None and at <= now:
            self._now = max(at, self._now)
            self._step()
        self._now = max(now, self._now)
        return at

    def next_at(self) -> float | None:
        """When `advance` has something to do; None while nothing is planned. Asked several times for every message."""
        earliest = self._wanted_at() if self._busy_until is None else self._busy_until
        if self._arriving and self._arriving[0][0] < earliest:
            earliest = self._arriving[0][0]
        if self._leaving and self._leaving[0][0] < earliest:
            earliest = self._leaving[0][0]
        if self._back_at is not None and self._back_at < earliest:
            earliest = self._back_at
        return None if earliest == inf else earliest

    def listener(self, *, present: bool, now: float) -> None:
        """Somebody has come to the host's end, or left it. The device notices behind what was written before."""
        self._now = max(now, self._now)
        if not self.away:
            self._order += 1
            heappush(self._arriving, (max(self._line_in.free_at, self._now), self._order, present))

    def _cut(self) -> None:
        """The other end went away: what is on the lines is lost."""
        self._arriving.clear()
        self._leaving.clear()
        self.backlog = 0
        self._port.link_down()

    def _wanted_at(self) -> float:
        at = self._port.wake_at()
        return inf if at is None else max(at, self._patient_until)

    def _step(self) -> None:
        """What is due at this instant, in the order in which a device would notice."""
        now = self._now
        if self._back_at is not None and self._back_at <= now:
            self._back_at = None
            self._port.link_up()
        while self._leaving and self._leaving[0][0] <= now:
            self._hand_over()
        while self._arriving and self._arriving[0][0] <= now:
            self._receive(heappop(self._arriving)[2], now)
        if self._busy_until is not None and self._busy_until <= now:
            self._busy_until = None
            self._port.sent(now)
        if self._busy_until is None:
            self._serve()

    def _receive(self, arrived: bytes | bool, now: float) -> None:
        if isinstance(arrived, bytes):
            self.backlog -= len(arrived)
            self._port.receive(arrived, now)
        elif arrived:
            self._port.link_up()
        else:
            self._leaving.clear()
            self._port.link_down()

    def _serve(self) -> None:
        """Let the port answer until a reply takes time to leave, or nothing waits."""
        while self._busy_until is None:
            reply = self._port.serve(self._now)
            if reply is None:
                at = self._port.wake_at()
                self._patient_until = self._now + _IMPATIENCE_S if at is not None and at <= self._now else -inf
                return
            self._reply(reply)

    def _reply(self, reply: bytes) -> None:
        if self._at_once:
            self._emit(reply)
            self._port.sent(self._now)
            return
        faults = self._faults_out
        arrivals = [Arrival(reply)] if faults is None else faults.arrivals(reply)
        if not arrivals:
            self._line_out.occupy(len(reply), self._now)
        for arrival in arrivals:
            self._transmit(arrival)
        if self._line_out.free_at > self._now:
            self._busy_until = self._line_out.free_at
        else:
            self._port.sent(self._now)
        if faults is not None and not self.away and faults.disconnects():
            self._cut()
            self._back_at = self._now + faults.away_s

    def _transmit(self, arrival: Arrival) -> None:
        """On a stream a delay holds up what follows; a datagram is alone with it."""
        if self.away or not arrival.data:
            return
        late_start = self._now if self._datagrams else self._now + arrival.delay_s
        start = self._line_out.occupy(len(arrival.data), late_start)
        delay_s = self._latency_s + (arrival.delay_s if self._datagrams else 0.0)
        if start + delay_s <= self._now and not self._line_out.byte_s and not self._leaving:
            self._emit(arrival.data)
            return
        transmission = _Transmission(arrival.data, start, self._line_out, delay_s)
        self._order += 1
        heappush(self._leaving, (self._due(transmission), self._order, transmission))

    def _due(self, transmission: _Transmission) -> float:
        return transmission.end if self._datagrams else transmission.next_at

    def _hand_over(self) -> None:
        _, order, transmission = heappop(self._leaving)
        piece = transmission.take(self._now)
        if not transmission.done:
            heappush(self._leaving, (self._due(transmission), order, transmission))
        self._emit(piece)

    def _put_on_line(self, arrival: Arrival) -> None:
        """A stream is cut where a device may have got a whole request: at ends of lines, and every few bytes, so that
        each piece is received when its last byte is."""
        late_start = self._now if self._datagrams else self._now + arrival.delay_s
        for piece in self._pieces(arrival.data):
            self._line_in.occupy(len(piece), late_start)
            at = max(self._line_in.free_at, self._now)
            self._arrive(piece, at + (arrival.delay_s if self._datagrams else 0.0))

    def _arrive(self, piece: bytes, at: float) -> None:
        self._order += 1
        self.backlog += len(piece)
        heappush(self._arriving, (at, self._order, piece))

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self._line_in.piece_bytes
        if self._datagrams or not size:
            return [data]
        return [line[at : at + size] for line in _LINE_END.split(data) if line for at in range(0, len(line), size)]
