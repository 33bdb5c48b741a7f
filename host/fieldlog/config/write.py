"""Writing settings to devices that have no transactions.

Rule: values have been checked; the writes follow one another, and a failure leaves those before it written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from fieldlog.device import Device
from fieldlog_protocol.commands import Group, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError


async def write(device: Device, values: Mapping[str, bytes]) -> bool:
    """Write, commit and save values; False when the device cannot save, so that a restart brings the former ones back."""
    for key, value in values.items():
        await device.write_setting(key, value)
    await _supported(device.commit_settings())
    return await _supported(device.save_settings())


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
