"""Time zones for display: the data is UTC, the axis says which offset it is drawn in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fieldlog_protocol.errors import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_CHANGES = 20


def zone(name: str | tzinfo) -> tzinfo:
    """The zone of an IANA name such as Europe/Berlin; UsageError when there is none of that name."""
    if isinstance(name, tzinfo):
        return name
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {name!r}. Nothing was written; use an IANA name such as Europe/Berlin, or UTC"
        ) from error


def zone_name(tz: tzinfo) -> str:
    """As browsers know it: an IANA name, UTC, or an offset such as +05:30."""
    if isinstance(tz, ZoneInfo) and tz.key:
        return tz.key
    return "UTC" if tz is UTC else _offset(_EPOCH, tz).removeprefix("UTC")


def axis_label(tz: tzinfo, begin_us: int, end_us: int) -> str:
    """`time (UTC+00:00)`; with the zone's name, and both offsets when daylight saving begins or ends in between."""
    step_us = max((end_us - begin_us) // 400, 1)
    instants = [*range(begin_us, end_us, step_us), end_us]
    offsets = dict.fromkeys(_offset(_EPOCH + timedelta(microseconds=us), tz) for us in instants)
    name = "" if tz is UTC else f"{tz}, "
    return f"time ({name}{' / '.join(offsets)})"


def offset_changes(tz: tzinfo, begin_us: int, end_us: int) -> list[tuple[int, str]]:
    """(instant, `UTC+01:00 to UTC+02:00`) where daylight saving begins or ends between two times; none where that is
    more often than can be told apart."""
    step_us = max((end_us - begin_us) // 400, 1)
    instants = [*range(begin_us, end_us, step_us), end_us]
    found: list[tuple[int, str]] = []
    for low, high in pairwise(instants):
        before, after = (_offset(_EPOCH + timedelta(microseconds=us), tz) for us in (low, high))
        if before != after:
            found.append((_turn(tz, low, high, before), f"{before} to {after}"))
    return found if len(found) <= _MOST_CHANGES else []


def _turn(tz: tzinfo, low_us: int, high_us: int, before: str) -> int:
    """The instant from which on the offset is not `before` any more, to the microsecond."""
    while high_us - low_us > 1:
        middle = (low_us + high_us) // 2
        if _offset(_EPOCH + timedelta(microseconds=middle), tz) == before:
            low_us = middle
        else:
            high_us = middle
    return high_us


def _offset(instant: datetime, tz: tzinfo) -> str:
    offset = instant.astimezone(tz).utcoffset() or timedelta()
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
