"""The bleak backend `virtual` (entry point group `fieldlog.ble_backends`), and how to put it under code that names none.

async with backend({"at": "127.0.0.1:41234"}) as (client, scanner):
    device = await BleakScanner.find_device_by_name("logger", backend=scanner)
    async with BleakClient(device, backend=client) as connected: ...
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import bleak

from fieldlog_sim.links.ble.backend_client import VirtualClient
from fieldlog_sim.links.ble.backend_scanner import VirtualScanner
from fieldlog_sim.links.ble.central import Central, open_central

_CLIENT, _SCANNER = "get_platform_client_backend_type", "get_platform_scanner_backend_type"


@asynccontextmanager
async def backend(options: Mapping[str, str]) -> AsyncGenerator[tuple[type[VirtualClient], type[VirtualScanner]]]:
    """One Bluetooth adapter on the virtual radio at `at=HOST:PORT`, and the classes for `backend=` that use it.

    `bonds=FILE` keeps bonds and the adapter's address for the next time; `pairing=auto` pairs without a passkey by itself
    where a device wants it. bleak's BleakBluetoothNotAvailableError where no radio answers.
    """
    async with open_central(options) as central:
        yield _bound(central)


@contextmanager
def installed(client: type[VirtualClient], scanner: type[VirtualScanner]) -> Generator[None]:
    """For the block, bleak uses these wherever no backend is named. It is for tests of code that cannot be told."""
    named: dict[str, Any] = bleak.__dict__
    ours = {_CLIENT: lambda: (client, "virtual"), _SCANNER: lambda: (scanner, "virtual")}
    before = {name: named[name] for name in ours}
    named.update(ours)
    try:
        yield
    finally:
        named.update(before)


def _bound(to: Central) -> tuple[type[VirtualClient], type[VirtualScanner]]:
    class Scanner(VirtualScanner):
        central = to

    class Client(VirtualClient):
        central = to
        scanner = Scanner

    return Client, Scanner
