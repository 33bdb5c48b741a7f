"""UDP: one datagram is one message."""

from __future__ import annotations

import asyncio
import socket
import sys

from fieldlog.transports.base import Sink, Tuning
from fieldlog_protocol.errors import DeviceNotFound, LinkError

DEFAULT_PORT = 1337
_ETHERNET_MTU = 1500
_HEADERS = {socket.AF_INET: 28, socket.AF_INET6: 48}
_LINUX_PATH_MTU = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}
_LOOPBACK = {socket.AF_INET: "127.", socket.AF_INET6: "::1"}


class _Endpoint(asyncio.DatagramProtocol):
    def __init__(self, sink: Sink, where: str) -> None:
        self._sink = sink
        self._where = where
        self._over = False

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:  # noqa: ARG002 - the socket is connected
        self._sink.received(data)

    def error_received(self, exc: Exception) -> None:
        if self._over:
            return
        self._over = True
        if isinstance(exc, ConnectionRefusedError):
            text = f"nobody listens at {self._where}. Check the address and port, and that the device is running"
        else:
            text = f"{self._where} cannot be reached: {getattr(exc, 'strerror', None) or exc}. Check the network and the address"
        self._sink.lost(LinkError(text))

    def stop(self) -> None:
        self._over = True


class UdpTransport:
    """A connected UDP socket, IPv4 or IPv6."""

    def __init__(self, host: str, port: int = DEFAULT_PORT) -> None:
        self._host = host
        self._port = port
        self.mtu: int | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._endpoint: _Endpoint | None = None

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
        loop = asyncio.get_running_loop()
        endpoint = _Endpoint(sink, self.name)
        try:
            self._transport, self._endpoint = await loop.create_datagram_endpoint(
                lambda: endpoint, remote_addr=(self._host, self._port)
            )
        except socket.gaierror as error:
            raise DeviceNotFound(f"there is no host {self._host}: {error.strerror}. Check its name") from error
        except OSError as error:
            raise DeviceNotFound(
                f"{self.name} cannot be reached: {error.strerror or error}. Check the network"
            ) from error
        self.mtu = _longest_datagram(self._transport.get_extra_info("socket"))

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)

    async def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.stop()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
            await asyncio.sleep(0)  # the socket is closed in the loop's next turn


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
