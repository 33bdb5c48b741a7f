"""bleak's client on the virtual radio: ATT and GATT are bumble's, what it calls things is bleak's."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (bumble's proxies are generic of types that it never names)
# ruff: noqa: ARG002 - bleak's signatures

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import bleak
from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble import att, core
from bumble.device import Connection, Peer

from fieldlog_sim.links.ble.backend_scanner import VirtualScanner, uuid_text
from fieldlog_sim.links.ble.central import Central, Passkey, errors
from fieldlog_sim.links.ble.outbox import room_to_send

ATT_MTU = 517  # what BlueZ asks for
_INSUFFICIENT = (att.ErrorCode.INSUFFICIENT_AUTHENTICATION, att.ErrorCode.INSUFFICIENT_ENCRYPTION)

_DISCONNECT_S = 2.0
"""bumble waits for word of the end, and has none left where the other end was faster."""

_T = TypeVar("_T")


class VirtualClient(BaseBleakClient):
    """Bound to an adapter by a subclass with `central` and `scanner`."""

    central: ClassVar[Central]
    scanner: ClassVar[type[VirtualScanner]]

    def __init__(
        self, address_or_ble_device: BLEDevice | str, *, services: set[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(address_or_ble_device, **kwargs)
        self._found = address_or_ble_device if isinstance(address_or_ble_device, BLEDevice) else None
        self._wanted = services
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._relays: dict[int, Callable[[bytes], None]] = {}

    # connection

    @property
    def name(self) -> str:
        return (self._found and self._found.name) or self.address.replace(":", "-")

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def mtu_size(self) -> int:
        return self._connection.att_mtu if self._connection else att.ATT_DEFAULT_MTU

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        if self._connection is not None:
            return
        self.central.require()
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._find()
                with errors("connect"):
                    await self._open(found, pair=pair)
        except BaseException:
            await self.disconnect()
            raise
        if self._connection is None:
            raise BleakError("connect: disconnected")

    async def _find(self) -> BLEDevice:
        if self._found is None:
            found = await bleak.BleakScanner.find_device_by_address(self.address, self._timeout, backend=self.scanner)
            if found is None:
                raise BleakDeviceNotFoundError(self.address, f"Device {self.address} not found")
            self._found = found
        return self._found

    async def _open(self, found: BLEDevice, *, pair: bool) -> None:
        self._lost = asyncio.Event()
        connection = await self.central.connect(found.details)
        if not _is_alive(connection):
            raise BleakError("connect: disconnected at once")
        self._connection = connection
        connection.once(connection.EVENT_DISCONNECTION, self._on_disconnection)
        self.central.gone.add_done_callback(self._on_gone)
        peer = Peer(connection)
        await peer.request_mtu(ATT_MTU)
        if pair:
            await self.central.secure(connection, None)
        self.services = await self._discover(peer)

    async def disconnect(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if _is_alive(connection):
            with suppress(core.BaseBumbleError, BleakError, TimeoutError), errors("disconnect"):
                async with asyncio.timeout(_DISCONNECT_S):
                    await connection.disconnect()
        self._on_disconnection()

    def _on_gone(self, _future: object) -> None:
        self._on_disconnection()

    def _on_disconnection(self, *_reason: int) -> None:
        if self._connection is None:
            return
        self._connection, self.services = None, None
        self._lost.set()
        self._relays.clear()
        self.central.gone.remove_done_callback(self._on_gone)
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def pair(self, *_args: Any, passkey: Passkey | None = None, **_kwargs: Any) -> None:
        with errors("pair"):
            await self.central.secure(self._live(), passkey)

    async def unpair(self) -> None:
        await self.central.forget(self.address)
        await self.disconnect()

    def _live(self) -> Connection:
        if self._connection is None:
            raise BleakError("Not connected")
        return self._connection

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for its in await peer.discover_services():
            uuid = uuid_text(its.uuid.to_pdu_bytes())
            if not self._wanted or uuid in self._wanted:
                service = BleakGATTService(its, its.handle, uuid)
                found.add_service(service)
                for characteristic in await its.discover_characteristics():
                    await self._add(found, service, characteristic)
        return found

    async def _add(self, found: BleakGATTServiceCollection, service: BleakGATTService, its: Any) -> None:
        properties = list(gatt_char_props_to_strs(int(its.properties)))
        uuid = uuid_text(its.uuid.to_pdu_bytes())
        made = BleakGATTCharacteristic(its, its.handle, uuid, properties, lambda: self.mtu_size - 3, service)
        found.add_characteristic(made)
        for descriptor in await its.discover_descriptors():
            uuid = uuid_text(descriptor.type.to_pdu_bytes())
            found.add_descriptor(BleakGATTDescriptor(descriptor, descriptor.handle, uuid, made))

    # reading, writing, notifications

    async def _admitted(self, what: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do it; where the device wants an encrypted link, encrypt it with the bond and do it again, as operating systems
        do. Without a bond that is for the user to say."""
        connection = self._live()
        with errors(what):
            try:
                return await work()
            except att.ATT_Error as error:
                if error.error_code not in _INSUFFICIENT or connection.is_encrypted:
                    raise
                if not (self.central.pairs_itself or await self.central.has_bond(connection)):
                    raise
            await self.central.secure(connection, None)
            return await work()

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        return bytearray(await self._admitted("read", characteristic.obj.read_value))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        return bytearray(await self._admitted("read", descriptor.obj.read_value))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        value = bytes(data)
        if response:
            await self._write(characteristic.obj, value)
            return
        connection = self._live()
        if len(value) > self.mtu_size - 3:  # bumble would put an illegal PDU on the air
            raise BleakError(f"{len(value)} bytes do not fit a write command with an MTU of {self.mtu_size}")
        with errors("write"):
            await room_to_send(connection, self._lost)
            self._live()
            await characteristic.obj.write_value(value, with_response=False)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        await self._write(descriptor.obj, bytes(data))

    async def _write(self, attribute: Any, value: bytes) -> None:
        async def write() -> None:
            await attribute.write_value(value, with_response=True)

        await self._admitted("write", write)

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        if characteristic.handle in self._relays:
            raise BleakError("Characteristic notifications already started")
        if not {"notify", "indicate"} & set(characteristic.properties):
            raise BleakError(f"{characteristic.uuid} has neither notify nor indicate")

        def relay(value: bytes) -> None:
            if self._relays.get(characteristic.handle) is relay:  # bumble also keeps those whose subscription failed
                callback(bytearray(value))

        async def subscribe() -> None:
            await characteristic.obj.subscribe(relay)

        self._relays[characteristic.handle] = relay
        try:
            await self._admitted("subscribe", subscribe)
        except BaseException:
            self._relays.pop(characteristic.handle, None)
            raise

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        self._live()
        relay = self._relays.pop(characteristic.handle, None)
        if relay is not None:
            with errors("unsubscribe"):
                await characteristic.obj.unsubscribe(relay)


def _is_alive(connection: Connection) -> bool:
    """Whether bumble still knows it: what ended before anybody listened is not told."""
    return connection.device.lookup_connection(connection.handle) is connection
