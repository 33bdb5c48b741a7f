"""A link over UDP: one datagram is one message, and the reply goes to whoever sent the request.

Rule of this module: a port knows no addresses, so datagrams of another sender wait until everything of the present one
is answered. The number of those that wait is bounded; beyond it they are lost, as in a full network stack.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from fieldlog_protocol.errors import LinkError
from fieldlog_sim.faults import Faults
from fieldlog_sim.links.datagram_socket import Address, Datagrams, DatagramSocket, bind
from fieldlog_sim.links.port import Port
from fieldlog_sim.links.schedule import Schedule
from fieldlog_sim.links.waker import Waker

_WAITING = 256


class UdpLink:
    """Binds in `open`, so that `address` is known before `run`. `wanted`: the port that the device is to be at, 0 for that
    of `open`; at one that cannot be had nobody hears anything."""

    def __init__(
        self,
        port: Port,
        *,
        baud: int | None = None,
        latency_s: float = 0.0,
        faults: Faults | None = None,
        name: str = "udp",
        wanted: Callable[[], int] = lambda: 0,
    ) -> None:
        faults = faults or Faults()
        self._port = port
        self._schedule = Schedule(
            port,
            self._emit,
            baud=baud,
            latency_s=latency_s,
            to_device=faults.direction(f"{name}/to device", datagrams=True),
            to_host=faults.direction(f"{name}/to host", datagrams=True),
            datagrams=True,
        )
        self._waker = Waker()
        self._waiting: deque[tuple[float, bytes, Address]] = deque()
        self._peer: Address | None = None
        self._socket: DatagramSocket | None = None
        self._closed = False
        self._wanted = wanted
        self._port_now = 0
        self._usual: tuple[str, int] | None = None
        self.lost = 0  # datagrams there was no room for

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """LinkError when the address cannot be had."""
        try:
            self._socket = await bind(host, port, self.receive)
        except OSError as error:
            raise LinkError(
                f"UDP {host}:{port} cannot be opened: {error.strerror or error}. Nothing was started; name another port."
            ) from error
        self._usual = self.bound

    @property
    def bound(self) -> tuple[str, int]:
        """Host and port where requests are taken, or would be if the port could be had."""
        if self._socket is None:
            if self._usual is None:
                raise LinkError("the UDP link is not open")
            return self._usual[0], self._port_now or self._usual[1]
        host, port = self._socket.bound[:2]
        return str(host), int(port)

    @property
    def address(self) -> str:
        host, port = self.bound
        return f"udp:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}"

    async def run(self) -> None:
        if self._socket is None:
            await self.open()
        self._port.link_up()
        while not self._closed:
            until = self._pump()
            await self.follow()
            await self._waker.wait(until)

    async def follow(self) -> None:
        """Be where the device is to be, as soon as all that was answered has left from the old port."""
        if not self._is_to_move:
            return
        if self._socket is not None:
            self._socket.close()
        self._socket, self._peer, self._port_now = None, None, self._wanted()
        await asyncio.sleep(0)  # the old socket is closed in the loop's next turn
        host, usual = self._usual or ("127.0.0.1", 0)
        with suppress(OSError):
            self._socket = await bind(host, self._port_now or usual, self.receive)
            if self._closed:
                self._socket.close()

    @property
    def _is_to_move(self) -> bool:
        return self._wanted() != self._port_now and self._schedule.idle

    def poke(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        self._closed = True
        if self._socket is not None:
            self._socket.close()
        self._waker.wake()

    def receive(self, datagrams: Datagrams) -> None:
        now = asyncio.get_running_loop().time()
        for data, sender in datagrams:
            if len(self._waiting) >= _WAITING:
                self.lost += 1
            else:
                self._waiting.append((now, data, sender))
        self._waker.spare(self._pump)

    def _pump(self) -> float | None:
        """Everything that is due, and until when to wait then."""
        now = asyncio.get_running_loop().time()
        while self._waiting and self._may_feed(now):
            at, data, self._peer = self._waiting.popleft()
            self._schedule.feed(data, at)
        until = self._schedule.advance(now)
        if self._is_to_move:
            self._waker.wake()
        return until

    def _may_feed(self, now: float) -> bool:
        """Whether the first of those that wait can be taken: not while another sender has replies to come."""
        at, _, sender = self._waiting[0]
        self._schedule.advance(at)
        if sender == self._peer or self._schedule.idle:
            return True
        self._schedule.advance(now)
        return self._schedule.idle

    def _emit(self, data: bytes) -> None:
        if self._socket is not None and self._peer is not None and not self._closed:
            self._socket.send(data, self._peer)
