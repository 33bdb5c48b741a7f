"""The deployment's metadata on a device: texts that travel with the readings, such as site, operator or zone.

Rule: what a device holds need not be what was written here: whatever it is, it is shown as far as it can be understood
and never overwritten unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fieldlog.device import Device
from fieldlog_protocol.blocks.metadata import decode_metadata, encode_metadata
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import METADATA_MAX
from fieldlog_protocol.errors import BlockError, ProtocolError, UsageError

ZONE = "zone"
_PAGE = 256


async def read_blob(device: Device) -> bytes:
    """The blob as it is."""
    blob = b""
    while True:
        page = await device.request(logger.METADATA_READ, logger.MetadataRequest(o=len(blob) or None))
        if page.o != len(blob) or (not page.d and len(blob) < page.len):
            raise ProtocolError(f"{device.name} does not tell all of its metadata")
        blob += page.d
        if len(blob) >= page.len:
            return blob


async def read_metadata(device: Device) -> dict[str, str] | None:
    """The texts; None for a blob that holds something else."""
    try:
        return decode_metadata(await read_blob(device))
    except BlockError:
        return None


async def write_metadata(device: Device, texts: Mapping[str, str], transaction: int | None = None) -> None:
    """Replace what the device holds, within a transaction or at once; `require_fits` first."""
    blob = encode_metadata(texts)
    done = 0
    while True:
        piece = blob[done : done + _PAGE]
        request = logger.MetadataWriteRequest(o=done, len=len(blob), d=piece, t=transaction)
        answer = await device.request(logger.METADATA_WRITE, request)
        done += len(piece)
        if answer.o != done:
            raise ProtocolError(f"{device.name} took {answer.o} bytes of metadata where {done} were sent")
        if done >= len(blob):
            return


def merged(present: Mapping[str, str] | None, changes: Mapping[str, str]) -> dict[str, str]:
    """The texts with these changes; an empty text takes its name away."""
    return {key: text for key, text in {**(present or {}), **changes}.items() if text}


def require_fits(texts: Mapping[str, str]) -> None:
    """Raise UsageError for more than a device keeps."""
    size = len(encode_metadata(texts))
    if size > METADATA_MAX:
        raise UsageError(
            f"the metadata takes {size} bytes with what the device has already, and it keeps {METADATA_MAX}. "
            "Nothing was changed; shorten it, or take a name away with NAME="
        )


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; UsageError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {name!r}. Nothing was changed; use an IANA name such as Europe/Berlin"
        ) from error


def known_zone(texts: Mapping[str, str] | None) -> ZoneInfo | None:
    """The zone that the metadata names, if there is such a one."""
    name = (texts or {}).get(ZONE)
    try:
        return None if name is None else zone_of(name)
    except UsageError:
        return None
