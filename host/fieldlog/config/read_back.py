"""What a device holds of the things that a plan is about, compared with both sides of the plan.

Rule: reading only, and from the device itself, never from anything kept. What the plan found right already is read too:
another host may have changed it since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldlog.config.channels import holds
from fieldlog.config.model import Coefficients, Plan
from fieldlog.config.present import read_bytes
from fieldlog.config.together import nothing, together
from fieldlog.deployment import read_metadata
from fieldlog.device import Device
from fieldlog.recording import read_streams


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Names of what differs from the former values, and from the new ones."""

    not_former: tuple[str, ...]
    not_new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    settings: Mapping[str, bytes]
    calibrations: Mapping[tuple[int, int], Coefficients]
    texts: Mapping[str, str]

    def differing(self, plan: Plan, *, new: bool) -> Iterator[str]:
        for change in (*plan.settings, *plan.same.settings):
            if self.settings[change.setting.key] != (change.new if new else change.former):
                yield change.setting.key
        for item in (*plan.calibration, *plan.same.calibration):
            held = self.calibrations.get((item.stream_id, item.position), ())
            if not holds(held, item.new if new else item.former):
                yield f"the calibration of {item.channel}"
        texts = plan.metadata or plan.same.metadata
        if texts is not None and self.texts != (texts.new if new else texts.former):
            yield "the metadata"


async def read_back(device: Device, plan: Plan) -> ReadBack:
    """Read all that the plan is about."""
    settings, calibrations, texts = await together(
        read_bytes(device, [change.setting.key for change in (*plan.settings, *plan.same.settings)]),
        _calibrations(device) if plan.calibration or plan.same.calibration else nothing(),
        nothing() if (plan.metadata or plan.same.metadata) is None else read_metadata(device),
    )
    held = _Held(settings, calibrations or {}, texts or {})
    return ReadBack(tuple(held.differing(plan, new=False)), tuple(held.differing(plan, new=True)))


async def _calibrations(device: Device) -> dict[tuple[int, int], Coefficients]:
    return {
        (stream.id, position): channel.calibration
        for stream in await read_streams(device)
        for position, channel in enumerate(stream.channels)
    }
