"""From a URL to a device at the end of an open link."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fieldlog.client import Client, LinkOptions
from fieldlog.device import Device
from fieldlog.transports import Transport, make
from fieldlog.transports.base import Piecewise
from fieldlog.url import DeviceUrl, choose
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, PieceFraming, RawFraming


@asynccontextmanager
async def connect(url: str | DeviceUrl | None = None) -> AsyncGenerator[Device]:
    """The device at `url`, found to be answering; without a URL FIELDLOG_DEVICE or the only device present.

    Raises UsageError, DeviceNotFound, LinkError or, when nobody answers, RequestTimeout.
    """
    client = client_for(url if isinstance(url, DeviceUrl) else choose(url))
    try:
        await client.open()
        yield Device(client)
    finally:
        await client.release()


def client_for(url: DeviceUrl) -> Client:
    """The client for a URL; nothing is opened yet."""
    transport = make(url)
    options = LinkOptions(url.timeout_s, url.window, url.buffer)
    return Client(transport, lambda: _framing(url, transport), options)


def _framing(url: DeviceUrl, transport: Transport) -> Framing:
    """Datagrams frame themselves, and so do pieces, whichever way the URL led to them."""
    if isinstance(transport, Piecewise) and transport.pieces:
        return PieceFraming()
    if transport.mtu is not None:
        return DatagramFraming()
    return RawFraming() if url.framing == "raw" else ConsoleFraming()
