"""A link in memory on virtual time, for tests: nothing runs unless it is told to, and every run is the same."""

from __future__ import annotations

from fieldlog_sim.faults import Faults
from fieldlog_sim.links.port import Port
from fieldlog_sim.links.schedule import Schedule


class MemoryLink:
    """The host's end of a line to `port`. `now` is the virtual time; `received` holds (time, bytes) as they came."""

    def __init__(
        self,
        port: Port,
        *,
        baud: int | None = None,
        latency_s: float = 0.0,
        faults: Faults | None = None,
        datagrams: bool = False,
        now: float = 0.0,
    ) -> None:
        faults = faults or Faults()
        self.now = now
        self.received: list[tuple[float, bytes]] = []
        self._schedule = Schedule(
            port,
            self._emit,
            baud=baud,
            latency_s=latency_s,
            to_device=faults.direction("memory/to device", datagrams=datagrams),
            to_host=faults.direction("memory/to host", datagrams=datagrams),
            datagrams=datagrams,
        )
        port.link_up()

    @property
    def idle(self) -> bool:
        return self._schedule.idle

    @property
    def next_at(self) -> float | None:
        return self._schedule.next_at()

    def send(self, data: bytes) -> None:
        """The host writes `data` now; it travels when time goes on."""
        self._schedule.feed(data, self.now)

    def advance(self, until: float) -> None:
        """Let the time go on to `until`, from event to event."""
        while (at := self._schedule.next_at()) is not None and at <= until:
            self.now = max(at, self.now)
            self._schedule.advance(self.now)
        self.now = max(until, self.now)
        self._schedule.advance(self.now)

    def settle(self, within_s: float = 60.0) -> None:
        """Let the time go on until nothing is under way, at most `within_s`."""
        limit = self.now + within_s
        self.advance(self.now)
        while not self.idle and (at := self._schedule.next_at()) is not None and at <= limit:
            self.advance(at)

    def take(self) -> bytes:
        """All bytes that have reached the host since the last call."""
        data = b"".join(piece for _, piece in self.received)
        self.received.clear()
        return data

    def take_datagrams(self) -> list[bytes]:
        datagrams = [piece for _, piece in self.received]
        self.received.clear()
        return datagrams

    def _emit(self, data: bytes) -> None:
        self.received.append((self.now, data))
