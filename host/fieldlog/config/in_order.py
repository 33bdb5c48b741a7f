"""A plan on a device that has no transactions: one value after another.

Rule: nothing is stored before everything is written and was read back, so that as much as such a device allows can be
taken back.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fieldlog.config.model import CalibrationChange, Change, Coefficients, MetadataChange, Plan
from fieldlog.config.outcome import Applied, changed_since, restart_note, with_state
from fieldlog.config.read_back import read_back
from fieldlog.config.write import keep
from fieldlog.deployment import write_metadata
from fieldlog.device import Device
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import FieldlogError, LinkError, RefusedError, VerificationError

Act = Callable[[], Awaitable[None]]


async def apply_in_order(device: Device, plan: Plan) -> Applied:
    """Write all of it, read it back, store it; what fails writes the former values back as far as that can be done."""
    if changed := (await read_back(device, plan)).not_former:
        raise changed_since(device.name, changed)
    steps = [_setting(device, change) for change in plan.settings]
    steps += [_calibration(device, change) for change in plan.calibration]
    steps += [] if plan.metadata is None else [_metadata(device, plan.metadata)]
    taken: list[Act] = []
    try:
        for act, undo in steps:
            taken.append(undo)  # a write whose answer is lost may have been carried out
            await act()
        kept = await keep(device)
        differing = (await read_back(device, plan)).not_new
        if differing:
            raise VerificationError(f"{device.name} does not hold what was written: {', '.join(differing)}")
    except FieldlogError as error:
        raise with_state(error, await _taken_back(device, plan, taken)) from error
    notes = [
        f"{device.name} has no transactions: its values were written one after another, and all were read back",
        "" if kept else "It cannot store them: a restart brings the former values back",
        restart_note(plan),
    ]
    return Applied(plan, transaction=False, kept=kept, notes=tuple(filter(None, notes)))


async def _taken_back(device: Device, plan: Plan, taken: list[Act]) -> str:
    """Undo in the opposite order, and say what the device holds now."""
    some = f"{device.name} has no transactions, and up to {len(taken)} of the new values had been written"
    try:
        for undo in reversed(taken):
            with suppress(RefusedError):  # what is left is told below
                await undo()
        await keep(device)
        left = (await read_back(device, plan)).not_former
    except FieldlogError as error:
        return (
            f"{some}. They could not be taken back: "
            + ("the link is gone" if isinstance(error, LinkError) else f"{error}")
            + ". It may hold a part of them; what was not stored is gone with its next restart. Apply again"
        )
    if left:
        return f"{some}. Not all could be taken back: {', '.join(left)}. Apply again, or set these by hand"
    return f"{some}; the former values were written back and read back"


def _setting(device: Device, change: Change) -> tuple[Act, Act]:
    key = change.setting.key
    return lambda: device.write_setting(key, change.new), lambda: device.write_setting(key, change.former)


def _calibration(device: Device, change: CalibrationChange) -> tuple[Act, Act]:
    async def calibrate(coefficients: Coefficients) -> None:
        request = logger.CalibrateRequest(
            id=secrets.randbits(32), s=change.stream_id, c=change.position, cal=coefficients
        )
        await device.request(logger.CALIBRATE, request)

    return lambda: calibrate(change.new), lambda: calibrate(change.former)


def _metadata(device: Device, change: MetadataChange) -> tuple[Act, Act]:
    return lambda: write_metadata(device, change.new), lambda: write_metadata(device, change.former)
