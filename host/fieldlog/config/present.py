"""What a device holds now: values of its settings, calibrations, metadata.

Rule: reading only; nothing here changes a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fieldlog.client import Reply
from fieldlog.config.schema import Schema, find_all
from fieldlog.config.target import Target
from fieldlog.config.values import Setting, Value, decode
from fieldlog.deployment import read_metadata
from fieldlog.device import Device
from fieldlog.recording import StreamInfo
from fieldlog_protocol.commands import settings
from fieldlog_protocol.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting and its present value; `data` is how the device holds it. `default` is None where it names none.

    What breaks the setting's own type, as after an update of the firmware, stays bytes.
    """

    setting: Setting
    data: bytes
    value: Value
    default: Value | None

    @property
    def changed(self) -> bool:
        return self.default is not None and self.data != self.setting.default

    @property
    def set_by_somebody(self) -> bool:
        """What is read only differs from its default too, but nobody changed it."""
        return self.changed and not self.setting.read_only


@dataclass(frozen=True, slots=True)
class Present:
    """All that a file can say of a device. `metadata` None: it keeps none, or, with `strange_metadata`, other data."""

    title: str
    entries: Sequence[Entry]
    streams: Sequence[StreamInfo] = ()
    metadata: Mapping[str, str] | None = None
    strange_metadata: bool = False


async def read_all(device: Device, target: Target, title: str) -> Present:
    """What the device holds; `target` has been read from it."""
    metadata = await read_metadata(device) if target.keeps_metadata else None
    return Present(
        title,
        await read(device, target.schema),
        target.streams if target.calibrates else (),
        metadata,
        target.keeps_metadata and metadata is None,
    )


async def read(device: Device, known: Schema, keys: Iterable[str] | None = None) -> list[Entry]:
    """Present values of the settings named, or of all; raises Problems for keys that are not in the schema."""
    wanted = find_all(known, keys) if keys is not None else list(known.values())
    present = await read_bytes(device, [setting.key for setting in wanted])
    return [entry_of(setting, present[setting.key]) for setting in wanted]


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


def entry_of(setting: Setting, data: bytes) -> Entry:
    """The entry of a setting that holds these bytes."""
    return Entry(
        setting, data, meaning(setting, data), None if setting.default is None else meaning(setting, setting.default)
    )


def meaning(setting: Setting, data: bytes) -> Value:
    """What the bytes stand for, or themselves where they break the setting's type."""
    with suppress(ProtocolError):
        return decode(setting, data)
    return data
