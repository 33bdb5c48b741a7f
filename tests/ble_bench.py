"""Simulated devices over BLE in the process of the test, and centrals on the same virtual radio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bumble.hci import Address

from fieldlog_protocol.gatt import SMP_CHARACTERISTIC
from fieldlog_protocol.wire import HEADER_SIZE, message_length
from fieldlog_sim.ble_options import BleOptions
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.faults import Faults
from fieldlog_sim.handlers import register_all
from fieldlog_sim.links.ble.backend_client import VirtualClient
from fieldlog_sim.links.ble.backend_scanner import VirtualScanner
from fieldlog_sim.links.ble.link import BleLink
from fieldlog_sim.links.ble.pace import Pace
from fieldlog_sim.links.ble.radio import Radio
from fieldlog_sim.links.ble.site import Site
from fieldlog_sim.links.ble.virtual import backend
from fieldlog_sim.port import Buffers, SmpPort, raw_framing
from fieldlog_sim.profiles import PROFILES
from fieldlog_sim.sensors import default_sensors
from fieldlog_sim.sim_time import SimTime

ECHO = bytes.fromhex("0a00000600004200a16164626869")
ECHOED = bytes.fromhex("0b00000600004200a16172626869")
RESET = bytes.fromhex("0a00000100004205a0")
PATIENCE_S = 10.0


def options(pace: Pace | None = None, *, level: int = 0, passkey: int = 123456, bonds: int = 255) -> BleOptions:
    """On a virtual radio at any free port."""
    return BleOptions("127.0.0.1", 0, "", pace, 247, level, passkey, bonds)


@dataclass
class Bench:
    """Devices on one air, as `devices[i]` behind `links[i]`."""

    site: Site
    devices: list[Device]
    links: list[BleLink]

    @property
    def link(self) -> BleLink:
        return self.links[0]

    @property
    def device(self) -> Device:
        return self.devices[0]

    @property
    def radio(self) -> Radio:
        """Of the first device."""
        found = next(radio for radio in self.site.air.controllers if radio.random_address == self._address)
        assert isinstance(found, Radio)
        return found

    @property
    def _address(self) -> Address:
        return Address(self.link.bluetooth_address)


@asynccontextmanager
async def bench(
    given: BleOptions | None = None, *, count: int = 1, faults: Faults | None = None, buffers: Buffers | None = None
) -> AsyncGenerator[Bench]:
    """Running devices. What a link raises comes out of here."""
    buffers = buffers or Buffers(2048, 4)
    site = Site(given or options(), faults)
    await site.open()
    devices = [_device(index, buffers) for index in range(count)]
    ends = [SmpPort(device, buffers, raw_framing(buffers), time.monotonic()) for device in devices]
    links = [await site.add(device, end, index) for index, (device, end) in enumerate(zip(devices, ends, strict=True))]
    tasks = [asyncio.create_task(link.run()) for link in links]
    try:
        yield Bench(site, devices, links)
    finally:
        for link in links:
            link.close()
        await asyncio.gather(*tasks)
        site.close()


def _device(index: int, buffers: Buffers) -> Device:
    config = DeviceConfig(PROFILES["logger"], buffers, index=index)
    return Device(config, SimTime(time.time_ns() // 1000), default_sensors(0, index), register_all)


@dataclass
class Adapter:
    """A computer's Bluetooth adapter: the classes that bleak takes."""

    client_class: type[VirtualClient]
    scanner_class: type[VirtualScanner]

    async def find(self, link: BleLink) -> BLEDevice:
        found = await BleakScanner.find_device_by_address(
            link.bluetooth_address, PATIENCE_S, backend=self.scanner_class
        )
        assert found is not None
        return found

    async def scan(self, link: BleLink) -> tuple[BLEDevice, dict[int, bytes], list[str]]:
        """One look at a device: what it is called, its manufacturer data and services."""
        async with BleakScanner(backend=self.scanner_class) as scanner:
            async for found, said in scanner.advertisement_data():
                if found.address == link.bluetooth_address and said.manufacturer_data and said.service_uuids:
                    return found, said.manufacturer_data, said.service_uuids
        raise AssertionError("not heard")

    @asynccontextmanager
    async def connected(self, link: BleLink) -> AsyncGenerator[Talk]:
        lost = asyncio.Event()
        client = BleakClient(await self.find(link), lambda _: lost.set(), backend=self.client_class, timeout=PATIENCE_S)
        async with client:
            yield Talk(client, lost)


@asynccontextmanager
async def adapter(site: Site, **more: str) -> AsyncGenerator[Adapter]:
    async with backend({"at": site.at, **more}) as classes:
        yield Adapter(*classes)


class Talk:
    """SMP over a connected client, without a host's cleverness."""

    def __init__(self, client: BleakClient, lost: asyncio.Event) -> None:
        self.client = client
        self._lost = lost
        self.notifications: list[bytes] = []
        self._heard = asyncio.Event()

    async def subscribe(self) -> None:
        def heard(_characteristic: object, data: bytearray) -> None:
            self.notifications.append(bytes(data))
            self._heard.set()

        await self.client.start_notify(SMP_CHARACTERISTIC, heard)

    async def write(self, message: bytes) -> None:
        size = self.client.mtu_size - 3
        for at in range(0, len(message), size):
            await self.client.write_gatt_char(SMP_CHARACTERISTIC, message[at : at + size], response=False)

    async def ask(self, message: bytes) -> bytes:
        """The reply, put together by the length in its header."""
        self.notifications.clear()
        await self.write(message)
        return await self.reply()

    async def reply(self, within_s: float = PATIENCE_S) -> bytes:
        async with asyncio.timeout(within_s):
            while True:
                whole = b"".join(self.notifications)
                length = message_length(whole)
                if length is not None and len(whole) >= max(length, HEADER_SIZE):
                    return whole
                self._heard.clear()
                await self._heard.wait()

    async def silence(self, for_s: float) -> bool:
        """Whether nothing is heard for so long."""
        self._heard.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), for_s)
        return not self._heard.is_set()

    async def until_lost(self) -> None:
        """Return when the client knows that its connection is gone."""
        async with asyncio.timeout(PATIENCE_S):
            await self._lost.wait()
