"""A simulated device in this process, in real time, on a real link: hosts are processes of their own, and mortal."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from device_bench import Bench
from fieldlog_protocol.framing import Framing
from fieldlog_protocol.wire import Packet
from fieldlog_sim.faults import Faults
from fieldlog_sim.links.pty import PtyLink
from fieldlog_sim.links.udp import UdpLink
from fieldlog_sim.port import Buffers, SmpPort, console_framing, datagram_framing, raw_framing
from fieldlog_sim.sim_time import SimTime

T = TypeVar("T")
_ANSWER_S = 60.0


class LiveBench(Bench):
    """A bench whose time is ours from `go_live` on, and stands still while something is done to the device."""

    def __init__(self, **options: Any) -> None:
        self._stands_at: float | None = 0.0
        super().__init__(**options)

    @property
    def now(self) -> float:
        return time.monotonic() if self._stands_at is None else self._stands_at

    @now.setter
    def now(self, now: float) -> None:
        self._stands_at = now

    def go_live(self) -> None:
        """What was is the past of the device, which boots into the present."""
        self.device.flash.power_off()
        with self.instant():
            self.device.time = SimTime(time.time_ns() // 1000, monotonic=lambda: self.now)
            self.device.power_on("power on")

    @contextmanager
    def instant(self) -> Iterator[None]:
        self._stands_at = time.monotonic()
        try:
            yield
        finally:
            self._stands_at = None


class Served:
    """The device on its link, in a thread that does nothing else. What touches the device goes through `do`."""

    def __init__(self, bench: LiveBench, framing: str, baud: int | None, faults: Faults) -> None:
        self.bench = bench
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(framing, baud, faults), daemon=True)
        self._victim: int | None = None
        self._requests_left = 0
        self._delay_s = 0.0
        handle = bench.device.handle

        def counted(packet: Packet, arrived: float, now: float) -> bytes | None:
            self._count_down()
            return handle(packet, arrived, now)

        bench.device.handle = counted  # type: ignore[method-assign]

    def do(self, work: Callable[[], T]) -> T:
        """The result of `work`, done between two requests."""

        async def wrapped() -> T:
            with self.bench.instant():
                return work()

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(_ANSWER_S)

    def kill_at(self, victim: int, requests: int, delay_s: float) -> None:
        """Kill this process so long after the device has been asked so often. Its `-9` comes while it works."""

        def aim() -> None:
            self._victim, self._requests_left, self._delay_s = victim, requests, delay_s

        self.do(aim)

    def spare(self) -> None:
        """The process is gone: do not kill who has its number next."""

        def forget() -> None:
            self._victim = None

        self.do(forget)

    def _count_down(self) -> None:
        self._requests_left -= 1
        if self._victim is not None and self._requests_left == 0:
            self._loop.call_later(self._delay_s, self._kill, self._victim)

    def _kill(self, victim: int) -> None:
        if self._victim == victim:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    def _serve(self, framing: str, baud: int | None, faults: Faults) -> None:
        asyncio.set_event_loop(self._loop)
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._run(framing, baud, faults))
        self._loop.close()

    async def _run(self, framing: str, baud: int | None, faults: Faults) -> None:
        link = await self._link(framing, baud, faults)
        self._link_task = asyncio.current_task()
        self.url = link.address + ("?framing=raw" if framing == "raw" else "")
        self._ready.set()
        try:
            await link.run()
        finally:
            link.close()

    async def _link(self, framing: str, baud: int | None, faults: Faults) -> PtyLink | UdpLink:
        if framing == "datagrams":
            udp = UdpLink(self._port(datagram_framing), faults=faults)
            await udp.open()
            return udp
        pty = PtyLink(self._port(raw_framing if framing == "raw" else console_framing), baud=baud, faults=faults)
        pty.open()
        return pty

    def _port(self, framing: Callable[[Buffers], Framing]) -> SmpPort:
        buffers = self.bench.device.config.buffers
        return SmpPort(self.bench.device, buffers, framing(buffers), self._loop.time())

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(_ANSWER_S)

    def stop(self) -> None:
        assert self._link_task is not None
        self._loop.call_soon_threadsafe(self._link_task.cancel)
        self._thread.join(_ANSWER_S)
        assert not self._thread.is_alive()


@contextmanager
def served(bench: LiveBench, framing: str, baud: int | None, faults: Faults) -> Iterator[Served]:
    """The bench on its link until the end of the block."""
    device = Served(bench, framing, baud, faults)
    device.start()
    try:
        yield device
    finally:
        device.stop()
