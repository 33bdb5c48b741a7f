"""What a device is able to take: what a file is checked against.

Rule: reading only; nothing here changes a device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fieldlog.config.schema import Schema, schema
from fieldlog.config.schema_cache import SchemaCache
from fieldlog.config.together import nothing, together
from fieldlog.deployment import read_metadata
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo, NoLogger
from fieldlog.recording import StreamInfo, read_streams
from fieldlog_protocol.commands.logger import Capability
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError


class NoDescription(NoLogger):
    """Neither the device nor its user says what its settings are."""

    def __init__(self, name: str) -> None:
        RefusedError.__init__(
            self,
            8,
            None,
            f"{name} does not describe its settings, as stock SMP devices do not. Name the keys you know, with `fieldlog config "
            "get` and `set`, or describe them in a file: --schema FILE (see docs/stock-settings.md)",
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A device's description of itself; `uid` None: it is no logger. `streams` hold the calibrations that its channels have now,
    `texts` the metadata: what another program wrote there may stay though a file could not newly say it."""

    schema: Schema
    streams: Sequence[StreamInfo]
    firmware: str
    capabilities: Capability
    uid: bytes | None = None
    texts: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def calibrates(self) -> bool:
        return Capability.CALIBRATE in self.capabilities

    @property
    def keeps_metadata(self) -> bool:
        return Capability.METADATA in self.capabilities


async def read_target(
    device: Device,
    info: LoggerInfo | None = None,
    *,
    cache: SchemaCache | None = None,
    streams: bool = True,
    texts: bool = True,
    own: Schema | None = None,
) -> Target:
    """The description; `info` where it was asked before. Without `streams` and `texts` it serves for settings alone.

    `own`: what its user says that a stock device has; raises NoLogger for one of which nobody says anything.
    """
    if own is not None and not await device.has_logger():
        return Target(own, (), "", Capability(0))
    info = info or await device.logger_info()
    known, found, metadata = await together(
        schema(device) if cache is None else cache.schema(device, info),
        _streams(device) if streams else nothing(),
        read_metadata(device) if texts and Capability.METADATA in info.capabilities else nothing(),
    )
    return Target(known, found or (), info.firmware, info.capabilities, info.uid, metadata or {})


async def _streams(device: Device) -> Sequence[StreamInfo]:
    try:
        return await read_streams(device)
    except RefusedError as error:
        if (error.group, error.code) != (None, Rc.NOT_SUPPORTED):
            raise
        return ()
