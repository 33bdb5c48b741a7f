"""A bound UDP socket in the event loop.

On POSIX the loop watches the socket itself, and one wake-up takes all that has arrived; asyncio's own transport, which
serves elsewhere, makes room for 256 KiB before each datagram.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, cast

Address: TypeAlias = tuple[Any, ...]  # (host, port), for IPv6 with two more numbers
Datagrams: TypeAlias = list[tuple[bytes, Address]]
_LONGEST = 64 * 1024
_AT_ONCE = 32  # before others in the event loop have their turn


class DatagramSocket(Protocol):
    """`bound` is where it is reached. Errors of sending are those of a sender that is gone: its own loss."""

    bound: Address

    def send(self, data: bytes, to: Address) -> None: ...

    def close(self) -> None: ...


class _Polled:
    def __init__(self, bound: socket.socket, received: Callable[[Datagrams], None]) -> None:
        self.bound: Address = bound.getsockname()
        self._socket = bound
        self._received = received
        self._unsent: deque[tuple[bytes, Address]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound, self._read)

    def send(self, data: bytes, to: Address) -> None:
        if self._unsent or not self._sent(data, to):
            self._unsent.append((data, to))
            self._loop.add_writer(self._socket, self._send_more)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def _read(self) -> None:
        datagrams: Datagrams = []
        with suppress(OSError):  # there are no more for now, or a sender that is gone answers with ICMP
            while len(datagrams) < _AT_ONCE:
                datagrams.append(self._socket.recvfrom(_LONGEST))
        if datagrams:
            self._received(datagrams)

    def _sent(self, data: bytes, to: Address) -> bool:
        """Whether the socket took it, or never will."""
        try:
            self._socket.sendto(data, to)
        except OSError as error:
            return not isinstance(error, BlockingIOError)
        return True

    def _send_more(self) -> None:
        while self._unsent and self._sent(*self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent:
            self._loop.remove_writer(self._socket)


class _Endpoint(asyncio.DatagramProtocol):
    """In asyncio's hands."""

    def __init__(self, bound: socket.socket, received: Callable[[Datagrams], None]) -> None:
        self.bound: Address = bound.getsockname()
        self._received = received
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # which by inheritance not every loop's is

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received([(data, addr)])

    def error_received(self, exc: Exception) -> None:
        """A sender that is gone answers with ICMP."""

    def send(self, data: bytes, to: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def bind(host: str, port: int, received: Callable[[Datagrams], None]) -> DatagramSocket:
    """OSError when the address cannot be had."""
    bound = await _bound(host, port)
    if sys.platform != "win32":
        return _Polled(bound, received)
    made = _Endpoint(bound, received)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, sock=bound)
    return made


async def _bound(host: str, port: int) -> socket.socket:
    """To the first of the host's addresses that can be had."""
    try:  # a number takes no time to look up
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    for index, (family, kind, protocol, _, address) in enumerate(found, start=1):
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setblocking(False)
            bound.bind(address)
        except OSError:
            bound.close()
            if index == len(found):
                raise
            continue
        return bound
    raise OSError("it has no address")
