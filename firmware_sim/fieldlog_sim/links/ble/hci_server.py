"""Radios for other processes: who connects by TCP gets a controller of its own on the air, spoken to in HCI (H4).

Rule of this module: a radio lives as long as its socket. When a process goes, however that ends, whoever was connected to
it is told at once, as an operating system does it for programs that it closes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bumble.core import InvalidPacketError
from bumble.transport.common import PacketParser

from fieldlog_protocol.errors import LinkError
from fieldlog_sim.links.ble.air import Air
from fieldlog_sim.links.ble.radio import Radio


class _Socket(asyncio.Protocol):
    """One client: its radio's host."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._parser = PacketParser()
        self._radio: Radio | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._radio = Radio("socket", self._air, self)
        self._parser.set_packet_sink(self._radio)

    def on_packet(self, packet: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except InvalidPacketError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        radio, self._radio, self._transport = self._radio, None, None
        if radio is not None:
            radio.leave()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class HciServer:
    """Bound after `open`; clients are dropped by `close`."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._server: asyncio.Server | None = None
        self._sockets: set[_Socket] = set()

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """LinkError when the address cannot be had."""
        try:
            self._server = await asyncio.get_running_loop().create_server(self._socket, host, port)
        except OSError as error:
            raise LinkError(
                f"the virtual radio cannot be at TCP {host}:{port}: {error.strerror or error}. "
                "Nothing was started; name another port."
            ) from error

    @property
    def bound(self) -> tuple[str, int]:
        if self._server is None or not self._server.sockets:
            raise LinkError("the virtual radio is not open")
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for socket in self._sockets:
            with suppress(OSError):
                socket.abort()

    def _socket(self) -> _Socket:
        socket = _Socket(self._air)
        self._sockets.add(socket)
        return socket
