"""The device that `fieldlog config` speaks of: described by itself, or by a file of its user."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog.config.schema import Schema
from fieldlog.config.schema_cache import default_cache
from fieldlog.config.target import NoDescription, Target, read_target
from fieldlog.config.template import Identity, identity_of
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo


@dataclass(frozen=True, slots=True)
class Described:
    """A device and what it takes. `info` None: a stock device."""

    device: Device
    info: LoggerInfo | None
    target: Target

    @property
    def identity(self) -> Identity:
        return Identity() if self.info is None else identity_of(self.info)

    @property
    def title(self) -> str:
        """What a file says of where it comes from."""
        if self.info is None:
            return f"fieldlog configuration of {self.device.name}"
        who = self.info.serial or self.info.uid.hex()
        return f"fieldlog configuration of {who} ({self.info.product}, firmware {self.info.firmware})"


async def described(device: Device, own: Schema | None, *, streams: bool = True) -> Described:
    """The device's own description, or else that of its user; where there is none, say what can be done instead."""
    if await device.has_logger():
        info = await device.logger_info()
        return Described(
            device, info, await read_target(device, info, cache=default_cache(), streams=streams, texts=streams)
        )
    if own is not None:
        return Described(device, None, await read_target(device, own=own))
    raise NoDescription(device.name)
