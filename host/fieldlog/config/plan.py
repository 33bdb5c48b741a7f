"""What would change on a device: wanted against present.

Rule: reading only. What a device has already is not written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fieldlog.config.channels import holds, named_channels
from fieldlog.config.model import CalibrationChange, Change, MetadataChange, Plan, Wanted
from fieldlog.config.present import read_bytes
from fieldlog.config.target import Target
from fieldlog.deployment import read_blob
from fieldlog.device import Device
from fieldlog_protocol.blocks.metadata import decode_metadata
from fieldlog_protocol.errors import BlockError


async def make_plan(device: Device, wanted: Wanted, target: Target) -> Plan:
    """The changes that make a device what is wanted; `target` has been read with its streams, if any calibration is."""
    present = await read_bytes(device, wanted.settings)
    return Plan(
        settings=tuple(
            Change(target.schema[key], present[key], new) for key, new in wanted.settings.items() if present[key] != new
        ),
        calibration=tuple(_calibration(wanted, target)),
        metadata=None if wanted.metadata is None else await _metadata(device, wanted.metadata),
    )


def _calibration(wanted: Wanted, target: Target) -> Iterator[CalibrationChange]:
    for known in named_channels(target.streams):
        new = wanted.calibration.get(known.key)
        if new is not None and not holds(known.channel.calibration, new):
            yield CalibrationChange(known.key, known.stream_id, known.position, known.channel.calibration, new)


async def _metadata(device: Device, texts: Mapping[str, str]) -> MetadataChange | None:
    """None where the texts are the same; their order does not matter. What cannot be understood is replaced."""
    blob = await read_blob(device)
    try:
        former = decode_metadata(blob)
    except BlockError:
        return MetadataChange({}, texts)
    return None if former == texts else MetadataChange(former, texts)
