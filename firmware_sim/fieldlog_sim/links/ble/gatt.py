"""The GATT peripheral: SMP service, device information, battery, behind a guard.

Rule of this module: it moves bytes between a central and whoever owns it, and knows no SMP. bumble's server looks neither at
permissions to read and write nor at what pairing was worth: the attributes here do.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (attributes of bumble's server are generic of a type that it never names)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bumble import att, gatt
from bumble.core import UUID
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Descriptor, Service

from fieldlog_protocol.gatt import SMP_CHARACTERISTIC, SMP_SERVICE
from fieldlog_sim.links.ble.security import Guard

_CCCD = gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR
_READ_WRITE = att.Attribute.READABLE | att.Attribute.WRITEABLE


@dataclass(frozen=True, slots=True)
class Facts:
    """What device information and battery service tell."""

    manufacturer: str
    model: str
    serial: str
    firmware: str
    battery_percent: int


class _Guarded(att.Attribute[bytes]):
    """An attribute that asks before it answers."""

    guard: Guard

    async def read_value(self, bearer: att.Bearer) -> bytes:
        self._require(bearer, att.Attribute.READABLE, att.ErrorCode.READ_NOT_PERMITTED)
        return await super().read_value(bearer)

    async def write_value(self, bearer: att.Bearer, value: bytes) -> None:
        self._require(bearer, att.Attribute.WRITEABLE, att.ErrorCode.WRITE_NOT_PERMITTED)
        await super().write_value(bearer, value)

    def _require(self, bearer: att.Bearer, permission: att.Attribute.Permissions, error: att.ErrorCode) -> None:
        if not self.permissions & permission:
            raise att.ATT_Error(error, self.handle)
        assert isinstance(bearer, Connection)  # enhanced bearers are not offered
        self.guard.require(bearer)


class _GuardedCharacteristic(_Guarded, Characteristic[bytes]):
    pass


class _GuardedDescriptor(_Guarded, Descriptor):
    pass


class Peripheral:
    """`written` is called with what a central writes to the SMP characteristic, in order; `facts` when they are read."""

    def __init__(
        self,
        device: Device,
        guard: Guard,
        written: Callable[[Connection, bytes], None],
        facts: Callable[[], Facts],
    ) -> None:
        self._device = device
        self._guard = guard
        self._facts = facts
        self._smp = self._characteristic(
            SMP_CHARACTERISTIC,
            Characteristic.WRITE_WITHOUT_RESPONSE | Characteristic.NOTIFY,
            att.Attribute.WRITEABLE,
            CharacteristicValue(write=written),
        )
        self._battery = self._text(
            gatt.GATT_BATTERY_LEVEL_CHARACTERISTIC, lambda facts: bytes([facts.battery_percent]), notify=True
        )
        device.add_services(
            [
                Service(SMP_SERVICE, [self._smp]),
                Service(gatt.GATT_DEVICE_INFORMATION_SERVICE, self._information()),
                Service(gatt.GATT_BATTERY_SERVICE, [self._battery]),
            ]
        )

    def subscribed(self, connection: Connection) -> bool:
        """Whether the central takes notifications of replies, and may."""
        values = self._device.gatt_server.subscribers.get(connection, {})
        return bool(values.get(self._smp.handle, b"\0")[0] & 1) and self._guard.admits(connection)

    async def notify(self, connection: Connection, data: bytes) -> None:
        """One notification of at most ATT_MTU - 3 bytes; ValueError for a longer one, which bumble would cut off."""
        if len(data) > connection.att_mtu - 3:
            raise ValueError(f"{len(data)} bytes do not go in a notification with an MTU of {connection.att_mtu}")
        await self._device.notify_subscriber(connection, self._smp, data)

    async def notify_battery(self, connection: Connection) -> None:
        await self._device.notify_subscriber(connection, self._battery)

    def _information(self) -> list[Characteristic[bytes]]:
        return [
            self._text(gatt.GATT_MANUFACTURER_NAME_STRING_CHARACTERISTIC, lambda facts: facts.manufacturer.encode()),
            self._text(gatt.GATT_MODEL_NUMBER_STRING_CHARACTERISTIC, lambda facts: facts.model.encode()),
            self._text(gatt.GATT_SERIAL_NUMBER_STRING_CHARACTERISTIC, lambda facts: facts.serial.encode()),
            self._text(gatt.GATT_FIRMWARE_REVISION_STRING_CHARACTERISTIC, lambda facts: facts.firmware.encode()),
        ]

    def _text(
        self, uuid: UUID | str, value: Callable[[Facts], bytes], *, notify: bool = False
    ) -> Characteristic[bytes]:
        def read(_connection: Connection) -> bytes:
            return value(self._facts())

        properties = Characteristic.READ | (Characteristic.NOTIFY if notify else Characteristic.Properties(0))
        return self._characteristic(uuid, properties, att.Attribute.READABLE, CharacteristicValue(read=read))

    def _characteristic(
        self,
        uuid: UUID | str,
        properties: Characteristic.Properties,
        permissions: att.Attribute.Permissions,
        value: CharacteristicValue[bytes],
    ) -> Characteristic[bytes]:
        made = _GuardedCharacteristic(uuid, properties, permissions, value)
        made.guard = self._guard
        if properties & Characteristic.NOTIFY:
            made.descriptors = [self._cccd(made)]
        return made

    def _cccd(self, characteristic: Characteristic[bytes]) -> Descriptor:
        value: Any = self._device.gatt_server.make_descriptor_value(characteristic)
        made = _GuardedDescriptor(_CCCD, _READ_WRITE, value)
        made.guard = self._guard
        return made
