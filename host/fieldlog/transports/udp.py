"""UDP: one datagram is one message.

On POSIX the event loop watches the socket itself, and one wake-up takes all that has arrived; asyncio's own transport,
which serves elsewhere, makes room for 256 KiB before each datagram, and that costs more than the datagram.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from fieldlog.transports.base import Sink, Tuning
from fieldlog_protocol.errors import DeviceNotFound, LinkError

DEFAULT_PORT = 1337
_ETHERNET_MTU = 1500
_HEADERS = {socket.AF_INET: 28, socket.AF_INET6: 48}
_LINUX_PATH_MTU = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}
_LOOPBACK = {socket.AF_INET: "127.", socket.AF_INET6: "::1"}
_LONGEST = 64 * 1024
_AT_ONCE = 32  # datagrams, before others in the event loop have their turn

Received = Callable[[bytes], None]
Failed = Callable[[OSError], None]


class _Channel(Protocol):
    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class PolledChannel:
    """A connected socket that the event loop watches. Nothing is told after `close`."""

    def __init__(self, connected: socket.socket, received: Received, failed: Failed) -> None:
        self._socket = connected
        self._received = received
        self._failed = failed
        self._unsent: deque[bytes] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connected, self._read)

    def send(self, data: bytes) -> None:
        if self._unsent or not self._sent(data):
            self._unsent.append(data)
            self._loop.add_writer(self._socket, self._send_more)

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def _sent(self, data: bytes) -> bool:
        """Whether the socket took it, or never will."""
        try:
            self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            # not from within send: whoever sends has not yet noted what it is sending
            self._loop.call_soon(self._fail, error)
        return True

    def _send_more(self) -> None:
        while self._unsent and self._sent(self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(error)
                return
            self._received(data)
            if self._closed:
                return

    def _fail(self, error: OSError) -> None:
        if not self._closed:
            self._failed(error)


class EndpointChannel(asyncio.DatagramProtocol):
    """A connected socket in asyncio's hands."""

    def __init__(self, received: Received, failed: Failed) -> None:
        self._received = received
        self._failed = failed
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # which by inheritance not every loop's is

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:  # noqa: ARG002 - the socket is connected
        if self._transport is not None:
            self._received(data)

    def error_received(self, exc: Exception) -> None:
        if self._transport is not None and isinstance(exc, OSError):
            self._failed(exc)

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


async def polled(connected: socket.socket, received: Received, failed: Failed) -> _Channel:
    """The event loop must be able to watch file descriptors."""
    return PolledChannel(connected, received, failed)


async def endpoint(connected: socket.socket, received: Received, failed: Failed) -> _Channel:
    """In any event loop."""
    loop = asyncio.get_running_loop()
    _, channel = await loop.create_datagram_endpoint(lambda: EndpointChannel(received, failed), sock=connected)
    return channel


ChannelMaker = Callable[[socket.socket, Received, Failed], Awaitable[_Channel]]
CHANNEL: ChannelMaker = endpoint if sys.platform == "win32" else polled


class UdpTransport:
    """A connected UDP socket, IPv4 or IPv6."""

    def __init__(self, host: str, port: int = DEFAULT_PORT, channel: ChannelMaker = CHANNEL) -> None:
        self._host = host
        self._port = port
        self.mtu: int | None = None
        self._make_channel = channel
        self._channel: _Channel | None = None
        self._sink: Sink | None = None

    @property
    def name(self) -> str:
        return f"udp:[{self._host}]:{self._port}" if ":" in self._host else f"udp:{self._host}:{self._port}"

    @property
    def tuning(self) -> Tuning:
        return Tuning(port=self._port)

    def tune(self, tuning: Tuning) -> None:
        self._port = tuning.port or self._port

    async def open(self, sink: Sink) -> None:
        await self.close()
        try:
            connected = await self._connect()
        except socket.gaierror as error:
            raise DeviceNotFound(f"there is no host {self._host}: {error.strerror}. Check its name") from error
        except OSError as error:
            raise DeviceNotFound(
                f"{self.name} cannot be reached: {error.strerror or error}. Check the network"
            ) from error
        self.mtu = _longest_datagram(connected)
        self._sink = sink
        self._channel = await self._make_channel(connected, sink.received, self._failed)

    def send(self, data: bytes) -> None:
        if self._channel is not None:
            self._channel.send(data)

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
            await asyncio.sleep(0)  # asyncio closes a socket of its own in the loop's next turn

    async def _connect(self) -> socket.socket:
        """To the first of the host's addresses that there is a way to."""
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        for index, (family, kind, protocol, _, address) in enumerate(found, start=1):
            connected = socket.socket(family, kind, protocol)
            try:
                connected.setblocking(False)
                connected.connect(address)
            except OSError:
                connected.close()
                if index == len(found):
                    raise
                continue
            return connected
        raise OSError("it has no address")

    def _failed(self, error: OSError) -> None:
        channel, self._channel = self._channel, None
        if channel is None or self._sink is None:
            return
        channel.close()
        if isinstance(error, ConnectionRefusedError):
            text = f"nobody listens at {self.name}. Check the address and port, and that the device is running"
        else:
            text = f"{self.name} cannot be reached: {error.strerror or error}. Check the network and the address"
        self._sink.lost(LinkError(text))


def _longest_datagram(connected: socket.socket) -> int:
    """What reaches the peer in one piece: a tunnel on the way may take less than Ethernet does, and this machine's own
    loopback takes more; what the other links are made of the peer's end may not share."""
    family = socket.AddressFamily(connected.family)
    mtu = _path_mtu(connected, family)
    if not str(connected.getpeername()[0]).startswith(_LOOPBACK[family]):
        mtu = min(mtu, _ETHERNET_MTU)
    return mtu - _HEADERS[family]


def _path_mtu(connected: socket.socket, family: socket.AddressFamily) -> int:
    if sys.platform != "linux":
        return _ETHERNET_MTU
    try:
        return connected.getsockopt(*_LINUX_PATH_MTU[family])
    except OSError:
        return _ETHERNET_MTU
