"""What would change on a device: wanted against present.

Rule: reading only. What a device has already is not written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fieldlog.config.channels import holds, named_channels
from fieldlog.config.model import CalibrationChange, Change, MetadataChange, Plan, Same, Wanted
from fieldlog.config.present import read_bytes
from fieldlog.config.target import Target
from fieldlog.config.together import nothing, together
from fieldlog.deployment import read_blob
from fieldlog.device import Device
from fieldlog_protocol.blocks.metadata import decode_metadata
from fieldlog_protocol.errors import BlockError


async def make_plan(device: Device, wanted: Wanted, target: Target) -> Plan:
    """The changes that make a device what is wanted; `target` has been read with its streams, if any calibration is."""
    present, texts, _ = await together(
        read_bytes(device, wanted.settings),
        nothing() if wanted.metadata is None else _metadata(device, wanted.metadata),
        nothing(),
    )
    settings = [Change(target.schema[key], present[key], new) for key, new in wanted.settings.items()]
    calibrations = list(_calibrations(wanted, target))
    metadata, texts_differ = texts or (None, False)
    return Plan(
        settings=tuple(change for change in settings if change.former != change.new),
        calibration=tuple(change for change in calibrations if not holds(change.former, change.new)),
        metadata=metadata if texts_differ else None,
        same=Same(
            settings=tuple(change for change in settings if change.former == change.new),
            calibration=tuple(change for change in calibrations if holds(change.former, change.new)),
            metadata=None if texts_differ else metadata,
        ),
        uid=target.uid,
    )


def _calibrations(wanted: Wanted, target: Target) -> Iterator[CalibrationChange]:
    for known in named_channels(target.streams):
        new = wanted.calibration.get(known.key)
        if new is not None:
            yield CalibrationChange(known.key, known.stream_id, known.position, known.channel.calibration, new)


async def _metadata(device: Device, texts: Mapping[str, str]) -> tuple[MetadataChange, bool]:
    """And whether it is one: the order of texts does not matter. What cannot be understood is replaced."""
    try:
        former = decode_metadata(await read_blob(device))
    except BlockError:
        return MetadataChange({}, texts), True
    return MetadataChange(former, texts), former != texts
