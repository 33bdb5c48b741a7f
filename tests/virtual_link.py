"""The host's own client against a simulated device in virtual time: an event loop that jumps, and a link in memory.

Whatever waits waits in virtual time, the host's timeouts too; nothing sleeps, and every run of a seed is the same.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from unittest.mock import patch

from device_bench import START_US, Bench
from fieldlog.client import Client, LinkOptions
from fieldlog.transports.base import Sink
from fieldlog_protocol.errors import LinkError
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, RawFraming
from fieldlog_sim.faults import Arrival, Direction, Faults
from fieldlog_sim.links import MemoryLink
from fieldlog_sim.port import SmpPort, console_framing, datagram_framing, raw_framing

T = TypeVar("T")
_THREAD_PATIENCE_S = 0.02  # of real time, while a thread of the program under test works


class _JumpingSelector(selectors.DefaultSelector):
    """Where others would wait, time passes on the bench."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.threads:
            return super().select(_THREAD_PATIENCE_S)
        assert timeout is not None, "everybody waits, and nothing is going to happen"
        self.loop.bench.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is that of the bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.threads = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.bench.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


def run(bench: Bench, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, in the virtual time of the bench; the host's clock is right."""
    with (
        patch("time.time_ns", lambda: START_US * 1000 + round(bench.now * 1e9)),
        asyncio.Runner(loop_factory=lambda: VirtualLoop(bench)) as runner,
    ):
        return runner.run(work)


class _Counted:
    """One direction of a link, and what became of its frames."""

    def __init__(self, direction: Direction, seen: Counter[str]) -> None:
        self._direction = direction
        self._seen = seen
        self.away_s = direction.away_s

    def arrivals(self, frame: bytes) -> list[Arrival]:
        found = self._direction.arrivals(frame)
        self._seen["frames"] += 1
        self._seen["lost"] += not found
        self._seen["duplicated"] += len(found) > 1
        self._seen["corrupted"] += any(arrival.data != frame for arrival in found)
        self._seen["delayed"] += any(arrival.delay_s > 0 for arrival in found)
        return found

    def disconnects(self) -> bool:
        away = self._direction.disconnects()
        self._seen["disconnected"] += away
        return away


@dataclass(frozen=True)
class _CountedFaults:
    faults: Faults
    seen: Counter[str]

    def direction(self, name: str, *, datagrams: bool = False) -> Any:
        direction = self.faults.direction(name, datagrams=datagrams)
        return None if direction is None else _Counted(direction, self.seen)


_FRAMINGS: dict[str, tuple[Callable[[], Framing], Callable[..., Framing]]] = {
    "console": (ConsoleFraming, console_framing),
    "raw": (RawFraming, raw_framing),
    "datagrams": (DatagramFraming, datagram_framing),
}


NO_FAULTS = Faults()


@dataclass(frozen=True)
class LinkKind:
    """A link and its faults. `deliveries`: after so many pieces from the device the host finds its end gone."""

    framing: str = "console"
    baud: int | None = 115_200
    latency_s: float = 0.001
    faults: Faults = NO_FAULTS
    deliveries: int | None = None

    def seeded(self, seed: int) -> LinkKind:
        return replace(self, faults=replace(self.faults, seed=seed))


@dataclass
class VirtualTransport:
    """The host's end. Opening it again is a new link to the same device."""

    bench: Bench
    kind: LinkKind
    seen: Counter[str] = field(default_factory=Counter[str])
    name: str = "the bench"

    def __post_init__(self) -> None:
        self._link: MemoryLink | None = None
        self._sink: Sink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._left = self.kind.deliveries

    @property
    def mtu(self) -> int | None:
        return 1400 if self.kind.framing == "datagrams" else None

    async def open(self, sink: Sink) -> None:
        loop, buffers = asyncio.get_running_loop(), self.bench.device.config.buffers
        framing = _FRAMINGS[self.kind.framing][1](buffers)
        faults: Any = _CountedFaults(self.kind.faults, self.seen)
        self._sink = sink
        self._link = MemoryLink(
            SmpPort(self.bench.device, buffers, framing, loop.time()),
            baud=self.kind.baud,
            latency_s=self.kind.latency_s,
            faults=faults,
            datagrams=self.kind.framing == "datagrams",
            now=loop.time(),
        )
        self._plan()

    def send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.advance(asyncio.get_running_loop().time())
            self._link.send(data)
            self._plan()

    async def close(self) -> None:
        self._link = None
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self) -> None:
        assert self._link is not None
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        at = self._link.next_at
        if self._link.received:
            at = loop.time()
        if at is not None:
            self._timer = loop.call_at(at, self._go_on)

    def _go_on(self) -> None:
        link, sink = self._link, self._sink
        if link is None or sink is None:
            return
        link.advance(asyncio.get_running_loop().time())
        for data in link.take_datagrams():
            if self._left == 0:
                self._link = None
                self.seen["cut off"] += 1
                sink.lost(LinkError("the cable was pulled"))
                return
            self._left = None if self._left is None else self._left - 1
            sink.received(data)
        if self._link is not None:
            self._plan()

    def client(self) -> Client:
        return Client(self, _FRAMINGS[self.kind.framing][0], LinkOptions())
