"""The host over a fake of bleak's backend: devices that it reaches, and what it says of those that it does not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ble_fake import FakeAir
from fieldlog.client import Client, LinkOptions
from fieldlog.device import Device
from fieldlog.transports import ble, radio
from fieldlog.transports.ble import BleTransport
from fieldlog_protocol.errors import LinkError
from fieldlog_protocol.framing import PieceFraming

PATIENCE_S = 1.0
"""In place of all waits of seconds; what is answered at all is answered at once."""


@asynccontextmanager
async def connected(
    air: FakeAir, target: str = "hut", *, passkey: int | None = None, timeout_s: float = 6.0
) -> AsyncGenerator[Device]:
    client = Client(BleTransport(target, air.radio(), passkey), PieceFraming, LinkOptions(timeout_s))
    try:
        await client.open()
        yield Device(client)
    finally:
        await client.release()


async def refusal(air: FakeAir, target: str = "hut", *, passkey: int | None = None) -> LinkError:
    """What is said when the link does not open; nothing stays open behind it."""
    with pytest.raises(LinkError) as caught:
        async with connected(air, target, passkey=passkey):
            pass
    assert all(device.client is None for device in air.devices)
    assert air.closed == air.opened
    return caught.value


def make_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of seconds become short; what is waited for is told, not timed."""
    monkeypatch.setattr(radio, "_NAMESAKES_S", 0.05)
    monkeypatch.setattr(ble, "_PAUSE_S", 0.0)
    monkeypatch.setattr(radio.Radio.find, "__defaults__", (None, PATIENCE_S))
    monkeypatch.setattr(radio, "STOP_S", 0.05)
    for name in ("CONNECT_S", "SUBSCRIBE_S", "PAIR_S", "WRITE_S"):
        monkeypatch.setattr(ble, name, PATIENCE_S)
