"""Present values of a device's settings.

Rule: reading only; nothing here changes a device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fieldlog.client import Reply
from fieldlog.config.schema import Schema, find
from fieldlog.config.values import Setting, Value, decode
from fieldlog.device import Device
from fieldlog_protocol.commands import settings


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting and its present value. `default` is None where the device names none."""

    setting: Setting
    value: Value
    default: Value | None

    @property
    def changed(self) -> bool:
        return self.default is not None and self.value != self.default


async def read(device: Device, known: Schema, keys: Iterable[str] | None = None) -> list[Entry]:
    """Present values of the settings named, or of all; raises UsageError for a key that is not in the schema."""
    wanted = [find(known, key) for key in keys] if keys is not None else list(known.values())
    present = await read_bytes(device, [setting.key for setting in wanted])
    return [_entry(setting, present[setting.key]) for setting in wanted]


async def read_bytes(device: Device, keys: Iterable[str]) -> dict[str, bytes]:
    """Present values as the device carries them, asked for without waiting in between."""
    replies = {key: _read(device, key) for key in keys}
    try:
        return {key: (await reply).val for key, reply in replies.items()}
    finally:
        for reply in replies.values():
            reply.cancel()


def _read(device: Device, key: str) -> Reply[settings.SettingReadResponse]:
    return device.client.start(settings.READ, settings.SettingReadRequest(name=key))


def _entry(setting: Setting, data: bytes) -> Entry:
    default = None if setting.default is None else decode(setting, setting.default)
    return Entry(setting, decode(setting, data), default)
