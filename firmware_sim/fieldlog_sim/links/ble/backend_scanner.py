"""bleak's scanner on the virtual radio."""

# pyright: reportUnknownMemberType=false
# (events of bumble name no types)

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.uuids import normalize_uuid_16, normalize_uuid_32
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Device

from fieldlog_sim.links.ble.central import Central, errors

_T = AdvertisingData.Type
_NAMES = (_T.COMPLETE_LOCAL_NAME, _T.SHORTENED_LOCAL_NAME)
_UUIDS = {
    _T.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    _T.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    _T.INCOMPLETE_LIST_OF_32_BIT_SERVICE_CLASS_UUIDS: 4,
    _T.COMPLETE_LIST_OF_32_BIT_SERVICE_CLASS_UUIDS: 4,
    _T.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    _T.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
_SERVICE_DATA = {_T.SERVICE_DATA_16_BIT_UUID: 2, _T.SERVICE_DATA_32_BIT_UUID: 4, _T.SERVICE_DATA_128_BIT_UUID: 16}
_COMPANY_BYTES = 2


class VirtualScanner(BaseBleakScanner):
    """Bound to an adapter by a subclass with `central`."""

    central: ClassVar[Central]

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: Literal["active", "passive"],
        **_platforms: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode != "passive"
        self._heard: dict[str, dict[int, list[bytes]]] = {}

    async def start(self) -> None:
        self.seen_devices, self._heard = {}, {}
        self.central.require()
        device = self.central.device
        alone = not device.listeners(Device.EVENT_ADVERTISEMENT)
        device.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        if not alone:
            return
        try:
            with errors("scan"):
                if device.scanning:  # a scan was ended, and the answer to that got lost
                    await device.stop_scanning()
                await device.start_scanning(active=self._active)
        except BaseException:
            device.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
            raise

    async def stop(self) -> None:
        device = self.central.device
        device.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        if device.scanning and self.central.is_there and not device.listeners(Device.EVENT_ADVERTISEMENT):
            with errors("stop scanning"):
                await device.stop_scanning()

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        address = advertisement.address.to_string(False)
        fields = self._heard.setdefault(address, {})
        fields |= _by_kind(advertisement.data.ad_structures)
        data = _advertisement_data(fields, advertisement.rssi, (advertisement,))
        if self.is_allowed_uuid(data.service_uuids):
            device = self.create_or_update_device(address, address, data.local_name, advertisement.address, data)
            self.call_detection_callbacks(device, data)


def _by_kind(structures: Sequence[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for kind, value in structures:
        found.setdefault(int(kind), []).append(value)
    return found


def _advertisement_data(fields: dict[int, list[bytes]], rssi: int, platform: tuple[Any, ...]) -> AdvertisementData:
    powers = fields.get(_T.TX_POWER_LEVEL, [])
    manufacturers = [value for value in fields.get(_T.MANUFACTURER_SPECIFIC_DATA, []) if len(value) >= _COMPANY_BYTES]
    return AdvertisementData(
        local_name=next((fields[kind][-1].decode("utf-8", "replace") for kind in _NAMES if kind in fields), None),
        manufacturer_data={int.from_bytes(value[:2], "little"): value[2:] for value in manufacturers},
        service_data={
            uuid_text(value[:size]): value[size:]
            for kind, size in _SERVICE_DATA.items()
            for value in fields.get(kind, [])
            if len(value) >= size
        },
        service_uuids=[
            uuid_text(value[at : at + size])
            for kind, size in _UUIDS.items()
            for value in fields.get(kind, [])
            for at in range(0, len(value) - size + 1, size)
        ],
        tx_power=int.from_bytes(powers[-1], "little", signed=True) if powers else None,
        rssi=rssi,
        platform_data=platform,
    )


def uuid_text(raw: bytes) -> str:
    """bleak's spelling of a UUID as ATT carries it: little endian, of 2, 4 or 16 bytes."""
    if len(raw) == 2:
        return normalize_uuid_16(int.from_bytes(raw, "little"))
    if len(raw) == 4:
        return normalize_uuid_32(int.from_bytes(raw, "little"))
    return str(uuid.UUID(bytes=raw[::-1]))
