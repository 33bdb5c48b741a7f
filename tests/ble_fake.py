"""A bleak backend without a radio: devices in memory, each with the faults that a test wants of it.

What real stacks are known to do stands here, not what bleak's contract would let them do at best.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError

from fieldlog.transports.radio import Classes, Radio
from fieldlog_protocol.framing import PieceFraming, fragments
from fieldlog_protocol.gatt import SMP_CHARACTERISTIC, SMP_SERVICE
from smp_peer import Peer

Pairing = Callable[[Callable[[], Awaitable[int | None]]], Awaitable[None]]


@dataclass
class FakeDevice:
    """A peripheral with an SMP server. `mtus`: of each connection in turn, the last one from then on."""

    name: str = "hut"
    address: str = "F0:0D:00:00:00:01"
    rssi: int = -60
    mtus: list[int] = field(default_factory=lambda: [247])
    connect_errors: list[Exception] = field(default_factory=list)
    subscribe_errors: list[Exception] = field(default_factory=list)
    write_errors: list[Exception] = field(default_factory=list)
    pairing: Pairing | None = None
    has_smp: bool = True
    properties: tuple[str, ...] = ("write-without-response", "notify")
    advertises: bool = True
    manufacturer: dict[int, bytes] = field(default_factory=dict)
    distort: Callable[[list[bytes]], list[bytes]] = lambda pieces: pieces
    silent: bool = False
    connections: int = 0
    paired: bool = False
    writes: list[bytes] = field(default_factory=list)
    answered: list[bool] = field(default_factory=list)
    peer: Peer = field(default_factory=lambda: Peer({}, PieceFraming()))
    client: FakeClient | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    _listeners: list[Callable[[FakeDevice], None]] = field(default_factory=list)

    def heard_by(self, tell: Callable[[FakeDevice], None]) -> None:
        self._listeners.append(tell)
        if self.advertises:
            asyncio.get_running_loop().call_soon(tell, self)

    def begin_to_advertise(self) -> None:
        self.advertises = True
        for tell in self._listeners:
            tell(self)

    def drop(self) -> None:
        """The link is lost."""
        if self.client is not None:
            self.client.gone()

    def written(self, data: bytes, notify: NotifyCallback, mtu: int) -> None:
        self.writes.append(data)
        assert len(data) <= mtu - 3
        for message in self.peer.take(data):
            for piece in self.distort(fragments(message, mtu - 3)):
                if not self.silent:
                    asyncio.get_running_loop().call_soon(notify, bytearray(piece))


@dataclass
class FakeAir:
    """Who can be heard; `error` is what the adapter raises in place of scanning, `stop_error` at the end of it."""

    devices: list[FakeDevice] = field(default_factory=list)
    error: Exception | None = None
    stop_error: Exception | None = None
    hangs: bool = False
    opened: int = 0
    closed: int = 0

    def radio(self) -> Radio:
        return Radio("fake", {}, lambda _: self.backend)

    @asynccontextmanager
    async def backend(self, _options: Mapping[str, str]) -> AsyncGenerator[Classes]:
        self.opened += 1
        air = self

        class Scanner(FakeScanner):
            heard = air

        class Client(FakeClient):
            heard = air

        yield Client, Scanner
        self.closed += 1

    def listen(self, tell: Callable[[FakeDevice], None]) -> None:
        """Tell of whoever advertises, now and when one of them begins to."""
        for device in self.devices:
            device.heard_by(tell)

    def find(self, address: str) -> FakeDevice:
        return next(device for device in self.devices if device.address == address)


class FakeScanner(BaseBleakScanner):
    heard: FakeAir

    def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: str, **_: Any) -> None:
        super().__init__(detection_callback, service_uuids)
        self._listening = False

    async def start(self) -> None:
        if self.heard.error is not None:
            raise self.heard.error
        self._listening = True
        self.heard.listen(self._tell)

    async def stop(self) -> None:
        self._listening = False
        if self.heard.hangs:
            await asyncio.get_running_loop().create_future()
        if self.heard.stop_error is not None:
            raise self.heard.stop_error

    def _tell(self, device: FakeDevice) -> None:
        if not self._listening:
            return
        uuids = [SMP_SERVICE] if device.has_smp else []
        said = AdvertisementData(device.name, device.manufacturer, {}, uuids, None, device.rssi, ())
        device.heard.set()
        found = self.create_or_update_device(device.address, device.address, device.name, None, said)
        self.call_detection_callbacks(found, said)


class FakeClient(BaseBleakClient):
    heard: FakeAir

    def __init__(self, address_or_ble_device: BLEDevice | str, **options: Any) -> None:
        options.pop("services"), options.pop("bluez"), options.pop("winrt")
        super().__init__(address_or_ble_device, **options)
        self._device = self.heard.find(self.address)
        self._connected = False
        self._notify: NotifyCallback | None = None
        self._mtu = 23

    @property
    def name(self) -> str:
        return self._device.name

    @property
    def mtu_size(self) -> int:
        return 23  # as BlueZ says, whatever it is

    @property
    def is_connected(self) -> bool:
        return self._connected

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        if self._device.connect_errors:
            raise self._device.connect_errors.pop(0)
        self._mtu = self._device.mtus.pop(0) if len(self._device.mtus) > 1 else self._device.mtus[0]
        self._connected, self._device.client = True, self
        self._device.connections += 1
        self.services = BleakGATTServiceCollection()
        service = BleakGATTService(
            None, 1, SMP_SERVICE if self._device.has_smp else "0000180f-0000-1000-8000-00805f9b34fb"
        )
        self.services.add_service(service)
        properties: Any = list(self._device.properties)
        characteristic = BleakGATTCharacteristic(
            None, 2, SMP_CHARACTERISTIC, properties, lambda: self._mtu - 3, service
        )
        self.services.add_characteristic(characteristic)

    async def disconnect(self) -> None:
        self.gone()

    def gone(self) -> None:
        if self._connected:
            self._connected = False
            self._device.client = None
            if self._disconnected_callback is not None:
                self._disconnected_callback()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        assert self._device.pairing is not None
        await self._device.pairing(kwargs["passkey"])
        self._device.paired = True

    async def unpair(self) -> None:
        self._device.paired = False

    async def read_gatt_char(self, characteristic: Any, *, use_cached: bool = False, **kwargs: Any) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(self, descriptor: Any, *, use_cached: bool = False, **kwargs: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        if self._device.write_errors:
            raise self._device.write_errors.pop(0)
        if not self._connected or self._notify is None:
            raise BleakError("Not connected")
        await asyncio.sleep(0)  # others have their turn between the pieces of a message
        self._device.answered.append(response)
        self._device.written(bytes(data), self._notify, self._mtu)

    async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
        raise NotImplementedError

    async def start_notify(self, characteristic: Any, callback: NotifyCallback, **kwargs: Any) -> None:
        if self._device.subscribe_errors:
            raise self._device.subscribe_errors.pop(0)
        if self._device.pairing is not None and not self._device.paired:
            raise BleakGATTProtocolError(5)
        self._notify = callback

    async def stop_notify(self, characteristic: Any) -> None:
        self._notify = None
