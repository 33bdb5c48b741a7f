"""Writing settings to devices that have no transactions.

Rule: values have been checked; the writes follow one another, and a failure leaves those before it written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from fieldlog.config.outcome import with_state
from fieldlog.device import Device
from fieldlog_protocol.commands import Group, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import FieldlogError, RefusedError


async def write(device: Device, values: Mapping[str, bytes]) -> bool:
    """Write, commit and save values; False when the device cannot save, so that a restart brings the former ones back."""
    written: list[str] = []
    for key, value in values.items():
        try:
            await device.write_setting(key, value)
        except FieldlogError as error:
            raise with_state(error, _state(key, written)) from error
        written.append(key)
    await _supported(device.commit_settings())
    return await _supported(device.save_settings())


def _state(key: str, written: Sequence[str]) -> str:
    if not written:
        return f"That was {key}; nothing was written before it"
    return (
        f"That was {key}. Written before it, in effect, and not stored: {', '.join(written)}. They stay until a restart; "
        "set them again as they were, or repeat the command"
    )


async def _supported(request: Awaitable[None]) -> bool:
    """Whether the device has such a command at all."""
    try:
        await request
    except RefusedError as error:
        if (error.group, error.code) not in _NOT_SUPPORTED:
            raise
        return False
    return True


_NOT_SUPPORTED = ((None, Rc.NOT_SUPPORTED), (Group.SETTINGS, settings.SAVE_NOT_SUPPORTED))
