"""The settings that a device describes (FL settings schema), read page by page.

Rule: what the device says is checked before it is believed.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Sequence

import msgspec

from fieldlog.config.model import Problem, Problems
from fieldlog.config.values import MAX_CHOICES, Setting, setting_of
from fieldlog.device import Device
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import ProtocolError

Schema = dict[str, Setting]

MAX_SETTINGS = 4096
MAX_CHOICES_IN_ALL = 4096
"""More than any device has: beyond these a description is taken for one that never ends."""
_LISTED = "`fieldlog config show` lists them"
_SUGGESTED = 4
"""So many keys of a group are named for whoever gave the group alone."""
LONGEST_S = 120.0
"""So long does a description take at most, also over the slowest of links."""


async def schema(device: Device) -> Schema:
    """The settings that the device describes, in its order; raises NoLogger where it describes none."""
    return schema_of(await read_infos(device))


def schema_of(infos: Iterable[logger.SettingInfo]) -> Schema:
    """What whole descriptions mean; raises ProtocolError for those that make no sense."""
    return {info.k: setting_of(info, info.ch or ()) for info in infos}


async def read_infos(device: Device) -> tuple[logger.SettingInfo, ...]:
    """The descriptions of all settings, each with all its choices; raises ProtocolError for one that goes on and on."""
    limit = asyncio.timeout(LONGEST_S)
    try:
        async with limit:
            return await _read_infos(device)
    except TimeoutError:
        if not limit.expired():
            raise
        raise ProtocolError(
            f"the device was still describing its settings after {LONGEST_S:.0f} s, and fieldlog waits no longer for that"
        ) from None


async def _read_infos(device: Device) -> tuple[logger.SettingInfo, ...]:
    await device.need_logger()
    found: dict[str, logger.SettingInfo] = {}
    choices = 0
    while True:
        page = await _page(device, len(found))
        for info in page.s:
            if info.k in found:
                raise ProtocolError(f"the device describes its setting {info.k!r} twice")
            choices += max(info.nc or 0, len(info.ch or ()))
            if choices > MAX_CHOICES_IN_ALL:
                raise ProtocolError(f"the device's settings have more than {MAX_CHOICES_IN_ALL} choices in all")
            found[info.k] = msgspec.structs.replace(info, ch=await _choices(device, len(found), info))
        if len(found) >= page.n:
            return tuple(found.values())
        if not page.s:
            raise ProtocolError(f"the device announces {page.n} settings and describes only {len(found)}")


async def still_describes(device: Device, known: Sequence[logger.SettingInfo]) -> bool:
    """Whether a device gives so many settings, and the first page and the last setting as they were read before."""
    positions = sorted({0, max(0, len(known) - 1)})
    pages = await asyncio.gather(*(_page(device, position) for position in positions))
    return all(
        page.n == len(known) and _are(page.s, known[position:]) for position, page in zip(positions, pages, strict=True)
    )


def _are(said: Sequence[logger.SettingInfo], known: Sequence[logger.SettingInfo]) -> bool:
    """Whether these are the first of the settings known, and some, unless none is known."""
    return min(1, len(known)) <= len(said) <= len(known) and all(map(_alike, said, known))


def _alike(said: logger.SettingInfo, known: logger.SettingInfo) -> bool:
    """A page may give only the first of the choices."""
    choices = said.ch or ()
    return (
        msgspec.structs.replace(said, ch=None) == msgspec.structs.replace(known, ch=None)
        and choices == ((known.ch or ())[: len(choices)])
    )


async def _page(device: Device, position: int, choice: int = 0) -> logger.SchemaResponse:
    page = await device.request(logger.SCHEMA, logger.SchemaRequest(i=position, c=choice or None))
    if page.i != position:
        raise ProtocolError(f"the device was asked for its setting at position {position} and described {page.i}")
    if page.n > MAX_SETTINGS:
        raise ProtocolError(f"the device announces {page.n} settings, and fieldlog reads no more than {MAX_SETTINGS}")
    return page


async def _choices(device: Device, position: int, info: logger.SettingInfo) -> tuple[str, ...]:
    """All choices of a setting: pages go on while there are fewer than announced."""
    choices = list(info.ch or ())
    announced = max(info.nc or 0, len(choices))
    if announced > MAX_CHOICES:
        raise ProtocolError(
            f"the device announces {announced} choices of {info.k!r}, and one byte can name {MAX_CHOICES}"
        )
    while len(choices) < announced:
        page = await _page(device, position, len(choices))
        more = page.s[0].ch if page.s and page.s[0].k == info.k else None
        if not more or len(choices) + len(more) > announced:
            raise ProtocolError(
                f"the device announces {announced} choices of {info.k!r} and names {len(choices) + len(more or ())}"
            )
        choices += more
    return tuple(choices)


def find_all(known: Schema, keys: Iterable[str]) -> list[Setting]:
    """The settings of these keys; raises Problems with all that are unknown, and the nearest to each."""
    wanted = list(keys)
    problems = [
        Problem(None, f"the device has no setting {key!r}. {nearest_setting(key, known) or _LISTED}")
        for key in wanted
        if key not in known
    ]
    if problems:
        raise Problems(tuple(problems))
    return [known[key] for key in wanted]


def nearest_setting(key: str, known: Iterable[str]) -> str:
    """`nearest` for keys: those of a group or of a last name, and dots for slashes."""
    keys = list(known)
    slashed = key.replace(".", "/")
    parts = [one for one in keys if one.startswith(f"{slashed}/") or one.endswith(f"/{slashed}")]
    if slashed in keys or 0 < len(parts) <= _SUGGESTED:
        return f"Did you mean {' or '.join(parts or [slashed])}?"
    return nearest(key, keys)


def nearest(name: str, known: Iterable[str]) -> str:
    """The question whether the known name most like this one was meant; empty when none is like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else ""
