"""Writing settings to devices that have no transactions and describe no types.

Rule: values have been checked. They are written one after another; where one fails, those before it get their former
values back as far as that can be done, and what is raised says what the device holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress

from fieldlog.client import Reply
from fieldlog.config.outcome import with_state
from fieldlog.device import Device
from fieldlog_protocol.commands import Group, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import FieldlogError, LinkError, RefusedError

Former = Mapping[str, bytes | None]
"""None for a value that the device does not let anybody read."""


async def write(device: Device, values: Mapping[str, bytes]) -> bool:
    """Write values and keep them; what `keep` answers."""
    for key, value in values.items():
        device.require_fits(settings.SettingWriteRequest(name=key, val=value))
    former = await _read(device, values)
    begun: list[str] = []
    try:
        for key, value in values.items():
            begun.append(key)
            await device.write_setting(key, value)
    except FieldlogError as error:
        refused = isinstance(error, RefusedError)  # else it may have been carried out
        written = begun[:-1] if refused else begun
        state = f"That was {begun[-1]}. {await _taken_back(device, written, former)}"
        raise with_state(error, state) from error
    try:
        return await keep(device)
    except FieldlogError as error:
        raise with_state(error, await _taken_back(device, begun, former)) from error


async def keep(device: Device) -> bool:
    """Put into effect and store what was written; False when the device cannot store it, so that a restart brings the
    former values back."""
    await _supported(device.commit_settings())
    return await _supported(device.save_settings())


async def _read(device: Device, keys: Mapping[str, bytes] | Sequence[str]) -> dict[str, bytes | None]:
    """Asked for without waiting in between."""
    replies = {key: device.client.start(settings.READ, settings.SettingReadRequest(name=key)) for key in keys}
    try:
        return {key: await _value(reply) for key, reply in replies.items()}
    finally:
        for reply in replies.values():
            reply.cancel()


async def _value(reply: Reply[settings.SettingReadResponse]) -> bytes | None:
    try:
        return (await reply).val
    except RefusedError as error:
        if (error.group, error.code) == (None, Rc.INVALID):
            # Mynewt's answer for a value that it does not give; a write of bytes would delete that one and count as done
            text = f"{error}. Settings of such a device, as of Mynewt, are text, and fieldlog writes bytes. Nothing was written"
            raise RefusedError(error.code, error.group, text, error.details) from error
        return None


async def _taken_back(device: Device, written: Sequence[str], former: Former) -> str:
    """Undo in the opposite order, and say what the device holds now."""
    if not written:
        return "Nothing was written before it, and nothing was changed"
    names = ", ".join(written)
    try:
        await _undo(device, written, former)
        held = await _read(device, written)
    except FieldlogError as error:
        why = "the link is gone" if isinstance(error, LinkError) else f"{error}"
        return (
            f"Written and perhaps in effect, and not stored: {names}. They could not be taken back: {why}. What was not stored "
            "is gone with the device's next restart; or repeat the command"
        )
    left = [key for key in written if former[key] is None or held[key] != former[key]]
    if not left:
        return f"Written before were {names}: their former values were written back and read back"
    return (
        f"Not taken back: {', '.join(left)}. They are written and not stored, and stay until a restart; set them again as "
        "they were, or repeat the command"
    )


async def _undo(device: Device, written: Sequence[str], former: Former) -> None:
    """What is refused is seen when it is read back."""
    for key in reversed(written):
        value = former[key]
        if value is not None:
            with suppress(RefusedError):
                await device.write_setting(key, value)
    with suppress(RefusedError):
        await device.commit_settings()


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
